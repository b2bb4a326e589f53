"""Credentials: fetched once however many ask, off the event loop, an outage remembered, nothing shown."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rangecache.errors import Unauthenticated
from rangecache.origin.credentials import Anonymous, CredentialsUnavailable, Grant, Static
from rangecache.origin.fetched import (
    FAILURE_PAUSE_MAX_S,
    FAILURE_PAUSE_S,
    FETCH_TIMEOUT_S,
    NOTHING_FOUND_S,
    RECHECK_S,
    Fetched,
    OnThread,
)
from rangecache.origin.observe import count_fetches
from rangecache.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.testing.clock import ManualClock


class Key(NamedTuple):
    """Its parts must show up nowhere."""

    id: str
    secret: str


FIRST = Key("AKIA1", "canary-1")
SECOND = Key("AKIA2", "canary-2")


class Source:
    """A blocking source that a test holds, fails and counts."""

    def __init__(self, *answers: Key | Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[bool] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.expires_at_s: float | None = None

    def fetch(self, renew: bool) -> Grant[Key] | None:
        self.calls.append(renew)
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.go.wait(10)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else Grant(answer, self.expires_at_s)


@pytest.fixture
async def made(clock: ManualClock) -> AsyncIterator:
    sources: list[Fetched[Key]] = []

    def make(source: Source, *, may_go_unsigned: bool = True) -> Fetched[Key]:
        sources.append(
            Fetched(
                OnThread(source.fetch),
                description="the test's keys",
                may_go_unsigned=may_go_unsigned,
                clock=clock,
                random=lambda: 0.5,
            )
        )
        return sources[-1]

    yield make
    for each in sources:
        await each.aclose()


async def entered(source: Source) -> None:
    assert await asyncio.to_thread(source.entered.wait, 10)


async def test_many_who_ask_at_once_cost_one_fetch_on_another_thread(made) -> None:
    source = Source(FIRST)
    credentials = made(source)
    found = await asyncio.gather(*(credentials.get() for _ in range(50)))
    assert set(found) == {FIRST}
    assert source.calls == [False]
    assert source.threads == {"credentials"}


async def test_the_loop_runs_on_while_a_fetch_blocks(made) -> None:
    source = Source(FIRST)
    source.go.clear()
    asking = asyncio.create_task(made(source).get())
    await entered(source)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    source.go.set()
    assert await asking == FIRST


async def test_one_who_gives_up_takes_nothing_from_the_others(made) -> None:
    source = Source(FIRST)
    source.go.clear()
    credentials = made(source)
    first = asyncio.create_task(credentials.get())
    await entered(source)
    second = asyncio.create_task(credentials.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.go.set()
    assert await second == FIRST
    assert source.calls == [False]


async def test_what_was_found_is_asked_for_again_in_the_background(made, clock: ManualClock) -> None:
    source = Source(FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S - 1)
    assert await credentials.get() == FIRST
    assert len(source.calls) == 1
    clock.shift(1)
    source.go.clear()
    assert await credentials.get() == FIRST, "a request waited though there were credentials"
    source.go.set()
    while await credentials.get() != SECOND:
        await asyncio.sleep(0)
    assert source.calls == [False, False]


async def test_a_failing_source_is_asked_every_ten_seconds_and_not_for_every_request(made, clock: ManualClock) -> None:
    source = Source(OSError("canary"), FIRST)
    credentials = made(source)
    for _ in range(20):
        assert await credentials.get() is None
        clock.shift(FAILURE_PAUSE_S / 20 - 0.01)
    assert len(source.calls) == 1
    clock.shift(1)
    assert await credentials.get() == FIRST


async def test_a_source_that_fails_later_leaves_the_credentials_that_were_found(made, clock: ManualClock) -> None:
    source = Source(FIRST, OSError("canary"))
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S)
    await credentials.get()
    while len(source.calls) < 2 or credentials._flight is not None:
        await asyncio.sleep(0)
    assert await credentials.get() == FIRST


async def test_nothing_found_is_remembered_for_a_minute(made, clock: ManualClock) -> None:
    source = Source(None, FIRST)
    credentials = made(source)
    assert await credentials.get() is None
    clock.shift(NOTHING_FOUND_S - 1)
    assert await credentials.get() is None
    assert len(source.calls) == 1
    clock.shift(1)
    assert await credentials.get() == FIRST


@pytest.mark.parametrize("answer", [None, OSError("canary"), CredentialsUnavailable("the file x is empty")])
async def test_credentials_asked_for_by_name_must_be_there(answer, made) -> None:
    credentials = made(Source(answer), may_go_unsigned=False)
    with pytest.raises(Unauthenticated, match="the test's keys cannot be used") as caught:
        await credentials.get()
    assert "canary" not in str(caught.value)


async def test_a_source_that_hangs_is_given_up_and_not_started_twice(made, clock: ManualClock) -> None:
    source = Source(FIRST)
    source.go.clear()
    credentials = made(source)
    asking = asyncio.create_task(credentials.get())
    await entered(source)
    await clock.advance(FETCH_TIMEOUT_S)
    assert await asking is None
    assert "nothing came within 30 s" in credentials.describe()
    clock.shift(FAILURE_PAUSE_S)
    again = asyncio.create_task(credentials.get())
    await clock.wait_for_sleepers()
    source.go.set()
    assert await again == FIRST
    assert source.calls == [False]


async def test_a_rejection_fetches_anew_once_for_all_who_were_rejected(made) -> None:
    source = Source(FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    assert await asyncio.gather(*(credentials.renew() for _ in range(20))) == [True] * 20
    assert await credentials.get() == SECOND
    assert source.calls == [False, True]


async def test_a_renewal_that_brings_the_same_is_none_and_is_not_repeated_at_once(made, clock: ManualClock) -> None:
    source = Source(FIRST, FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    assert [await credentials.renew() for _ in range(5)] == [False] * 5
    assert source.calls == [False, True]
    clock.shift(FAILURE_PAUSE_S)
    assert await credentials.renew()
    assert source.calls == [False, True, True]


async def test_a_renewal_does_not_trust_a_fetch_that_began_before_the_rejection(made, clock: ManualClock) -> None:
    source = Source(FIRST, FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S)
    source.go.clear()
    source.entered.clear()
    await credentials.get()
    await entered(source)
    renewals = [asyncio.create_task(credentials.renew()) for _ in range(2)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*renewals) == [True, True]
    assert source.calls == [False, False, True]


async def test_a_failure_names_its_kind_and_nothing_of_its_text(made, caplog: pytest.LogCaptureFixture) -> None:
    credentials = made(Source(RuntimeError("stderr of the process: canary")))
    with caplog.at_level(logging.DEBUG):
        assert await credentials.get() is None
    assert "RuntimeError" in credentials.describe()
    assert "RuntimeError" in caplog.text
    assert "canary" not in credentials.describe() + caplog.text + repr(credentials)


async def test_nothing_shows_the_secrets(made, caplog: pytest.LogCaptureFixture) -> None:
    credentials = made(Source(SECOND))
    with caplog.at_level(logging.DEBUG):
        await credentials.get()
    shown = repr(credentials) + credentials.describe() + repr(Static(SECOND, "a key")) + caplog.text
    assert "canary" not in shown
    assert "AKIA" not in shown


async def test_the_simple_sources_have_nothing_to_renew() -> None:
    assert await Anonymous().get() is None
    assert await Static(FIRST, "a key").get() == FIRST
    assert not await Anonymous().renew()
    assert not await Static(FIRST, "a key").renew()


async def test_what_expires_is_renewed_between_half_and_four_fifths_of_its_life(made, clock: ManualClock) -> None:
    source = Source(FIRST, SECOND)
    source.expires_at_s = clock.wall() + 1000
    credentials = made(source)
    assert await credentials.get() == FIRST
    clock.shift(649)
    assert await credentials.get() == FIRST
    assert len(source.calls) == 1
    clock.shift(1)  # 0.5 + 0.3 * 0.5
    source.expires_at_s += 1000
    while await credentials.get() != SECOND:
        await asyncio.sleep(0)
    assert len(source.calls) == 2


async def test_old_keys_are_used_until_they_expire_while_the_source_fails(made, clock: ManualClock) -> None:
    source = Source(FIRST, OSError("canary"))
    source.expires_at_s = clock.wall() + 1000
    credentials = made(source, may_go_unsigned=False)
    await credentials.get()
    asked = []
    for _ in range(998):
        clock.shift(1)
        assert await credentials.get() == FIRST
        await asyncio.sleep(0)
        while credentials._flight is not None:
            await asyncio.sleep(0)
        asked.append(len(source.calls))
    # From 650 s on: then after 10, 20, 40, 80, 160 s more.
    assert [count for count in range(2, 8) if count in asked] == [2, 3, 4, 5, 6, 7]
    assert asked[-1] == 7
    clock.shift(2)
    with pytest.raises(Unauthenticated, match="OSError"):
        await credentials.get()
    assert not credentials.signs


async def test_a_source_that_never_works_is_asked_every_five_minutes_in_the_end(made, clock: ManualClock) -> None:
    source = Source(OSError("canary"))
    credentials = made(source)
    for _ in range(20):
        await credentials.get()
        clock.shift(FAILURE_PAUSE_MAX_S)
    assert len(source.calls) == 20
    await credentials.get()
    clock.shift(FAILURE_PAUSE_MAX_S - 1)
    await credentials.get()
    assert len(source.calls) == 21


# --- how often a source is asked at most --------------------------------------------------------------------------


async def test_a_dead_source_is_asked_three_times_in_a_minute_whatever_the_load(made, clock: ManualClock) -> None:
    source = Source(OSError("canary"))
    credentials = made(source, may_go_unsigned=False)
    asked_at: list[float] = []
    for second in range(600):
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await credentials.get()
            assert not await credentials.renew()
        asked_at += [float(second)] * (len(source.calls) - len(asked_at))
        clock.shift(1)
    assert asked_at == [0, 10, 30, 70, 150, 310]


async def test_what_a_dead_source_gave_before_it_died_is_rejected_and_asked_for_no_more_often(
    made, clock: ManualClock
) -> None:
    source = Source(FIRST, OSError("canary"))
    credentials = made(source)
    await credentials.get()
    for _ in range(600):
        assert not any(await asyncio.gather(*(credentials.renew() for _ in range(5))))
        assert await credentials.get() == FIRST
        clock.shift(1)
    assert len(source.calls) == 1 + 6


async def test_a_rejected_key_is_fetched_anew_six_times_a_minute_at_most(made, clock: ManualClock) -> None:
    source = Source(FIRST)
    source.expires_at_s = clock.wall() + 36_000
    credentials = made(source)
    await credentials.get()
    for _ in range(60):
        await asyncio.gather(*(credentials.renew() for _ in range(20)))
        clock.shift(1)
    assert len(source.calls) == 1 + 6


async def test_what_has_expired_as_it_comes_is_a_failure_and_not_asked_for_again_at_once(made, clock) -> None:
    source = Source(FIRST)
    source.expires_at_s = clock.wall()
    credentials = made(source, may_go_unsigned=False)
    for _ in range(20):
        with pytest.raises(Unauthenticated, match="expired already; is the clock of this machine right"):
            await credentials.get()
    assert len(source.calls) == 1
    clock.shift(FAILURE_PAUSE_S)
    source.expires_at_s = clock.wall() + 1000
    assert await credentials.get() == FIRST


async def test_what_lives_for_an_instant_is_fetched_once_a_second(made, clock: ManualClock) -> None:
    source = Source(FIRST)
    credentials = made(source)
    for _ in range(50):
        source.expires_at_s = clock.wall() + 0.04
        await credentials.get()
        clock.shift(0.1)
    assert len(source.calls) == 5


async def test_each_fetch_is_counted_by_how_it_ended(made, clock: ManualClock) -> None:
    metrics = Metrics()
    source = Source(None, OSError("canary"), FIRST)
    credentials = made(source)
    credentials.watch(count_fetches(metrics, "s3"))
    for _ in range(3):
        await asyncio.gather(*(credentials.get() for _ in range(20)))
        clock.shift(NOTHING_FOUND_S)
    source.go.clear()
    assert await credentials.get() == FIRST
    await clock.advance(FETCH_TIMEOUT_S)
    while credentials._flight is not None:
        await asyncio.sleep(0)
    source.go.set()
    counted = metrics.credential_fetches
    assert [counted.cell("s3", each).value for each in ("none", "error", "ok", "timeout")] == [1, 1, 1, 1]
