"""Which objects are not there, as far as the origin has said so a moment ago."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.selection import Selection

ABSENT_MAX: Final = 8_192  # a flood of absent names must not push out what is known


class Absences:
    """Remembers 404s, each for a time of its own. Beyond `ABSENT_MAX` the oldest goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[ObjectRef, float] = OrderedDict()

    def __contains__(self, ref: ObjectRef) -> bool:
        until = self._until.get(ref)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        del self._until[ref]
        return False

    def add(self, ref: ObjectRef, life_s: float) -> None:
        """The origin has no such object. 0 s: that is not remembered."""
        if life_s <= 0:
            self._until.pop(ref, None)
            return
        self._until[ref] = self._clock.monotonic() + life_s
        self._until.move_to_end(ref)
        if len(self._until) > ABSENT_MAX:
            self._until.popitem(last=False)

    def select(self, selection: Selection) -> set[ObjectRef]:
        """Which of these objects are known not to be there."""
        now = self._clock.monotonic()
        return {ref for ref, until in self._until.items() if selection.matches(ref) and now < until}

    def forget(self, ref: ObjectRef) -> None:
        """It may be there."""
        self._until.pop(ref, None)
