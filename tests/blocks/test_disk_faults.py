"""The disk fails: reads and answers go on, the state says so, and it recovers by itself."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.blocks.admission import LRU
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.disk_health import READ_ERRORS_MAX
from rangecache.errors import TierError
from tests.blocks.conftest import FILE_BYTES, ROOMY, block_key, content, keep, path_of, upkeep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from rangecache.testing.clock import ManualClock

    OpenTier = Callable[..., Awaitable[DiskTier]]


class FailingCalls:
    """Makes one function of `os` fail on the disk tier's own threads."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, call: str, number: int, first: int = 1, last: int = ROOMY
    ) -> None:
        """The `first` to `last` call fails with the error `number`."""
        self.calls = 0
        self.healed = False
        real = getattr(os, call)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if not threading.current_thread().name.startswith("disk-cache"):
                return real(*args, **kwargs)
            self.calls += 1
            if first <= self.calls <= last and not self.healed:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "writev", "rename"])
async def test_a_failed_write_makes_it_read_only_until_a_probe_succeeds(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, call: str, number: int
) -> None:
    tier = await open_tier()
    await keep(tier, *(block_key(index) for index in range(20)))
    with monkeypatch.context() as patch:
        faults = FailingCalls(patch, call, number)
        await keep(tier, block_key(100))
        assert tier.stats().state == "ro"
        assert os.strerror(number) in tier.state_reason
        assert not tier.contains(block_key(100))
        faults.healed = call == "open"  # reading opens files too
        assert await tier.get(block_key(19)) == content(block_key(19))
        await keep(tier, block_key(101))
        assert not tier.contains(block_key(101))
    await upkeep(clock, times=6)
    assert (tier.stats().state, tier.state_reason) == ("rw", "")
    await keep(tier, block_key(100))
    assert await tier.get(block_key(100)) == content(block_key(100))
    assert list((path_of(tier, block_key(0)).parent.parent).glob("**/tmp-*")) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_given_an_eighth_back(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tier = await open_tier(policy=LRU())
    await keep(tier, *(block_key(index) for index in range(16)))
    FailingCalls(monkeypatch, "writev", number)
    await keep(tier, block_key(100))
    assert [index for index in range(16) if not tier.contains(block_key(index))] == [0, 1]
    assert not path_of(tier, block_key(0)).exists()


@pytest.mark.parametrize(("indexed", "state"), [(True, "ro"), (False, "off")])
async def test_a_directory_that_cannot_be_listed_is_not_written_until_it_can(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, tmp_path: Path, indexed: bool, state: str
) -> None:
    first = await open_tier()
    await keep(first, block_key(0))
    await first.aclose()
    if not indexed:
        shutil.rmtree(tmp_path / "cache" / "index-1")
    with monkeypatch.context() as patch:
        FailingCalls(patch, "scandir", errno.EIO)
        tier = await open_tier()
        assert tier.stats().state == state
        assert "cannot be listed" in tier.state_reason
        assert await tier.get(block_key(0)) == (content(block_key(0)) if indexed else None)
    await upkeep(clock, times=6)
    await tier.flush()
    assert (tier.stats().state, tier.stats().blocks) == ("rw", 1)
    assert await tier.get(block_key(0)) == content(block_key(0))


async def test_a_probe_that_fails_leaves_it_read_only(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    FailingCalls(monkeypatch, "open", errno.EROFS)
    await keep(tier, block_key(1))
    await upkeep(clock, times=12)
    assert tier.stats().state == "ro"


async def test_a_write_cut_short_is_not_a_block(open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = await open_tier()
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [buffers[0], buffers[1][:100]]))
    await keep(tier, block_key(0))
    assert tier.stats().state == "ro"
    assert await tier.get(block_key(0)) is None
    assert list(path_of(tier, block_key(0)).parent.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_too_many_open_files_cost_a_block_and_not_the_disk(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    with monkeypatch.context() as patch:
        FailingCalls(patch, "open", number)
        await keep(tier, block_key(1))
        with pytest.raises(TierError):
            await tier.get(block_key(0))
    assert tier.stats().state == "rw"
    assert not tier.contains(block_key(1))
    assert await tier.get(block_key(0)) == content(block_key(0))


async def test_five_failed_reads_turn_it_off_and_a_probe_turns_it_on(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    with monkeypatch.context() as patch:
        faults = FailingCalls(patch, "read", errno.EIO)
        for _ in range(READ_ERRORS_MAX):
            with pytest.raises(TierError, match="Input/output error"):
                await tier.get(block_key(0))
        assert tier.stats().state == "off"
        assert await tier.get(block_key(0)) is None
        assert not tier.contains(block_key(0))
        assert faults.calls == READ_ERRORS_MAX
    await upkeep(clock, times=6)
    assert tier.stats().state == "rw"
    assert await tier.get(block_key(0)) == content(block_key(0))


async def test_a_directory_that_cannot_be_made_is_off_and_says_what_to_do(
    clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    tier = DiskTier(tmp_path / "file" / "cache", ROOMY, 0, clock)
    await tier.start()
    assert tier.stats().state == "off"
    assert "set cache.disk.path" in tier.state_reason
    tier.keep(block_key(0), content(block_key(0)))
    assert await tier.get(block_key(0)) is None
    await upkeep(clock, times=3)
    assert len([record for record in caplog.records if "is not used" in record.message]) == 1
    (tmp_path / "file").unlink()
    await upkeep(clock)
    await tier.flush()
    assert tier.stats().state == "rw"
    await tier.aclose()


async def test_a_directory_deleted_while_in_use_is_begun_anew(
    open_tier: OpenTier, tmp_path: Path, clock: ManualClock
) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0), block_key(1))
    shutil.rmtree(tmp_path / "cache")
    assert await tier.get(block_key(0)) is None
    await keep(tier, block_key(2))
    assert tier.stats().state == "ro"
    await upkeep(clock)
    await tier.flush()
    assert (tier.stats().state, tier.stats().blocks, tier.owned) == ("rw", 0, True)
    await keep(tier, block_key(2))
    assert await tier.get(block_key(2)) == content(block_key(2))


async def test_a_shelf_deleted_while_in_use_is_made_again(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, block_key(0))
    shutil.rmtree(path_of(tier, block_key(0)).parent)
    assert await tier.get(block_key(0)) is None
    await keep(tier, block_key(0))
    assert await tier.get(block_key(0)) == content(block_key(0))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("call", ["open", "fstat", "read", "writev", "rename", "unlink", "statvfs", "mkdir", "scandir"])
async def test_no_failing_call_reaches_a_reader_whenever_it_begins(
    monkeypatch: pytest.MonkeyPatch, clock: ManualClock, tmp_path: Path, call: str, number: int
) -> None:
    """The first, second, third … call of a kind fails, once and from then on, until the run has no such call left."""
    for sticky in (False, True):
        nth, calls = 0, 1
        while nth < min(calls, 12):
            nth += 1
            with monkeypatch.context() as patch:
                faults = FailingCalls(patch, call, number, nth, ROOMY if sticky else nth)
                tier = DiskTier(tmp_path / f"{sticky}-{nth}", 4 * FILE_BYTES, 0, clock)
                await tier.start()
                await tier.flush()
                await keep(tier, *(block_key(index) for index in range(6)))
                for index in range(6):
                    try:
                        found = await tier.get(block_key(index))
                    except TierError:
                        continue
                    assert found is None or found == content(block_key(index))
                assert tier.stats().bytes <= 4 * FILE_BYTES
                await tier.aclose()
                calls = faults.calls


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_full_file_system_gives_up_old_blocks_and_goes_on(
    open_tier: OpenTier, small_disk: Path, clock: ManualClock
) -> None:
    tier = await open_tier(directory=small_disk / "cache")
    await keep(tier, *(block_key(index) for index in range(60)))
    assert tier.stats().state == "rw"
    (small_disk / "somebody").write_bytes(bytes(400 * 1024))
    await keep(tier, *(block_key(index) for index in range(60, 120)))
    assert tier.stats().state == "ro"
    held = [index for index in range(120) if tier.contains(block_key(index))]
    for index in held:
        assert await tier.get(block_key(index)) == content(block_key(index))
    assert held
    (small_disk / "somebody").unlink()
    await upkeep(clock, times=6)
    assert tier.stats().state == "rw"
    await keep(tier, block_key(200))
    assert await tier.get(block_key(200)) == content(block_key(200))
