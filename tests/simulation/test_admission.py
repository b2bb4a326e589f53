"""The cache's policy on generated traces, beside LRU: it must win where scans mix in, and lose nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from rangecache.simulation.generate import KINDS, Shape, generate
from rangecache.simulation.policies import POLICIES
from rangecache.simulation.replay import BlockTrace, Outcome, replay

if TYPE_CHECKING:
    from tests.proving import Proof

BLOCK_BYTES: Final = 256 * 1024
RUN_BLOCKS: Final = 32
SHARES: Final = (0.01, 0.1, 0.5)
POINT: Final = 0.01
CASES: Final = [(kind, share) for kind in KINDS for share in SHARES]


def outcomes(kind: str, share: float, shape: Shape, *names: str) -> list[Outcome]:
    """What each policy makes of a trace, in a cache of a share of all that is read."""
    trace = BlockTrace(generate(kind, shape, share), BLOCK_BYTES)
    limit_bytes = int(share * trace.footprint_bytes)
    return [replay(trace, POLICIES[name](trace.blocks), limit_bytes, RUN_BLOCKS) for name in names]


@pytest.mark.parametrize(("kind", "share"), CASES)
def test_it_is_never_more_than_two_points_below_lru(kind: str, share: float) -> None:
    ours, lru = outcomes(kind, share, Shape(reads=20_000), "rangecache", "lru")
    assert ours.hit_ratio >= lru.hit_ratio - 2 * POINT
    assert ours.byte_hit_ratio >= lru.byte_hit_ratio - 2 * POINT


@pytest.mark.parametrize("share", SHARES)
def test_it_is_far_above_lru_where_scans_mix_in(share: float) -> None:
    """In reads or in bytes. Where half of everything fits, scans are half of all reads and mostly hit, whatever the
    policy: there the reads differ by three points, and the bytes by nine."""
    ours, lru = outcomes("zipf-scans", share, Shape(reads=20_000), "rangecache", "lru")
    assert gain(ours, lru) >= 5 * POINT


def gain(ours: Outcome, other: Outcome) -> float:
    """The larger of what is gained in reads and in bytes."""
    return max(ours.hit_ratio - other.hit_ratio, ours.byte_hit_ratio - other.byte_hit_ratio)


@pytest.mark.prove
def test_it_holds_on_longer_traces_of_several_seeds(proof: Proof) -> None:
    worst, least_gain = 1.0, 1.0
    for seed in (1, 2, 3):
        for kind, share in CASES:
            ours, lru = outcomes(kind, share, Shape(reads=60_000, seed=seed), "rangecache", "lru")
            worst = min(worst, ours.hit_ratio - lru.hit_ratio, ours.byte_hit_ratio - lru.byte_hit_ratio)
            if kind == "zipf-scans":
                least_gain = min(least_gain, gain(ours, lru))
    proof.row(
        "What stays in the cache is never much worse chosen than by LRU, and better where scans mix in",
        f"{3 * len(CASES)} replays of 60,000 reads: at worst {worst * 100:+.1f} points;"
        f" with scans at least {least_gain * 100:+.1f}",
    )
    assert worst >= -2 * POINT
    assert least_gain >= 5 * POINT


def test_nothing_beats_what_knows_the_future() -> None:
    """Belady's optimum is one, as blocks are equally large."""
    every = outcomes("zipf", 0.1, Shape(reads=10_000), *POLICIES)
    belady = every[list(POLICIES).index("belady")]
    assert all(belady.hits >= each.hits for each in every)
    assert belady.hits > max(each.hits for each in every if each is not belady)
