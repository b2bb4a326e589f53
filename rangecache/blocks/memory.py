"""The first tier: blocks in this process's memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.blocks.admission_index import DictIndex
from rangecache.blocks.admission_tinylfu import WINDOW_SHARE_MIN, WTinyLFU
from rangecache.blocks.base import Forgotten, Held, TierStats, exact, steps
from rangecache.blocks.outlook import outlook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator

    from rangecache.blocks.admission import Admission
    from rangecache.blocks.outlook import Outlook
    from rangecache.model import BlockKey, ObjectRef

# What a block costs beside its bytes: key, view, entries of two dictionaries. tracemalloc on CPython 3.11 says 570 to
# 620 bytes for blocks of one object and 780 to 830 where every block is an object of its own; the larger counts, since
# it is with a million tiny objects that the overhead is more than the data.
ENTRY_OVERHEAD_BYTES: Final = 900
# The least that newcomers may have to themselves, in bytes and as a share of a small tier: what was fetched ahead of a
# reader must still be here when he comes to it, however often other blocks are used. As much as the largest window that
# is fetched ahead of one reader, `fetch.prefetch.max_window`.
_WINDOW_BYTES: Final = 16 * 1024 * 1024
_WINDOW_SHARE_MAX: Final = 0.25


class MemoryTier:
    """Blocks in memory, bounded in bytes, their bookkeeping included.

    An evicted block is only forgotten: whoever still holds its view goes on reading.
    """

    name: Final = "memory"

    def __init__(self, limit_bytes: int, policy: Admission[BlockKey] | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._policy: Admission[BlockKey] = _usual_policy(limit_bytes) if policy is None else policy
        self._touch = self._policy.touch
        self._views: dict[BlockKey, memoryview] = {}
        self._evictions = 0

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block, which counts as read, or None."""
        view = self._views.get(key)
        if view is not None:
            self._touch(key)
        return view

    def peek_part(self, key: BlockKey, start: int, end: int) -> memoryview | None:
        """As `peek`."""
        view = self.peek(key)
        return None if view is None else view[start:end]

    def has_parts(self, key: BlockKey) -> bool:
        """As `contains`."""
        return key in self._views

    def wants(self, key: BlockKey, size_bytes: int) -> bool:
        """Whether a block that is read below should be here: `keep` would let it stay. Notes this use of it."""
        size_bytes += ENTRY_OVERHEAD_BYTES
        return size_bytes <= self._limit_bytes and self._policy.wants(key, size_bytes, self._limit_bytes)

    def contains(self, key: BlockKey) -> bool:
        """Whether the block is here; recency stays as it is."""
        return key in self._views

    async def get(self, key: BlockKey) -> memoryview | None:
        """As `peek`."""
        return self.peek(key)

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Take the block, evict what no longer fits. The caller must not change the bytes afterwards.

        A block that is larger than the whole tier, or that the policy turns down, is not kept.
        """
        size_bytes = data.nbytes + ENTRY_OVERHEAD_BYTES
        if size_bytes > self._limit_bytes:
            return
        self._views[key] = exact(data)
        self._policy.admit(key, size_bytes)
        for evicted in self._policy.evict(self._limit_bytes):
            del self._views[evicted]
            self._evictions += evicted != key

    async def put(self, key: BlockKey, data: memoryview) -> None:
        """As `keep`."""
        self.keep(key, data)

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is here."""
        found: dict[ObjectRef, Held] = {}
        async for key in self._keys(refs):
            before = found.get(key.ref, Held())
            found[key.ref] = Held(before.blocks + 1, before.bytes + self._size_bytes(key))
        return found

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Give up every block of these objects. Views that were handed out stay valid."""
        blocks, size_bytes = 0, 0
        async for key in self._keys(refs):
            blocks += 1
            size_bytes += self._size_bytes(key)
            del self._views[key]
            self._policy.remove(key)
        return Forgotten(Held(blocks, size_bytes))

    def favourites(self) -> Iterator[tuple[BlockKey, memoryview]]:
        """The blocks that were read again since they came; as `Admission.standing` if they change meanwhile."""
        for key in self._policy.favourites():
            view = self._views.get(key)
            if view is not None:
                yield key, view

    async def outlook(self, ref: ObjectRef) -> Outlook | None:
        """When the blocks of this object would leave."""
        return await outlook(self._policy.standing(), lambda key: key.ref == ref)

    async def refs(self) -> set[ObjectRef]:
        """All objects of which there is a block."""
        found: set[ObjectRef] = set()
        for step in steps(list(self._views)):
            found.update(key.ref for key in step)
            await asyncio.sleep(0)
        return found

    async def _keys(self, refs: Collection[ObjectRef]) -> AsyncGenerator[BlockKey, None]:
        """The blocks of these objects that are here when they are given out, in steps that leave the loop to others."""
        for step in steps(list(self._views)):
            for key in step:
                if key.ref in refs and key in self._views:
                    yield key
            await asyncio.sleep(0)

    def _size_bytes(self, key: BlockKey) -> int:
        return self._views[key].nbytes + ENTRY_OVERHEAD_BYTES

    async def flush(self) -> None:
        """Nothing is on its way."""

    def stats(self) -> TierStats:
        """Size and counts now."""
        held = self._policy.held_bytes
        return TierStats(self.name, "rw", len(self._views), held, self._limit_bytes, self._evictions)

    async def aclose(self) -> None:
        """Forget every block."""
        self._policy.evict(0)
        self._views.clear()

    def __repr__(self) -> str:
        held = self._policy.held_bytes
        return f"<MemoryTier {len(self._views)} blocks, {held} of {self._limit_bytes} bytes, {self._evictions} evicted>"


def _usual_policy(limit_bytes: int) -> Admission[BlockKey]:
    share = min(_WINDOW_SHARE_MAX, _WINDOW_BYTES / max(1, limit_bytes))
    return WTinyLFU(DictIndex(), window_share_min=max(share, WINDOW_SHARE_MIN))
