"""Looks into the providers of a configuration as the program would."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rangecache.aio.budget import RetryBudget
from rangecache.aio.clock import SystemClock
from rangecache.settings import Settings
from rangecache.telemetry import Metrics
from rangecache.wiring.checkup import Checkups
from rangecache.wiring.origins import Origins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.aio.clock import Clock
    from rangecache.checkup.step import Report, Step
    from rangecache.model import ObjectRef


class Skewed(SystemClock):
    """A clock that is wrong by so many seconds."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def wall(self) -> float:
        return SystemClock.wall() + self._ahead_s


class Found:
    """A report, by the names of its steps."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.document = report.document()
        self.text = json.dumps(self.document)

    def step(self, name: str, of: str | None = None) -> Step:
        """The one step of that name (about that)."""
        (found,) = (each for each in self.report.steps if each.name == name and of in (None, each.of))
        return found

    @property
    def results(self) -> dict[str, str]:
        """Name → result."""
        return {each.name: each.result for each in self.report.steps}


@asynccontextmanager
async def looking(
    providers: dict[str, Any], clock: Clock | None = None, **sections: Any
) -> AsyncIterator[tuple[Checkups, Metrics]]:
    """Check-ups of a configuration with these providers, and what they count."""
    clock, metrics = clock or SystemClock(), Metrics()
    settings = Settings.model_validate({"providers": providers, "cache": {"disk": {"enabled": False}}, **sections})
    origins = Origins(settings, metrics, RetryBudget(0.1, 1, 100, clock), clock)
    try:
        yield Checkups(settings, origins, clock), metrics
    finally:
        await origins.aclose()


async def look(
    provider: dict[str, Any], wanted: ObjectRef | None = None, clock: Clock | None = None, **sections: Any
) -> Found:
    """What is found out about one provider, called `p`."""
    async with looking({"p": provider}, clock, **sections) as (checkups, _):
        return Found(await checkups.run("p", wanted))
