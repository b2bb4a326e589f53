"""How much later than the origin's own the first byte of a cold range comes.

Of each object two ranges are read: the first one when nobody has asked for the object yet, another one when the object
is known and that range is not.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.client import Client, WrongAnswer
from bench.cold import LATENCY_S
from bench.figures import DIRECT, Goal, Measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.stage import Stage

NEW: Final = "first range of an object"
KNOWN: Final = "another range of it"
_RANGE_BYTES: Final = 16 << 10
_OBJECT_BYTES: Final = 8 << 20
_PLACES: Final[Mapping[str, int]] = {NEW: 1 << 20, KNOWN: 6 << 20}


@dataclass(frozen=True, slots=True)
class FirstByte:
    """Medians over many objects, one client."""

    title: str = "cold first byte, 16 KiB, origin 30 ms away"
    order: int = 22
    goals: Sequence[Goal] = (
        Goal(NEW, "added_ms", 2, title="cold first byte, unknown object"),
        Goal(KNOWN, "added_ms", 2, title="cold first byte, known object"),
    )

    def run(self, stage: Stage) -> list[Measured]:
        """The sides take turns with each object."""
        names = [f"object-{number}" for number in range(stage.choose(30, 8))]
        store = stage.store(**dict.fromkeys(names, _OBJECT_BYTES))
        waits: dict[tuple[str, str], list[float]] = {}
        with stage.origin(store, latency_s=LATENCY_S) as origin, stage.lineup(origin, far=True) as running:
            urls = {DIRECT: origin.url} | {name: peer.url for name, peer in running.items()}
            clients = {peer: Client(url) for peer, url in urls.items()}
            for name in names:
                stage.say(name)
                for peer, client in clients.items():
                    for case, start in _PLACES.items():
                        try:
                            found = client.read_into(bytearray(_RANGE_BYTES), name, start)
                        except (OSError, WrongAnswer) as error:
                            stage.leave_out(peer, f"{type(error).__name__}: {error}")
                            continue
                        waits.setdefault((case, peer), []).append(found.first_byte_s * 1000)
        medians = {key: statistics.median(each) for key, each in waits.items()}
        return [
            Measured(case, peer, {"first_byte_ms": wait, "added_ms": wait - medians[case, DIRECT]})
            for (case, peer), wait in sorted(medians.items(), key=lambda each: each[0][0] != NEW)
        ]


SCENARIO = FirstByte()
