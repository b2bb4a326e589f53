"""The figures as one JSON document, which tables, chart and page are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bench.figures import Goal, Measured, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.figures import Verdict


@dataclass(slots=True)
class Result:
    """One scenario."""

    title: str
    date: str
    quick: bool
    goals: Sequence[Goal]
    measured: Sequence[Measured]
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that could not do it, and why."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "title": self.title,
            "date": self.date,
            "quick": self.quick,
            "goals": [
                {
                    "case": each.case,
                    "figure": each.figure,
                    "bound": each.bound,
                    "against": each.against,
                    "at_least": each.at_least,
                    "title": each.title,
                }
                for each in self.goals
            ],
            "measured": [
                {"case": each.case, "peer": each.peer, "figures": dict(each.figures)} for each in self.measured
            ],
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The same again."""
        return cls(
            data["title"],
            data["date"],
            data["quick"],
            [Goal(**each) for each in data["goals"]],
            [Measured(**each) for each in data["measured"]],
            data["left_out"],
        )


@dataclass(slots=True)
class Results:
    """One run, or several put together."""

    machine: dict[str, Any]
    versions: dict[str, str]
    """Of the peers."""
    caches: list[str]
    """Those among them that are rivals."""
    absent: dict[str, list[str]]
    """Peers that are not installed, each with the programs that are missing."""
    scenarios: dict[str, Result] = field(default_factory=dict)

    def verdicts(self, name: str) -> list[Verdict]:
        """Of one scenario."""
        result = self.scenarios[name]
        return judge(result.goals, result.measured, self.caches)

    def save(self, path: Path, *, fresh: bool = False) -> None:
        """Write; scenarios that are in the file and were not measured now stay there, unless it is to be `fresh`."""
        if path.exists() and not fresh:
            earlier = type(self).load(path).scenarios
            self.scenarios = {**earlier, **self.scenarios}
        document = {
            "machine": self.machine,
            "versions": self.versions,
            "caches": self.caches,
            "absent": self.absent,
            "scenarios": {name: each.as_json() for name, each in self.scenarios.items()},
        }
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        data = json.loads(path.read_text())
        scenarios = {name: Result.from_json(each) for name, each in data["scenarios"].items()}
        return cls(data["machine"], data["versions"], data["caches"], data["absent"], scenarios)
