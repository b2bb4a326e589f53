"""A number of units, of which everybody takes as many as his work weighs."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple


class _Waiter(NamedTuple):
    units: int
    granted: asyncio.Future[None]


class Slots:
    """`total` units, handed out in the order of asking. Who asks for more than there are gets all of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiters: deque[_Waiter] = deque()

    def take_now(self, units: int) -> bool:
        """Take units if they are free and nobody waits. To be given back."""
        units = min(units, self._total)
        if self._waiters or units > self._free:
            return False
        self._free -= units
        return True

    async def take(self, units: int) -> None:
        """Wait for units and take them. To be given back."""
        if self.take_now(units):
            return
        waiter = _Waiter(min(units, self._total), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.granted
        except BaseException:
            # Cancelled, and perhaps in the very turn in which they were granted.
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.give_back(waiter.units)
            else:
                self._waiters.remove(waiter)
                self._serve()
            raise

    def give_back(self, units: int) -> None:
        """As many as were asked for."""
        self._free += min(units, self._total)
        self._serve()

    def _serve(self) -> None:
        while self._waiters and self._waiters[0].units <= self._free:
            waiter = self._waiters.popleft()
            if not waiter.granted.done():
                self._free -= waiter.units
                waiter.granted.set_result(None)

    def __repr__(self) -> str:
        return f"<Slots {self._free} of {self._total} free, {len(self._waiters)} waiting>"
