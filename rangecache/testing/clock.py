"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Final

_SETTLE_TURNS: Final = 20  # turns of the loop that a woken task gets to reach its next wait
_WALL_S: Final = 1_800_000_000.0  # 2027-01-15T08:00:00Z; any fixed day will do


class ManualClock:
    """An `aio.clock.Clock` for tests: `sleep` ends when `advance` or `shift` has moved time far enough.

    `wall` moves along with `monotonic`, and can be set apart from it to play a clock that jumps.
    """

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = _WALL_S) -> None:
        self._monotonic_s = monotonic_s
        self.wall_s = wall_s
        """Seconds since 1970, UTC; set it to make the wall clock jump."""
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._went_to_sleep = asyncio.Event()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic_s

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        return self.wall_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until time has been moved by `delay_s`; a delay ≤ 0 only gives way once."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + delay_s, next(self._order), wake))
        self._went_to_sleep.set()
        await wake

    @property
    def sleepers(self) -> int:
        """How many tasks sleep now."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    async def wait_for_sleepers(self, at_least: int = 1) -> None:
        """Wait until that many tasks sleep, so that the next `advance` reaches them."""
        while self.sleepers < at_least:
            self._went_to_sleep.clear()
            await self._went_to_sleep.wait()

    async def advance(self, seconds: float) -> None:
        """Move time, stopping at each sleeper due on the way, earliest first, and let it run on before the next."""
        target_s = self._monotonic_s + seconds
        await _settle()  # who is about to sleep does so first, and counts from before the move
        while self._wake_next(target_s):
            await _settle()
        self._move_to(target_s)
        await _settle()

    def shift(self, seconds: float) -> None:
        """Move time at once, for code that never waits. Sleepers due are woken in order, all at the later time."""
        target_s = self._monotonic_s + seconds
        while self._wake_next(target_s):
            continue
        self._move_to(target_s)

    def _wake_next(self, target_s: float) -> bool:
        while self._sleepers and self._sleepers[0][0] <= target_s:
            due_s, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self._move_to(due_s)
                wake.set_result(None)
                return True
        return False

    def _move_to(self, monotonic_s: float) -> None:
        step_s = max(0.0, monotonic_s - self._monotonic_s)
        self._monotonic_s += step_s
        self.wall_s += step_s


async def _settle() -> None:
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)
