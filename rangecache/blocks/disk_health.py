"""Whether a disk may be written and read: `rw`, `ro` or `off`. Pure; the disk tier reports and asks.

    rw   a failed write → ro · 5 failed reads in 60 s → off
    ro   blocks are read, none is written · a probe each 60 s: it succeeds → rw
    off  nothing is read or written · as ro, or, while another program owns the directory, until it is ours

Every change is one log line. The cache goes on without the disk, so nothing here is an error to a reader.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.aio.clock import Clock

logger = logging.getLogger(__name__)

PROBE_INTERVAL_S: Final = 60
READ_ERRORS_MAX: Final = 5
READ_ERRORS_WINDOW_S: Final = 60
_OUR_OWN_SHORTAGE: Final = (errno.EMFILE, errno.ENFILE)  # says nothing about the disk


class DiskHealth:
    """The state of one cache directory, and why."""

    def __init__(self, directory: str, clock: Clock, on_off: Callable[[], None] = lambda: None) -> None:
        """`on_off` is called when the state becomes `off`."""
        self._directory = directory
        self._clock = clock
        self._on_off = on_off
        self._read_errors: deque[float] = deque(maxlen=READ_ERRORS_MAX)
        self._probe_at = 0.0
        self.state = "off"
        self.reason = "it has not been opened yet"
        """A half sentence for the person who asks why the state is not rw; empty while it is."""

    @property
    def readable(self) -> bool:
        """Whether blocks may be read."""
        return self.state != "off"

    def recovered(self) -> None:
        """It works: opened, or a probe succeeded."""
        self._read_errors.clear()
        self._become("rw", "")

    def write_failed(self, error: OSError) -> None:
        """A block could not be written for a reason that will meet the next one too."""
        if self.state != "off" and error.errno not in _OUR_OWN_SHORTAGE:
            self.read_only(f"a write failed ({error.strerror}); check free space, quota and permissions")

    def read_only(self, reason: str) -> None:
        """Nothing more is written until a probe succeeds."""
        self._become("ro", reason)

    def read_failed(self, error: OSError) -> None:
        """A block could not be read though its file is there. A damaged file is not meant: that is a miss."""
        if error.errno in _OUR_OWN_SHORTAGE:
            return
        now = self._clock.monotonic()
        self._read_errors.append(now)
        if len(self._read_errors) == READ_ERRORS_MAX and now - self._read_errors[0] <= READ_ERRORS_WINDOW_S:
            self._read_errors.clear()
            self.off(
                f"{READ_ERRORS_MAX} reads failed within {READ_ERRORS_WINDOW_S} s ({error.strerror}); check the disk"
            )

    def off(self, reason: str) -> None:
        """The disk is not used at all."""
        self._become("off", reason)

    def probe_due(self) -> bool:
        """Whether it is time to see if the disk works again. True once each interval while the state is not rw."""
        now = self._clock.monotonic()
        if self.state == "rw" or now < self._probe_at:
            return False
        self._probe_at = now + PROBE_INTERVAL_S
        return True

    def _become(self, state: str, reason: str) -> None:
        self._probe_at = self._clock.monotonic() + PROBE_INTERVAL_S
        if (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        if state == "off":
            self._on_off()
        if state == "rw":
            logger.info("disk cache %s is in use", self._directory)
        elif state == "ro":
            logger.warning("disk cache %s is read but not written: %s", self._directory, reason)
        else:
            logger.warning("disk cache %s is not used: %s", self._directory, reason)
