"""Every request on the wire is counted once, by what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import OriginError
from rangecache.origin.base import GetResult
from rangecache.origin.observe import Observed
from rangecache.ranges import ByteRange
from rangecache.testing.faults import ContentRange, Cut, Fault, Redirect, Reset, Stall, Status

from .conftest import BODY, REF
from .reading import meta_of, read

if TYPE_CHECKING:
    from rangecache.origin.web import WebStore
    from rangecache.telemetry import Metrics
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin


@pytest.fixture
def observed(store: WebStore, metrics: Metrics, clock: ManualClock) -> Observed:
    return Observed(store, metrics, clock, "web")


def outcomes(metrics: Metrics) -> dict[str, int]:
    family = metrics.origin_requests.family()
    return {sample.labels["outcome"]: int(sample.value) for sample in family.samples if sample.value}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Status(404), "not_found"),
        (Status(403), "error"),
        (Status(500), "error"),
        (Status(503), "throttled"),
        (Status(429), "throttled"),
        (ContentRange(None), "error"),
        (Reset(None), "error"),
        (Cut(3), "cut"),
    ],
)
async def test_a_failure_is_counted_for_what_it_is(
    observed: Observed, origin: Origin, metrics: Metrics, fault: Fault, outcome: str
):
    origin.fail("object", fault)
    with pytest.raises(OriginError):
        await read(observed, REF, ByteRange(0, 10))
    assert outcomes(metrics) == {outcome: 1}


async def test_good_answers_are_counted_with_their_bytes(observed: Observed, metrics: Metrics):
    meta = await meta_of(observed, REF)
    await read(observed, REF)
    await read(observed, REF, ByteRange(0, 10), purpose="prefetch")
    async with observed.get(REF, if_none_match=meta, purpose="revalidate"):
        pass
    await observed.head(REF, if_none_match=meta, purpose="revalidate")
    assert metrics.origin_requests.total(outcome="ok") == 3
    assert metrics.origin_requests.total(outcome="not_modified") == 2
    assert metrics.origin_requests.total(purpose="revalidate") == 2
    assert metrics.origin_bytes.total(purpose="demand") == 100
    assert metrics.origin_bytes.total(purpose="prefetch") == 10


async def test_a_changed_object_is_a_failed_precondition(observed: Observed, origin: Origin, metrics: Metrics):
    meta = await meta_of(observed, REF)
    origin.put("object", BODY, etag='"v2"')
    with pytest.raises(OriginError):
        await read(observed, REF, if_match=meta)
    assert metrics.origin_requests.total(outcome="precondition") == 1


async def test_leaving_early_is_no_fault_of_the_origin(observed: Observed, origin: Origin, metrics: Metrics):
    gate = origin.hold("object", after_bytes=30)
    async with observed.get(REF) as result:
        assert isinstance(result, GetResult)
        await anext(result.chunks)
    gate.release()
    assert outcomes(metrics) == {"cancelled": 1}
    assert metrics.origin_bytes.total() == 30


async def test_a_cancelled_reader_is_no_fault_of_the_origin(observed: Observed, origin: Origin, metrics: Metrics):
    for after_bytes in (None, 0, 30):
        gate = origin.hold("object", after_bytes=after_bytes)
        task = asyncio.create_task(read(observed, REF))
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.release()
    assert outcomes(metrics) == {"cancelled": 3}


async def test_an_error_of_the_caller_is_no_fault_of_the_origin(observed: Observed, metrics: Metrics):
    async def fail_after_reading() -> None:
        async with observed.get(REF) as result:
            assert isinstance(result, GetResult)
            assert b"".join([chunk async for chunk in result.chunks]) == BODY
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_reading()
    assert outcomes(metrics) == {"ok": 1}


async def test_a_timeout_is_counted_with_the_time_it_took(
    observed: Observed, origin: Origin, metrics: Metrics, clock: ManualClock
):
    origin.fail("object", Stall(None))
    task = asyncio.create_task(read(observed, REF))
    await clock.wait_for_sleepers()
    await clock.advance(30)
    with pytest.raises(OriginError):
        await task
    assert outcomes(metrics) == {"timeout": 1}
    assert metrics.origin_request_duration.cell("web").sum == pytest.approx(30)


async def test_detours_are_counted_as_requests(observed: Observed, origin: Origin, metrics: Metrics):
    origin.put("moved", BODY)
    origin.fail("object", Redirect("/moved"))
    await read(observed, REF)
    assert outcomes(metrics) == {"redirect": 1, "ok": 1}
    assert metrics.origin_requests.total() == len(origin.requests)
