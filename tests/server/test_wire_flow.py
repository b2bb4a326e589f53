"""Order, back-pressure, timers, departures and the way out."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import Overloaded, Unavailable
from rangecache.server import wire
from rangecache.server.port import Limits
from rangecache.server.sending import PIECE_BYTES, SMALL_ANSWER_BYTES, VIEWS_BYTES, SendBudget
from tests.server.conftest import pattern, request_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from rangecache.read.messages import ReadRequest, Reply
    from tests.server.conftest import Client, Door

MIB = 1 << 20


async def turns(number: int = 5) -> None:
    """Let the event loop run on for a moment."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], limit: int = 20_000) -> None:
    """Let the event loop run until something is so."""
    for _ in range(limit):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


# --- order ------------------------------------------------------------------------------------------------------------


async def test_answers_never_overtake_each_other(door: Door) -> None:
    slow = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(slow)
    client = await door.connect()
    client.send(request_of("/s3/b/slow") + b"".join(request_of("/s3/b/k", f"Range: bytes={i}-{i}") for i in range(90)))
    await door.reader.opened.wait()
    await turns()
    assert len(door.reader.requests) == 1, "the second request is not even looked at"
    door.reader.gate.set()
    assert (await client.answer()).body == pattern(200)
    for i in range(90):
        assert (await client.answer()).body == pattern(100)[i : i + 1]


async def test_ten_thousand_requests_at_once_are_answered_in_order_within_bounds(door: Door) -> None:
    data = pattern(65536)
    door.reader.put("big", data)
    client = await door.connect()
    client.send(b"".join(request_of("/s3/b/big", f"Range: bytes={i}-{i + 20_000}") for i in range(10_000)))
    await until(lambda: door.port.budget.used_bytes > 0)
    (connection,) = door.port.connections
    await turns(50)
    assert len(door.reader.requests) < 1000, "a client that does not read is not answered on and on"
    assert len(connection._heads) <= wire.PENDING_BYTES + 262144  # what one read may bring
    assert connection._not_reading
    for i in range(10_000):
        answer = await client.answer()
        assert answer.headers["Content-Range"] == f"bytes {i}-{i + 20_000}/65536"
        assert answer.body[:9] == data[i : i + 9]
    assert not connection._not_reading


async def test_a_long_pipeline_leaves_other_connections_their_turn(door: Door) -> None:
    greedy, other = await door.connect(), await door.connect()
    greedy.send(request_of("/s3/b/k", "Range: bytes=0-0") * 3000)
    other.send(request_of("/s3/b/k", "Range: bytes=1-1"))
    await other.answer()
    asked = [request.range for request in door.reader.requests]
    assert len(asked) < 3000
    for _ in range(3000):
        await greedy.answer()


async def test_an_answer_that_needs_no_waiting_creates_no_task(door: Door) -> None:
    client = await door.connect()
    before = len(asyncio.all_tasks())
    client.send(request_of("/s3/b/k", "Range: bytes=0-9") * 3 + request_of("/s3/b/absent"))
    await until(lambda: len(door.reader.requests) == 4)
    assert len(asyncio.all_tasks()) == before
    assert len(door.port.answers) == 0


# --- streaming and back-pressure --------------------------------------------------------------------------------------


async def test_bytes_reach_the_client_as_they_reach_us(door: Door) -> None:
    ref = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/slow"))
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"Cache-Status: rangecache; fwd=uri-miss; fwd-status=206; stored\r\n" in head
    assert await client.reader.readexactly(16) == pattern(16), "the first piece is here, the second is still to come"
    door.reader.gate.set()
    assert await client.reader.readexactly(184) == pattern(200)[16:]


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_large_answer_waits_for_its_client(door: Door, waiting: bool) -> None:
    size = 40 * MIB
    data = pattern(MIB) * 40
    ref = door.reader.put("large", data)
    door.reader.gate.set()
    if waiting:
        door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/large") + request_of("/s3/b/k", "Range: bytes=1-2"))
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(200)
    assert 0 < door.port.budget.used_bytes <= PIECE_BYTES
    if waiting:
        assert door.reader.produced_bytes < size // 2
    answer = await client.answer()
    assert answer.body == data
    assert (await client.answer()).body == pattern(100)[1:3]
    assert door.port.budget.used_bytes == 0


async def test_many_clients_that_do_not_read_leave_the_others_their_answers(
    make_door: Callable[..., Door],
) -> None:
    limit = 64 * 1024
    door = await make_door(budget=SendBudget(limit))
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 16)
    door.reader.put("small", pattern(60_000))
    idle = [await door.connect() for _ in range(6)]
    for number, client in enumerate(idle):
        client.send(request_of("/s3/b/large") if number % 3 else request_of("/s3/b/small") * 200)
    await until(lambda: sum(each._outbox.paused for each in door.port.connections) == len(idle))
    await turns(500)
    assert limit // 2 < door.port.budget.used_bytes <= limit + len(idle) * (SMALL_ANSWER_BYTES + 1024)
    assert (await door.get("/s3/b/small")).body == pattern(60_000)
    answer = await door.get("/s3/b/large")
    assert answer.body == pattern(MIB) * 16
    for client in idle:
        client.close()
    await until(lambda: not door.port.connections)
    assert door.port.budget.used_bytes == 0
    assert door.port.budget.share_bytes == limit


async def test_without_budget_a_connection_has_one_small_piece_waiting(make_door: Callable[..., Door]) -> None:
    door = await make_door(budget=SendBudget(1))
    door.reader.gate.set()
    door.reader.put("small", pattern(60_000))
    client = await door.connect()
    client.send(request_of("/s3/b/small", "Range: bytes=0-59999") * 400)
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(50)
    assert door.port.budget.used_bytes <= SMALL_ANSWER_BYTES
    for _ in range(400):
        assert (await client.answer()).body == pattern(60_000)


def test_the_budget_shrinks_pieces_and_never_below_the_small_one() -> None:
    budget = SendBudget(2 * MIB)
    assert budget.share_bytes == 2 * MIB
    budget.charge(2 * MIB - 100_000)
    assert budget.share_bytes == 100_000
    budget.charge(5 * MIB)
    assert budget.share_bytes == SMALL_ANSWER_BYTES
    budget.charge(-budget.used_bytes)
    assert budget.share_bytes == 2 * MIB
    assert SendBudget(64 * MIB).share_bytes == VIEWS_BYTES


# --- timers -----------------------------------------------------------------------------------------------------------


async def test_a_head_that_drips_is_cut(door: Door) -> None:
    client = await door.connect()
    start_s = door.clock.monotonic()
    for at, byte in enumerate(b"GET /s3/b/k HTTP"):
        client.send(bytes([byte]))
        await turns()
        door.listener.sweep(start_s + at)
        if at == 14:
            assert len(door.port.connections) == 1
    assert await client.rest() == b""


async def test_an_idle_connection_is_kept_as_long_as_clients_pools_keep_theirs(door: Door) -> None:
    client = await door.connect()
    client.send(request_of("/s3/b/k"))
    await client.answer()
    start_s = door.clock.monotonic()
    door.listener.sweep(start_s + 119)
    client.send(request_of("/s3/b/k"))
    await client.answer()
    door.listener.sweep(start_s + 121)
    assert await client.rest() == b""


async def test_a_connection_that_says_nothing_is_cut(door: Door) -> None:
    client = await door.connect()
    await until(lambda: len(door.port.connections) == 1)
    door.listener.sweep(door.clock.monotonic() + 119)
    await turns()
    assert len(door.port.connections) == 1
    door.listener.sweep(door.clock.monotonic() + 120)
    assert await client.rest() == b""


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_client_that_does_not_read_is_cut(door: Door, waiting: bool) -> None:
    ref = door.reader.put("large", pattern(MIB) * 20)
    door.reader.gate.set()
    if waiting:
        door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/large"))
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(500)
    start_s = door.clock.monotonic()
    for second in range(0, 61, 10):
        assert len(door.port.connections) == 1
        door.listener.sweep(start_s + second)
        await turns()
    assert not door.port.connections
    assert door.port.budget.used_bytes == 0
    if waiting:
        await asyncio.wait_for(door.reader.closed.wait(), 10)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.answer()


async def test_a_client_that_reads_a_little_is_not_cut(door: Door) -> None:
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 20)
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connected.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connected, door.address)
    await loop.sock_sendall(connected, request_of("/s3/b/large"))
    await until(lambda: door.port.budget.used_bytes > 0)
    start_s = door.clock.monotonic()
    for round_number in range(1, 9):
        door.listener.sweep(start_s + round_number * 50)
        taken = 0
        while taken < 262_144:
            taken += len(await loop.sock_recv(connected, 65536))
        await turns(50)
    assert len(door.port.connections) == 1, "400 seconds, but never 60 without a byte"
    connected.close()


async def test_an_opening_that_takes_too_long_is_504_and_the_connection_goes_on(door: Door) -> None:
    ref = door.reader.put("gated-open", b"x")
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/gated-open") + request_of("/s3/b/k", "Range: bytes=0-1"))
    await door.reader.opened.wait()
    start_s = door.clock.monotonic()
    door.listener.sweep(start_s + 299)
    await turns()
    assert not door.reader.closed.is_set()
    door.listener.sweep(start_s + 300)
    answer = await client.answer()
    assert (answer.status, answer.headers["Cache-Status"]) == (504, "rangecache; detail=origin-timeout")
    assert door.reader.closed.is_set()
    assert (await client.answer()).status == 206


async def test_an_opening_that_is_slow_to_end_is_ended_once(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    ref = door.reader.put("stubborn", b"x")
    door.reader.waiting.add(ref)
    cancelled = asyncio.Event()

    async def open_slowly(request: ReadRequest) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
            await door.reader.gate.wait()
        raise AssertionError("unreachable")

    door.reader.open = open_slowly  # type: ignore[method-assign]
    client = await door.connect()
    client.send(request_of("/s3/b/stubborn"))
    await until(lambda: len(door.port.answers) == 1)
    await turns()
    for second in (300, 301, 302):
        door.listener.sweep(door.clock.monotonic() + second)
        await asyncio.wait_for(cancelled.wait(), 10)
        await turns()
    door.reader.gate.set()
    assert (await client.answer()).status == 504
    assert not caplog.records


async def test_waiting_for_an_origin_is_not_idleness(door: Door) -> None:
    ref = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/slow"))
    await door.reader.opened.wait()
    door.listener.sweep(door.clock.monotonic() + 200)
    door.reader.gate.set()
    assert (await client.answer()).body == pattern(200)


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["gated-open", "slow"])
async def test_a_client_that_leaves_ends_what_was_done_for_it(door: Door, key: str) -> None:
    ref = door.reader.put(key, pattern(200))
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of(f"/s3/b/{key}"))
    await door.reader.opened.wait()
    await turns()
    assert not door.reader.closed.is_set()
    client.close()
    await asyncio.wait_for(door.reader.closed.wait(), 10)
    await until(lambda: len(door.port.answers) == 0)
    assert not door.port.connections


async def test_a_client_that_closes_its_half_has_left(door: Door) -> None:
    ref = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/slow"))
    await door.reader.opened.wait()
    client.writer.write_eof()
    await asyncio.wait_for(door.reader.closed.wait(), 10)
    await until(lambda: len(door.port.answers) == 0)
    assert not door.port.connections


def spoiled(change: Callable[[AsyncGenerator[memoryview, None]], AsyncGenerator[memoryview, None]]) -> object:
    """A hook that puts another body into a reply, started as the reader's own are."""

    def hook(reply: Reply) -> Reply:
        body = change(reply.body)  # type: ignore[arg-type]
        with pytest.raises(StopIteration):
            body.asend(None).send(None)
        return replace(reply, body=body)

    return hook


async def failing(body: AsyncGenerator[memoryview, None]) -> AsyncGenerator[memoryview, None]:
    """Ends with an error after the first piece."""
    yield memoryview(b"")
    async for piece in body:
        yield piece
        raise Unavailable("The origin has gone.")


async def broken(body: AsyncGenerator[memoryview, None]) -> AsyncGenerator[memoryview, None]:
    """Ends with an error that nobody foresaw."""
    yield memoryview(b"")
    async for piece in body:
        yield piece
        raise ZeroDivisionError


async def short(body: AsyncGenerator[memoryview, None]) -> AsyncGenerator[memoryview, None]:
    """Leaves the last byte away."""
    yield memoryview(b"")
    pieces = [piece async for piece in body]
    for piece in [*pieces[:-1], pieces[-1][:-1]]:
        yield piece


async def long(body: AsyncGenerator[memoryview, None]) -> AsyncGenerator[memoryview, None]:
    """Has a byte too many."""
    yield memoryview(b"")
    async for piece in body:
        yield piece
    yield memoryview(b"!")


@pytest.mark.parametrize("change", [failing, broken, short, long])
@pytest.mark.parametrize("wanted", [None, "bytes=0-99,150-160"])
async def test_a_body_that_is_not_what_was_announced_never_ends_cleanly(
    door: Door, change: Callable, wanted: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ref = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(ref)
    door.reader.gate.set()
    door.reader.spoil = spoiled(change)  # type: ignore[assignment]
    client = await door.connect()
    client.send(request_of("/s3/b/slow", *([f"Range: {wanted}"] if wanted else [])))
    try:
        answer = await client.answer()
    except (asyncio.IncompleteReadError, ConnectionError):
        answer = None
    if answer is not None:
        assert change is long, "one byte too many came after a whole answer, and was not sent"
        assert answer.body.endswith(pattern(200)[-1:] if wanted is None else b"--\r\n")
    with suppress(ConnectionError):
        assert await client.rest() == b""
    await until(lambda: not door.port.connections)
    assert any("was cut" in record.message for record in caplog.records)
    assert any(record.exc_info for record in caplog.records) == (change in {broken, short, long}), "faults of ours"


class Crooked:
    """A reader whose resident answers are wrong."""

    def __init__(self, body: list[memoryview], error: Exception | None = None) -> None:
        self.body, self.error = body, error

    def wrap(self, door: Door) -> None:
        """Stand in front of the door's reader."""
        inner = door.reader.try_open

        def try_open(request: ReadRequest, most_bytes: int) -> Reply | None:
            if self.error is not None:
                raise self.error
            reply = inner(request, most_bytes)
            assert reply is not None
            reply.body = self.body
            return reply

        door.reader.try_open = try_open  # type: ignore[method-assign]


@pytest.mark.parametrize("length", [0, 9, 11])
@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=0-3,10-15"])
async def test_a_resident_body_of_the_wrong_length_is_not_sent(
    door: Door, length: int, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    Crooked([memoryview(bytes(length))]).wrap(door)
    client = await door.connect()
    client.send(request_of("/s3/b/k", f"Range: {wanted}"))
    with suppress(ConnectionError):
        assert await client.rest() == b""
    await until(lambda: not door.port.connections)
    assert any("was cut" in record.message for record in caplog.records)


async def test_a_fault_of_ours_is_a_500_that_tells_nothing(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    Crooked([], ZeroDivisionError("SECRET")).wrap(door)
    answer = await door.get("/s3/b/k")
    assert answer.status == 500
    assert b"SECRET" not in answer.body
    assert any(record.exc_info for record in caplog.records)


async def test_an_error_of_the_reader_leaves_the_connection_open(door: Door) -> None:
    ref = door.reader.put("busy", b"x")
    door.reader.errors[ref] = Overloaded("Too much is asked at once.")
    client = await door.connect()
    client.send(request_of("/s3/b/busy") + request_of("/s3/b/k", "Range: bytes=0-0"))
    answer = await client.answer()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await client.answer()).status == 206


# --- limits and the way out -------------------------------------------------------------------------------------------


async def test_connections_beyond_the_limit_are_told_so(
    make_door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "REFUSED_MAX", 2)
    door = await make_door(Limits(max_connections=3))
    served = [await door.connect() for _ in range(3)]
    for client in served:
        client.send(request_of("/s3/b/k"))
        assert (await client.answer()).status == 200
    refused = [await door.connect() for _ in range(2)]
    for client in refused:
        answer = await client.answer()
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        assert "Retry-After" in answer.headers
    cut = await door.connect()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await cut.answer()
    for client in (*served, *refused):
        client.close()
    await until(lambda: not door.port.connections)
    assert (await door.get("/s3/b/k")).status == 200


async def start_slow(door: Door) -> Client:
    """A client in the middle of an answer."""
    ref = door.reader.put("slow", pattern(200))
    door.reader.waiting.add(ref)
    client = await door.connect()
    client.send(request_of("/s3/b/slow"))
    await client.reader.readexactly(20)
    return client


async def test_drain_lets_answers_end_and_closes_what_is_idle(door: Door) -> None:
    idle = await door.connect()
    idle.send(request_of("/s3/b/k"))
    await idle.answer()
    gated = await door.connect()
    door.reader.waiting.add(door.reader.put("gated-open", b"x"))
    gated.send(request_of("/s3/b/gated-open"))
    busy = await start_slow(door)
    busy.send(request_of("/s3/b/k"))
    drain = asyncio.create_task(door.listener.drain())
    assert await idle.rest() == b""
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection(*door.address)
    assert not drain.done()
    door.reader.gate.set()
    rest = await busy.rest()
    assert rest.endswith(pattern(200)), "the answer under way is whole, the request behind it is not begun"
    answer = await gated.answer()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    await asyncio.wait_for(drain, 10)
    assert len(door.reader.requests) == 3


async def test_drain_cuts_what_has_not_ended_in_time(door: Door) -> None:
    client = await start_slow(door)
    drain = asyncio.create_task(door.listener.drain())
    await door.clock.wait_for_sleepers()
    await door.clock.advance(29.9)
    assert not drain.done()
    await door.clock.advance(0.2)
    await asyncio.wait_for(drain, 10)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reader.readexactly(1000)
    assert door.reader.closed.is_set()


async def test_drain_waits_for_what_is_still_in_the_buffers(door: Door) -> None:
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 20)
    client = await door.connect()
    client.send(request_of("/s3/b/large"))
    await until(lambda: door.port.budget.used_bytes > 0)
    drain = asyncio.create_task(door.listener.drain())
    answer = await client.answer()
    assert answer.body == pattern(MIB) * 20
    await asyncio.wait_for(drain, 10)


# --- accounts ---------------------------------------------------------------------------------------------------------


async def test_every_answer_is_counted_under_its_labels(door: Door) -> None:
    door.reader.waiting.add(door.reader.put("slow", pattern(20)))
    door.reader.gate.set()
    await door.get("/s3/b/k", "Range: bytes=0-1")
    await door.get("/s3/b/k", method="HEAD")
    await door.get("/s3/b/slow")
    await door.get("/s3/b/absent")
    await door.get("/s3/b/k", method="BREW")
    await door.ask(b"\x16\x03\x01")
    text = door.metrics.exposition().decode()
    for labels in (
        'cache="hit",code="206",method="GET",provider="s3"',
        'cache="hit",code="200",method="HEAD",provider="s3"',
        'cache="miss",code="200",method="GET",provider="s3"',
        'cache="none",code="404",method="GET",provider="s3"',
        'cache="none",code="405",method="other",provider="none"',
        'cache="none",code="400",method="other",provider="none"',
    ):
        assert f"rangecache_requests_total{{{labels}}} 1.0" in text
    assert 'rangecache_request_duration_seconds_count{cache="hit",provider="s3"} 2.0' in text


async def test_the_access_log_names_no_key(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.reader.put("private-name", b"x")
    with caplog.at_level(logging.INFO, logger="rangecache.access"):
        await door.get("/s3/b/private-name", "Authorization: SECRET")
        await door.get("/s3/b/private-name?x=SECRET")
    lines = [vars(record) for record in caplog.records if record.name == "rangecache.access"]
    assert [(line["status"], line["bucket"], line["sent_bytes"] > 0) for line in lines] == [
        (200, "b", True),
        (400, None, True),
    ]
    assert len(lines[0]["key_hash"]) == 16
    assert not any(word in str(line) for line in lines for word in ("private-name", "SECRET"))
