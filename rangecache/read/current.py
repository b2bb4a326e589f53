"""Which version answers a request: the one that is known, fresh or stale, or the one that the origin names now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rangecache.errors import BudgetExhausted, InvalidRange, NotCached, NotFound, TransientError
from rangecache.ranges import OffsetRange, parse_range

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog, Known
    from rangecache.read.freshness import Wishes
    from rangecache.read.heads import HeadHabits
    from rangecache.read.messages import ReadRequest
    from rangecache.read.opening import Opened, Opener


@dataclass(slots=True)
class Current:
    """The version that a request is answered from, and how we know."""

    known: Known
    opened: Opened | None = None
    """The origin was asked for it just now."""
    first: bool = False
    """It was this request that asked."""
    validated: bool = False
    """The origin was asked whether what we had still holds."""
    stale: bool = False
    """Its time is over, and it is used all the same."""


class Selector:
    """Selects the version that answers a request (RFC 9111 section 4), asking the origin where that is needed."""

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        habits: HeadHabits,
        clock: Clock,
        *,
        max_ranges: int,
        stale_while_revalidate_s: float,
        stale_if_error_s: float,
    ) -> None:
        """`habits` say which cold HEADs are worth a block; both times count from the end of an object's freshness."""
        self._catalog = catalog
        self._opener = opener
        self._habits = habits
        self._clock = clock
        self._max_ranges = max_ranges
        self._stale_while_revalidate_s = stale_while_revalidate_s
        self._stale_if_error_s = stale_if_error_s

    async def select(self, request: ReadRequest, wishes: Wishes) -> Current:
        """The version to answer from. Raises `NotFound`, `NotCached`, or what the origin's answer means."""
        known = await self._catalog.find(request.ref)
        if known is None:
            if self._catalog.is_absent(request.ref) and not wishes.revalidate:
                raise NotFound("the origin has no such object")
            if wishes.only_if_cached:
                raise NotCached("this object is not in the cache, and only-if-cached was asked")
            return await self.ask(request, None, anew=wishes.revalidate)
        now = self._clock.monotonic()
        fresh = now < known.fresh_until and not wishes.revalidate
        if known.bypass:
            if wishes.only_if_cached:
                raise NotCached("this object is not kept in the cache, and only-if-cached was asked")
            return (
                Current(known) if fresh and not request.head else await self.ask(request, known, anew=wishes.revalidate)
            )
        if fresh:
            return Current(known)
        over_s = now - known.fresh_until
        if wishes.only_if_cached:
            raise NotCached("the cached version of this object has to be validated, and only-if-cached was asked")
        may_be_stale = known.stale_allowed and not wishes.revalidate
        # What the rule says is never fresh is not used unasked either.
        was_fresh = known.fresh_until > known.validated_at
        if may_be_stale and was_fresh and over_s < self._stale_while_revalidate_s:
            self._opener.revalidate(known)
            return Current(known, stale=True)
        try:
            return await self.ask(request, known, anew=wishes.revalidate)
        except (TransientError, BudgetExhausted):
            if may_be_stale and over_s < self._stale_if_error_s:
                return Current(known, stale=True)
            raise

    async def ask(self, request: ReadRequest, known: Known | None, *, anew: bool) -> Current:
        """The version that the origin names now; `known` is what it may confirm. `anew`: see `Opener.open`."""
        by_head = False
        if request.head and known is None:
            by_head = not self._habits.wants_block(request.ref)
            self._habits.asked(request.ref)
        elif request.head and known is not None:
            by_head = known.bypass  # its first block would not be kept
        wanted = _wanted(request, self._max_ranges)
        stale = None if known is None or known.bypass else known
        opened, first = await self._opener.open(request.ref, wanted, stale, by_head=by_head, anew=anew)
        return Current(opened.known, opened, first, validated=stale is not None)


def _wanted(request: ReadRequest, max_ranges: int) -> RangeSpec | None:
    """Which bytes to ask for together with the metadata; None for the first block."""
    if request.head:
        return None
    if request.range is None:
        return OffsetRange(0)
    try:
        specs = parse_range(request.range, max_ranges)
    except InvalidRange:
        return None
    return specs[0] if specs is not None else OffsetRange(0)
