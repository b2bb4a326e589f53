"""Warming through the admin port: the measure is the origin's own log."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.jobs import runner as runner_module
from rangecache.jobs.warm import OBJECTS_AT_ONCE, OUTAGE_OBJECTS
from rangecache.read.catalog_database import CatalogDatabase
from rangecache.read.selection import Selection
from rangecache.server.api import uploads
from rangecache.settings import TcpAddress
from rangecache.testing.faults import Status
from rangecache.wiring.program import Program
from tests.edge.admin import LINES, Admin, admin_of
from tests.edge.client import fetch
from tests.edge.rig import BLOCK, HurriedClock, Rig, running, until
from tests.emulators import PRIVATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.emulators import SeaweedFS

DATA = os.urandom(20 * BLOCK + 7)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running() as made:
        yield made


@pytest.fixture
async def admin(rig: Rig) -> AsyncIterator[Admin]:
    async with admin_of(rig.admin_port) as made:
        yield made


def asked_bytes(rig: Rig, key: str) -> int:
    """What the origin was asked for, as ranges."""
    total = 0
    for each in rig.asked(key):
        assert each is not None
        first, last = each.removeprefix("bytes=").split("-")
        total += min(int(last), len(DATA) - 1) + 1 - int(first) if first else int(last)
    return total


async def test_objects_are_warmed_and_then_read_without_the_origin(rig: Rig, admin: Admin) -> None:
    for key in ("x", "y", "a key"):
        rig.origin.put(f"b/{key}", DATA)
    names = ["web/b/x", f"http://127.0.0.1:{rig.port}/web/b/a%20key", "/web/b/y"]
    job = await admin.warm(objects=names)
    assert (job["state"], job["kind"], job["about"]) == ("done", "warm", {"objects": 3})
    assert job["progress"]["objects"] == {"total": 3, "listed": True, "done": 3, "failed": 0, "skipped": 0}
    size = 3 * len(DATA)
    assert job["progress"]["bytes"] == {"total": size, "done": size, "cached": 0, "fetched": size, "kept": size}
    asked = len(rig.origin.requests)
    for key in ("x", "y", "a%20key"):
        answer = await rig.get(key)
        assert answer.body == DATA
        assert "hit; detail=memory" in answer.cache
    assert len(rig.origin.requests) == asked
    assert rig.program.metrics.origin_requests.total() == rig.program.metrics.origin_requests.total(purpose="warm")


async def test_warming_twice_costs_the_origin_nothing(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    await admin.warm(objects=["web/b/x"])
    asked = len(rig.origin.requests)
    job = await admin.warm(objects=["web/b/x"])
    assert len(rig.origin.requests) == asked
    assert job["progress"]["bytes"]["cached"] == job["progress"]["bytes"]["kept"] == len(DATA)
    assert job["progress"]["bytes"]["fetched"] == 0


@pytest.mark.parametrize("ranges", [[[10, 20], [5 * BLOCK, 6 * BLOCK]], "bytes=10-19,20480-24575"])
async def test_only_ranges_are_warmed_where_ranges_are_given(rig: Rig, admin: Admin, ranges: Any) -> None:
    rig.origin.put("b/x", DATA)
    job = await admin.warm(objects=["web/b/x"], ranges=ranges)
    assert job["progress"]["bytes"]["total"] == 2 * BLOCK
    assert asked_bytes(rig, "x") == 2 * BLOCK


async def test_a_manifest_may_be_a_list_or_lines(rig: Rig, admin: Admin) -> None:
    for key in ("x", "y", "z"):
        rig.origin.put(f"b/{key}", DATA)
    job = await admin.warm(
        manifest=["web/b/x", {"object": "web/b/y", "ranges": [[0, 1]]}, {"object": "web/b/z"}], ranges="bytes=-7"
    )
    assert job["progress"]["objects"]["done"] == 3
    assert [asked_bytes(rig, key) for key in ("x", "y", "z")] == [7 + BLOCK - 1, BLOCK, 7 + BLOCK - 1]
    lines = b'# all of one, a part of the other\r\n\nweb/b/x\n{"object": "web/b/y", "ranges": [[4096, 4097]]}'
    status, started = await admin.ask("POST", "warm", lines, **LINES)
    assert (status, started["about"]) == (202, {"manifest": 2})
    job = await admin.ended(started["id"])
    assert job["progress"]["bytes"]["total"] == len(DATA) + BLOCK
    asked = len(rig.origin.requests)
    assert (await rig.get("x")).body == DATA
    assert (await rig.get("y", "Range: bytes=0-8191")).body == DATA[:8192]
    assert len(rig.origin.requests) == asked


async def test_an_object_that_fails_is_told_and_the_others_go_on(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    rig.origin.put("b/loose", DATA, etag=None, last_modified=None)
    rig.origin.put("b/forbidden", DATA)
    rig.origin.fail("b/forbidden", Status(403), times=None)
    job = await admin.warm(objects=["web/b/gone", "web/b/loose", "web/b/forbidden", "web/b/x"])
    assert job["state"] == "done"
    assert job["progress"]["objects"]["failed"] == 3
    assert job["progress"]["objects"]["done"] == 1
    reasons = {each["object"]: each["reason"] for each in job["failures"]["first"]}
    assert job["failures"]["count"] == len(reasons) == 3
    assert "no strong validator" in reasons["web/b/loose"]
    assert (await rig.get("x")).body == DATA


async def test_a_job_ends_early_when_its_origin_is_down_and_says_how_far_it_came() -> None:
    names = [f"web/b/{number:03}" for number in range(200)]
    clock = HurriedClock(100)
    async with running(clock=clock) as rig, admin_of(rig.admin_port) as admin:
        for name in names:
            rig.origin.put(name.removeprefix("web/"), DATA)
        await admin.warm(objects=names[:20])
        asked = len(rig.origin.requests)
        rig.origin.fail(None, Status(502), times=None)
        job = await admin.warm(objects=names)
        assert job["state"] == "failed"
        assert job["error"].startswith(f"web could not be asked for {OUTAGE_OBJECTS} objects in a row")
        assert "warm again when it answers" in job["error"]
        objects, size = job["progress"]["objects"], job["progress"]["bytes"]
        assert (objects["done"], objects["listed"]) == (20, False)
        assert OUTAGE_OBJECTS <= objects["failed"] == job["failures"]["count"] < OUTAGE_OBJECTS + OBJECTS_AT_ONCE
        assert objects["total"] == objects["done"] + objects["failed"]
        assert size["kept"] == size["cached"] == size["total"] == 20 * len(DATA)
        tried = {each.path for each in list(rig.origin.requests)[asked:]}
        assert len(tried) <= objects["failed"], "nobody asks for what comes behind"
        rig.origin.heal()
        await clock.sleep(34)  # so long nobody asks it, and one alone finds out
        assert (await rig.get("020")).status == 200
        assert (await admin.warm(objects=names))["progress"]["objects"]["done"] == len(names)


async def test_a_job_goes_on_while_its_origin_answers_and_what_is_cached_is_no_answer() -> None:
    names = [f"web/b/{number:03}" for number in range(96)]
    async with running(clock=HurriedClock(100)) as rig, admin_of(rig.admin_port) as admin:
        for name in names[::2]:
            rig.origin.put(name.removeprefix("web/"), DATA)
        rig.origin.fail(None, Status(502), times=None, when=lambda each: int(each.path[-3:]) % 4 == 0)
        job = await admin.warm(objects=names)  # half are not there, a quarter cannot be had: slowly, that takes repeats
        assert (job["state"], job["error"]) == ("done", None)
        assert (job["progress"]["objects"]["done"], job["failures"]["count"]) == (24, 72)
        rig.origin.heal()
        rig.origin.fail(None, Status(502), times=None)
        job = await admin.warm(objects=names)
        assert job["state"] == "failed"
        assert job["progress"]["objects"]["failed"] < OUTAGE_OBJECTS + OBJECTS_AT_ONCE


async def test_failures_that_took_long_are_no_outage_where_the_origin_answered_meanwhile() -> None:
    slow = [f"web/b/{number:03}" for number in range(OUTAGE_OBJECTS - 1)]
    good = [f"web/b/{number:03}" for number in range(100, 120)]
    async with running(clock=HurriedClock(20)) as rig, admin_of(rig.admin_port) as admin:
        for name in (*slow, *good, "web/b/last"):
            rig.origin.put(name.removeprefix("web/"), DATA)
        bad = {f"/{name.removeprefix('web/')}" for name in (*slow, "web/b/last")}
        rig.origin.fail(None, Status(502), times=None, when=lambda each: each.path in bad)
        gate = rig.origin.hold(None, times=None, when=lambda each: each.path in bad)
        job = await admin.start("warm", objects=[*slow, *good, "web/b/last"])
        await until(lambda: rig.origin.log.count("b/last"))
        gate.release()  # now they fail one after the other, and nothing succeeds between them
        document = await admin.ended(job)
    assert (document["state"], document["error"]) == ("done", None)
    assert (document["progress"]["objects"]["done"], document["failures"]["count"]) == (len(good), OUTAGE_OBJECTS)


async def test_a_reader_and_a_warm_job_fetch_each_block_once(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    gate = rig.origin.hold("b/x", after_bytes=100)
    warming = asyncio.create_task(admin.warm(objects=["web/b/x"]))
    await gate.reached()
    reading = [asyncio.create_task(rig.get("x")) for _ in range(5)]
    await until(lambda: len(rig.program.port.connections) == 5)
    gate.release()
    assert {answer.body for answer in await asyncio.gather(*reading)} == {DATA}
    await warming
    assert asked_bytes(rig, "x") == len(DATA)


async def test_a_cancelled_job_closes_its_connections_and_leaves_nothing(rig: Rig, admin: Admin) -> None:
    data = os.urandom(2 << 20)
    for number in range(20):
        rig.origin.put(f"b/{number}", data)
    gate = rig.origin.hold(after_bytes=100_000, times=None)
    job = await admin.start("warm", objects=[f"web/b/{number}" for number in range(20)])
    await gate.reached()
    document = await admin.cancel(job)
    assert document["state"] == "cancelled"
    assert document["progress"]["objects"]["done"] == 0
    await until(lambda: not rig.origin.connections)
    await until(lambda: not len(rig.program.fetcher))
    assert not len(rig.program.jobs)
    assert (await admin.cancel(job))["state"] == "cancelled"
    gate.release()
    assert (await rig.get("0")).body == data


async def test_progress_is_told_as_it_is_made_and_a_watcher_who_leaves_ends_nothing(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    gate = rig.origin.hold("b/x")
    job = await admin.start("warm", objects=["web/b/x"])
    await gate.reached()
    url = f"{admin.base}jobs/{job}"
    async with admin.session.get(url, headers={"Accept": "text/event-stream"}) as answer:
        first = await answer.content.readuntil(b"\n\n")
        assert first.startswith(b"event: progress\n")
    watching = asyncio.create_task(admin.events(job))
    await until(lambda: not watching.done())
    gate.release()
    events = await watching
    assert [name for name, _ in events][-1] == "end"
    assert events[-1][1]["state"] == "done"
    assert [each["id"] for each in (await admin.get("jobs"))["jobs"]] == [job]


async def test_what_cannot_be_warmed_is_refused_at_once(rig: Rig, admin: Admin) -> None:
    assert (await admin.refused("warm"))[0] == 400
    assert "exactly one" in (await admin.refused("warm", objects=["web/b/x"], prefix="web/b"))[1]
    assert "provider" in (await admin.refused("warm", objects=["web/b/x", "nowhere/b/x"]))[1]
    assert "Entry 2" in (await admin.refused("warm", objects=["web/b/x", "web/no/x"]))[1]
    assert "bucket" in (await admin.refused("warm", prefix="web/no/x"))[1]
    assert "pairs" in (await admin.refused("warm", objects=["web/b/x"], ranges=[[5, 1]]))[1]
    assert "list" in (await admin.refused("warm", objects="web/b/x"))[1]
    status, problem = await admin.ask("POST", "warm", b"web/b/x\nweb/no/y\n", **LINES)
    assert (status, problem["detail"][:7]) == (400, "Line 2:")
    assert (await admin.ask("POST", "record", b"web/b/x", **LINES))[0] == 415
    assert (await admin.ask("GET", "jobs/warm-0"))[0] == 404
    assert not rig.origin.requests
    assert (await admin.get("jobs"))["jobs"] == []


async def test_a_prefix_of_a_web_server_is_refused_at_once_and_leaves_no_job(rig: Rig, admin: Admin) -> None:
    status, problem = await admin.ask("POST", "warm", b'{"prefix": "web/b/"}')
    assert (status, problem["type"]) == (400, "urn:rangecache:problem:not-listable")
    assert "name the objects, or give a manifest" in problem["detail"]
    assert (await admin.get("jobs"))["jobs"] == []
    assert not rig.origin.requests


async def test_access_rules_hold_for_warming_too(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).write_bytes(DATA)
    local = {"local": {"kind": "file", "buckets": {"d": str(tmp_path)}}}
    async with running(providers=local, access={"allow": ["local/d/op*"]}) as rig, admin_of(rig.admin_port) as admin:
        assert (await admin.refused("warm", objects=["local/d/closed"]))[0] == 403
        job = await admin.warm(prefix="local/d/")
        assert job["progress"]["objects"] == {"total": 1, "listed": True, "done": 1, "failed": 0, "skipped": 1}


async def test_jobs_are_bounded(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    rig.origin.hold("b/x", times=None)
    jobs = [await admin.start("warm", objects=["web/b/x"]) for _ in range(runner_module.UNFINISHED_MAX)]
    status, detail = await admin.refused("warm", objects=["web/b/x"])
    assert (status, "cancel one" in detail) == (503, True)
    for job in jobs:
        await admin.cancel(job)


async def test_a_manifest_is_bounded_in_bytes_however_it_is_sent(rig: Rig, admin: Admin, monkeypatch) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_BYTES_MAX", 10_000)
    assert (await admin.ask("POST", "warm", b"web/b/x\n" * 2000, **LINES))[0] == 413

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"web/b/x\n" * 100

    async with admin.session.post(f"{admin.base}warm", data=endless(), headers=LINES) as answer:
        assert answer.status == 413
        assert "in parts" in (await answer.json(content_type=None))["detail"]


async def test_a_manifest_larger_than_other_bodies_is_taken(rig: Rig, admin: Admin) -> None:
    rig.origin.put("b/x", DATA)
    lines = b"".join(b'{"object": "web/b/x", "ranges": [[%d, %d]]}\n' % (at, at + 1) for at in range(5000))
    assert len(lines) > 64 * 1024
    status, started = await admin.ask("POST", "warm", lines, **LINES)
    assert status == 202
    job = await admin.ended(started["id"])
    assert job["progress"]["objects"]["done"] == 5000
    assert job["progress"]["bytes"]["kept"] == job["progress"]["bytes"]["total"]


async def test_a_folder_is_warmed_by_prefix(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "ab", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 3000)
    local = {"local": {"kind": "file", "buckets": {"d": str(tmp_path)}}}
    async with running(providers=local) as rig, admin_of(rig.admin_port) as admin:
        job = await admin.warm(prefix="local/d/a/")
        assert job["progress"]["objects"]["done"] == 2
        assert (await admin.warm(prefix="local/d/a"))["progress"]["objects"]["done"] == 3
        job = await admin.warm(prefix="local/d")
        assert job["progress"]["objects"]["done"] == 4
        assert job["progress"]["bytes"]["fetched"] == 3000
        assert (await admin.warm(prefix="local/d/none"))["progress"]["objects"]["total"] == 0


async def test_what_did_not_stay_is_not_said_to_be_kept(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / str(number)).write_bytes(os.urandom(BLOCK * 16))
    local = {"local": {"kind": "file", "buckets": {"d": str(tmp_path)}}}
    small = {"memory": {"size": 1 << 20}}
    async with running(providers=local, cache=small) as rig, admin_of(rig.admin_port) as admin:
        size = (await admin.warm(prefix="local/d"))["progress"]["bytes"]
        assert size["done"] == size["total"] == 40 * 16 * BLOCK
        assert 0 < size["kept"] <= 1 << 20


async def test_after_a_restart_it_is_still_warm(tmp_path: Path) -> None:
    disk = {"disk": {"enabled": True, "path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}}
    async with running(cache=disk) as rig, admin_of(rig.admin_port) as admin:
        rig.origin.put("b/x", DATA, etag='"one"')
        assert (await admin.warm(objects=["web/b/x"]))["progress"]["bytes"]["kept"] == len(DATA)
        settings = rig.program.settings
    # The origin has gone: whatever is read now comes from the disk.
    program = Program(settings, SystemClock())
    await program.start()
    try:
        (address,) = program.addresses
        assert isinstance(address, TcpAddress)
        assert (await fetch(address.port, "/web/b/x")).body == DATA
        assert program.metrics.origin_requests.total() == 0
    finally:
        await program.stop()


@pytest.mark.emulator
async def test_an_s3_prefix_is_warmed(seaweedfs: SeaweedFS) -> None:
    for number in range(5):
        seaweedfs.put(PRIVATE, f"warmed/{number}", DATA)
    seaweedfs.put(PRIVATE, "warmedness", DATA)
    s3 = {
        "s3": {
            "kind": "s3",
            "endpoint": seaweedfs.tap.endpoint,
            "credentials": {"access_key_id": seaweedfs.access_key, "secret_access_key": seaweedfs.secret_key},
        }
    }
    seaweedfs.tap.clear()
    async with running(providers=s3) as rig, admin_of(rig.admin_port) as admin:
        job = await admin.warm(prefix=f"s3://{PRIVATE}/warmed/")
        assert job["progress"]["objects"] == {"total": 5, "listed": True, "done": 5, "failed": 0, "skipped": 0}
        assert job["progress"]["bytes"]["kept"] == 5 * len(DATA)
        assert rig.program.metrics.origin_requests.total(purpose="list") == 1
        assert rig.program.metrics.origin_bytes.total(purpose="list") > 5 * len("<Key>warmed/0</Key>")
        asked = len(seaweedfs.tap.requests)
        assert (await rig_get(rig, f"/s3/{PRIVATE}/warmed/3")) == DATA
        assert len(seaweedfs.tap.requests) == asked


async def rig_get(rig: Rig, target: str) -> bytes:
    return (await (await rig.connect()).get(target)).body


async def test_a_job_ends_when_what_it_brought_would_survive_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write = threading.Event(), CatalogDatabase.write
    monkeypatch.setattr(CatalogDatabase, "write", lambda *arguments: gate.wait(30) and write(*arguments))
    disk = {"enabled": True, "path": str(tmp_path), "size": "1GiB", "min_free": "1MiB"}
    cache = {"block_size": BLOCK, "memory": {"size": 64 << 20}, "disk": disk}
    async with running(cache=cache) as rig, admin_of(rig.admin_port) as admin:
        rig.origin.put("b/x", DATA)
        job = rig.program.jobs.find(await admin.start("warm", objects=["web/b/x"]))
        await until(lambda: job.progress.listed and job.progress.done)  # type: ignore[attr-defined]
        for _ in range(3):
            await admin.get("jobs")  # there has been time to end, if nothing were waited for
        assert job.state == "running"
        gate.set()
        await job.wait()
        assert job.state == "done"
        page = CatalogDatabase(str(tmp_path)).page(Selection.prefix("web/"), None, 10, records=True)
        assert page is not None
        assert [entry.ref.key for entry in page.entries] == ["x"]


async def test_the_program_stops_with_jobs_under_way() -> None:
    async with running() as rig, admin_of(rig.admin_port) as admin:
        rig.origin.put("b/x", DATA)
        gate = rig.origin.hold("b/x", times=None)
        jobs = [rig.program.jobs.find(await admin.start("warm", objects=["web/b/x"])) for _ in range(6)]
        jobs.append(rig.program.jobs.find(await admin.start("record")))
        await gate.reached()
        watching = asyncio.create_task(admin.events(jobs[0].id))
        await until(lambda: jobs[0].state == "running")
        await rig.program.stop()
        assert {job.state for job in jobs} == {"cancelled"}
        await asyncio.gather(watching, return_exceptions=True)
