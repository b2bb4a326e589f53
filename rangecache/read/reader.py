"""Answers a read: which version is current, what the request means for it, and where its bytes are.

`try_open` answers what needs no waiting: metadata that is fresh and blocks that are in memory. Everything else takes
the same steps in `open`, which may ask the origin. A version that dies under a reader who has sent nothing yet is
begun anew, once; later the answer is aborted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from rangecache.errors import GenerationGone, NotCached, NotFound, NotStorable, RangeIgnored
from rangecache.ranges import ByteRange, block_indices
from rangecache.read.at_hand import PART_BYTES_MAX, AtHand
from rangecache.read.body import BodyReader
from rangecache.read.bypass import Bypass
from rangecache.read.conditions import Decision, decide
from rangecache.read.current import Chooser
from rangecache.read.heads import HeadHabits
from rangecache.read.messages import HIT_DISK, HIT_MEMORY, PREFETCHED, CacheStatus, Reply
from rangecache.read.revalidation import Revalidations
from rangecache.read.wishes import read_wishes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.aio.allowance import Allowance
    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.blocks.tiers import Tiers
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.read.body import Presence
    from rangecache.read.catalog import Catalog
    from rangecache.read.current import Current
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.known import Known
    from rangecache.read.messages import Peeked, ReadRequest
    from rangecache.read.opening import Opener
    from rangecache.read.prefetcher import Prefetcher
    from rangecache.read.selection import Selection
    from rangecache.read.wishes import Wishes
    from rangecache.telemetry import Metrics

IMMEDIATE_BYTES_MAX: Final = 8 * 1024 * 1024  # more is streamed, whatever the front door would take
RESTARTS: Final = 1  # a version that dies before anything was sent is replaced by the current one, once


class RangeReader:
    """The front of the cache. One for all requests."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        tiers: Tiers,
        catalog: Catalog,
        fetcher: Fetcher,
        opener: Opener,
        prefetcher: Prefetcher,
        background: Background,
        metrics: Metrics,
        clock: Clock,
        allowance: Allowance,
        *,
        max_ranges: int,
    ) -> None:
        """`stores` and `allowance`: see `Bypass`."""
        self._tiers = tiers
        at_hand = AtHand(tiers)
        self._in_memory, self._with_disk = at_hand.in_memory, at_hand.with_disk
        self._catalog = catalog
        self._fetcher = fetcher
        self._prefetcher = prefetcher
        self._watched = prefetcher.watched
        self._served = metrics.served_bytes
        self._served_from_disk = {name: metrics.served_bytes.cell(name, "disk") for name in stores}
        self._served_from_memory = {name: metrics.served_bytes.cell(name, "memory") for name in stores}
        self._clock = clock
        self._max_ranges = max_ranges
        self._bypass = Bypass(stores, catalog, clock, metrics.served_bytes, allowance, max_ranges=max_ranges)
        self._habits = HeadHabits()
        self._revalidations = Revalidations(opener, background, clock)
        self._chooser = Chooser(
            catalog,
            opener,
            self._revalidations,
            self._habits,
            clock,
            max_ranges=max_ranges,
        )

    def forget(self, selection: Selection) -> None:
        """Remember nothing of these objects: they are being purged."""
        self._habits.forget(selection)
        self._revalidations.forget(selection)
        self._prefetcher.forget(selection)

    # --- without waiting ------------------------------------------------------------------------------------------

    def try_open(self, request: ReadRequest, most_bytes: int = IMMEDIATE_BYTES_MAX) -> Reply | None:
        """The answer, if it can be given at once; None if it needs waiting, or if its body has more than `most_bytes`:
        the caller has to keep it for as long as its client takes, whatever the tiers evict meanwhile.

        Raises `NotFound` where the origin has just said so, and `BadRequest` for malformed conditions.
        """
        known = self._catalog.peek(request.ref)
        now = self._clock.monotonic()
        if known is None or known.bypass or now >= known.fresh_until:
            if known is None and request.cache_control is None and self._catalog.is_absent(request.ref):
                raise NotFound("the origin has no such object")
            return None
        if request.cache_control is not None:
            wishes = read_wishes(request.cache_control)
            if not wishes.met(known.age(now), known.fresh_until - now):
                return None
        decision = decide(request, known.meta, self._max_ranges)
        if decision.doubtful:
            return None
        if request.head or not decision.ranges:
            return Reply(decision.status, known.meta, HIT_MEMORY, known.age(now))
        disk_bytes = 0
        views = self._in_memory(known, decision.ranges, most_bytes)
        if views is None:
            found = self._with_disk(known, decision.ranges, most_bytes)
            if found is None:
                return None
            views, disk_bytes = found
        self._habits.read(request.ref)
        cache = self._taken(known, decision.ranges, sum(map(len, views)), disk_bytes)
        return Reply(decision.status, known.meta, cache, known.age(now), decision.ranges, views)

    def peek(self, ref: ObjectRef, start: int, end: int, most_bytes: int) -> Peeked | None:
        """What `try_open` says to a GET of the bytes [start, end) that asks for nothing else, told in fewer words; None
        also where it would say something else than these bytes, or raise."""
        known = self._catalog.peek(ref)
        now = self._clock.monotonic()
        if known is None or known.bypass or now >= known.fresh_until:
            return None
        meta, block_bytes = known.meta, known.block_bytes
        if end > meta.size:
            end = meta.size
        if start >= end or end - start > most_bytes:
            return None
        index = start // block_bytes
        offset = index * block_bytes
        if end - offset > block_bytes:
            views = self._in_memory(known, (ByteRange(start, end),), most_bytes)
            if views is None:
                found = self._with_disk(known, (ByteRange(start, end),), most_bytes)
                return None if found is None else self._peeked(known, start, end, now, *found)
        else:
            key = known.block_key(index)
            block = self._tiers.peek(key)
            if block is None:
                few = end - start <= PART_BYTES_MAX
                part = self._tiers.peek_part(key, start - offset, end - offset) if few else None
                return None if part is None else self._peeked(known, start, end, now, [part], end - start)
            views = [block[start - offset : end - offset]]
        self._habits.read(ref)
        if meta.generation in self._watched:
            cache = self._taken(known, (ByteRange(start, end),), end - start, 0)
        else:
            cache = HIT_MEMORY
            self._served_from_memory[ref.provider].value += end - start
        return meta, cache, known.age(now), end, views

    def _peeked(
        self, known: Known, start: int, end: int, now: float, views: list[memoryview], disk_bytes: int
    ) -> Peeked:
        """What `peek` says where some of the bytes are from disk."""
        meta = known.meta
        self._habits.read(meta.ref)
        if disk_bytes == end - start and meta.generation not in self._watched:
            self._served_from_disk[meta.ref.provider].value += disk_bytes
            return meta, HIT_DISK, known.age(now), end, views
        cache = self._taken(known, (ByteRange(start, end),), end - start, disk_bytes)
        return meta, cache, known.age(now), end, views

    def _taken(self, known: Known, ranges: tuple[ByteRange, ...], length: int, disk_bytes: int) -> CacheStatus:
        """Count an answer that was given at once, and tell those who fetch ahead of it; how it came about."""
        track = self._watched.get(known.meta.generation)
        if track is not None and self._prefetcher.hit(track, ranges):
            self._served.cell(known.meta.ref.provider, "origin").value += length
            return PREFETCHED
        if disk_bytes:
            self._served_from_disk[known.meta.ref.provider].value += disk_bytes
        self._served_from_memory[known.meta.ref.provider].value += length - disk_bytes
        return HIT_DISK if disk_bytes else HIT_MEMORY

    # --- with waiting ---------------------------------------------------------------------------------------------

    async def open(self, request: ReadRequest) -> Reply:
        """The answer. Raises `RequestError` for what the client did, `OriginError` for what the origin did."""
        for restart in range(RESTARTS + 1):
            try:
                return await self._open(request)
            except (GenerationGone, NotStorable, RangeIgnored):
                # Nothing has been sent, and the catalog knows that this version is dead, or has to be passed through.
                if restart == RESTARTS:
                    raise
        raise AssertionError("unreachable")

    async def _open(self, request: ReadRequest) -> Reply:
        wishes = read_wishes(request.cache_control)
        current = await self._chooser.choose(request, wishes)
        decision = decide(request, current.known.meta, self._max_ranges)
        if decision.doubtful and current.opened is None and not wishes.only_if_cached and not current.known.bypass:
            # A refusal that rests on what we remember: somebody may just have written.
            current = await self._chooser.ask(request, current.known, anew=True)
            decision = decide(request, current.known.meta, self._max_ranges)
        bodiless = request.head or not decision.ranges
        hand_off = current.opened.hand_off if current.opened is not None and current.first else None
        if hand_off is not None:
            if bodiless:
                hand_off.discard()
            elif (reply := await self._bypass.from_hand_off(current.known, hand_off, decision)) is not None:
                return reply
        # An opening has just said all that a request without a body wants; so has no later look at a bypassed object.
        if current.known.bypass and not (bodiless and current.opened is not None):
            return await self._bypass.pass_through(request, current.known)
        return await self._from_blocks(request, current, decision, wishes)

    async def _from_blocks(self, request: ReadRequest, current: Current, decision: Decision, wishes: Wishes) -> Reply:
        known = current.known
        age_s = known.age(self._clock.monotonic())
        if request.head or not decision.ranges:
            if current.opened is not None and current.first and not known.bypass:
                self._prefetcher.opened(known)
            cache = self._status(current, None)
            return Reply(decision.status, known.meta, cache, age_s)
        if wishes.only_if_cached and not self._all_cached(known, decision.ranges):
            raise NotCached("a part of these bytes is not in the cache, and only-if-cached was asked")
        self._habits.read(request.ref)
        course = self._prefetcher.missed(known, decision.ranges)
        body = BodyReader(
            known,
            decision.ranges,
            self._tiers,
            self._fetcher,
            self._served,
            prefetched=course.taken,
            on_left=partial(self._prefetcher.left, course),
        )
        body.begin()
        brought = current.opened is not None and current.opened.run is not None
        if body.presence.missing or brought:  # whoever finds everything here needs nothing ahead of him
            self._prefetcher.follow(course)
        pieces = body.pieces()
        await anext(pieces)
        return Reply(decision.status, known.meta, self._status(current, body.presence), age_s, decision.ranges, pieces)

    def _all_cached(self, known: Known, ranges: tuple[ByteRange, ...]) -> bool:
        return all(
            self._tiers.contains(known.block_key(index))
            for wanted in ranges
            for index in block_indices(wanted, known.block_bytes)
        )

    def _status(self, current: Current, presence: Presence | None) -> CacheStatus:
        """Say how the answer came about (RFC 9211)."""
        opened, missing = current.opened, presence is not None and presence.missing > 0
        if current.known.bypass:
            return CacheStatus("bypass", fwd="bypass", fwd_status=None if opened is None else opened.status)
        if current.stale and not missing:
            ttl_s = int(current.known.fresh_until - self._clock.monotonic()) - 1
            return CacheStatus("stale", hit=True, ttl_s=ttl_s)
        if opened is not None and opened.status == 304 and not missing:
            return CacheStatus("revalidated", fwd="stale", fwd_status=304, collapsed=not current.first)
        if opened is not None and opened.status != 304:
            fwd = "stale" if current.validated else "uri-miss"
            return CacheStatus("miss", fwd=fwd, fwd_status=opened.status, stored=True, collapsed=not current.first)
        if presence is None or not missing:
            return HIT_DISK if presence is not None and presence.disk else HIT_MEMORY
        some = presence.memory or presence.disk
        return CacheStatus(
            "partial" if some else "miss",
            fwd="partial" if some else "uri-miss",
            fwd_status=206,
            stored=True,
            collapsed=presence.joined,
        )
