"""What every `ObjectStore` must do, as checks that any store can run: ours, a wrapper's, a third party's.

A check gets a `Subject`, which knows how to write objects behind the store's back, and raises `AssertionError` where
the store breaks the contract of `rangecache.origin.base`; an error that the store should not have raised comes through
as it is. With pytest::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    async def test_the_store_keeps_the_contract(check, subject):
        await check(subject)

`VERSION_CHECKS` are for a store whose origin keeps versions, `CUT_CHECKS` for one that can be made to break off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.errors import GenerationGone, NotFound, RangeNotSatisfiable
from rangecache.model import ObjectMeta
from rangecache.origin.base import NotModified
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange, resolve
from rangecache.testing.interruption_checks import CUT_CHECKS, INTERRUPTION_CHECKS
from rangecache.testing.listing_checks import LISTING_CHECKS
from rangecache.testing.name_checks import NAME_CHECKS, VERSION_CHECKS
from rangecache.testing.subject import Subject, content, equal, expect, opened, raises, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.ranges import RangeSpec

__all__ = ["CUT_CHECKS", "STORE_CHECKS", "VERSION_CHECKS", "Subject", "content", "read"]


async def gives_a_whole_object(subject: Subject) -> None:
    """Without a range: every byte, and metadata that fits."""
    data = content("whole")
    ref = await subject.put("whole.bin", data)
    meta, got, body = await read(subject.store, ref)
    equal("size", meta.size, len(data))
    equal("ref", meta.ref, ref)
    equal("range", got, ByteRange(0, len(data)))
    expect(body == data, "the bytes of the whole object are wrong")
    expect(meta.generation, "the object has no generation, so that nothing of it could be kept")


async def gives_exactly_the_range(subject: Subject) -> None:
    """Every form of range: the bytes asked for, clamped at the end."""
    data = content("ranges")
    size = len(data)
    ref = await subject.put("ranges.bin", data)
    whole, _, _ = await read(subject.store, ref)
    specs: tuple[RangeSpec, ...] = (
        ByteRange(0, 1),
        ByteRange(1, 2),
        ByteRange(0, size),
        ByteRange(99_990, 100_010),
        ByteRange(size - 1, size),
        ByteRange(size - 5, size + 1000),
        ByteRange(0, 10**18),
        OffsetRange(0),
        OffsetRange(150_000),
        OffsetRange(size - 1),
        SuffixRange(1),
        SuffixRange(70_000),
        SuffixRange(size),
        SuffixRange(size + 1),
    )
    for spec in specs:
        wanted = resolve(spec, size)
        if wanted is None:
            raise AssertionError(f"{spec} is not satisfiable")
        meta, got, body = await read(subject.store, ref, spec)
        expect(got in (wanted, ByteRange(0, size)), f"{spec}: the store says that it sends {got}")
        expect(body == data[got.start : got.end], f"{spec}: the bytes are wrong")
        equal(f"{spec}: generation", meta.generation, whole.generation)
        equal(f"{spec}: size", meta.size, size)


async def refuses_a_range_behind_the_end(subject: Subject) -> None:
    """With the object's size, so that the caller can say it."""
    ref = await subject.put("short.bin", b"0123456789")
    for spec in (OffsetRange(10), ByteRange(10, 11), ByteRange(500, 600)):
        error = await raises(RangeNotSatisfiable, read(subject.store, ref, spec), str(spec))
        equal(f"{spec}: size in the error", getattr(error, "size", None), 10)


async def gives_an_empty_object(subject: Subject) -> None:
    """No bytes, but metadata; a range of nothing is refused or answered with nothing."""
    ref = await subject.put("empty.bin", b"")
    meta, got, body = await read(subject.store, ref)
    equal("size", meta.size, 0)
    equal("range", got, ByteRange(0, 0))
    equal("bytes", body, b"")
    try:
        _, got, body = await read(subject.store, ref, OffsetRange(0))
    except RangeNotSatisfiable as error:
        expect(error.size in (0, None), f"the error says that an empty object has {error.size} bytes")
    else:
        equal("range and bytes", (got, body), (ByteRange(0, 0), b""))


async def tells_by_head_what_get_tells(subject: Subject) -> None:
    """Same generation, size, tag and date."""
    ref = await subject.put("head.bin", content("head", 1000))
    by_head = await subject.store.head(ref)
    by_get, _, _ = await read(subject.store, ref, ByteRange(3, 5))
    if not isinstance(by_head, ObjectMeta):
        raise AssertionError("head() without a condition answered NotModified")
    for name in ("generation", "size", "e_tag", "last_modified", "content_encoding", "source"):
        equal(name, getattr(by_head, name), getattr(by_get, name))


async def says_that_an_object_is_absent(subject: Subject) -> None:
    """`NotFound`, by every way of asking."""
    ref = subject.absent()
    await raises(NotFound, subject.store.head(ref), "head")
    await raises(NotFound, read(subject.store, ref), "get")
    await raises(NotFound, read(subject.store, ref, ByteRange(0, 10)), "get of a range")


async def says_that_a_deleted_object_is_absent(subject: Subject) -> None:
    """Also right after it was there."""
    ref = await subject.put("deleted.bin", b"now you see it")
    await read(subject.store, ref)
    await subject.delete(ref)
    await raises(NotFound, read(subject.store, ref), "get after the object was deleted")


async def says_that_nothing_has_changed(subject: Subject) -> None:
    """`NotModified` while the generation is the same, the object once it is another."""
    ref = await subject.put("condition.bin", b"first version")
    known, _, _ = await read(subject.store, ref)
    expect(isinstance(await subject.store.head(ref, if_none_match=known), NotModified), "head of the same version")
    async with subject.store.get(ref, if_none_match=known) as answer:
        expect(isinstance(answer, NotModified), "get of the same version")
    await subject.put("condition.bin", b"other version")
    later = await subject.store.head(ref, if_none_match=known)
    expect(isinstance(later, ObjectMeta), "head after a write of the same length said that nothing had changed")
    async with subject.store.get(ref, if_none_match=known) as answer:
        found = opened(answer)
        body = b"".join([chunk async for chunk in found.chunks])
    equal("the new bytes", body, b"other version")
    expect(found.meta.generation != known.generation, "two versions have the same generation")


async def keeps_to_the_pinned_version(subject: Subject) -> None:
    """Bytes of that generation or `GenerationGone`, whatever is there now."""
    ref = await subject.put("pinned.bin", content("old", 5000))
    pinned, _, _ = await read(subject.store, ref)
    _, _, body = await read(subject.store, ref, ByteRange(10, 30), if_match=pinned)
    expect(body == content("old", 5000)[10:30], "the bytes of a pinned read are wrong")
    await subject.put("pinned.bin", content("new", 5000))
    for spec in (ByteRange(10, 30), None):
        await raises(GenerationGone, read(subject.store, ref, spec, if_match=pinned), "a pinned read after a write")
    await subject.put("pinned.bin", b"shorter")
    what = "a pinned read behind the end of a shorter version"
    await raises(GenerationGone, read(subject.store, ref, ByteRange(4000, 4100), if_match=pinned), what)
    await subject.delete(ref)
    await raises(GenerationGone, read(subject.store, ref, ByteRange(10, 30), if_match=pinned), "… after a delete")


STORE_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    gives_a_whole_object,
    gives_exactly_the_range,
    refuses_a_range_behind_the_end,
    gives_an_empty_object,
    tells_by_head_what_get_tells,
    says_that_an_object_is_absent,
    says_that_a_deleted_object_is_absent,
    says_that_nothing_has_changed,
    keeps_to_the_pinned_version,
    *NAME_CHECKS,
    *INTERRUPTION_CHECKS,
    *LISTING_CHECKS,
)
