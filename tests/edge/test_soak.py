"""Everything at once for a while, and then nothing: what was taken for it has to be given back."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.origin.session import KEEP_ALIVE_S
from rangecache.testing.faults import Cut, Status
from rangecache.testing.objects import RECORD_BYTES, check_stamped, stamped
from tests.edge.client import CutShort, connected
from tests.edge.test_crowd import MIB, Crowd, allowed_bytes, serving, until_all_left

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.testing.origin import Origin
    from tests.edge.process import Proxy
    from tests.proving import Proof

OBJECTS: Final = 40
SIZE: Final = 2 * MIB
READERS: Final = 12
SLOW: Final = 150
SETTLED_S: Final = 2 * KEEP_ALIVE_S + 2.0
"""aiohttp sweeps kept connections once in the time that they are kept: one may live on for twice as long."""
ORIGIN_CONNECTIONS: Final = 128
COMPLAINTS: Final = ("Traceback", "never awaited", "destroyed but", "ERROR", '"level": "error"')

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, polls with epoll")


def furnish(origin: Origin) -> None:
    """Objects that can be cached, objects that cannot, and an origin that has bad moments."""
    for number in range(OBJECTS):
        if number % 4:
            origin.put(f"b/{number}", stamped(str(number), 1, SIZE))
        else:
            origin.put(f"b/{number}", stamped(str(number), 1, SIZE), etag=None, last_modified=None)
        if number % 5 == 1:
            origin.fail(f"b/{number}", Cut(300_000), times=20, skip=3)
        if number % 7 == 1:
            origin.fail(f"b/{number}", Status(503), times=20, skip=5)


async def read(proxy: Proxy, until_s: float, chance: random.Random, counts: dict[str, int]) -> None:
    """Random ranges, some left before their end, until the time is over."""
    while time.monotonic() < until_s:
        async with connected(proxy.port) as client:
            for _ in range(chance.randrange(1, 20)):
                number, start = chance.randrange(OBJECTS), chance.randrange(SIZE - RECORD_BYTES)
                length = min(SIZE - start, chance.choice((100, 20_000, 300_000, SIZE)))
                client.send(f"/web/b/{number}", f"Range: bytes={start}-{start + length - 1}")
                try:
                    if chance.random() < 0.1:
                        await client.reader.read(chance.randrange(1, 50_000))
                        counts["left"] += 1
                        break
                    answer = await client.answer()
                except CutShort:
                    counts["cut"] += 1
                    break
                if answer.status == 206:
                    counts["read"] += 1
                    assert check_stamped(answer.body, start, str(number)) == 1
                else:
                    assert answer.status in {502, 503, 504}, answer
                    counts["refused"] += 1


async def soak(folder: Path, seconds: float, settled_s: float) -> str:
    """Do it, and check that nothing stays. Gives the figures."""
    timers = {"send_timeout": "3s", "header_timeout": "3s", "keepalive_timeout": "3s", "max_connections": 2000}
    async with serving(folder, **timers) as proxy:
        furnish(proxy.origin)
        await asyncio.sleep(settled_s)
        files = proxy.open_files()
        counts = dict.fromkeys(("read", "refused", "cut", "left"), 0)
        crowd = await Crowd.gather(proxy.port, SLOW, SLOW, 20)
        until_s = time.monotonic() + seconds
        reading = [asyncio.create_task(read(proxy, until_s, random.Random(seed), counts)) for seed in range(READERS)]
        rss_bytes = [proxy.rss_bytes()]
        while not all(task.done() for task in reading):
            await asyncio.sleep(min(5.0, seconds / 4))
            rss_bytes.append(proxy.rss_bytes())
        await asyncio.gather(*reading)
        await crowd.leave()
        await until_all_left(proxy)
        await asyncio.sleep(settled_s)
        log = proxy.log()
        assert proxy.open_files() <= files + (0 if settled_s else ORIGIN_CONNECTIONS)
        assert not [complaint for complaint in COMPLAINTS if complaint in log], log[-2000:]
        assert max(rss_bytes) <= allowed_bytes(2 * SLOW + READERS)
        await proxy.stop()
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    half = len(rss_bytes) // 2 + 1
    first, second = max(rss_bytes[:half]) / MIB, max(rss_bytes[half:], default=0) / MIB
    return (
        f"{seconds:.0f} s: {told}; RSS at most {first:.0f} MiB in the first half, {second:.0f} in the second; "
        "afterwards no connection, flight, byte or descriptor more than before"
    )


async def test_nothing_stays_behind(tmp_path: Path) -> None:
    await soak(tmp_path, 4, 0)


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_nothing_stays_behind_after_minutes(tmp_path: Path, proof: Proof) -> None:
    proof.row("a mixed load leaves nothing behind", await soak(tmp_path, 240, SETTLED_S))
