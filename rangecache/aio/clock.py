"""Time as a parameter. Nothing in the package reads a clock or sleeps except through one of these."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and a pause. Durations are measured with `monotonic`; `wall` is for dates in headers and on disk."""

    def monotonic(self) -> float:
        """Seconds that never go back; their zero means nothing."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, UTC; may jump."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait; cancellable."""
        ...


class SystemClock:
    """The machine's own time."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, delay_s: float) -> None:
        """As `asyncio.sleep`."""
        await asyncio.sleep(delay_s)
