"""What is purged is gone, whatever was on its way when it was purged.

The origin lies in the way that a purge is made for: the bytes change and the validator stays. So nothing but the purge
can bring the new ones, and every old byte that comes back is seen.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rangecache.blocks.base import Held
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.memory import ENTRY_OVERHEAD_BYTES, MemoryTier
from rangecache.errors import NotFound, Overloaded, TransientError, Unavailable
from rangecache.model import ETag, ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.read import purging
from rangecache.read.catalog_store import DiskCatalogStore
from rangecache.read.selection import Selection
from rangecache.testing.clock import ManualClock
from tests.read.conftest import BLOCK, REF, Cache, drain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rangecache.origin.base import GetResult, NotModified, ObjectStore

TAG = ETag("never changes")
SIZE = 6 * BLOCK + 100
OTHER = ObjectRef("mem", "b", "other")
EVERYTHING = Selection.prefix("mem/b")


def version(number: int, size: int = SIZE) -> bytes:
    return bytes([number]) * size


class Gate:
    """Holds answers of the origin between the look at the object and the head of the answer."""

    def __init__(self) -> None:
        self.shut = False
        self.open = asyncio.Event()
        self.held = asyncio.Event()

    async def __call__(self) -> None:
        if self.shut:
            self.shut = False
            self.held.set()
            await self.open.wait()


class Held_:
    """An `ObjectStore` that answers late with what was true when it was asked."""

    def __init__(self, inner: ObjectStore, gate: Gate) -> None:
        self.inner = inner
        self.gate = gate

    async def head(self, ref: ObjectRef, **options: Any) -> Any:
        try:
            meta = await self.inner.head(ref, **options)
        finally:
            await self.gate()
        return meta

    @asynccontextmanager
    async def get(self, ref: ObjectRef, **options: Any) -> AsyncIterator[GetResult | NotModified]:
        try:
            async with self.inner.get(ref, **options) as answer:
                await self.gate()
                yield answer
        except NotFound:
            await self.gate()
            raise


class World:
    """A cache with a disk that survives it, and an origin whose answers can be held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.origin = MemoryStore(chunk_bytes=1024)
        self.gate = Gate()
        self.chunk_gate = Gate()
        self.hold_from = 2 * BLOCK
        self.options: dict[str, Any] = {}
        self.origin.before_chunk = self._before_chunk

    async def _before_chunk(self, request: object, offset: int) -> None:
        if offset >= self.hold_from:
            await self.chunk_gate()

    async def start(self, **options: Any) -> None:
        self.options = options or self.options
        self.disk = DiskTier(self.folder, 1 << 30, 0, self.clock)
        await self.disk.start()
        self.records = DiskCatalogStore(self.folder, lambda: self.disk.owned, self.clock)
        self.cache = Cache(
            tiers=[MemoryTier(1 << 26), self.disk],
            clock=self.clock,
            origin=self.origin,
            around=lambda store: Held_(store, self.gate),  # type: ignore[arg-type,return-value]
            records=self.records,
            **self.options,
        )

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        await self.cache.background.aclose()
        assert self.origin.open_bodies == 0
        assert len(self.cache.fetcher) == 0
        assert self.cache.fetcher.under_way.held_bytes == 0
        await self.records.aclose()
        await self.cache.tiers.aclose()

    def put(self, number: int, ref: ObjectRef = REF, size: int = SIZE) -> None:
        self.origin.put(ref, version(number, size), e_tag=TAG)

    async def settle(self) -> None:
        """Let everything that has been decided be written."""
        await self.disk.flush()
        await self.records.flush()

    async def only_new(self, ref: ObjectRef = REF) -> None:
        """Nothing but version 2 comes, now and after a restart; and after another purge it comes from the origin."""
        before = -1
        for _ in range(2):
            assert await self.cache.read(ref=ref) == version(2)
            assert self.origin.request_count > before
            await self.settle()
            before = self.origin.request_count
            assert await self.cache.read(ref=ref) == version(2)
            assert self.origin.request_count == before, "it is cached again"
            await self.restart()
            assert await self.cache.read(ref=ref) == version(2)
            assert self.origin.request_count == before, "it survives a restart"
            assert (await self.cache.purger.purge(EVERYTHING)).complete


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "cache")
    world.put(1)
    await world.start()
    yield world
    await world.stop()


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection.prefix(""), ["a", "a/b", "ab", "k"]),
        (Selection.prefix("mem/b"), ["a", "a/b", "ab", "k"]),
        (Selection.prefix("mem/b/a"), ["a", "a/b", "ab"]),
        (Selection.prefix("mem/b/a/"), ["a/b"]),
        (Selection.an_object("mem/b/a"), ["a"]),
        (Selection.prefix("me"), []),
        (Selection.an_object("mem/b/none"), []),
    ],
)
async def test_a_dry_run_counts_what_the_purge_then_takes(world: World, selection: Selection, names: list[str]) -> None:
    for key in ("a", "a/b", "ab", "k"):
        world.put(1, ObjectRef("mem", "b", key))
        await world.cache.read(ref=ObjectRef("mem", "b", key))
    for key in ("nothing", "a/nothing"):
        with pytest.raises(NotFound):
            await world.cache.read(ref=ObjectRef("mem", "b", key))
    await world.settle()
    counted = await world.cache.purger.purge(selection, dry_run=True)
    assert counted.objects == len(names)
    assert counted.negative == sum(selection.matches(ObjectRef("mem", "b", key)) for key in ("nothing", "a/nothing"))
    assert counted.tiers["memory"].bytes == len(names) * (SIZE + 7 * ENTRY_OVERHEAD_BYTES)
    assert [held.blocks for held in counted.tiers.values()] == [7 * len(names), 7 * len(names)]
    assert counted.tiers["disk"].bytes == world.disk.stats().bytes * len(names) // 4
    taken = await world.cache.purger.purge(selection)
    assert (taken.objects, taken.negative, taken.flights) == (counted.objects, counted.negative, 0)
    assert taken.tiers == counted.tiers
    assert taken.complete
    for key in ("a", "a/b", "ab", "k"):
        before = world.origin.request_count
        await world.cache.read(ref=ObjectRef("mem", "b", key))
        assert (world.origin.request_count > before) is (key in names)
    again = await world.cache.purger.purge(selection, dry_run=True)
    assert again.objects == len(names)


async def test_all_versions_of_an_object_go_with_it(world: World) -> None:
    versions = [REF._replace(version=name) for name in ("v1", "v2", None)]
    for ref in versions:
        world.put(1, ref)
        await world.cache.read(ref=ref)
    report = await world.cache.purger.purge(Selection.an_object("mem/b/k"))
    assert (report.objects, report.tiers["memory"].blocks) == (1, 21)
    for ref in versions:
        world.put(2, ref)
        assert await world.cache.read(ref=ref) == version(2)


async def test_an_absence_is_forgotten(world: World) -> None:
    with pytest.raises(NotFound):
        await world.cache.read(ref=OTHER)
    world.put(2, OTHER)
    with pytest.raises(NotFound):
        await world.cache.read(ref=OTHER)
    report = await world.cache.purger.purge(Selection.an_object("mem/b/other"))
    assert (report.objects, report.negative) == (0, 1)
    assert await world.cache.read(ref=OTHER) == version(2)


async def test_what_cannot_be_stored_is_tried_again(world: World) -> None:
    world.origin.put(REF, version(1), e_tag=None, last_modified=None)
    await world.cache.read()
    world.put(2)
    assert (await world.cache.purger.purge(EVERYTHING)).objects == 1
    await world.only_new()


# --- blocks that nobody knows -----------------------------------------------------------------------------------------


async def test_blocks_whose_record_is_lost_are_found_by_a_prefix(world: World) -> None:
    for key in ("a/1", "a/2", "b/1"):
        world.put(1, ObjectRef("mem", "b", key))
        await world.cache.read(ref=ObjectRef("mem", "b", key))
    await world.settle()
    for key in ("a/2", "b/1"):
        world.records.forget(ObjectRef("mem", "b", key))
    await world.restart()
    selection = Selection.prefix("mem/b/a/")
    counted = await world.cache.purger.purge(selection, dry_run=True)
    assert (counted.objects, counted.tiers["disk"].blocks) == (2, 14)
    taken = await world.cache.purger.purge(selection)
    assert (taken.objects, taken.tiers) == (2, counted.tiers)
    assert (await world.cache.purger.purge(selection, dry_run=True)).objects == 0
    assert world.disk.stats().blocks == 7


async def test_blocks_of_an_object_whose_record_is_lost_are_found_by_its_name(world: World) -> None:
    await world.cache.read()
    await world.settle()
    world.records.forget(REF)
    await world.restart()
    report = await world.cache.purger.purge(Selection.an_object("mem/b/k"))
    assert (report.objects, report.tiers["disk"].blocks) == (1, 7)


# --- answers on their way ---------------------------------------------------------------------------------------------


async def held_read(world: World, gate: Gate, **options: Any) -> asyncio.Task[bytes]:
    """A read whose answer is held at `gate` while the object changes."""
    gate.shut = True
    reading = asyncio.create_task(world.cache.read(**options))
    await gate.held.wait()
    world.put(2)
    return reading


async def run_opening(world: World) -> asyncio.Task[bytes]:
    """Nothing is known, and the head of the answer is on its way."""
    return await held_read(world, world.gate)


async def run_opened(world: World) -> asyncio.Task[bytes]:
    """The head has been read, two blocks have landed, and the rest of the body is on its way."""
    return await held_read(world, world.chunk_gate)


async def run_blocks(world: World) -> asyncio.Task[bytes]:
    """The version is known, and the answer that brings its other blocks is on its way."""
    await world.cache.read("bytes=0-0")
    return await held_read(world, world.gate, range=f"bytes={3 * BLOCK}-")


async def run_some_blocks(world: World) -> asyncio.Task[bytes]:
    """As before, and a part of them has landed."""
    await world.cache.read("bytes=0-0")
    return await held_read(world, world.chunk_gate, range=f"bytes={BLOCK}-")


async def run_confirmation(world: World) -> asyncio.Task[bytes]:
    """Everything is cached and no longer fresh, and the 304 is on its way."""
    await world.cache.read()
    await world.settle()
    await world.clock.advance(61)
    return await held_read(world, world.gate)


async def run_new_version(world: World) -> asyncio.Task[bytes]:
    """Another version is cached, and the answer that replaces it is on its way."""
    world.origin.put(REF, version(0))
    await world.cache.read()
    await world.clock.advance(61)
    world.put(1)
    return await held_read(world, world.gate)


async def run_head(world: World) -> asyncio.Task[bytes]:
    """A HEAD is on its way, of what cannot be stored and is looked at each time."""
    world.origin.put(REF, version(1), e_tag=None, last_modified=None)
    await world.cache.read()
    world.put(1)
    return await held_read(world, world.gate, head=True)


async def run_absence(world: World) -> asyncio.Task[bytes]:
    """A 404 is on its way."""
    world.origin.delete(REF)
    return await held_read(world, world.gate)


async def run_hand_off(world: World) -> asyncio.Task[bytes]:
    """A whole object comes where a part was asked for, and its blocks are kept as they pass."""
    world.options = {"run_blocks": 1}
    await world.restart()
    world.origin.ignores_ranges = True
    reading = await held_read(world, world.chunk_gate)
    world.origin.ignores_ranges = False
    return reading


ON_THEIR_WAY = [
    run_opening,
    run_opened,
    run_blocks,
    run_some_blocks,
    run_confirmation,
    run_new_version,
    run_head,
    run_absence,
    run_hand_off,
]


@pytest.mark.parametrize("run", ON_THEIR_WAY)
async def test_an_answer_that_was_on_its_way_brings_nothing_back(world: World, run: Callable[[World], Any]) -> None:
    """It comes after the purge has said that it is done. Who waits for it is answered."""
    reading = await run(world)
    report = await world.cache.purger.purge(EVERYTHING)
    assert report.complete
    assert report.flights >= 1
    assert await world.cache.read() == version(2), "who comes now waits for nothing that was asked for before"
    world.gate.open.set()
    world.chunk_gate.open.set()
    try:
        assert await reading is not None
    except NotFound:
        assert run is run_absence
    await world.only_new()


@pytest.mark.parametrize("run", ON_THEIR_WAY)
@pytest.mark.parametrize("turns", range(0, 48, 3))
async def test_an_answer_that_comes_at_any_step_of_the_purge_brings_nothing_back(
    world: World, run: Callable[[World], Any], turns: int
) -> None:
    reading = await run(world)
    purge = asyncio.create_task(world.cache.purger.purge(EVERYTHING))
    for _ in range(turns):
        await asyncio.sleep(0)
    world.gate.open.set()
    world.chunk_gate.open.set()
    assert (await purge).complete
    await asyncio.wait([reading])
    if not reading.cancelled():
        reading.exception()
    await world.only_new()


@pytest.mark.parametrize("turns", range(24))
async def test_a_reader_who_comes_at_any_step_of_the_purge_brings_nothing_back(world: World, turns: int) -> None:
    """He finds blocks, or a record, or asks whether what he has found still holds."""
    for known_s in (0, 61):
        await world.cache.read()
        await world.settle()
        world.cache.catalog._known.clear()  # what he finds is the record
        await world.clock.advance(known_s)
        world.put(2)
        purge = asyncio.create_task(world.cache.purger.purge(EVERYTHING))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading = asyncio.create_task(world.cache.read())
        assert (await purge).complete
        await reading
        await world.cache.purger.purge(Selection.prefix("elsewhere"))
        assert await world.cache.read() == version(2)
        assert (await world.cache.purger.purge(EVERYTHING)).complete
        world.put(1)


async def test_a_confirmation_that_was_about_to_be_asked_for_carries_nothing_over(world: World) -> None:
    """What was found before the purge is asked about after it: not with If-None-Match."""
    await world.cache.read()
    known = world.cache.catalog.peek(REF)
    assert known is not None
    world.put(2)
    world.cache.reader._revalidations.start(known)  # it takes its first step when we wait
    await world.cache.purger._in_turn(EVERYTHING, False)
    await world.settle()
    assert all(request.if_none_match is None for request in world.origin.requests)
    await world.only_new()


async def test_a_record_that_was_being_read_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.cache.read()
    await world.restart()
    world.put(2)
    read, gate = DiskCatalogStore.get, asyncio.Event()

    async def late(self: DiskCatalogStore, ref: ObjectRef) -> Any:
        record = await read(self, ref)
        await gate.wait()
        return record

    with monkeypatch.context() as patch:
        patch.setattr(DiskCatalogStore, "get", late)
        reading = asyncio.create_task(world.cache.read())
        for _ in range(10):
            await asyncio.sleep(0.001)
        await world.cache.purger.purge(EVERYTHING)
        gate.set()
        assert await reading == version(2)
    await world.only_new()


async def test_what_was_known_is_no_excuse_for_an_origin_that_fails_after_the_purge(world: World) -> None:
    world.options = {"stale_if_error_s": 1e6}
    await world.restart()
    await world.cache.read()
    await world.clock.advance(61)

    async def fail(_request: object) -> None:
        await world.gate()
        raise Unavailable("down")

    world.origin.before_answer = fail
    world.gate.shut = True
    reading = asyncio.create_task(world.cache.open(head=True))
    await world.gate.held.wait()
    await world.cache.purger.purge(EVERYTHING)
    world.gate.open.set()
    with pytest.raises(TransientError):
        await reading


async def test_who_comes_after_the_purge_does_not_join_an_opening_from_before_it(world: World) -> None:
    """Its metadata is old, though its validator is not."""
    world.origin.put(REF, version(1), e_tag=TAG, headers={"x-version": "1"})
    reading = await held_read(world, world.gate)
    world.origin.put(REF, version(2), e_tag=TAG, headers={"x-version": "2"})
    await world.cache.purger.purge(EVERYTHING)
    opening = asyncio.create_task(world.cache.open())
    for _ in range(10):
        await asyncio.sleep(0)
    world.gate.open.set()
    reply = await opening
    assert reply.meta.headers["x-version"] == "2"
    assert await drain(reply) == version(2)
    await reading


async def test_who_comes_after_the_purge_does_not_join_a_body_that_was_asked_for_before_it(world: World) -> None:
    """Its head has come after the purge, and the rest is still on its way."""
    reading = await held_read(world, world.gate)
    await world.cache.purger.purge(EVERYTHING)
    world.chunk_gate.shut = True
    world.gate.open.set()
    await world.chunk_gate.held.wait()
    before = world.origin.request_count
    assert await world.cache.read() == version(2)
    assert world.origin.request_count > before, "it asks by itself"
    world.chunk_gate.open.set()
    assert await reading in (version(1), version(2)), "one of them, whole"
    await world.only_new()


async def test_a_fetch_that_nobody_waits_for_is_ended(world: World) -> None:
    """Its reader has had what he wanted, and the rest of the block was to be kept."""
    await world.cache.read("bytes=0-0")
    world.chunk_gate.shut, world.hold_from = True, 5 * BLOCK + 1024
    reply = await world.cache.open(f"bytes={5 * BLOCK}-{5 * BLOCK}")
    assert await drain(reply)
    await world.chunk_gate.held.wait()
    assert len(world.cache.fetcher) == 1
    assert (await world.cache.purger.purge(EVERYTHING)).flights == 1
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.origin.open_bodies == 0
    world.put(2)
    await world.only_new()


async def test_other_objects_keep_what_is_on_its_way(world: World) -> None:
    reading = await held_read(world, world.chunk_gate)
    report = await world.cache.purger.purge(Selection.an_object("mem/b/other"))
    assert (report.flights, report.objects) == (0, 0)
    world.chunk_gate.open.set()
    assert await reading == version(1)
    before = world.origin.request_count
    assert await world.cache.read() == version(1)
    assert world.origin.request_count == before


async def test_what_was_learned_of_an_object_is_forgotten(world: World) -> None:
    """Who asked for its size, where it is opened, where its readers go."""
    for ref in (REF, OTHER):
        world.put(1, ref)
        await world.cache.open(ref=ref, head=True)
        for index in range(5):
            await world.cache.read(f"bytes={index * BLOCK}-{index * BLOCK + 9}", ref=ref)
    assert len(world.cache.prefetcher._habits) == 2
    assert len(world.cache.prefetcher._tracks) == 2
    await world.cache.purger.purge(Selection.an_object("mem/b/k"))
    assert len(world.cache.prefetcher._habits) == 1
    assert len(world.cache.prefetcher._tracks) == 1
    world.put(2)
    await world.only_new()


# --- what cannot be done ----------------------------------------------------------------------------------------------


async def test_a_disk_that_another_process_holds_is_said_to_be_left_out(world: World, tmp_path: Path) -> None:
    await world.cache.read()
    await world.settle()
    second = World(world.folder)
    second.put(1)
    await second.start()
    await second.cache.read()
    for dry_run in (True, False):
        report = await second.cache.purger.purge(EVERYTHING, dry_run=dry_run)
        assert report.tiers["memory"].blocks == 7
        assert not report.complete
        assert report.failures.keys() == {"catalog", "disk"}
        assert "is using it" in report.failures["disk"]
    second.put(2)
    assert await second.cache.read() == version(2)
    await second.stop()


async def test_purges_are_done_in_turn_and_too_many_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "PURGES_MAX", 3)
    await world.cache.read()
    purges = [asyncio.create_task(world.cache.purger.purge(EVERYTHING)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await world.cache.purger.purge(EVERYTHING)
    reports = await asyncio.gather(*purges)
    assert [report.objects for report in reports] == [1, 0, 0]
    assert (await world.cache.purger.purge(EVERYTHING)).objects == 0


async def test_a_purge_goes_on_when_who_asked_for_it_has_left(world: World) -> None:
    await world.cache.read()
    asking = asyncio.create_task(world.cache.purger.purge(EVERYTHING))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert (await world.cache.purger.purge(EVERYTHING)).objects == 0
    world.put(2)
    await world.only_new()


async def test_it_says_what_it_did_in_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rangecache.read.purging")
    await world.cache.read()
    await world.cache.purger.purge(EVERYTHING, dry_run=True)
    assert not caplog.records
    await world.cache.purger.purge(Selection.prefix("mem/b/k"))
    (record,) = caplog.records
    assert record.getMessage() == (
        "purged everything under mem/b/k: 1 objects, 7 blocks in disk, 7 blocks in memory, 0 known absent,"
        " 0 fetches under way"
    )


async def test_without_a_disk_memory_is_all_there_is(make_cache: type[Cache]) -> None:
    cache = make_cache()
    cache.origin.put(REF, version(1), e_tag=TAG)
    await cache.read()
    report = await cache.purger.purge(EVERYTHING)
    assert report.tiers == {"memory": Held(7, SIZE + 7 * ENTRY_OVERHEAD_BYTES)}
    cache.origin.put(REF, version(2), e_tag=TAG)
    assert await cache.read() == version(2)


# --- anything in any order --------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 6)),
        st.tuples(st.just("begin"), st.integers(0, 2), st.integers(0, 6)),
        st.tuples(st.just("change"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("purge"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("purge meanwhile"), st.integers(0, 3), st.integers(0, 30)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([1, 70])),
    ),
    min_size=4,
    max_size=25,
)
OBJECTS = [ObjectRef("mem", "b", key) for key in ("a/1", "a/2", "b")]
PURGED = [
    Selection.prefix("mem/b/a/"),
    Selection.an_object("mem/b/b"),
    Selection.prefix(""),
    Selection.prefix("mem/b/b"),
]


class Walk:
    """Reads, changes that no validator shows, purges and restarts, against a model of one number for each object: the
    oldest version that may still be served."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = [1, 1, 1]
        self.oldest = [1, 1, 1]
        self.cold = [True, True, True]
        self.begun: list[asyncio.Task[bytes]] = []
        for ref in OBJECTS:
            world.put(1, ref)

    async def step(self, what: str, which: int, how: int) -> None:
        world = self.world
        if what == "read":
            await self.read(which, how)
        elif what == "begin":
            ref = OBJECTS[which]
            self.begun.append(asyncio.create_task(world.cache.read(f"bytes={how * BLOCK}-", ref=ref)))
            await asyncio.sleep(0)
            self.cold[which] = False  # it may have begun before the purge that comes next, and end after it
        elif what == "change":
            self.now[which] += 1
            world.put(self.now[which], OBJECTS[which])
        elif what == "restart":
            await self.end_what_was_begun()
            await world.settle()
            await world.restart()
        elif what == "wait":
            await world.clock.advance(how)
        else:
            purging = asyncio.create_task(world.cache.purger.purge(PURGED[which]))
            if what == "purge meanwhile":
                for _ in range(how):
                    await asyncio.sleep(0)
                others = [asyncio.create_task(world.cache.read(ref=ref)) for ref in OBJECTS]
                self.begun += others
                self.cold = [False] * len(OBJECTS)
            assert (await purging).complete
            for number, ref in enumerate(OBJECTS):
                if PURGED[which].matches(ref):
                    self.oldest[number] = self.now[number]
                    self.cold[number] = what == "purge" and not self.begun

    async def read(self, which: int, index: int) -> None:
        before = self.world.origin.request_count
        begun = [task for task in self.begun if not task.done()]
        body = await self.world.cache.read(f"bytes={index * BLOCK}-{index * BLOCK + 99}", ref=OBJECTS[which])
        if not begun:
            assert min(body) >= self.oldest[which], f"version {min(body)}, purged at {self.oldest[which]}"
            assert self.world.origin.request_count > before or not self.cold[which]
        self.cold[which] = False

    async def end_what_was_begun(self) -> None:
        await asyncio.gather(*self.begun, return_exceptions=True)
        self.begun.clear()


async def walked(folder: Path, steps: list[tuple[str, int, int]]) -> None:
    world = World(folder)
    await world.start()
    try:
        walk = Walk(world)
        for step in steps:
            await walk.step(*step)
        await walk.end_what_was_begun()
        for which in range(3):
            await walk.read(which, 0)
    finally:
        await world.stop()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_whatever_happens_nothing_purged_is_served_without_the_origin(steps: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(walked(Path(folder), steps))


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_whatever_happens_very_often(proof: Any) -> None:
    count = 0

    @settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def walk(steps: list[tuple[str, int, int]]) -> None:
        nonlocal count
        count += len(steps)
        with TemporaryDirectory() as folder:
            asyncio.run(walked(Path(folder), steps))

    walk()
    proof.row("reads, changes, purges and restarts in any order", figures=f"{count} steps, 0 purged bytes served")
