"""Does a request cost the same where there is more of everything? The same load in several cases of growing size."""

from __future__ import annotations

from dataclasses import replace

from bench.figures import Goal, Measured

FLAT = 1.2
"""How much more than the cheapest case the dearest one may cost."""


def goals(title: str, cases: list[str]) -> list[Goal]:
    """That CPU a request is flat."""
    return [Goal(case, "of_best", FLAT, title=f"{title}, {case}") for case in cases]


def against_best(measured: list[Measured]) -> list[Measured]:
    """With the ratio of each case's CPU a request to that of the cheapest case of the same peer."""
    best: dict[str, float] = {}
    for each in measured:
        cost = each.figures["cpu_us_per_request"]
        best[each.peer] = min(best.get(each.peer, cost), cost)
    return [
        replace(each, figures={**each.figures, "of_best": each.figures["cpu_us_per_request"] / best[each.peer]})
        for each in measured
    ]
