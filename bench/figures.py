"""What is measured, and what of it has to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

US: Final = "rangecache"
"""The name of the peer that is this project."""
BEST: Final = "the best peer"
"""In place of a peer's name in a goal: whichever other cache has the best figure."""

DIRECT: Final = "direct"
OBSTORE: Final = "obstore, 16 ranges"
BASELINES: Final = (DIRECT, OBSTORE)
"""Readers without any proxy, that goals may name as they name peers."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A kind of number: how it is called and printed, and which of two is better."""

    title: str
    unit: str
    decimals: int = 1
    more_is_better: bool = False

    def text(self, value: float) -> str:
        """The number with its unit."""
        return f"{value:,.{self.decimals}f} {self.unit}".rstrip()


FIGURES: Final[Mapping[str, Figure]] = {
    "cpu_us_per_request": Figure("CPU a request", "µs"),
    "requests_per_s": Figure("requests a second", "", 0, more_is_better=True),
    "p50_ms": Figure("p50", "ms", 2),
    "p99_ms": Figure("p99", "ms", 2),
    "p999_ms": Figure("p99.9", "ms", 2),
    "seconds": Figure("time", "s", 3),
    "mb_per_s": Figure("rate", "MB/s", 0, more_is_better=True),
    "first_byte_ms": Figure("first byte", "ms", 2),
    "added_ms": Figure("later than direct", "ms", 2),
    "origin_requests": Figure("origin requests", "", 0),
    "origin_mb": Figure("origin bytes", "MB"),
    "origin_of_distinct": Figure("origin bytes of those asked for", "×", 2),
    "of_best": Figure("CPU of the best case's", "×", 2),
    "rss_of_bound": Figure("peak of its bound", "×", 2),
    "gb_per_s": Figure("written", "GB/s", 2, more_is_better=True),
    "dropped_percent": Figure("blocks dropped", "%", 2),
    "cpu_s_per_gb": Figure("CPU a GB", "s", 2),
    "ready_s": Figure("ready", "s", 2),
    "indexed_s": Figure("all indexed", "s", 2),
    "looked_through_s": Figure("all looked through", "s", 1),
    "held_ms": Figure("event loop held", "ms"),
    "bytes_per_block": Figure("memory a block", "B", 0),
    "idle_rss_mib": Figure("resident when idle", "MiB", 0),
    "kib_per_connection": Figure("memory a connection", "KiB"),
    "rss_mib": Figure("resident memory", "MiB", 0),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one peer did in one case."""

    case: str
    """The row: unique within a scenario, such as `16 KiB`."""
    peer: str
    figures: Mapping[str, float]
    """By the names in `FIGURES`."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What rangecache has to reach in one case."""

    case: str
    figure: str
    bound: float
    """Of the ratio to the other side, or of the figure itself where there is no other side."""
    against: str | None = None
    """A peer's name, or `BEST`; None: the bound is absolute."""
    at_least: bool = False
    """True: the bound is a lower one."""
    title: str = ""
    """What the table says; by default the case and the figure."""

    @property
    def text(self) -> str:
        """The bound, as the table has it."""
        sign = "≥" if self.at_least else "≤"
        if self.against is None:
            return f"{sign} {FIGURES[self.figure].text(self.bound)}"
        return f"{sign} {self.bound:g} × {self.against}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what became of it. What was not measured is None."""

    goal: Goal
    ours: float | None
    other: str | None
    """Whom we are compared with: who the goal names, or the best peer, which is shown where the bound is absolute."""
    theirs: float | None

    @property
    def ratio(self) -> float | None:
        """Ours over theirs; None where a side is missing, or theirs is 0."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None

    @property
    def reached(self) -> bool | None:
        """None where it cannot be told."""
        if self.ours is None or (self.goal.against is not None and self.theirs is None):
            return None
        limit = self.goal.bound * (1.0 if self.goal.against is None or self.theirs is None else self.theirs)
        return self.ours >= limit if self.goal.at_least else self.ours <= limit


def judge(goals: Iterable[Goal], measured: Sequence[Measured], caches: Iterable[str]) -> list[Verdict]:
    """Each goal against what was measured. `caches` are the peers that `BEST` chooses among."""
    rivals = frozenset(caches) - {US}
    verdicts = []
    for goal in goals:
        values = {each.peer: each.figures[goal.figure] for each in measured if _is_about(each, goal)}
        other, theirs = goal.against, None
        if goal.against in {BEST, None}:
            choose = max if FIGURES[goal.figure].more_is_better else min
            found = {peer: value for peer, value in values.items() if peer in rivals}
            other = choose(found, key=found.__getitem__) if found else None
        if other is not None:
            theirs = values.get(other)
        verdicts.append(Verdict(goal, values.get(US), other, theirs))
    return verdicts


def _is_about(measured: Measured, goal: Goal) -> bool:
    return measured.case == goal.case and goal.figure in measured.figures


def best_of(case: str, peer: str, rounds: Iterable[Mapping[str, float]]) -> Measured:
    """The best of each figure over several rounds: what disturbs a round only ever makes it worse."""
    figures: dict[str, float] = {}
    for each in rounds:
        for name, value in each.items():
            choose = max if FIGURES[name].more_is_better else min
            figures[name] = choose(figures.get(name, value), value)
    return Measured(case, peer, figures)
