"""Every place of the program that holds bytes says so, stays within its bound, and is empty when nobody reads."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from rangecache.origin.session import BUFFERED_BYTES
from rangecache.server.sending import SMALL_ANSWER_BYTES
from rangecache.testing.objects import Stamped, stamped
from tests.edge.client import fetch, request
from tests.edge.rig import BLOCK, running, until
from tests.edge.test_coalescing import settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.edge.rig import Rig

MIB: Final = 1 << 20
SLOW: Final = 40
LARGE: Final = 64 * MIB


@asynccontextmanager
async def slow_clients(rig: Rig, target: str) -> AsyncIterator[None]:
    """Some who have asked and do not read; their own kernel takes next to nothing for them."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        for _ in range(SLOW):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", rig.port))
            await loop.sock_sendall(client, request(target))
        await until(lambda: sum(each._outbox.paused for each in rig.program.port.connections) == SLOW)
        yield


async def test_each_place_shows_what_it_holds(tmp_path: Path) -> None:
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}
    async with running(cache={"disk": disk, "memory": {"size": 16 * MIB}}) as rig:
        rig.origin.put("b/k", stamped("k", 1, 20 * BLOCK))
        await rig.get("k", f"Range: bytes={20 * BLOCK - 1}-")
        gate = rig.origin.hold("b/k", after_bytes=BLOCK + 1000)
        client = await rig.connect()
        client.send("/web/b/k", f"Range: bytes=0-{16 * BLOCK - 1}")
        await client.head()
        await client.reader.readexactly(BLOCK + 1000)
        held = rig.memory()
        assert held["in_flight"].bytes == BLOCK
        assert held["held_for_readers"].bytes == BLOCK
        assert held["prefetched"].bytes == 15 * BLOCK
        assert 2 * BLOCK < held["resident"].bytes < 3 * BLOCK
        assert held["catalog"].bytes > 500
        gate.release()
        await client.reader.readexactly(15 * BLOCK - 1000)
        client.writer.write(b"GET /web/b/k HT")
        await until(lambda: rig.memory()["requests"].bytes == 15)
        # The document of the admin port is the same.
        shown = json.loads((await fetch(rig.admin_port, "/v1/stats")).body)["memory"]
        assert shown["requests"] == {"bytes": 15, "limit_bytes": 16 * MIB}
        assert set(shown) == set(held)
        assert all(place["bytes"] <= place["limit_bytes"] for place in shown.values())
        for each in ("resident", "disk_queue", "send_buffers", "origin_buffers", "hand_off"):
            assert shown[each]["limit_bytes"] > 0


async def test_slow_readers_of_what_is_cached_keep_no_more_than_the_send_buffer() -> None:
    async with running(
        server={"send_buffer": MIB}, cache={"block_size": "256KiB", "memory": {"size": 128 * MIB}}
    ) as rig:
        rig.origin.put("b/k", Stamped("k", 1, LARGE), etag='"1"')
        await rig.get("k")
        async with slow_clients(rig, "/web/b/k"):
            assert MIB // 2 < rig.memory()["send_buffers"].bytes <= MIB + SLOW * SMALL_ANSWER_BYTES
            # Who reads is served all the same.
            assert len((await rig.get("k", f"Range: bytes={MIB}-{3 * MIB - 1}")).body) == 2 * MIB


async def test_slow_readers_of_what_cannot_be_stored_keep_their_origin_waiting() -> None:
    async with running() as rig:
        rig.origin.put("b/k", Stamped("k", 1, LARGE), etag=None, last_modified=None)
        await rig.get("k", "Range: bytes=0-0")
        async with slow_clients(rig, "/web/b/k"):
            assert len(rig.origin.requests) == SLOW + 1
            # Most of it is still to be sent; the rest of what has been sent lies in the kernel.
            assert await settled(rig) < SLOW * LARGE // 4
            held = rig.memory()
            assert 0 < held["hand_off"].bytes <= SLOW * BUFFERED_BYTES
            assert held["origin_buffers"].bytes <= SLOW * BUFFERED_BYTES
            # What can be stored is not held up by them, and one who reads gets his bytes.
            rig.origin.put("b/other", stamped("other", 1, 10 * BLOCK))
            assert (await rig.get("other")).body == stamped("other", 1, 10 * BLOCK)
            assert len((await rig.get("k", f"Range: bytes=0-{MIB - 1}")).body) == MIB
