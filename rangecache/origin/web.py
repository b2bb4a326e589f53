"""The one HTTP data path: every ranged GET and HEAD towards any cloud or web server, and every check of the answer.

Nothing in an answer is believed because the status looks right. A provider is a `Dialect`: it gives addresses, signed
headers and the meaning of error answers, and never sees a body.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from rangecache.aio.deadline import Deadline
from rangecache.errors import (
    GenerationGone,
    InvalidAnswer,
    OriginTimeout,
    TransientError,
    Unauthenticated,
)
from rangecache.model import ObjectRef
from rangecache.origin import answers, refusals
from rangecache.origin.answers import Asked, Extent
from rangecache.origin.base import GetResult, NotModified
from rangecache.origin.dialect import Answer, Target
from rangecache.origin.web_body import Body, Paced
from rangecache.ranges import ByteRange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta
    from rangecache.origin.base import BucketPage, ListPage, Purpose
    from rangecache.origin.dialect import Dialect
    from rangecache.origin.session import WebSession, WireAnswer
    from rangecache.ranges import RangeSpec

    _Address = Callable[[str, Asked], Awaitable[tuple[Target, Mapping[str, str]]]]

REDIRECTS_MAX: Final = 3
MENDS_MAX: Final = 2  # a public bucket of another region, asked for with expired keys: its region, then no signature
ERROR_BODY_BYTES_MAX: Final = 64 * 1024
# 1,000 keys (the most of S3 and GCS) of 1,024 bytes, percent-encoded, are 3 MB, and there is as much XML around them.
LIST_BODY_BYTES_MAX: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class MinRate:
    """The slowest body that is put up with: `bytes` in `over_s` seconds of waiting."""

    bytes: int
    over_s: float


class WebStore:
    """An `ObjectStore` that speaks HTTP.

    `first_byte_timeout_s` is the time from the start of a request, connecting included, to the end of the answer's
    head, the same for all objects or one for each. `on_detour` is called for each request on the wire beyond the last
    of a call: with `redirect` or `mend`. `may_repeat` takes one repeat from the ledger for each `mend` of an error, or
    says that there is none left; the error then stands. `on_listed` hears of the bytes of a listing as they come, also
    of one that is of no use, and no more are taken before it has returned; bytes of objects are the caller's to count.
    The session is shared and is not closed with the store.
    """

    def __init__(
        self,
        session: WebSession,
        dialect: Dialect,
        *,
        clock: Clock,
        first_byte_timeout_s: float | Callable[[ObjectRef], float],
        min_rate: MinRate,
        on_detour: Callable[[Purpose, str], None] | None = None,
        on_listed: Callable[[Purpose, int], Awaitable[None]] | None = None,
        may_repeat: Callable[[], bool] | None = None,
    ) -> None:
        self._session = session
        self._dialect = dialect
        self._clock = clock
        self._first_byte_timeout_s = first_byte_timeout_s
        self._min_rate = min_rate
        self._on_detour = on_detour
        self._on_listed = on_listed
        self._may_repeat = may_repeat

    def source(self, ref: ObjectRef) -> str:
        """See `ObjectStore.source`."""
        return self._dialect.source(ref)

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """Metadata by a HEAD request."""
        asked = Asked(ref, if_none_match=if_none_match)
        wire = await self._exchange("HEAD", asked, purpose)
        try:
            headers = answers.end_to_end(wire.headers)
            if wire.status == 304:
                return NotModified(headers)
            if wire.status != 200:
                raise InvalidAnswer(f"the origin answered a HEAD with the unexpected status {wire.status}")
            validator = self._dialect.validator(wire.headers, answers.read_etag(headers))
            meta = self._meta(asked, headers, answers.whole_size(wire.headers, asked), validator)
            if if_none_match is not None and meta.validator and meta.generation == if_none_match.generation:
                return NotModified(headers)  # the origin does not know the condition; nothing was lost by it
            return meta
        finally:
            wire.close()

    @asynccontextmanager
    async def get(
        self,
        ref: ObjectRef,
        *,
        range: RangeSpec | None = None,
        if_match: ObjectMeta | None = None,
        if_none_match: ObjectMeta | None = None,
        purpose: Purpose = "demand",
    ) -> AsyncIterator[GetResult | NotModified]:
        """See `ObjectStore.get`."""
        if if_match is not None and not if_match.validator:
            raise GenerationGone(f"the version of {ref} that was read first has no validator to ask for it by")
        asked = Asked(ref, range, if_match, if_none_match)
        wire = await self._exchange("GET", asked, purpose)
        body: Body | None = None
        try:
            headers = answers.end_to_end(wire.headers)
            if wire.status == 304:
                yield NotModified(headers)
                return
            meta, extent = self._checked(asked, wire, headers)
            body = Body(wire, extent, self._clock, self._min_rate)
            yield GetResult(meta, extent.promised, body)
        finally:
            if body is not None:
                body.close()
            wire.close()

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """See `ObjectStore.list_page`."""

        async def address(_method: str, _asked: Asked) -> tuple[Target, Mapping[str, str]]:
            return await self._dialect.listing(below, delimiter, at), {}

        return self._dialect.read_listing(await self._page(below, purpose, address))

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """See `ObjectStore.bucket_page`."""

        async def address(_method: str, _asked: Asked) -> tuple[Target, Mapping[str, str]]:
            return await self._dialect.bucket_listing(provider, at), {}

        return self._dialect.read_buckets(await self._page(ObjectRef(provider, "", ""), purpose, address))

    async def _page(self, ref: ObjectRef, purpose: Purpose, address: _Address) -> bytes:
        """The body of a listing, whole."""
        wire = await self._exchange("GET", Asked(ref), purpose, address)
        body = Paced(wire, self._clock, self._min_rate)
        text = bytearray()
        try:
            if wire.status != 200:
                raise InvalidAnswer(f"the origin answered a listing with the unexpected status {wire.status}")
            while chunk := await body.read():
                text += chunk
                if self._on_listed is not None:
                    await self._on_listed(purpose, len(chunk))
                if len(text) > LIST_BODY_BYTES_MAX:
                    raise InvalidAnswer(f"a page of the origin's listing is longer than {LIST_BODY_BYTES_MAX} bytes")
        finally:
            body.close()
            wire.close()
        return bytes(text)

    def check_listable(self, below: ObjectRef) -> None:
        """See `ObjectStore.check_listable`."""
        self._dialect.check_listable(below)

    async def aclose(self) -> None:
        """Nothing of its own to give back."""

    # --- one answer -----------------------------------------------------------------------------------------------

    def _checked(self, asked: Asked, wire: WireAnswer, headers: Mapping[str, str]) -> tuple[ObjectMeta, Extent]:
        """What a 200 or a 206 is about and which bytes it carries; raises if it is not what was asked for."""
        carried: ByteRange | None = None
        validator = self._dialect.validator(wire.headers, answers.read_etag(headers))
        if wire.status == 206:
            if asked.range is None:
                raise InvalidAnswer("the origin sent a part of the object though the whole was asked for")
            carried, size = answers.part_of(wire.headers, asked)
            headers = {name: value for name, value in headers.items() if name not in answers.OF_A_PART}
        else:
            size = answers.whole_size(wire.headers, asked)
        meta = self._meta(asked, headers, size, validator)
        if asked.if_match is not None:
            answers.check_pin(meta, asked.if_match)
        if carried is None or asked.range is None:
            whole = ByteRange(0, size)
            return meta, Extent(whole, whole)
        return meta, answers.extent(carried, asked.range, size)

    def _meta(self, asked: Asked, headers: Mapping[str, str], size: int, validator: str) -> ObjectMeta:
        return answers.read_meta(asked, headers, size, validator=validator, source=self.source(asked.ref))

    # --- one exchange ---------------------------------------------------------------------------------------------

    async def _exchange(
        self, method: str, asked: Asked, purpose: Purpose, address: _Address | None = None
    ) -> WireAnswer:
        """Send until an answer is final: 200, 206 or a 304 that was asked for. `address` gives the target, and those of
        its headers that prove nothing; by default those of the object itself."""
        address = address or self._address
        target, own = await address(method, asked)
        mended: list[str] = []
        redirects, home = 0, target.url.origin()
        while True:
            wire = await self._send(method, target, asked.ref, fresh=purpose == "hedge")
            if wire.status in (200, 206):
                if target.url.origin() != home and answers.is_page(wire.status, wire.headers, asked):
                    wire.close()
                    raise Unauthenticated(
                        f"a redirect led to a page of {target.url.host} in place of {asked.ref}, as where one has to"
                        " log in; give or renew credentials, and name hosts of data in redirect_hosts, not of logins"
                    )
                return _expected(wire, target)
            if wire.status == 304 and asked.if_none_match is not None:
                said = self._dialect.validator(wire.headers, answers.read_etag(wire.headers))
                if not answers.contradicts(wire.headers, asked.if_none_match, said):
                    return wire
                # It confirms a version that is not ours. Ask for the object without the condition.
                wire.close()
                asked = replace(asked, if_none_match=None)
                target, own = await address(method, asked)
                self._count_detour(purpose, "mend")
                continue
            answer = await self._error_answer(wire, listing=address != self._address, head=method == "HEAD")
            if len(mended) < MENDS_MAX and await self._mends(answer, asked.ref, mended):
                target, own = await address(method, asked)
                self._count_detour(purpose, "mend")
                continue
            to = refusals.redirect(self._dialect, answer, asked.ref, target.url)
            if to is None or redirects == REDIRECTS_MAX:
                raise refusals.error(self._dialect, answer, asked)
            redirects += 1
            # Credentials stay with the host they were made for, and do not come back after a detour elsewhere.
            target = replace(target, url=to, headers=target.headers if to.origin() == target.url.origin() else own)
            self._count_detour(purpose, "redirect")

    async def _mends(self, answer: Answer, ref: ObjectRef, mended: list[str]) -> bool:
        """Whether to send the request once more for what an error has taught."""
        learned = await self._dialect.mend(answer, ref)
        if not learned or learned in mended:
            return False
        if self._may_repeat is not None and not self._may_repeat():
            return False
        mended.append(learned)
        return True

    async def _address(self, method: str, asked: Asked) -> tuple[Target, Mapping[str, str]]:
        own = asked.headers()
        if asked.if_match is not None:
            own.update(self._dialect.pin(asked.if_match))
        return await self._dialect.target(method, asked.ref, own, asked.if_match), own

    async def _send(self, method: str, target: Target, ref: ObjectRef, *, fresh: bool) -> WireAnswer:
        limit = self._first_byte_timeout_s
        limit_s = limit(ref) if callable(limit) else limit
        try:
            async with Deadline(self._clock, limit_s):
                return await self._session.send(method, target.url, target.headers, fresh=fresh)
        except TimeoutError as error:
            raise OriginTimeout(f"{target.url.host} did not begin to answer within {limit_s:g} s") from error

    async def _error_answer(self, wire: WireAnswer, *, listing: bool, head: bool) -> Answer:
        """An answer that carries no object, with the beginning of its body."""
        body = Paced(wire, self._clock, self._min_rate)
        text = bytearray()
        try:
            while len(text) < ERROR_BODY_BYTES_MAX and (chunk := await body.read()):
                text += chunk
        except TransientError:
            # Its status says enough, whatever becomes of its body: cut, endless or slow.
            pass
        finally:
            body.close()
            wire.close()
        return Answer(wire.status, wire.headers, bytes(text[:ERROR_BODY_BYTES_MAX]), listing, head)

    def _count_detour(self, purpose: Purpose, kind: str) -> None:
        if self._on_detour is not None:
            self._on_detour(purpose, kind)


def _expected(wire: WireAnswer, target: Target) -> WireAnswer:
    """The answer, if it has the headers that it must have."""
    for name, value in target.expected.items():
        if wire.headers.get(name) != value:
            wire.close()
            raise InvalidAnswer(f"the origin does not confirm in {name} that it sent the version that was asked for")
    return wire
