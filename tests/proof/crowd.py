"""A thousand readers of one thing that is not there yet, and one or all of them leave at a chosen moment."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, Final, Literal

from rangecache.origin.memory import MemoryStore
from rangecache.testing.objects import stamped
from rangecache.testing.simloop import SimulatedClock, SimulatedLoop
from tests.read.conftest import BLOCK, REF, Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from rangecache.origin.memory import MemoryRequest

DATA: Final = stamped("k", 1, 3 * BLOCK + 100)

Moment = Literal["waiting", "waking"]
"""While what is awaited is not there, or in the moment in which it comes."""


class Awaits:
    """Drives a coroutine and calls somebody when it stops for the `at`-th time; counts how often it stops."""

    def __init__(self, at: int | None, moment: Moment, reached: Callable[[], object]) -> None:
        self.count = 0
        self._at = at
        self._moment = moment
        self._reached = reached

    @types.coroutine
    def drive(self, work: Coroutine[Any, Any, bytes]) -> Generator[Any, Any, bytes]:
        """The coroutine's result. Whatever it awaits is passed on to the task that runs this."""
        error: BaseException | None = None
        while True:
            try:
                awaited = work.send(None) if error is None else work.throw(error)
            except StopIteration as stop:
                return stop.value
            self.count += 1
            if self.count == self._at:
                if self._moment == "waking" and awaited is not None:
                    awaited.add_done_callback(lambda _: self._reached())
                else:
                    asyncio.get_running_loop().call_soon(self._reached)
            error = None
            try:
                yield awaited
            except BaseException as thrown:
                error = thrown


class Crowd:
    """`size` readers of the whole object; the first one leads."""

    def __init__(self, loop: SimulatedLoop, size: int, *, known: bool) -> None:
        self._loop = loop
        self._size = size
        self._known = known
        self._all_there = asyncio.Event()
        self.cache = Cache(
            clock=SimulatedClock(loop),
            origin=MemoryStore(chunk_bytes=1500, before_answer=self._when_all_are_there, before_chunk=self._slowly),
        )
        self.cache.origin.put(REF, DATA)
        self.awaits = 0
        """How often the leader stopped, as far as he came."""

    async def _when_all_are_there(self, _: MemoryRequest) -> None:
        await self._all_there.wait()

    async def _slowly(self, _: MemoryRequest, __: int) -> None:
        await asyncio.sleep(0.01)

    async def read(
        self,
        *,
        leaves_at: int | None = None,
        moment: Moment = "waiting",
        who: int = 0,
        all_leave: bool = False,
        after_callbacks: int | None = None,
    ) -> list[bytes | BaseException]:
        """What each of them got. `who` leaves at that await of his, or all of them do; or the leader leaves after so
        many callbacks of the loop, counted from when the origin begins to answer."""
        if self._known:
            self._all_there.set()
            await self.cache.open(head=True)
            self._all_there.clear()
        tasks: list[asyncio.Task[bytes]] = []

        early = False

        def leave() -> None:
            nonlocal early
            if len(tasks) < self._size:
                early = True  # not before the others have come: he would leave alone, and take his own request with him
                return
            for task in tasks if all_leave else [tasks[who]]:
                task.cancel()

        awaits = Awaits(leaves_at, moment, leave)
        for number in range(self._size):
            work: Any = self.cache.read()
            tasks.append(asyncio.ensure_future(_task(awaits.drive(work) if number == who else work)))
            if not number:
                await asyncio.sleep(0.001)  # the first one leads
        await asyncio.sleep(0.001)
        if early:
            leave()
        if after_callbacks is not None:
            self._leave_after(after_callbacks, leave)
        self._all_there.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._loop.on_callback = None
        self.awaits = awaits.count
        while len(self.cache.background):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        return results

    def _leave_after(self, callbacks: int, leave: Callable[[], None]) -> None:
        left = callbacks

        def count() -> None:
            nonlocal left
            left -= 1
            if not left:
                leave()

        self._loop.on_callback = count

    def check_nothing_is_left(self) -> None:
        """Every gauge is at zero."""
        fetcher = self.cache.fetcher
        assert (
            len(fetcher),
            fetcher.under_way.held_bytes,
            fetcher.under_way.coming_bytes,
            len(self.cache.flights),
        ) == (0, 0, 0, 0)
        assert self.cache.origin.open_bodies == 0


async def _task(work: Any) -> bytes:
    return await work
