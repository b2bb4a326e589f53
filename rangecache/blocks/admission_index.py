"""Which slot a name has: the policy keeps its state in arrays, and an index says where in them a name's state is.

Two indexes with one interface. `DictIndex` is for any hashable name, fast and about 200 bytes a name. `DigestIndex` is
for digests of 32 bytes, forty bytes a name in all, for as many names as a disk holds blocks.

Slots are numbered from `RESERVED` on, densely: one that is given back is handed out again before a new one is made. The
slots below belong to the policy.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")

RESERVED: Final = 3
"""Slots that are never handed out: the heads of the policy's lists."""
PRINT_BITS: Final = 32
_PRINT_MASK: Final = (1 << PRINT_BITS) - 1


class Index(Protocol[K]):
    """Names and their slots."""

    @property
    def find(self) -> Callable[[K], int | None]:
        """The slot of a name; None if it has none. An attribute, so that a C method can stand here."""
        ...

    def insert(self, key: K) -> int:
        """Give a slot to a name that has none."""
        ...

    def discard(self, slot: int) -> K:
        """Take the slot from its name; which name that was."""
        ...

    def holder(self, slot: int) -> K | None:
        """Whose slot it is; None if it is nobody's."""
        ...

    def clear(self) -> None:
        """Take all slots from all names."""
        ...

    def fingerprint(self, key: K) -> int:
        """32 bits that stand for a name, also for one without a slot."""
        ...

    def __len__(self) -> int: ...


class DictIndex(Generic[K]):
    """Slots of any hashable names.

    Fingerprints are Python's own hashes, salted a process where text is in the name: nobody can choose names that
    share one. Where a run has to be repeated exactly, names of numbers do it.
    """

    def __init__(self) -> None:
        self._slots: dict[K, int] = {}
        self._names: list[K | None] = [None] * RESERVED
        self._free: list[int] = []
        self.find: Callable[[K], int | None] = self._slots.get

    def insert(self, key: K) -> int:
        """As `Index.insert`."""
        if self._free:
            slot = self._free.pop()
            self._names[slot] = key
        else:
            slot = len(self._names)
            self._names.append(key)
        self._slots[key] = slot
        return slot

    def discard(self, slot: int) -> K:
        """As `Index.discard`."""
        key = self._names[slot]
        if key is None:
            raise KeyError(slot)
        del self._slots[key]
        self._names[slot] = None
        self._free.append(slot)
        return key

    def holder(self, slot: int) -> K | None:
        """As `Index.holder`."""
        return self._names[slot]

    def clear(self) -> None:
        """As `Index.clear`."""
        self._slots.clear()
        self._names = [None] * RESERVED
        self._free.clear()

    def fingerprint(self, key: K) -> int:
        """As `Index.fingerprint`."""
        mixed = hash(key) * 0x9E3779B97F4A7C15  # Fibonacci hashing: small numbers hash to themselves
        return mixed >> PRINT_BITS & _PRINT_MASK

    def __len__(self) -> int:
        return len(self._slots)


NAME_BYTES: Final = 32
PREFIX_BYTES: Final = 16
_NOBODY: Final = bytes(NAME_BYTES)
_NONE: Final = 0  # slot 0 is reserved, so it ends chains
# Of a name's second half: the first one is shared by all blocks of an object.
_hash_of: Final = Struct("<16xQ").unpack_from
_print_of: Final = Struct("<24xI").unpack_from
_BUCKETS_MIN: Final = 8


class DigestIndex:
    """Slots of names of 32 bytes whose second halves are digests, in three arrays.

    A hash table by linear hashing (Litwin, "Linear hashing: a new tool for file and table addressing", 1980): there is
    one bucket a name, and when names are added buckets are split one at a time. So it never stops to build itself
    anew, and half of its room is never empty. Names of one bucket are a chain through `_chain`; so are the free slots.
    """

    _names: bytearray
    _chain: array[int]
    _buckets: array[int]
    _round: int
    """How many buckets there were when this round of splits began, a power of two."""
    _free: int
    _held: int

    def __init__(self) -> None:
        self.clear()

    def find(self, key: bytes) -> int | None:
        """As `Index.find`."""
        slot = self._buckets[self._bucket(key)]
        names, chain = self._names, self._chain
        while slot:
            at = slot * NAME_BYTES
            if names[at : at + NAME_BYTES] == key:
                return slot
            slot = chain[slot]
        return None

    def _bucket(self, key: bytes) -> int:
        (hashed,) = _hash_of(key)
        bucket: int = hashed & (2 * self._round - 1)
        return bucket if bucket < len(self._buckets) else bucket - self._round

    def insert(self, key: bytes) -> int:
        """As `Index.insert`. Raises `ValueError` for a name that has not 32 bytes."""
        if len(key) != NAME_BYTES:
            raise ValueError(f"expected a name of {NAME_BYTES} bytes, got {len(key)}")
        slot = self._free
        if slot:
            self._free = self._chain[slot]
            self._names[slot * NAME_BYTES : (slot + 1) * NAME_BYTES] = key
        else:
            slot = len(self._chain)
            self._names += key
            self._chain.append(_NONE)
        self._held += 1
        if self._held > len(self._buckets):
            self._split()
        bucket = self._bucket(key)
        self._chain[slot] = self._buckets[bucket]
        self._buckets[bucket] = slot
        return slot

    def _split(self) -> None:
        """Make one more bucket and share out the names of the one that it takes from."""
        chain, new = self._chain, len(self._buckets)
        slot = self._buckets[new - self._round]
        self._buckets.append(_NONE)
        self._buckets[new - self._round] = _NONE
        while slot:
            following = chain[slot]
            bucket = self._bucket(self._name(slot))
            chain[slot] = self._buckets[bucket]
            self._buckets[bucket] = slot
            slot = following
        if new + 1 == 2 * self._round:
            self._round *= 2

    def discard(self, slot: int) -> bytes:
        """As `Index.discard`."""
        key = self._name(slot)
        buckets, chain, bucket = self._buckets, self._chain, self._bucket(key)
        if buckets[bucket] == slot:
            buckets[bucket] = chain[slot]
        else:
            before = buckets[bucket]
            while chain[before] != slot:
                before = chain[before]
            chain[before] = chain[slot]
        chain[slot] = self._free
        self._free = slot
        self._names[slot * NAME_BYTES : (slot + 1) * NAME_BYTES] = _NOBODY
        self._held -= 1
        return key

    def _name(self, slot: int) -> bytes:
        return bytes(self._names[slot * NAME_BYTES : (slot + 1) * NAME_BYTES])

    def holder(self, slot: int) -> bytes | None:
        """As `Index.holder`."""
        name = self._name(slot)
        return None if name == _NOBODY else name

    def clear(self) -> None:
        """As `Index.clear`."""
        self._names = bytearray(NAME_BYTES * RESERVED)
        self._chain = array("I", bytes(4 * RESERVED))
        self._buckets = array("I", bytes(4 * _BUCKETS_MIN))
        self._round = _BUCKETS_MIN
        self._free = _NONE
        self._held = 0

    def starting_with(self, prefix: bytes) -> list[bytes]:
        """All names that begin with these 16 bytes: one search through all names, as fast as memory is read."""
        if len(prefix) != PREFIX_BYTES:
            raise ValueError(f"expected a prefix of {PREFIX_BYTES} bytes, got {len(prefix)}")
        names, found = self._names, []
        at = names.find(prefix, NAME_BYTES * RESERVED)
        while at >= 0:
            if at % NAME_BYTES == 0:
                found.append(bytes(names[at : at + NAME_BYTES]))
            at = names.find(prefix, at + 1)
        return found

    def fingerprint(self, key: bytes) -> int:
        """As `Index.fingerprint`."""
        (fingerprint,) = _print_of(key)
        return int(fingerprint)

    def __len__(self) -> int:
        return self._held
