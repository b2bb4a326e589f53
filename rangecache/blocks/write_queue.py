"""Blocks on their way to disk: a queue bounded in bytes that can be looked into. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rangecache.model import BlockKey


class QueuedBlock(NamedTuple):
    """One block to write."""

    key: BlockKey
    name: bytes
    """Its name on disk."""
    data: memoryview
    size_bytes: int
    """What it will take on disk."""


class WriteQueue:
    """First in, first out. A block can be found here until it is said to be done, also while it is being written."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._blocks: dict[bytes, QueuedBlock] = {}
        self._waiting: deque[QueuedBlock] = deque()
        self.held_bytes = 0
        """Bytes of the blocks that wait or are being written; memory that nobody else counts."""

    def offer(self, block: QueuedBlock) -> bool:
        """Queue a block; False if there is no room. One that is here already is taken as queued."""
        if block.name in self._blocks:
            return True
        if self.held_bytes + block.data.nbytes > self._limit_bytes:
            return False
        self._blocks[block.name] = block
        self._waiting.append(block)
        self.held_bytes += block.data.nbytes
        return True

    def find(self, name: bytes) -> memoryview | None:
        """The bytes of a block that is not yet on disk."""
        block = self._blocks.get(name)
        return None if block is None else block.data

    def take(self, batch_bytes: int) -> list[QueuedBlock]:
        """The next blocks up to `batch_bytes`, at least one if any waits. Each is to be given to `done`."""
        batch: list[QueuedBlock] = []
        taken_bytes = 0
        while self._waiting and (not batch or taken_bytes + self._waiting[0].data.nbytes <= batch_bytes):
            batch.append(self._waiting.popleft())
            taken_bytes += batch[-1].data.nbytes
        return batch

    def withdraw(self, doomed: Callable[[QueuedBlock], bool]) -> list[QueuedBlock]:
        """Give up those that still wait and are `doomed`; which ones."""
        withdrawn = [block for block in self._waiting if doomed(block)]
        if withdrawn:
            names = {block.name for block in withdrawn}
            self._waiting = deque(block for block in self._waiting if block.name not in names)
        for block in withdrawn:
            self.done(block)
        return withdrawn

    def __iter__(self) -> Iterator[QueuedBlock]:
        """Those that still wait, in order."""
        return iter(tuple(self._waiting))

    def done(self, block: QueuedBlock) -> None:
        """The block is on disk, or will never be."""
        del self._blocks[block.name]
        self.held_bytes -= block.data.nbytes

    def abandon(self) -> int:
        """Give up what still waits; how many blocks."""
        abandoned = len(self._waiting)
        while self._waiting:
            self.done(self._waiting.popleft())
        return abandoned

    @property
    def waiting(self) -> int:
        """Blocks that nobody has taken yet."""
        return len(self._waiting)
