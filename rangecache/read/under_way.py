"""Runs under way: which one brings a block, how much is still to come, and what is kept for those who read."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rangecache.model import BlockKey
    from rangecache.read.epochs import Epochs
    from rangecache.read.run import Run
    from rangecache.read.selection import Selection


class UnderWay:
    """The books of all runs that have not ended, or keep blocks for their readers."""

    def __init__(self, epochs: Epochs, ahead_bytes: int) -> None:
        """`ahead_bytes` bounds `held_bytes`, and what may be begun ahead of readers together with it."""
        self._epochs = epochs
        self.ahead_bytes = ahead_bytes
        self._flying: dict[BlockKey, Run] = {}
        self._held: OrderedDict[Run, int] = OrderedDict()  # runs that keep blocks for their readers, and how many bytes
        self.held_bytes = 0
        """What runs keep for their readers, besides the tiers."""
        self._coming: dict[Run, int] = {}  # runs that have not ended, and how many bytes are still to come
        self.coming_bytes = 0
        """What runs under way are still to bring."""

    def __len__(self) -> int:
        return len(set(self._flying.values()))

    @property
    def landing_bytes(self) -> int:
        """What blocks that are not complete yet take."""
        return sum(run.landing_bytes for run in self._coming)

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._flying

    def find(self, key: BlockKey) -> Run | None:
        """The run that brings the block."""
        return self._flying.get(key)

    def select(self, selection: Selection) -> list[Run]:
        """Those that have not ended, for these objects."""
        return [run for run in self._coming if selection.matches(run.known.meta.ref)]

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more may be fetched ahead of their reader."""
        return self.held_bytes + self.coming_bytes + size <= self.ahead_bytes

    def add(self, run: Run, epoch: int) -> None:
        """A run begins, of which the origin is asked in `epoch`."""
        run.epoch = epoch
        # A warm run is ahead of no reader: it takes no room from those who are read from.
        self._expect(run, 0 if run.purpose == "warm" else run.length)

    def widen(self, run: Run, blocks: range) -> None:
        """As `Run.widen`."""
        before_bytes = run.length
        run.widen(blocks)
        self._expect(run, run.length - before_bytes)

    def _expect(self, run: Run, ahead_bytes: int) -> None:
        self._coming[run] = self._coming.get(run, 0) + ahead_bytes
        self.coming_bytes += ahead_bytes
        if self._epochs.over(run.known.meta.ref, run.epoch):
            return  # it is for its own readers alone
        for index in run.blocks:
            self._flying.setdefault(run.known.block_key(index), run)

    def remove(self, run: Run) -> None:
        """The run has ended, or is to be: nothing more comes of it, and nobody may join it."""
        self.coming_bytes -= self._coming.pop(run, 0)
        self.hide(run)

    def hide(self, run: Run) -> None:
        """Nobody may join the run any more."""
        for index in run.blocks:
            self.landed(run, run.known.block_key(index))

    def landed(self, run: Run, key: BlockKey) -> None:
        """The block is not on its way any more."""
        if self._flying.get(key) is run:
            del self._flying[key]

    def hold(self, run: Run, size: int) -> None:
        """A block has landed: keep it for the run's readers, in place of the oldest that is kept if need be."""
        if self._coming.get(run):
            self._coming[run] -= size
            self.coming_bytes -= size
        if not run.readers:
            run.drop()
            return
        self._held[run] = self._held.get(run, 0) + size
        self.held_bytes += size
        while self.held_bytes > self.ahead_bytes:
            self.let_go(next(iter(self._held)))

    def let_go(self, run: Run) -> None:
        """Keep no complete block of the run; readers find them in the tiers."""
        self.held_bytes -= self._held.pop(run, 0)
        run.drop()
