"""Recording what clients ask for, and warming from it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from rangecache.jobs import record
from rangecache.jobs.record import NotingReader
from rangecache.trace import TracedRead, read_trace
from tests.edge.admin import Admin, admin_of
from tests.edge.rig import BLOCK, HurriedClock, Rig, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATA = os.urandom(20 * BLOCK + 7)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running() as made:
        yield made


@pytest.fixture
async def admin(rig: Rig) -> AsyncIterator[Admin]:
    async with admin_of(rig.admin_port) as made:
        yield made


async def trace_of(admin: Admin, job: str) -> list[TracedRead]:
    """The whole trace of a recording that has ended or will end."""
    async with admin.session.get(f"{admin.base}jobs/{job}/trace") as answer:
        assert answer.status == 200
        return list(read_trace((await answer.text()).splitlines(), "the trace"))


async def recording(rig: Rig) -> None:
    await until(lambda: isinstance(rig.program.port.reader, NotingReader))


async def test_every_answered_range_is_noted_hits_too_and_nothing_else(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    rig.origin.put("b/a key, quoted", DATA)
    await rig.get("x")  # before the recording
    job = await admin.start("record")
    await recording(rig)
    reading = asyncio.create_task(trace_of(admin, job))
    await rig.get("x", "Range: bytes=10-19")
    await rig.get("x", "Range: bytes=-7")
    await rig.get("a%20key%2C%20quoted")
    await rig.get("x", "Range: bytes=0-0,5-6")
    await rig.get("x", method="HEAD")
    assert (await rig.get("gone")).status == 404
    assert (await rig.get("x", "Range: bytes=900000-")).status == 416
    assert (await rig.get("x", f"If-None-Match: {(await rig.get('x', method='HEAD')).headers['etag']}")).status == 304
    document = await admin.cancel(job)
    assert document["state"] == "done"
    reads = await reading
    size = len(DATA)
    assert [(read.object, read.offset, read.length) for read in reads] == [
        ("web/b/x", 10, 10),
        ("web/b/x", size - 7, 7),
        ("web/b/a key, quoted", 0, size),
        ("web/b/x", 0, 1),
        ("web/b/x", 5, 2),
    ]
    times = [read.time_s for read in reads]
    assert times == sorted(times)
    assert document["progress"] == {"reads": 5, "bytes": 20 + size, "lost": 0}


async def test_nothing_is_in_the_way_when_nobody_records(rig: Rig, admin: Admin) -> None:
    assert rig.program.port.reader is rig.program.reader
    jobs = [await admin.start("record") for _ in range(2)]
    await recording(rig)
    await admin.cancel(jobs[0])
    assert isinstance(rig.program.port.reader, NotingReader)
    await admin.cancel(jobs[1])
    assert rig.program.port.reader is rig.program.reader


async def test_what_does_not_fit_is_lost_and_counted(rig: Rig, admin: Admin, monkeypatch) -> None:
    monkeypatch.setattr(record, "QUEUE_READS", 3)
    rig.origin.put("b/x", DATA)
    job = await admin.start("record")
    await recording(rig)
    for _ in range(5):
        await rig.get("x", "Range: bytes=0-9")
    document = await admin.cancel(job)
    assert document["progress"] == {"reads": 5, "bytes": 50, "lost": 2}
    assert len(await trace_of(admin, job)) == 3


async def test_a_recording_ends_after_its_time_and_one_that_nobody_reads_does_too() -> None:
    async with running(clock=HurriedClock(200)) as rig, admin_of(rig.admin_port) as admin:
        job = await admin.ended(await admin.start("record", **{"for": "30s"}))
        assert (job["state"], job["error"]) == ("done", None)
        job = await admin.ended(await admin.start("record", **{"for": "1h"}))
        assert job["state"] == "failed"
        assert "nobody has read" in job["error"]
        assert rig.program.port.reader is rig.program.reader


async def test_a_reader_who_leaves_is_noticed_and_another_may_go_on(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    job = await admin.start("record")
    await recording(rig)
    async with admin.session.get(f"{admin.base}jobs/{job}/trace") as answer:
        await rig.get("x", "Range: bytes=0-9")
        assert (await answer.content.readline()).startswith(b"time_s")
        status, document = await admin.ask("GET", f"jobs/{job}/trace")
        assert (status, "already" in document["detail"]) == (400, True)
    await until(lambda: not rig.program.jobs.find(job).progress._is_read)  # type: ignore[attr-defined]
    await rig.get("x", "Range: bytes=20-29")
    await admin.cancel(job)
    assert [(read.offset, read.length) for read in await trace_of(admin, job)] == [(20, 10)]


async def test_a_queued_recording_that_is_cancelled_ends_its_trace(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    rig.origin.hold("b/x", times=None)
    warming = [await admin.start("warm", objects=["web/b/x"]) for _ in range(4)]
    job = await admin.start("record")
    reading = asyncio.create_task(trace_of(admin, job))
    await until(lambda: rig.program.jobs.find(job).progress._is_read)  # type: ignore[attr-defined]
    assert (await admin.cancel(job))["state"] == "cancelled"
    assert await reading == []
    for each in warming:
        await admin.cancel(each)


async def test_what_is_no_recording_has_no_trace(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    job = await admin.start("warm", objects=["web/b/x"])
    assert (await admin.ask("GET", f"jobs/{job}/trace"))[0] == 400
    assert (await admin.refused("record", **{"for": "long"}))[0] == 400
