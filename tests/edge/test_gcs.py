"""Google Cloud Storage through the whole program, as a client sees it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.settings import Settings
from rangecache.wiring.program import Program

from .client import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.emulators import FakeGcs

pytestmark = pytest.mark.emulator


async def test_a_compressed_object_is_cached_and_served_as_it_is_stored(fake_gcs: FakeGcs, tmp_path: Path) -> None:
    packed = gzip.compress(bytes(range(256)) * 400)
    generation = fake_gcs.put("private", "edge/packed", packed, contentEncoding="gzip")
    gs = {"kind": "gcs", "endpoint": fake_gcs.tap.endpoint, "credentials": {"anonymous": "true"}}
    program = Program(
        Settings.model_validate(
            {
                "server": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"},
                "cache": {"disk": {"path": str(tmp_path / "cache"), "min_free": "1MiB"}},
                "providers": {"gs": gs},
            }
        ),
        SystemClock(),
    )
    await program.start()
    try:
        port = program.addresses[0].port
        part = await fetch(port, "/gs/private/edge/packed", "Range: bytes=10-29")
        fake_gcs.tap.clear()
        again = await fetch(port, "/gs/private/edge/packed", "Range: bytes=-5")
        named = await fetch(port, f"/gs/private/edge/packed?generation={generation}")
        absent = await fetch(port, "/gs/private/edge/nothing")
    finally:
        await program.stop()
    assert (part.status, part.body, again.body, named.body) == (206, packed[10:30], packed[-5:], packed)
    for answer in (part, again, named):
        assert answer.headers["etag"] == f'"{generation}"'
        assert answer.headers["content-encoding"] == "gzip"
    assert "hit" in again.headers["cache-status"]
    assert [each.target for each in fake_gcs.tap.requests] == [
        f"/private/edge/packed?generation={generation}",
        "/private/edge/nothing",
    ]
    assert absent.status == 404
