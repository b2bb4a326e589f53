"""What many readers cost the origin, and when bytes reach them. Counted on the origin's own log."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Cut, Drip, Status
from rangecache.testing.objects import Stamped, check_stamped, stamped
from tests.edge.client import Answer, Client, CutShort, connected
from tests.edge.rig import BLOCK, HurriedClock, Rig, running, until

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZE: Final = 64 * BLOCK
DATA: Final = stamped("k", 1, SIZE)


def blocks_of(ranges: Iterable[str | None]) -> list[int]:
    """Every block that was asked for, once for each time."""
    found = []
    for asked in ranges:
        first, _, last = (asked or "").removeprefix("bytes=").partition("-")
        found += range(int(first) // BLOCK, min(int(last), SIZE - 1) // BLOCK + 1)
    return sorted(found)


async def test_bodies_that_break_off_are_resumed_although_all_connections_are_in_use() -> None:
    count, size = 200, 16 * BLOCK
    fetch = {"prefetch": {"memory": size}, "max_request": size, "first_byte_timeout": "30s"}
    async with running(clock=HurriedClock(20), fetch=fetch, budget={"burst": 1000}) as rig:
        for number in range(count):
            rig.origin.put(f"b/{number}", stamped("k", 1, size))
        rig.origin.fail(None, Cut(1000), per_object=True)
        answers = await asyncio.gather(*(rig.get_or_cut(str(number)) for number in range(count)))
        assert Counter(each.status if isinstance(each, Answer) else "cut" for each in answers) == {200: count}


async def ask(rig: Rig, count: int, *ranges: str) -> list[Client]:
    """That many clients, all of whose requests have reached the program and wait there."""
    clients = await asyncio.gather(*(rig.connect() for _ in range(count)))
    before = len(rig.program.port.answers)
    for number, client in enumerate(clients):
        client.send("/web/b/k", f"Range: bytes={ranges[number % len(ranges)]}")
    await until(lambda: len(rig.program.port.answers) == before + count)
    return clients


async def settled(rig: Rig) -> int:
    """Wait until nothing moves any more between program and origin. Gives the body bytes that were sent."""
    still, before = 0, -1
    while still < 20:
        # A round trip through the same event loop lets everything happen that is ready to.
        await rig.get("", method="HEAD")
        moved = rig.origin.log.body_bytes()
        still = still + 1 if moved == before else 0
        before = moved
    return before


@pytest.mark.parametrize("known", [False, True])
async def test_two_hundred_clients_of_one_cold_range_cost_one_request(rig: Rig, known: bool) -> None:
    rig.origin.put("b/k", DATA)
    if known:
        await rig.get("k", f"Range: bytes={SIZE - 1}-")
        rig.origin.log.clear()
    gate = rig.origin.hold("b/k")
    clients = await ask(rig, 200, "5000-5999")
    await gate.reached()
    gate.release()
    answers = await asyncio.gather(*(client.answer() for client in clients))
    assert {answer.body for answer in answers} == {DATA[5000:6000]}
    assert rig.asked() == [f"bytes={BLOCK}-{2 * BLOCK - 1}"]
    # A 206 that was joined says so, one that asked says that.
    assert sum("collapsed" in answer.cache for answer in answers) == 199


@pytest.mark.parametrize("known", [False, True])
async def test_overlapping_ranges_cost_each_block_once(rig: Rig, known: bool) -> None:
    rig.origin.put("b/k", DATA)
    if known:
        await rig.get("k", f"Range: bytes={SIZE - 1}-")
    gate = rig.origin.hold("b/k", times=None)
    ranges = [f"{index * 1000}-{index * 1000 + 20000}" for index in range(40)]
    clients = await ask(rig, 40, *ranges)
    gate.release()
    answers = await asyncio.gather(*(client.answer() for client in clients))
    for index, answer in enumerate(answers):
        assert answer.body == DATA[index * 1000 : index * 1000 + 20001]
    asked = blocks_of(rig.asked())
    assert len(asked) == len(set(asked))
    assert set(range(59000 // BLOCK + 1)) <= set(asked)


async def test_two_hundred_clients_of_a_failing_origin_cost_its_attempts_and_no_more() -> None:
    async with running(clock=HurriedClock(50)) as rig:
        rig.origin.put("b/k", DATA)
        rig.origin.fail("b/k", Status(503), times=None)
        gate = rig.origin.hold("b/k", times=None)
        clients = await ask(rig, 200, "5000-5999")
        gate.release()
        answers = await asyncio.gather(*(client.answer() for client in clients))
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert len(rig.origin.requests) == 3


async def test_two_hundred_clients_of_an_absent_object_cost_one_request(rig: Rig) -> None:
    gate = rig.origin.hold("b/k")
    clients = await ask(rig, 200, "0-9")
    gate.release()
    answers = await asyncio.gather(*(client.answer() for client in clients))
    assert {answer.status for answer in answers} == {404}
    assert len(rig.origin.requests) == 1


async def test_bytes_reach_all_clients_while_the_origin_holds_back_the_rest(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    gate = rig.origin.hold("b/k", after_bytes=BLOCK + 1000)
    clients = await ask(rig, 5, f"100-{4 * BLOCK - 1}")
    for client in clients:
        assert (await client.head())[0] == 206
        assert await client.reader.readexactly(BLOCK + 900) == DATA[100 : BLOCK + 1000]
    # Somebody who comes later gets what is here, too.
    (late,) = await ask(rig, 1, f"{BLOCK}-{2 * BLOCK - 1}")
    await late.head()
    assert await late.reader.readexactly(1000) == DATA[BLOCK : BLOCK + 1000]
    gate.release()
    assert await late.reader.readexactly(BLOCK - 1000) == DATA[BLOCK + 1000 : 2 * BLOCK]
    for client in clients:
        assert await client.reader.readexactly(3 * BLOCK - 1000) == DATA[BLOCK + 1000 : 4 * BLOCK]
    assert len(rig.origin.requests) == 1


async def test_every_drop_within_a_block_reaches_the_client_when_it_comes() -> None:
    clock = ManualClock()
    async with running(clock=clock, fetch={"min_rate": {"bytes": 0}}) as rig:
        rig.origin.put("b/k", DATA)
        rig.origin.fail("b/k", Drip(1000, 1.0))
        client = await rig.connect()
        client.send("/web/b/k", "Range: bytes=0-3999")
        await client.head()
        for start in range(0, 4000, 1000):
            assert await client.reader.readexactly(1000) == DATA[start : start + 1000]
            await clock.wait_for_sleepers()
            await clock.advance(1)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("held", [None, 0, 1, BLOCK, 3 * BLOCK - 1])
async def test_the_first_client_may_leave_at_any_point_and_harms_nobody(
    rig: Rig, held: int | None, known: bool
) -> None:
    rig.origin.put("b/k", DATA)
    if known:
        await rig.get("k", f"Range: bytes={SIZE - 1}-")
        rig.origin.log.clear()
    gate = rig.origin.hold("b/k", after_bytes=held)
    (leader,) = await ask(rig, 1, f"0-{3 * BLOCK - 1}")
    await gate.reached()
    others = await ask(rig, 20, f"0-{3 * BLOCK - 1}", f"{BLOCK}-{3 * BLOCK - 1}")
    leader.close()
    others.pop().close()
    await until(lambda: len(rig.program.port.answers) == 19)
    gate.release()
    for number, client in enumerate(others):
        answer = await client.answer()
        assert answer.body == (DATA[: 3 * BLOCK] if number % 2 == 0 else DATA[BLOCK : 3 * BLOCK])
    assert rig.asked() == [f"bytes=0-{3 * BLOCK - 1}"]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("share", "lands"), [(0.0, False), (0.1, False), (0.4, False), (0.6, True), (0.99, True)])
async def test_when_all_have_left_what_is_far_from_its_end_is_stopped_and_the_rest_lands(
    rig: Rig, share: float, lands: bool, known: bool
) -> None:
    size = 4 * MIB
    data = stamped("k", 1, size)
    rig.origin.put("b/k", data)
    if known:
        await rig.get("k", f"Range: bytes={size - 1}-")
        rig.origin.log.clear()
    length = size - BLOCK
    held = int(length * share) // BLOCK * BLOCK
    gate = rig.origin.hold("b/k", after_bytes=held)
    clients = await ask(rig, 3, f"0-{length - 1}")
    await gate.reached()
    # What the origin has sent has arrived, too.
    for client in clients:
        await client.head()
        assert len(await client.reader.readexactly(held)) == held
    (request,) = rig.origin.requests
    for client in clients:
        client.close()
    await until(lambda: len(rig.program.port.answers) == 0)
    if not lands:
        await until(lambda: not rig.origin.connections)
        assert not request.answered_whole
    gate.release()
    await until(lambda: not len(rig.program.fetcher))
    assert request.answered_whole is lands
    rig.origin.log.clear()
    answer = await rig.get("k", f"Range: bytes=0-{length - 1}")
    assert answer.body == data[:length]
    assert (rig.origin.log.body_bytes() == 0) is lands


async def test_an_unknown_object_that_nobody_waits_for_any_more_is_not_waited_for(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    gate = rig.origin.hold("b/k")
    clients = await ask(rig, 3, "0-99")
    await gate.reached()
    for client in clients:
        client.close()
    await until(lambda: not rig.origin.connections)
    gate.release()
    assert (await rig.get("k", "Range: bytes=0-99")).body == DATA[:100]


async def test_a_whole_object_is_read_in_a_few_requests_ahead_and_never_more() -> None:
    request_bytes = 16 * BLOCK
    data = stamped("k", 1, 40 * request_bytes + 5)
    async with running(fetch={"max_request": request_bytes}) as rig:
        rig.origin.put("b/k", data)
        open_at_once = []
        gate = rig.origin.hold("b/k", skip=1, times=None)
        client = await rig.connect()
        client.send("/web/b/k")
        await client.head()
        await gate.reached()
        await settled(rig)
        assert 2 <= len(rig.origin.log.select("b/k")) - 1 <= 4

        async def count(_: object) -> None:
            open_at_once.append(sum(not each.answered_whole for each in rig.origin.log.select("b/k")))

        rig.origin.on_request = count
        gate.release()
        assert await client.reader.readexactly(len(data)) == data
        spans = [(i * request_bytes, min((i + 1) * request_bytes, len(data)) - 1) for i in range(41)]
        assert sorted(rig.asked("k"), key=lambda text: int(str(text)[6:].partition("-")[0])) == [
            f"bytes={first}-{last}" if first else f"bytes=0-{request_bytes - 1}" for first, last in spans
        ]
        assert max(open_at_once) <= 5


async def test_reading_ahead_stays_within_its_memory() -> None:
    request_bytes, memory = 16 * BLOCK, 32 * BLOCK
    async with running(fetch={"max_request": request_bytes, "prefetch": {"memory": memory}}) as rig:
        rig.origin.put("b/k", stamped("k", 1, 40 * request_bytes))
        gate = rig.origin.hold("b/k", after_bytes=BLOCK, times=None)
        clients = await ask(rig, 1, "0-")
        await gate.reached()
        await settled(rig)
        assert len(rig.origin.log.select("b/k")) <= memory // request_bytes
        gate.release()
        assert len((await clients[0].answer()).body) == 40 * request_bytes


async def test_a_client_that_does_not_read_does_not_pull_the_object() -> None:
    size = 512 * MIB
    async with running(cache={"memory": {"size": 8 * MIB}}, fetch={"prefetch": {"memory": 8 * MIB}}) as rig:
        rig.origin.put("b/k", Stamped("k", 1, size), etag='"v1"')
        clients = [await rig.connect() for _ in range(3)]
        for client in clients:
            client.writer.transport.pause_reading()
            client.send("/web/b/k")
        await until(lambda: len(rig.origin.log) >= 1)
        # Kernel buffers, the pieces that are being sent, and what is read ahead.
        assert await settled(rig) < 48 * MIB
        # Others are served meanwhile.
        answer = await rig.get("k", f"Range: bytes={size // 2}-{size // 2 + 99}")
        assert check_stamped(answer.body, size // 2, "k") == 1


async def test_a_slow_client_gets_every_byte_right_though_its_blocks_were_evicted_meanwhile() -> None:
    size = 8 * MIB
    async with running(cache={"memory": {"size": 64 * BLOCK}}, fetch={"prefetch": {"memory": 64 * BLOCK}}) as rig:
        rig.origin.put("b/k", Stamped("k", 1, size), etag='"v1"')
        slow = await rig.connect()
        slow.send("/web/b/k")
        await slow.head()
        first = await slow.reader.readexactly(BLOCK)
        for offset in range(0, size, 64 * BLOCK):
            await rig.get("k", f"Range: bytes={offset}-{offset + 8 * BLOCK}")
        rest = await slow.reader.readexactly(size - BLOCK)
        assert check_stamped(first + rest, 0, "k") == 1


async def test_an_answer_that_takes_longer_than_the_request_timeout_is_504_and_its_fetch_is_dropped() -> None:
    clock = ManualClock()
    async with running(clock=clock, server={"request_timeout": "5s"}) as rig:
        rig.origin.put("b/k", DATA)
        gate = rig.origin.hold("b/k")
        (client,) = await ask(rig, 1, "0-99")
        await gate.reached()
        clock.shift(4.9)
        rig.program.listener.sweep(clock.monotonic())
        clock.shift(0.1)
        rig.program.listener.sweep(clock.monotonic())
        answer = await client.answer()
        assert answer.status == 504
        await until(lambda: not rig.origin.connections)
        gate.release()
        # The connection is as good as before.
        client.send("/web/b/k", "Range: bytes=0-99")
        assert (await client.answer()).body == DATA[:100]


async def test_the_timeout_of_one_client_takes_nothing_from_another() -> None:
    clock = ManualClock()
    async with running(clock=clock, server={"request_timeout": "5s"}) as rig:
        rig.origin.put("b/k", DATA)
        gate = rig.origin.hold("b/k")
        (early,) = await ask(rig, 1, "0-99")
        await gate.reached()
        clock.shift(4)
        (late,) = await ask(rig, 1, "0-99")
        clock.shift(1)
        rig.program.listener.sweep(clock.monotonic())
        assert (await early.answer()).status == 504
        gate.release()
        assert (await late.answer()).body == DATA[:100]
        assert len(rig.origin.requests) == 1


async def test_pipelined_requests_are_answered_in_order_however_long_the_first_takes(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    rig.origin.put("b/warm", stamped("warm", 1, 100))
    await rig.get("warm")
    gate = rig.origin.hold("b/k")
    async with connected(rig.port) as client:
        client.send("/web/b/k", "Range: bytes=0-99")
        for _ in range(50):
            client.send("/web/b/warm", "Range: bytes=0-15")
        await gate.reached()
        gate.release()
        assert (await client.answer()).body == DATA[:100]
        for _ in range(50):
            assert check_stamped((await client.answer()).body, 0, "warm") == 1


async def test_a_client_that_leaves_in_the_middle_of_its_answer_leaves_nothing_behind(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    gate = rig.origin.hold("b/k", after_bytes=BLOCK)
    client = await rig.connect()
    client.send("/web/b/k")
    await client.head()
    await client.reader.readexactly(BLOCK)
    client.close()
    await until(lambda: not rig.program.port.connections)
    gate.release()
    await until(lambda: not len(rig.program.fetcher))
    assert rig.program.fetcher.has_room(rig.program.settings.fetch.prefetch.memory)
    with pytest.raises(CutShort):
        await client.answer()
