"""Bytes that go from the origin to one client and are not combined with any others.

That is so where the origin gives no strong validator or forbids storing, and for a moment where it answers with the
whole object although a range was asked for. Such an answer comes from one response of the origin, whole or not at all.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from rangecache.errors import BodyCut, GenerationGone, InvalidAnswer, RangeNotSatisfiable
from rangecache.origin.base import GetResult
from rangecache.ranges import ByteRange, parse_range
from rangecache.read.body import PRIMED
from rangecache.read.conditions import Decision, decide
from rangecache.read.fetcher import SKIP_BYTES_MAX
from rangecache.read.freshness import stated_age
from rangecache.read.messages import CacheStatus, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from rangecache.aio.allowance import Allowance
    from rangecache.model import ObjectMeta
    from rangecache.origin.base import NotModified, ObjectStore
    from rangecache.ranges import RangeSpec
    from rangecache.read.hand_off import HandOff
    from rangecache.read.messages import ReadRequest
    from rangecache.telemetry import Cell


def single(decision: Decision, meta: ObjectMeta) -> Decision:
    """Several ranges cannot be cut out of one passing stream: the whole object is the answer to those (RFC 9110
    section 14.2 lets a server ignore Range)."""
    return decision if len(decision.ranges) <= 1 else Decision(200, (ByteRange(0, meta.size),))


def reaches(answered: ByteRange, decision: Decision) -> bool:
    """Whether an answer of the origin has all the bytes that `decision`, a single range, is to send."""
    return all(answered.start <= wanted.start and wanted.end <= answered.end for wanted in decision.ranges)


def check_skip(answered: ByteRange, wanted: ByteRange) -> None:
    """Raises `InvalidAnswer` where too much would have to be read and thrown away."""
    if wanted.start - answered.start > SKIP_BYTES_MAX:
        raise InvalidAnswer(
            "the origin ignores Range, and the bytes asked for lie too deep in the object to skip there"
        )


async def cut(chunks: AsyncIterator[bytes], answered: ByteRange, wanted: ByteRange) -> AsyncGenerator[memoryview, None]:
    """The bytes of `wanted` out of chunks that carry `answered`. Raises `BodyCut` if they end early."""
    position = answered.start
    async for chunk in chunks:
        view = memoryview(chunk)[max(0, wanted.start - position) : max(0, wanted.end - position)]
        position += len(chunk)
        if len(view):
            yield view
        # An answer that ends with what is wanted is read to its end, so that its connection can be used again.
        if position >= wanted.end and answered.end > wanted.end:
            return
    if position < wanted.end:
        raise BodyCut("the origin's answer ended before the bytes that were asked for")


async def from_hand_off(hand_off: HandOff, wanted: ByteRange, served: Cell) -> AsyncGenerator[memoryview, int | None]:
    """The bytes of `wanted` out of a response that was opened for this request; the first piece is empty."""
    try:
        yield PRIMED
        async with (
            aclosing(hand_off.chunks()) as chunks,
            aclosing(cut(chunks, hand_off.range, wanted)) as pieces,
        ):
            async for piece in pieces:
                served.value += len(piece)
                yield piece
    finally:
        hand_off.discard()


class PassThrough:
    """One request of the origin for one request of a client."""

    def __init__(
        self, store: ObjectStore, request: ReadRequest, known: ObjectMeta, max_ranges: int, allowance: Allowance
    ) -> None:
        """`known` is what the origin said last: what If-Range is likely to be compared with. A piece that the client
        has not taken yet is charged to `allowance`."""
        self._allowance = allowance
        self._store = store
        self._request = request
        self._known = known
        self._max_ranges = max_ranges
        self.meta: ObjectMeta
        self.decision: Decision
        self.status = 0
        """What the origin answered: 200 or 206. All three are known after the first piece."""

    async def pieces(self, served: Cell) -> AsyncGenerator[memoryview, int | None]:
        """The answer's bytes; the first piece is empty. Close it if it is not read to its end.

        Raises `RangeNotSatisfiable`, with the object's length, for a range that lies beyond it, and `GenerationGone`
        where the object is no longer the one that an If-Range named.
        """
        async with AsyncExitStack() as opened:
            answer = await self._open(opened)
            if not isinstance(answer, GetResult):
                raise InvalidAnswer("the origin answered 304 to a request without a condition")
            self.meta = answer.meta
            self.status = 200 if answer.range.length == answer.meta.size else 206
            self.decision = single(decide(self._request, answer.meta, self._max_ranges), answer.meta)
            for wanted in self.decision.ranges:
                if not reaches(answer.range, self.decision):
                    if self._request.if_range is not None:
                        raise GenerationGone("the object has changed since it was first read", answer.meta)
                    raise InvalidAnswer("the origin sent other bytes than those asked for")
                check_skip(answer.range, wanted)
            yield PRIMED
            for wanted in self.decision.ranges:
                async with aclosing(cut(answer.chunks, answer.range, wanted)) as pieces:
                    async for piece in pieces:
                        served.value += len(piece)
                        self._allowance.charge(len(piece))
                        try:
                            yield piece
                        finally:
                            self._allowance.charge(-len(piece))

    async def _open(self, opened: AsyncExitStack) -> GetResult | NotModified:
        request, spec = self._request, self._spec()
        try:
            return await opened.enter_async_context(self._store.get(request.ref, range=spec))
        except RangeNotSatisfiable:
            if not request.conditional:
                raise
            # Conditions come before the range (RFC 9110 section 13.2.2), and a 416 does not say of what it is one.
            return await opened.enter_async_context(self._store.get(request.ref))

    def _spec(self) -> RangeSpec | None:
        """The one range to ask for; None for the whole object: no range, several, or one that a condition undoes."""
        request = self._request
        if request.range is None:
            return None
        if request.if_range is not None and decide(request, self._known, self._max_ranges).status != 206:
            return None
        specs = parse_range(request.range, self._max_ranges)
        return specs[0] if specs is not None and len(specs) == 1 else None

    def reply(self, pieces: AsyncGenerator[memoryview, int | None]) -> Reply:
        """The answer, once the first piece has been read."""
        cache = CacheStatus("bypass", fwd="bypass", fwd_status=self.status)
        return Reply(
            self.decision.status, self.meta, cache, int(stated_age(self.meta.headers)), self.decision.ranges, pieces
        )
