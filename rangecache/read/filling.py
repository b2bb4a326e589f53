"""Brings bytes into the tiers before anybody asks for them.

What is there already costs nothing; what somebody fetches at this moment is waited for; the rest is claimed as readers
claim it, but asked for as `warm`, which the origin's permits rank below everything that is waited for. A fill keeps no
bytes: blocks land in the tiers. It goes no faster than a slow tier takes them, so that none are dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.aio.deadline import Deadline
from rangecache.aio.slots import Slots
from rangecache.errors import GenerationGone, InvalidRange, NotFound, NotStorable, RangeIgnored, TransientError
from rangecache.ranges import ByteRange, OffsetRange, block_indices, block_range, resolve
from rangecache.read.fetcher import SKIP_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.aio.clock import Clock
    from rangecache.blocks.tiers import Tiers
    from rangecache.model import ObjectRef
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.hand_off import HandOff
    from rangecache.read.known import Known
    from rangecache.read.opening import Opener
    from rangecache.read.run import Run

IN_FLIGHT_BYTES: Final = 32 * 1024 * 1024  # of all fills together; half of what may wait to be written to disk
FLUSH_PATIENCE_S: Final = 60.0  # for the disk, after each slice: with many readers its queue may never be empty
RESTARTS: Final = 1  # a version that dies while it is filled is replaced by the current one, once
# What was joined and failed is asked for once more, as it may be of a kind that is never repeated; so is what a purge
# has cancelled.
ATTEMPTS: Final = 2
_COUNTED_AT_ONCE: Final = 1024


@dataclass(slots=True)
class Tally:
    """Bytes of whole blocks, of one fill or of many together."""

    wanted: int = 0
    present: int = 0
    """Were in a tier already."""
    fetched: int = 0
    """Have landed since."""

    @property
    def done(self) -> int:
        """All that need not be waited for any more."""
        return self.present + self.fetched


class Filled(NamedTuple):
    """What was filled: blocks of one version."""

    known: Known
    blocks: tuple[range, ...]
    """Block numbers, ascending, disjoint."""
    asked: bool
    """Whether it took an answer of the origin."""


class _Attempt:
    """What one attempt adds to a tally that others add to as well, so that it can be taken back."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._added = Tally()

    def add(self, *, wanted: int = 0, present: int = 0, fetched: int = 0) -> None:
        for each in (self._tally, self._added):
            each.wanted += wanted
            each.present += present
            each.fetched += fetched

    @property
    def has_fetched(self) -> bool:
        return self._added.fetched > 0

    def take_back(self) -> None:
        added = self._added
        self.add(wanted=-added.wanted, present=-added.present, fetched=-added.fetched)


class _Slice(NamedTuple):
    """Some blocks on their way."""

    indices: list[int]
    runs: list[Run]
    joined: bool
    """Some of them were on their way already."""
    missing_bytes: int
    bytes: int


class Filler:
    """Fills objects. One for the program, so that all fills share one bound."""

    def __init__(self, catalog: Catalog, opener: Opener, fetcher: Fetcher, tiers: Tiers, clock: Clock) -> None:
        self._catalog = catalog
        self._opener = opener
        self._fetcher = fetcher
        self._tiers = tiers
        self._clock = clock
        self._slots = Slots(IN_FLIGHT_BYTES)

    async def fill(self, ref: ObjectRef, ranges: Sequence[RangeSpec] | None, tally: Tally) -> Filled:
        """Bring the blocks of `ranges` (None: the whole object) of the current version into the tiers; `tally` is kept
        up to date.

        Raises `InvalidRange` where none of the ranges lies in the object, `NotStorable` where it may not be kept, and
        what the origin's answer means. Cancelled, it lets go of what nobody else wants.
        """
        for restart in range(RESTARTS + 1):
            attempt = _Attempt(tally)
            try:
                return await self._fill(ref, ranges, attempt)
            except (GenerationGone, NotStorable, RangeIgnored):
                attempt.take_back()
                if restart == RESTARTS:
                    raise
        raise AssertionError("unreachable")

    async def flush(self) -> None:
        """Wait until all that was filled is in the tiers and would survive the end of the process; `FLUSH_PATIENCE_S`
        at the most, as with many readers there is always something that has not been written."""
        with suppress(TimeoutError):
            async with Deadline(self._clock, FLUSH_PATIENCE_S):
                await self._tiers.flush()
                await self._catalog.flush()

    async def kept_bytes(self, filled: Filled) -> int:
        """How much of what was filled some tier has now."""
        known, kept = filled.known, 0
        for number, index in enumerate(chain.from_iterable(filled.blocks), 1):
            if self._tiers.contains(known.block_key(index)):
                kept += _bytes(known, index)
            if not number % _COUNTED_AT_ONCE:
                await asyncio.sleep(0)
        return kept

    # --- which version --------------------------------------------------------------------------------------------

    async def _fill(self, ref: ObjectRef, ranges: Sequence[RangeSpec] | None, attempt: _Attempt) -> Filled:
        known = await self._catalog.find(ref)
        if known is None and self._catalog.is_absent(ref):
            raise NotFound("the origin has no such object")
        opened: Run | None = None
        asked = False
        if known is None or self._clock.monotonic() >= known.fresh_until:
            wanted = ranges[0] if ranges else OffsetRange(0)
            stale = None if known is None or known.bypass else known
            found, first = await self._opener.open(ref, wanted, stale, purpose="warm")
            known, opened, asked = found.known, found.run, True
            if found.hand_off is not None and first:
                await _take(found.hand_off, known)
        if known.bypass:
            raise NotStorable("the origin gives no strong validator for it, or forbids that it is kept")
        filled = Filled(known, _blocks(known, ranges), asked)
        attempt.add(wanted=sum(_span(known, each) for each in filled.blocks))
        await self._bring(filled, opened, attempt)
        return filled._replace(asked=asked or attempt.has_fetched)

    # --- its blocks -----------------------------------------------------------------------------------------------

    async def _bring(self, filled: Filled, opened: Run | None, attempt: _Attempt) -> None:
        """Keep slices on their way, as many as there are slots for, until all have landed."""
        under_way: deque[_Slice] = deque()
        indices = chain.from_iterable(filled.blocks)
        try:
            while batch := list(islice(indices, self._fetcher.run_blocks(filled.known))):
                size = sum(_bytes(filled.known, index) for index in batch)
                while not self._slots.take_now(size):
                    # Nobody waits for slots while he has some: two fills that did would wait for each other.
                    if under_way:
                        await self._landed(filled.known, under_way[0], attempt)
                        self._let_go(under_way.popleft())
                    else:
                        await self._slots.take(size)
                        break
                under_way.append(self._claim(filled.known, batch, size, opened, attempt))
                await asyncio.sleep(0)  # all of it may be here already
            while under_way:
                await self._landed(filled.known, under_way[0], attempt)
                self._let_go(under_way.popleft())
        finally:
            while under_way:
                self._let_go(under_way.popleft())

    def _claim(self, known: Known, batch: list[int], size: int, opened: Run | None, attempt: _Attempt) -> _Slice:
        """Start or join the runs of the blocks that are missing. What the opening brought counts as fetched."""
        brought = opened.blocks if opened is not None else range(0)
        missing = [index for index in batch if index in brought or not self._tiers.contains(known.block_key(index))]
        missing_bytes = sum(_bytes(known, index) for index in missing)
        attempt.add(present=size - missing_bytes)
        unasked = [index for index in missing if index not in brought]
        joined = any(self._fetcher.flying(known.block_key(index)) for index in unasked)
        part = _Slice(missing, [], joined, missing_bytes, size)
        if opened is not None and len(unasked) < len(missing):
            self._follow(part, [opened])
        self._follow(part, self._fetcher.claim(known, unasked, "warm"))
        return part

    def _follow(self, part: _Slice, runs: list[Run]) -> None:
        for run in runs:
            self._fetcher.follow(run)
        part.runs.extend(runs)

    async def _landed(self, known: Known, part: _Slice, attempt: _Attempt) -> None:
        """Wait until the blocks of a slice are in the tiers, those of the disk included."""
        waited = 0
        for left in reversed(range(ATTEMPTS)):
            try:
                for run in part.runs[waited:]:
                    await _ended(run)
                break
            except TransientError:
                purged = any(run.task is not None and run.task.cancelled() for run in part.runs)
                if not left or not (part.joined or purged):
                    raise
            waited = len(part.runs)
            self._follow(part, self._fetcher.claim(known, part.indices, "warm"))
        if part.runs:
            try:
                async with Deadline(self._clock, FLUSH_PATIENCE_S):
                    await self._tiers.flush()
            except TimeoutError:
                pass  # what is dropped is not counted as kept
        attempt.add(fetched=part.missing_bytes)

    def _let_go(self, part: _Slice) -> None:
        for run in part.runs:
            self._fetcher.unfollow(run)
        self._slots.give_back(part.bytes)


async def _ended(run: Run) -> None:
    """Wait for a run's end. Raises what it failed with."""
    if run.task is not None:
        await asyncio.wait([run.task])
    if run.error is not None:
        raise run.error


async def _take(hand_off: HandOff, known: Known) -> None:
    """Read a whole object that came where a part was asked for: its blocks are kept as they pass."""
    if known.bypass or hand_off.range.start or hand_off.range.length > SKIP_BYTES_MAX:
        hand_off.discard()
        return
    hand_off.take()
    try:
        async with aclosing(hand_off.chunks()) as chunks:
            async for _ in chunks:
                pass
    finally:
        hand_off.discard()


def _blocks(known: Known, ranges: Sequence[RangeSpec] | None) -> tuple[range, ...]:
    """The blocks of all ranges, ascending, each once. Raises `InvalidRange`."""
    size, block_bytes = known.meta.size, known.block_bytes
    if ranges is None:
        return (block_indices(ByteRange(0, size), block_bytes),)
    spans = sorted(
        (each.start, each.stop)
        for spec in ranges
        if (found := resolve(spec, size)) is not None
        for each in (block_indices(found, block_bytes),)
    )
    if not spans and size:
        raise InvalidRange(f"none of the ranges lies in the object, which has {size} bytes", size)
    merged: list[range] = []
    for start, stop in spans:
        if merged and start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(stop, merged[-1].stop))
        else:
            merged.append(range(start, stop))
    return tuple(merged)


def _span(known: Known, blocks: range) -> int:
    return min(blocks.stop * known.block_bytes, known.meta.size) - blocks.start * known.block_bytes


def _bytes(known: Known, index: int) -> int:
    return block_range(index, known.block_bytes, known.meta.size).length
