"""Faults of disks, with real means: whatever happens there, clients get right bytes as long as the origin is healthy.

| fault | shown by |
|---|---|
| a block file cut, longer, changed, exchanged, or no file at all | `test_a_file_that_is_not_the_block…`, here |
| leftovers of a program that was killed | `tests/blocks/test_traced.py`, `test_kill.py` |
| no space, no quota: blocks, index, catalog | `test_a_file_system…[full]`, here; `test_traced.py` |
| read-only, access denied, I/O errors | `test_a_file_system…[read_only]`, here; `test_traced.py` |
| no descriptor left | `test_a_file_system…[no_more_files]`, here |
| no inode left, bytes free | `test_a_file_system…[out_of_inodes]`, here |
| index or catalog damaged, foreign, locked | `tests/blocks/test_disk_index.py`, `tests/read/test_catalog_store.py` |
| the wall clock jumps | `test_a_clock_that_jumps…`, here |
| a second program on the directory | `test_restart.py`, `tests/blocks/test_disk.py` |
| the directory is deleted | `test_a_file_system…[deleted]`, here |
| millions of files at the start | `test_it_serves_at_once…`, here |
| a read that never comes back | `tests/blocks/test_disk_reads.py` |
| the container's memory limit | `test_cgroup.py` |
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from rangecache.blocks.disk import DiskTier
from rangecache.testing.clock import ManualClock
from rangecache.testing.objects import stamped
from tests.blocks.test_disk_damage import (
    cut_in_the_header,
    empty,
    extend,
    flip_a_data_bit,
    flip_a_header_bit,
    link_to_a_good_copy,
    link_to_itself,
    link_to_nothing,
    make_a_device,
    make_a_folder,
    make_a_pipe,
    make_a_socket,
    make_huge,
    truncate,
    zero,
)
from tests.edge.bad_disks import MEMORY_BLOCKS, SCENARIOS
from tests.edge.rig import BLOCK, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.proving import Proof

SIZE: Final = 9 * BLOCK - 7
DATA: Final = stamped("k", 1, SIZE)


def exchange(path: Path) -> None:
    """For another block's file, which is whole."""
    other = next(each for each in path.parent.parent.rglob("?" * 64) if each != path)
    path.write_bytes(other.read_bytes())


DAMAGES: Final = (
    *(truncate, cut_in_the_header, empty, extend, make_huge, zero, flip_a_data_bit, flip_a_header_bit, exchange),
    *(link_to_a_good_copy, link_to_itself, link_to_nothing),
    *(make_a_device, make_a_folder, make_a_pipe, make_a_socket),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_file_that_is_not_the_block_is_fetched_again_and_counted(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": 1 << 30, "min_free": 0}
    async with running(cache={"memory": {"size": 2 * BLOCK}, "disk": disk}) as rig:
        assert rig.program.disk is not None
        rig.origin.put("b/k", DATA)
        assert (await rig.get("k")).body == DATA
        await rig.program.disk.flush()
        victims = sorted((tmp_path / "cache" / "blocks-1").rglob("?" * 64))[:3]
        for path in victims:
            damage(path)
        rig.origin.log.clear()
        answer = await rig.get("k")
        assert (answer.status, answer.body) == (200, DATA)
        assert 2 * BLOCK <= rig.origin.log.body_bytes() <= 6 * BLOCK
        assert rig.program.disk.stats().checksum_errors == 3
        await rig.program.disk.flush()
        rig.origin.log.clear()
        assert (await rig.get("k")).body == DATA
        assert rig.origin.log.body_bytes() == 0


def why_not() -> str:
    """Why nothing can be mounted here; empty if it can."""
    if os.geteuid() or shutil.which("unshare") is None or shutil.which("mkfs.ext4") is None:
        return "only root may mount a file system, with unshare and mkfs.ext4"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "there are no mount namespaces here"


async def play(scenario: str, place: Path) -> dict[str, Any]:
    place.mkdir()
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.edge.bad_disks"),
        *(scenario, str(place)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()[-3000:]
    seen: dict[str, Any] = json.loads(said)
    return seen


EXPECTED: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "full": lambda seen: seen["states"] == ["ro", "rw"] and seen["served"] > 0 and seen["asked again"] == 0,
    "out_of_inodes": lambda seen: (  # what memory has is not touched on disk, and may have left it meanwhile
        seen["states"] == ["rw"]
        and seen["free"] > 0.08
        and seen["evictions"] > 0
        and seen["asked again"] <= MEMORY_BLOCKS
    ),
    "read_only": lambda seen: (
        seen["states"] == ["ro"] and seen["asked for what was there"] == 0 and seen["dropped"] > 0
    ),
    "no_more_files": lambda seen: seen["states"] == ["rw", "rw"] and seen["asked again"] == 0,
    "deleted": lambda seen: seen["states"] == ["rw"] and seen["asked again"] <= MEMORY_BLOCKS,
}


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_file_system_that_fails_costs_requests_to_the_origin_and_nothing_else(
    tmp_path: Path, scenario: str
) -> None:
    """`bad` holds the answers that were not 200 with the right bytes."""
    seen = await play(scenario, tmp_path / "place")
    assert seen["bad"] == []
    assert EXPECTED[scenario](seen), seen


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
async def test_a_clock_that_jumps_makes_nothing_stale_and_evicts_nothing(tmp_path: Path, jump_s: float) -> None:
    clock = ManualClock()
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": 1 << 30, "min_free": 0}
    async with running(clock=clock, cache={"memory": {"size": 2 * BLOCK}, "disk": disk}) as rig:
        assert rig.program.disk is not None
        rig.origin.put("b/k", DATA)
        await rig.get("k")
        await rig.program.disk.flush()
        clock.wall_s += jump_s
        rig.origin.log.clear()
        assert (await rig.get("k")).body == DATA
        assert not rig.origin.requests
        assert rig.program.disk.stats().blocks == 9


def fill(place: Path, files: int) -> None:
    """Names as blocks have them; nothing is read of them but that they are there."""
    shelves = place / "cache" / "blocks-1"
    for shelf in range(256):
        (shelves / f"{shelf:02x}").mkdir(parents=True)
    for number in range(files):
        name = f"{number:032x}{number % 256:02x}{number:030x}"
        os.close(os.open(shelves / name[32:34] / name, os.O_CREAT | os.O_WRONLY, 0o600))


@pytest.mark.parametrize(
    "files", [20_000, pytest.param(1_000_000, marks=[pytest.mark.prove, pytest.mark.timeout(3000)])]
)
async def test_it_serves_at_once_however_many_files_there_are(tmp_path: Path, proof: Proof, files: int) -> None:
    """Without an index at first, then with it. What is counted is what the program says; the time is only shown."""
    fill(tmp_path, files)
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": 1 << 40, "min_free": 0}
    times = []
    for listed in (False, True):
        began = time.monotonic()
        async with running(cache={"memory": {"size": 2 * BLOCK}, "disk": disk}) as rig:
            assert isinstance(rig.program.disk, DiskTier)
            rig.origin.put("b/k", DATA)
            assert (await rig.get("k")).body == DATA
            times.append(time.monotonic() - began)
            if listed:
                assert rig.program.disk.stats().state == "rw"
            await rig.program.disk.flush()
            # Another origin is another source, so its blocks are others.
            assert rig.program.disk.stats().blocks == files + (18 if listed else 9)
    proof.row(
        f"a program begins to serve whatever lies in its directory, here {files:,} files".replace(",", " "),
        f"first answer after {times[0]:.2f} s without an index, {times[1]:.2f} s with one",
    )
