"""Directories on the data port: which answer each request for one gets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.tasks import Background
from rangecache.errors import PermissionDenied, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.patterns import PatternSet
from rangecache.read.listings import Listings
from rangecache.server.directories import Directories, DirectoryRequest
from rangecache.server.request import Namespace, Router
from rangecache.testing.clock import ManualClock
from tests.server.conftest import request_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import Answer, Door

JSON = "Accept: application/json"


class Place:
    """A door in front of a store in memory, with rules of its own."""

    def __init__(self, make_door: Callable[..., object]) -> None:
        self._make_door = make_door
        self.store = MemoryStore()
        self.unlisted: set[str] = set()
        for bucket, key in [("data", "a/x"), ("data", "a/y z"), ("data", "a/deep/er"), ("other", "k")]:
            self.store.put(ObjectRef("s3", bucket, key), b"x" * len(key))

    async def open(self, *allow: str, configured: tuple[str, ...] = ()) -> Door:
        allowed = PatternSet(allow or ["**"])
        namespaces = {"s3": Namespace(lambda name: len(name) >= 3), "web": Namespace({"site"}.__contains__)}
        router = Router(namespaces, lambda ref: str(ref) in allowed, allowed.reaches)
        clock, background = ManualClock(), Background()
        listings = Listings({"s3": self.store, "web": MemoryStore()}, clock, background, life_s=2)
        directories = Directories(
            router, listings, {"s3": configured, "web": ("site",)}, lambda ref: ref.bucket not in self.unlisted
        )
        return await self._make_door(router=router, directories=directories, clock=clock, answers=background)  # type: ignore[misc]


@pytest.fixture
def place(make_door: Callable[..., object]) -> Place:
    return Place(make_door)


def read(answer: Answer) -> tuple[list[str], list[str]]:
    """Folders and keys of a JSON answer."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    members = json.loads(answer.body)
    return members["folders"], [each["key"] for each in members["objects"]]


async def test_a_directory_is_a_page_for_everybody_and_a_document_for_who_asks_for_json(place: Place) -> None:
    door = await place.open()
    for accept in ((), ("Accept: */*",), ("Accept: text/html,application/json;q=0.9",), ("accept:text/html",)):
        answer = await door.get("/s3/data/a/", *accept)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b'<a href="y%20z">y z</a>' in answer.body
    for accept in (JSON, "accept: application/json, text/html;q=0.5", "ACCEPT: Application/JSON;q=1"):
        assert read(await door.get("/s3/data/a/", accept)) == (["a/deep/"], ["a/x", "a/y z"])
    assert place.store.request_count == 1


async def test_its_head_says_what_a_get_says_and_that_nothing_is_to_be_executed(place: Place) -> None:
    door = await place.open()
    whole = await door.get("/s3/data/a/")
    head = await door.get("/s3/data/a/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "Content-Security-Policy", "X-Content-Type-Options"):
        assert head.headers[name] == whole.headers[name]
    assert "default-src 'none'" in head.headers["Content-Security-Policy"]
    ranged = await door.get("/s3/data/a/", "Range: bytes=0-3")
    assert (ranged.status, ranged.body) == (200, whole.body)


async def test_cache_status_age_and_metrics_say_how_it_came_about(place: Place) -> None:
    door = await place.open()
    first = await door.get("/s3/data/a/")
    assert (first.headers["Cache-Status"], first.headers["Age"]) == ("rangecache; fwd=uri-miss; stored", "0")
    await door.clock.advance(1)
    second = await door.get("/s3/data/a/")
    assert (second.headers["Cache-Status"], second.headers["Age"]) == ("rangecache; hit", "1")
    assert door.metrics.requests.total(provider="s3", code="200", cache="miss") == 1
    assert door.metrics.requests.total(provider="s3", code="200", cache="hit") == 1


async def test_a_crowd_is_told_that_it_was_joined(place: Place) -> None:
    door, gate = await place.open(), asyncio.Event()

    async def wait(_: object) -> None:
        await gate.wait()

    place.store.before_answer = wait
    asking = [asyncio.create_task(door.get("/s3/data/a/")) for _ in range(5)]
    while len(door.port.connections) < 5:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # all have been read
    gate.set()
    said = [answer.headers["Cache-Status"] for answer in await asyncio.gather(*asking)]
    assert said.count("rangecache; fwd=uri-miss; stored") == 1
    assert place.store.request_count == 1


async def test_the_client_may_ask_anew_or_for_nothing_but_what_is_known(place: Place) -> None:
    door = await place.open()
    refused = await door.get("/s3/data/a/", "Cache-Control: only-if-cached")
    assert refused.status == 504
    assert place.store.request_count == 0
    await door.get("/s3/data/a/")
    assert (await door.get("/s3/data/a/", "Cache-Control: only-if-cached")).status == 200
    place.store.put(ObjectRef("s3", "data", "a/new"), b"")
    assert b"new" in (await door.get("/s3/data/a/", "Pragma: no-cache")).body
    assert place.store.request_count == 2


@pytest.mark.parametrize("target", ["/s3/data/absent/", "/s3/data/a/x/", "/web/site/", "/web/site/p/"])
async def test_no_listing_is_an_empty_404_and_a_reason_for_who_asks_for_json(place: Place, target: str) -> None:
    door = await place.open()
    answer = await door.get(target)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (404, b"", "0")
    reason = await door.get(target, JSON)
    assert (reason.status, json.loads(reason.body)["type"]) == (404, "urn:rangecache:problem:no-listing")


async def test_a_bucket_whose_listing_is_off_is_never_asked(place: Place) -> None:
    place.unlisted.add("data")
    door = await place.open()
    for target in ("/s3/data/", "/s3/data/a/"):
        assert (await door.get(target)).status == 404
    assert place.store.request_count == 0


@pytest.mark.parametrize(("error", "status"), [(PermissionDenied("no list"), 403), (Unavailable("down"), 502)])
async def test_an_error_of_the_origin_is_told_as_the_one_table_has_it(place: Place, error, status) -> None:
    async def fail(_: object) -> None:
        raise error

    place.store.before_answer = fail
    door = await place.open()
    for target in ("/s3/data/a/", "/s3/data/", "/s3/"):
        answer = await door.get(target)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")


async def test_the_rules_of_access_hide_what_they_forbid_and_show_the_way_to_what_they_allow(place: Place) -> None:
    door = await place.open("s3/data/a/deep/**", "s3/data/a/*z")
    assert read(await door.get("/", JSON)) == (["s3/"], [])
    assert read(await door.get("/s3/", JSON)) == (["data/"], [])
    assert read(await door.get("/s3/data/", JSON)) == (["a/"], [])
    assert read(await door.get("/s3/data/a/", JSON)) == (["a/deep/"], ["a/y z"])
    assert read(await door.get("/s3/data/a/deep/", JSON)) == ([], ["a/deep/er"])
    for target in ("/s3/other/", "/s3/data/b/", "/web/", "/web/site/"):
        assert (await door.get(target)).status == 403


async def test_the_buckets_are_those_of_the_origin_and_of_the_settings(place: Place) -> None:
    place.store.put(ObjectRef("s3", "no", "k"), b"")  # a name that this provider does not accept
    door = await place.open(configured=("alias",))
    assert read(await door.get("/s3/", JSON)) == (["alias/", "data/", "other/"], [])
    assert read(await door.get("/web/", JSON)) == (["site/"], [])
    assert b'href="s3/"' in (await door.get("/")).body
    assert b'<base href="./s3/">' in (await door.get("/s3")).body


async def test_where_the_origin_does_not_list_its_buckets_those_of_the_settings_are_there(place: Place) -> None:
    async def fail(_: object) -> None:
        raise PermissionDenied("s3:ListAllMyBuckets")

    place.store.before_answer = fail
    door = await place.open(configured=("alias",))
    assert read(await door.get("/s3/", JSON)) == (["alias/"], [])


async def test_a_large_page_is_sent_as_fast_as_its_client_takes_it(place: Place) -> None:
    for number in range(900):
        place.store.put(ObjectRef("s3", "data", f"big/{'n' * 200}{number:04}"), b"")
    door = await place.open()
    client = await door.connect()
    client.send(request_of("/s3/data/big/") * 2)
    first, second = await client.answer(), await client.answer()
    assert first.body == second.body
    assert first.body.count(b"<a ") == 901
    assert len(first.body) > 300_000
    assert door.port.budget.used_bytes == 0


@pytest.mark.parametrize(
    ("accept", "json_wanted"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("text/plain, application/json;q=0.1", True),
        ("text/html, application/json", False),
        ("application/jsonp", False),
    ],
)
def test_json_is_for_who_names_it(accept: str | None, json_wanted: bool) -> None:
    assert DirectoryRequest(ObjectRef("", "", ""), "/", accept, None).json is json_wanted
