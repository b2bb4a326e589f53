"""Block files being read: those who want one block share one read, and no reader waits for a disk that hangs.

A thread that hangs in the kernel cannot be ended; it goes on to occupy its place in the pool, so there are never more
of them than the pool has threads. Its readers are told after `READ_TIMEOUT_S`.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.aio.clock import Clock
    from rangecache.blocks.disk_verified import Opened
    from rangecache.blocks.threads import Threads

READ_TIMEOUT_S: Final = 5.0
"""A disk that needs longer for a block is slower than any origin. Waiting for a free thread counts."""
CHECK_INTERVAL_S: Final = 1.0
"""How often somebody looks for reads that have taken too long: one timer for all is cheaper than one each."""


class _Read(NamedTuple):
    result: asyncio.Future[Opened]
    after: Callable[[asyncio.Future[Opened]], None]
    since_s: float


class Reads:
    """The reads under way, by name, the oldest first."""

    def __init__(self, threads: Threads, clock: Clock) -> None:
        self._threads = threads
        self._clock = clock
        self._reads: dict[bytes, _Read] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._reads

    def join(self, name: bytes) -> asyncio.Future[Opened] | None:
        """The read of this block, if it is under way. Await it through `asyncio.shield`."""
        read = self._reads.get(name)
        return None if read is None else read.result

    def start(
        self, name: bytes, work: Callable[[], Opened], after: Callable[[asyncio.Future[Opened]], None]
    ) -> asyncio.Future[Opened]:
        """Read a block on a thread; `after` is called once when that has ended or is given up, whoever still waits. If
        it has ended well, the open file is to be closed there.

        A read that takes too long ends with `TimeoutError`, which is an `OSError`.
        """
        result: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        read = self._reads[name] = _Read(result, after, self._clock.monotonic())

        def work_if_wanted() -> Opened:
            if result.done():  # it waited for a thread until it was given up
                raise TimeoutError
            return work()

        self._threads.submit(work_if_wanted).add_done_callback(partial(self._pass_on, name, read))
        return result

    def _pass_on(self, name: bytes, read: _Read, work: asyncio.Future[Opened]) -> None:
        if read.result.done():  # too late; whatever it found out may no longer be true
            if not work.cancelled() and work.exception() is None:
                work.result().file.close()
            return
        del self._reads[name]
        if work.cancelled():
            read.result.cancel()
        elif (error := work.exception()) is not None:
            read.result.set_exception(error)
        else:
            read.result.set_result(work.result())
        read.after(read.result)  # at once: nobody may find the block neither being read nor settled

    async def watch(self) -> None:
        """Give up what takes too long, for ever."""
        while True:
            await self._clock.sleep(CHECK_INTERVAL_S)
            too_old_s = self._clock.monotonic() - READ_TIMEOUT_S
            overdue = [name for name, read in self._reads.items() if read.since_s <= too_old_s]
            for name in overdue:
                read = self._reads.pop(name)
                read.result.set_exception(TimeoutError(errno.ETIMEDOUT, f"no answer for {READ_TIMEOUT_S:g} s"))
                read.after(read.result)
