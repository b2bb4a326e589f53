"""What is remembered of objects is bounded by what it takes."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.read.freshness import NO_GRACE
from rangecache.read.known import Known, weight
from rangecache.read.remembered import ENTRY_BYTES, Remembered


def ref_of(number: int) -> ObjectRef:
    return ObjectRef("web", "b", f"{number:06}")


def test_the_oldest_goes_and_what_was_used_is_not_the_oldest() -> None:
    kept: Remembered[str] = Remembered(3 * (ENTRY_BYTES + 6 + 10), len)
    for number in range(3):
        kept.keep(ref_of(number), "x" * 10)
    kept.move_to_end(ref_of(0))
    kept.keep(ref_of(3), "x" * 10)
    assert list(kept) == [ref_of(2), ref_of(0), ref_of(3)]
    # A larger value for the same name takes the room of others.
    kept.keep(ref_of(0), "x" * 20)
    assert list(kept) == [ref_of(3), ref_of(0)]


def test_what_is_forgotten_is_no_longer_counted() -> None:
    kept: Remembered[str] = Remembered(10_000, len)
    for number in (1, 2, 2, 3):
        kept.keep(ref_of(number), "x" * number)
    assert kept.drop(ref_of(2)) == "xx"
    assert kept.drop(ref_of(2)) is None
    assert kept.held_bytes == 2 * (ENTRY_BYTES + 6) + 4
    kept.drop(ref_of(1))
    kept.drop(ref_of(3))
    assert kept.held_bytes == 0


def test_what_is_larger_than_all_there_is_is_not_remembered() -> None:
    kept: Remembered[str] = Remembered(1000, len)
    kept.keep(ref_of(1), "x")
    kept.keep(ref_of(2), "x" * 1000)
    assert not kept
    assert kept.held_bytes == 0


@pytest.mark.parametrize(("fields", "characters"), [(0, 0), (4, 20), (12, 30), (12, 300), (60, 20)])
def test_a_version_weighs_about_what_it_takes(fields: int, characters: int) -> None:
    count, names = 500, [f"header-{number}" for number in range(fields)]
    kept: Remembered[Known] = Remembered(1 << 30, weight)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            ref = ObjectRef("web", "b", f"some/key/of/the/usual/length/{number:08}")
            meta = ObjectMeta(
                ref=ref,
                size=1_000_000 + number,
                e_tag=ETag(f"{number:032x}"),
                last_modified=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
                validator=f'etag "{number:032x}"',
                source="https://example.org",
                headers={name: str(number).ljust(characters) for name in names},
            )
            assert meta.generation
            kept.keep(ref, Known(meta, 262144, number + 0.5, number + 60.5, number / 7, NO_GRACE))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 < kept.held_bytes / (after - before) < 1.3
