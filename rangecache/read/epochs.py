"""What a purge makes void: answers of the origin that were asked for before it and arrive after it.

Each purge begins an epoch. Whoever asks the origin notes the epoch in which he asks, and before he makes anything
lasting of the answer he asks whether a purge of this object has ended that epoch. The bytes still go to those who
wait for them: they asked before the purge too.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from rangecache.model import BlockKey, ObjectRef
    from rangecache.read.selection import Selection

PURGES_KEPT: Final = 256
"""What was asked for more purges ago than this is void, whatever they purged."""


class Epochs:
    """The purges of this process, the last ones of them with what they purged."""

    def __init__(self) -> None:
        self.now = 0
        """To be noted when the origin is asked."""
        self._purged: deque[Selection] = deque(maxlen=PURGES_KEPT)

    def begin(self, purged: Selection) -> None:
        """From now on, what was asked for until now about these objects is void."""
        self.now += 1
        self._purged.appendleft(purged)

    def over(self, ref: ObjectRef, epoch: int) -> bool:
        """Whether this object has been purged since `epoch`."""
        since = self.now - epoch
        if not since:
            return False
        return since > len(self._purged) or any(purged.matches(ref) for purged in islice(self._purged, since))

    def __repr__(self) -> str:
        return f"<Epochs {self.now} purges>"


class Keeper(Protocol):
    """Takes blocks, as `BlockStore` does."""

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Keep the block, or decide not to."""
        ...


class KeeperSince:
    """Keeps the blocks of an answer that was asked for in one epoch, until that is over."""

    def __init__(self, keeper: Keeper, epochs: Epochs, epoch: int) -> None:
        self._keeper = keeper
        self._epochs = epochs
        self._epoch = epoch

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Keep the block, unless its object has been purged since it was asked for."""
        if not self._epochs.over(key.ref, self._epoch):
            self._keeper.keep(key, data)
