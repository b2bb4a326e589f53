"""Which blocks a tier keeps: the policy behind every bounded store, pure, weighted by bytes.

A policy holds names and sizes, never data. The tier tells it what came in and what was read, and asks it what has to
go; the tier then drops exactly those. LRU is here; the interface is as wide as a policy with a probation queue, ghosts
or frequencies needs (W-TinyLFU, S3-FIFO): such a policy turns a newcomer down by naming it among the evicted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = TypeVar("K")


class Standing(NamedTuple, Generic[K]):
    """What a policy knows of one name: enough to go on after a restart."""

    key: K
    size_bytes: int
    rank: int
    """0 to 255, in the policy's own meaning."""


class Admission(Protocol[K]):
    """The names that one tier holds, and their order of departure."""

    @property
    def held_bytes(self) -> int:
        """The sizes of all names held, together."""
        ...

    @property
    def touch(self) -> Callable[[K], None]:
        """Says that a name which is held was read. On the hot path: an attribute, so that a C method can stand here."""
        ...

    def admit(self, key: K, size_bytes: int) -> None:
        """A newcomer, or a new size of a name that is held. The bound may be broken until `evict` is called."""
        ...

    def wants(self, key: K, size_bytes: int, limit_bytes: int) -> bool:
        """A use of a name that is not held and need not be, since its data can be had for little: whether it has been
        used more than those who would have to go for it, and should be held. The use is noted."""
        ...

    def remove(self, key: K) -> None:
        """The name has gone for another reason than eviction; nothing happens if it was not held."""
        ...

    def evict(self, limit_bytes: int) -> list[K]:
        """Give up names until at most `limit_bytes` are held; which ones. The newcomer itself may be among them."""
        ...

    def standing(self) -> Iterator[Standing[K]]:
        """Every name that is held, the first to go first.

        It may be iterated in pieces, with changes between them: names that come, go or are touched meanwhile may be
        missing, stay where they were or appear though they have gone; all others come exactly once. To begin costs no
        more than copying an array of small numbers: the event loop is held as long.
        """
        ...

    def favourites(self) -> Iterator[K]:
        """The names that were read again since they came, as far as the policy can tell. As `standing` in all else."""
        ...

    def restore(self, standing: Standing[K]) -> None:
        """Take up a name again where an earlier `standing` left it. To be called in its order, before anything else."""
        ...

    def __contains__(self, key: K, /) -> bool: ...

    def __len__(self) -> int: ...


class LRU(Generic[K]):
    """The least recently read or written goes first."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[K, int] = OrderedDict()
        self.held_bytes = 0
        self.touch: Callable[[K], None] = self._sizes.move_to_end

    def admit(self, key: K, size_bytes: int) -> None:
        """As `Admission.admit`."""
        self.held_bytes += size_bytes - self._sizes.pop(key, 0)
        self._sizes[key] = size_bytes

    def wants(self, key: K, size_bytes: int, limit_bytes: int) -> bool:
        """As `Admission.wants`. Whoever was used last stays longest, so always."""
        return True

    def remove(self, key: K) -> None:
        """As `Admission.remove`."""
        self.held_bytes -= self._sizes.pop(key, 0)

    def evict(self, limit_bytes: int) -> list[K]:
        """As `Admission.evict`."""
        evicted = []
        while self._sizes and self.held_bytes > limit_bytes:
            key, size_bytes = self._sizes.popitem(last=False)
            self.held_bytes -= size_bytes
            evicted.append(key)
        return evicted

    def standing(self) -> Iterator[Standing[K]]:
        """As `Admission.standing`; there are no ranks. Begins with a copy of all names: not for large tiers."""
        return (Standing(key, size_bytes, 0) for key, size_bytes in list(self._sizes.items()))

    def favourites(self) -> Iterator[K]:
        """As `Admission.favourites`: it cannot tell, so all of them."""
        return (each.key for each in self.standing())

    def restore(self, standing: Standing[K]) -> None:
        """As `Admission.restore`."""
        self.admit(standing.key, standing.size_bytes)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __repr__(self) -> str:
        return f"<LRU {len(self._sizes)} held, {self.held_bytes} bytes>"
