"""Repeats: what a reader is spared, and what an origin is spared."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.aio.budget import RetryBudget
from rangecache.errors import (
    BodyCut,
    BudgetExhausted,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    StaleConnection,
    TransientError,
    Unavailable,
)
from rangecache.origin.base import GetResult
from rangecache.origin.retry import SKIP_BYTES_MAX, Retrying, pause_s
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import (
    Chunked,
    CloseWithoutAnswer,
    ContentRange,
    Cut,
    Fault,
    IgnoreRange,
    NoContentLength,
    NoValidators,
    Reset,
    ShortRange,
    Stall,
    Status,
)

from .conftest import BODY, REF
from .reading import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.web import WebStore
    from rangecache.telemetry import Metrics
    from rangecache.testing.origin import Origin

PART = ByteRange(10, 90)


# --- what the reader is spared ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Status(429), Status(500), Status(502), Status(503), Reset(None), CloseWithoutAnswer(), Reset(0), Cut(0)]
)
async def test_a_reader_sees_nothing_of_one_failed_opening(retrying: Retrying, origin: Origin, fault: Fault):
    origin.fail("object", fault)
    assert (await read(retrying, REF, PART))[2] == BODY[10:90]
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "faults",
    [
        (Cut(33),),
        (Reset(33),),
        (Chunked(), Cut(33)),
        (NoContentLength(), Cut(33)),
        (ShortRange(33),),
        (Chunked(), ShortRange(33)),
    ],
    ids=str,
)
async def test_a_body_that_breaks_off_goes_on_with_the_next_byte_under_the_same_pin(
    retrying: Retrying, origin: Origin, faults: tuple[Fault, ...]
):
    origin.fail("object", *faults)
    meta, range_, data = await read(retrying, REF, PART)
    assert (str(meta.e_tag), range_, data) == ('"v1"', PART, BODY[10:90])
    first, second = origin.requests
    assert (first.range, first.headers.get("if-match")) == ("bytes=10-89", None)
    assert second.headers["if-match"] == '"v1"'
    # A reset may overtake bytes that had been sent; then they are asked for again, and no others.
    start = int(second.range.removeprefix("bytes=").removesuffix("-89"))
    assert start == 43 or (isinstance(faults[0], Reset) and 10 <= start <= 43)


@pytest.mark.parametrize("range_", [None, SuffixRange(60)])
async def test_whole_objects_and_suffixes_are_resumed_too(
    retrying: Retrying, origin: Origin, range_: SuffixRange | None
):
    origin.fail("object", Cut(20))
    _, got, data = await read(retrying, REF, range_)
    assert data == BODY[got.start :]
    assert origin.requests[1].range == f"bytes={got.start + 20}-99"


async def test_a_body_may_break_off_twice(retrying: Retrying, origin: Origin):
    origin.fail("object", Cut(20))
    origin.fail("object", Cut(20))
    assert (await read(retrying, REF))[2] == BODY
    assert [request.range for request in origin.requests] == [None, "bytes=20-99", "bytes=40-99"]


async def test_a_body_that_lacks_only_its_last_chunk_is_complete(retrying: Retrying, origin: Origin):
    origin.fail("object", Chunked(), Cut(80))
    assert (await read(retrying, REF, PART))[2] == BODY[10:90]
    assert len(origin.requests) == 1


async def test_a_stalled_body_is_given_up_and_gone_on_with(retrying: Retrying, origin: Origin, clock: ManualClock):
    origin.fail("object", Stall(40))
    task = asyncio.create_task(read(retrying, REF))
    while not task.done():
        await clock.wait_for_sleepers()
        await clock.advance(11)
    assert (await task)[2] == BODY
    assert origin.requests[1].range == "bytes=40-99"


async def test_a_head_is_repeated(retrying: Retrying, origin: Origin):
    origin.fail("object", Status(503))
    await retrying.head(REF)
    assert [request.method for request in origin.requests] == ["HEAD", "HEAD"]


async def test_an_object_that_changes_in_the_middle_is_not_resumed(retrying: Retrying, origin: Origin):
    origin.fail("object", Cut(20))
    async with retrying.get(REF) as result:
        assert isinstance(result, GetResult)
        assert await anext(result.chunks) == BODY[:20]
        origin.put("object", bytes(100), etag='"v2"')
        with pytest.raises(GenerationGone):
            await anext(result.chunks)


async def test_a_body_without_a_validator_is_not_resumed(retrying: Retrying, origin: Origin):
    origin.fail("object", NoValidators(), Cut(20))
    with pytest.raises(BodyCut):
        await read(retrying, REF)
    assert len(origin.requests) == 1


async def test_an_origin_that_ignores_ranges_is_read_again_up_to_the_break(retrying: Retrying, origin: Origin):
    origin.fail("object", Cut(33))
    origin.fail("object", IgnoreRange())
    assert (await read(retrying, REF, PART))[2] == BODY[10:90]
    assert [request.status for request in origin.requests] == [206, 200]


async def test_skipping_is_bounded(retrying: Retrying, origin: Origin):
    size = SKIP_BYTES_MAX + 2_000_000
    origin.put("object", bytes(size), etag='"big"')
    origin.fail("object", Cut(SKIP_BYTES_MAX + 1_000_000))
    origin.fail("object", IgnoreRange())
    with pytest.raises(BodyCut):
        await read(retrying, REF)
    assert len(origin.requests) == 2


async def test_a_resumed_answer_is_distrusted_as_any_other(retrying: Retrying, origin: Origin):
    origin.fail("object", Cut(33))
    origin.fail("object", ContentRange("bytes 44-89/100"))
    with pytest.raises(InvalidAnswer):
        await read(retrying, REF, PART)


# --- what the origin is spared ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "error"), [(Status(500), Unavailable), (Cut(0), BodyCut), (Cut(5), BodyCut)])
async def test_an_origin_that_always_fails_is_asked_as_often_as_allowed(
    retrying: Retrying, origin: Origin, fault: Fault, error: type[OriginError]
):
    origin.fail("object", fault, times=None)
    with pytest.raises(error):
        await read(retrying, REF)
    assert len(origin.requests) == 3


async def test_a_dead_origin_sees_no_more_than_the_attempts_however_it_dies(retrying: Retrying, origin: Origin):
    origin.fail("object", CloseWithoutAnswer(), times=None)
    with pytest.raises(Unavailable):
        await read(retrying, REF)
    assert len(origin.requests) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Status(404), NotFound), (Status(403), PermissionDenied), (ContentRange(None), InvalidAnswer)],
)
async def test_answers_are_not_retried(retrying: Retrying, origin: Origin, fault: Fault, error: type[OriginError]):
    origin.fail("object", fault, times=None)
    with pytest.raises(error):
        await read(retrying, REF, PART)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("fault", [Status(503), Cut(5)])
async def test_prefetch_is_never_retried(retrying: Retrying, origin: Origin, budget: RetryBudget, fault: Fault):
    origin.fail("object", fault, times=None)
    with pytest.raises(TransientError):
        await read(retrying, REF, purpose="prefetch")
    assert len(origin.requests) == 1
    assert budget.balance == 100


async def test_an_empty_budget_stops_repeats_and_says_so(store: WebStore, origin: Origin, clock: ManualClock):
    budget = RetryBudget(ratio=0.1, min_per_second=0, burst=4, clock=clock)
    retrying = Retrying(store, budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    origin.fail("object", Status(503), times=None)
    errors = []
    for _ in range(10):
        with pytest.raises(OriginError) as raised:
            await read(retrying, REF)
        errors.append(raised.value)
    # 10 requests, the reserve of 4, and one more that the first requests paid for.
    assert len(origin.requests) in (14, 15)
    assert isinstance(errors[-1], BudgetExhausted)
    assert isinstance(errors[-1].__cause__, Unavailable)


async def test_many_readers_of_a_dead_origin_stay_within_the_ratio(store: WebStore, origin: Origin, clock: ManualClock):
    budget = RetryBudget(ratio=0.1, min_per_second=0, burst=0, clock=clock)
    retrying = Retrying(store, budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    origin.fail("object", Status(500), times=None)
    results = await asyncio.gather(*(read(retrying, REF) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(result, OriginError) for result in results)
    assert 200 < len(origin.requests) <= 220


async def test_repeats_are_counted_as_repeats(retrying: Retrying, origin: Origin, metrics: Metrics):
    origin.fail("object", Status(503))
    origin.fail("object", Cut(33))
    await read(retrying, REF, PART)
    counted = metrics.origin_requests
    assert counted.total(purpose="demand", outcome="throttled") == 1
    assert counted.total(purpose="retry", outcome="cut") == 1
    assert counted.total(purpose="retry", outcome="ok") == 1
    assert counted.total() == len(origin.requests) == 3
    assert metrics.origin_bytes.total() == 80


# --- stale connections --------------------------------------------------------------------------------------------


async def test_a_stale_connection_costs_nothing_once(retrying: Retrying, origin: Origin, budget: RetryBudget):
    await read(retrying, REF)
    origin.fail("object", CloseWithoutAnswer())
    await read(retrying, REF)
    assert budget.balance == 100
    assert [request.connection for request in origin.requests] == [1, 1, 2]


async def test_a_prefetch_may_reconnect_too(retrying: Retrying, origin: Origin):
    await read(retrying, REF)
    origin.fail("object", CloseWithoutAnswer())
    await read(retrying, REF, purpose="prefetch")
    assert len(origin.requests) == 3


async def test_a_second_stale_connection_in_a_row_is_a_repeat_as_any_other(clock: ManualClock):
    budget = RetryBudget(ratio=0, min_per_second=0, burst=10, clock=clock)
    store = Failing(StaleConnection("gone"))
    retrying = Retrying(store, budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    with pytest.raises(StaleConnection):
        await read(retrying, REF)
    assert (store.calls, budget.balance) == (4, 8)


# --- pauses -------------------------------------------------------------------------------------------------------


class Failing:
    """A store that fails at once, always."""

    def __init__(self, error: OriginError) -> None:
        self.error = error
        self.calls = 0
        self.called_at: list[float] = []
        self.clock = ManualClock()

    async def head(self, ref: ObjectRef, **_: object) -> ObjectMeta:
        self.calls += 1
        self.called_at.append(self.clock.monotonic())
        raise self.error

    @asynccontextmanager
    async def get(self, ref: ObjectRef, **_: object) -> AsyncIterator[GetResult]:
        await self.head(ref)
        yield  # type: ignore[misc]

    async def aclose(self) -> None: ...


async def pauses(error: TransientError, attempts: int, *, deadline_s: float = 300.0) -> list[float]:
    store = Failing(error)
    budget = RetryBudget(ratio=0, min_per_second=0, burst=100, clock=store.clock)
    wrapped: ObjectStore = store  # type: ignore[assignment]
    retrying = Retrying(
        wrapped, budget=budget, clock=store.clock, attempts=attempts, deadline_s=deadline_s, random=lambda: 0.5
    )
    task = asyncio.create_task(retrying.head(REF))
    while not task.done():
        await store.clock.advance(0.0125)
    with pytest.raises(TransientError):
        await task
    return [later - earlier for earlier, later in zip(store.called_at, store.called_at[1:], strict=False)]


async def test_pauses_double_from_a_twentieth_of_a_second():
    assert await pauses(Unavailable("no"), 4) == pytest.approx([0.025, 0.05, 0.1], abs=1e-6)


async def test_pauses_double_from_a_second_where_the_origin_asks_for_less():
    assert await pauses(Unavailable("no", throttled=True), 4) == pytest.approx([0.5, 1.0, 2.0], abs=1e-6)


async def test_no_repeat_begins_after_the_deadline():
    assert await pauses(Unavailable("no", throttled=True), 10, deadline_s=4) == pytest.approx([0.5, 1.0, 2.0], abs=1e-6)


def test_no_pause_is_longer_than_twenty_seconds():
    assert pause_s(Unavailable("no", throttled=True), 30, lambda: 1.0) == 20
    assert pause_s(Unavailable("no"), 3000, lambda: 1.0) == 20


@given(st.floats(0, 1e6), st.integers(1, 40), st.floats(0, 0.999), st.booleans())
def test_a_retry_after_moves_a_pause_by_five_seconds_at_most(wish_s: float, n: int, luck: float, throttled: bool):
    own_s = pause_s(Unavailable("no", throttled=throttled), n, lambda: luck)
    moved_s = pause_s(Unavailable("no", throttled=throttled, retry_after_s=wish_s), n, lambda: luck)
    assert own_s <= moved_s <= own_s + 5
    assert moved_s == wish_s or wish_s < own_s or wish_s > own_s + 5


async def test_cancelling_a_reader_in_a_pause_ends_it(store: WebStore, origin: Origin, budget: RetryBudget):
    clock = ManualClock()
    retrying = Retrying(store, budget=budget, clock=clock, attempts=3, random=lambda: 0.5)
    origin.fail("object", Status(503), times=None)
    task = asyncio.create_task(read(retrying, REF))
    await clock.wait_for_sleepers()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(origin.requests) == 1
