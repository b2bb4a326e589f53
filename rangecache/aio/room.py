"""A bound on bytes that many share: take some, give them back, wait in turn."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteRoom:
    """At most `limit_bytes` taken at once. Waiters are served in the order they came, so a large one is not starved."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size: int) -> bool:
        """Take `size` bytes at once if they are free and nobody waits."""
        if self._waiting or not self._fits(size):
            return False
        self.taken_bytes += size
        return True

    async def take(self, size: int) -> None:
        """Take `size` bytes, waiting until they are free. More than the limit is granted when nothing else is taken."""
        if self.try_take(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # it was granted in the moment that the waiter left
            else:
                self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self.taken_bytes -= size
        self._grant()

    def _fits(self, size: int) -> bool:
        return self.taken_bytes + size <= self.limit_bytes or not self.taken_bytes

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.taken_bytes += size
                turn.set_result(None)

    @property
    def wanted_bytes(self) -> int:
        """What those who wait ask for, all together."""
        return sum(size for size, _ in self._waiting)

    def __repr__(self) -> str:
        return f"<ByteRoom {self.taken_bytes} of {self.limit_bytes} bytes taken, {len(self._waiting)} waiting>"
