"""What every `ObjectStore` must do, as checks that any store can run: ours, a wrapper's, a third party's.

A check gets a `Subject`, which knows how to write objects behind the store's back, and raises `AssertionError` where
the store breaks the contract of `rangecache.origin.base`; an error that the store should not have raised comes through
as it is. With pytest::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    async def test_the_store_keeps_the_contract(check, subject):
        await check(subject)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.errors import GenerationGone, NotFound, RangecacheError, RangeNotSatisfiable
from rangecache.model import ObjectMeta
from rangecache.origin.base import GetResult, NotModified
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange, resolve
from rangecache.testing.listing_checks import LISTING_CHECKS
from rangecache.testing.subject import ODD_KEYS, Subject, content
from rangecache.testing.subject import equal as _equal
from rangecache.testing.subject import expect as _expect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.ranges import RangeSpec


async def read(
    store: ObjectStore,
    ref: ObjectRef,
    range: RangeSpec | None = None,
    *,
    if_match: ObjectMeta | None = None,
) -> tuple[ObjectMeta, ByteRange, bytes]:
    """Open an object, read it to its end and close it."""
    async with store.get(ref, range=range, if_match=if_match) as answer:
        found = _result(answer)
        return found.meta, found.range, b"".join([chunk async for chunk in found.chunks])


def _result(answer: GetResult | NotModified) -> GetResult:
    if not isinstance(answer, GetResult):
        raise AssertionError("the store said that nothing had changed where it had to send the object")
    return answer


async def _raises(kind: type[RangecacheError], work: Awaitable[object], what: str) -> RangecacheError:
    try:
        found = await work
    except RangecacheError as error:
        _expect(
            isinstance(error, kind), f"{what}: {type(error).__name__} was raised, expected {kind.__name__}: {error}"
        )
        return error
    raise AssertionError(f"{what}: answered {found!r:.200}, expected {kind.__name__}")


# --- the checks ---------------------------------------------------------------------------------------------------


async def gives_a_whole_object(subject: Subject) -> None:
    """Without a range: every byte, and metadata that fits."""
    data = content("whole")
    ref = await subject.put("whole.bin", data)
    meta, got, body = await read(subject.store, ref)
    _equal("size", meta.size, len(data))
    _equal("ref", meta.ref, ref)
    _equal("range", got, ByteRange(0, len(data)))
    _expect(body == data, "the bytes of the whole object are wrong")
    _expect(meta.generation, "the object has no generation, so that nothing of it could be kept")


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
        _expect(got in (wanted, ByteRange(0, size)), f"{spec}: the store says that it sends {got}")
        _expect(body == data[got.start : got.end], f"{spec}: the bytes are wrong")
        _equal(f"{spec}: generation", meta.generation, whole.generation)
        _equal(f"{spec}: size", meta.size, size)


async def refuses_a_range_behind_the_end(subject: Subject) -> None:
    """With the object's size, so that the caller can say it."""
    ref = await subject.put("short.bin", b"0123456789")
    for spec in (OffsetRange(10), ByteRange(10, 11), ByteRange(500, 600)):
        error = await _raises(RangeNotSatisfiable, read(subject.store, ref, spec), str(spec))
        _equal(f"{spec}: size in the error", getattr(error, "size", None), 10)


async def gives_an_empty_object(subject: Subject) -> None:
    """No bytes, but metadata; a range of nothing is refused or answered with nothing."""
    ref = await subject.put("empty.bin", b"")
    meta, got, body = await read(subject.store, ref)
    _equal("size", meta.size, 0)
    _equal("range", got, ByteRange(0, 0))
    _equal("bytes", body, b"")
    try:
        _, got, body = await read(subject.store, ref, OffsetRange(0))
    except RangeNotSatisfiable as error:
        _expect(error.size in (0, None), f"the error says that an empty object has {error.size} bytes")
    else:
        _equal("range and bytes", (got, body), (ByteRange(0, 0), b""))


async def tells_by_head_what_get_tells(subject: Subject) -> None:
    """Same generation, size, tag and date."""
    ref = await subject.put("head.bin", content("head", 1000))
    by_head = await subject.store.head(ref)
    by_get, _, _ = await read(subject.store, ref, ByteRange(3, 5))
    if not isinstance(by_head, ObjectMeta):
        raise AssertionError("head() without a condition answered NotModified")
    for name in ("generation", "size", "e_tag", "last_modified", "content_encoding", "source"):
        _equal(name, getattr(by_head, name), getattr(by_get, name))


async def says_that_an_object_is_absent(subject: Subject) -> None:
    """`NotFound`, by every way of asking."""
    ref = subject.absent()
    await _raises(NotFound, subject.store.head(ref), "head")
    await _raises(NotFound, read(subject.store, ref), "get")
    await _raises(NotFound, read(subject.store, ref, ByteRange(0, 10)), "get of a range")


async def says_that_a_deleted_object_is_absent(subject: Subject) -> None:
    """Also right after it was there."""
    ref = await subject.put("deleted.bin", b"now you see it")
    await read(subject.store, ref)
    await subject.delete(ref)
    await _raises(NotFound, read(subject.store, ref), "get after the object was deleted")


async def says_that_nothing_has_changed(subject: Subject) -> None:
    """`NotModified` while the generation is the same, the object once it is another."""
    ref = await subject.put("condition.bin", b"first version")
    known, _, _ = await read(subject.store, ref)
    _expect(isinstance(await subject.store.head(ref, if_none_match=known), NotModified), "head of the same version")
    async with subject.store.get(ref, if_none_match=known) as answer:
        _expect(isinstance(answer, NotModified), "get of the same version")
    await subject.put("condition.bin", b"other version")
    later = await subject.store.head(ref, if_none_match=known)
    _expect(isinstance(later, ObjectMeta), "head after a write of the same length said that nothing had changed")
    async with subject.store.get(ref, if_none_match=known) as answer:
        found = _result(answer)
        body = b"".join([chunk async for chunk in found.chunks])
    _equal("the new bytes", body, b"other version")
    _expect(found.meta.generation != known.generation, "two versions have the same generation")


async def keeps_to_the_pinned_version(subject: Subject) -> None:
    """Bytes of that generation or `GenerationGone`, whatever is there now."""
    ref = await subject.put("pinned.bin", content("old", 5000))
    pinned, _, _ = await read(subject.store, ref)
    _, _, body = await read(subject.store, ref, ByteRange(10, 30), if_match=pinned)
    _expect(body == content("old", 5000)[10:30], "the bytes of a pinned read are wrong")
    await subject.put("pinned.bin", content("new", 5000))
    for spec in (ByteRange(10, 30), None):
        await _raises(GenerationGone, read(subject.store, ref, spec, if_match=pinned), "a pinned read after a write")
    await subject.put("pinned.bin", b"shorter")
    what = "a pinned read behind the end of a shorter version"
    await _raises(GenerationGone, read(subject.store, ref, ByteRange(4000, 4100), if_match=pinned), what)
    await subject.delete(ref)
    await _raises(GenerationGone, read(subject.store, ref, ByteRange(10, 30), if_match=pinned), "… after a delete")


async def may_be_left_early(subject: Subject) -> None:
    """After the first chunk or before it; the store goes on working."""
    data = content("early")
    ref = await subject.put("early.bin", data)
    for _ in range(5):
        async with subject.store.get(ref) as answer:
            async for chunk in _result(answer).chunks:
                _expect(data.startswith(chunk), "the first chunk is wrong")
                break
        async with subject.store.get(ref, range=ByteRange(5, 10)):
            pass
    _, _, body = await read(subject.store, ref)
    _expect(body == data, "a read after abandoned ones is wrong")


async def answers_many_at_once(subject: Subject) -> None:
    """Each its own bytes."""
    data = content("many")
    ref = await subject.put("many.bin", data)
    spans = [ByteRange(start, start + 4001) for start in range(0, 160_000, 4000)]
    answers = await asyncio.gather(*(read(subject.store, ref, span) for span in spans))
    for span, (_, got, body) in zip(spans, answers, strict=True):
        _expect(body == data[got.start : got.end] and got.start <= span.start, f"{span}: the bytes are wrong")


async def takes_any_key(subject: Subject) -> None:
    """A key is opaque text: what looks like an escape, a query or a path is a part of it."""
    refs = [(await subject.put(key, key.encode()), key) for key in ODD_KEYS]
    for ref, key in refs:
        _, _, body = await read(subject.store, ref)
        _equal(f"bytes of {key!r}", body, key.encode())


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
    may_be_left_early,
    answers_many_at_once,
    takes_any_key,
    *LISTING_CHECKS,
)
