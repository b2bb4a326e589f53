"""One connection of an origin: reads heads, writes answers, and ends as badly as the answer says."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from rangecache.testing.log import LoggedRequest

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.testing.answers import Answer, Stop

_HEAD_BYTES_MAX: Final = 64 << 10
_PIECE_BYTES: Final = 64 << 10
# Of a body with a bandwidth: fewer and larger ones, as each is waited for by itself.
_PACED_PIECE_BYTES: Final = 256 << 10
_REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) (HTTP/1\.[01])", re.ASCII)
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Gate:
    """A point at which one answer waits; made by `Origin.hold`."""

    def __init__(self, after_bytes: int | None) -> None:
        self.after_bytes = after_bytes
        """Body bytes that are sent first; 0: only the head; None: nothing is."""
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self) -> None:
        """Wait until an answer has come to this point."""
        await self._reached.wait()

    def release(self) -> None:
        """Let the answers that wait here go on, and all later ones pass."""
        self._released.set()

    async def pass_through(self) -> None:
        """Called by the origin: wait here for `release`."""
        self._reached.set()
        await self._released.wait()


class Handler(Protocol):
    """What a connection needs of its origin."""

    clock: Clock
    background: Background
    bandwidth_bytes_per_s: float | None

    async def prepare(self, request: LoggedRequest) -> tuple[Answer, Gate | None]:
        """Decide the answer to a request whose head is complete, and where to hold it."""
        ...

    def opened(self, connection: Connection) -> int:
        """Called once a connection; its number."""
        ...

    def closed(self, connection: Connection) -> None:
        """Called once it is lost."""
        ...


class Connection(asyncio.Protocol):
    """Requests one after the other; what is sent ahead waits its turn. A lost connection cancels its answer."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._number = 0
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)
        # With no buffer of our own, "writable" means that the kernel has taken everything.
        self._transport.set_write_buffer_limits(0)
        self._number = self._handler.opened(self)
        self._task = self._handler.background.spawn(self._serve(), f"origin connection {self._number}")

    def data_received(self, data: bytes) -> None:
        """Keep what came; a client far ahead of us is read no further."""
        self._received += data
        self._arrived.set()
        if len(self._received) > _HEAD_BYTES_MAX:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer that is under way."""
        self._handler.closed(self)
        self._task.cancel()

    async def lost(self) -> None:
        """Wait until it is gone."""
        await asyncio.wait({self._task})

    def drop(self) -> None:
        """Close now, whatever is under way."""
        self._transport.abort()

    async def _serve(self) -> None:
        try:
            while (head := await self._next_head()) is not None:
                request = self._parse(head)
                if request is None:
                    self._transport.write(_BAD_REQUEST)
                    break
                answer, gate = await self._handler.prepare(request)
                if not await self._write(request, answer, gate):
                    break
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        finally:
            self._transport.close()

    async def _next_head(self) -> str | None:
        """The next head; None if it is too long. A client that leaves cancels us here."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > _HEAD_BYTES_MAX:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        head = self._received[:end].decode("latin-1")
        del self._received[: end + 4]
        if not self._transport.is_closing():
            self._transport.resume_reading()
        return head

    def _parse(self, head: str) -> LoggedRequest | None:
        first, *lines = head.split("\r\n")
        match = _REQUEST_LINE.fullmatch(first)
        fields = [line.partition(":") for line in lines]
        if match is None or not all(colon for _, colon, _ in fields):
            return None
        headers = [(name, value.strip(" \t")) for name, _, value in fields]
        method, target, version = match.groups()
        return LoggedRequest(method, target, headers, self._number, self._handler.clock.monotonic(), version)

    async def _write(self, request: LoggedRequest, answer: Answer, gate: Gate | None) -> bool:
        """Send an answer; False if the connection is not to be used again."""
        if answer.raw is not None:
            await self._send(answer.raw)
            return False
        stop = answer.stop
        if stop is not None and stop.after_bytes is None:
            await self._end(stop)
            return False
        request.status = answer.status
        head = answer.before + answer.head()
        if request.method == "HEAD":
            await self._send(head)
        elif _is_plain(answer, gate) and self._handler.bandwidth_bytes_per_s is None:
            request.body_bytes_sent = answer.body_bytes
            await self._send(b"".join((head, *answer.pieces(_PIECE_BYTES, ()))))
        else:
            await self._send(head)
            await self._write_body(request, answer, gate)
            if stop is not None:
                await self._end(stop)
                return False
            if answer.framing == "chunked":
                await self._send(b"0\r\n\r\n")
        request.answered_whole = True
        return request.version == "HTTP/1.1" and not _closes(answer) and request.headers.get("connection") != "close"

    async def _write_body(self, request: LoggedRequest, answer: Answer, gate: Gate | None) -> None:
        clock, rate = self._handler.clock, self._handler.bandwidth_bytes_per_s
        pace = answer.pace
        piece_bytes = pace.piece_bytes if pace else _PIECE_BYTES
        if rate is not None:
            piece_bytes = min(_PACED_PIECE_BYTES, max(1, int(rate / 100)))
        marks = sorted({each.after_bytes for each in (gate, answer.stop) if each and each.after_bytes})
        if gate is not None and gate.after_bytes == 0:
            await gate.pass_through()
        last = answer.stop.after_bytes if answer.stop else None
        began_s = clock.monotonic()
        for piece in answer.pieces(piece_bytes, marks):
            if request.body_bytes_sent == last:
                return
            request.body_bytes_sent += len(piece)
            await self._send(_chunk(piece) if answer.framing == "chunked" else piece)
            if gate is not None and request.body_bytes_sent == gate.after_bytes:
                await gate.pass_through()
            if rate is not None:
                # Against the clock, so that the time that sending takes is part of the time that it may take.
                await clock.sleep(max(0.0, began_s + request.body_bytes_sent / rate - clock.monotonic()))
            if pace is not None:
                await clock.sleep(pace.every_s)

    async def _send(self, data: bytes | memoryview) -> None:
        self._transport.write(data)
        await self._writable.wait()

    async def _end(self, stop: Stop) -> None:
        if stop.how == "stall":
            await asyncio.get_running_loop().create_future()  # the client's leaving cancels this
        if stop.how == "rst":
            peer: socket.socket = self._transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()


def _is_plain(answer: Answer, gate: Gate | None) -> bool:
    """Whether it can go out in one write."""
    tricky = gate is not None or answer.stop is not None or answer.pace is not None
    return not tricky and answer.framing != "chunked" and answer.body_bytes <= _PIECE_BYTES


def _chunk(piece: bytes | memoryview) -> bytes:
    return b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))


def _closes(answer: Answer) -> bool:
    said = any(name.lower() == "connection" and value.lower() == "close" for name, value in answer.headers)
    return said or answer.framing == "eof"
