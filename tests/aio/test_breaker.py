"""The breaker by itself: when it opens, for how long, and who may ask first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from rangecache.aio.breaker import (
    FAILURES_MAX,
    JITTER,
    OPEN_MAX_S,
    OPEN_S,
    SAMPLES_MIN,
    WINDOW_S,
    Breaker,
    Pass,
)
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Hashable


class Rig:
    """A breaker, its clock, and who asks one after the other."""

    def __init__(self, luck: float = 0.5) -> None:
        self.clock = ManualClock()
        self.breaker = Breaker(self.clock, lambda: luck)

    def enter(self) -> Pass:
        leave = self.breaker.admit()
        assert leave is not None
        return leave

    def fail(self, times: int = 1, subject: Hashable = None) -> None:
        for _ in range(times):
            self.breaker.failed(self.enter(), "no connection", subject)

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.succeeded(self.enter())


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_opens_at_the_fifth_failure_in_a_row_and_says_why(rig: Rig) -> None:
    rig.fail(4)
    assert (rig.breaker.state, rig.breaker.reason, rig.breaker.retry_after_s) == ("closed", "", 0)
    rig.fail()
    assert (rig.breaker.state, rig.breaker.reason) == ("open", "no connection")
    assert rig.breaker.retry_after_s == pytest.approx(30)
    assert rig.breaker.admit() is None


def test_a_success_ends_the_row(rig: Rig) -> None:
    rig.fail(4)
    rig.succeed()
    rig.fail(4)
    assert rig.breaker.state == "closed"


def test_it_opens_when_less_than_half_of_twenty_go_well_within_half_a_minute(rig: Rig) -> None:
    for _ in range(9):
        rig.fail()
        rig.succeed()
    rig.fail()
    assert rig.breaker.state == "closed"  # 10 of 19 failed, which is not enough to say
    rig.fail()
    assert rig.breaker.state == "open"


def test_half_of_it_going_well_is_enough(rig: Rig) -> None:
    for _ in range(100):
        rig.succeed()
        rig.fail()
    assert rig.breaker.state == "closed"


def test_what_is_long_ago_does_not_count(rig: Rig) -> None:
    for _ in range(5):
        rig.fail(3)
        rig.succeed()  # 19 with the last row, 3 in 4 of them failed
        rig.clock.shift(WINDOW_S / 4)
    assert rig.breaker.state == "closed"


def test_failures_of_what_was_under_way_when_the_first_came_count_as_one(rig: Rig) -> None:
    crowd = [rig.enter() for _ in range(19)]
    rig.clock.shift(0.01)
    for leave in crowd:
        rig.breaker.failed(leave, "reset")
    assert rig.breaker.state == "closed"
    rig.fail(3)
    assert rig.breaker.state == "closed"
    rig.fail()
    assert rig.breaker.state == "open"


def test_slow_failures_of_a_dead_endpoint_open_it_within_some_seconds(rig: Rig) -> None:
    """Ten are asked each second and fail ten seconds later: many in each second, but one trouble after the other."""
    asked = [rig.enter()]
    for _ in range(200):
        rig.clock.shift(0.1)
        if (leave := rig.breaker.admit()) is None:
            break
        asked.append(leave)
        if len(asked) > 100:
            rig.breaker.failed(asked[-101], "took too long")
    assert rig.breaker.state == "open"
    assert len(asked) <= 100 + 51


def test_slow_failures_are_no_row_where_others_were_answered_meanwhile(rig: Rig) -> None:
    slow = [rig.enter() for _ in range(15)]
    rig.clock.shift(10)
    rig.succeed()
    for leave in slow:
        rig.breaker.failed(leave, "took too long")
        rig.clock.shift(0.001)
    assert rig.breaker.state == "closed"


@pytest.mark.parametrize(("subjects", "state"), [(1, "closed"), (2, "closed"), (3, "open"), (50, "open")])
def test_fewer_than_three_objects_may_have_themselves_to_blame(rig: Rig, subjects: int, state: str) -> None:
    for number in range(SAMPLES_MIN * 3):
        if (leave := rig.breaker.admit()) is not None:
            rig.breaker.failed(leave, "500", number % subjects)
    assert rig.breaker.state == state


def test_it_stays_open_longer_after_each_probe_that_fails_up_to_five_minutes(rig: Rig) -> None:
    rig.fail(FAILURES_MAX)
    lengths = []
    for _ in range(12):
        lengths.append(round(rig.breaker.retry_after_s))
        rig.clock.shift(rig.breaker.retry_after_s)
        rig.fail()
    assert lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


@pytest.mark.parametrize(("luck", "length_s"), [(0.0, 27), (0.5, 30), (1.0, 33)])
def test_the_pause_is_a_tenth_more_or_less(luck: float, length_s: float) -> None:
    rig = Rig(luck)
    rig.fail(FAILURES_MAX)
    assert rig.breaker.retry_after_s == pytest.approx(length_s)


def test_one_probe_at_a_time_and_its_success_closes(rig: Rig) -> None:
    rig.fail(FAILURES_MAX)
    rig.clock.shift(rig.breaker.retry_after_s)
    assert (rig.breaker.state, rig.breaker.retry_after_s) == ("half_open", 0)
    probe = rig.enter()
    assert rig.breaker.admit() is None
    assert rig.breaker.retry_after_s > 0
    rig.breaker.succeeded(probe)
    assert (rig.breaker.state, rig.breaker.reason) == ("closed", "")
    rig.fail(FAILURES_MAX - 1)
    assert rig.breaker.state == "closed"


def test_a_probe_that_was_given_up_makes_room_for_the_next(rig: Rig) -> None:
    rig.fail(FAILURES_MAX)
    rig.clock.shift(rig.breaker.retry_after_s)
    rig.breaker.dropped(rig.enter())
    rig.succeed()
    assert rig.breaker.state == "closed"


def test_what_was_asked_before_it_opened_says_nothing_afterwards(rig: Rig) -> None:
    early, late = rig.enter(), rig.enter()
    rig.fail(FAILURES_MAX)
    before_s = rig.breaker.retry_after_s
    rig.breaker.succeeded(early)
    rig.breaker.failed(late, "slow")
    assert (rig.breaker.state, rig.breaker.reason, rig.breaker.retry_after_s) == ("open", "no connection", before_s)


class Machine(RuleBasedStateMachine):
    """Whatever happens: one probe at a time, none before its time, and no pause beyond the bounds."""

    asking = Bundle("asking")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.luck = 0.5
        self.breaker = Breaker(self.clock, lambda: self.luck)
        self.probes = set[Pass]()

    @rule(target=asking)
    def admit(self) -> Pass | None:
        state = self.breaker.state
        leave = self.breaker.admit()
        assert (leave is None) <= (state != "closed")
        if leave is not None and leave.probe:
            assert state == "half_open"
            assert not self.probes
            self.probes.add(leave)
        return leave

    @rule(leave=consumes(asking))
    def succeed(self, leave: Pass | None) -> None:
        if leave is not None:
            self.breaker.succeeded(leave)
            if leave in self.probes:
                assert self.breaker.state == "closed"
                self.probes.clear()

    @rule(leave=consumes(asking), subject=st.sampled_from([None, 1, 2, 3]))
    def fail(self, leave: Pass | None, subject: int | None) -> None:
        if leave is not None:
            self.breaker.failed(leave, "why", subject)
            if leave in self.probes:
                assert self.breaker.state == "open"
                self.probes.clear()

    @rule(leave=consumes(asking))
    def drop(self, leave: Pass | None) -> None:
        if leave is not None:
            self.breaker.dropped(leave)
            self.probes.discard(leave)

    @rule(seconds=st.floats(0, 400), luck=st.floats(0, 1))
    def wait(self, seconds: float, luck: float) -> None:
        self.clock.shift(seconds)
        self.luck = luck

    @invariant()
    def is_bounded(self) -> None:
        assert 0 <= self.breaker.retry_after_s <= OPEN_MAX_S * (1 + JITTER)
        assert (self.breaker.state == "closed") == (self.breaker.reason == "")
        assert len(self.breaker._slots) <= WINDOW_S / 3 + 2


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40)
assert OPEN_S < OPEN_MAX_S
