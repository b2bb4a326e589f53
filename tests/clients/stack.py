"""Servers for clients that block: the origin on a thread of its own, the proxy as a process of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def origin_on_a_thread() -> Iterator[Origin]:
    """A running origin. Put objects, script faults and read its log from the calling thread; await nothing of it."""
    started: list[Origin] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with Origin() as origin:
            started.append(origin)
            ready.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="origin")
    thread.start()
    try:
        ready.wait()
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
