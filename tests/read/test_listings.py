"""Listings: whole or not at all, asked once for all who want to know, and for how long they are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.tasks import Background
from rangecache.errors import InvalidAnswer, NotFound, NotListable, OriginError, PermissionDenied, Unavailable
from rangecache.model import ObjectRef
from rangecache.origin.base import BucketPage, Listed, ListPage
from rangecache.origin.memory import MemoryStore
from rangecache.read import listings as listings_module
from rangecache.read.listings import PATIENCE_S, UNLISTED_S, Known, Listings
from rangecache.read.selection import Selection
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIFE_S = 2.0
DIR = ObjectRef("s3", "b", "dir/")


class Rig:
    def __init__(self, store: MemoryStore, life_s: float = LIFE_S) -> None:
        self.store = store
        self.clock = ManualClock()
        self.background = Background()
        self.listings = Listings({"s3": store}, self.clock, self.background, life_s=life_s)

    async def names(self, below: ObjectRef = DIR, *, anew: bool = False) -> list[str] | None:
        """As the data port asks."""
        known: Known | None = None if anew else self.listings.peek(below)
        if known is None:
            known, _ = await self.listings.find(below, anew=anew)
        listing = known.tell()
        return None if listing is None else [*listing.folders, *(each.key for each in listing.objects)]

    @property
    def asked(self) -> int:
        return self.store.request_count


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig(MemoryStore())
    for key in ("dir/a", "dir/b", "dir/sub/c", "other/d"):
        made.store.put(ObjectRef("s3", "b", key), b"x" * len(key))
    yield made
    await made.background.aclose()


async def test_a_directory_is_asked_for_once_in_its_life(rig: Rig) -> None:
    for _ in range(3):
        assert await rig.names() == ["dir/sub/", "dir/a", "dir/b"]
    assert rig.asked == 1
    rig.store.put(ObjectRef("s3", "b", "dir/new"), b"")
    await rig.clock.advance(LIFE_S)
    assert "dir/new" in (await rig.names() or [])
    assert rig.asked == 2


async def test_its_age_counts_from_when_it_was_asked_for_and_not_from_its_arrival(rig: Rig) -> None:
    async def slowly(_: object) -> None:
        await rig.clock.sleep(0.25)

    rig.store.before_answer = slowly
    asking = asyncio.create_task(rig.names())
    await rig.clock.wait_for_sleepers(2)  # the patience and the store
    await rig.clock.advance(0.25)
    assert await asking is not None
    await rig.clock.advance(LIFE_S - 0.25)
    assert rig.listings.peek(DIR) is None


async def test_a_crowd_costs_one_request(rig: Rig) -> None:
    found = await asyncio.gather(*(rig.names() for _ in range(100)))
    assert all(each == found[0] for each in found)
    assert rig.asked == 1


async def test_more_than_one_page_is_no_listing_for_a_minute(rig: Rig) -> None:
    rig.store._page_entries = 2
    assert await rig.names() is None
    rig.store._page_entries = 3
    await rig.clock.advance(UNLISTED_S - 1)
    assert await rig.names() is None
    assert rig.asked == 1
    await rig.clock.advance(1)
    assert await rig.names() == ["dir/sub/", "dir/a", "dir/b"]


async def test_what_takes_too_long_is_no_listing_for_a_minute_and_is_given_up(rig: Rig) -> None:
    left = asyncio.Event()

    async def hang(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    rig.store.before_answer = hang
    asking = asyncio.create_task(rig.names())
    await rig.clock.wait_for_sleepers()
    await rig.clock.advance(PATIENCE_S - 0.01)
    assert not asking.done()
    await rig.clock.advance(0.01)
    assert await asking is None
    assert left.is_set()
    await rig.clock.advance(UNLISTED_S - 1)
    assert await rig.names() is None
    assert rig.asked == 1


@pytest.mark.parametrize(
    ("error", "told_for_s"),
    [
        (PermissionDenied("no"), UNLISTED_S),
        (InvalidAnswer("what"), UNLISTED_S),
        (NotFound("no bucket"), LIFE_S),
        (Unavailable("down"), 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_of_the_origin_is_told_and_remembered_if_it_will_last(
    rig, error: OriginError, told_for_s
) -> None:
    async def fail(_: object) -> None:
        raise error

    rig.store.before_answer = fail
    for _ in range(2):
        with pytest.raises(type(error)):
            await rig.names()
    assert rig.asked == (1 if told_for_s else 2)
    rig.store.before_answer = None
    await rig.clock.advance(told_for_s)
    assert await rig.names() is not None


async def test_without_a_life_nothing_is_remembered_but_that_there_is_none() -> None:
    rig = Rig(MemoryStore(page_entries=1), life_s=0.0)
    rig.store.put(ObjectRef("s3", "b", "dir/a"), b"x")
    for _ in range(2):
        assert await rig.names() == ["dir/a"]
    assert rig.asked == 2
    rig.store.put(ObjectRef("s3", "b", "dir/b"), b"x")
    for _ in range(2):
        assert await rig.names() is None
    assert rig.asked == 3


async def test_who_asks_anew_is_not_answered_from_before(rig: Rig) -> None:
    await rig.names()
    rig.store.put(ObjectRef("s3", "b", "dir/new"), b"")
    assert "dir/new" in (await rig.names(anew=True) or [])
    assert "dir/new" in (await rig.names() or [])
    assert rig.asked == 2


@pytest.mark.parametrize(
    ("purged", "forgotten"),
    [
        (Selection.prefix(""), True),
        (Selection.prefix("s3"), True),
        (Selection.prefix("s3/b"), True),
        (Selection.prefix("s3/b/dir/"), True),
        (Selection.prefix("s3/b/di"), True),
        (Selection.prefix("s3/b/dir/sub/"), True),
        (Selection.an_object("s3/b/dir/a"), True),
        (Selection.prefix("s3/b/other/"), False),
        (Selection.prefix("s3/c"), False),
        (Selection.an_object("s3/b/dira"), False),
    ],
    ids=str,
)
async def test_a_purge_forgets_the_directories_of_what_it_purges(rig: Rig, purged: Selection, forgotten: bool) -> None:
    await rig.names()
    rig.listings.forget(purged)
    assert (rig.listings.peek(DIR) is None) == forgotten


async def test_what_was_asked_before_a_purge_is_told_to_those_who_asked_and_to_nobody_else(rig: Rig) -> None:
    gate = asyncio.Event()

    async def wait(_: object) -> None:
        await gate.wait()

    rig.store.before_answer = wait
    before = asyncio.create_task(rig.names())
    while not rig.asked:
        await asyncio.sleep(0)
    rig.listings.forget(Selection.prefix("s3/b"))
    after = asyncio.create_task(rig.names())
    while rig.asked < 2:
        await asyncio.sleep(0)
    gate.set()
    assert await before == await after
    assert rig.listings.peek(DIR) is not None  # of the second


async def test_what_was_asked_before_a_purge_is_not_remembered_after_it(rig: Rig) -> None:
    async def purge(_: object) -> None:
        rig.listings.forget(Selection.prefix("s3/b"))

    rig.store.before_answer = purge
    assert await rig.names() is not None
    assert rig.listings.peek(DIR) is None


async def test_buckets_are_folders(rig: Rig) -> None:
    rig.store.put(ObjectRef("s3", "a", "k"), b"")
    assert await rig.names(ObjectRef("s3", "", "")) == ["a/", "b/"]
    rig.listings.forget(Selection.prefix("s3/b/dir/"))
    assert rig.listings.peek(ObjectRef("s3", "", "")) is None

    async def more(*_: object, **__: object) -> BucketPage:
        return BucketPage(["a"], "goes on")

    rig.store.bucket_page = more  # type: ignore[method-assign]
    assert await rig.names(ObjectRef("s3", "", "")) is None


async def test_where_nothing_can_be_listed_nobody_is_asked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NotListable("no")

    monkeypatch.setattr(rig.store, "check_listable", refuse)
    with pytest.raises(NotListable):
        await rig.names()
    assert rig.asked == 0


async def test_a_page_is_not_believed_because_it_could_be_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lie(*_: object, **__: object) -> ListPage:
        return ListPage([Listed("elsewhere/x", 1)])

    monkeypatch.setattr(rig.store, "list_page", lie)
    with pytest.raises(InvalidAnswer):
        await rig.names()


async def test_what_is_remembered_is_bounded_in_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings_module, "LISTINGS_BYTES", 20_000)
    small = Rig(rig.store)
    for number in range(100):
        await small.names(ObjectRef("s3", "b", f"{number}/"))
    assert 10_000 < small.listings.held_bytes <= small.listings.limit_bytes == 20_000
    for number in range(1000):
        small.store.put(ObjectRef("s3", "b", f"big/{number}"), b"")
    assert len(await small.names(ObjectRef("s3", "b", "big/")) or []) == 1000  # told, and too large to remember
    assert small.listings.held_bytes <= 20_000
