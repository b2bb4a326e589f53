"""Clients that leave, origins that fail for a minute, and the end of the program in the middle of work.

What many readers cost the origin is counted on the origin's own log, over real connections.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.faults import Status
from rangecache.testing.objects import check_stamped, stamped
from rangecache.testing.origin import Origin
from tests.edge.client import Client
from tests.edge.process import Proxy
from tests.edge.rig import BLOCK, HurriedClock, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rangecache.testing.connection import Gate
    from tests.edge.rig import Rig
    from tests.proving import Proof

MIB: Final = 1 << 20
LARGE: Final = stamped("large", 1, MIB)
TURNS: Final = 40  # of the event loop, in which a cold read has taken all its steps up to the origin's answer
HELD: Final = (None, 0, 100, BLOCK + 100)  # before the head, after it, within a block, within the next one


async def crowd(rig: Rig, count: int) -> list[Client]:
    """Clients that are connected."""
    clients = [await rig.connect() for _ in range(count)]
    await until(lambda: len(rig.program.port.connections) >= count)
    return clients


async def leader_leaves(rig: Rig, others: list[Client], key: str, turns: int, gate: Gate) -> None:
    """One client asks first, all others join, and he leaves after so many turns of the event loop."""
    length = 3 * BLOCK
    rig.origin.put(f"b/{key}", stamped(key, 1, length))
    leader = await rig.connect()
    leader.send(f"/web/b/{key}")
    await until(lambda: len(rig.program.port.answers) == 1)
    for client in others:
        client.send(f"/web/b/{key}")
    for _ in range(turns):
        await asyncio.sleep(0)
    leader.close()
    await until(lambda: len(rig.program.port.answers) == len(others))
    gate.release()
    for client in others:
        assert check_stamped((await client.answer()).body, 0, key) == 1
    assert len(rig.asked(key)) == 1


async def test_the_first_client_may_leave_in_any_turn_of_the_loop(rig: Rig) -> None:
    others = await crowd(rig, 20)
    for turns in range(TURNS):
        await leader_leaves(rig, others, str(turns), turns, rig.origin.hold(f"b/{turns}"))


@pytest.mark.prove
@pytest.mark.timeout(1200)
async def test_the_first_of_a_thousand_clients_leaves_and_harms_nobody(rig: Rig, proof: Proof) -> None:
    count = 1000
    others = await crowd(rig, count - 1)
    for turns in range(TURNS):
        await leader_leaves(rig, others, f"turn{turns}", turns, rig.origin.hold(f"b/turn{turns}"))
    for number, held in enumerate(HELD):
        key = f"held{number}"
        gate = rig.origin.hold(f"b/{key}", after_bytes=held)
        await leader_leaves(rig, others, key, 200, gate)
    figures = f"{count} connections, {TURNS + len(HELD)} moments: one GET each, {count - 1} whole answers each"
    proof.row("whoever asked first may leave at any moment", figures)


# --- the last one leaves ----------------------------------------------------------------------------------------------


async def last_leaves(rig: Rig, key: str, share: float) -> tuple[bool, float]:
    """Three clients leave when so much of a block run has come. Whether the fetch went on to its end, and how many
    seconds the origin's connection stayed open after the last had left."""
    size = len(LARGE)
    rig.origin.put(f"b/{key}", LARGE)
    held = int(size * share) // BLOCK * BLOCK
    gate = rig.origin.hold(f"b/{key}", after_bytes=held)
    clients = [await rig.connect() for _ in range(3)]
    for client in clients:
        client.send(f"/web/b/{key}")
    await gate.reached()
    for client in clients:
        await client.head()
        assert len(await client.reader.readexactly(held)) == held
    for client in clients:
        client.close()
    left_at = time.perf_counter()
    (request,) = rig.origin.log.select(f"b/{key}")
    await until(lambda: not len(rig.program.port.answers))
    if share < 0.5:
        await until(lambda: not rig.origin.connections)
    open_s = time.perf_counter() - left_at
    gate.release()
    await until(lambda: not len(rig.program.fetcher))
    return request.answered_whole, open_s


@pytest.mark.parametrize(("share", "lands"), [(0.1, False), (0.6, True), (0.99, True)])
async def test_what_is_mostly_missing_is_given_up_when_the_last_client_leaves(
    share: float, lands: bool, proof: Proof
) -> None:
    times = 2 if lands else 20
    async with running(fetch={"max_request": MIB}) as rig:
        ends = [await last_leaves(rig, f"{share}-{number}", share) for number in range(times)]
        if not lands:
            slowest_ms = max(open_s for _, open_s in ends) * 1000
            figures = (
                f"{times} times at {share:.0%}: the origin's connection closed after {slowest_ms:.0f} ms at the most"
            )
            proof.row("a fetch that nobody waits for is ended at once", figures)
    assert {whole for whole, _ in ends} == {lands}


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_the_deadline_of_a_request_is_kept_to_about_a_second(proof: Proof) -> None:
    async with running(server={"request_timeout": "300ms"}) as rig:
        rig.origin.put("b/k", stamped("k", 1, BLOCK))
        gate = rig.origin.hold("b/k")
        started_at = time.perf_counter()
        answer = await rig.get("k")
        took_s = time.perf_counter() - started_at
        proof.row("a deadline of 0.3 s ends in 504, and the fetch with it", f"504 after {took_s:.2f} s")
        assert answer.status == 504
        assert took_s >= 0.3
        await until(lambda: not rig.origin.connections)
        gate.release()
        assert (await rig.get("k")).status == 200


# --- an origin that fails for a minute --------------------------------------------------------------------------------


async def test_a_minute_of_failures_costs_the_origin_a_tenth_more_and_stale_bytes_are_served(proof: Proof) -> None:
    count, burst, seconds, factor = 600, 5, 60, 60
    budget = {"ratio": 0.1, "min_per_second": 0.1, "burst": burst}
    defaults = {"stale_if_error": "1h", "stale_while_revalidate": "0s"}
    freshness = [{"match": "web/b/known", "ttl": "1s"}, {"match": "**", "ttl": "1h"}]
    clock = HurriedClock(factor)
    server = {"keepalive_timeout": "1h"}
    async with running(clock=clock, budget=budget, defaults=defaults, freshness=freshness, server=server) as rig:
        rig.origin.put("b/known", stamped("known", 1, BLOCK))
        assert (await rig.get("known")).status == 200
        await clock.sleep(5)
        rig.origin.log.clear()
        rig.origin.fail(None, Status(500), times=None)
        began_at, statuses = clock.monotonic(), Counter[int]()
        clients = [await rig.connect() for _ in range(20)]
        for number in range(count):
            client = clients[number % len(clients)]
            answer = await client.get(f"/web/b/{number}")
            statuses[answer.status] += 1
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) >= 1
            await clock.sleep(seconds / count)
        took_s = clock.monotonic() - began_at
        hits = len(rig.origin.requests)
        figures = f"{count} misses in {took_s:.0f} s of failures: {hits} requests, {hits / count:.3f} for each"
        proof.row("an origin that fails is asked a tenth more, not three times", figures)
        assert hits <= 1.1 * count + burst + 0.1 * took_s + 1
        assert set(statuses) <= {502, 503}
        stale = await rig.get("known")
        assert (stale.status, check_stamped(stale.body, 0, "known")) == (200, 1)
        assert "ttl=-" in stale.cache


# --- the end of the program -------------------------------------------------------------------------------------------


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """One that a process of its own reads from."""
    async with Origin() as running_origin:
        yield running_origin


async def test_sigterm_during_a_hundred_streams_truncates_none(tmp_path: Path, origin: Origin, proof: Proof) -> None:
    count, size = 100, len(LARGE)
    origin.put("b/k", LARGE)
    origin.put("b/cold", LARGE)
    async with Proxy(tmp_path, origin, cache={"block_size": "256KiB"}) as proxy:
        await proxy.get("k")
        gate = origin.hold("b/cold", after_bytes=size // 2)
        clients = [await Client.connect(proxy.port) for _ in range(count)]
        for number, client in enumerate(clients):
            client.send("/web/b/cold" if number % 2 else "/web/b/k")
        for client in clients:
            assert (await client.head())[0] == 200
            client.writer.transport.pause_reading()
        assert await proxy.ready() is True
        proxy.signal(signal.SIGTERM)
        while await proxy.ready() is True:
            await asyncio.sleep(0)
        # Not ready is said while the streams go on.
        assert await proxy.ready() is False
        began_at = time.perf_counter()
        gate.release()
        for client in clients:
            client.writer.transport.resume_reading()
            assert await client.reader.readexactly(size) == LARGE
            assert await client.reader.read() == b""
            client.close()
        assert await proxy.ended() == 0
        took_s = time.perf_counter() - began_at
        figures = f"{count} streams of {size // MIB} MiB: 0 truncated, exit status 0, {took_s:.1f} s of 30 s grace"
        proof.row("SIGTERM lets answers end, and says not ready first", figures)
        # The directory is free for the next one at once.
        await proxy.start()
        (disk,) = (tier for tier in (await proxy.stats())["tiers"] if tier["name"] == "disk")
        assert disk["state"] == "rw"
