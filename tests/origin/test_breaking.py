"""An endpoint that does not answer is left alone, and nothing else with it. Counted at the origin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.budget import RetryBudget
from rangecache.errors import CircuitOpen, InvalidAnswer, NotFound, OriginError, PermissionDenied, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.breaking import ENDPOINTS_MAX, Breaking, endpoint_of
from rangecache.origin.memory import MemoryStore
from rangecache.origin.retry import Retrying
from rangecache.ranges import ByteRange
from rangecache.testing.faults import ContentRange, Cut, Fault, Reset, Stall, Status
from rangecache.testing.origin import Origin

from .conftest import BODY, REF
from .reading import read, watched

if TYPE_CHECKING:
    from rangecache.origin.providers.http import HttpDialect
    from rangecache.origin.web import WebStore
    from rangecache.testing.clock import ManualClock


@pytest.fixture
def breaking(store: WebStore, clock: ManualClock) -> Breaking:
    return Breaking(store, clock=clock, random=lambda: 0.5)


def other(number: int) -> ObjectRef:
    return ObjectRef("web", "bucket", f"object{number}")


async def ask(breaking: Breaking, times: int) -> list[type[Exception] | None]:
    """Ask for so many objects, one after the other: what became of each."""
    ends: list[type[Exception] | None] = []
    for number in range(times):
        try:
            await read(breaking, other(number))
            ends.append(None)
        except OriginError as error:
            ends.append(type(error))
    return ends


@pytest.mark.parametrize("fault", [Status(500), Status(502), Reset(None), Cut(0)], ids=str)
async def test_after_five_objects_without_an_answer_nothing_is_asked_for_half_a_minute(
    breaking: Breaking, origin: Origin, clock: ManualClock, fault: Fault
) -> None:
    for number in range(9):
        origin.put(f"object{number}", BODY)
    origin.fail(None, fault, times=None)
    assert (await ask(breaking, 9))[5:] == [CircuitOpen] * 4
    assert len(origin.requests) == 5
    (health,) = breaking.health()
    assert (health.breaker, health.endpoint) == ("open", origin.url.split("/")[2])
    assert health.reason
    origin.heal()
    clock.shift(29.9)
    with pytest.raises(CircuitOpen) as raised:
        await read(breaking, other(7))
    assert raised.value.retry_after_s == pytest.approx(0.1)
    clock.shift(0.1)
    assert (await read(breaking, other(7)))[2] == BODY
    assert [each.breaker for each in breaking.health()] == ["closed"]


async def test_it_is_written_down_once_that_an_endpoint_is_left_alone_and_once_that_it_answers_again(
    breaking: Breaking, origin: Origin, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    origin.put("object7", BODY)
    origin.fail(None, Status(500), times=None)
    await ask(breaking, 9)
    clock.shift(30)
    await ask(breaking, 9)  # one of them is a probe, which fails
    origin.heal()
    clock.shift(60)
    assert (await read(breaking, other(7)))[2] == BODY
    endpoint = origin.url.split("/")[2]
    assert [record.getMessage() for record in caplog.records] == [
        f"{endpoint} is not asked for another 30 s: the origin failed (500)",
        f"{endpoint} answers again",
    ]


async def test_a_refused_connection_may_be_of_one_object_only(breaking: Breaking, origin: Origin) -> None:
    await origin.stop()
    for _ in range(5):
        with pytest.raises(Unavailable) as raised:
            await breaking.head(REF)
        assert not isinstance(raised.value, CircuitOpen)
    with pytest.raises(CircuitOpen):
        await breaking.head(REF)
    assert breaking.retry_after_s(REF) == pytest.approx(30)


async def test_one_broken_object_closes_no_bucket(breaking: Breaking, origin: Origin) -> None:
    origin.fail("broken", Status(500), times=None)
    for _ in range(50):
        with pytest.raises(Unavailable):
            await read(breaking, ObjectRef("web", "bucket", "broken"))
    assert len(origin.requests) == 50
    assert (await read(breaking, REF))[2] == BODY


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(404), NotFound),
        (Status(403), PermissionDenied),
        (ContentRange(None), InvalidAnswer),
        (Status(429), Unavailable),
        (Status(503), Unavailable),
    ],
    ids=str,
)
async def test_answers_and_requests_to_slow_down_open_nothing(
    breaking: Breaking, origin: Origin, fault: Fault, error: type[OriginError]
) -> None:
    origin.fail(None, fault, times=None)
    for number in range(40):
        origin.put(f"object{number}", BODY)
        with pytest.raises(error):
            await read(breaking, other(number), ByteRange(0, 10))
    assert len(origin.requests) == 40


async def test_slow_answers_count_as_none(breaking: Breaking, origin: Origin, clock: ManualClock) -> None:
    origin.fail(None, Stall(0), times=None)
    for number in range(5):
        origin.put(f"object{number}", BODY)
        task = asyncio.create_task(read(breaking, other(number)))
        while not task.done():
            await clock.wait_for_sleepers()
            await clock.advance(11)
        assert isinstance(task.exception(), OriginError)
    assert [each.breaker for each in breaking.health()] == ["open"]


async def test_only_one_of_a_crowd_goes_ahead_as_a_probe(
    breaking: Breaking, origin: Origin, clock: ManualClock
) -> None:
    origin.fail(None, Status(500), times=5)
    await ask(breaking, 5)
    clock.shift(30)
    gate = origin.hold()
    origin.log.clear()
    readings = [asyncio.create_task(read(breaking, REF)) for _ in range(20)]
    await gate.reached()
    gate.release()
    results = await asyncio.gather(*readings, return_exceptions=True)
    assert len(origin.requests) == 1
    assert sum(isinstance(result, CircuitOpen) for result in results) == 19
    assert (await read(breaking, REF))[2] == BODY


async def test_a_probe_whose_reader_leaves_lets_the_next_one_try(
    breaking: Breaking, origin: Origin, clock: ManualClock
) -> None:
    origin.fail(None, Status(500), times=5)
    await ask(breaking, 5)
    clock.shift(30)
    gate = origin.hold()
    probe = asyncio.create_task(read(breaking, REF))
    await gate.reached()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert (await read(breaking, REF))[2] == BODY


async def test_a_probe_that_is_told_to_slow_down_has_found_somebody(
    breaking: Breaking, origin: Origin, clock: ManualClock
) -> None:
    origin.fail(None, Status(500), times=5)
    await ask(breaking, 5)
    clock.shift(30)
    origin.fail(None, Status(503))
    with pytest.raises(Unavailable):
        await read(breaking, REF)
    assert (await read(breaking, REF))[2] == BODY


async def test_a_dead_host_does_not_take_the_others_of_its_provider_along(
    breaking: Breaking, dialect: HttpDialect, origin: Origin
) -> None:
    async with Origin() as dead:
        dialect.add_bucket("dead", dead.url)
    gone = ObjectRef("web", "dead", "object")
    for _ in range(7):
        with pytest.raises(Unavailable):
            await breaking.head(gone)
    assert (await read(breaking, REF))[2] == BODY
    assert sorted(each.breaker for each in breaking.health()) == ["closed", "open"]


async def test_nothing_is_repeated_nor_paid_for_while_it_is_open(
    breaking: Breaking, origin: Origin, clock: ManualClock
) -> None:
    budget = RetryBudget(ratio=0, min_per_second=0, burst=100, clock=clock)
    retrying = Retrying(breaking, budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    await origin.stop()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await read(retrying, REF)  # three attempts, and the two that were left
    assert budget.balance == 100 - 4
    with pytest.raises(CircuitOpen, match="no connection to"):
        await read(retrying, REF)
    assert budget.balance == 100 - 4


async def test_the_endpoints_that_are_remembered_are_bounded(clock: ManualClock) -> None:
    class Many(MemoryStore):
        def source(self, ref: ObjectRef) -> str:
            return f"s3 aws {ref.bucket}"

    breaking = Breaking(Many(), clock=clock)
    for number in range(ENDPOINTS_MAX + 50):
        with pytest.raises(NotFound):
            await breaking.head(ObjectRef("s3", f"b{number}", "k"))
    assert len(list(breaking.health())) == ENDPOINTS_MAX


@pytest.mark.parametrize(
    ("source", "endpoint"),
    [
        ("https://example.org/data/", "example.org"),
        ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ("s3 http://127.0.0.1:9000 bucket", "127.0.0.1:9000"),
        ("s3 aws bucket", "s3 aws bucket"),
        ("file /data", "file /data"),
    ],
)
def test_an_endpoint_is_a_host_or_a_bucket_that_has_one_of_its_own(source: str, endpoint: str) -> None:
    assert endpoint_of(source) == endpoint


async def test_how_long_answers_take_to_begin_is_told(clock: ManualClock) -> None:
    delays_s = iter((0.1, 0.1, 0.2, 0.2))

    async def wait(_request: object) -> None:
        clock.shift(next(delays_s))

    memory = MemoryStore(before_answer=wait)
    memory.put(REF, BODY)
    breaking = watched(memory, clock)
    assert breaking.latency_s(REF) == 0
    for _ in range(2):
        await breaking.head(REF)
        await read(breaking, REF)
    (health,) = breaking.health()
    assert health.latency_s == pytest.approx(0.1 * 0.8 * 0.8 + 0.2 * 0.36) == breaking.latency_s(REF)
