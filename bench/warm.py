"""Warm reads: random ranges of one object, all of which every peer has. What a request costs, and how fast it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench.check import check_ranges, warm_up
from bench.client import WrongAnswer
from bench.figures import Measured, best_of
from bench.load import Load, LoadFailed, loaded
from bench.programs import SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.figures import Goal
    from bench.origin import OriginProcess
    from bench.peers import Running, Tier
    from bench.stage import Stage

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
            warm_all(stage, running, store / OBJECT, self.range_bytes)
            load = Load(OBJECT, size, self.range_bytes, stage.choose(2, 1))
            return take_turns(stage, {name: (self.case, name, peer) for name, peer in running.items()}, load, origin)


def warm_all(stage: Stage, running: dict[str, Running], file: Path, range_bytes: int) -> None:
    """Have all peers take in an object, and compare what they answer; who fails is taken out of `running`."""
    for name, peer in list(running.items()):
        stage.say(f"warming {name}")
        try:
            warm_up(peer.url, file)
            check_ranges(peer.url, file, range_bytes)
        except (OSError, WrongAnswer) as error:
            stage.leave_out(name, str(error))
            del running[name]


def take_turns(
    stage: Stage, sides: Mapping[str, tuple[str, str, Running]], load: Load, origin: OriginProcess
) -> list[Measured]:
    """Put a load on one side after the other, in several rounds. Each is a case, a peer's name and who serves."""
    rounds: dict[str, list[Mapping[str, float]]] = {name: [] for name in sides}
    count = stage.rounds(3, 2)
    # There is a round 0 that is not counted: peers still write, compile and allocate in it. A quick look has no time.
    for number in range(int(stage.quick), count + 1):
        for name, (_, _, peer) in sides.items():
            stage.say(f"round {number} of {count}: {name}")
            before = origin.asked()
            try:
                found = loaded(peer, replace(load, seconds=load.seconds if number else 1, seed=number))
            except LoadFailed as error:
                stage.leave_out(name, str(error))
                continue
            if number:
                cost = origin.asked().since(before)
                rounds[name].append({**found, **cost.figures, "rss_mib": peer.rss_bytes() / _MIB})
    return [best_of(sides[name][0], sides[name][1], each) for name, each in rounds.items() if each]
