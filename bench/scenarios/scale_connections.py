"""Warm 16 KiB ranges over 1, 100 and 4,000 connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.figures import US, Goal, Measured
from bench.load import Load
from bench.programs import SERVER_CPU
from bench.scaling import against_best, goals
from bench.warm import OBJECT, take_turns, warm_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage

_CONNECTIONS: Final = {"1 connection": 1, "100 connections": 100, "4,000 connections": 4000}
_PEERS: Final = (US, "nginx slice")


@dataclass(frozen=True, slots=True)
class ScaleConnections:
    """rangecache, and nginx to see what a machine makes of it."""

    title: str = "CPU a request by number of connections"
    order: int = 70
    goals: Sequence[Goal] = field(default_factory=lambda: goals("CPU a request", list(_CONNECTIONS)))

    def run(self, stage: Stage) -> list[Measured]:
        """All from memory."""
        size = 64 << 20
        store = stage.store(object=size)
        measured: list[Measured] = []
        with stage.origin(store) as origin, stage.lineup(origin, cpu=SERVER_CPU, only=_PEERS) as running:
            warm_all(stage, running, store / OBJECT, 16 << 10)
            for case, connections in _CONNECTIONS.items():
                load = Load(OBJECT, size, 16 << 10, stage.choose(2, 1), connections=connections)
                measured += take_turns(
                    stage, {name: (case, name, peer) for name, peer in running.items()}, load, origin
                )
        return against_best(measured)


SCENARIO = ScaleConnections()
