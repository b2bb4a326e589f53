"""What survives a restart, and what is not believed afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.httpdate import format_http_date
from rangecache.model import ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.read.catalog import Catalog, Known
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta
    from rangecache.read.freshness import Ttl

REF = ObjectRef("s3", "b", "k")


class JsonStore:
    """What the disk does, without a disk: every record goes through JSON."""

    def __init__(self) -> None:
        self.rows: dict[ObjectRef, str] = {}

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        row = self.rows.get(ref)
        return None if row is None else json.loads(row)

    def put(self, ref: ObjectRef, record: dict[str, Any]) -> None:
        self.rows[ref] = json.dumps(record, allow_nan=False)

    def forget(self, ref: ObjectRef) -> None:
        self.rows.pop(ref, None)


def _catalog(clock: ManualClock, store: JsonStore, ttl: Ttl = 60.0, source: str = "memory") -> Catalog:
    return Catalog(clock, lambda ref: ttl, block_bytes=4096, negative_ttl_s=2.0, store=store, source=lambda ref: source)


def _meta(**options: Any) -> ObjectMeta:
    return MemoryStore().put(REF, b"x" * 10_000, headers={"content-encoding": "zstd"}, **options)


async def _restart(clock: ManualClock, store: JsonStore, ttl: Ttl = 60.0, source: str = "memory") -> Known | None:
    return await _catalog(clock, store, ttl, source).find(REF)


@pytest.mark.parametrize("ttl", [60.0, "immutable", "origin"])
async def test_a_version_is_the_same_after_a_restart(ttl: Ttl) -> None:
    clock, store = ManualClock(), JsonStore()
    before = _catalog(clock, store, ttl).learned(_meta())
    after = await _restart(clock, store, ttl)
    assert after is not None
    assert after.meta == before.meta
    assert after.meta.generation == before.meta.generation
    assert (after.fresh_until, after.validated_at) == (before.fresh_until, before.validated_at)
    assert after.block_key(1) == before.block_key(1)


async def test_time_goes_on_while_the_program_does_not_run() -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store).learned(_meta())
    later = ManualClock(monotonic_s=5.0, wall_s=clock.wall() + 45)
    after = await _restart(later, store)
    assert after is not None
    assert after.fresh_until == pytest.approx(later.monotonic() + 15)
    assert after.age(later.monotonic()) == 45


async def test_a_record_from_the_future_is_stale() -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store).learned(_meta())
    earlier = ManualClock(wall_s=clock.wall() - 3600)
    after = await _restart(earlier, store)
    assert after is not None
    assert after.fresh_until <= earlier.monotonic()
    assert after.age(earlier.monotonic()) == 0


async def test_a_record_of_another_endpoint_is_not_believed() -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store, "immutable").learned(_meta())
    assert await _restart(clock, store, "immutable", source="another") is None


async def test_a_shorter_rule_holds_for_what_is_known_already() -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store, "immutable").learned(_meta())
    await clock.advance(30)
    after = await _restart(clock, store, 10.0)
    assert after is not None
    assert after.fresh_until < clock.monotonic()


@pytest.mark.parametrize(
    "broken",
    [{}, {"size": "x"}, {"headers": None}, {"last_modified": "x"}, {"validated_wall": None}, {"validator": ""}],
)
async def test_a_record_that_is_not_ours_is_a_miss(broken: dict[str, Any]) -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store).learned(_meta())
    store.rows[REF] = json.dumps({**json.loads(store.rows[REF]), **broken} if broken else {})
    assert await _restart(clock, store) is None


async def test_a_version_that_died_is_not_found_after_a_restart() -> None:
    clock, store = ManualClock(), JsonStore()
    catalog = _catalog(clock, store)
    catalog.conflict(catalog.learned(_meta()))
    assert await _restart(clock, store) is None


async def test_the_death_of_an_old_version_does_not_touch_the_new_one() -> None:
    catalog = _catalog(ManualClock(), JsonStore())
    old = catalog.learned(_meta())
    new = catalog.learned(MemoryStore().put(REF, b"new"))
    catalog.conflict(old)
    assert catalog.peek(REF) is new


async def test_what_cannot_be_cached_is_not_written_down() -> None:
    clock, store = ManualClock(), JsonStore()
    assert _catalog(clock, store).learned(_meta(e_tag=None)).bypass
    assert store.rows == {}


async def test_a_renewal_freshens_headers_but_not_those_that_describe_the_bytes() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    known = catalog.learned(_meta())
    renewed = catalog.renewed(known, {"cache-control": "max-age=5", "content-type": "text/html", "etag": '"x"'})
    assert renewed.meta.headers["content-type"] == known.meta.headers["content-type"]
    assert renewed.meta.generation == known.meta.generation
    assert renewed.fresh_until == clock.monotonic() + 5


async def test_absences_are_forgotten_after_their_time_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangecache.read.catalog.ABSENT_MAX", 5)
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore())
    for i in range(10):
        catalog.absent(ObjectRef("s3", "b", str(i)))
    assert [catalog.is_absent(ObjectRef("s3", "b", str(i))) for i in range(10)] == [False] * 5 + [True] * 5
    await clock.advance(2.1)
    assert not catalog.is_absent(ObjectRef("s3", "b", "9"))


async def test_the_operators_word_that_is_withdrawn_no_longer_stands_for_a_validator() -> None:
    clock, store = ManualClock(), JsonStore()
    _catalog(clock, store, "immutable").learned(_meta(e_tag=None))
    assert await _restart(clock, store, "immutable") is not None
    assert await _restart(clock, store, 60.0) is None


async def test_an_object_that_may_no_longer_be_stored_does_not_come_back_with_a_restart() -> None:
    clock, store = ManualClock(), JsonStore()
    catalog = _catalog(clock, store)
    catalog.learned(_meta())
    assert catalog.learned(_meta(e_tag=None)).bypass
    assert await _restart(clock, store) is None


@pytest.mark.parametrize(
    ("header", "fresh_s"), [("no-store", None), ("no-cache", 0), ("max-age=5", 5), ("max-age=3600", 60)]
)
async def test_a_record_is_believed_no_longer_than_a_new_rule_allows(header: str, fresh_s: float | None) -> None:
    clock, store = ManualClock(), JsonStore()
    meta = MemoryStore().put(REF, b"x", headers={"cache-control": header})
    _catalog(clock, store, 60.0).learned(meta)
    after = await _restart(clock, store, "origin")
    assert (None if after is None else after.fresh_until - clock.monotonic()) == fresh_s


async def test_what_is_read_back_from_the_store_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = ManualClock(), JsonStore()
    refs = [ObjectRef("s3", "b", f"k{i}") for i in range(30)]
    for ref in refs:
        _catalog(clock, store).learned(MemoryStore().put(ref, b"x"))
    monkeypatch.setattr("rangecache.read.catalog.OBJECTS_MAX", 10)
    catalog = _catalog(clock, store)
    for ref in refs:
        assert await catalog.find(ref) is not None
    assert len(catalog) == 10


def test_a_304_that_forbids_storing_ends_it() -> None:
    catalog = _catalog(ManualClock(), JsonStore(), "origin")
    known = catalog.learned(MemoryStore().put(REF, b"x", headers={"cache-control": "max-age=60"}))
    assert not known.bypass
    assert catalog.renewed(known, {"cache-control": "no-store"}).bypass


def test_a_304_without_a_date_is_not_as_old_as_the_first_answer() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    headers = {
        "cache-control": "max-age=60",
        "date": format_http_date(datetime.fromtimestamp(clock.wall() - 3600, UTC)),
    }
    known = catalog.learned(MemoryStore().put(REF, b"x", headers=headers))
    assert known.fresh_until == clock.monotonic()
    renewed = catalog.renewed(known, {})
    assert renewed.fresh_until == clock.monotonic() + 60
    assert renewed.age(clock.monotonic()) == 0
