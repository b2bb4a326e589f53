"""Which version answers a request: the one that is known, fresh or stale, or the one that the origin names now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rangecache.errors import InvalidRange, NotCached, NotFound
from rangecache.ranges import OffsetRange, parse_range
from rangecache.read.revalidation import UNREACHABLE

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog
    from rangecache.read.heads import HeadHabits
    from rangecache.read.known import Known
    from rangecache.read.messages import ReadRequest
    from rangecache.read.opening import Opened, Opener
    from rangecache.read.revalidation import Revalidations
    from rangecache.read.wishes import Wishes


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


class Chooser:
    """Chooses the version that answers a request (RFC 9111 section 4), asking the origin where that is needed."""

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        revalidations: Revalidations,
        habits: HeadHabits,
        clock: Clock,
        *,
        max_ranges: int,
    ) -> None:
        """`habits` say which cold HEADs are worth a block."""
        self._catalog = catalog
        self._opener = opener
        self._revalidations = revalidations
        self._habits = habits
        self._clock = clock
        self._max_ranges = max_ranges

    async def choose(self, request: ReadRequest, wishes: Wishes) -> Current:
        """The version to answer from. Raises `NotFound`, `NotCached`, or what the origin's answer means."""
        epoch = self._catalog.epochs.now
        known = await self._catalog.find(request.ref)
        if known is None:
            if self._catalog.is_absent(request.ref) and not wishes.revalidate:
                raise NotFound("the origin has no such object")
            if wishes.only_if_cached:
                raise NotCached("this object is not in the cache, and only-if-cached was asked")
            return await self.ask(request, None, anew=wishes.revalidate)
        now = self._clock.monotonic()
        if known.bypass:
            if wishes.only_if_cached:
                raise NotCached("this object is not kept in the cache, and only-if-cached was asked")
            if now < known.fresh_until and not wishes.revalidate and not request.head:
                return Current(known)
            return await self.ask(request, known, anew=wishes.revalidate)
        if wishes.met(known.age(now), known.fresh_until - now):
            return Current(known)
        if (stale := self._stale(known, wishes, now)) is not None:
            return stale
        if wishes.only_if_cached:
            raise NotCached("the cached version of this object has to be validated, and only-if-cached was asked")
        try:
            return await self.ask(request, known, anew=wishes.revalidate)
        except UNREACHABLE:
            if self._catalog.epochs.over(request.ref, epoch):
                raise  # purged meanwhile
            now = self._clock.monotonic()
            if now < known.fresh_until and not wishes.revalidate:
                return Current(known)  # younger was asked for; there is none, and it is not stale
            if self._excuses_error(known, wishes, now):
                return Current(known, stale=True)
            raise

    def _stale(self, known: Known, wishes: Wishes, now: float) -> Current | None:
        """A version that is used although its time is over, without waiting for the origin; None if it may not be."""
        if known.grace is None or now < known.fresh_until:
            return None
        stale_s = now - known.fresh_until
        if wishes.stale_met(known.age(now), stale_s):
            return Current(known, stale=True)
        if wishes.revalidate or wishes.particular:
            return None
        down = self._revalidations.is_down(known.meta.ref) and self._excuses_error(known, wishes, now)
        if not down and stale_s >= known.grace.while_revalidate_s:
            return None
        self._revalidations.start(known)
        return Current(known, stale=True)

    def _excuses_error(self, known: Known, wishes: Wishes, now: float) -> bool:
        """Whether a stale version may be used because the origin cannot be asked (RFC 5861 section 4)."""
        if known.grace is None or wishes.revalidate:
            return False
        bound_s = known.grace.if_error_s if wishes.stale_if_error_s is None else wishes.stale_if_error_s
        return now - known.fresh_until < bound_s

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
        try:
            opened, first = await self._opener.open(request.ref, wanted, stale, by_head=by_head, anew=anew)
        except UNREACHABLE as error:
            if stale is not None:
                self._revalidations.failed(request.ref, error)
            raise
        self._revalidations.answered(request.ref)
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
