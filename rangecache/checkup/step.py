"""What a check-up finds: named steps, and a word for all of them together. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Result = Literal["ok", "warning", "failed", "skipped"]
Verdict = Literal["ok", "warning", "failed"]
Figure = int | float | str | bool | None

_GRAVITY: Final[Mapping[Result, int]] = {"skipped": 0, "ok": 0, "warning": 1, "failed": 2}
_VERDICTS: Final[tuple[Verdict, ...]] = ("ok", "warning", "failed")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    of: str
    """Which host, bucket or replica; empty where there is only one."""
    result: Result
    said: str
    """What was found and, where it is not well, what to do. Never a secret."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """The same for machines: names end in their unit."""

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "of": self.of,
            "result": self.result,
            "said": self.said,
            "figures": {
                name: round(each, 3) if isinstance(each, float) else each for name, each in self.figures.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All that was tried with one provider."""

    name: str
    kind: str
    steps: Sequence[Step]

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "result": verdict(self.steps),
            "steps": [each.document() for each in self.steps],
        }


def verdict(steps: Iterable[Step]) -> Verdict:
    """The gravest of their results. What was skipped says nothing."""
    return _VERDICTS[max((_GRAVITY[each.result] for each in steps), default=0)]
