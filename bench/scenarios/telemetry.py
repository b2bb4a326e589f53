"""What being watched costs: warm 16 KiB ranges with the log as it is, off and whole, and with /metrics read 20 times a
second."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bench.figures import US, Goal, Measured
from bench.load import Load
from bench.peers.rangecache import PEER
from bench.programs import SERVER_CPU
from bench.scaling import against_best
from bench.warm import OBJECT, take_turns, warm_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.stage import Stage

_LOGS: Final = {"no access log": "off", "sampled access log (the default)": "sampled", "a line for each request": "all"}
_SCRAPED: Final = "sampled, /metrics read 20 times a second"
_SCRAPE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Telemetry:
    """rangecache alone."""

    title: str = "CPU a request by what is told of it"
    order: int = 72
    goals: Sequence[Goal] = field(default=())

    def run(self, stage: Stage) -> list[Measured]:
        """The settings take turns."""
        size = 64 << 20
        store = stage.store(object=size)
        with stage.origin(store) as origin, ExitStack() as stack:
            running = {}
            for case, log in _LOGS.items():
                peer = replace(PEER, changes={"telemetry": {"access_log": log}})
                running[case] = stage.start(peer, origin, stack, cpu=SERVER_CPU)
            running[_SCRAPED] = stage.start(PEER, origin, stack, cpu=SERVER_CPU)
            warm_all(stage, running, store / OBJECT, 16 << 10)
            sides = {case: (case, US, each) for case, each in running.items()}
            with scraped(f"{running[_SCRAPED].admin_url}metrics"):
                return against_best(take_turns(stage, sides, Load(OBJECT, size, 16 << 10, stage.choose(2, 1)), origin))


@contextmanager
def scraped(url: str) -> Iterator[None]:
    """Read this again and again from another thread."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(_SCRAPE_S):
            with urllib.request.urlopen(url) as answer:
                answer.read()

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


SCENARIO = Telemetry()
