"""Ends and beginnings of the program, as a process on a real disk."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.objects import check_stamped, stamped
from rangecache.testing.origin import Origin
from tests.edge.admin import admin_of
from tests.edge.client import Client, CutShort
from tests.edge.process import Proxy
from tests.edge.rig import BLOCK, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

BLOCKS: Final = 9
SIZE: Final = (BLOCKS - 1) * BLOCK + 100
DATA: Final = stamped("k", 1, SIZE)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one object."""
    async with Origin() as running:
        running.put("b/k", DATA)
        yield running


async def everything_is_on_disk(proxy: Proxy, objects: int = 1, blocks: int = BLOCKS) -> None:
    """Wait until all blocks are in their files and the objects are in the catalog."""
    await until(lambda: len(proxy.block_files()) >= blocks and catalogued(proxy) >= objects)


def catalogued(proxy: Proxy) -> int:
    """Records in the catalog's database, as another process sees them."""
    database = proxy.cache / "catalog-2" / "cache.db"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM Cache").fetchone()
        except sqlite3.OperationalError:
            return 0  # its tables are just being made
    return int(count)


@pytest.mark.parametrize("how", ["clean stop", "kill -9"])
async def test_a_restart_is_warm(tmp_path: Path, origin: Origin, how: str) -> None:
    e_tag = origin.put("b/k", DATA).e_tag
    origin.put("b/other", stamped("other", 7, 3 * BLOCK))
    async with Proxy(tmp_path, origin) as proxy:
        assert (await proxy.get("k")).body == DATA
        assert (await proxy.get("other", f"Range: bytes={BLOCK}-{2 * BLOCK - 1}")).status == 206
        await everything_is_on_disk(proxy, objects=2, blocks=BLOCKS + 1)
        await (proxy.stop() if how == "clean stop" else proxy.kill())
        origin.log.clear()
        await proxy.start()
        answer = await proxy.get("k", f"Range: bytes=100-{SIZE - 1}")
        assert (answer.body, answer.headers["etag"]) == (DATA[100:], e_tag)
        assert "detail=disk" in answer.cache
        assert check_stamped((await proxy.get("other", f"Range: bytes={BLOCK}-{BLOCK + 99}")).body, BLOCK) == 7
        assert (await proxy.get("k", method="HEAD")).headers["content-length"] == str(SIZE)
        assert not origin.requests
        # Only what nobody had read before costs something, and it is pinned to what was known.
        await proxy.get("other", "Range: bytes=0-9")
        assert [(each.range, "if-match" in each.headers) for each in origin.requests] == [
            (f"bytes=0-{BLOCK - 1}", True)
        ]


async def test_what_a_finished_warm_job_kept_survives_kill_9_right_after_it(tmp_path: Path, origin: Origin) -> None:
    keys = [f"w/{number:02}" for number in range(20)]
    for number, key in enumerate(keys):
        origin.put(f"b/{key}", stamped(key, number, SIZE))
    async with Proxy(tmp_path, origin) as proxy, admin_of(proxy.admin_port) as admin:
        job = await admin.warm(objects=[f"web/b/{key}" for key in keys])
        await proxy.kill()
        assert job["progress"]["bytes"]["kept"] == len(keys) * SIZE
        assert len(proxy.block_files()) == len(keys) * BLOCKS
        origin.log.clear()
        await proxy.start()
        for number, key in enumerate(keys):
            assert (await proxy.get(key)).body == stamped(key, number, SIZE)
        assert not origin.requests


async def test_a_kill_9_in_the_middle_of_a_warm_job_leaves_what_was_written_and_nothing_wrong(
    tmp_path: Path, origin: Origin
) -> None:
    keys = [f"w/{number:02}" for number in range(20)]
    for number, key in enumerate(keys):
        origin.put(f"b/{key}", stamped(key, number, SIZE))
    gate = origin.hold(f"b/{keys[-1]}", after_bytes=BLOCK)
    async with Proxy(tmp_path, origin) as proxy, admin_of(proxy.admin_port) as admin:
        await admin.start("warm", objects=[f"web/b/{key}" for key in keys])
        await gate.reached()
        await everything_is_on_disk(proxy, objects=12, blocks=12 * BLOCKS)  # the others are under way
        await proxy.kill()
        gate.release()
        origin.log.clear()
        await proxy.start()
        for number, key in enumerate(keys):
            assert (await proxy.get(key)).body == stamped(key, number, SIZE)
        assert origin.log.body_bytes() <= 8 * SIZE


async def test_a_restart_does_not_make_stale_what_is_fresh_nor_fresh_what_is_stale(
    tmp_path: Path, origin: Origin
) -> None:
    freshness = [{"match": "web/b/long", "ttl": "1h"}, {"match": "**", "ttl": "0s"}]
    async with Proxy(tmp_path, origin, freshness=freshness) as proxy:
        for key in ("long", "short"):
            origin.put(f"b/{key}", stamped(key, 1, BLOCK))
            await proxy.get(key)
        await everything_is_on_disk(proxy, objects=2, blocks=2)
        await proxy.kill()
        for key in ("long", "short"):
            origin.put(f"b/{key}", stamped(key, 2, BLOCK))
        await proxy.start()
        assert check_stamped((await proxy.get("long")).body, 0, "long") == 1
        assert check_stamped((await proxy.get("short")).body, 0, "short") == 2


async def test_blocks_of_another_block_size_are_not_used(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(tmp_path, origin) as proxy:
        await proxy.get("k")
        await everything_is_on_disk(proxy)
        await proxy.stop()
    origin.log.clear()
    disk = {"path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}
    async with Proxy(tmp_path, origin, cache={"block_size": 2 * BLOCK, "disk": disk}) as proxy:
        assert (await proxy.get("k")).body == DATA
        assert origin.log.body_bytes() == SIZE


def flip_a_bit(path: Path, _: Path) -> None:
    """In the middle of the data."""
    data = bytearray(path.read_bytes())
    data[-50] ^= 4
    path.write_bytes(data)


def flip_a_bit_of_the_header(path: Path, _: Path) -> None:
    """In the identity."""
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def truncate(path: Path, _: Path) -> None:
    """By its last byte."""
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path, _: Path) -> None:
    """To nothing."""
    path.write_bytes(b"")


def lengthen(path: Path, _: Path) -> None:
    """By one byte."""
    path.write_bytes(path.read_bytes() + b"x")


def exchange(path: Path, other: Path) -> None:
    """For another block's file, which is whole."""
    path.write_bytes(other.read_bytes())


DAMAGES: Final = (flip_a_bit, flip_a_bit_of_the_header, truncate, empty, lengthen, exchange)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_damaged_file_is_a_counted_miss_and_its_bytes_are_fetched_again(
    tmp_path: Path, origin: Origin, damage: Callable[[Path, Path], None]
) -> None:
    # Its name is as long, so its file differs in nothing but what it says.
    origin.put("b/j", stamped("j", 1, BLOCK))
    async with Proxy(tmp_path, origin) as proxy:
        await proxy.get("j")
        await everything_is_on_disk(proxy, blocks=1)
        (other,) = proxy.block_files()
        await proxy.get("k")
        await everything_is_on_disk(proxy, objects=2, blocks=BLOCKS + 1)
        await proxy.kill()
        victims = [path for path in proxy.block_files() if path != other][:3]
        for path in victims:
            damage(path, other)
        await proxy.start()
        origin.log.clear()
        assert (await proxy.get("k")).body == DATA
        # Each damaged block is fetched, and at most the one between two of them.
        fetched = origin.log.body_bytes()
        assert 2 * BLOCK < fetched <= 5 * BLOCK
        assert await proxy.metric('rangecache_checksum_errors_total{tier="disk"}') == 3
        # They are whole again.
        await everything_is_on_disk(proxy, objects=2, blocks=BLOCKS + 1)
        await proxy.stop()
        await proxy.start()
        origin.log.clear()
        assert (await proxy.get("k")).body == DATA
        assert origin.log.body_bytes() == 0


async def test_files_that_vanish_while_the_program_runs_are_fetched_again(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(tmp_path, origin) as proxy:
        await proxy.get("k")
        await everything_is_on_disk(proxy)
        await proxy.kill()
        await proxy.start()
        for path in proxy.block_files():
            path.unlink()
        assert (await proxy.get("k")).body == DATA


async def test_a_ruined_catalog_makes_the_cache_cold_and_nothing_worse(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(tmp_path, origin) as proxy:
        await proxy.get("k")
        await everything_is_on_disk(proxy)
        await proxy.kill()
        for path in (proxy.cache / "catalog-2").iterdir():
            path.write_bytes(b"\xff" * path.stat().st_size)
        await proxy.start()
        assert (await proxy.get("k")).body == DATA
        await proxy.stop()


async def test_a_second_program_on_the_directory_serves_without_it(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(tmp_path, origin) as first, Proxy(tmp_path, origin) as second:
        assert (await first.get("k")).body == DATA
        await everything_is_on_disk(first)
        files = first.block_files()
        assert (await second.get("k")).body == DATA
        assert (await second.get("k")).body == DATA
        assert await first.metric('rangecache_disk_state{state="rw"}') == 1
        assert await second.metric('rangecache_disk_state{state="off"}') == 1
        assert await second.metric('rangecache_tier_blocks{tier="disk"}') == 0
        await second.stop()
        assert first.block_files() == files
        origin.log.clear()
        await first.kill()
        await first.start()
        assert (await first.get("k")).body == DATA
        assert origin.log.body_bytes() == 0


async def test_sigterm_lets_an_answer_under_way_end_and_says_not_ready_first(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(tmp_path, origin) as proxy:
        gate = origin.hold("b/k", after_bytes=BLOCK + 50)
        client = await Client.connect(proxy.port)
        idle = await Client.connect(proxy.port)
        client.send("/web/b/k")
        client.send("/web/b/k")
        assert (await client.head())[0] == 200
        assert await client.reader.readexactly(BLOCK + 50) == DATA[: BLOCK + 50]
        assert await proxy.ready() is True
        proxy.signal(signal.SIGTERM)
        while await proxy.ready() is True:
            await asyncio.sleep(0)
        assert await proxy.ready() is False
        # That was said while the answer was still held back, not when it had been given up.
        assert [each.answered_whole for each in origin.requests] == [False]
        # An idle connection is closed, a new one is not accepted, the answer goes on.
        assert await idle.reader.read() == b""
        with pytest.raises((OSError, CutShort)):
            await proxy.get("k")
        gate.release()
        assert await client.reader.readexactly(SIZE - BLOCK - 50) == DATA[BLOCK + 50 :]
        # No further request is begun.
        assert await client.reader.read() == b""
        assert await proxy.ended() == 0
        client.close()
        idle.close()


async def test_an_answer_that_outlasts_the_grace_is_cut_visibly(tmp_path: Path, origin: Origin) -> None:
    async with Proxy(
        tmp_path, origin, server={"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "shutdown_grace": "100ms"}
    ) as proxy:
        origin.hold("b/k", after_bytes=BLOCK)
        client = await Client.connect(proxy.port)
        client.send("/web/b/k")
        await client.head()
        proxy.signal(signal.SIGTERM)
        assert len(await _until_cut(client)) < SIZE
        assert await proxy.ended() == 0
        client.close()


async def _until_cut(client: Client) -> bytes:
    body = bytearray()
    try:
        while piece := await client.reader.read(1 << 16):
            body += piece
    except ConnectionError:
        pass
    return bytes(body)
