"""Tells the time that an origin takes from the time that requests wait in this process: for a rate, or for their turn.

Who asks starts a watch, and whoever makes the request wait further in stops it meanwhile. Neither knows of the other.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.aio.clock import Clock


class Stopwatch:
    """Runs from now on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at = clock.monotonic()
        self._waited_s = 0.0
        self._waits_since: float | None = None

    @property
    def elapsed_s(self) -> float:
        """How long it has run."""
        now = self._clock.monotonic() if self._waits_since is None else self._waits_since
        return now - self._began_at - self._waited_s

    def carry(self) -> None:
        """All that the present task asks from now on is timed by this one."""
        _carried.set(self)

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        if self._waits_since is not None:  # by somebody further out
            yield
            return
        self._waits_since = self._clock.monotonic()
        try:
            yield
        finally:
            self._waited_s += self._clock.monotonic() - self._waits_since
            self._waits_since = None


_carried: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def carry_none() -> None:
    """What the present task asks from now on is not asked for whoever began it."""
    _carried.set(None)


@contextmanager
def stopped() -> Iterator[None]:
    """Within the block the present task waits for something that is not the origin."""
    watch = _carried.get()
    if watch is None:
        yield
        return
    with watch._stopped():
        yield
