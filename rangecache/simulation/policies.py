"""What rangecache's policy is measured against, with as much of its interface as a replay needs. Names are numbers of
blocks."""

from __future__ import annotations

import heapq
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.blocks.admission import LRU
from rangecache.blocks.admission_index import DictIndex
from rangecache.blocks.admission_tinylfu import WTinyLFU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Policy(Protocol):
    """The part of `blocks.admission.Admission` that decides what stays."""

    @property
    def held_bytes(self) -> int: ...

    @property
    def touch(self) -> Callable[[int], None]: ...

    def admit(self, key: int, size_bytes: int) -> None: ...

    def evict(self, limit_bytes: int) -> list[int]: ...


class LFU:
    """The least often used goes first, of several the least recently used. Counts are lost with their block."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._by_uses: dict[int, OrderedDict[int, None]] = {}
        self._fewest = 1
        self.held_bytes = 0

    def touch(self, key: int) -> None:
        """As `Admission.touch`."""
        uses = self._take_out(key)
        if uses == self._fewest and uses not in self._by_uses:
            self._fewest += 1
        self._put_in(key, uses + 1)

    def admit(self, key: int, size_bytes: int) -> None:
        """As `Admission.admit`."""
        if key in self._sizes:
            self.held_bytes += size_bytes - self._sizes[key]
            self._sizes[key] = size_bytes
            self.touch(key)
            return
        self._sizes[key] = size_bytes
        self.held_bytes += size_bytes
        self._put_in(key, 1)
        self._fewest = 1

    def remove(self, key: int) -> None:
        """As `Admission.remove`."""
        if key in self._sizes:
            self._take_out(key)
            self.held_bytes -= self._sizes.pop(key)

    def evict(self, limit_bytes: int) -> list[int]:
        """As `Admission.evict`."""
        evicted = []
        while self._sizes and self.held_bytes > limit_bytes:
            while self._fewest not in self._by_uses:
                self._fewest += 1
            key = next(iter(self._by_uses[self._fewest]))
            self.remove(key)
            evicted.append(key)
        return evicted

    def _put_in(self, key: int, uses: int) -> None:
        self._uses[key] = uses
        self._by_uses.setdefault(uses, OrderedDict())[key] = None

    def _take_out(self, key: int) -> int:
        uses = self._uses.pop(key)
        peers = self._by_uses[uses]
        del peers[key]
        if not peers:
            del self._by_uses[uses]
        return uses

    def __contains__(self, key: int, /) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)


_NEVER: Final = (1 << 32) - 1
_NUMBER_BITS: Final = 32


class Belady:
    """Who is used latest again goes first, a newcomer included: nothing can have more hits if all blocks are equally
    large (Belady, 1966). With some smaller blocks it is a little less than the best.

    It must be told all uses beforehand, and then be given exactly those, in their order, as `touch` or `admit`.
    """

    def __init__(self, uses: Sequence[int]) -> None:
        self._next_uses = _next_uses(uses)
        self._at = 0
        self._sizes: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._latest_first: list[int] = []  # a heap of -(next use, block) in one number; what is outdated stays in it
        self.held_bytes = 0

    def touch(self, key: int) -> None:
        """As `Admission.touch`."""
        next_use = self._next[key] = self._next_uses[self._at]
        self._at += 1
        heapq.heappush(self._latest_first, -(next_use << _NUMBER_BITS | key))
        if len(self._latest_first) > 64 + 4 * len(self._sizes):
            self._latest_first = [-(use << _NUMBER_BITS | key) for key, use in self._next.items()]
            heapq.heapify(self._latest_first)

    def admit(self, key: int, size_bytes: int) -> None:
        """As `Admission.admit`."""
        self.held_bytes += size_bytes - self._sizes.get(key, 0)
        self._sizes[key] = size_bytes
        self.touch(key)

    def remove(self, key: int) -> None:
        """As `Admission.remove`."""
        if key in self._sizes:
            self.held_bytes -= self._sizes.pop(key)
            del self._next[key]

    def evict(self, limit_bytes: int) -> list[int]:
        """As `Admission.evict`."""
        evicted = []
        while self.held_bytes > limit_bytes:
            entry = -heapq.heappop(self._latest_first)
            key = entry & _NEVER
            if self._next.get(key) == entry >> _NUMBER_BITS:
                self.remove(key)
                evicted.append(key)
        return evicted

    def __contains__(self, key: int, /) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)


def _next_uses(uses: Sequence[int]) -> array[int]:
    """For each use the position of the next one of the same block."""
    found = array("I", bytes(4 * len(uses)))
    following: dict[int, int] = {}
    for at in range(len(uses) - 1, -1, -1):
        found[at] = following.get(uses[at], _NEVER)
        following[uses[at]] = at
    return found


def _rangecache(_uses: Sequence[int]) -> Policy:
    index: DictIndex[int] = DictIndex()
    return WTinyLFU(index)


def _lru(_uses: Sequence[int]) -> Policy:
    return LRU()


POLICIES: Final[dict[str, Callable[[Sequence[int]], Policy]]] = {
    "rangecache": _rangecache,
    "lru": _lru,
    "lfu": lambda _uses: LFU(),
    "belady": Belady,
}
"""Name → what makes one for a trace whose blocks are touched in this order."""
