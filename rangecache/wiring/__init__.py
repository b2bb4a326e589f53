"""Builds the program from its settings. The only place that names concrete classes of several rooms together."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from rangecache.aio.clock import SystemClock
from rangecache.wiring.program import Program
from rangecache.wiring.startup import announcement

if TYPE_CHECKING:
    from rangecache.settings import Settings

logger = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    program = Program(settings, SystemClock())
    try:
        await program.start()
        print(announcement(program), file=sys.stderr, flush=True)
        await stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        logger.info("stopping: answers under way may go on for %g s", settings.server.shutdown_grace)
    finally:
        await program.stop()


def run(settings: Settings) -> None:
    """Serve on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(settings))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
