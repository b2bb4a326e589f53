"""Reads a store as the tests like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.origin.base import GetResult, NotModified

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore, Purpose
    from rangecache.ranges import ByteRange, RangeSpec


async def read(
    store: ObjectStore,
    ref: ObjectRef,
    range: RangeSpec | None = None,
    if_match: ObjectMeta | None = None,
    purpose: Purpose = "demand",
) -> tuple[ObjectMeta, ByteRange, bytes]:
    """Open, read to the end, close."""
    async with store.get(ref, range=range, if_match=if_match, purpose=purpose) as result:
        assert isinstance(result, GetResult)
        data = b"".join([chunk async for chunk in result.chunks])
        assert len(data) == result.range.length
        return result.meta, result.range, data


async def meta_of(store: ObjectStore, ref: ObjectRef) -> ObjectMeta:
    """The object's metadata now."""
    meta = await store.head(ref)
    assert not isinstance(meta, NotModified)
    return meta
