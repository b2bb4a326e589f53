"""Resident memory when idle, with S3 configured as it is without a configuration, and what each open connection adds.

Connections are made and left idle, then a part of a request's head is sent on each. The kernel's own buffers are not in
the figures; code that processes share is.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.figures import US, Goal, Measured
from bench.peers.rangecache import PEER
from bench.programs import ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peers import Running
    from bench.stage import Stage

IDLE: Final = "idle connections"
BEGUN: Final = "a part of a head on each"
_HEAD: Final = b"GET /data/object HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_SETTLE_S: Final = 1.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Connections:
    """2,000 of them."""

    title: str = "memory when idle, and of connections"
    order: int = 61
    goals: Sequence[Goal] = (
        Goal(IDLE, "idle_rss_mib", 90, title="memory when idle, S3 configured"),
        Goal(IDLE, "kib_per_connection", 16, title="memory of an idle connection"),
    )

    def run(self, stage: Stage) -> list[Measured]:
        """One peer after the other."""
        peers = dict(stage.peers)
        if US in peers:
            peers[US] = replace(PEER, changes={"providers": {"s3": {"kind": "s3"}}})
        measured = []
        with stage.origin(stage.hollow("object", 1 << 20)) as origin:
            for name, peer in peers.items():
                stage.say(name)
                with ExitStack() as stack:
                    try:
                        measured += measure(name, stage.start(peer, origin, stack), stage.choose(2000, 500))
                    except (OSError, ProgramFailed) as error:
                        stage.leave_out(name, str(error))
        return sorted(measured, key=lambda each: each.case != IDLE)


def measure(name: str, running: Running, count: int) -> list[Measured]:
    """Look, connect, look again."""
    target = urlsplit(running.url)
    time.sleep(_SETTLE_S)
    before = running.rss_bytes()
    with ExitStack() as stack:
        address = (target.hostname or "", target.port or 80)
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(count)]
        time.sleep(_SETTLE_S)
        connected = running.rss_bytes()
        for client in clients:
            client.sendall(_HEAD)
        time.sleep(_SETTLE_S)
        begun = running.rss_bytes()
    return [
        Measured(case, name, {"idle_rss_mib": before / _MIB, "kib_per_connection": (bytes_ - before) / count / 1024})
        for case, bytes_ in ((IDLE, connected), (BEGUN, begun))
    ]


SCENARIO = Connections()
