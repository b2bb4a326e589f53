"""A client on a bare socket that takes nothing on trust: it reads answers as the strictest client would."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_STATUS_LINE: Final = re.compile(r"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]+", re.ASCII)
_FIELD: Final = re.compile(r"([A-Za-z0-9-]+): ([\x20-\x7e\x80-\xff]*)", re.ASCII)
_ONLY_ONCE: Final = ("content-length", "content-range", "content-type", "etag", "last-modified", "age", "date")
_PART: Final = re.compile(rb"Content-Type: ([^\r\n]+)\r\nContent-Range: bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_BOUNDARY: Final = re.compile(r"multipart/byteranges; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})", re.ASCII)


class CutShort(Exception):
    """The connection ended before the answer did. What had come is kept."""

    def __init__(self, status: int | None, body: bytes) -> None:
        super().__init__(f"status {status}, {len(body)} bytes of the body")
        self.status = status
        """None: not even the head was complete."""
        self.body = body


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def cache(self) -> str:
        """What Cache-Status says."""
        return self.headers["cache-status"]

    def parts(self) -> list[tuple[int, int, int, bytes]]:
        """A multipart/byteranges body, read byte for byte: first, last, size and bytes of each part."""
        kind = _BOUNDARY.fullmatch(self.headers["content-type"])
        assert kind is not None, self.headers
        mark = b"\r\n--" + kind[1].encode()
        assert self.body.startswith(mark + b"\r\n"), self.body[:100]
        assert self.body.endswith(mark + b"--\r\n"), self.body[-100:]
        found, at = [], len(mark) + 2
        while at < len(self.body):
            head_end = self.body.index(b"\r\n\r\n", at)
            head = _PART.fullmatch(self.body[at:head_end])
            assert head is not None, self.body[at:head_end]
            first, last, size = int(head[2]), int(head[3]), int(head[4])
            start, end = head_end + 4, head_end + 4 + last + 1 - first
            found.append((first, last, size, self.body[start:end]))
            assert self.body.startswith(mark, end), self.body[end : end + 100]
            if self.body[end + len(mark) :] == b"--\r\n":
                return found
            at = end + len(mark) + 2
        raise AssertionError("the last boundary is missing")


def request(target: str, *fields: str, method: str = "GET") -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]).encode("latin-1")


class Client:
    """One connection that is kept. Answers come in the order of the requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """To the data port on loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    def send(self, target: str, *fields: str, method: str = "GET") -> None:
        """Write a request; several may be written ahead of their answers."""
        self.writer.write(request(target, *fields, method=method))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer. Raises `CutShort`."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise CutShort(None, b"") from error
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        status = _STATUS_LINE.fullmatch(first)
        assert status is not None, raw
        headers: dict[str, str] = {}
        for line in lines:
            field = _FIELD.fullmatch(line)
            assert field is not None, raw
            name = field[1].lower()
            assert name not in headers or name not in _ONLY_ONCE, raw
            headers[name] = field[2]
        assert "transfer-encoding" not in headers, raw
        return int(status[1]), headers

    async def answer(self, *, method: str = "GET") -> Answer:
        """Read an answer to its end. Raises `CutShort`."""
        status, headers = await self.head()
        length = int(headers["content-length"]) if status != 304 else 0
        if method == "HEAD" or not length:
            return Answer(status, headers, b"")
        body = bytearray()
        try:
            while len(body) < length:
                piece = await self.reader.read(length - len(body))
                if not piece:
                    raise CutShort(status, bytes(body))
                body += piece
        except ConnectionError as error:
            raise CutShort(status, bytes(body)) from error
        return Answer(status, headers, bytes(body))

    async def get(self, target: str, *fields: str, method: str = "GET") -> Answer:
        """One request and its answer."""
        self.send(target, *fields, method=method)
        return await self.answer(method=method)

    def close(self) -> None:
        """Leave at once, as a client that was killed: unread bytes make this a reset."""
        self.writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A client that leaves at the end."""
    client = await Client.connect(port)
    try:
        yield client
    finally:
        client.close()


async def fetch(port: int, target: str, *fields: str, method: str = "GET") -> Answer:
    """One request on a connection of its own. Raises `CutShort`."""
    async with connected(port) as client:
        return await client.get(target, *fields, method=method)
