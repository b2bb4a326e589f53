"""Cold reads of a whole object by one client with one GET, from an origin that is far away.

Every round reads another object, so that nothing of it is known. The CPU time of a peer is that of all his rounds, what
he writes behind his reader's back included. Beside the peers the object is read directly, with one GET and by obstore
with 16 ranges at a time, which is what a careful reader without any proxy does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.client import Client, WrongAnswer
from bench.figures import DIRECT, OBSTORE, Measured, best_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.figures import Goal
    from bench.origin import OriginProcess
    from bench.stage import Stage

LATENCY_S: Final = 0.03
CASE: Final = "cold"
_WAYS: Final = 16
_MB: Final = 1e6
_GB: Final = 1e9
_BEHIND_S: Final = 1.0  # after the last read: 64 MiB may wait to be written


@dataclass(frozen=True, slots=True)
class Cold:
    """A scenario: an object of one size, an origin of one pace."""

    title: str
    order: int
    object_mib: int
    quick_mib: int
    goals: Sequence[Goal]
    bandwidth_bytes_per_s: float | None = None
    """Of each connection to the origin."""
    full_rounds: int = 3

    def run(self, stage: Stage) -> list[Measured]:
        """The sides take turns."""
        size, count = stage.choose(self.object_mib, self.quick_mib) << 20, stage.rounds(self.full_rounds, 1)
        names = [f"object-{number}" for number in range(count)]
        store = stage.store(**dict.fromkeys(names, size))
        rounds: dict[str, list[Mapping[str, float]]] = {}
        with (
            stage.origin(store, latency_s=LATENCY_S, bandwidth_bytes_per_s=self.bandwidth_bytes_per_s) as origin,
            stage.lineup(origin, far=True) as running,
        ):
            reads: dict[str, Callable[[str, bytearray], float]] = {
                DIRECT: reader(origin.url),
                OBSTORE: ranges(origin.url),
            }
            reads |= {name: reader(peer.url) for name, peer in running.items()}
            before_s = {name: peer.cpu_s() for name, peer in running.items()}
            for name in names:
                for peer, read in reads.items():
                    stage.say(f"{name}: {peer}")
                    buffer = bytearray(size)
                    if (figures := timed(stage, peer, origin, lambda: read(name, buffer))) is None:  # noqa: B023 - called now
                        continue
                    check(store / name, buffer)
                    rounds.setdefault(peer, []).append({**figures, "mb_per_s": size / figures["seconds"] / _MB})
            time.sleep(_BEHIND_S)
            for name, each in rounds.items():
                if name in running:
                    spent_s = running[name].cpu_s() - before_s[name]
                    rounds[name] = [{**one, "cpu_s_per_gb": spent_s / (len(each) * size / _GB)} for one in each]
        return [best_of(CASE, peer, each) for peer, each in rounds.items()]


def timed(stage: Stage, peer: str, origin: OriginProcess, read: Callable[[], float]) -> dict[str, float] | None:
    """What one read took, and what it cost the origin; None where it failed, which is noted."""
    before = origin.asked()
    try:
        took_s = read()
    except (OSError, WrongAnswer) as error:
        stage.leave_out(peer, f"{type(error).__name__}: {error}")
        return None
    return {"seconds": took_s, **origin.asked().since(before).figures}


def reader(url: str) -> Callable[[str, bytearray], float]:
    """One GET of the whole object on a connection that is there already."""

    def read(name: str, buffer: bytearray) -> float:
        with Client(url) as client:
            return client.read_into(buffer, name).seconds

    return read


def ranges(url: str) -> Callable[[str, bytearray], float]:
    """As many ranges as there are ways, all at once."""
    import obstore
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(url.rstrip("/"), client_options={"allow_http": True})

    async def read_all(name: str, buffer: bytearray) -> None:
        step = -(-len(buffer) // _WAYS)

        async def read_one(start: int) -> None:
            end = min(start + step, len(buffer))
            buffer[start:end] = memoryview(await obstore.get_range_async(store, name, start=start, end=end))

        await asyncio.gather(*(read_one(start) for start in range(0, len(buffer), step)))

    def read(name: str, buffer: bytearray) -> float:
        began_s = time.perf_counter()
        asyncio.run(read_all(name, buffer))
        return time.perf_counter() - began_s

    return read


def check(file: Path, data: bytearray) -> None:
    """Compare what was read with the file. Raises `WrongAnswer`."""
    if file.read_bytes() != data:
        raise WrongAnswer(f"{file.name}: not its bytes")
