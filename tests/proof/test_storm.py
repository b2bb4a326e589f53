"""The reader's core in thousands of orders of events. `SIM_SEED=17` runs that seed alone."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.storm import weather

if TYPE_CHECKING:
    from tests.proving import Proof

SEEDS: Final = 200
SEEDS_OF_A_PROOF: Final = 20_000


def test_no_order_of_events_mixes_versions_or_leaves_anything_behind(proof: Proof) -> None:
    run_seeds(range(SEEDS), proof)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_thousands_of_orders_of_events(proof: Proof) -> None:
    run_seeds(range(SEEDS, SEEDS + SEEDS_OF_A_PROOF), proof)


def run_seeds(seeds: range, proof: Proof) -> None:
    """All of them, or the one that is to be looked at."""
    chosen = [int(os.environ["SIM_SEED"])] if "SIM_SEED" in os.environ else seeds
    totals: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for seed in chosen:
        tally = weather(seed)
        for name in ("calm", "answers", "gets", "changes", "purges", "left"):
            totals[name] += getattr(tally, name)
        errors += tally.errors
    proof.row(
        "whatever the order of events: one version an answer, no wake-up lost, one GET a block, nothing left over",
        f"{len(chosen)} seeds of the shuffled loop ({totals['calm']} calm), {totals['answers']} answers right,"
        f" {totals['gets']} origin requests, {totals['changes']} writes, {totals['purges']} purges,"
        f" {totals['left']} readers cancelled,"
        f" {errors.total()} injected or told errors, 0 wrong",
    )
    if len(chosen) > 1:
        # It was a test of everything.
        assert min(totals.values()) > 0
        assert errors.keys() >= {"GenerationGone", "NotFound", "Unavailable", "PermissionDenied"}
