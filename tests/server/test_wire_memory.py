"""What connections keep in memory, here and in the kernel: each of it is counted, and each has a bound."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.allowance import Allowance
from rangecache.server.exchange import Exchange
from rangecache.server.sending import (
    SMALL_ANSWER_BYTES,
    UNPROVEN_BYTES,
    UNPROVEN_KERNEL_BYTES,
    VIEWS_BYTES,
    Outbox,
    SendBudget,
    whole_bytes,
)
from rangecache.server.wire import LEAST_PENDING_BYTES, Connection
from tests.server.conftest import pattern, request_of
from tests.server.test_wire_flow import turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from rangecache.read.messages import Reply
    from tests.server.conftest import Door

MIB = 1 << 20
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel in Linux's way")


async def mute_client(door: Door, target: str) -> socket.socket:
    """One that asks and does not read; its own kernel takes next to nothing for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, door.address)
    await loop.sock_sendall(client, request_of(target))
    return client


async def read_all(client: socket.socket) -> None:
    """Read until the end of the connection."""
    while await asyncio.get_running_loop().sock_recv(client, 65536):
        await turns(1)


# --- what clients send ------------------------------------------------------------------------------------------------


async def test_heads_that_do_not_end_share_a_bound_and_short_ones_stay(make_door: Callable[..., Door]) -> None:
    limit = 64 * 1024
    door = await make_door(heads=Allowance(limit, least_bytes=LEAST_PENDING_BYTES, most_bytes=65536))
    start = b"GET /s3/b/k HTTP/1.1\r\nHost: h\r\n"
    short = [await door.connect() for _ in range(10)]
    for client in short:
        client.send(start)
    long = [await door.connect() for _ in range(20)]
    for client in long:
        client.send(start + b"X-Long: ")
        for _ in range(4):
            client.send(b"y" * 2000 + b"\r\nX-Next: ")
        await turns(20)
    assert door.port.heads.used_bytes <= limit + 10_000
    assert len(door.port.connections) < len(short) + len(long)
    for client in short:
        client.send(b"\r\n")
        assert (await client.answer()).status == 200
    assert (await door.get("/s3/b/k")).status == 200
    for client in (*short, *long):
        client.close()
    await until(lambda: not door.port.connections)
    assert door.port.heads.used_bytes == 0


async def test_requests_ahead_of_their_answers_share_a_bound(make_door: Callable[..., Door]) -> None:
    limit = 64 * 1024
    door = await make_door(heads=Allowance(limit, least_bytes=LEAST_PENDING_BYTES, most_bytes=65536))
    door.reader.waiting.add(door.reader.put("gated-open", pattern(10)))
    clients = [await door.connect() for _ in range(20)]
    for client in clients:
        client.send(request_of("/s3/b/gated-open"))
        await until(lambda: any(each._task is not None for each in door.port.connections))
        client.send(request_of("/s3/b/k") * 200)
        await turns(20)
        assert door.port.heads.used_bytes <= limit + 262_144  # what one read may bring
    left = len(door.port.connections)
    assert left < len(clients)
    door.reader.gate.set()
    await until(lambda: all(each._task is None for each in door.port.connections))
    await until(lambda: door.port.heads.used_bytes == 0)


async def test_what_has_been_answered_is_no_longer_kept(door: Door) -> None:
    client = await door.connect()
    client.send(request_of("/s3/b/k")[:10])
    await turns()
    client.send(request_of("/s3/b/k")[10:] + request_of("/s3/b/k") * 20)
    for _ in range(21):
        await client.answer()
    (connection,) = door.port.connections
    assert connection._heads.held_bytes == 0
    assert door.port.heads.used_bytes == 0


# --- what clients do not take -----------------------------------------------------------------------------------------


async def test_a_client_that_has_shown_nothing_yet_gets_little_ahead(door: Door) -> None:
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 20)
    client = await mute_client(door, "/s3/b/large")
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(200)
    assert door.port.budget.used_bytes <= UNPROVEN_BYTES
    client.close()
    await until(lambda: not door.port.connections)
    assert door.port.budget.used_bytes == 0


async def test_no_piece_is_taken_for_a_client_that_cannot_be_sent_it(door: Door) -> None:
    taken: list[weakref.ref[memoryview]] = []

    async def watched(pieces: list[memoryview]) -> AsyncGenerator[memoryview, None]:
        yield memoryview(b"")
        while pieces:
            taken.append(weakref.ref(pieces[0]))
            yield pieces.pop(0)  # nobody but the connection has it now

    def hook(reply: Reply) -> Reply:
        body = watched([memoryview(bytes(60_000)) for _ in range(100)])
        with pytest.raises(StopIteration):
            body.asend(None).send(None)
        return replace(reply, body=body)

    door.reader.spoil = hook
    door.reader.gate.set()
    door.reader.waiting.add(door.reader.put("large", bytes(100 * 60_000)))
    client = await mute_client(door, "/s3/b/large")
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(200)
    assert taken
    assert not [piece for piece in taken if piece() is not None]
    client.close()


@LINUX_ONLY
async def test_the_kernel_keeps_little_for_a_client_that_does_not_read(door: Door) -> None:
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 20)
    client = await mute_client(door, "/s3/b/large")
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(200)
    (connection,) = door.port.connections
    assert 0 < connection._outbox._kernel_bytes() <= UNPROVEN_KERNEL_BYTES + UNPROVEN_BYTES
    client.close()


async def test_a_client_that_reads_gets_more_ahead_unless_the_budget_is_short(make_door: Callable[..., Door]) -> None:
    for limit, most_bytes in ((64 * MIB, VIEWS_BYTES), (SMALL_ANSWER_BYTES, UNPROVEN_BYTES)):
        door = await make_door(budget=SendBudget(limit))
        door.reader.gate.set()
        door.reader.put("large", pattern(MIB) * 20)
        client = await door.connect()
        client.send(request_of("/s3/b/large"))
        assert (await client.answer()).body == pattern(MIB) * 20
        (connection,) = door.port.connections
        assert connection._outbox.most_bytes == most_bytes


async def test_so_does_one_who_reads_so_fast_that_nothing_ever_waits_for_him(door: Door) -> None:
    """His answers came in pieces of 64 KiB for ever, a hundred and more to an answer."""
    door.reader.put("some", pattern(60_000))
    client = await door.connect()
    for number in range(20):
        client.send(request_of("/s3/b/some", "Range: bytes=0-59999"))
        assert len((await client.answer()).body) == 60_000
        (connection,) = door.port.connections
        assert (connection._outbox.most_bytes == VIEWS_BYTES) == (number >= 18)  # the first is not handed over


class NotingBudget(SendBudget):
    """Remembers the most that was used."""

    peak_bytes = 0

    def charge(self, change_bytes: int) -> None:
        super().charge(change_bytes)
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)


async def test_resident_bytes_are_counted_as_long_as_they_are_kept_for_a_client(make_door: Callable[..., Door]) -> None:
    budget = NotingBudget(64 * MIB)
    door = await make_door(budget=budget)
    door.reader.gate.set()
    door.reader.put("huge", pattern(MIB) * 20)
    door.reader.put("large", pattern(MIB) * 2)
    client = await door.connect()
    client.send(request_of("/s3/b/huge"))
    await client.answer()
    budget.peak_bytes = 0
    client.send(request_of("/s3/b/large"))
    assert (await client.answer()).body == pattern(MIB) * 2
    assert not door.reader.bodies[1:], "not streamed: it was all there"
    assert budget.peak_bytes >= 2 * MIB
    await until(lambda: budget.used_bytes == 0)


async def test_answers_that_are_begun_in_the_same_moment_share_the_budget(make_door: Callable[..., Door]) -> None:
    """Each was told that nothing was used yet, as none had begun to be sent."""
    budget = NotingBudget(4 * MIB)
    door = await make_door(budget=budget)
    door.reader.put("large", pattern(MIB) * 2)
    clients = [await mute_client(door, "/s3/b/empty") for _ in range(8)]
    await until(lambda: len(door.reader.requests) == len(clients))
    for connection in door.port.connections:
        connection._outbox.most_bytes = VIEWS_BYTES  # as for clients who have read before
        connection.data_received(request_of("/s3/b/large"))
    tasks = [each._task for each in door.port.connections if each._exchange and each._exchange._kept_bytes]
    assert len(tasks) == 2
    tasks[0].cancel()  # it has not begun
    await turns(200)
    assert 4 * MIB <= budget.peak_bytes <= 5 * MIB
    for client in clients:
        client.close()
    await until(lambda: not door.port.connections and not budget.used_bytes)


async def test_what_is_more_than_the_budget_has_is_streamed(make_door: Callable[..., Door]) -> None:
    door = await make_door(budget=SendBudget(8 * MIB))
    door.reader.gate.set()
    door.reader.put("huge", pattern(MIB) * 20)
    door.reader.put("large", pattern(MIB) * 2 + b"more")
    client = await door.connect()
    for target, size in (("/s3/b/huge", 20 * MIB), ("/s3/b/large", 2 * MIB + 4)):
        client.send(request_of(target))
        assert len((await client.answer()).body) == size
    assert len(door.reader.bodies) == 2


async def test_short_views_of_large_blocks_are_copied_and_keep_no_block(door: Door) -> None:
    block = pattern(MIB)
    views = [memoryview(block)[at : at + 8192] for at in range(0, 32 * 8192, 8192)]
    assert whole_bytes(views) == 32 * MIB
    client = await door.connect()
    await until(lambda: len(door.port.connections) == 1)
    (connection,) = door.port.connections
    connection._outbox.most_bytes = VIEWS_BYTES
    client.writer.transport.pause_reading()
    while not connection._outbox.paused:
        connection._outbox.write_parts(views, 32 * 8192)
    assert 0 < door.port.budget.used_bytes <= 32 * 8192


@LINUX_ONLY
async def test_whoever_is_cut_for_not_reading_leaves_nothing_in_the_kernel(door: Door) -> None:
    door.reader.gate.set()
    door.reader.put("large", pattern(MIB) * 20)
    client = await mute_client(door, "/s3/b/large")
    await until(lambda: door.port.budget.used_bytes > 0)
    await turns(500)
    start_s = door.clock.monotonic()
    for second in (0, 60):
        door.listener.sweep(start_s + second)
    await until(lambda: not door.port.connections)
    with pytest.raises(ConnectionResetError):  # not the rest of what the kernel had, at its leisure
        await read_all(client)
    client.close()


async def test_a_connection_that_has_gone_leaves_no_object_behind(door: Door) -> None:
    before = of_connections()  # an earlier test that failed may hold some, in its traceback
    for _ in range(50):
        assert (await door.get("/s3/b/k")).status == 200
    for client in door.clients:
        client.close()
    await until(lambda: not door.port.connections)
    await turns(50)
    known = set(map(id, before))
    assert [each for each in of_connections() if id(each) not in known] == []


def of_connections() -> list[Connection | Outbox | Exchange]:
    """What of connections there is in this process."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) in (Connection, Outbox, Exchange)]
