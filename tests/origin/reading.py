"""Reads a store as the tests like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.origin.base import GetResult, NotModified
from rangecache.origin.breaking import Breaking
from rangecache.origin.observe import Observed
from rangecache.telemetry import Metrics

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore, Purpose
    from rangecache.ranges import ByteRange, RangeSpec


def watched(store: ObjectStore, clock: Clock) -> Breaking:
    """With a breaker that hears how long answers take, as in the program."""

    def begun(ref: ObjectRef, latency_s: float) -> None:
        breaking.begun(ref, latency_s)

    breaking = Breaking(Observed(store, Metrics(), clock, "watched", on_begun=begun), clock=clock, random=lambda: 0.5)
    return breaking


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
