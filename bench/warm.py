"""Warm reads: random ranges of one object, all of which every peer has. What a request costs, and how fast it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.check import check_ranges, warm_up
from bench.client import WrongAnswer
from bench.figures import Measured, best_of
from bench.load import Load, LoadFailed, loaded
from bench.programs import SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.figures import Goal
    from bench.origin import Asked
    from bench.peers import Running, Tier
    from bench.stage import Stage

    Asking = Callable[[], Asked]
    Rounds = dict[str, list[Mapping[str, float]]]

OBJECT: Final = "object"
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Warm:
    """A scenario: ranges of one length, from memory or from disk. The sides take turns in several rounds."""

    title: str
    order: int
    range_bytes: int
    goals: Sequence[Goal]
    tier: Tier = "memory"
    case: str = "warm"

    def run(self, stage: Stage) -> list[Measured]:
        """All peers serve at once; one at a time is asked."""
        size = stage.choose(128, 64) * _MIB
        store = stage.store(object=size)
        with (
            stage.origin(store) as origin,
            stage.lineup(origin, self.tier, cpu=SERVER_CPU) as running,
        ):
            for name, peer in list(running.items()):
                stage.say(f"warming {name}")
                try:
                    warm_up(peer.url, store / OBJECT)
                    check_ranges(peer.url, store / OBJECT, self.range_bytes)
                except (OSError, WrongAnswer) as error:
                    stage.leave_out(name, str(error))
                    del running[name]
            rounds = self._rounds(stage, running, size, origin.asked)
        return [best_of(self.case, name, each) for name, each in rounds.items() if each]

    def _rounds(self, stage: Stage, running: Mapping[str, Running], size: int, asked: Asking) -> Rounds:
        rounds: Rounds = {name: [] for name in running}
        count, seconds = stage.rounds(3, 2), stage.choose(2, 1)
        # The first round is not counted: peers still write, compile and allocate in it.
        for number in range(count + 1):
            for name, peer in running.items():
                stage.say(f"round {number} of {count}: {name}")
                load = Load(OBJECT, size, self.range_bytes, seconds if number else 1, seed=number)
                before = asked()
                try:
                    found = loaded(peer, load)
                except LoadFailed as error:
                    stage.leave_out(name, str(error))
                    continue
                if number:
                    cost = asked().since(before)
                    rounds[name].append({**found, **cost.figures, "rss_mib": peer.rss_bytes() / _MIB})
        return rounds
