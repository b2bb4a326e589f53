"""Accepting connections, the one timer for all of them, and the way out."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rangecache.server.sending import bound_kernel_buffers
from rangecache.server.wire import REFUSED_MAX, Connection

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from rangecache.server.port import DataPort

SWEEP_S: Final = 1.0
SWEEP_BATCH: Final = 16  # connections that are looked at without a pause: some 50 µs where all of them are slow
BACKLOG: Final = 4096  # connections that the kernel holds for us, if it may (somaxconn); GDAL opens hundreds at once
FILES_RESERVED: Final = 256  # descriptors kept for the cache's files, origins and the admin port


def connection_limit(wanted: int, reserved: int = FILES_RESERVED) -> int:
    """How many client connections there may be, at most `wanted`, so that `reserved` descriptors remain.

    Raises this process's own limit of open files as far as the system lets it. Without this a flood of connections
    would make the opening of files fail.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + REFUSED_MAX + reserved
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):  # refused: what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - REFUSED_MAX - reserved))


class Listener:
    """The data port's listening sockets and open connections."""

    def __init__(self, port: DataPort) -> None:
        self._port = port
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unseen: list[Connection] = []
        self._pause_s = SWEEP_S

    async def start(self, host: str, port: int) -> list[tuple[str, int]]:
        """Listen on a TCP address; port 0 takes a free one. Returns the addresses. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connect, host, port, backlog=BACKLOG)
        self._started(server)
        return [each.getsockname()[:2] for each in server.sockets]

    async def start_unix(self, path: str) -> None:
        """Listen on a Unix socket at `path`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._started(await loop.create_unix_server(self._connect, path, backlog=BACKLOG))

    async def start_socket(self, listening: socket.socket) -> None:
        """Listen on a socket that is bound already."""
        loop = asyncio.get_running_loop()
        self._started(await loop.create_server(self._connect, sock=listening, backlog=BACKLOG))

    def sweep(self, now_s: float) -> None:
        """Let every connection compare its limits with the time, by the port's clock."""
        self._port.printer.tick()
        self._look_at(list(self._port.connections), now_s)

    async def drain(self) -> None:
        """Stop accepting, close idle connections, let the answers under way end and leave the buffers, for at most
        `shutdown_grace`; then cut what is left."""
        port = self._port
        port.draining = True
        for server in self._servers:
            server.close()
        for connection in list(port.connections):
            connection.shutdown()
        if port.connections:
            await self._wait_until_empty(port.limits.shutdown_grace_s)
        for connection in list(port.connections):
            connection.abort()
        await port.answers.aclose()
        if self._timer is not None:
            self._timer.cancel()

    def _connect(self) -> Connection:
        return Connection(self._port)

    def _started(self, server: asyncio.Server) -> None:
        self._servers.append(server)
        bound_kernel_buffers(server.sockets)
        if self._timer is None:
            self._tick()

    def _tick(self) -> None:
        """Look at a part of the connections, and so at all of them once in `SWEEP_S`: ten thousand in one go would let
        every answer of that moment wait."""
        if not self._unseen:
            self._port.printer.tick()
            self._unseen = list(self._port.connections)
            self._pause_s = SWEEP_S / max(1, -(-len(self._unseen) // SWEEP_BATCH))
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._tick)
        batch, self._unseen = self._unseen[:SWEEP_BATCH], self._unseen[SWEEP_BATCH:]
        self._look_at(batch, self._port.clock.monotonic())

    def _look_at(self, connections: Sequence[Connection], now_s: float) -> None:
        for connection in connections:
            if connection in self._port.connections:  # it may have left since the round began
                connection.sweep(now_s)

    async def _wait_until_empty(self, grace_s: float) -> None:
        self._port.empty.clear()
        empty = asyncio.ensure_future(self._port.empty.wait())
        timer = asyncio.ensure_future(self._port.clock.sleep(grace_s))
        try:
            await asyncio.wait({empty, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            empty.cancel()
            timer.cancel()
