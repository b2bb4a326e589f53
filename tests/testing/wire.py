"""A client on a bare socket: it shows what really came over the wire."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CLOSE = "Connection: close"


@dataclass(frozen=True)
class Received:
    """A response, split at its first empty line."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a head and what follows it, to the end of `raw`."""
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .+", first)
        assert match, raw[:200]
        return cls(int(match[1]), fields, body, raw)

    def header(self, name: str) -> str | None:
        """The only value of a header; None if there is none."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, values
        return values[0] if values else None


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, target: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> None:
        """Write a request's head."""
        lines = [f"{method} {target} {version}", "Host: origin", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode("latin-1"))

    async def answer(self) -> Received:
        """Read one answer framed by Content-Length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        received = Received.parse(head)
        return Received.parse(head + await self.reader.readexactly(int(received.header("Content-Length") or 0)))

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        return await self.reader.read()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    """A connection to the server at `url`."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def get(url: str, target: str, *headers: str, method: str = "GET") -> Received:
    """One request on a connection of its own, read to the end."""
    async with connected(url) as wire:
        wire.send(target, *headers, _CLOSE, method=method)
        return Received.parse(await wire.rest())
