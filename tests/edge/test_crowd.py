"""Thousands of clients that take their time: what they cost in memory, what they cost others, and when they are cut."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from rangecache.testing.objects import Stamped
from rangecache.testing.origin import Origin
from tests.edge.crowd import DRIPPING, MUTE, OBJECTS, SILENT
from tests.edge.process import Proxy
from tests.edge.rig import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.proving import Proof

MIB: Final = 1 << 20
BASE_BYTES: Final = 120 * MIB
CONNECTION_BYTES: Final = 16 * 1024
SEND_BUFFER_BYTES: Final = 64 * MIB
TIER_BYTES: Final = 64 * MIB
OBJECT_BYTES: Final = 16 * MIB
TARGET: Final = "/web/b/large{}"
SWEEP_S: Final = 1.0  # a limit is kept to about that

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, polls with epoll")


def allowed_bytes(connections: int) -> int:
    """What the program may have resident without a disk."""
    return int(TIER_BYTES * 1.1) + BASE_BYTES + CONNECTION_BYTES * connections + SEND_BUFFER_BYTES


class Crowd:
    """A crowd that is there, as it tells of itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.count: dict[str, int] = {}
        self.lasted_s: dict[str, list[float]] = {MUTE: [], DRIPPING: [], SILENT: []}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def gather(cls, port: int, mute: int, dripping: int, silent: int) -> Self:
        """Start it, and wait until nearly all are connected at the same time; some are always about to come again. A
        machine that has much else to do may never get so far: then it is as many as it is."""
        crowd = cls(await module("tests.edge.crowd", port, TARGET, mute, dripping, silent))
        wanted = {MUTE: mute, DRIPPING: dripping, SILENT: silent}
        patience_at = time.monotonic() + PATIENCE_S
        while any(crowd.count.get(kind, 0) < number * 0.95 for kind, number in wanted.items()):
            assert crowd._process.returncode is None
            if time.monotonic() > patience_at:
                break
            await asyncio.sleep(0.1)
        return crowd

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            self.count = told["count"]
            for kind, times in told["lasted_s"].items():
                self.lasted_s[kind] += times

    async def leave(self) -> None:
        """All at once."""
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._listening


async def module(name: str, *arguments: object) -> asyncio.subprocess.Process:
    """Run a module of the tests in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", name, *map(str, arguments)), stdout=asyncio.subprocess.PIPE
    )


async def steady(proxy: Proxy, seconds: float) -> dict[str, float]:
    """How long a client waits who reads as he should."""
    reading = await module("tests.edge.steady", proxy.port, "/web/b/small", MIB, seconds)
    output, _ = await reading.communicate()
    assert reading.returncode == 0
    found: dict[str, float] = json.loads(output)
    return found


@asynccontextmanager
async def serving(folder: Path, **server: Any) -> AsyncIterator[Proxy]:
    """A proxy whose memory tier holds some large objects, and a small one that everybody reads."""
    async with Origin() as origin:
        for number in range(OBJECTS):
            origin.put(f"b/large{number}", Stamped("large", 1, OBJECT_BYTES), etag=f'"{number}"')
        origin.put("b/small", Stamped("small", 1, MIB), etag='"small"')
        addresses = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
        cache = {"block_size": "256KiB", "memory": {"size": TIER_BYTES}, "disk": {"enabled": False}}
        async with Proxy(folder, origin, cache=cache, server={**addresses, **server}) as proxy:
            for number in range(OBJECTS):
                await proxy.get(f"large{number}")
            await proxy.get("small")
            yield proxy


async def held(proxy: Proxy) -> dict[str, int]:
    """What each place holds, in bytes."""
    memory = (await proxy.stats())["memory"]
    return {place: use["bytes"] for place, use in memory.items()}


async def test_a_crowd_is_cut_by_its_timers_and_stays_within_its_memory(tmp_path: Path, proof: Proof) -> None:
    timers = {"send_timeout": "2s", "header_timeout": "2s", "keepalive_timeout": "3s"}
    async with serving(tmp_path, **timers) as proxy:
        crowd = await Crowd.gather(proxy.port, 200, 200, 20)
        most_bytes = 0
        while min(map(len, crowd.lasted_s.values())) < 20:
            await steady(proxy, 0.5)
            most_bytes = max(most_bytes, proxy.rss_bytes())
        await crowd.leave()
        least_s = {kind: min(times) for kind, times in crowd.lasted_s.items()}
        cut = ", ".join(f"{kind} after {seconds:.1f} s" for kind, seconds in least_s.items())
        rss = f"RSS {most_bytes / MIB:.0f} of {allowed_bytes(420) / MIB:.0f} MiB"
        proof.row("slow clients are cut by their timers", f"200 mute, 200 dripping, 20 silent: {cut}; {rss}")
        assert most_bytes <= allowed_bytes(420)
        # Not before its time, and each by its own timer.
        assert least_s[MUTE] >= 1.9
        assert least_s[DRIPPING] >= 1.9
        assert least_s[SILENT] >= 2.9
        # What they have held is given back.
        await until_all_left(proxy)


async def until_all_left(proxy: Proxy) -> None:
    """Wait until the proxy has noticed that nobody is there any more; then it holds nothing for anybody."""
    for _ in range(200):
        stats = await proxy.stats()
        if not stats["connections"] and not stats["flights"]:
            break
        await asyncio.sleep(0.1)
    assert stats["connections"] == 0
    assert stats["flights"] == 0
    assert {place: size for place, size in (await held(proxy)).items() if size}.keys() <= {"resident", "catalog"}


@pytest.mark.prove
async def test_ten_thousand_slow_clients_leave_memory_and_healthy_clients_alone(tmp_path: Path, proof: Proof) -> None:
    count, rounds, seconds = 5000, 3, 15
    alone, beside, most_bytes = [], [], 0
    async with serving(tmp_path, max_connections=12_000) as proxy:
        before_bytes = proxy.rss_bytes()
        for number in range(rounds):
            alone.append(await steady(proxy, seconds))
            crowd = await Crowd.gather(proxy.port, count, count, 50)
            beside.append(await steady(proxy, seconds))
            there = dict(crowd.count)
            most_bytes = max(most_bytes, proxy.rss_bytes())
            if number == rounds - 1:
                while not all(crowd.lasted_s.values()):
                    await asyncio.sleep(1)
                    most_bytes = max(most_bytes, proxy.rss_bytes())
            await crowd.leave()
            await until_all_left(proxy)
    limit_bytes = allowed_bytes(2 * count)
    ratios = {
        share: median(slow[share] / quick[share] for slow, quick in zip(beside, alone, strict=True))
        for share in ("p50", "p99")
    }
    rss = (
        f"RSS {before_bytes / MIB:.0f} MiB before, {most_bytes / MIB:.0f} of {limit_bytes / MIB:.0f} allowed with them"
    )
    figures = [f"{there[MUTE]} mute, {there[DRIPPING]} dripping: {rss}"]
    for share, ratio in ratios.items():
        quick, slow = (median(each[share] for each in group) for group in (alone, beside))
        figures.append(f"healthy {share} {quick:.0f} µs alone, {slow:.0f} µs beside them (x {ratio:.2f})")
    lasted = {kind: (min(times), max(times)) for kind, times in crowd.lasted_s.items()}
    figures.append("cut: " + ", ".join(f"{kind} {low:.1f} to {high:.1f} s" for kind, (low, high) in lasted.items()))
    proof.row("slow clients cost memory within the formula, and others little time", "; ".join(figures))
    assert most_bytes <= limit_bytes
    for kind, timer_s in ((MUTE, 60), (DRIPPING, 15), (SILENT, 120)):
        low, high = lasted[kind]
        assert timer_s - 0.1 <= low
        assert high <= timer_s + 10 * SWEEP_S, "a limit is kept to about a second; this machine has other work"
