"""Reading, overwriting, deleting, rolling back, evicting, purging, restarting, failing, killing, jumping: any order.

What is found is shrunk by Hypothesis; it is to be kept by name in `test_counterexamples.py`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proof.machine import STEPS, CacheMachine

if TYPE_CHECKING:
    from tests.proving import Proof

STEPS_EACH: Final = 50  # of one example
EXAMPLES: Final = 40
EXAMPLES_OF_A_PROOF: Final = 2_400
STEPS_OF_A_PROOF: Final = 100_000


def test_no_order_of_steps_gives_an_answer_that_the_model_forbids(proof: Proof) -> None:
    run_machine(EXAMPLES, proof, derandomize=True)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_steps(proof: Proof) -> None:
    assert run_machine(EXAMPLES_OF_A_PROOF, proof, derandomize=False) >= STEPS_OF_A_PROOF


def run_machine(examples: int, proof: Proof, *, derandomize: bool) -> int:
    """Let it run; how many steps it took."""
    STEPS.clear()
    logging.getLogger("rangecache").setLevel(logging.ERROR)  # files are damaged on purpose, thousands of times
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS_EACH,
        derandomize=derandomize,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        **({"database": None} if derandomize else {}),
    )
    try:
        run_state_machine_as_test(CacheMachine, settings=chosen)
    finally:
        logging.getLogger("rangecache").setLevel(logging.NOTSET)
    each = ", ".join(f"{count} {name}" for name, count in STEPS.most_common())
    proof.row(
        "every answer is one that the model of versions and freshness allows, whatever the order of steps",
        f"{STEPS.total()} steps in {examples} worlds ({each}): 0 forbidden answers, 0 leaks",
    )
    return STEPS.total()
