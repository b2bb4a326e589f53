from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import shutil
import sqlite3
import stat
import threading
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.errors import TierError
from rangecache.model import ObjectRef
from rangecache.read import catalog_database, catalog_rows, catalog_store
from rangecache.read.catalog_database import PUT_ASIDE_MAX
from rangecache.read.catalog_store import DiskCatalogStore
from rangecache.read.selection import Selection
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    OpenStore = Callable[..., DiskCatalogStore]

REF = ObjectRef("s3", "bucket", "scenes/ä.tif")
RECORD = {"size": 5, "e_tag": '"abc"', "headers": {"content-type": "image/tiff"}, "fresh_s": None, "age_s": 0.5}
KEY = str(REF)


class Unpickled:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "catalog-2" / "cache.db"


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    opened: list[DiskCatalogStore] = []

    def open_one(owned: Callable[[], bool] = lambda: True) -> DiskCatalogStore:
        opened.append(DiskCatalogStore(tmp_path, owned, ManualClock()))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.aclose()


async def written(open_store: OpenStore, *refs: ObjectRef) -> None:
    """A database with a record of each object in it, closed again."""
    store = open_store()
    for ref in refs or (REF,):
        store.put(ref, RECORD)
    await store.aclose()


async def test_a_record_is_there_at_once_and_after_a_restart(open_store: OpenStore) -> None:
    store = open_store()
    assert await store.get(REF) is None
    store.put(REF, RECORD)
    assert await store.get(REF) == RECORD
    await store.flush()
    assert await store.get(REF) == RECORD
    await store.aclose()
    assert await open_store().get(REF) == RECORD


async def test_names_that_look_alike_are_apart(open_store: OpenStore) -> None:
    await written(open_store, ObjectRef("s3", "a", "b/c"))
    store = open_store()
    for other in (
        ObjectRef("s3", "a/b", "c"),
        ObjectRef("gs", "a", "b/c"),
        ObjectRef("s3", "a", "b/c", ""),
        ObjectRef("s3", "a", "b/c", "1"),
    ):
        assert await store.get(other) is None


async def test_what_was_forgotten_stays_forgotten(open_store: OpenStore) -> None:
    await written(open_store)
    store = open_store()
    store.forget(REF)
    assert await store.get(REF) is None
    await store.aclose()
    assert await open_store().get(REF) is None


async def test_what_is_forgotten_while_it_is_read_is_not_returned(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:

    await written(open_store)
    store = open_store()
    gate, read = threading.Event(), catalog_database._read
    monkeypatch.setattr(catalog_database, "_read", lambda cache, ref: (gate.wait(30), read(cache, ref))[1])
    reading = asyncio.ensure_future(store.get(REF))
    await asyncio.sleep(0)
    store.forget(REF)
    gate.set()
    assert await reading is None


async def test_a_crowd_that_asks_for_one_object_makes_one_trip_to_the_thread(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(open_store)
    store = open_store()
    reads, read = [], catalog_database._read
    monkeypatch.setattr(catalog_database, "_read", lambda cache, ref: (reads.append(ref), read(cache, ref))[1])
    asking = [asyncio.ensure_future(store.get(REF)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who began it may leave
    assert await asyncio.gather(*asking[1:]) == [RECORD] * 49
    assert reads == [REF]
    assert await store.get(REF) == RECORD
    assert reads == [REF, REF]


async def test_the_last_of_several_changes_counts(open_store: OpenStore) -> None:
    store = open_store()
    for size in range(300):
        store.put(REF, {**RECORD, "size": size})
        if size % 7 == 0:
            await store.get(ObjectRef("s3", "bucket", str(size)))
    await store.aclose()
    assert await open_store().get(REF) == {**RECORD, "size": 299}


async def test_without_the_directory_nothing_is_read_or_written(open_store: OpenStore, database: Path) -> None:
    owned = False
    store = open_store(lambda: owned)
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) is None
    assert not database.parent.exists()
    owned = True  # the other program has ended
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) == RECORD


async def test_what_is_pending_when_the_directory_is_lost_is_not_written(open_store: OpenStore, database: Path) -> None:
    owned = True
    store = open_store(lambda: owned)
    store.put(REF, RECORD)
    owned = False
    await store.flush()
    assert not database.exists()


async def test_of_too_many_pending_changes_the_last_keep_no_record_and_revive_none(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(5)]
    await written(open_store, *refs)
    monkeypatch.setattr(catalog_store, "PENDING_MAX", 3)
    store, newer = open_store(), {**RECORD, "size": 6}
    for ref in refs:
        store.put(ref, newer)
    assert [await store.get(ref) for ref in refs] == [newer, newer, newer, None, None]
    await store.aclose()
    store = open_store()
    assert [await store.get(ref) for ref in refs] == [newer, newer, newer, None, None]


async def test_a_forget_is_never_lost_among_too_many_changes(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, once the queue was full: the record came back, at once and after a restart."""
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(30)]
    await written(open_store, *refs)
    monkeypatch.setattr(catalog_store, "PENDING_MAX", 3)
    store = open_store()
    for ref in refs[:20]:
        store.forget(ref)
    for ref in refs[20:]:
        store.put(ref, RECORD)
    assert [await store.get(ref) for ref in refs[:20]] == [None] * 20
    await store.aclose()
    store = open_store()
    assert [await store.get(ref) for ref in refs[:20]] == [None] * 20


async def test_more_forgets_than_can_be_remembered_empty_the_database(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(30)]
    await written(open_store, *refs)
    monkeypatch.setattr(catalog_store, "FORGETS_MAX", 10)
    store = open_store()
    for ref in refs[:11]:
        store.forget(ref)
    assert [await store.get(ref) for ref in refs] == [None] * 30
    store.put(REF, RECORD)
    await store.flush()
    assert [await store.get(ref) for ref in (refs[0], refs[29], REF)] == [None, None, RECORD]
    await store.aclose()
    store = open_store()
    assert [await store.get(ref) for ref in (refs[0], refs[29], REF)] == [None, None, RECORD]


async def test_the_database_is_bounded_and_the_oldest_records_go(
    open_store: OpenStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog_database._SETTINGS, "size_limit", 512 * 1024)
    store = open_store()
    chance = random.Random(3)
    for number in range(600):
        store.put(ObjectRef("s3", "bucket", str(number)), {"validator": chance.randbytes(2000).hex()})
        if number % 50 == 0:
            await store.flush()
    await store.flush()
    assert await store.get(ObjectRef("s3", "bucket", "0")) is None
    assert await store.get(ObjectRef("s3", "bucket", "599")) is not None
    await store.aclose()
    assert database.stat().st_size < 600 * 1024


async def test_a_record_larger_than_any_should_be_is_not_kept_and_replaces(open_store: OpenStore) -> None:
    await written(open_store)
    store = open_store()
    store.put(REF, {"headers": {"x": "y" * catalog_rows.RECORD_BYTES_MAX}})
    await store.aclose()
    assert await open_store().get(REF) is None


async def test_the_folder_is_private_and_values_lie_in_their_rows(open_store: OpenStore, database: Path) -> None:
    store = open_store()
    store.put(REF, {"validator": random.Random(1).randbytes(60_000).hex()})
    await store.flush()
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert {path.name for path in database.parent.iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm"}


# --- a database that somebody else has had in hand ------------------------------------------------------------------


def change(database: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(statement, values).rowcount != 0


async def test_a_pickled_row_is_absent_and_not_executed(open_store: OpenStore, database: Path, tmp_path: Path) -> None:
    await written(open_store)
    mark = tmp_path / "executed"
    pickled = pickle.dumps(Unpickled(mark))
    change(database, "UPDATE Cache SET mode = 4, value = ?", pickled)
    store = open_store()
    assert await store.get(REF) is None
    assert not mark.exists()
    pickle.loads(pickled)
    assert mark.exists(), "the row was harmless, so nothing was shown"
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) == RECORD


async def test_a_pickle_in_a_file_is_absent_and_not_executed(
    open_store: OpenStore, database: Path, tmp_path: Path
) -> None:
    await written(open_store)
    mark = tmp_path / "executed"
    (database.parent / "value").write_bytes(pickle.dumps(Unpickled(mark)))
    change(database, "UPDATE Cache SET mode = 4, value = NULL, filename = 'value'")
    assert await open_store().get(REF) is None
    assert not mark.exists()


PACKED = zlib.compress(json.dumps([list(REF), RECORD]).encode())


@pytest.mark.parametrize(
    ("mode", "filename", "value"),
    [
        pytest.param(0, None, PACKED, id="mode none"),
        pytest.param(2, "value", None, id="mode binary"),
        pytest.param(3, "/etc/passwd", None, id="mode text, a file elsewhere"),
        pytest.param(5, None, PACKED, id="mode unknown"),
        pytest.param("text", None, PACKED, id="mode a text"),
        pytest.param(None, None, PACKED, id="mode null"),
        pytest.param(1, "../../x", PACKED, id="a filename"),
        pytest.param(1, None, None, id="null"),
        pytest.param(1, None, 7, id="a number"),
        pytest.param(1, None, "text", id="a text"),
        pytest.param(1, None, b"", id="empty"),
        pytest.param(1, None, b"garbage", id="garbage"),
        pytest.param(1, None, PACKED[:-3], id="cut"),
        pytest.param(1, None, zlib.compress(b"not json"), id="not JSON"),
        pytest.param(1, None, zlib.compress(b"[1, 2]"), id="JSON but no record"),
        pytest.param(1, None, zlib.compress(json.dumps([["s3", "b", "k", None], RECORD]).encode()), id="of another"),
        pytest.param(1, None, zlib.compress(b"\xff\xfe"), id="not UTF-8"),
        pytest.param(1, None, zlib.compress(b"[" * 200_000), id="deeply nested"),
        pytest.param(1, None, zlib.compress(bytes(1 << 24)), id="a bomb"),
    ],
)
async def test_a_row_that_is_no_record_is_absent(
    open_store: OpenStore, database: Path, mode: object, filename: object, value: object
) -> None:
    other = ObjectRef("s3", "bucket", "other")
    await written(open_store, REF, other)
    change(database, "UPDATE Cache SET mode = ?, filename = ?, value = ? WHERE key = ?", mode, filename, value, KEY)
    store = open_store()
    assert await store.get(REF) is None
    assert await store.get(other) == RECORD
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) == RECORD


def truncate(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def truncate_within_a_page(database: Path) -> None:
    os.truncate(database, 4096 + 77)


def garbage(database: Path) -> None:
    database.write_bytes(random.Random(1).randbytes(50_000))


def text(database: Path) -> None:
    database.write_text("this is not a database, and never was one\n" * 100)


def empty(database: Path) -> None:
    os.truncate(database, 0)


def overwrite_pages(database: Path) -> None:
    raw = bytearray(database.read_bytes())
    raw[4096:] = random.Random(2).randbytes(len(raw) - 4096)
    database.write_bytes(raw)


def newer_format(database: Path) -> None:
    change(database, "PRAGMA user_version = 3")


def another_schema(database: Path) -> None:
    change(database, "ALTER TABLE Cache RENAME COLUMN value TO content")


def no_tables(database: Path) -> None:
    change(database, "DROP TABLE Cache")
    change(database, "DROP TABLE Settings")


def setting_named_like_a_method(database: Path) -> None:
    change(database, "INSERT INTO Settings VALUES ('get', 1)")


def setting_for_the_disk(database: Path) -> None:
    change(database, "INSERT INTO Settings VALUES ('disk_on_error', 'raise')")


def setting_of_another_value(database: Path) -> None:
    change(database, "UPDATE Settings SET value = 1099511627776 WHERE key = 'sqlite_mmap_size'")


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def a_pipe(database: Path) -> None:
    database.unlink()
    os.mkfifo(database)


def a_link_to_nowhere(database: Path) -> None:
    database.unlink()
    database.symlink_to("/nonexistent/database")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        truncate_within_a_page,
        garbage,
        text,
        empty,
        overwrite_pages,
        newer_format,
        another_schema,
        no_tables,
        setting_named_like_a_method,
        setting_for_the_disk,
        setting_of_another_value,
        a_folder,
        a_pipe,
        a_link_to_nowhere,
    ],
)
async def test_a_database_that_cannot_be_used_is_put_aside_and_begun_anew(
    open_store: OpenStore, database: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(200)]
    await written(open_store, *refs)
    damage(database)
    store = open_store()
    for ref in refs:
        assert await store.get(ref) is None
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) == RECORD
    await store.aclose()
    assert await open_store().get(REF) == RECORD
    # A file without tables is one that was being made when the program was killed: there is nothing to put aside.
    assert (tmp_path / "catalog-2.aside").exists() == (damage is not no_tables)


async def test_a_database_that_another_program_has_locked_is_put_aside(
    open_store: OpenStore, database: Path, tmp_path: Path
) -> None:
    await written(open_store)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store = open_store()
        assert await store.get(REF) is None
        store.put(REF, RECORD)
        await store.flush()
        assert await store.get(REF) == RECORD
        assert (tmp_path / "catalog-2.aside").exists()
        other.execute("ROLLBACK")


async def test_a_lock_taken_while_it_is_open_costs_changes_and_revives_nothing(
    open_store: OpenStore, database: Path
) -> None:
    other_ref = ObjectRef("s3", "bucket", "other")
    await written(open_store, REF, other_ref)
    store = open_store()
    assert await store.get(REF) == RECORD
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.put(REF, {"size": 6})
        await store.flush()
        assert await store.get(REF) is None
        assert await store.get(other_ref) == RECORD
        other.execute("ROLLBACK")
    store.put(other_ref, {"size": 7})
    await store.flush()
    assert (await store.get(REF), await store.get(other_ref)) == (None, {"size": 7})
    await store.aclose()
    assert await open_store().get(REF) is None


async def test_what_cannot_be_forgotten_until_the_end_takes_the_database_along(
    open_store: OpenStore, database: Path
) -> None:
    await written(open_store)
    store = open_store()
    assert await store.get(REF) == RECORD
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.forget(REF)
        await store.aclose()
    assert await open_store().get(REF) is None


@pytest.mark.parametrize("damage", [truncate, garbage, empty, overwrite_pages])
async def test_a_database_damaged_while_it_is_open_never_reaches_the_reader(
    open_store: OpenStore, database: Path, damage: Callable[[Path], None]
) -> None:
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(200)]
    store = open_store()
    for ref in refs:
        store.put(ref, RECORD)
    await store.flush()
    damage(database)
    for ref in refs:
        assert await store.get(ref) in (None, RECORD)
        store.put(ref, RECORD)
        await store.flush()


async def test_a_folder_deleted_while_in_use_is_made_again(open_store: OpenStore, database: Path) -> None:
    store = open_store()
    store.put(REF, RECORD)
    await store.flush()
    shutil.rmtree(database.parent)
    assert await store.get(REF) is None
    store.put(REF, RECORD)
    await store.flush()
    assert await store.get(REF) == RECORD
    assert database.exists()


async def test_it_gives_up_when_every_new_database_fails_too(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(path: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(catalog_database, "_examine", failing)
    store = open_store()
    for _ in range(3 * PUT_ASIDE_MAX):
        assert await store.get(REF) is None
        store.put(REF, RECORD)
        await store.flush()
    assert sum("is put aside" in record.message for record in caplog.records) == PUT_ASIDE_MAX + 1
    assert "until the next start" in caplog.records[-1].message


async def test_a_hundred_mutilated_databases_are_absent_or_right(
    open_store: OpenStore, database: Path, tmp_path: Path
) -> None:
    """Random bytes at random places: what is read is a record that was written, or nothing."""
    refs = [ObjectRef("s3", "bucket", str(number)) for number in range(20)]
    await written(open_store, *refs)
    sound, chance = database.read_bytes(), random.Random(5)
    for _ in range(100):
        raw = bytearray(sound)
        for _ in range(chance.randint(1, 40)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        shutil.rmtree(database.parent, ignore_errors=True)
        database.parent.mkdir()
        database.write_bytes(raw)
        store = open_store()
        for ref in refs[:5]:
            assert await store.get(ref) in (None, RECORD)
        await store.aclose()


# --- many at once ---------------------------------------------------------------------------------------------------

NAMES = ["a", "a/b", "a.c", "ab", "b", "ä", "Z", "\U0001f600", "a\U0010ffff"]
MANY = [ObjectRef(p, b, key, v) for p in ("gs", "s3") for b in ("d", "data") for key in NAMES for v in (None, "v1")]
SELECTIONS = ["", "s3", "s3/d", "s3/d/a", "s3/d/a/", "s3/d/ä", "s3/data/a\U0010ffff", "none"]


async def refs_of(store: DiskCatalogStore, selection: Selection) -> set[ObjectRef]:
    found = [ref async for refs in store.refs(selection) for ref in refs]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("selection", [*map(Selection.prefix, SELECTIONS), Selection.an_object("s3/d/a")])
async def test_a_purge_takes_what_is_meant_and_nothing_else(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, selection: Selection, pending: bool
) -> None:
    monkeypatch.setattr(catalog_store, "NAMES_BATCH", 5)
    monkeypatch.setattr(catalog_store, "DELETE_BATCH", 3)
    store = open_store()
    for ref in MANY:
        store.put(ref, RECORD)
    if not pending:
        await store.flush()
    meant = {ref for ref in MANY if selection.matches(ref)}
    assert await refs_of(store, selection) == meant
    assert await store.purge(selection) == (meant, "")
    assert [ref for ref in MANY if await store.get(ref) is None] == [ref for ref in MANY if ref in meant]
    await store.aclose()
    store = open_store()
    assert [ref for ref in MANY if await store.get(ref) is None] == [ref for ref in MANY if ref in meant]
    assert await refs_of(store, Selection.prefix("")) == set(MANY) - meant


async def test_pages_go_through_all_records_in_the_order_of_their_names(open_store: OpenStore) -> None:
    store = open_store()
    for ref in MANY[::2]:
        store.put(ref, RECORD)
    await store.flush()
    for ref in MANY[1::2]:
        store.put(ref, RECORD)
    store.forget(MANY[4])
    found: list[ObjectRef] = []
    after: str | None = None
    while True:
        page = await store.page(Selection.prefix("s3"), after, 5)
        assert len(page.entries) <= 5
        assert all(entry.record == RECORD for entry in page.entries)
        found += [entry.ref for entry in page.entries]
        if (after := page.last) is None:
            break
    assert found == sorted(
        (ref for ref in MANY if ref.provider == "s3" and ref != MANY[4]), key=lambda ref: (str(ref), ref.version or "")
    )


async def test_while_it_is_purged_a_record_is_absent(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the row is deleted, and where it was read before and arrives after."""
    other = ObjectRef("s3", "bucket", "other")
    await written(open_store, REF, other)
    store = open_store()
    gate, read = threading.Event(), catalog_database._read
    monkeypatch.setattr(catalog_database, "_read", lambda cache, ref: (read(cache, ref), gate.wait(30))[0])
    before = asyncio.ensure_future(store.get(REF))
    await asyncio.sleep(0)
    purging = asyncio.ensure_future(store.purge(Selection.prefix("s3/bucket/scenes")))
    await asyncio.sleep(0)
    assert await store.get(REF) is None
    gate.set()
    assert await before is None
    assert (await purging).refs == {REF}
    assert await store.get(REF) is None
    assert await store.get(other) == RECORD


async def test_what_is_put_while_it_is_purged_is_believed_and_may_be_lost_with_a_restart(open_store: OpenStore) -> None:
    await written(open_store)
    store = open_store()
    purging = asyncio.ensure_future(store.purge(Selection.prefix("")))
    await asyncio.sleep(0)
    store.put(REF, {"size": 6})
    assert await store.get(REF) == {"size": 6}
    await purging
    await store.aclose()
    assert await open_store().get(REF) in (None, {"size": 6})


async def test_a_purge_of_a_locked_database_says_that_it_failed(open_store: OpenStore, database: Path) -> None:
    await written(open_store)
    store = open_store()
    assert await store.get(REF) == RECORD
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await store.purge(Selection.prefix("")) == (set(), "its database cannot be written now")
        other.execute("ROLLBACK")
    assert await store.purge(Selection.prefix("")) == ({REF}, "")


async def test_a_purge_without_the_directory_says_that_it_failed(open_store: OpenStore) -> None:
    await written(open_store)
    store = open_store(lambda: False)
    assert await store.purge(Selection.prefix("")) == (set(), "its database cannot be read now")
    with pytest.raises(TierError):
        await refs_of(store, Selection.prefix(""))


async def test_a_row_with_a_foreign_file_or_without_sense_is_deleted_and_nothing_else_is(
    open_store: OpenStore, database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(catalog_store, "DELETE_BATCH", 2)
    await written(open_store, *MANY)
    (tmp_path / "mine").write_text("not yours")
    change(database, "UPDATE Cache SET filename = '../mine'")
    for number in range(9):
        change(database, "UPDATE Cache SET key = ? WHERE key = ?", f"a{number}", str(MANY[2 * number]))
    store = open_store()
    assert (await store.purge(Selection.prefix(""))).failed == ""
    assert await refs_of(store, Selection.prefix("")) == set()
    assert (tmp_path / "mine").exists()


async def test_a_name_that_would_be_read_as_another_has_no_record(open_store: OpenStore) -> None:
    store, odd = open_store(), ObjectRef("s3", "bucket", "scenes/ä.tif\nv1")
    store.put(odd, RECORD)
    await store.flush()
    assert await store.get(odd) is None
    assert await store.get(REF._replace(version="v1")) is None


async def test_records_of_another_format_are_removed(open_store: OpenStore, tmp_path: Path) -> None:
    for name in ("catalog-1", "catalog-1.aside", "catalog-x", "mine"):
        (tmp_path / name).mkdir()
    await written(open_store)
    assert {path.name for path in tmp_path.iterdir()} == {"catalog-2", "catalog-x", "mine"}
