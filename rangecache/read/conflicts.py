"""Objects of which one version after the other is met: back ends of one origin that disagree with each other."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rangecache.read.remembered import Remembered

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.selection import Selection

CONFLICTS_BYTES: Final = 1024 * 1024
TIMES_BYTES: Final = 700  # a deque has room for 64 from the start
CONFLICTS: Final = 3  # so many versions in CONFLICTS_WITHIN_S, and nothing of the object is combined any more
CONFLICTS_WITHIN_S: Final = 60.0


class Conflicts:
    """Remembers when versions were found to be gone. Beyond `CONFLICTS_BYTES` the object that was longest ago goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: Remembered[deque[float]] = Remembered(CONFLICTS_BYTES, lambda _: TIMES_BYTES)

    @property
    def held_bytes(self) -> int:
        """What they take in memory."""
        return self._times.held_bytes

    @property
    def limit_bytes(self) -> int:
        """The bound on `held_bytes`."""
        return self._times.limit_bytes

    def add(self, ref: ObjectRef) -> None:
        """A version of this object was found to be gone."""
        times = self._times.get(ref)
        if times is None:
            times = deque(maxlen=CONFLICTS)
        times.append(self._clock.monotonic())
        self._times.keep(ref, times)

    def __contains__(self, ref: ObjectRef) -> bool:
        """Whether that was so too often of late."""
        times = self._times.get(ref)
        if times is None or len(times) < CONFLICTS:
            return False
        return self._clock.monotonic() - times[0] < CONFLICTS_WITHIN_S

    def purge(self, selection: Selection) -> None:
        """Think no worse of these objects than of others."""
        for ref in [ref for ref in self._times if selection.matches(ref)]:
            self._times.drop(ref)
