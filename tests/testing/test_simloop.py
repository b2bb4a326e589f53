"""The simulated loop: time that costs nothing, every order of things, and the same again for the same seed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from itertools import permutations

import pytest

from rangecache.testing.simloop import START_S, SimulatedClock, SimulatedLoop, Stuck, simulate


async def test_time_jumps_to_the_next_timer_and_no_further() -> None:
    async def scenario(loop: SimulatedLoop) -> list[float]:
        seen = []

        async def wait(delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            seen.append(loop.time() - START_S)

        await asyncio.gather(wait(86_400), wait(5), wait(0), wait(3_600))
        return seen

    assert await asyncio.to_thread(lambda: simulate(scenario, 1)[0]) == [0, 5, 3_600, 86_400]


def test_every_order_of_what_is_ready_comes_up() -> None:
    async def scenario(_: SimulatedLoop) -> tuple[int, ...]:
        order: list[int] = []

        async def arrive(number: int) -> None:
            order.append(number)

        await asyncio.gather(*map(arrive, range(3)))
        return tuple(order)

    assert {simulate(scenario, seed)[0] for seed in range(100)} == set(permutations(range(3)))


def test_callbacks_of_one_future_keep_their_order() -> None:
    async def scenario(loop: SimulatedLoop) -> list[int]:
        future, order = loop.create_future(), []
        for number in range(20):
            future.add_done_callback(lambda _, number=number: order.append(number))
        future.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return order

    assert all(simulate(scenario, seed)[0] == list(range(20)) for seed in range(20))


def test_a_wait_without_end_is_found_out() -> None:
    async def scenario(_: SimulatedLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="everybody waits"):
        simulate(scenario, 1)


def test_a_loop_without_end_is_found_out() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        loop._turns_max = 1000
        while True:
            await asyncio.sleep(1)

    with pytest.raises(Stuck, match="1000 turns"):
        simulate(scenario, 1)


def test_an_error_that_nobody_handled_is_the_scenarios() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        simulate(scenario, 1)


def test_tasks_that_are_left_are_an_error_and_so_the_seed_is_named() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        loop.kept = loop.create_task(asyncio.sleep(1), name="forgotten")

    with pytest.raises(AssertionError, match="forgotten") as caught:
        simulate(scenario, 77)
    assert "seed 77" in caught.value.__notes__[0]


def test_work_for_threads_is_done_in_the_loop_and_its_errors_come_back() -> None:
    async def scenario(_: SimulatedLoop) -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with pytest.raises(FileNotFoundError):
            await asyncio.to_thread(open, "/nowhere/at/all")

    simulate(scenario, 1)


def test_a_caller_who_leaves_may_or_may_not_be_too_late_to_stop_a_thread() -> None:
    async def scenario(_: SimulatedLoop) -> bool:
        done: list[int] = []
        task = asyncio.ensure_future(asyncio.to_thread(done.append, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(1)
        return bool(done)

    assert {simulate(scenario, seed)[0] for seed in range(40)} == {False, True}


def test_the_wall_clock_can_jump_without_the_other() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        before = clock.wall(), clock.monotonic()
        await clock.sleep(2)
        clock.wall_s -= 3600
        assert clock.monotonic() - before[1] == pytest.approx(2)
        assert clock.wall() - before[0] == pytest.approx(2 - 3600)

    simulate(scenario, 1)


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    """Neither the hashes of strings nor the addresses of objects may find their way into the order of things."""
    program = (
        "import json; from tests.proof.storm import weather\n"
        "print(json.dumps([weather(seed).trace for seed in range(30)]))"
    )
    traces = []
    for hash_seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "SIM_PADDING": "x" * int(hash_seed[:2])}
        out = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        traces.append(json.loads(out.stdout))
    assert traces[0] == traces[1] == traces[2]
    assert len(set(traces[0])) == 30
