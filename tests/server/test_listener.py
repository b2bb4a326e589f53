"""Listening: addresses, descriptors, the timer."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.server import listener as listener_module
from rangecache.server.listener import FILES_RESERVED, Listener, connection_limit
from rangecache.server.wire import REFUSED_MAX
from rangecache.telemetry import Metrics
from rangecache.testing.clock import ManualClock
from tests.server.conftest import StubReader, make_port, pattern, request_of

if TYPE_CHECKING:
    from tests.server.conftest import Door

ROOT = Path(__file__).parents[2]


async def test_a_unix_socket_serves_the_same_and_again_after_a_restart(tmp_path: Path) -> None:
    reader = StubReader()
    reader.put("k", pattern(100))
    path = str(tmp_path / "socket")
    for _ in range(2):
        listener = Listener(make_port(reader, ManualClock(), Metrics()))
        await listener.start_unix(path)
        incoming, outgoing = await asyncio.open_unix_connection(path)
        outgoing.write(request_of("/s3/b/k", "Range: bytes=0-9", "Connection: close"))
        answer = await asyncio.wait_for(incoming.read(-1), 10)
        assert answer.endswith(b"\r\n\r\n" + pattern(10))
        outgoing.close()
        await listener.drain()


async def test_several_sockets_share_the_connections_and_their_bounds(tmp_path: Path) -> None:
    reader = StubReader()
    port = make_port(reader, ManualClock(), Metrics())
    listener = Listener(port)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        await listener.start_socket(bound)
        (address,) = await listener.start("127.0.0.1", 0)
        connections = [await asyncio.open_connection(*each) for each in (address, bound.getsockname())]
        for incoming, outgoing in connections:
            outgoing.write(request_of("/"))
            assert await asyncio.wait_for(incoming.readuntil(b"\r\n\r\n"), 10)
        assert len(port.connections) == 2
        for _, outgoing in connections:
            outgoing.close()
        await listener.drain()


class Looked:
    """In place of a connection: when it was looked at."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def sweep(self, now_s: float) -> None:
        self.at_s.append(now_s)


async def test_the_timer_looks_at_every_connection_once_a_second_and_at_few_at_a_time(door: Door) -> None:
    assert door.listener._timer is not None
    door.listener._timer.cancel()
    crowd = [Looked() for _ in range(3 * listener_module.SWEEP_BATCH + 1)]
    door.port.connections.update(crowd)  # type: ignore[arg-type]
    loop, pauses_s = asyncio.get_running_loop(), []
    for turn in range(4):
        door.clock.shift(1)
        door.listener._tick()
        assert sum(each.at_s[-1:] == [door.clock.monotonic()] for each in crowd) <= listener_module.SWEEP_BATCH
        assert sum(map(len, (each.at_s for each in crowd))) == min(len(crowd), (turn + 1) * listener_module.SWEEP_BATCH)
        pauses_s.append(door.listener._timer.when() - loop.time())
        door.listener._timer.cancel()
    assert {len(each.at_s) for each in crowd} == {1}
    assert 0.9 < sum(pauses_s) <= listener_module.SWEEP_S
    door.port.connections.clear()
    # With few of them it is one look a second.
    door.listener._tick()
    assert 0.9 < door.listener._timer.when() - loop.time() <= listener_module.SWEEP_S


async def test_a_connection_that_left_since_the_round_began_is_not_looked_at(door: Door) -> None:
    assert door.listener._timer is not None
    door.listener._timer.cancel()
    crowd = [Looked() for _ in range(2 * listener_module.SWEEP_BATCH)]
    door.port.connections.update(crowd)  # type: ignore[arg-type]
    door.listener._tick()
    seen = [each for each in crowd if each.at_s]
    door.port.connections.clear()
    door.listener._timer.cancel()
    door.listener._tick()
    assert [each for each in crowd if each.at_s] == seen


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "limit", "raised"),
    [
        (1024, 1_048_576, 4096, 4096, 4096 + REFUSED_MAX + FILES_RESERVED),
        (1024, 2048, 4096, 2048 - REFUSED_MAX - FILES_RESERVED, 2048),
        (65536, 65536, 4096, 4096, None),
        (100, 100, 4096, 1, 100),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 4096, 4096, None),
        (1024, resource.RLIM_INFINITY, 4096, 4096, 4096 + REFUSED_MAX + FILES_RESERVED),
    ],
)
def test_connections_leave_descriptors_for_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, limit: int, raised: int | None
) -> None:
    state = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: state[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: state.append(limits))
    assert connection_limit(wanted) == limit
    assert (state[-1][0] if len(state) > 1 else None) == raised


def test_a_system_that_refuses_more_descriptors_gets_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert connection_limit(4096) == 1024 - REFUSED_MAX - FILES_RESERVED


SERVER = """
import asyncio, resource, sys
from rangecache.aio.clock import SystemClock
from rangecache.server.listener import Listener
from rangecache.telemetry import Metrics
from tests.server.conftest import StubReader, make_port, pattern
if sys.argv[1] == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
else:
    factory = asyncio.new_event_loop

async def main():
    reader = StubReader()
    reader.put("k", pattern(100))
    listener = Listener(make_port(reader, SystemClock(), Metrics()))
    (address,) = await listener.start("127.0.0.1", 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    print(address[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_running_out_of_descriptors_is_survived(loop: str) -> None:
    command = [sys.executable, "-c", SERVER, loop]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        flood = [socket.create_connection(address, timeout=10) for _ in range(120)]
        for each in flood:
            each.close()
        answer = b""
        for _ in range(20):  # the first may still be shed while the flood is being closed
            try:
                answer = fetch(address)
            except OSError:
                continue
            if answer:
                break
        process.terminate()
    assert answer.endswith(b"\r\n\r\n" + pattern(10))


def fetch(address: tuple[str, int]) -> bytes:
    """One small range."""
    with socket.create_connection(address, timeout=10) as connected:
        connected.sendall(request_of("/s3/b/k", "Range: bytes=0-9", "Connection: close"))
        return b"".join(iter(lambda: connected.recv(65536), b""))
