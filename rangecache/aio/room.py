"""A bound on bytes that many share: take some, give them back, wait in turn."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteRoom:
    """At most `limit_bytes` taken at once. Waiters are served in the order they came, so a large one is not starved."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self.wanted_bytes = 0
        """What those who wait ask for, all together."""
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._left = 0

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
        self.wanted_bytes += size
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # it was granted in the moment that the waiter left
            else:
                self.wanted_bytes -= size
                self._forget_one()
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self.taken_bytes -= size
        self._grant()

    def _fits(self, size: int) -> bool:
        return self.taken_bytes + size <= self.limit_bytes or not self.taken_bytes

    def _forget_one(self) -> None:
        """Entries of those who left stay until half the queue is made of them: a search for each would be quadratic."""
        self._left += 1
        if 2 * self._left > len(self._waiting):
            self._waiting = deque(entry for entry in self._waiting if not entry[1].cancelled())
            self._left = 0

    def _grant(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self.wanted_bytes -= size
                self.taken_bytes += size
                turn.set_result(None)
            self._waiting.popleft()

    def __repr__(self) -> str:
        return f"<ByteRoom {self.taken_bytes} of {self.limit_bytes} bytes taken, {self.wanted_bytes} waited for>"
