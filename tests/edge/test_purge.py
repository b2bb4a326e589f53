"""Purging as the operator does it, at the admin port of the whole program; what is true is in the origin's log."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from rangecache.testing.objects import check_stamped, stamped
from rangecache.testing.origin import Origin
from tests.edge.client import connected, fetch
from tests.edge.process import Proxy
from tests.edge.rig import BLOCK, Rig, running, until

if TYPE_CHECKING:
    from pathlib import Path

SIZE: Final = 5 * BLOCK + 100
TAG: Final = '"same"'
EVERYTHING: Final[dict[str, object]] = {"prefix": "web/b"}


async def ask(port: int, path: str, body: object = None, *fields: str) -> tuple[int, Any]:
    """GET, or POST of a document."""
    if body is None:
        answer = await fetch(port, path)
        return answer.status, json.loads(answer.body)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with connected(port) as client:
        lines = ["POST /v1/purge HTTP/1.1", "Host: localhost", *fields, f"Content-Length: {len(data)}"]
        if not any(field.startswith("Content-Type") for field in fields):
            lines.append("Content-Type: application/json")
        client.writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        answer = await client.answer()
        return answer.status, json.loads(answer.body)


def put(origin: Origin, number: int, *keys: str) -> None:
    for key in keys or ("k",):
        origin.put(f"b/{key}", stamped(key, number, SIZE), etag=TAG)


async def read(rig: Rig | Proxy, key: str = "k") -> int:
    """Which version of the object comes, whole."""
    body = (await rig.get(key)).body
    assert len(body) == SIZE
    return check_stamped(body, 0, key)


async def test_what_was_purged_is_fetched_anew_by_exactly_one_request(tmp_path: Path) -> None:
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}
    async with running(cache={"block_size": BLOCK, "memory": {"size": 64 << 20}, "disk": disk}) as rig:
        put(rig.origin, 1)
        assert await read(rig) == 1
        put(rig.origin, 2)
        assert await read(rig) == 1
        assert len(rig.asked("k")) == 1
        status, report = await ask(rig.admin_port, "/v1/purge", {"object": "web/b/k"})
        assert (status, report["objects"], report["complete"]) == (200, 1, True)
        assert report["tiers"]["memory"]["blocks"] == report["tiers"]["disk"]["blocks"] == 6
        assert await read(rig) == 2
        assert len(rig.asked("k")) == 2
        assert await read(rig) == 2
        assert len(rig.asked("k")) == 2


@pytest.mark.parametrize("how", ["clean stop", "kill -9"])
async def test_nothing_old_comes_back_with_a_restart(tmp_path: Path, how: str) -> None:
    async with Origin() as origin, Proxy(tmp_path, origin) as proxy:
        put(origin, 1, "k", "stays")
        assert [await read(proxy), await read(proxy, "stays")] == [1, 1]
        await until(lambda: len(proxy.block_files()) >= 12)
        assert (await ask(proxy.admin_port, "/v1/purge", {"object": "web/b/k"}))[0] == 200
        await (proxy.stop() if how == "clean stop" else proxy.kill())
        put(origin, 2, "k", "stays")
        await proxy.start()
        before = len(origin.log.select("b/k", "GET")), len(origin.log.select("b/stays", "GET"))
        assert [await read(proxy), await read(proxy, "stays")] == [2, 1]
        after = len(origin.log.select("b/k", "GET")), len(origin.log.select("b/stays", "GET"))
        assert after == (before[0] + 1, before[1])


async def killed_in_a_purge(tmp_path: Path, rounds: int, seed: int) -> tuple[int, int]:
    """Kills a program at random moments of purges. How many purges had been answered, and how many had not."""
    chance = random.Random(seed)
    answered = unanswered = 0
    keys = [f"d{number % 4}/{number}" for number in range(40)]
    async with Origin() as origin, Proxy(tmp_path, origin) as proxy:
        for generation in range(rounds):
            put(origin, generation, *keys)
            assert (await ask(proxy.admin_port, "/v1/purge", {"prefix": ""}))[0] == 200
            assert await asyncio.gather(*(read(proxy, key) for key in keys)) == [generation] * len(keys)
            await until(lambda: len(proxy.block_files()) >= 6 * len(keys))
            put(origin, generation + 1, *keys)
            prefix = f"web/b/d{chance.randrange(4)}/"
            purging = asyncio.create_task(ask(proxy.admin_port, "/v1/purge", {"prefix": prefix}))
            await asyncio.sleep(chance.random() * 0.06)
            done = purging.done()
            await proxy.kill()
            await asyncio.wait([purging])
            purging.exception()
            await proxy.start()
            for key in keys:
                requests = len(origin.log.select(f"b/{key}", "GET"))
                found = await read(proxy, key)
                asked = len(origin.log.select(f"b/{key}", "GET")) > requests
                if f"web/b/{key}".startswith(prefix):
                    assert found == generation + 1 or not done, "it was purged, and came back"
                    assert asked or not done
                else:
                    assert found == generation, "it was not meant"
            answered, unanswered = answered + done, unanswered + (not done)
    return answered, unanswered


async def test_a_kill_in_the_middle_of_a_purge_brings_back_nothing_that_was_reported(tmp_path: Path) -> None:
    await killed_in_a_purge(tmp_path, 4, 1)


@pytest.mark.prove
@pytest.mark.timeout(1800)
async def test_many_kills_in_the_middle_of_purges(tmp_path: Path, proof: Any) -> None:
    answered, unanswered = await killed_in_a_purge(tmp_path, 120, 2)
    assert answered
    assert unanswered
    proof.row(
        "purges, killed at random moments, restarted",
        figures=f"{answered} answered, {unanswered} not yet: 0 objects came back that an answer had called purged",
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either `prefix` or `object`"),
        ({"prefix": "", "object": "web/b/k"}, "either `prefix` or `object`"),
        ({"dry_run": True}, "either `prefix` or `object`"),
        ({"prefix": "/"}, 'write "prefix": ""'),
        ({"prefix": "http://localhost:1/"}, 'write "prefix": ""'),
        ({"prefix": "web//k"}, "provider/bucket/beginning-of-key"),
        ({"object": "web/b"}, "provider/bucket/key"),
        ({"object": "web/b/"}, "provider/bucket/key"),
        ({"object": "/web/b/k?versionId=1"}, "Leave the query away"),
        ({"object": "/web/b%2Fc/k"}, "encoded slash"),
        ({"object": "/web/b/%zz"}, "two hexadecimal digits"),
        ({"prefix": 1}, "`prefix` has to be text"),
        ({"prefix": None}, "`prefix` has to be text"),
        ({"prefix": "", "dry_run": 1}, "`dry_run` has to be true or false"),
        ({"prefix": "", "force": True}, "not known here"),
        ([], "JSON object"),
        (b"{", "not JSON"),
        ({"prefix": "web/b/" + "x" * 10_000}, "at most 8192 characters"),
        ({"prefix": "web/b/\ud800"}, "not Unicode"),
    ],
)
async def test_a_purge_that_cannot_be_understood_is_refused_and_purges_nothing(body: object, says: str) -> None:
    async with running() as rig:
        put(rig.origin, 1)
        await read(rig)
        status, problem = await ask(rig.admin_port, "/v1/purge", body)
        assert (status, says in problem["detail"]) == (400, True), problem
        assert await read(rig) == 1
        assert len(rig.asked("k")) == 1


async def test_a_purge_passes_the_guards_of_the_admin_port() -> None:
    async with running() as rig:
        status, problem = await ask(rig.admin_port, "/v1/purge", EVERYTHING, "Origin: http://evil.example")
        assert (status, problem["type"]) == (403, "urn:rangecache:problem:foreign-origin")
        assert (await ask(rig.admin_port, "/v1/purge", EVERYTHING, "Content-Type: text/plain"))[0] == 415
        assert (await fetch(rig.admin_port, "/v1/purge")).status == 405


@pytest.mark.parametrize(
    "name", ["web/b/a key/ä%41", "http://127.0.0.1:1/web/b/a%20key/%C3%A4%2541", "web://b/a key/ä%41"]
)
async def test_an_object_is_named_as_it_is_called_or_by_its_address(name: str) -> None:
    async with running() as rig:
        put(rig.origin, 1, "a key/ä%41")
        assert (await rig.get("a%20key/%C3%A4%2541")).status == 200
        status, report = await ask(rig.admin_port, "/v1/purge", {"object": name})
        assert (status, report["objects"], report["object"]) == (200, 1, "web/b/a key/ä%41")


async def test_a_purge_that_cannot_reach_the_disk_is_no_success(tmp_path: Path) -> None:
    """Another process holds the directory: this one will take it over some day, with all that is in it."""
    async with Origin() as origin, Proxy(tmp_path, origin) as first, Proxy(tmp_path, origin) as second:
        put(origin, 1)
        assert [await read(first), await read(second)] == [1, 1]
        status, problem = await ask(second.admin_port, "/v1/purge", {"object": "web/b/k"})
        assert (status, problem["type"]) == (503, "urn:rangecache:problem:purge-incomplete")
        assert problem["complete"] is False
        assert "is using it" in problem["failures"]["disk"]
        assert problem["tiers"]["memory"]["blocks"] == 6
        status, counted = await ask(second.admin_port, "/v1/purge", {"object": "web/b/k", "dry_run": True})
        assert (status, counted["complete"]) == (200, False)


# --- what is cached ---------------------------------------------------------------------------------------------------


async def test_what_is_cached_is_listed_page_by_page(tmp_path: Path) -> None:
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}
    async with running(cache={"block_size": BLOCK, "memory": {"size": 64 << 20}, "disk": disk}) as rig:
        keys = sorted(["a", "a/b", "a.c", "ab", "b", "Z", "a/ä"])
        put(rig.origin, 1, *keys)
        for key in keys:
            await rig.get(key.replace("ä", "%C3%A4"))
        await rig.program.disk.flush()  # type: ignore[union-attr]
        for limit in (1, 2, 3, 7, 100):
            found: list[str] = []
            cursor = ""
            while True:
                status, page = await ask(rig.admin_port, f"/v1/objects?limit={limit}{cursor}")
                assert (status, len(page["objects"]) <= limit) == (200, True)
                found += [each["object"] for each in page["objects"]]
                if page["cursor"] is None:
                    break
                cursor = f"&cursor={page['cursor']}"
            assert found == [f"web/b/{key}" for key in keys]
        _, page = await ask(rig.admin_port, "/v1/objects?prefix=web/b/a/")
        assert [each["object"] for each in page["objects"]] == ["web/b/a/b", "web/b/a/ä"]
        (one,) = [each for each in page["objects"] if each["object"] == "web/b/a/b"]
        assert one["size"] == SIZE
        assert one["e_tag"] == TAG
        assert one["freshness"] == "fresh"
        assert 3590 < one["ttl_s"] <= 3600
        assert {name: held["blocks"] for name, held in one["tiers"].items()} == {"memory": 6, "disk": 6}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=%21", "cursor=_w", "other=1", "prefix=web//a"]
)
async def test_a_question_that_cannot_be_understood_is_refused(query: str) -> None:
    async with running() as rig:
        assert (await ask(rig.admin_port, f"/v1/objects?{query}"))[0] == 400


async def test_an_object_is_shown_with_the_blocks_that_are_there(tmp_path: Path) -> None:
    disk = {"enabled": True, "path": str(tmp_path / "cache"), "size": "1GiB", "min_free": "1MiB"}
    async with running(cache={"block_size": BLOCK, "memory": {"size": 64 << 20}, "disk": disk}) as rig:
        rig.origin.put("b/k", stamped("k", 1, 20 * BLOCK))
        for first, last in ((0, 1), (7, 7), (12, 15)):
            await rig.get("k", f"Range: bytes={first * BLOCK}-{(last + 1) * BLOCK - 1}")
        await rig.program.disk.flush()  # type: ignore[union-attr]
        status, found = await ask(rig.admin_port, "/v1/objects/web/b/k")
        (one,) = found["versions"]
        assert (status, found["object"], one["block_count"]) == (200, "web/b/k", 20)
        for name in ("memory", "disk"):
            assert one["tiers"][name]["map"] == [[0, 2], [7, 8], [12, 16]]
            assert one["tiers"][name]["blocks_of_other_versions"] == 0
        leaves = one["tiers"]["memory"]["leaves"]
        assert (leaves["after"], leaves["last_after"], leaves["of"], len(leaves["ranks"])) == (0, 6, 7, 2)
        rig.origin.put("b/k", stamped("k", 2, 20 * BLOCK))
        await rig.get("k", "Cache-Control: no-cache", "Range: bytes=0-0")
        await rig.program.disk.flush()  # type: ignore[union-attr]
        _, found = await ask(rig.admin_port, "/v1/objects/web/b/k")
        assert found["versions"][0]["tiers"]["disk"]["map"][0][0] == 0
        assert found["versions"][0]["tiers"]["disk"]["blocks_of_other_versions"] == 7


async def test_an_object_that_is_not_there_is_a_404_whatever_the_origin_has() -> None:
    async with running() as rig:
        put(rig.origin, 1)
        for path in ("web/b/k", "none/b/k"):
            status, problem = await ask(rig.admin_port, f"/v1/objects/{path}")
            assert (status, problem["type"]) == (404, "urn:rangecache:problem:not-cached")
        assert (await ask(rig.admin_port, "/v1/objects/web/b"))[0] == 400
        assert (await ask(rig.admin_port, "/v1/objects/web/b/k?versionId=1"))[0] == 400
        assert rig.asked("k") == []


async def test_looking_moves_nothing(tmp_path: Path) -> None:
    """Neither the order in which blocks go, nor what the catalog has in memory."""
    async with running() as rig:
        put(rig.origin, 1, "a", "b", "c")
        for key in "abc":
            await read(rig, key)
        before = [each.key for each in rig.program.memory._policy.standing()]
        known = list(rig.program.catalog._known)
        await ask(rig.admin_port, "/v1/objects")
        await ask(rig.admin_port, "/v1/objects/web/b/a")
        await ask(rig.admin_port, "/v1/purge", {"prefix": "", "dry_run": True})
        assert [each.key for each in rig.program.memory._policy.standing()] == before
        assert list(rig.program.catalog._known) == known
