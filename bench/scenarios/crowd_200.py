"""200 clients ask for the same cold range at the same moment. One request to the origin is enough."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.client import WrongAnswer
from bench.cold import LATENCY_S
from bench.figures import DIRECT, Goal, Measured, best_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.stage import Stage

CASE: Final = "200 clients"
_CLIENTS: Final = 200
_RANGE_BYTES: Final = 16 << 10
_OBJECT_BYTES: Final = 4 << 20
_START: Final = 1 << 20
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """A new object each round; connections are there before anybody asks."""

    title: str = "200 clients for one cold 16 KiB range, origin 30 ms away"
    order: int = 23
    goals: Sequence[Goal] = (
        Goal(CASE, "origin_requests", 1),
        Goal(CASE, "p99_ms", LATENCY_S * 1000 + 20),
    )

    def run(self, stage: Stage) -> list[Measured]:
        """The sides take turns."""
        names = [f"object-{number}" for number in range(stage.rounds(5, 2))]
        store = stage.store(**dict.fromkeys(names, _OBJECT_BYTES))
        rounds: dict[str, list[Mapping[str, float]]] = {}
        with stage.origin(store, latency_s=LATENCY_S) as origin, stage.lineup(origin, far=True) as running:
            urls = {DIRECT: origin.url} | {name: peer.url for name, peer in running.items()}
            for name in names:
                for peer, url in urls.items():
                    stage.say(f"{name}: {peer}")
                    before = origin.asked()
                    try:
                        waits = crowd(url + name)
                    except (OSError, WrongAnswer) as error:
                        stage.leave_out(peer, f"{type(error).__name__}: {error}")
                        continue
                    time.sleep(0.2)  # who fetches whole objects is not done yet; the next one has the origin to himself
                    cost = origin.asked().since(before).figures
                    rounds.setdefault(peer, []).append({"p50_ms": waits[_CLIENTS // 2], "p99_ms": waits[-3], **cost})
        return [best_of(CASE, peer, each) for peer, each in rounds.items()]


def crowd(url: str) -> list[float]:
    """How long each client waited for all of its answer, in ms, sorted. Raises `WrongAnswer`, or `OSError`."""
    target = urlsplit(url)
    wanted = f"bytes={_START}-{_START + _RANGE_BYTES - 1}"
    head = f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nRange: {wanted}\r\n\r\n".encode()
    waits: list[float] = []
    with selectors.DefaultSelector() as selector:
        clients = [socket.create_connection((target.hostname or "", target.port or 80)) for _ in range(_CLIENTS)]
        try:
            for client in clients:
                client.setblocking(False)
                selector.register(client, selectors.EVENT_READ, bytearray())
            time.sleep(0.05)
            began_s = time.perf_counter()
            for client in clients:
                client.sendall(head)
            while len(waits) < _CLIENTS:
                if not (ready := selector.select(_TIMEOUT_S)):
                    raise WrongAnswer(f"{_CLIENTS - len(waits)} clients have no answer after {_TIMEOUT_S:g} s")
                for key, _ in ready:
                    if _is_whole(key):
                        waits.append((time.perf_counter() - began_s) * 1000)
                        selector.unregister(key.fileobj)
        finally:
            for client in clients:
                client.close()
    return sorted(waits)


def _is_whole(key: selectors.SelectorKey) -> bool:
    """Take what there is of an answer; whether it is all here."""
    client: socket.socket = key.fileobj  # type: ignore[assignment]
    answer: bytearray = key.data
    answer += (more := client.recv(1 << 16))
    end = answer.find(b"\r\n\r\n")
    if not more or (end >= 0 and not answer.startswith(b"HTTP/1.1 206")):
        raise WrongAnswer(f"a client was answered with {bytes(answer[:80])!r}")
    return end >= 0 and len(answer) >= end + 4 + _RANGE_BYTES


SCENARIO = Crowd()
