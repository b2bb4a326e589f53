"""Ratios, bounds and who is compared with whom."""

from __future__ import annotations

import pytest

from bench.figures import BEST, US, Goal, Measured, best_of, judge

CASE = "warm"


def measured(**cpu_us: float) -> list[Measured]:
    names = {"us": US, "nginx": "nginx slice", "varnish": "Varnish", "file": "nginx, a plain file"}
    return [Measured(CASE, names[peer], {"cpu_us_per_request": value}) for peer, value in cpu_us.items()]


CACHES = [US, "nginx slice", "Varnish"]


def test_the_best_peer_is_the_cheapest_cache_other_than_us() -> None:
    goal = Goal(CASE, "cpu_us_per_request", 0.8, against=BEST)
    (verdict,) = judge([goal], measured(us=15, nginx=20, varnish=25, file=5), CACHES)
    assert (verdict.other, verdict.theirs, verdict.ratio) == ("nginx slice", 20, 0.75)
    assert verdict.reached is True


def test_the_best_peer_in_what_should_be_much_is_the_one_who_has_most() -> None:
    goal = Goal(CASE, "requests_per_s", 1.0, against=BEST, at_least=True)
    figures = [Measured(CASE, peer, {"requests_per_s": each}) for peer, each in zip(CACHES, (30, 20, 40), strict=True)]
    (verdict,) = judge([goal], figures, CACHES)
    assert (verdict.other, verdict.reached) == ("Varnish", False)


@pytest.mark.parametrize(("ours", "reached"), [(16.0, True), (16.1, False)])
def test_a_bound_of_a_ratio_is_reached_up_to_the_bound_itself(ours: float, reached: bool) -> None:
    goal = Goal(CASE, "cpu_us_per_request", 0.8, against="nginx slice")
    (verdict,) = judge([goal], measured(us=ours, nginx=20, varnish=1), CACHES)
    assert verdict.reached is reached


def test_a_bound_without_another_side_is_absolute() -> None:
    goal = Goal(CASE, "origin_requests", 1)
    (verdict,) = judge([goal], [Measured(CASE, US, {"origin_requests": 1})], CACHES)
    assert (verdict.other, verdict.ratio) == (None, None)
    assert verdict.reached is True
    assert goal.text == "≤ 1"


def test_the_best_peer_is_shown_beside_an_absolute_bound_and_does_not_move_it() -> None:
    goal = Goal(CASE, "cpu_us_per_request", 16)
    (verdict,) = judge([goal], measured(us=15, nginx=10, varnish=12), CACHES)
    assert (verdict.other, verdict.theirs, verdict.reached) == ("nginx slice", 10, True)


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    goal = Goal(CASE, "cpu_us_per_request", 0.8, against=BEST)
    assert judge([goal], measured(us=15), CACHES)[0].reached is None
    assert judge([goal], measured(nginx=15), CACHES)[0].reached is None


def test_of_several_rounds_the_least_time_and_the_most_requests_count() -> None:
    rounds = [
        {"cpu_us_per_request": 20.0, "requests_per_s": 100.0, "p99_ms": 3.0},
        {"cpu_us_per_request": 22.0, "requests_per_s": 120.0, "p99_ms": 2.0},
    ]
    assert best_of(CASE, US, rounds).figures == {"cpu_us_per_request": 20.0, "requests_per_s": 120.0, "p99_ms": 2.0}
