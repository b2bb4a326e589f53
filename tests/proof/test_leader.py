"""Who asked first has no say in what the others get: he may leave at any moment.

The crowd waits before the origin answers. Then the leader, or another, or everybody leaves at each of his awaits in
turn: while he waits, and in the very moment in which what he waits for is there.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.simloop import simulate
from tests.proof.crowd import DATA, Crowd, Moment

if TYPE_CHECKING:
    from rangecache.testing.simloop import SimulatedLoop
    from tests.proving import Proof

CROWD: Final = 1_000
SMALL_CROWD: Final = 60
AWAITS_MIN: Final = 6  # a read of several pieces stops that often at the least
MOMENTS: Final[tuple[Moment, ...]] = ("waiting", "waking")


def one_leaves(size: int, at: int, moment: Moment, *, who: int, known: bool, seed: int) -> int:
    """He leaves at his `at`-th await; how often he had to stop. One GET, and everybody else has the bytes."""

    async def scenario(loop: SimulatedLoop) -> int:
        crowd = Crowd(loop, size, known=known)
        got = await crowd.read(leaves_at=at, moment=moment, who=who)
        judge(crowd, got, who, known=known)
        return crowd.awaits

    return simulate(scenario, seed)[0]


def judge(crowd: Crowd, got: list[bytes | BaseException], who: int, *, known: bool) -> None:
    left = got.pop(who)
    assert left == DATA or isinstance(left, asyncio.CancelledError)
    assert all(each == DATA for each in got)
    assert crowd.cache.origin.request_count == 1 + known  # the first one was a HEAD, or a block
    crowd.check_nothing_is_left()


def all_awaits(size: int, seeds: range) -> tuple[int, int]:
    """How many runs there were, and how many awaits a leader has at the most."""
    ran = most = 0
    for known in (False, True):
        for who in (0, 1, size - 1):
            for moment in MOMENTS:
                for seed in seeds:
                    for at in count(1):
                        ran += 1
                        if one_leaves(size, at, moment, who=who, known=known, seed=seed) < at:
                            break  # he was served without stopping that often
                        most = max(most, at)
    assert most >= AWAITS_MIN
    return ran, most


def test_a_leader_who_leaves_at_any_await_takes_nobody_with_him(proof: Proof) -> None:
    ran, most = all_awaits(SMALL_CROWD // 3, range(1))
    proof.row("who leaves takes only himself away", f"{ran} runs, {most} awaits")


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_a_leader_of_a_thousand_leaves_at_every_await(proof: Proof) -> None:
    ran, most = all_awaits(CROWD, range(3))
    proof.row(
        f"a leader, or another of {CROWD:,} readers, is cancelled at every await: one GET, {CROWD - 1} right answers",
        f"{ran} runs (cold object and cold block; the first, the second, the last reader; waiting and waking; 3 seeds),"
        f" up to {most} awaits, 0 lost, 0 further GETs",
    )


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_a_leader_leaves_after_every_callback_of_the_loop(proof: Proof) -> None:
    ran = after_each_callback(SMALL_CROWD, step=1)
    proof.row(
        f"a leader of {SMALL_CROWD} is cancelled after every single callback of the loop: one GET, the others answered",
        f"{ran} moments, 0 lost, 0 further GETs",
    )


def test_a_leader_leaves_after_many_a_callback_of_the_loop() -> None:
    assert after_each_callback(10, step=3) > 10


def after_each_callback(size: int, step: int) -> int:
    """How many moments there were until the read was over."""

    async def scenario(loop: SimulatedLoop) -> bool:
        crowd = Crowd(loop, size, known=False)
        got = await crowd.read(after_callbacks=callbacks)
        finished = got[0] == DATA
        judge(crowd, got, 0, known=False)
        return finished

    callbacks = 1
    while not simulate(scenario, seed=callbacks)[0]:
        callbacks += step
    return (callbacks - 1) // step


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_when_all_have_left_the_origin_is_left_too_and_the_next_reader_is_served(known: bool, moment: Moment) -> None:
    awaits = next(at for at in count(1) if everybody_leaves(at, moment, known=known) < at) - 1
    assert awaits >= AWAITS_MIN


def everybody_leaves(at: int, moment: Moment, *, known: bool) -> int:
    async def scenario(loop: SimulatedLoop) -> int:
        crowd = Crowd(loop, SMALL_CROWD, known=known)
        got = await crowd.read(leaves_at=at, moment=moment, all_leave=True)
        assert all(each == DATA or isinstance(each, asyncio.CancelledError) for each in got)
        crowd.check_nothing_is_left()
        assert await crowd.cache.read() == DATA
        assert crowd.cache.origin.request_count <= 2 + known
        return crowd.awaits

    return simulate(scenario, seed=at)[0]
