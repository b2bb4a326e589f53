"""A pass-through in front of a server that notes every request that really reached it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK_BYTES: Final = 256 * 1024
_HEAD_BYTES_MAX: Final = 64 * 1024
_STOP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request as it stood on the wire."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""


class Tap:
    """A TCP proxy on a port of its own, on a thread of its own; a context manager.

    It reads request heads and passes bytes on unchanged, so signatures stay whole. Requests with a body are not
    understood: it is for readers.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None] | None] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._cut_after: int | None = None

    @property
    def endpoint(self) -> str:
        """Its address, as a base of URLs."""
        return f"http://127.0.0.1:{self.port}"

    def clear(self) -> None:
        """Forget what was noted."""
        self.requests.clear()
        self.connections = 0

    def cut_next(self, after_bytes: int) -> None:
        """The next answer ends after so many bytes of its body, and its connection with it."""
        self._cut_after = after_bytes

    def go_down(self) -> None:
        """Refuse connections and drop those that are open, as a machine that has died."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_STOP_TIMEOUT_S)

    def come_back(self) -> None:
        """Listen again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(_STOP_TIMEOUT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        await self._listen()
        self._ready.set()
        await self._stop.wait()
        await self._close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=_HEAD_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(me := asyncio.current_task())
        try:
            await self._pass_through(reader, writer)
        finally:
            self._tasks.discard(me)
            writer.close()

    async def _pass_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        answers = asyncio.create_task(self._copy(upstream_reader, writer))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.requests.append(_parse(head))
                    upstream_writer.write(head)
                    await upstream_writer.drain()
        finally:
            answers.cancel()
            upstream_writer.close()
            await asyncio.gather(answers, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                if self._cut_after is not None:
                    after_bytes, self._cut_after = self._cut_after, None
                    await _copy_a_part(data, after_bytes, reader, writer)
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


async def _copy_a_part(
    came: bytes, after_bytes: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A head and so much of its body; `came` is the beginning."""
    while b"\r\n\r\n" not in came:
        came += await reader.read(_CHUNK_BYTES)
    end = came.index(b"\r\n\r\n") + 4 + after_bytes
    while len(came) < end:
        came += await reader.read(_CHUNK_BYTES)
    writer.write(came[:end])
    await writer.drain()


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return Request(method, target, headers)
