"""Objects whose bytes say what they are.

Every 16 bytes hold, little-endian, a hash of the object's name (4 bytes), its version (4 bytes) and the number of these
16 bytes in the object (8 bytes). Any 16 bytes of such an object, at any offset, are enough to tell whether they are of
that object, of one version, and at their right place.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from typing import Final

RECORD_BYTES: Final = 16
_HEAD = struct.Struct("<II")


class WrongBytes(AssertionError):
    """The bytes are not those of one version of the object at that offset."""


class Stamped:
    """The content of one version of a self-describing object, made when it is read: it may be of any size."""

    def __init__(self, name: str, version: int, size: int) -> None:
        self.size = size
        self._head = _head(_name_hash(name), version)

    def read(self, start: int, end: int) -> bytes:
        """Bytes `[start, end)`."""
        return _records(self._head, start, min(end, self.size))


def stamped(name: str, version: int, size: int) -> bytes:
    """The `size` bytes of that version of the object `name`; 0 ≤ `version` < 2³²."""
    return Stamped(name, version, size).read(0, size)


def check_stamped(data: bytes | bytearray | memoryview, offset: int, name: str | None = None) -> int:
    """The version that `data`, read at `offset`, is of.

    Raises `WrongBytes` if versions or offsets are mixed, or if they are of another object than `name`; `ValueError` for
    fewer than 16 bytes, which do not hold a version.
    """
    if len(data) < RECORD_BYTES:
        raise ValueError(f"{len(data)} bytes are too few to tell their version; read at least {RECORD_BYTES}")
    data = bytes(data)
    # Every record begins with the same eight bytes, so they can be put together from two neighbours.
    turn = offset % RECORD_BYTES
    first = data[:RECORD_BYTES]
    head = (first[RECORD_BYTES - turn :] + first[: RECORD_BYTES - turn])[: _HEAD.size]
    name_hash, version = _HEAD.unpack(head)
    if name is not None and name_hash != _name_hash(name):
        raise WrongBytes(f"offset {offset}: not of {name}: {first.hex(' ')}")
    expected = _records(_head(name_hash, version), offset, offset + len(data))
    if data != expected:
        raise WrongBytes(_difference(data, expected, offset))
    return int(version)


def _difference(data: bytes, expected: bytes, offset: int) -> str:
    at = next(i for i in range(len(data)) if data[i] != expected[i])
    record = max(0, at - (offset + at) % RECORD_BYTES)
    said = data[record : record + RECORD_BYTES].hex(" ")
    wanted = expected[record : record + RECORD_BYTES].hex(" ")
    return f"from offset {offset + at} on ({at} bytes in) the bytes are others: {said} where {wanted} was expected"


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def _head(name_hash: int, version: int) -> int:
    return name_hash | version << 32


def _records(head: int, start: int, end: int) -> bytes:
    """Bytes `[start, end)` of an endless object; arrays do the work, 2 ms a MiB."""
    if end <= start:
        return b""
    first, last = start // RECORD_BYTES, -(-end // RECORD_BYTES)
    words = array("Q", bytes((last - first) * RECORD_BYTES))
    words[0::2] = array("Q", [head]) * (last - first)
    words[1::2] = array("Q", range(first, last))
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()[start - first * RECORD_BYTES : end - first * RECORD_BYTES]
