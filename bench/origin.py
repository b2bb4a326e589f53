"""The origin, in a process of its own so that it takes nothing from who is measured, nor from who measures.

`python -m bench.origin` is the process: `rangecache.testing.origin` over a folder, told what to do by lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from bench.programs import Program
from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.testing.log import LoggedRequest

BUCKET: Final = "data"
"""The first part of every path at the origin: its objects are in one bucket."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the origin's own log says."""

    requests: int
    body_bytes: int

    def since(self, earlier: Asked) -> Asked:
        """What came after that."""
        return Asked(self.requests - earlier.requests, self.body_bytes - earlier.body_bytes)

    @property
    def figures(self) -> dict[str, float]:
        """As `Measured` has them."""
        return {"origin_requests": self.requests, "origin_mb": self.body_bytes / 1e6}


class OriginProcess:
    """The origin as the bench holds it. A context manager."""

    def __init__(
        self, store: Path, work: Path, *, latency_s: float = 0.0, bandwidth_bytes_per_s: float | None = None
    ) -> None:
        """`store` is the folder that it serves; `bandwidth_bytes_per_s` is of each connection, None: no limit."""
        self.store, self.latency_s = store, latency_s
        wanted = json.dumps({"store": str(store), "latency_s": latency_s, "bandwidth": bandwidth_bytes_per_s})
        self._program = Program("origin", [sys.executable, "-m", "bench.origin", wanted], work, talks=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._program.__enter__()
        self.port = int(self._program.hear())
        return self

    def __exit__(self, *_: object) -> None:
        self._program.__exit__()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Of the bucket, with a final slash."""
        return f"http://{self.address}/{BUCKET}/"

    def asked(self) -> Asked:
        """Since the start."""
        return Asked(**json.loads(self._program.ask("asked")))

    def distinct_bytes(self, since: Asked) -> int:
        """How many different bytes of objects were asked for after that; what was asked for twice counts once."""
        return int(self._program.ask(f"distinct {since.requests}"))


def list_folders(origin: Origin, store: Path) -> None:
    """Give every folder a page that lists it: rclone finds files by these."""
    for folder, names, files in os.walk(store):
        links = [f"{name}/" for name in names] + files
        page = "".join(f'<a href="{quote(link)}">{escape(link)}</a>\n' for link in links)
        inside = Path(folder).relative_to(store).as_posix()
        key = f"{BUCKET}/" if inside == "." else f"{BUCKET}/{inside}/"
        origin.put(key, f"<html><body>{page}</body></html>".encode(), content_type="text/html")


async def _serve(store: Path, latency_s: float, bandwidth: float | None) -> None:
    async with Origin(latency_s=latency_s, bandwidth_bytes_per_s=bandwidth) as origin:
        list_folders(origin, store)
        origin.serve_directory(store, prefix=f"{BUCKET}/")
        print(origin.url.rstrip("/").rpartition(":")[2], flush=True)
        lines = await _standard_input()
        while line := (await lines.readline()).split():
            if line[0] == b"distinct":
                print(distinct_bytes(origin.requests[int(line[1]) :], store), flush=True)
            else:
                print(json.dumps({"requests": len(origin.log), "body_bytes": origin.log.body_bytes()}), flush=True)


def distinct_bytes(requests: Sequence[LoggedRequest], store: Path) -> int:
    """The size of the union of what these requests ask of the files in `store`."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for request in requests:
        file = store / request.key.removeprefix(f"{BUCKET}/")
        if request.method == "GET" and file.is_file():
            size = file.stat().st_size
            ranges.setdefault(request.key, []).append(_bounds(request.range, size))
    total = 0
    for asked in ranges.values():
        reached = 0
        for start, end in sorted(asked):
            total += max(0, end - max(start, reached))
            reached = max(reached, end)
    return total


def _bounds(header: str | None, size: int) -> tuple[int, int]:
    """The half-open range that a Range header with one range asks of an object."""
    first, _, last = (header or "bytes=0-").removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return min(int(first), size), min(int(last) + 1, size) if last else size


async def _standard_input() -> asyncio.StreamReader:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    return lines


def fast_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def main() -> None:
    """What the process does until its standard input ends."""
    wanted = json.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=fast_loop) as runner:
        runner.run(_serve(Path(wanted["store"]), wanted["latency_s"], wanted["bandwidth"]))


if __name__ == "__main__":
    main()
