"""Patience that is used up by waiting and restored by progress."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.aio.clock import Clock


class Watchdog:
    """Calls `bark` once when `patience_s` seconds were spent waiting since progress was last `restored`.

    Only the time between `wait` and `got` counts: a consumer that takes its time between two reads uses up nothing. One
    sleeping task serves for any number of waits, since the moment to bark only ever moves later.
    """

    def __init__(self, clock: Clock, patience_s: float, bark: Callable[[], None]) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._bark = bark
        self._left_s = patience_s
        self._since: float | None = None
        self._task: asyncio.Task[None] | None = None

    def wait(self) -> None:
        """Waiting begins."""
        self._since = self._clock.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="watchdog")

    def got(self) -> None:
        """Waiting ends; not yet enough came to restore the patience."""
        if self._since is not None:
            self._left_s -= self._clock.monotonic() - self._since
            self._since = None

    def restore(self) -> None:
        """Enough came: the whole patience is there again."""
        self._left_s = self._patience_s

    def close(self) -> None:
        """Nobody waits any more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while self._since is not None:
            rest_s = self._since + self._left_s - self._clock.monotonic()
            if rest_s <= 0:
                self._bark()
                return
            await self._clock.sleep(rest_s)
