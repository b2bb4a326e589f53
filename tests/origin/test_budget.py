"""The ledger for repeats."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rangecache.aio.budget import RetryBudget
from rangecache.testing.clock import ManualClock


def test_the_ledger_starts_with_the_burst_and_ends_empty():
    budget = RetryBudget(ratio=0.1, min_per_second=0, burst=3, clock=ManualClock())
    assert [budget.try_withdraw() for _ in range(5)] == [True, True, True, False, False]


def test_requests_pay_for_repeats_by_the_ratio():
    budget = RetryBudget(ratio=0.25, min_per_second=0, burst=0, clock=ManualClock())
    repeats = 0
    for _ in range(1000):
        budget.deposit()
        repeats += budget.try_withdraw()
    assert repeats == 250


def test_time_pays_for_repeats_of_a_quiet_program():
    clock = ManualClock()
    budget = RetryBudget(ratio=0, min_per_second=0.5, burst=2, clock=clock)
    while budget.try_withdraw():
        pass
    clock.shift(1.9)
    assert not budget.try_withdraw()
    clock.shift(0.1)
    assert budget.try_withdraw()


def test_a_good_day_does_not_pay_for_a_bad_week():
    clock = ManualClock()
    budget = RetryBudget(ratio=0.1, min_per_second=1, burst=5, clock=clock)
    for _ in range(10_000):
        budget.deposit()
    clock.shift(86_400)
    assert budget.balance == 5


def test_without_a_burst_a_repeat_can_still_be_saved_up():
    clock = ManualClock()
    budget = RetryBudget(ratio=0, min_per_second=1, burst=0, clock=clock)
    assert not budget.try_withdraw()
    clock.shift(1)
    assert budget.try_withdraw()


@given(
    ratio=st.floats(0, 1),
    min_per_second=st.floats(0, 10),
    burst=st.floats(0, 20),
    steps=st.lists(st.one_of(st.just("ask"), st.just("fail"), st.floats(0, 30)), max_size=200),
)
def test_requests_on_the_wire_stay_below_the_promise(
    ratio: float, min_per_second: float, burst: float, steps: list[str | float]
):
    """Every first attempt fails and every repeat that is allowed is made: the origin sees no more than was promised."""
    clock = ManualClock()
    budget = RetryBudget(ratio, min_per_second, burst, clock)
    asked, on_the_wire, elapsed_s = 0, 0, 0.0
    for step in steps:
        if step == "ask":
            asked += 1
            on_the_wire += 1
            budget.deposit()
        elif step == "fail":
            while budget.try_withdraw():
                on_the_wire += 1
        else:
            assert isinstance(step, float)
            clock.shift(step)
            elapsed_s += step
        promised = (1 + ratio) * asked + min_per_second * elapsed_s + burst
        assert on_the_wire <= promised + 1e-6
        assert 0 <= budget.balance <= max(burst, 1)


class Ledger(RuleBasedStateMachine):
    """The ledger against one that counts in whole thousandths, for figures where floats are exact enough."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.budget = RetryBudget(ratio=0.125, min_per_second=0.5, burst=4, clock=self.clock)
        self.thousandths = 4000

    @rule()
    def deposit(self) -> None:
        self.budget.deposit()
        self.thousandths = min(4000, self.thousandths + 125)

    @rule()
    def withdraw(self) -> None:
        allowed = self.budget.try_withdraw()
        assert allowed is (self.thousandths >= 1000)
        self.thousandths -= 1000 * allowed

    @rule(quarters=st.integers(0, 20))
    def wait(self, quarters: int) -> None:
        self.clock.shift(quarters / 4)
        self.thousandths = min(4000, self.thousandths + 125 * quarters)

    @invariant()
    def balances(self) -> None:
        assert math.isclose(self.budget.balance * 1000, self.thousandths)


TestLedger = Ledger.TestCase
