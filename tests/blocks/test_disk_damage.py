"""Whatever lies at a block's path: the right bytes or a miss, which is counted and cleaned up."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk_files import BlockFiles
from tests.blocks.conftest import BLOCK_BYTES, block_key, content, keep, path_of, read_and_close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from rangecache.blocks.disk import DiskTier

    OpenTier = Callable[..., Awaitable[DiskTier]]

KEY = block_key(0)
OTHER = block_key(1)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_in_the_header(path: Path) -> None:
    os.truncate(path, 20)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def make_huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_a_header_bit(path: Path) -> None:
    flip(path, 8 * 60)


def flip_a_data_bit(path: Path) -> None:
    flip(path, 8 * (path.stat().st_size - BLOCK_BYTES // 2))


def flip(path: Path, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)


def link_to_a_good_copy(path: Path) -> None:
    copy = path.with_name("copy")
    path.rename(copy)
    path.symlink_to(copy)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_socket(path: Path) -> None:
    path.unlink()
    here = os.open(path.parent, os.O_RDONLY)  # a socket's path is short; this one is not
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_a_device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        cut_in_the_header,
        empty,
        extend,
        make_huge,
        zero,
        flip_a_header_bit,
        flip_a_data_bit,
        link_to_a_good_copy,
        link_to_nothing,
        link_to_itself,
        make_a_pipe,
        make_a_folder,
        make_a_socket,
        make_a_device,
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_damaged_file_is_a_miss_counted_and_removed(
    open_tier: OpenTier, damage: Callable[[Path], None], restarted: bool
) -> None:
    tier = await open_tier()
    await keep(tier, KEY, OTHER)
    damage(path_of(tier, KEY))
    if restarted:
        await tier.aclose()
        tier = await open_tier()
    listed = tier.contains(KEY)  # what is no regular file was removed when the directory was listed
    assert await tier.get(KEY) is None
    assert tier.stats().checksum_errors == int(listed)
    assert not os.path.lexists(path_of(tier, KEY))
    assert not tier.contains(KEY)
    assert tier.stats().state == "rw"
    await keep(tier, KEY)
    assert await tier.get(KEY) == content(KEY)
    assert await tier.get(OTHER) == content(OTHER)


async def test_a_sound_file_of_another_block_at_this_path_is_a_miss(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, KEY, OTHER)
    shutil.copy(path_of(tier, OTHER), path_of(tier, KEY))
    assert await tier.get(KEY) is None
    assert tier.stats().checksum_errors == 1
    assert await tier.get(OTHER) == content(OTHER)


async def test_a_block_of_the_generation_before_at_this_path_is_a_miss(open_tier: OpenTier) -> None:
    tier = await open_tier()
    old, new = block_key(0, generation="1" * 32), block_key(0, generation="2" * 32)
    await keep(tier, old, new)
    shutil.copy(path_of(tier, old), path_of(tier, new))
    assert await tier.get(new) is None


async def test_a_folder_with_content_at_a_blocks_path_costs_that_block_only(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, KEY, OTHER)
    make_a_folder(path_of(tier, KEY))
    (path_of(tier, KEY) / "precious").write_bytes(b"x")
    assert await tier.get(KEY) is None
    await keep(tier, KEY)
    assert await tier.get(KEY) is None
    assert (path_of(tier, KEY) / "precious").exists()
    assert tier.stats().state == "rw"
    assert await tier.get(OTHER) == content(OTHER)


async def test_a_deleted_file_is_a_plain_miss(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    path_of(tier, KEY).unlink()
    assert await tier.get(KEY) is None
    assert tier.stats().checksum_errors == 0
    assert (tier.stats().blocks, tier.stats().bytes) == (0, 0)


async def test_no_flipped_bit_of_a_file_is_ever_served(open_tier: OpenTier) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    path = path_of(tier, KEY)
    sound = path.read_bytes()
    header_bits = range((len(sound) - BLOCK_BYTES) * 8)
    bits = [*header_bits, *random.Random(1).sample(range(header_bits.stop, len(sound) * 8), 300)]
    files, name = tier._files, bytes.fromhex(path.name)
    for bit in bits:
        flip(path, bit)
        with pytest.raises(Exception, match=r"header|block|data|format"):
            files.read(name, KEY)
        assert not path.exists()
        path.write_bytes(sound)
    assert read_and_close(files, KEY) == content(KEY)


async def test_a_block_found_damaged_while_the_directory_is_listed_is_written_anew(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    path = path_of(tier, KEY)
    await tier.aclose()
    empty(path)
    shutil.rmtree(tmp_path / "cache" / "index-1")
    listed, go_on = threading.Event(), threading.Event()
    list_files = BlockFiles.listing

    def list_and_wait(files: BlockFiles, names: Iterable[bytes]) -> bytes:
        found = list_files(files, names)
        listed.set()
        assert go_on.wait(10)
        return found

    monkeypatch.setattr(BlockFiles, "listing", list_and_wait)
    tier = await open_tier(listed=False)
    assert await asyncio.to_thread(listed.wait, 10)
    assert await tier.get(KEY) is None
    go_on.set()
    await tier.flush()
    await keep(tier, KEY)
    assert path.stat().st_size > 0
    assert await tier.get(KEY) == content(KEY)


async def test_bytes_that_were_damaged_on_their_way_are_read_again(
    open_tier: OpenTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = await open_tier()
    await keep(tier, KEY)
    read, calls = os.read, []

    def flipped_once(descriptor: int, length: int) -> bytes:
        calls.append(length)
        data = bytearray(read(descriptor, length))
        if len(calls) == 2:
            data[7] ^= 1
        return bytes(data)

    monkeypatch.setattr(os, "read", flipped_once)
    assert await tier.get(KEY) == content(KEY)
    assert (tier.stats().checksum_errors, len(calls)) == (0, 4)
