"""The same readings three times: straight from the origin, through a cold proxy, through a warm one.

What a pass cost the origin is taken from the origin's own log, never from the proxy's counters.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from rangecache.testing.children import Child, ChildFailed
from rangecache.testing.origin import Origin
from rangecache.testing.readings import FAILED, READINGS, Reading, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

PASSES: Final = ("direct", "cold", "warm")
# Two exchanges with the loop of another thread that does nothing else.
_THREAD_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one reading took in one pass."""

    seconds: float
    origin_requests: int
    origin_bytes: int
    """Body bytes that the origin sent."""


@dataclass(slots=True)
class Row:
    """One reading in all passes."""

    reading: Reading
    costs: dict[str, Cost] = field(default_factory=dict)
    """By the names in `PASSES`."""
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether every pass read the same numbers."""
        first, *others = (self.results[name] for name in PASSES)
        return all(
            first.keys() == other.keys() and all(np.array_equal(first[part], other[part]) for part in first)
            for other in others
        )


class OriginThread:
    """An origin on an event loop of its own, so that whoever waits for a reader does not stop it. A context manager."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origin", daemon=True)
        self._origin = Origin(latency_s=latency_s)
        self._origin.serve_directory(folder)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._origin.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._origin.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_THREAD_TIMEOUT_S)

    @property
    def url(self) -> str:
        """Base address, with a final slash."""
        return self._origin.url

    def asked(self) -> tuple[int, int]:
        """How many requests came since the start, and how many body bytes were sent."""
        return self._origin.log.count(), self._origin.log.body_bytes()


def compare(
    origin: OriginThread, proxy_url: str, folder: Path, report: Callable[[str, Reading], None] = lambda *_: None
) -> list[Row]:
    """Read everything in all passes. `proxy_url` stands for the same folder as the origin's; its cache must be cold.

    `folder` takes results and logs. `report` is told the pass and the reading that come next. Raises `ChildFailed`
    where a reader fails.
    """
    rows = [Row(reading) for reading in READINGS]
    for name in PASSES:
        results = folder / name
        results.mkdir()
        base_url = origin.url if name == "direct" else proxy_url
        arguments = ("-m", "rangecache.testing.readings", base_url, str(results))
        with Child("the reader", *arguments, log=results / "log") as reader:
            reader.hear()
            for row in rows:
                report(name, row.reading)
                row.costs[name] = _read(reader, row.reading, origin)
                row.results[name] = _load(results / f"{row.reading.name}.npz")
    return rows


def _read(reader: Child, reading: Reading, origin: OriginThread) -> Cost:
    requests, sent = origin.asked()
    reader.tell(reading.name)
    heard = reader.hear()
    if heard.startswith(FAILED):
        raise ChildFailed(f"{reading.title}: {heard.removeprefix(FAILED)}")
    requests_after, sent_after = origin.asked()
    return Cost(float(heard), requests_after - requests, sent_after - sent)


def _load(path: Path) -> Result:
    with np.load(path) as parts:
        return dict(parts)
