"""A real HTTP/1.1 origin on loopback that does everything right until it is told otherwise.

It speaks HTTP on bare sockets, since a library would keep it from lying. By default it answers GET and HEAD, single
ranges and all conditions as RFC 9110 says. `fail` makes it lie in scripted ways, `hold` stops it at a chosen point, and
its log tells what it was really asked::

    async with Origin() as origin:
        origin.put("bucket/key", b"0123456789")
        origin.fail("bucket/key", Status(503))
        ...
        assert origin.log.count("bucket/key", method="GET") == 2

`python -m rangecache.testing.origin --dir FOLDER` serves a folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, Self

import click

from rangecache.aio.clock import Clock, SystemClock
from rangecache.aio.tasks import Background
from rangecache.settings.units import parse_duration
from rangecache.testing.answers import Answer, Conditions, Content, InFile, InMemory, Stored, decide, http_date
from rangecache.testing.connection import Connection, Gate
from rangecache.testing.faults import Headers, Status
from rangecache.testing.log import LoggedRequest, RequestLog
from rangecache.testing.scripts import Scripted, first_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rangecache.testing.faults import Fault

_BACKLOG: Final = 1024  # tests open hundreds of connections at once
FROM_CONTENT: Final = "from content"
"""The default tag: a strong one that is the same for the same bytes."""


class Origin:
    """Objects by key, served at `url` + key. Use as a context manager, or with `start` and `aclose`.

    Everything may be changed while it serves; an answer that has begun goes on with the bytes it began with.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        bandwidth_bytes_per_s: float | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.latency_s = latency_s
        """Pause ahead of every answer."""
        self.bandwidth_bytes_per_s = bandwidth_bytes_per_s
        """Of each connection; None is as fast as it goes."""
        self.clock: Clock = clock or SystemClock()
        self.log = RequestLog()
        self.on_request: Callable[[LoggedRequest], Awaitable[None]] | None = None
        """Awaited for each request before its answer is decided."""
        self.background = Background()
        self.connections: set[Connection] = set()
        """Those open now."""
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections_made = 0
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._objects: dict[str, Stored] = {}
        self._folders: list[tuple[str, Path]] = []
        self._faults: list[Scripted[tuple[Fault, ...]]] = []
        self._gates: list[Scripted[Gate]] = []

    def __repr__(self) -> str:
        return f"<Origin {self.url}, {len(self._objects)} objects, {len(self.log)} requests>"

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen. After `stop` on the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), self._host, self._port, backlog=_BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and drop the open ones, as a machine that went down; `start` brings it back."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop_connections()
        await self._none_open.wait()

    async def aclose(self) -> None:
        """Stop for good."""
        await self.stop()
        await self.background.aclose()

    def drop_connections(self) -> None:
        """Close every open connection, idle or not."""
        for connection in list(self.connections):
            connection.drop()

    @property
    def url(self) -> str:
        """Base address, with a final slash; known once it listens."""
        return f"http://{self._host}:{self._port}/"

    @property
    def requests(self) -> list[LoggedRequest]:
        """The log's requests, in order of arrival."""
        return self.log.requests

    @property
    def connections_made(self) -> int:
        """How many connections were accepted in all."""
        return self._connections_made

    # --- content --------------------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        content: bytes | Content,
        *,
        etag: str | None = FROM_CONTENT,
        last_modified: datetime | Literal["now"] | None = "now",
        content_type: str | None = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Store an object, or another version of it.

        `etag` is the header's text with its quotes; None for none. Content that is not `bytes` needs an `etag` of its
        own. `last_modified` is aware; None for none. `headers` are sent with every answer about the object.
        """
        if etag == FROM_CONTENT:
            if not isinstance(content, bytes):
                raise ValueError(f"{key}: give an etag; only bytes in memory are hashed")
            etag = f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
        if last_modified == "now":
            last_modified = datetime.fromtimestamp(self.clock.wall(), UTC)
        kind = {} if content_type is None else {"Content-Type": content_type}
        held = InMemory(content) if isinstance(content, bytes) else content
        stored = Stored(held, etag, last_modified, tuple((kind | dict(headers or {})).items()))
        self._objects[key] = stored
        return stored

    def delete(self, key: str) -> None:
        """Forget an object; `KeyError` if there is none."""
        del self._objects[key]

    def serve_directory(self, path: str | Path, prefix: str = "") -> None:
        """Serve the files below `path` as `prefix` + their relative names, read from disk for each answer.

        Tags are made of modification time and size. Links are followed; nothing outside is reached by `..`.
        """
        self._folders.append((prefix, Path(path)))

    def _find(self, key: str) -> Stored | None:
        if (stored := self._objects.get(key)) is not None:
            return stored
        for prefix, folder in self._folders:
            name = key.removeprefix(prefix)
            if not key.startswith(prefix) or not _is_plain_name(name):
                continue
            file = folder / name
            if file.is_file():
                content = InFile(os.fspath(file))
                kind = (("Content-Type", "application/octet-stream"),)
                return Stored(content, content.e_tag, content.last_modified, kind)
        return None

    # --- scripts --------------------------------------------------------------------------------------------------

    def fail(
        self,
        path: str | None,
        *faults: Fault,
        times: int | None = 1,
        skip: int = 0,
        method: str | None = None,
        when: Callable[[LoggedRequest], bool] | None = None,
        per_object: bool = False,
    ) -> None:
        """Answer the next `times` matching requests with all of `faults`, after `skip` right answers.

        `path` is a key or a raw path, None any; `times=None` is for ever; `method` and `when` narrow what matches;
        `per_object` counts for each object apart. Scripts are used in the order they were given: a request goes to
        the first that matches and is not used up.
        """
        self._faults.append(Scripted(faults, path, times, skip, method, when, per_object))

    def heal(self) -> None:
        """Drop all faults that are left."""
        self._faults.clear()

    def hold(
        self,
        path: str | None = None,
        *,
        after_bytes: int | None = None,
        times: int | None = 1,
        skip: int = 0,
        when: Callable[[LoggedRequest], bool] | None = None,
    ) -> Gate:
        """Make the next `times` matching requests wait at a gate: before their answer is decided, or after so many
        body bytes of it (0: after the head)."""
        gate = Gate(after_bytes)
        self._gates.append(Scripted(gate, path, times, skip, when=when))
        return gate

    # --- what connections call ------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> int:
        """A connection was accepted; its number."""
        self.connections.add(connection)
        self._none_open.clear()
        self._connections_made += 1
        return self._connections_made

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_open.set()

    async def prepare(self, request: LoggedRequest) -> tuple[Answer, Gate | None]:
        """Log a request, wait as the scripts say, and decide its answer."""
        self.log.requests.append(request)
        gate = first_of(self._gates, request)
        faults = first_of(self._faults, request) or ()
        if self.on_request is not None:
            await self.on_request(request)
        if self.latency_s:
            await self.clock.sleep(self.latency_s)
        if gate is not None and gate.after_bytes is None:
            await gate.pass_through()
        answer = self._right_answer(request)
        for fault in faults:
            answer = fault.apply(answer)
        return answer, gate

    def _right_answer(self, request: LoggedRequest) -> Answer:
        date = {"Date": http_date(datetime.fromtimestamp(self.clock.wall(), UTC))}
        if request.method not in {"GET", "HEAD"}:
            closing = Headers({**date, "Allow": "GET, HEAD", "Connection": "close"})
            return closing.apply(Status(405).apply(Answer(405)))
        # RFC 9110 section 14.2: Range means something for GET only.
        headers = request.headers if request.method == "GET" else {**request.headers, "range": ""}
        return decide(self._find(request.key), Conditions.of(headers)).with_headers(date)


def _is_plain_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and "\0" not in name and ".." not in parts and parts[0] != "/"


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--dir", "folder", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", default=0, help="0, the default, takes a free one.")
@click.option("--latency", "latency_s", default=0.0, type=_Duration(), help="Pause ahead of every answer, as in 50ms.")
def main(folder: Path, port: int, latency_s: float) -> None:
    """Serve a folder over HTTP until interrupted; the first line printed is its address."""

    async def serve() -> None:
        async with Origin(latency_s=latency_s, port=port) as origin:
            origin.serve_directory(folder)
            click.echo(origin.url)
            await asyncio.get_running_loop().create_future()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
