"""Blocks at rest. Every tier is a `BlockStore`; three answers are kept apart: a hit, a miss (None), a broken tier
(`TierError`), which is never a broken read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from rangecache.model import BlockKey, ObjectRef


@dataclass(frozen=True, slots=True)
class TierStats:
    """A tier's size now and its counts since start."""

    name: str
    """`memory` or `disk`: the `tier` label of the metrics."""
    state: str
    """`rw`, `ro` (reads only) or `off`."""
    blocks: int
    bytes: int
    limit_bytes: int
    evictions: int
    checksum_errors: int = 0
    writes_dropped: int = 0


class Held(NamedTuple):
    """How much of one object a tier holds, all its versions together."""

    blocks: int = 0
    bytes: int = 0
    """As the tier counts them against its bound."""


class BlockStore(Protocol):
    """A tier. Views that it hands out are read-only and stay valid however long the caller keeps them."""

    @property
    def name(self) -> str:
        """`memory` or `disk`: what `Cache-Status` and the metrics call it."""
        ...

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block if it is resident and verified, at once. None: not resident, or not without waiting."""
        ...

    def contains(self, key: BlockKey) -> bool:
        """Whether `get` is likely to find the block; at once, without touching recency."""
        ...

    async def get(self, key: BlockKey) -> memoryview | None:
        """The verified block, or None. Raises `TierError` where the tier is broken."""
        ...

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Keep the block, or decide not to. Never waits for a slow medium: a full queue drops and counts. Called on
        the event loop; the bytes must not change afterwards."""
        ...

    async def put(self, key: BlockKey, data: memoryview) -> None:
        """As `keep`, for a caller that awaits anyway."""
        ...

    async def held(self, ref: ObjectRef) -> Held:
        """How much of this object is here, in whatever version; recency stays as it is."""
        ...

    async def forget(self, ref: ObjectRef) -> Held:
        """Give up every block of this object; how much that was. When it returns, none of them can be found again, now
        or after a restart, unless it is kept anew."""
        ...

    def stats(self) -> TierStats: ...

    async def aclose(self) -> None: ...


def exact(data: memoryview) -> memoryview:
    """A read-only view of the same bytes that keeps nothing else alive.

    A view into a larger buffer would hold the whole buffer in memory while only the view's bytes are counted: such a
    one is copied, any other is not.
    """
    if data.nbytes == memoryview(data.obj).nbytes:
        return data.toreadonly()
    return memoryview(bytes(data))
