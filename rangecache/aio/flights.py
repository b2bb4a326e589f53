"""Single flight: at most one piece of work in progress for a key, shared by all who want its result.

Rules that this file keeps:

1. Work runs in a task of its own, never in the task of the first who asked: a caller who is cancelled takes only
   himself away.
2. Errors are shared, cancellation is not.
3. When the last caller has left, work that is not finished is cancelled. From that moment the key is free: a new
   caller must not join a task that is on its way out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from rangecache.errors import RangecacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from typing import Any

    from rangecache.aio.tasks import Background

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Flight(Generic[V]):
    """One piece of work in progress and those who wait for it."""

    __slots__ = ("_landed", "_task", "_waiters", "begun")

    def __init__(self, landed: asyncio.Future[V]) -> None:
        self._landed = landed
        self._task: asyncio.Task[None] | None = None
        self._waiters = 0
        self.begun = False
        """Whether the work has taken its first step."""

    def land(self, result: V) -> None:
        """Give the result to all who wait; the work may go on after it (a head before its body)."""
        if not self._landed.done():
            self._landed.set_result(result)

    @property
    def landed(self) -> bool:
        """Whether there is a result, or an error in its place."""
        return self._landed.done()


class Flights(Generic[K, V]):
    """Work in progress by key."""

    def __init__(self, background: Background, name: str) -> None:
        """`name` is what the work is called in logs."""
        self._background = background
        self._name = name
        self._flights: dict[K, Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def join(
        self, key: K, work: Callable[[Flight[V]], Coroutine[Any, Any, None]], *, anew: bool = False
    ) -> tuple[V, bool]:
        """Wait for the result of the work under way for `key`, starting `work` if there is none.

        `work` is given its flight and calls `land` on it; what it raises before that is raised to everybody who
        waits. Gives the result and whether this caller started the work. With `anew` work that has begun before this
        call does not count, as it may know nothing of what has happened since; at most one more is waited for.
        """
        flight = self._flights.get(key)
        if anew and flight is not None and flight.begun:
            await asyncio.wait({flight._landed})
            flight = self._flights.get(key)  # if there is one, it began after this call
        first = flight is None
        if flight is None:
            flight = self._start(key, work)
        flight._waiters += 1
        try:
            return await asyncio.shield(flight._landed), first
        finally:
            flight._waiters -= 1
            if not flight._waiters and not flight.landed:
                self._abandon(key, flight)

    def release(self, wanted: Callable[[K], bool]) -> int:
        """Let nobody join the work under way for these keys any more: who comes now starts anew, who waits is still
        answered. How many there were."""
        released = [key for key in self._flights if wanted(key)]
        for key in released:
            del self._flights[key]
        return len(released)

    def count(self, wanted: Callable[[K], bool]) -> int:
        """How many of these keys there is work under way for."""
        return sum(map(wanted, self._flights))

    def _start(self, key: K, work: Callable[[Flight[V]], Coroutine[Any, Any, None]]) -> Flight[V]:
        flight: Flight[V] = Flight(asyncio.get_running_loop().create_future())
        flight._task = self._background.spawn(self._run(flight, work), self._name)
        # A task that is cancelled before its first step runs no line of its own: nobody may wait for it for ever.
        flight._task.add_done_callback(lambda _: flight._landed.cancel())
        # The flight leaves the table as soon as it has landed: who comes later looks at what it brought.
        flight._landed.add_done_callback(lambda landed: self._landed(key, flight, landed))
        self._flights[key] = flight
        return flight

    async def _run(self, flight: Flight[V], work: Callable[[Flight[V]], Coroutine[Any, Any, None]]) -> None:
        landed = flight._landed
        flight.begun = True
        try:
            await work(flight)
            if not landed.done():
                raise RuntimeError(f"{self._name} ended without a result")
        except RangecacheError as error:
            if landed.done():
                raise
            landed.set_exception(error)
        except BaseException as error:
            if not landed.done():
                if isinstance(error, asyncio.CancelledError):
                    landed.cancel()
                else:
                    landed.set_exception(error)
            raise

    def _landed(self, key: K, flight: Flight[V], landed: asyncio.Future[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not landed.cancelled():
            landed.exception()  # read, so that an error nobody waited for is not reported by the garbage collector

    def _abandon(self, key: K, flight: Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight._task is not None:
            flight._task.cancel()
