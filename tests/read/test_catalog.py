"""What survives a restart, and what is not believed afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.httpdate import format_http_date
from rangecache.model import ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.read.absences import TIME_BYTES
from rangecache.read.catalog import BYPASS_S, Catalog
from rangecache.read.freshness import Grace
from rangecache.read.remembered import ENTRY_BYTES
from rangecache.read.selection import Selection
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta
    from rangecache.read.freshness import Ttl
    from rangecache.read.known import Known

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
    return Catalog(
        clock,
        lambda ref: ttl,
        block_bytes=4096,
        negative_ttl_s=2.0,
        store=store,
        vouches_for=lambda meta: meta.source == source,
    )


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


@pytest.mark.parametrize(
    ("before", "after", "configured"),
    [(4096, 4096, 65536), (4096, 8192, 131072), (65536, 65536, 65536), (65536, 131072, 131072), (65536, 4096, 4096)],
)
async def test_small_blocks_stay_small_over_a_restart_and_the_others_have_the_size_configured_then(
    before: int, after: int, configured: int
) -> None:
    store, clock = JsonStore(), ManualClock()
    Catalog(clock, lambda _: 60.0, block_bytes=65536, negative_ttl_s=0, store=store).learned(
        _meta(), block_bytes=before
    )
    known = await Catalog(clock, lambda _: 60.0, block_bytes=configured, negative_ttl_s=0, store=store).find(REF)
    assert known is not None
    assert known.block_bytes == after


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
    headers = {"cache-control": "max-age=5", "content-type": "text/html", "etag": '"x"', "content-encoding": "gzip"}
    renewed = catalog.renewed(known, {**headers, "last-modified": "Thu, 01 Jan 2026 00:00:07 GMT"})
    assert renewed.meta.headers["content-type"] == "text/html"
    assert renewed.meta.headers["content-encoding"] == "zstd"
    assert renewed.meta.last_modified == datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
    assert renewed.meta.e_tag == known.meta.e_tag
    assert renewed.meta.generation == known.meta.generation
    assert renewed.fresh_until == clock.monotonic() + 5


async def test_absences_are_forgotten_after_their_time_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangecache.read.absences.ABSENT_BYTES", 5 * (ENTRY_BYTES + TIME_BYTES + 1))
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
    monkeypatch.setattr("rangecache.read.catalog.OBJECTS_BYTES", 10_000)
    catalog = _catalog(clock, store)
    for ref in refs:
        assert await catalog.find(ref) is not None
    assert 5 < len(catalog) < 10
    assert catalog.held_bytes <= 10_000


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
    assert known.fresh_until == clock.monotonic() + 60 - 3600
    renewed = catalog.renewed(known, {})
    assert renewed.fresh_until == clock.monotonic() + 60
    assert renewed.age(clock.monotonic()) == 0


# --- what later answers change ----------------------------------------------------------------------------------------


def _put(data: bytes = b"x" * 10_000, **headers: str) -> ObjectMeta:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return MemoryStore().put(REF, data, headers=named)


async def test_a_part_that_validates_prolongs_a_version_and_never_shortens_it() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    known = catalog.learned(_put(cache_control="max-age=60"))
    await clock.advance(50)
    assert catalog.confirmed(known, _put(cache_control="max-age=5", x_note="new"))
    same = catalog.peek(REF)
    assert same is not None
    assert (same.fresh_until, same.validated_at) == (known.fresh_until, known.validated_at)
    assert same.meta.headers["x-note"] == "new"
    assert catalog.confirmed(known, _put(cache_control="max-age=30"))
    longer = catalog.peek(REF)
    assert longer is not None
    assert longer.fresh_until == clock.monotonic() + 30
    assert longer.age(clock.monotonic()) == 0
    assert longer.meta.headers["x-note"] == "new"
    assert longer.block_key(0) == known.block_key(0)


async def test_a_part_of_a_version_that_is_no_longer_current_prolongs_nothing() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore())
    old = catalog.learned(_put())
    new = catalog.learned(_put(b"new"))
    await clock.advance(10)
    assert catalog.confirmed(old, _put())
    assert catalog.peek(REF) is new
    catalog.forget(REF)
    assert catalog.confirmed(old, _put())
    assert catalog.peek(REF) is None


def test_a_part_that_must_not_be_stored_ends_storing() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    known = catalog.learned(_put(cache_control="max-age=60"))
    assert not catalog.confirmed(known, _put(cache_control="no-store"))
    after = catalog.peek(REF)
    assert after is not None
    assert after.bypass
    assert after.fresh_until == clock.monotonic() + BYPASS_S


async def test_a_head_freshens_the_same_version_and_replaces_another() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    known = catalog.learned(_put(cache_control="max-age=5", x_kept="1"))
    await clock.advance(10)
    same = catalog.headed(_put(cache_control="max-age=60"))
    assert same.fresh_until == clock.monotonic() + 60
    assert same.meta.headers["x-kept"] == "1"
    assert same.block_key(0) == known.block_key(0)
    other = catalog.headed(_put(b"other", cache_control="max-age=60"))
    assert catalog.peek(REF) is other
    assert "x-kept" not in other.meta.headers
    assert other.block_key(0) != known.block_key(0)


def test_a_slow_answer_is_as_old_as_it_was_slow() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    asked_at = catalog.now()
    clock.shift(7)
    known = catalog.learned(_put(cache_control="max-age=60"), asked_at)
    assert known.age(clock.monotonic()) == 7
    assert known.fresh_until == clock.monotonic() + 53
    asked_at = catalog.now()
    clock.shift(3)
    assert catalog.renewed(known, {}, asked_at).fresh_until == clock.monotonic() + 57


def test_fields_that_are_for_one_user_are_not_stored() -> None:
    catalog = _catalog(ManualClock(), store := JsonStore(), "origin")
    known = catalog.learned(_put(cache_control='private="x-a", no-cache="x-b", max-age=60', x_a="1", x_b="2", x_c="3"))
    assert "x-c" in known.meta.headers
    assert known.meta.headers.keys().isdisjoint({"x-a", "x-b"})
    assert "x-a" not in json.loads(store.rows[REF])["headers"]
    assert "x-a" not in catalog.renewed(known, {"x-a": "4"}).meta.headers


def test_an_origin_that_refuses_is_not_answered_for_any_longer() -> None:
    clock = ManualClock()
    catalog = Catalog(clock, lambda ref: 5.0, block_bytes=4096, negative_ttl_s=2.0, grace=lambda ttl: Grace(10, 100))
    known = catalog.learned(_put())
    assert known.grace == Grace(10, 100)
    catalog.refused(known)
    after = catalog.peek(REF)
    assert after is not None
    assert after.grace is None
    assert after.fresh_until == known.fresh_until
    assert catalog.learned(_put()).grace == Grace(10, 100)


async def test_a_404_lasts_as_long_as_its_origin_says() -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    asked_at = catalog.now()
    clock.shift(4)
    catalog.absent(REF, {"cache-control": "max-age=30"}, asked_at)
    await clock.advance(25.9)
    assert catalog.is_absent(REF)
    await clock.advance(0.2)
    assert not catalog.is_absent(REF)
    catalog.absent(REF, {"cache-control": "no-store"})
    assert not catalog.is_absent(REF)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
async def test_a_jump_of_the_wall_clock_ages_nothing(jump_s: float) -> None:
    clock = ManualClock()
    catalog = _catalog(clock, JsonStore(), "origin")
    known = catalog.learned(_put(cache_control="max-age=60"))
    clock.wall_s += jump_s
    await clock.advance(30)
    assert catalog.peek(REF) is known
    assert known.age(clock.monotonic()) == 30
    assert known.fresh_until - clock.monotonic() == 30


async def test_what_may_be_used_after_its_time_is_the_same_after_a_restart() -> None:
    clock, store = ManualClock(), JsonStore()
    meta = _put(cache_control="max-age=60, stale-while-revalidate=7, stale-if-error=9")
    _catalog(clock, store, "origin").learned(meta)
    after = await _restart(clock, store, "origin")
    assert after is not None
    assert after.grace == Grace(7, 9)


async def test_a_purge_gives_back_the_room_of_what_it_forgets() -> None:
    catalog = Catalog(ManualClock(), lambda ref: 60.0, block_bytes=4096, negative_ttl_s=2.0)
    empty = catalog.held_bytes
    for i in range(5):
        known = catalog.learned(MemoryStore().put(ObjectRef("s3", "b", f"k{i}"), b"x"))
        catalog.conflict(known)
        catalog.learned(known.meta)
        catalog.absent(ObjectRef("s3", "b", f"absent{i}"))
    assert catalog.held_bytes > empty
    await catalog.purge(Selection.prefix("s3/b"))
    assert catalog.held_bytes == empty
