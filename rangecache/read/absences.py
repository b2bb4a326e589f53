"""Which objects are not there, as far as the origin has said so a moment ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.read.remembered import Remembered

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.selection import Selection

ABSENT_BYTES: Final = 4 * 1024 * 1024  # some 8,000; a flood of absent names must not push out what is known
TIME_BYTES: Final = 24


class Absences:
    """Remembers 404s, each for a time of its own. Beyond `ABSENT_BYTES` the oldest goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: Remembered[float] = Remembered(ABSENT_BYTES, lambda _: TIME_BYTES)

    @property
    def held_bytes(self) -> int:
        """What they take in memory."""
        return self._until.held_bytes

    @property
    def limit_bytes(self) -> int:
        """The bound on `held_bytes`."""
        return self._until.limit_bytes

    def __contains__(self, ref: ObjectRef) -> bool:
        until = self._until.get(ref)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        self._until.drop(ref)
        return False

    def add(self, ref: ObjectRef, life_s: float) -> None:
        """The origin has no such object. 0 s: that is not remembered."""
        if life_s <= 0:
            self._until.drop(ref)
            return
        self._until.keep(ref, self._clock.monotonic() + life_s)

    def select(self, selection: Selection) -> set[ObjectRef]:
        """Which of these objects are known not to be there."""
        now = self._clock.monotonic()
        return {ref for ref in selection.among(self._until) if now < self._until[ref]}

    def forget(self, ref: ObjectRef) -> None:
        """It may be there."""
        self._until.drop(ref)
