"""What a policy remembers of names that it has given up: a fingerprint and how often it was used.

A table whose places are given by fingerprints; a newer name takes an older one's place. So it forgets by itself: of `n`
places, a name still has its own after `x` others have come with probability exp(-x / n).
"""

from __future__ import annotations

from array import array
from typing import Final

PLACES_MIN: Final = 64
_TOO_SMALL: Final = 0.75


class Ghosts:
    """Fingerprints of 32 bits and small counts: 5 bytes a place."""

    def __init__(self) -> None:
        self.added = 1.0
        """Names that were added, for comparison with another table; whoever compares halves both now and then."""
        self._make(PLACES_MIN)

    def _make(self, places: int) -> None:
        self._prints = array("I", bytes(4 * places))
        self._counts = bytearray(places)

    def fit(self, places: int) -> None:
        """Have about so many places. A table that is much too small is replaced by an empty one: that happens while a
        tier is new, and there is nothing to be remembered yet."""
        if len(self._prints) < _TOO_SMALL * places:
            self._make(places)

    def add(self, fingerprint: int, count: int) -> None:
        """Remember a name that was used `count` times."""
        place = fingerprint % len(self._prints)
        self._prints[place] = fingerprint
        self._counts[place] = count
        self.added += 1

    def take(self, fingerprint: int) -> int:
        """How often the name was used, which is then forgotten; 0 if it is not remembered."""
        place = fingerprint % len(self._prints)
        if self._prints[place] != fingerprint:
            return 0
        self._prints[place] = 0
        return self._counts[place]

    def age(self, table: bytes) -> None:
        """Translate all counts by a table of 256 bytes."""
        self._counts = self._counts.translate(table)
