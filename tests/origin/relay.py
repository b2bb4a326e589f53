"""Small servers between a client and an origin: one that ends TLS, one that is a forward proxy."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import pytest


def ask_through(url: str, environment: pytest.MonkeyPatch) -> None:
    """Name a proxy in the environment, for everything and in every spelling."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment.setenv(name, url)
        environment.setenv(name.lower(), url)
    for name in ("NO_PROXY", "no_proxy"):
        environment.delenv(name, raising=False)


class Relay:
    """What a running one is known by."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[str] = []
        """First lines of what the proxy was asked."""
        self.heads: list[bytes] = []
        self.refuse = b""
        """Sent in place of everything, if set."""
        self._writers: set[asyncio.StreamWriter] = set()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one direction to its end."""
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
    ) -> None:
        """Copy both directions between a client and `port` until both have ended."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.add(up_writer)
        up_writer.write(first)
        await asyncio.gather(self.pump(reader, up_writer), self.pump(up_reader, writer))

    def track(self, writer: asyncio.StreamWriter) -> None:
        """Close it at the end, whatever happens."""
        self._writers.add(writer)

    def drop(self) -> None:
        """Close everything."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def tls_front(origin_port: int, context: ssl.SSLContext) -> AsyncIterator[Relay]:
    """HTTPS in front of an origin that speaks plain HTTP."""
    relay = Relay()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.track(writer)
        await relay.join(reader, writer, origin_port)

    async with _listening(relay, serve, context):
        yield relay


@asynccontextmanager
async def forward_proxy() -> AsyncIterator[Relay]:
    """CONNECT and absolute-form requests, all to this machine whatever the name."""
    relay = Relay()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.track(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        relay.requests.append(line.decode())
        relay.heads.append(head)
        if relay.refuse:
            writer.write(relay.refuse)
            writer.close()
            return
        method, target, version = line.split(b" ")
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await relay.join(reader, writer, int(target.rsplit(b":", 1)[1]))
        else:
            authority, _, path = target.removeprefix(b"http://").partition(b"/")
            first = b"%s /%s %s\r\n%s" % (method, path, version, rest)
            await relay.join(reader, writer, int(authority.rsplit(b":", 1)[1]), first)

    async with _listening(relay, serve, None):
        yield relay


@asynccontextmanager
async def _listening(relay: Relay, serve: object, context: ssl.SSLContext | None) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(serve(reader, writer)))  # type: ignore[operator]

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        relay.drop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
