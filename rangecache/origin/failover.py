"""`kind: failover`: one name for copies of the same objects at several origins, of which one may be down.

Every answer comes from one replica, and says from which: `ObjectMeta.source` begins with the replica's name. A read
that has begun stays with the replica it began on, as its version's pin means something there only. It may go on at
another one where that has the same bytes by the policy of `identity`; the answer is then given out as of the version
that was asked for. Where nobody else is known to have these bytes, the version counts as gone: what has not been sent
yet is read anew from the other replica, in its own version, and what has been sent in part is broken off.

The first replica is the one that counts; `roster` says for each request who is asked. "There is no such object" is
believed of the first replica, and of another one only where the operator has declared them equal: a copy may lag
behind, and Zarr takes a 404 for empty data.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rangecache.errors import (
    BudgetExhausted,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    NotListable,
    TransientError,
    Unauthenticated,
    Unavailable,
)
from rangecache.origin.base import PATIENT, GetResult, NotModified
from rangecache.origin.identity import same_bytes
from rangecache.origin.retry import reconnecting
from rangecache.origin.roster import Roster
from rangecache.origin.twins import Twins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.errors import OriginError
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage, Purpose
    from rangecache.origin.breaking import EndpointHealth
    from rangecache.origin.identity import Policy
    from rangecache.origin.replica import Replica
    from rangecache.ranges import RangeSpec

# What one replica cannot do another one may. Refused access and missing objects are answers.
UNUSABLE: Final = (TransientError, BudgetExhausted, InvalidAnswer, Unauthenticated)
_RENEWING: Final = frozenset({"age", "cache-control", "date", "expires"})

_T = TypeVar("_T")


class _Opened(NamedTuple):
    """An answer under way, and what closes it."""

    result: GetResult | NotModified
    context: AbstractAsyncContextManager[GetResult | NotModified]


class Failover:
    """An `ObjectStore` over others, the most trusted one first.

    To be wrapped in the retries, and its replicas not: then each of them is asked once, and what is repeated is the
    round. Every request beyond the first of a round draws on `budget`; where a replica is known to be down, the next
    one is the first and costs nothing. `on_failover` hears the name of a replica that stood in.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        identity: Policy,
        budget: RetryBudget,
        clock: Clock,
        on_failover: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._roster = Roster(replicas, clock)
        self._identity = identity
        self._budget = budget
        self._on_failover = on_failover
        self._twins = Twins(identity)

    def source(self, ref: ObjectRef) -> str:
        """That of the first replica that may have it."""
        return next((each.source(ref) for each in self._roster.having(ref)), "")

    def vouches_for(self, meta: ObjectMeta) -> bool:
        """Whether the version is of one of the replicas, as things are configured now."""
        home = self._roster.home(meta)
        return home is not None and home.source(meta.ref) == meta.source

    def name_at_home(self, meta: ObjectMeta) -> ObjectRef | None:
        """What the object is called at the replica that this version is of; None if that is none of them any more."""
        home = self._roster.home(meta)
        return None if home is None else home.name_of(meta.ref)

    def names(self, ref: ObjectRef) -> Iterator[ObjectRef]:
        """What the object is called at each replica that may have it."""
        return (each.name_of(ref) for each in self._roster.having(ref))

    def health(self) -> Iterator[EndpointHealth]:
        """Of the endpoints of all replicas, and of the replicas that answer and are of no use."""
        for replica in self._roster:
            yield from replica.health()
        yield from self.faults()

    def faults(self) -> Iterator[EndpointHealth]:
        """Of the replicas that answer and are of no use."""
        for replica in self._roster:
            yield from replica.faults()

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """As `ObjectStore.head`, of the first replica that answers."""

        async def ask(replica: Replica, purpose: Purpose) -> ObjectMeta | NotModified:
            answer = await replica.head(ref, _own(replica, if_none_match), purpose)
            return answer if isinstance(answer, NotModified) else self._compared(answer, if_none_match)

        return await self._of_first(ref, ask, purpose)

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
        """As `ObjectStore.get`. With `if_match`, of the replica that has the version, or of one that has its bytes."""
        if if_match is not None:
            opened = await self._open_pinned(ref, range, if_match, purpose)
        else:

            async def ask(replica: Replica, purpose: Purpose) -> _Opened:
                return await _enter(replica.get(ref, range, None, _own(replica, if_none_match), purpose))

            opened = await self._of_first(ref, ask, purpose)
        try:
            result = opened.result
            compared = self._compared(result.meta, if_none_match) if isinstance(result, GetResult) else result
            yield compared if isinstance(compared, NotModified) else result
        finally:
            await opened.context.__aexit__(None, None, None)

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """As `ObjectStore.list_page`; all pages come from the replica that gave the first one. What a listing does not
        name is taken for absent, so it is believed of those only whose 404 is."""
        begun_by, _, token = ("", "", None) if at is None else at.partition(" ")

        async def ask(replica: Replica, purpose: Purpose) -> ListPage:
            page = await replica.list_page(below, delimiter, token, purpose)
            return page if page.next is None else replace(page, next=f"{replica.name} {page.next}")

        def may_say(replica: Replica) -> bool:
            return self._trusts_absence(replica, below) and begun_by in ("", replica.name)

        return await self._of_first(below, ask, purpose, may_say)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """Raises `NotListable`: each replica has its own buckets."""
        raise NotListable(f"the buckets of {provider} are those of its replicas; list one of them")

    def check_listable(self, below: ObjectRef) -> None:
        """Raises `NotListable` where no replica has a listing."""
        refusals = []
        for replica in self._roster:
            try:
                replica.check_listable(below)
            except NotListable as refusal:
                refusals.append(refusal)
        if len(refusals) == len(self._roster):
            raise refusals[0]

    async def aclose(self) -> None:
        """Stop probing. The replicas' stores belong to their providers."""
        await self._roster.aclose()

    # --- who is asked ---------------------------------------------------------------------------------------------

    async def _of_first(
        self,
        ref: ObjectRef,
        ask: Callable[[Replica, Purpose], Coroutine[Any, Any, _T]],
        purpose: Purpose,
        may_say: Callable[[Replica], bool] = lambda _: True,
    ) -> _T:
        """What the first replica says that can say anything, of those that `may_say`."""
        failure: OriginError | None = None
        for replica in filter(may_say, self._roster.in_order(ref)):
            if failure is not None:
                purpose = self._pay(failure, purpose)
            try:
                answer = await reconnecting(partial(ask, replica, purpose))
            except NotFound as absent:
                if self._trusts_absence(replica, ref):
                    raise
                failure = failure or Unavailable(
                    f"{absent.message}; that is a replica, and the first one cannot be asked"
                )
            except UNUSABLE as error:
                failure = failure or error
            else:
                if replica is not self._roster.first:
                    self._on_failover(replica.name)
                return answer
        raise failure or Unavailable(f"the replica of {ref.provider} that can say this does not answer")

    def _pay(self, failure: OriginError, purpose: Purpose) -> Purpose:
        """Leave to ask one more replica, because of this failure."""
        if purpose in PATIENT:
            raise failure
        if not self._budget.try_withdraw():
            raise BudgetExhausted(f"{failure.message}; too many requests have failed of late to ask another replica")
        return "failover"

    def _trusts_absence(self, replica: Replica, ref: ObjectRef) -> bool:
        return replica is self._roster.having(ref)[0] or self._identity == "declared"

    # --- which version --------------------------------------------------------------------------------------------

    async def _open_pinned(
        self, ref: ObjectRef, range: RangeSpec | None, if_match: ObjectMeta, purpose: Purpose
    ) -> _Opened:
        home = self._roster.home(if_match)
        if home is None:
            raise GenerationGone(f"the version of {ref} that was read first is of no replica that is configured now")
        failure: OriginError | None = None
        order = self._roster.in_order(ref)
        if home in order:
            try:
                return await reconnecting(lambda: _enter(home.get(ref, range, if_match, None, purpose)))
            except UNUSABLE as error:
                failure = error
        elsewhere = False
        for other in (each for each in order if each is not home):
            if failure is not None:
                purpose = self._pay(failure, purpose)
            try:
                twin = await self._twins.find(other, if_match)
                if twin is None:
                    elsewhere = True
                    continue
                opened = await _enter(other.get(ref, range, twin, None, purpose))
            except GenerationGone:
                self._twins.forget(other, if_match)
                elsewhere = True
            except (*UNUSABLE, NotFound) as error:
                failure = failure or error
            else:
                self._on_failover(other.name)
                return _as_of(if_match, opened)
        if elsewhere and (failure is None or not home.is_up(ref) or _is_unreached(failure)):
            raise GenerationGone(f"{home.name}, which this version of {ref} was read from, does not answer")
        raise failure or Unavailable(f"{home.name} is down, and no other replica can be asked")

    def _compared(self, meta: ObjectMeta, known: ObjectMeta | None) -> ObjectMeta | NotModified:
        """What another replica has, or that it is what is known already."""
        if known is not None and known.source != meta.source and same_bytes(self._identity, known, meta):
            return NotModified(_renewing(meta.headers))
        return meta

    def __repr__(self) -> str:
        return f"<Failover {self._roster!r}>"


def _own(replica: Replica, meta: ObjectMeta | None) -> ObjectMeta | None:
    """The version, if its validator means something to this replica."""
    return meta if meta is not None and replica.made(meta) else None


async def _enter(context: AbstractAsyncContextManager[GetResult | NotModified]) -> _Opened:
    return _Opened(await context.__aenter__(), context)


def _as_of(meta: ObjectMeta, opened: _Opened) -> _Opened:
    """The same bytes, said to be of that version: it has been proven that they are."""
    result = opened.result
    if isinstance(result, GetResult):
        result = GetResult(meta, result.range, result.chunks)
    return _Opened(result, opened.context)


def _is_unreached(error: OriginError) -> bool:
    return isinstance(error, TransientError) and error.unreached


def _renewing(headers: Mapping[str, str]) -> dict[str, str]:
    """Of another replica's headers, those that say how long this holds."""
    return {name: value for name, value in headers.items() if name in _RENEWING}
