"""What a restart knows of the directory, whatever has happened to it and to the index in between."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from rangecache.blocks import disk_index
from rangecache.blocks.admission import LRU
from rangecache.blocks.base import Forgotten, Held
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.disk_files import BlockFiles
from rangecache.blocks.disk_folder import LOAD_WAIT_S, SNAPSHOT_INTERVAL_S, UPKEEP_INTERVAL_S
from rangecache.blocks.disk_index import DiskIndex
from rangecache.blocks.disk_journal import Journal
from rangecache.blocks.disk_snapshot import SnapshotError, SnapshotWriter, read_snapshot
from tests.blocks.conftest import BLOCK_BYTES, FILE_BYTES, ROOMY, block_key, content, keep, path_of, upkeep
from tests.blocks.test_disk import Gate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]

KEYS = [block_key(index, f"objects/{index % 7}") for index in range(40)]


def copy_as_killed(directory: Path, to: Path) -> Path:
    """What a program that is killed now would leave: its files as they are, without a last word."""
    shutil.copytree(directory, to)
    return to


def files_of(directory: Path) -> list[Path]:
    return [path for path in (directory / "blocks-1").rglob("*") if path.is_file()]


async def assert_right_or_missing(tier: DiskTier) -> int:
    served = 0
    for key in KEYS:
        found = await tier.get(key)
        assert found is None or found == content(key)
        served += found is not None
    return served


async def test_a_killed_program_leaves_an_index_that_knows_every_block(open_tier: OpenTier, tmp_path: Path) -> None:
    """The snapshot is older than most blocks; the journal tells the rest, evictions included."""
    first = await open_tier(limit_bytes=20 * FILE_BYTES)
    await keep(first, *KEYS[:10])
    await first.aclose()
    first = await open_tier(limit_bytes=20 * FILE_BYTES)
    await keep(first, *KEYS[10:])
    place = copy_as_killed(tmp_path / "cache", tmp_path / "killed")
    shutil.rmtree(place / "blocks-1")  # nothing but the index can tell
    (place / "blocks-1").mkdir()
    second = await open_tier(directory=place, listed=False)
    assert [second.contains(key) for key in KEYS] == [first.contains(key) for key in KEYS]
    assert second.stats().bytes == 20 * FILE_BYTES


async def test_a_block_is_in_the_journal_before_its_file_is_there(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    known: list[bool] = []

    def look(_descriptor: int, _buffers: object) -> int:
        names = {
            record[:32]
            for frame in Journal(str(tmp_path / "cache" / "index-1")).read_from(0)
            for record in [frame[at : at + 37] for at in range(0, len(frame), 37)]
        }
        known.append(bytes.fromhex(path_of(tier, KEYS[0]).name) in names)
        raise OSError(5, "stop here")

    monkeypatch.setattr("os.writev", look)
    await keep(tier, KEYS[0])
    assert known == [True]


async def test_it_serves_and_writes_at_once_and_looks_for_strangers_later(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await open_tier()
    await keep(first, *KEYS[:20])
    await first.aclose()
    cut = copy_as_killed(tmp_path / "cache", tmp_path / "elsewhere")
    first = await open_tier()
    await keep(first, *KEYS[20:30])
    await first.aclose()
    shutil.rmtree(tmp_path / "cache" / "index-1")
    shutil.copytree(cut / "index-1", tmp_path / "cache" / "index-1")  # ten files are there that the index has not
    for key in KEYS[:3]:
        path_of(first, key).unlink()  # and three are not
    second = await open_tier(listed=False)
    assert second.stats().state == "rw"
    assert [second.contains(key) for key in KEYS[:30]] == [True] * 20 + [False] * 10
    await second._writer.flush()
    await second.flush()
    assert [second.contains(key) for key in KEYS[:30]] == [False] * 3 + [True] * 27
    assert second.stats().bytes == 27 * FILE_BYTES
    assert await assert_right_or_missing(second) == 27


@pytest.mark.parametrize(("limit", "written"), [(20, False), (30, True)])
async def test_while_a_large_index_is_taken_up_blocks_are_written_as_far_as_there_is_room(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, limit: int, written: bool
) -> None:
    """What is still to come counts from the start."""
    first = await open_tier()
    await keep(first, *KEYS[:20])
    await first.aclose()
    begun, go_on = asyncio.Event(), asyncio.Event()
    restore = DiskIndex.restore

    async def held_up(index: DiskIndex, *args: Any) -> None:
        begun.set()
        await go_on.wait()
        await restore(index, *args)

    monkeypatch.setattr(DiskIndex, "restore", held_up)
    tier = DiskTier(tmp_path / "cache", limit * FILE_BYTES, 0, clock)
    starting = asyncio.create_task(tier.start())
    await begun.wait()
    await clock.wait_for_sleepers()
    await clock.advance(LOAD_WAIT_S)
    await starting
    assert (tier.stats().state, tier.is_known) == ("rw", False)
    await keep_now(tier, KEYS[30])
    assert path_of(tier, KEYS[30]).exists() is written
    assert await tier.get(KEYS[0]) == content(KEYS[0])
    go_on.set()
    await tier.flush()
    assert tier.stats().bytes == (20 + written) * FILE_BYTES == len(files_of(tmp_path / "cache")) * FILE_BYTES
    assert [tier.contains(key) for key in KEYS[:20]] == [True] * 20
    await tier.aclose()


async def test_without_an_index_nothing_is_written_before_all_is_counted(open_tier: OpenTier, tmp_path: Path) -> None:
    first = await open_tier()
    await keep(first, *KEYS[:20])
    await first.aclose()
    shutil.rmtree(tmp_path / "cache" / "index-1")
    second = await open_tier(limit_bytes=20 * FILE_BYTES, listed=False)
    for key in KEYS[20:]:
        second.keep(key, content(key))
        assert len(files_of(tmp_path / "cache")) <= 20
    await second.flush()
    assert len(files_of(tmp_path / "cache")) == 20
    assert second.stats().bytes == 20 * FILE_BYTES


async def test_a_snapshot_is_written_each_minute_if_anything_has_changed(
    open_tier: OpenTier, tmp_path: Path, clock: ManualClock
) -> None:
    tier = await open_tier()
    snapshot = tmp_path / "cache" / "index-1" / "snapshot"
    times = SNAPSHOT_INTERVAL_S // UPKEEP_INTERVAL_S
    await keep(tier, KEYS[0])
    before = snapshot.stat()
    await upkeep(clock, times)
    await tier.flush()
    changed = snapshot.stat()
    assert changed.st_ino != before.st_ino
    assert changed.st_size > before.st_size
    await upkeep(clock, 2 * times)
    await tier.flush()
    assert snapshot.stat().st_ino == changed.st_ino
    await tier.get(KEYS[0])
    await upkeep(clock, times)
    await tier.flush()
    assert snapshot.stat().st_ino != changed.st_ino
    assert sorted(path.name for path in snapshot.parent.iterdir()) == ["snapshot"]  # its journals are superfluous


async def test_blocks_that_come_and_go_while_a_snapshot_is_written_are_known_afterwards(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_index, "STEP", 1)
    tier = await open_tier(limit_bytes=20 * FILE_BYTES, policy=LRU())
    await keep(tier, *KEYS[:20])
    tier._folder._start_saving()
    for key in KEYS[20:]:
        await keep_now(tier, key)
    await tier.flush()
    second = await open_tier(directory=copy_as_killed(tmp_path / "cache", tmp_path / "killed"), listed=False)
    assert [second.contains(key) for key in KEYS] == [False] * 20 + [True] * 20
    assert second.stats().bytes == 20 * FILE_BYTES


async def keep_now(tier: DiskTier, key: object) -> None:
    tier.keep(key, content(key))  # type: ignore[arg-type]
    await tier._writer.flush()


def rewrite(path: Path, change: Callable[[bytearray], None]) -> None:
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)


def mutate(raw: bytearray, chance: random.Random) -> None:
    """One to four bytes changed, a piece cut off, doubled, zeroed or appended."""
    match chance.randrange(6):
        case 0:
            del raw[chance.randrange(len(raw) + 1) :]
        case 1:
            at = chance.randrange(len(raw))
            raw[at:at] = raw[at : at + chance.randrange(1, 100)]
        case 2:
            at = chance.randrange(len(raw))
            raw[at : at + 40] = bytes(len(raw[at : at + 40]))
        case 3:
            raw += chance.randbytes(chance.randrange(1, 100))
        case _:
            for _ in range(chance.randrange(1, 5)):
                raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


@pytest.mark.parametrize("mutations", [100, pytest.param(1000, marks=pytest.mark.prove)])
async def test_a_damaged_index_costs_a_listing_and_nothing_else(
    open_tier: OpenTier, tmp_path: Path, mutations: int
) -> None:
    """Whatever is changed in snapshot and journal: it starts, serves right bytes or misses, and keeps its bound."""
    first = await open_tier(limit_bytes=20 * FILE_BYTES)
    await keep(first, *KEYS[:12])
    await first.aclose()
    first = await open_tier(limit_bytes=20 * FILE_BYTES)
    await keep(first, *KEYS[12:])
    place = copy_as_killed(tmp_path / "cache", tmp_path / "killed")
    await first.aclose()
    index = place / "index-1"
    sound = {path.name: path.read_bytes() for path in index.iterdir()}
    assert len(sound) == 2
    held = len(files_of(place))
    chance = random.Random(11)
    served = 0
    for _ in range(mutations):
        shutil.rmtree(index)
        index.mkdir()
        for name, data in sound.items():
            (index / name).write_bytes(data)
        name = chance.choice(sorted(sound))
        rewrite(index / name, lambda raw: mutate(raw, chance))
        tier = await open_tier(limit_bytes=20 * FILE_BYTES, directory=place)
        assert tier.stats().state == "rw"
        assert tier.stats().bytes == held * FILE_BYTES
        served += await assert_right_or_missing(tier)
        await tier.aclose()
    assert served == mutations * held


@pytest.mark.parametrize("what", ["a folder", "a link", "another version", "another format", "a pipe", "huge"])
async def test_what_is_no_snapshot_of_ours_is_passed_over(open_tier: OpenTier, tmp_path: Path, what: str) -> None:
    first = await open_tier()
    await keep(first, *KEYS)
    await first.aclose()
    path = tmp_path / "cache" / "index-1" / "snapshot"
    sound = path.read_bytes()
    path.unlink()
    match what:
        case "a folder":
            path.mkdir()
        case "a link":
            (tmp_path / "elsewhere").write_bytes(sound)
            path.symlink_to(tmp_path / "elsewhere")
        case "another version" | "another format":
            body = bytearray(sound[:-32])
            body[9 if what == "another version" else 0] ^= 1
            path.write_bytes(body + blake3(body).digest())
        case "a pipe":
            os.mkfifo(path)
        case "huge":
            with path.open("wb") as file:
                file.write(sound)
                file.truncate(1 << 40)
    with pytest.raises((SnapshotError, OSError)):
        read_snapshot(str(path))
    second = await open_tier()
    assert second.stats().state == "rw"
    assert await assert_right_or_missing(second) == len(KEYS)


def test_a_snapshot_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    writer = SnapshotWriter(str(path), 3)
    writer.begin()
    writer.add(struct.pack("<32sIB", b"n" * 32, 4096, 7), 4096)
    with pytest.raises(FileNotFoundError):
        read_snapshot(str(path))
    writer.finish()
    assert read_snapshot(str(path)).journal == 3
    given_up = SnapshotWriter(str(path), 4)
    given_up.begin()
    given_up.abort()
    assert read_snapshot(str(path)).journal == 3
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot"]


def test_a_journal_goes_on_in_another_file_after_an_append_that_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(str(tmp_path))
    journal.append([], [(b"a" * 32, 1)])
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(OSError, match="No space"):
            journal.append([], [(b"b" * 32, 1)])
    journal.append([b"a" * 32], [(b"c" * 32, 1)])
    frames = Journal(str(tmp_path)).read_from(0)
    assert [frame[0:1] for frame in frames] == [b"a", b"a"]
    assert len(frames[1]) == 2 * 37


def test_a_journal_that_nobody_has_read_yet_is_not_in_the_way_of_the_next_one(tmp_path: Path) -> None:
    """A program that wrote before it had read the index took "File exists" for a broken disk."""
    Journal(str(tmp_path)).append([], [(b"a" * 32, 1)])
    journal = Journal(str(tmp_path))
    journal.append([], [(b"b" * 32, 1)])
    assert [frame[0:1] for frame in journal.read_from(0)] == [b"a", b"b"]


async def test_the_index_of_another_format_is_removed_since_it_knows_nothing_of_what_comes(
    open_tier: OpenTier, tmp_path: Path
) -> None:
    (tmp_path / "cache" / "index-9").mkdir(parents=True)
    (tmp_path / "cache" / "index-9" / "snapshot").write_bytes(b"x")
    (tmp_path / "cache" / "other").mkdir()
    await open_tier()
    assert not (tmp_path / "cache" / "index-9").exists()
    assert (tmp_path / "cache" / "other").exists()


async def test_the_background_work_takes_a_fifth_of_a_core(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock on which all file work takes 10 ms, a scan pauses four times as long as it works."""
    first = await open_tier()
    await keep(first, *KEYS)
    await first.aclose()
    clock = WorkClock()
    monkeypatch.setattr("rangecache.blocks.disk_files.BlockFiles.names", clock.slowed("names", 0.01))
    tier = DiskTier(tmp_path / "cache", ROOMY, 0, clock)
    await tier.start()
    indexing = tier._folder._indexing
    assert indexing is not None
    await indexing
    shelves = len({path_of(tier, key).parent for key in KEYS})
    assert clock.worked_s == pytest.approx(shelves * 0.01)
    assert clock.paused_s >= disk_index.PAUSE_FACTOR * clock.worked_s * 0.99
    await tier.aclose()


class WorkClock:
    """Time that passes when work is done or paused for; who sleeps for longer than a pause sleeps for ever."""

    def __init__(self) -> None:
        self.now_s = self.worked_s = self.paused_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    wall = monotonic

    async def sleep(self, delay_s: float) -> None:
        if delay_s > disk_index.PAUSE_S:
            await asyncio.get_running_loop().create_future()
        self.now_s += delay_s
        self.paused_s += delay_s

    def slowed(self, name: str, work_s: float) -> Callable[..., object]:
        real = getattr(BlockFiles, name)

        def slow(*args: object) -> object:
            self.now_s += work_s
            self.worked_s += work_s
            return real(*args)

        return slow


async def test_a_purge_leaves_nothing_that_a_restart_could_find(
    open_tier: OpenTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks on disk, blocks that wait and blocks that are being written, and a program that is killed right after."""
    gone, stays = [key for key in KEYS if key.ref == KEYS[0].ref], [key for key in KEYS if key.ref != KEYS[0].ref]
    tier = await open_tier()
    await keep(tier, *gone[:3], *stays[:3])
    monkeypatch.setattr("rangecache.blocks.disk_writer.BATCH_BYTES", BLOCK_BYTES)
    for key in (*gone[3:], *stays[3:]):
        tier.keep(key, content(key))
    held = await tier.forget({KEYS[0].ref})
    assert held == Forgotten(Held(len(gone), len(gone) * FILE_BYTES))
    place = copy_as_killed(tmp_path / "cache", tmp_path / "killed")
    await tier.flush()
    for each in (tier, await open_tier(directory=place)):
        assert [await each.get(key) for key in gone] == [None] * len(gone)
        assert await each.held({KEYS[0].ref}) == {}
    assert [await tier.get(key) for key in stays] == [content(key) for key in stays]


async def test_a_purge_waits_for_what_is_just_being_written(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    with monkeypatch.context() as patch:
        gate = Gate(patch, "write")
        tier.keep(KEYS[0], content(KEYS[0]))
        await gate.wait_for_arrivals(1)
        purge = asyncio.create_task(tier.forget({KEYS[0].ref}))
        others = asyncio.create_task(tier.held({KEYS[1].ref}))
        assert await others == {}
        assert not purge.done()
        gate.open.set()
        assert await purge == Forgotten(Held(1, FILE_BYTES))
    assert not path_of(tier, KEYS[0]).exists()
    assert await tier.get(KEYS[0]) is None


async def test_a_purge_takes_what_only_the_scan_finds(open_tier: OpenTier, tmp_path: Path) -> None:
    first = await open_tier()
    await first.aclose()
    empty = copy_as_killed(tmp_path / "cache" / "index-1", tmp_path / "index")
    first = await open_tier()
    await keep(first, *KEYS)
    await first.aclose()
    shutil.rmtree(tmp_path / "cache" / "index-1")
    shutil.copytree(empty, tmp_path / "cache" / "index-1")
    second = await open_tier(listed=False)
    gone = [key for key in KEYS if key.ref == KEYS[0].ref]
    assert (await second.forget({KEYS[0].ref})).held.blocks == len(gone)
    assert not any(path_of(second, key).exists() for key in gone)


def test_the_bytes_of_a_snapshot_stay_as_they_are(tmp_path: Path) -> None:
    """A change of format must change INDEX_VERSION, and then this test."""
    path = tmp_path / "snapshot"
    writer = SnapshotWriter(str(path), 3)
    writer.begin()
    writer.add(struct.pack("<32sIB", b"n" * 32, 4096, 7), 4096)
    writer.finish()
    assert path.read_bytes().hex() == (
        "72632d696e64657801000300000000000000"
        + "6e" * 32
        + "0010000007010000000000000000100000000000009c052c73d3ec2cd23a671e2a56bfd4c43a4dfb5939ff675b9450c76be7cac9ad"
    )
