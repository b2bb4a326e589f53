"""A data port on a loopback socket with a reader that keeps its objects in a dictionary, and a raw client."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import uvloop

from rangecache.aio.tasks import Background
from rangecache.errors import NotFound, RangecacheError
from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.read.conditions import decide
from rangecache.read.listings import Listings
from rangecache.read.messages import HIT_MEMORY, CacheStatus, Peeked, ReadRequest, Reply
from rangecache.server.accounts import Accounts
from rangecache.server.directories import Directories
from rangecache.server.hosts import HostGuard
from rangecache.server.listener import Listener
from rangecache.server.port import DataPort, Limits
from rangecache.server.request import Namespace, Router
from rangecache.server.response import HeadPrinter
from rangecache.server.sending import SendBudget
from rangecache.server.wire import heads_allowance
from rangecache.telemetry import Metrics
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

BLOCK_BYTES = 16
ON_BOTH_LOOPS = {"test_wire_framing.py", "test_wire_flow.py", "test_wire_memory.py"}
MODIFIED = datetime(2026, 11, 20, 23, 5, 0, tzinfo=UTC)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transports differ between event loops: what depends on them is tried on asyncio's own and on uvloop."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


def make_meta(ref: ObjectRef, data: bytes, **changes: object) -> ObjectMeta:
    """Metadata of an object whose ETag is "v1"."""
    meta = ObjectMeta(
        ref=ref,
        size=len(data),
        e_tag=ETag("v1"),
        last_modified=MODIFIED,
        validator='etag "v1"',
        source="test",
        headers={"content-type": "text/plain", "date": "Sat, 21 Nov 2026 00:00:00 GMT"},
    )
    return replace(meta, **changes)  # type: ignore[arg-type]


@dataclass
class StubReader:
    """Objects in a dictionary. A key in `waiting` is answered by `open` only, with a generator that a test steers."""

    objects: dict[ObjectRef, tuple[ObjectMeta, bytes]] = field(default_factory=dict)
    errors: dict[ObjectRef, RangecacheError] = field(default_factory=dict)
    waiting: set[ObjectRef] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Waiting objects are opened, and their pieces flow, once it is set."""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """A body has been handed out."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """A generator has been closed or has ended."""
    bodies: list[object] = field(default_factory=list)
    """Every generator, kept so that none is closed by being forgotten."""
    requests: list[ReadRequest] = field(default_factory=list)
    spoil: Callable[[Reply], Reply] = lambda reply: reply
    produced_bytes: int = 0

    def put(self, key: str, data: bytes, provider: str = "s3", bucket: str = "b", **changes: object) -> ObjectRef:
        """Add an object."""
        ref = ObjectRef(provider, bucket, key)
        self.objects[ref] = (make_meta(ref, data, **changes), data)
        return ref

    def try_open(self, request: ReadRequest, most_bytes: int = 8 << 20) -> Reply | None:
        """As the real one."""
        self.requests.append(request)
        if request.ref in self.errors:
            raise self.errors[request.ref]
        if request.ref in self.waiting:
            return None
        reply = self._reply(request)
        return reply if sum(map(len, reply.body)) <= most_bytes else None  # type: ignore[arg-type]

    def peek(self, ref: ObjectRef, start: int, end: int, most_bytes: int) -> Peeked | None:
        """As the real one."""
        if ref in self.errors or ref in self.waiting or ref not in self.objects:
            return None
        meta, data = self.objects[ref]
        end = min(end, meta.size)
        if not 0 < end - start <= most_bytes:
            return None
        self.requests.append(ReadRequest(ref, range=f"bytes={start}-{end - 1}"))
        return meta, HIT_MEMORY, 12, end, [memoryview(data)[start:end]]

    async def open(self, request: ReadRequest) -> Reply:
        """As the real one."""
        reply = self._reply(request)
        self.opened.set()
        try:
            if "gated-open" in request.ref.key:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.closed.set()
            raise
        pieces = list(reply.body)  # type: ignore[arg-type]
        reply.body = self._stream(pieces)
        await anext(reply.body)
        self.bodies.append(reply.body)
        reply.cache = CacheStatus("miss", fwd="uri-miss", fwd_status=206, stored=True)
        return self.spoil(reply)

    async def _stream(self, pieces: list[memoryview]) -> AsyncGenerator[memoryview, None]:
        try:
            yield memoryview(b"")
            for number, piece in enumerate(pieces):
                if number:
                    await self.gate.wait()
                self.produced_bytes += len(piece)
                yield piece
        finally:
            self.closed.set()

    def _reply(self, request: ReadRequest) -> Reply:
        if request.ref not in self.objects:
            raise NotFound("There is no such object.")
        meta, data = self.objects[request.ref]
        decision = decide(request, meta, 256)
        reply = Reply(decision.status, meta, HIT_MEMORY, age_s=12)
        if decision.status not in {200, 206}:
            return reply
        reply.ranges = decision.ranges
        if not request.head:
            block = max(BLOCK_BYTES, len(data) // 64)
            reply.body = [
                memoryview(data[at : min(at + block, each.end)])  # a block of its own, as in the tiers
                for each in decision.ranges
                for at in range(each.start, each.end, block)
            ]
        return reply


@dataclass
class Answer:
    """A parsed answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw_head: bytes


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        lines = head.decode("latin-1").split("\r\n")[:-2]
        status = int(lines[0].split(" ")[1])
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} is there twice"
            headers[name] = value
        length = 0 if method == "HEAD" or status == 304 else int(headers["Content-Length"])
        body = await asyncio.wait_for(self.reader.readexactly(length), 10)
        return Answer(status, headers, body, head)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, which has to come."""
        return await asyncio.wait_for(self.reader.read(-1), 10)

    def close(self) -> None:
        """Close at once."""
        self.writer.transport.abort()


@dataclass
class Door:
    """A running data port."""

    reader: StubReader
    port: DataPort
    listener: Listener
    clock: ManualClock
    metrics: Metrics
    address: tuple[str, int]
    clients: list[Client] = field(default_factory=list)

    async def connect(self, limit: int = 1 << 16) -> Client:
        """A new raw client."""
        client = Client(*await asyncio.open_connection(*self.address, limit=limit))
        self.clients.append(client)
        return client

    async def ask(self, request: bytes, method: str | None = None) -> Answer:
        """One request on a connection of its own."""
        client = await self.connect()
        client.send(request)
        answer = await client.answer(method or request.split(b" ")[0].decode("latin-1"))
        client.close()
        return answer

    async def get(self, target: str, *fields: str, method: str = "GET") -> Answer:
        """One valid request."""
        return await self.ask(request_of(target, *fields, method=method), method)


def request_of(target: str, *fields: str, method: str = "GET") -> bytes:
    """The bytes of a request with the given header lines."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def pattern(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(size // 32 + 1))[:size]


def make_port(reader: StubReader, clock: ManualClock, metrics: Metrics, **changes: object) -> DataPort:
    """A data port with the providers s3, http (one alias) and file."""
    namespaces = {
        "s3": Namespace(lambda bucket: 3 <= len(bucket) <= 63 or bucket == "b", "versionId"),
        "http": Namespace({"noaa"}.__contains__),
        "file": Namespace({"b", "data", "empty"}.__contains__, key_bytes_max=4096),
    }
    router = Router(
        namespaces,
        lambda ref: ref.bucket != "secret" and not ref.key.startswith("p2/"),
        lambda beginning: not beginning.startswith("s3/secret/"),
    )
    answers = Background()
    listings = Listings({name: MemoryStore() for name in namespaces}, clock, answers, life_s=2)
    parts: dict[str, object] = {
        "reader": reader,
        "router": router,
        "directories": Directories(router, listings, dict.fromkeys(namespaces, ()), lambda _: True),
        "answers": answers,
        "accepts_host": HostGuard(["h"]).accepts,
        "printer": HeadPrinter(clock),
        "accounts": Accounts(metrics, "all"),
        "budget": SendBudget(64 << 20),
        "heads": heads_allowance(),
        "clock": clock,
    }
    return DataPort(**(parts | changes))  # type: ignore[arg-type]


@pytest.fixture
async def make_door() -> AsyncIterator[Callable[..., object]]:
    """Starts data ports and ends them after the test."""
    doors: list[Door] = []

    async def make(limits: Limits | None = None, **changes: object) -> Door:
        reader, clock, metrics = StubReader(), changes.pop("clock", ManualClock()), Metrics()
        port = make_port(reader, clock, metrics, limits=limits or Limits(), **changes)
        listener = Listener(port)
        (address,) = await listener.start("127.0.0.1", 0)
        reader.put("k", pattern(100))
        reader.put("empty", b"")
        door = Door(reader, port, listener, clock, metrics, address)
        doors.append(door)
        return door

    yield make
    for door in doors:
        door.reader.gate.set()
        for client in door.clients:
            client.close()
        for connection in list(door.port.connections):
            connection.abort()
        await door.listener.drain()


@pytest.fixture
async def door(make_door: Callable[..., object]) -> Door:
    """A data port with the object `/s3/b/k` of 100 bytes."""
    return await make_door()  # type: ignore[misc]
