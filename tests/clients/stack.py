"""Servers for clients that block: the origin on a thread of its own, the proxy as a process of its own."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import yaml

from rangecache.testing.children import Child
from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_START_TIMEOUT_S: Final = 30.0
_SERVE: Final = ("-c", "from rangecache.cli import main; raise SystemExit(main())", "serve", "--config")
_ANNOUNCED: Final = re.compile(r"(http://127\.0\.0\.1:\d+/)<provider>")


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


@contextmanager
def running_proxy(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """`rangecache serve` on free ports with these sections of the configuration; its base address, with a slash.

    Its cache and its log lie in `folder`.
    """
    ports = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    disk = {"path": str(folder / "cache"), "size": "1GiB", "min_free": "1MiB"}
    configuration = folder / "rangecache.yaml"
    configuration.write_text(yaml.safe_dump({"server": ports, "cache": {"disk": disk}, **settings}))
    log = folder / "proxy.log"
    with Child("the proxy", *_SERVE, str(configuration), log=log) as child:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (announced := _ANNOUNCED.search(log.read_text())) is None:
            assert not child.ended, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield announced[1]
