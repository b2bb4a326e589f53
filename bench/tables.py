"""Markdown tables of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.figures import FIGURES, US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.figures import Measured, Verdict
    from bench.results import Results

_WORDS: Final = {True: "yes", False: "**no**", None: "?"}
NONE: Final = "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """One of Markdown, its columns as wide as they have to be so that it reads well as it is."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def goal_table(results: Results) -> str:
    """All goals: what was measured, the other side's figure, and whether it is reached."""
    rows = []
    for name, result in results.scenarios.items():
        rows += [(each.goal.title or result.title, *_cells(each)) for each in results.verdicts(name)]
    return table(("case", "goal", US, "the other side", "ratio", "reached"), rows)


def _cells(verdict: Verdict) -> tuple[str, str, str, str, str]:
    figure = FIGURES[verdict.goal.figure]
    ours = NONE if verdict.ours is None else figure.text(verdict.ours)
    theirs = NONE
    if verdict.theirs is not None:
        theirs = f"{verdict.other}: {figure.text(verdict.theirs)}"
    ratio = NONE if verdict.ratio is None else f"{verdict.ratio:.2f}"
    return f"{figure.title} {verdict.goal.text}", ours, theirs, ratio, _WORDS[verdict.reached]


def figure_tables(measured: Sequence[Measured]) -> str:
    """All figures of one scenario: a table a case, a line a peer, a column a figure."""
    parts = []
    cases = list(dict.fromkeys(each.case for each in measured))
    for case in cases:
        lines = [each for each in measured if each.case == case]
        names = [name for name in FIGURES if any(name in each.figures for each in lines)]
        head = (case, *(FIGURES[name].title for name in names))
        rows = [
            (each.peer, *(FIGURES[name].text(each.figures[name]) if name in each.figures else NONE for name in names))
            for each in lines
        ]
        parts.append(table(head, rows))
    return "\n\n".join(parts)
