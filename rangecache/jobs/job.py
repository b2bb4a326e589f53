"""One job: what it is, how far it has come, and how it ended."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rangecache.aio.clock import Clock

State = Literal["queued", "running", "done", "failed", "cancelled"]
FAILURES_KEPT: Final = 100  # the first ones, with their reasons; all are counted
FAILURE_CHARS_MAX: Final = 500

_ENDED: Final = frozenset({"done", "failed", "cancelled"})


class Progress(Protocol):
    """How far a job of some kind has come."""

    def figures(self) -> Mapping[str, object]:
        """As JSON."""
        ...


@dataclass(slots=True)
class Failures:
    """What went wrong with single objects, while the job went on."""

    count: int = 0
    kept: deque[tuple[str, str]] = field(default_factory=deque)
    """The first ones: what, and why."""

    def add(self, what: str, why: str) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < FAILURES_KEPT:
            self.kept.append((what[:FAILURE_CHARS_MAX], why[:FAILURE_CHARS_MAX]))


class Job:
    """Changed by the work that it stands for and by the `JobRunner`; read by everybody."""

    def __init__(self, id: str, kind: str, about: Mapping[str, object], progress: Progress, clock: Clock) -> None:
        """`about` is what was asked for, as JSON."""
        self.id = id
        self.kind = kind
        self.about = about
        self.progress = progress
        self.failures = Failures()
        self.state: State = "queued"
        self.error: str | None = None
        """Why it failed as a whole."""
        self.stop: Callable[[], None] | None = None
        """Asks the work to come to a good end, where it has one; else it is cancelled. Called when the job has ended
        otherwise, too."""
        self._clock = clock
        self._created_s = clock.wall()
        self._started_s: float | None = None
        self._finished_s: float | None = None
        self._finished = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether it is done, failed or cancelled; nothing changes any more."""
        return self.state in _ENDED

    def begin(self) -> None:
        """Its turn has come."""
        self.state = "running"
        self._started_s = self._clock.wall()

    def end(self, state: State, error: str | None = None) -> None:
        """It is over. Only the first end counts."""
        if self.ended:
            return
        self.state, self.error = state, error
        self._finished_s = self._clock.wall()
        self._finished.set()
        if self.stop is not None:
            self.stop()

    async def wait(self) -> None:
        """Until it has ended."""
        await self._finished.wait()

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "error": self.error,
            "about": self.about,
            "progress": self.progress.figures(),
            "failures": {
                "count": self.failures.count,
                "first": [{"object": what, "reason": why} for what, why in self.failures.kept],
            },
            "created": _date(self._created_s),
            "started": _date(self._started_s),
            "finished": _date(self._finished_s),
        }

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state}>"


def _date(wall_s: float | None) -> str | None:
    """RFC 3339, UTC, to the millisecond."""
    if wall_s is None:
        return None
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
