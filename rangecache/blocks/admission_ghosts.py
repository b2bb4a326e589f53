"""What a policy remembers of names that it has given up: a fingerprint and how often it was used.

A table whose places are given by the fingerprint's low bits; a newer name takes an older one's place. So it forgets by
itself: of `n` places, a name still has its own after `x` others have come with probability exp(-x / n).
"""

from __future__ import annotations

from array import array
from typing import Final

_PLACES_MIN: Final = 16


class Ghosts:
    """Fingerprints of 32 bits and small counts: 5 bytes a place."""

    def __init__(self) -> None:
        self._prints = array("I", bytes(4 * _PLACES_MIN))
        self._counts = bytearray(_PLACES_MIN)
        self._mask = _PLACES_MIN - 1
        self.added = 1.0
        """Names that were added, for comparison with another table; whoever compares halves both now and then."""

    def add(self, fingerprint: int, count: int) -> None:
        """Remember a name that was used `count` times."""
        place = fingerprint & self._mask
        self._prints[place] = fingerprint
        self._counts[place] = count
        self.added += 1

    def take(self, fingerprint: int) -> int:
        """How often the name was used, which is then forgotten; 0 if it is not remembered."""
        place = fingerprint & self._mask
        if self._prints[place] != fingerprint:
            return 0
        self._prints[place] = 0
        return self._counts[place]

    def make_room(self, places: int) -> None:
        """Have at least so many places. Everything stays remembered: each name is then in both of its halves, and
        found in the one that its next bit says."""
        while len(self._prints) < places:
            self._prints *= 2
            self._counts *= 2
            self._mask = len(self._prints) - 1

    def age(self, table: bytes) -> None:
        """Translate all counts by a table of 256 bytes."""
        self._counts = self._counts.translate(table)
