"""Readers' ways through an object, found in the order of its reads. No I/O, no clock: reads in, advice out.

HTTP says nothing of who reads, so a stream is what several reads have in common: each continues the one before it. It
is a `Sweep` (each begins where the last one ended, forward or backward) or a `Stride` (always the same distance from
one's start to the next one's, as a column of tiles or every tenth chunk). Rules that this file keeps:

1. Nothing is advised on the strength of one read, nor of two: `evidence_min` reads have to continue a stream.
2. The window begins with one block, or what one read takes if that is more, doubles each time that it is used up to the
   maximum, and collapses on a jump.
3. Every block that was advised ends as used or as wasted. A stream of which more is wasted than used is over, and the
   next one of that object has to show twice the evidence.

Reads are counted in blocks, not in bytes: what is in memory already is answered without telling anybody, so of a
reader who takes small pieces only those are seen that reach a block for the first time.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.ranges import ByteRange, block_indices
from rangecache.read.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

# Reads that have to continue a stream before anything is advised. Distances happen to be equal more often than ends
# happen to meet: of random reads of 1,000 blocks one in 50 fits what any two others have begun.
SWEEP_EVIDENCE_MIN: Final = 2
STRIDE_EVIDENCE_MIN: Final = 3
STREAMS_MAX: Final = 8  # of one object; GDAL and the Zarr readers have up to ten requests under way, not ten places
LOOSE_MAX: Final = 8  # reads that continue nothing, kept as possible beginnings; and how long a beginning is kept
LATE_READS: Final = 8  # so far behind the foremost one a read may arrive: clients ask for neighbours at the same time
STRIDE_SLACK: Final = 1 / 32  # of the distance: compressed tiles are not all equally long
DOUBT_MAX: Final = 4  # doublings of the evidence that is asked for


class Stream(Ledger):
    """What all kinds of streams have."""

    evidence_min: int

    def __init__(self, block_bytes: int, max_window_bytes: int) -> None:
        super().__init__()
        self.evidence = 0
        self.seen_at = 0
        """Number of the read that continued it last."""
        self._block_bytes = block_bytes
        self._max_window_bytes = max(block_bytes, max_window_bytes)
        self._moved = False  # since the last plan
        self._planned_bytes = block_bytes  # the window of the last plan
        self.window_bytes = block_bytes

    def jump(self) -> None:
        """The reader has left the way for a moment: believe in little, and begin small."""
        self.window_bytes = self._planned_bytes = self._block_bytes
        self.evidence = 0

    def _enough(self, ahead_bytes: int) -> bool:
        """Whether there is nothing to plan yet: more than half of the last window is still ahead."""
        if not self._moved or 2 * ahead_bytes > self._planned_bytes:
            return True
        self._moved = False
        return False

    def _window(self, read_bytes: int) -> int:
        """How far ahead is to be planned. Less than one read would save its reader no time at all."""
        return min(max(self.window_bytes, read_bytes), self._max_window_bytes)

    def _widen(self, planned_bytes: int) -> None:
        self._planned_bytes = planned_bytes
        self.window_bytes = min(2 * planned_bytes, self._max_window_bytes)


class Way(Protocol):
    """A stream of either kind."""

    def follow(self, wanted: ByteRange) -> bool:
        """Whether the read continues the stream, which then goes on from it."""
        ...

    def plan(self, size: int, room_bytes: int) -> list[range]:
        """Blocks to fetch now, nearest first, all together no more than `room_bytes`. They count as asked for. Empty
        while enough of what was asked for is still ahead of the reader."""
        ...

    def behind(self) -> Iterator[int]:
        """Pending blocks that the reader has passed by."""
        ...


class Sweep(Stream):
    """Reads each of which begins where the one before it ended. `sign` is 1 forward, -1 backward.

    Positions are counted along the way: block 7 is 7 for whoever goes forward, -7 for whoever comes back.
    """

    evidence_min = SWEEP_EVIDENCE_MIN

    def __init__(self, first: ByteRange, sign: int, block_bytes: int, max_window_bytes: int) -> None:
        super().__init__(block_bytes, max_window_bytes)
        self.sign = sign
        self._reach = len(block_indices(first, block_bytes))
        _, self._at = self._along(first)
        self._ahead = self._at

    def _along(self, wanted: ByteRange) -> tuple[int, int]:
        blocks = block_indices(wanted, self._block_bytes)
        return (blocks.start, blocks.stop - 1) if self.sign > 0 else (1 - blocks.stop, -blocks.start)

    def follow(self, wanted: ByteRange) -> bool:
        """As `Way.follow`."""
        first, last = self._along(wanted)
        # Until it is clear that these reads belong together nothing may be missing or out of turn between them.
        clear = self.evidence >= self.evidence_min
        reach = max(self._reach, last - first + 1)
        if last <= self._at:
            return clear and first > self._at - LATE_READS * reach
        if not self._at <= first <= self._at + (reach if clear else 1):
            return False
        follows = first <= self._at + 1
        self._move(last, last - first + 1)
        if not follows:
            self._moved = False  # what it left out may still come, and if not then this was no part of the way
        self.evidence += 1
        return True

    def resume(self, wanted: ByteRange) -> None:
        """Go on from this read, which is in what was fetched ahead but not next."""
        first, last = self._along(wanted)
        self.jump()
        if last > self._at:
            self._move(last, last - first + 1)

    def _move(self, last: int, reach: int) -> None:
        self._at, self._reach = last, reach
        self._ahead = max(self._ahead, last)
        self._moved = True

    def plan(self, size: int, room_bytes: int) -> list[range]:
        """As `Way.plan`."""
        if self._enough((self._ahead - self._at) * self._block_bytes):
            return []
        window_bytes = self._window(self._reach * self._block_bytes)
        window = window_bytes // self._block_bytes
        end = (-(-size // self._block_bytes) - 1) if self.sign > 0 else 0
        last = min(self._at + window, end, self._ahead + room_bytes // self._block_bytes)
        first = self._ahead + 1
        if last < first:
            return []
        self._ahead = last
        self._widen(window_bytes)
        return [range(first, last + 1) if self.sign > 0 else range(-last, 1 - first)]

    def behind(self) -> Iterator[int]:
        """As `Way.behind`."""
        limit = self._at - LATE_READS * self._reach
        for index in list(self.pending):
            if index * self.sign > limit:
                return
            yield index


class Stride(Stream):
    """Reads at equal distances: `step` bytes from one's start to the next one's, either way."""

    evidence_min = STRIDE_EVIDENCE_MIN

    def __init__(self, first: ByteRange, step: int, block_bytes: int, max_window_bytes: int) -> None:
        super().__init__(block_bytes, max_window_bytes)
        self.step = step
        self._last = first
        self._ahead = 0  # reads beyond the last one whose blocks were asked for

    def follow(self, wanted: ByteRange) -> bool:
        """As `Way.follow`."""
        off = wanted.start - self._last.start - self.step
        if abs(off) > abs(self.step) * STRIDE_SLACK:
            return wanted == self._last
        self.step += off // 4  # drifts with what is measured, and follows no single tile
        self._last = wanted
        self._ahead = max(0, self._ahead - 1)
        self._moved = True
        self.evidence += 1
        return True

    def resume(self, wanted: ByteRange) -> None:
        """Go on from this read, which is in what was fetched ahead but not next."""
        self.jump()
        self._last = wanted
        self._ahead = 0

    def plan(self, size: int, room_bytes: int) -> list[range]:
        """As `Way.plan`."""
        length = self._last.length
        each_bytes = -(-length // self._block_bytes) * self._block_bytes
        if self._enough(self._ahead * each_bytes):
            return []
        window_bytes = self._window(each_bytes)
        count = max(1, window_bytes // each_bytes)
        found: list[range] = []
        for number in range(self._ahead + 1, count + 1):
            start = self._last.start + number * self.step
            blocks = block_indices(ByteRange(max(0, start), min(size, start + length)), self._block_bytes)
            room_bytes -= len(blocks) * self._block_bytes
            if not 0 <= start < size or room_bytes < 0:
                break
            self._ahead = number
            found.append(blocks)
        if found:
            self._widen(window_bytes)
        return found

    def behind(self) -> Iterator[int]:
        """As `Way.behind`."""
        sign = 1 if self.step > 0 else -1
        limit = (self._last.start - LATE_READS * self.step) // self._block_bytes * sign
        for index in list(self.pending):
            if index * sign > limit:
                return
            yield index


class Streams:
    """The streams of one version of one object."""

    def __init__(self, block_bytes: int, max_window_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._max_window_bytes = max_window_bytes
        self._streams: list[Sweep | Stride] = []  # the latest at the end
        self._loose: deque[ByteRange] = deque(maxlen=LOOSE_MAX)
        self._doubt = 0
        self._reads = 0

    def __len__(self) -> int:
        return len(self._streams)

    def observe(self, wanted: ByteRange, owner: Ledger | None = None) -> Sweep | Stride | None:
        """The stream that this read continues. `owner` is for whom the read's block was fetched ahead, if it was."""
        self._reads += 1
        found = next((stream for stream in reversed(self._streams) if stream.follow(wanted)), None)
        if found is None:
            found = next((stream for stream in self._streams if stream is owner), None)
            if found is not None:
                found.resume(wanted)
        if found is None:
            found = self._begin(wanted)
        if found is None:
            if not self._loose or wanted != self._loose[-1]:
                self._loose.append(wanted)
        else:
            found.seen_at = self._reads
            self._streams.remove(found)
            self._streams.append(found)
        return found

    def convinced(self, stream: Sweep | Stride) -> bool:
        """Whether the stream has shown enough to fetch ahead for it."""
        return not stream.stopped and stream.evidence >= stream.evidence_min << self._doubt

    def end(self, stream: Sweep | Stride) -> None:
        """It is over, and all its blocks are settled: after one that was no good the next is believed less easily."""
        if stream in self._streams:
            self._streams.remove(stream)
        if stream.wasted > stream.used:
            self._doubt = min(self._doubt + 1, DOUBT_MAX)
        elif stream.used:
            self._doubt = max(self._doubt - 1, 0)

    def trim(self) -> list[Sweep | Stride]:
        """Give up beginnings that came to nothing, and the oldest streams beyond the bound; which ones."""
        since = self._reads - LOOSE_MAX
        gone = [each for each in self._streams if each.evidence < each.evidence_min and each.seen_at < since]
        kept = [each for each in self._streams if each not in gone]
        gone += kept[: max(0, len(kept) - STREAMS_MAX)]
        self._streams = kept[-STREAMS_MAX:]
        return gone

    def _begin(self, wanted: ByteRange) -> Sweep | Stride | None:
        if self._loose and wanted == self._loose[-1]:
            return None  # a crowd that wants one and the same: it goes nowhere
        for stream in self._candidates(wanted):
            if stream.follow(wanted) and stream.evidence:
                self._streams.append(stream)
                return stream
        return None

    def _candidates(self, wanted: ByteRange) -> Iterator[Sweep | Stride]:
        bounds = self._block_bytes, self._max_window_bytes
        loose = list(reversed(self._loose))
        for each in loose:
            yield Sweep(each, 1 if wanted.start >= each.start else -1, *bounds)
        for later, earlier in pairwise(loose[:2]):
            step = later.start - earlier.start
            if abs(step) >= self._block_bytes:
                yield Stride(later, step, *bounds)
