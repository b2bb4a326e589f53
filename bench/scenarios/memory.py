"""Resident memory at its most, while 64 clients read four times as much as the memory tier holds, cold.

The bound: memory tier × 1.10 + 120 MiB + 100 B a block on disk + 16 KiB a connection + `server.send_buffer`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.figures import US, Goal, Measured
from bench.load import Load, loaded
from bench.peers.rangecache import PEER
from bench.programs import SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage

CASE: Final = "64 clients, 1 GiB"
_MIB: Final = 1 << 20
_TIER_BYTES: Final = 256 * _MIB
_BLOCK_BYTES: Final = 256 << 10
_SEND_BUFFER_BYTES: Final = 64 * _MIB
_CLIENTS: Final = 64


@dataclass(frozen=True, slots=True)
class Memory:
    """With the defaults, whose sizes are above."""

    title: str = "memory"
    order: int = 60
    goals: Sequence[Goal] = (Goal(CASE, "rss_of_bound", 1, title=f"memory, {CASE}"),)

    def run(self, stage: Stage) -> list[Measured]:
        """Random ranges of 1 MiB until all of the object has been asked for several times over."""
        size = 1 << 30
        bound = _TIER_BYTES * 1.10 + 120 * _MIB + 100 * size / _BLOCK_BYTES + (16 << 10) * _CLIENTS + _SEND_BUFFER_BYTES
        with stage.origin(stage.hollow("object", size)) as origin, ExitStack() as stack:
            running = stage.start(PEER, origin, stack, cpu=SERVER_CPU)
            idle = running.rss_bytes()
            loaded(running, Load("object", size, _MIB, stage.choose(10, 3), connections=_CLIENTS))
            peak, cost = running.peak_rss_bytes(), origin.asked()
        figures = {"idle_rss_mib": idle / _MIB, "rss_mib": peak / _MIB, "rss_of_bound": peak / bound}
        return [Measured(CASE, US, {**figures, **cost.figures})]


SCENARIO = Memory()
