"""Blocks at rest. Every tier is a `BlockStore`; three answers are kept apart: a hit, a miss (None), a broken tier
(`TierError`), which is never a broken read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from rangecache.blocks.outlook import Outlook
    from rangecache.model import BlockKey, ObjectRef

STEP: Final = 1024
"""Blocks that are looked at before the loop turns to requests: well below a millisecond."""
T = TypeVar("T")


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
    """How much of one object a tier holds, all its generations together."""

    blocks: int = 0
    bytes: int = 0
    """As the tier counts them against its bound."""


class Forgotten(NamedTuple):
    """What a tier gave up when it was told to forget objects."""

    held: Held = Held()
    failed: str = ""
    """A half sentence for a person, if some of it may still be there, now or after a restart; else empty."""


class BlockStore(Protocol):
    """A tier. Views that it hands out are read-only and stay valid however long the caller keeps them."""

    @property
    def name(self) -> str:
        """`memory` or `disk`: what `Cache-Status` and the metrics call it."""
        ...

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block if it is resident and verified, at once. None: not resident, or not without waiting."""
        ...

    def peek_part(self, key: BlockKey, start: int, end: int) -> memoryview | None:
        """The bytes [start, end) of a verified block, at once. None: not without waiting, or it is time for the whole
        block to be read."""
        ...

    def has_parts(self, key: BlockKey) -> bool:
        """Whether `peek_part` is likely to find parts of the block."""
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

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is here, without those of which nothing is; recency stays as it is.

        Raises `TierError` where that cannot be known. A set or dictionary is looked up fastest.
        """
        ...

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Give up every block of these objects. When it returns, none of those that were here at its beginning can be
        found again, now or after a restart, except for what `failed` says."""
        ...

    async def flush(self) -> None:
        """Wait until what was kept before is where it stays, or has been given up."""
        ...

    async def outlook(self, ref: ObjectRef) -> Outlook | None:
        """When the blocks of this object would leave; None where there are none or it cannot be told."""
        ...

    def stats(self) -> TierStats: ...

    async def aclose(self) -> None: ...


def steps(items: Iterable[T], count: int = STEP) -> Iterator[list[T]]:
    """The items in lists of `count`: what walks over all blocks gives way after each, so that no request waits long."""
    iterator = iter(items)
    while step := list(islice(iterator, count)):
        yield step


def exact(data: memoryview) -> memoryview:
    """A read-only view of the same bytes that keeps nothing else alive.

    A view into a larger buffer would hold the whole buffer in memory while only the view's bytes are counted: such a
    one is copied, any other is not.
    """
    if data.nbytes == memoryview(data.obj).nbytes:
        return data.toreadonly()
    return memoryview(bytes(data))
