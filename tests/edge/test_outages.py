"""An origin that is gone: what clients get meanwhile, what is told about it, and how it comes back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Status
from rangecache.testing.objects import check_stamped, stamped
from tests.edge.admin import Admin
from tests.edge.rig import BLOCK, HurriedClock, running, until

if TYPE_CHECKING:
    from tests.edge.rig import Rig
    from tests.proving import Proof

STALE = {"stale_if_error": "1h", "stale_while_revalidate": "0s"}
ASKED_AT_EACH_READ = [{"match": "**", "ttl": "0s"}]


async def breaker(rig: Rig) -> tuple[str, str]:
    """Of the only endpoint, as the admin port tells it, and the provider's health."""
    async with aiohttp.ClientSession() as session:
        (provider,) = (await Admin(session, rig.admin_port).get("providers"))["providers"]
    (endpoint,) = provider["endpoints"]
    assert bool(endpoint["reason"]) is (endpoint["breaker"] != "closed")
    return provider["health"], endpoint["breaker"]


async def test_a_dead_origin_is_left_alone_and_found_again_and_stale_bytes_are_served_at_once() -> None:
    clock = HurriedClock(30)
    async with running(clock=clock, defaults=STALE, freshness=ASKED_AT_EACH_READ) as rig:
        rig.origin.put("b/known", stamped("known", 1, BLOCK))
        assert (await rig.get("known")).status == 200
        assert await breaker(rig) == ("up", "closed")
        await rig.origin.stop()
        while (await rig.get("other")).status != 503:
            pass
        refused = await rig.get("other")
        assert json.loads(refused.body)["type"] == "urn:rangecache:problem:origin-paused"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert await breaker(rig) == ("down", "open")
        assert b'rangecache_breaker_open{provider="web"} 1.0' in rig.program.metrics.exposition()
        asked = rig.program.metrics.origin_requests.total()
        stale = await rig.get("known")
        assert (stale.status, check_stamped(stale.body, 0, "known")) == (200, 1)
        assert "ttl=-" in stale.cache
        assert rig.program.metrics.origin_requests.total() == asked
        await rig.origin.start()
        rig.origin.put("b/other", stamped("other", 1, BLOCK))
        while (await rig.get("other")).status != 200:
            await clock.sleep(1)
        assert await breaker(rig) == ("up", "closed")


async def test_one_broken_object_harms_no_other() -> None:
    async with running(clock=ManualClock(), fetch={"attempts": 1}) as rig:
        rig.origin.put("b/good", stamped("good", 1, BLOCK))
        rig.origin.fail("b/broken", Status(500), times=None)
        for _ in range(30):
            assert (await rig.get("broken")).status == 502
        assert (await rig.get("good")).status == 200


class Load:
    """Readers that each ask for something new twice a second, and what they got.

    Each keeps to its own moments of the second, whatever the last answer took: if they only paused after an answer, an
    outage would leave them in step, and they would wait for each other ever after.
    """

    def __init__(self, rig: Rig, clock: HurriedClock) -> None:
        self.rig, self.clock = rig, clock
        self.asked = 0
        self.ends: list[tuple[float, int]] = []

    async def read(self, number: int) -> None:
        """Until cancelled."""
        client = await self.rig.connect()
        due = self.clock.monotonic() + number / 32
        while True:
            await self.clock.sleep(max(0.0, due - self.clock.monotonic()))
            while due <= self.clock.monotonic():
                due += 0.5
            key = f"{number}-{self.asked}"
            self.asked += 1
            self.rig.origin.put(f"b/{key}", b"some bytes")
            status = (await client.get(f"/web/b/{key}")).status
            self.ends.append((self.clock.monotonic(), status))

    def good(self, since: float, seconds: float) -> float:
        """Answers a second that were worth having."""
        return sum(status == 200 for at, status in self.ends if since <= at < since + seconds) / seconds


@pytest.mark.parametrize("factor", [30, pytest.param(5, marks=pytest.mark.prove)])
async def test_a_minute_of_503_stays_within_the_ledger_and_is_over_when_it_is_over(factor: int, proof: Proof) -> None:
    """Counted at the origin: (1 + ratio) for each miss, what trickles in, and the burst."""
    ratio, per_second, burst, seconds = 0.1, 1.0, 20, 60.0
    budget = {"ratio": ratio, "min_per_second": per_second, "burst": burst}
    clock = HurriedClock(factor)
    async with running(clock=clock, budget=budget, server={"keepalive_timeout": "1h"}) as rig:
        load = Load(rig, clock)
        readers = [asyncio.create_task(load.read(number)) for number in range(16)]
        await clock.sleep(20)
        before = load.good(clock.monotonic() - 15, 15)
        misses, hits, began_at = load.asked, len(rig.origin.requests), clock.monotonic()
        rig.origin.fail(None, Status(503), times=None)
        await clock.sleep(seconds)
        misses, hits = load.asked - misses + len(readers), len(rig.origin.requests) - hits
        took_s = clock.monotonic() - began_at
        rig.origin.heal()
        over_at = clock.monotonic()
        await clock.sleep(45)
        after = load.good(over_at + 30, 15)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        allowed = (1 + ratio) * misses + per_second * took_s + burst
        proof.row(
            "a minute of 503 costs the origin what the ledger allows, and good answers come back",
            f"{misses} misses in {took_s:.0f} s: {hits} requests of {allowed:.0f} allowed; {before:.1f} good answers"
            f" a second before, {after:.1f} from 30 s after its end",
        )
        assert misses > 2 * len(readers)
        assert hits <= allowed
        # Rates of a hurried clock are the machine's: what is asserted is that nothing holds the readers back any more.
        late = [status for at, status in load.ends if at >= over_at + 30]
        assert late.count(200) >= 0.95 * len(late)
        assert all(window.size >= len(readers) for window in rig.program.origins.strain._windows.values())


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.prove)])
@pytest.mark.parametrize("fault", [Status(503), Status(500)], ids=["503", "500"])
async def test_all_who_wait_for_a_block_share_one_repeat(count: int, fault: Status, proof: Proof) -> None:
    async with running(clock=HurriedClock(20)) as rig:
        data = stamped("k", 1, BLOCK)
        rig.origin.put("b/k", data)
        clients = [await rig.connect() for _ in range(count)]
        gate = rig.origin.hold("b/k")
        rig.origin.fail("b/k", fault)
        for client in clients:
            client.send("/web/b/k")
        await gate.reached()
        await until(lambda: len(rig.program.port.answers) == count)
        gate.release()
        for client in clients:
            assert (await client.answer()).body == data
        asked = len(rig.asked("k"))
        proof.row("all who wait share one repeat", f"{count} clients, one {fault.code}: {asked} requests")
        assert asked == 2
