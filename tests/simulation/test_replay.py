"""A replay by hand: small enough to be counted on paper."""

from __future__ import annotations

import pytest

from rangecache.errors import InvalidTrace
from rangecache.simulation import replay as replay_module
from rangecache.simulation.generate import KINDS, Shape, generate
from rangecache.simulation.policies import POLICIES
from rangecache.simulation.prices import GB_BYTES, Prices
from rangecache.simulation.replay import BlockTrace, Outcome, replay, without_cache
from rangecache.trace import TracedRead

BLOCK = 100


def trace_of(*reads: tuple[str, int, int]) -> BlockTrace:
    return BlockTrace((TracedRead(0.0, f"s3/b/{name}", offset, length) for name, offset, length in reads), BLOCK)


def test_reads_become_blocks_and_the_last_one_ends_with_the_object() -> None:
    trace = trace_of(("k", 50, 200), ("k", 0, 10), ("other", 310, 5))
    assert trace.reads == 3
    assert trace.objects == 2
    assert list(trace.blocks) == [0, 1, 2, 3, 4] or list(trace.blocks) == [0, 1, 2, 0, 3]
    assert trace.wanted_bytes == 215
    assert trace.footprint_bytes == 100 + 100 + 50 + 15


def test_neighbours_that_are_missing_are_one_request() -> None:
    """The third block was there, so the second read needs two requests of one block each."""
    trace = trace_of(("k", 200, 100), ("k", 0, 500), ("k", 0, 500))
    outcome = replay(trace, POLICIES["lru"](trace.blocks), 10_000, run_blocks=8)
    assert outcome == Outcome(
        reads=3, hits=1, partial=1, wanted_bytes=1100, hit_bytes=600, origin_requests=3, origin_bytes=500
    )


def test_a_request_is_no_longer_than_it_may_be() -> None:
    trace = trace_of(("k", 0, 500))
    assert replay(trace, POLICIES["lru"](trace.blocks), 10_000, run_blocks=2).origin_requests == 3


def test_what_does_not_fit_is_fetched_again() -> None:
    trace = trace_of(("k", 0, 300), ("k", 0, 300))
    outcome = replay(trace, POLICIES["lru"](trace.blocks), 200, run_blocks=8)
    assert (outcome.hits, outcome.origin_bytes) == (0, 600)


def test_lfu_keeps_what_is_used_often() -> None:
    often, once = ("often", 0, 100), [(f"once{number}", 0, 100) for number in range(5)]
    trace = trace_of(often, often, often, *once, often)
    for policy, hits in (("lfu", 3), ("lru", 2), ("belady", 3)):
        assert replay(trace, POLICIES[policy](trace.blocks), 200, run_blocks=8).hits == hits, policy


def test_without_a_cache_the_origin_sees_what_clients_ask() -> None:
    outcome = without_cache(trace_of(("k", 0, 500), ("k", 0, 500)))
    assert (outcome.origin_requests, outcome.origin_bytes, outcome.hit_ratio) == (2, 1000, 0.0)


def test_money_is_requests_and_gigabytes() -> None:
    outcome = Outcome(1, 0, 0, 0, 0, origin_requests=2000, origin_bytes=3 * GB_BYTES)
    assert Prices(per_1000_requests=0.5, per_gb=0.1).cost(outcome) == pytest.approx(1.3)


def test_a_trace_that_memory_could_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "ACCESSES_MAX", 4)
    with pytest.raises(InvalidTrace, match="after 1 reads"):
        trace_of(("k", 0, 300), ("k", 0, 300))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_trace_and_its_reads_lie_in_the_objects(kind: str) -> None:
    shape = Shape(reads=2000, objects=8)
    trace = list(generate(kind, shape))
    assert trace == list(generate(kind, shape))
    assert len(trace) == 2000
    assert all(read.length > 0 and read.offset + read.length <= shape.object_bytes for read in trace)
    if kind != "loop":
        assert trace != list(generate(kind, Shape(reads=2000, objects=8, seed=2)))
