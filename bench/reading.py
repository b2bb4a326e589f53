"""Real clients read through each side twice: cold, and again.

`again` is a new process, as when another worker reads what the first one has read: what the client itself keeps in
memory is gone, what is kept on disk or by a proxy is not. The sides with a client's own cache in memory read twice in
one process, as nothing else would be fair to them. Without any cache the second reading is like the first: it is read
once, and told twice. Who has read something else is left out; if it is us, all ends.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.client import WrongAnswer
from bench.figures import DIRECT, US, Measured
from bench.programs import Program, ProgramFailed
from bench.readers import OWN_CACHE, READERS, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.figures import Goal
    from bench.origin import OriginProcess
    from bench.stage import Stage

COLD: Final = "cold"
AGAIN: Final = "again"
_PROXIES: Final = (US, "nginx slice")
"""The peers that real clients read through."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A scenario: some readers, some latencies of the origin."""

    title: str
    order: int
    readers: Mapping[str, str]
    """What the table calls them, by their names in `READERS`."""
    latencies_ms: Sequence[int]
    goals: Sequence[Goal] = ()
    own_caches: bool = True

    def run(self, stage: Stage) -> list[Measured]:
        """One after the other, each with a proxy of its own; in the short version the last reader alone."""
        stage.say("making files")
        store = prepare(stage.shared)
        measured = []
        for latency_ms in self.latencies_ms[: stage.choose(len(self.latencies_ms), 1)]:
            for reader, title in list(self.readers.items())[-stage.choose(len(self.readers), 1) :]:
                case = f"{title}, {latency_ms} ms"
                with stage.origin(store, latency_s=latency_ms / 1000) as origin:
                    measured += self._read(stage, origin, reader, case)
        return measured

    def _read(self, stage: Stage, origin: OriginProcess, reader: str, case: str) -> list[Measured]:
        passes: dict[str, list[dict[str, float]]] = {}
        digests: dict[str, set[str]] = {}
        asked_bytes = 0.0
        sides = [DIRECT, *(READERS[reader].own_caches if self.own_caches else ())]
        sides += [name for name in _PROXIES if name in stage.peers]
        for side in sides:
            stage.say(f"{case}: {side}")
            with ExitStack() as stack:
                url, own = origin.url, side not in {DIRECT, *_PROXIES}
                try:
                    if side in _PROXIES:
                        url = stage.start(stage.peers[side], origin, stack).url
                    before = origin.asked()
                    client = Client(reader, url, stage.scratch("reader"), own=own)
                    found = client.read(origin, passes=1) * 2 if side == DIRECT else client.read(origin, passes=2)
                except ProgramFailed as error:
                    stage.leave_out(side, str(error))
                    continue
            if side == DIRECT:
                asked_bytes = origin.distinct_bytes(before) / 1e6
            passes[side] = [figures for figures, _ in found]
            digests[side] = {digest for _, digest in found}
        for side in [side for side in passes if digests[side] != digests[DIRECT]]:
            if side in {DIRECT, US}:
                raise WrongAnswer(f"{case}: {side} has read something else: {digests}")
            stage.leave_out(side, "it has read something else")
            del passes[side]
        # The bytes that this client asks for, each counted once, are the measure of what a proxy makes the origin send.
        return [
            Measured(f"{case}, {name}", side, {**figures, "origin_of_distinct": figures["origin_mb"] / asked_bytes})
            for number, name in enumerate((COLD, AGAIN))
            for side, both in passes.items()
            for figures in [both[number]]
        ]


@dataclass(frozen=True, slots=True)
class Client:
    """One client, with or without a cache of its own."""

    reader: str
    url: str
    folder: Path
    own: bool

    def read(self, origin: OriginProcess, passes: int) -> list[tuple[dict[str, float], str]]:
        """Figures and what was read, of each pass. Raises `ProgramFailed`."""
        command = [sys.executable, "-m", "bench.readers", self.reader, self.url, str(self.folder)]
        command += [OWN_CACHE] if self.own else []
        stays = self.own and not all(READERS[self.reader].own_caches.values())
        found = []
        with ExitStack() as stack:
            for number in range(passes):
                if number == 0 or not stays:
                    stack.close()
                    program = stack.enter_context(Program(f"reader {number}", command, self.folder, talks=True))
                    program.hear()
                before = origin.asked()
                told = json.loads(program.ask("read"))
                found.append(({"seconds": told["seconds"], **origin.asked().since(before).figures}, told["digest"]))
        return found
