"""Warm ranges where the cache holds 10², 10⁴ and 10⁶ blocks: in memory, and on disk beside what is read.

In memory blocks are of 4 KiB, as a million of the usual ones would be 256 GB, and all of them are read in no order:
what a processor's caches do not hold any more is in these figures. On disk they are names (empty files); what is read,
of 64 MiB in blocks of the usual size, is in memory.
"""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bench.client import Client
from bench.figures import US, Goal, Measured
from bench.load import Load
from bench.peers.rangecache import PEER
from bench.programs import SERVER_CPU, ProgramFailed
from bench.scaling import against_best, goals
from bench.warm import OBJECT, take_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peers import Running
    from bench.stage import Stage

_IN_MEMORY: Final = {"10² blocks in memory": 10**2, "10⁴ blocks in memory": 10**4, "10⁶ blocks in memory": 10**6}
_ON_DISK: Final = {"10² blocks on disk": 10**2, "10⁴ blocks on disk": 10**4, "10⁶ blocks on disk": 10**6}
_SMALL_BYTES: Final = 4 << 10
_LOOK_S: Final = 0.5
_BUSY: Final = 0.05
"""Of one core."""
_TIMEOUT_S: Final = 240
_QUICK_BLOCKS: Final = 10**4


@dataclass(frozen=True, slots=True)
class ScaleBlocks:
    """rangecache alone."""

    title: str = "CPU a request by number of blocks"
    order: int = 71
    goals: Sequence[Goal] = field(default_factory=lambda: goals("CPU a request", [*_IN_MEMORY, *_ON_DISK]))

    def run(self, stage: Stage) -> list[Measured]:
        """Each case with a program of its own."""
        most = stage.choose(10**6, _QUICK_BLOCKS)
        in_memory, on_disk = [], []
        for case, count in _IN_MEMORY.items():
            if count <= most:
                cache = {"block_size": "4KiB", "memory": {"size": "8GiB"}, "disk": {"enabled": False}}
                in_memory += measure(stage, case, count * _SMALL_BYTES, _SMALL_BYTES, cache)
        for case, count in _ON_DISK.items():
            if count <= most:
                folder = stage.many_blocks(count)
                cache = {"disk": {"path": str(folder), "size": "1TiB"}}
                on_disk += measure(stage, case, 64 << 20, 16 << 10, cache, on_disk=count)
        return against_best(in_memory) + against_best(on_disk)


def measure(
    stage: Stage, case: str, size: int, range_bytes: int, cache: dict[str, Any], *, on_disk: int = 0
) -> list[Measured]:
    """Fill, then read at random, beside so many blocks on disk."""
    peer = replace(PEER, changes={"cache": cache})
    with stage.origin(stage.hollow(OBJECT, size)) as origin, ExitStack() as stack:
        running = stage.start(peer, origin, stack, cpu=SERVER_CPU)
        stage.say(f"filling: {case}")
        wait_until_indexed(running, on_disk)
        with Client(running.url) as client:
            client.read_all(OBJECT)
        load = Load(OBJECT, size, range_bytes, stage.choose(3, 1))
        return take_turns(stage, {US: (case, US, running)}, load, origin)


def wait_until_indexed(running: Running, blocks: int) -> None:
    """Until so many blocks on disk are known, and nothing is done any more. Raises `ProgramFailed` if never."""
    deadline = time.monotonic() + _TIMEOUT_S
    known, busy = -1, True
    while known < blocks or busy:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"{known} of {blocks} blocks are known after {_TIMEOUT_S} s")
        before_s = running.cpu_s()
        time.sleep(_LOOK_S)
        busy = running.cpu_s() - before_s > _BUSY * _LOOK_S
        with urllib.request.urlopen(f"{running.admin_url}v1/stats") as answer:
            known = sum(tier["blocks"] for tier in json.load(answer)["tiers"] if tier["name"] == "disk")


SCENARIO = ScaleBlocks()
