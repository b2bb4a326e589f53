"""Listings of the whole program: what its settings and a purge have to do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.edge.admin import admin_of
from tests.edge.client import fetch
from tests.edge.rig import running

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_directory_is_listed_and_a_purge_forgets_it(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "old").write_bytes(b"12345")
    providers = {"f": {"kind": "file", "buckets": {"b": str(tmp_path)}}}
    lasting = {"negative_ttl": "1h", "listing_ttl": "1h"}
    async with running(providers=providers, defaults=lasting) as rig, admin_of(rig.admin_port) as admin:
        first = await fetch(rig.port, "/f/b/dir/")
        assert b'<a href="old">old</a>' in first.body
        (tmp_path / "dir" / "new").write_bytes(b"")
        assert (await fetch(rig.port, "/f/b/dir/")).body == first.body
        assert rig.memory()["listings"].bytes > 0
        status, _ = await admin.ask("POST", "purge", b'{"object": "f/b/dir/old"}')
        assert status == 200
        assert b'<a href="new">new</a>' in (await fetch(rig.port, "/f/b/dir/")).body


async def test_the_shorter_of_the_two_lifetimes_holds_for_a_listing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    providers = {"f": {"kind": "file", "buckets": {"b": str(tmp_path)}}}
    for lifetimes in ({"negative_ttl": "1h", "listing_ttl": "0s"}, {"negative_ttl": "0s", "listing_ttl": "1h"}):
        async with running(providers=providers, defaults=lifetimes) as rig:
            for _ in range(2):
                answer = await fetch(rig.port, "/f/b/")
                assert answer.cache == "rangecache; fwd=uri-miss; stored"
