"""Reads here and there that together cover a region: what lies around one more is asked for in the same GET. Pure.

A hundred tiles of a map in no order have no way that `streams` could know. But the more of a region has been read, the
likelier is it that the rest will be. So where enough is here around a read that misses, its GET is made longer, towards
what is here on both sides. That never costs a request. It can cost bytes, and those are bounded four times: by what was
asked for (`BROUGHT_MAX`), by the length of the read itself, by the share of what is here around it, which has to be
larger as long as nothing has been proved, and by the ledger, which ends it where more is wasted than used.

Fetching whole neighbourhoods, the largest in which half of the blocks have been read, was tried on the same recorded
reads: it needed as many requests for tiles in no order, but for a walk across a map it asked 27 times in place of 22
and for 39 MB in place of 31, as the holes in what is here are many and each is a GET of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.read.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

READS_MIN: Final = 4  # that missed; fewer have no surroundings worth the name
AROUND_READS: Final = 4  # so many times the length of a read is looked at on each of its sides
SHARE_MIN: Final = 0.4  # of that has to be here, and asked for by somebody
SHARE_PROVED: Final = 0.2  # the same, where what was fetched so has nearly always been used
PROOF_BLOCKS: Final = 8  # used ones, with no more than a quarter as many wasted, are a proof
LONGER_MAX: Final = 3  # times the length of the read is fetched around it
BEFORE_MAX: Final = 2  # of these before it: he waits for them to pass by, 17 ms for 1 MB and a half at 100 MB/s
BROUGHT_MAX: Final = 1.75  # bytes fetched for one asked for; blocks have borders, so that some are for nothing anyway
LATE_READS: Final = 64  # after so many more nobody comes for it any more


class Density(Ledger):
    """What the reads of one version have covered."""

    def __init__(self, block_bytes: int, max_window_bytes: int) -> None:
        """`max_window_bytes` is the longest GET that a read is made part of."""
        super().__init__()
        self._block_bytes = block_bytes
        self._max_window_bytes = max_window_bytes
        self._reads = 0
        self._asked_bytes = 0
        self._brought_bytes = 0
        self._planned_at: dict[int, int] = {}  # block to number of the read, in order

    def used_by(self, asked_bytes: int) -> None:
        """Somebody asked for so much, and what was fetched around others had it."""
        self._asked_bytes += asked_bytes

    def plan(
        self,
        asked_bytes: int,
        run: range,
        blocks: int,
        here: Callable[[int], bool],
        coming: Callable[[int], bool],
        room_blocks: int,
    ) -> Sequence[int]:
        """A read of `asked_bytes` in an object of so many `blocks` misses those of `run`. What is to be fetched with
        them, ascending, at most `room_blocks`; the caller fetches all of it. `here` says of a block whether somebody
        has asked for it, `coming` whether it need not be fetched."""
        self._reads += 1
        self._asked_bytes += asked_bytes
        self._brought_bytes += len(run) * self._block_bytes
        spare_bytes = BROUGHT_MAX * self._asked_bytes - self._brought_bytes
        spare_blocks = int(spare_bytes) // self._block_bytes
        longest = self._max_window_bytes // self._block_bytes - len(run)
        most = min(spare_blocks, longest, room_blocks, LONGER_MAX * len(run))
        if self.stopped or self._reads <= READS_MIN or most <= 0 or not self._dense(run, blocks, here):
            return ()
        before, after = self._hole(run, -1, blocks, most, coming), self._hole(run, 1, blocks, most, coming)
        # The shorter side first: what is closed is worth more than what is only longer.
        if after <= before:
            before = min(before, most - after, BEFORE_MAX * len(run))
        else:
            before = min(before, BEFORE_MAX * len(run))
            after = min(after, most - before)
        planned = (*range(run.start - before, run.start), *range(run.stop, run.stop + after))
        self._brought_bytes += len(planned) * self._block_bytes
        self._planned_at.update(dict.fromkeys(planned, self._reads))
        return planned

    def settle(self, index: int, *, used: bool) -> None:
        """As `Ledger.settle`."""
        self._planned_at.pop(index, None)
        super().settle(index, used=used)

    def late(self) -> Iterator[int]:
        """Pending blocks for which nobody has come in time."""
        for index, number in list(self._planned_at.items()):
            if number + LATE_READS >= self._reads:
                return
            if index in self.pending:
                yield index
            else:
                del self._planned_at[index]

    def _dense(self, run: range, blocks: int, here: Callable[[int], bool]) -> bool:
        reach = AROUND_READS * len(run)
        around = [*range(max(0, run.start - reach), run.start), *range(run.stop, min(blocks, run.stop + reach))]
        proved = self.used >= PROOF_BLOCKS and 4 * self.wasted <= self.used
        return sum(map(here, around)) >= (SHARE_PROVED if proved else SHARE_MIN) * len(around)

    @staticmethod
    def _hole(run: range, sign: int, blocks: int, most: int, coming: Callable[[int], bool]) -> int:
        """How many blocks are missing beside the run, at most `most`."""
        count, index = 0, run.stop if sign > 0 else run.start - 1
        while count < most and 0 <= index < blocks and not coming(index):
            count, index = count + 1, index + sign
        return count
