"""An origin that is gone: what clients get meanwhile, what is told about it, and how it comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Status
from rangecache.testing.objects import check_stamped, stamped
from tests.edge.admin import Admin
from tests.edge.rig import BLOCK, HurriedClock, running

if TYPE_CHECKING:
    from tests.edge.rig import Rig

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
