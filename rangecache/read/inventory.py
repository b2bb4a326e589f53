"""What is cached: objects in the order of their names, and everything there is to say of one.

Nothing here changes anything, not even the order in which blocks go. Objects whose record is lost and whose blocks are
on disk are not listed: nobody can read them without asking the origin, and only a purge looks for their names.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from rangecache.blocks.base import Held, steps
from rangecache.errors import TierError
from rangecache.model import ObjectRef
from rangecache.read.catalog_rows import row_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.blocks.base import BlockStore
    from rangecache.blocks.memory import MemoryTier
    from rangecache.blocks.outlook import Outlook
    from rangecache.blocks.tiers import Tiers
    from rangecache.read.catalog import Catalog
    from rangecache.read.catalog_rows import Page
    from rangecache.read.known import Known
    from rangecache.read.selection import Selection

MAP_BLOCKS_MAX: Final = 1 << 20
"""Blocks of an object that are looked for one by one, 256 GiB of the usual ones; what is behind is counted only."""
_LOOKED_FOR_AT_ONCE: Final = 256  # about a millisecond where names have to be digested
VERSIONS_MAX: Final = 100


class Records(Protocol):
    """The catalog's records on disk, as far as they are shown here."""

    async def page(self, selection: Selection, after: str | None, limit: int) -> Page:
        """The next records of these objects in the order of their names, behind the row `after`."""
        ...


class Listed(NamedTuple):
    """One object in one version that was asked for."""

    ref: ObjectRef
    known: Known | None
    """The current version; None where blocks are all that is left."""
    held: Mapping[str, Held]
    """By tier, without those that have nothing or cannot tell."""


class Listing(NamedTuple):
    """A part of what is cached."""

    objects: list[Listed]
    after: str | None
    """Where the next part begins; None at the end."""


@dataclass(frozen=True, slots=True)
class TierView:
    """What one tier has of an object."""

    held: Held
    """In whatever generation."""
    blocks: tuple[range, ...]
    """Numbers of the current version's blocks, in ascending runs."""
    outlook: Outlook | None
    """When they would go."""


@dataclass(frozen=True, slots=True)
class Described:
    """All there is to say of one version that was asked for."""

    ref: ObjectRef
    known: Known | None
    tiers: Mapping[str, TierView]


class Inventory:
    """Looks, one question after another."""

    def __init__(self, catalog: Catalog, tiers: Tiers, memory: MemoryTier, records: Records | None = None) -> None:
        self._catalog = catalog
        self._tiers = tiers
        self._memory = memory
        self._records = records
        self._turn = asyncio.Lock()

    async def page(self, selection: Selection, after: str | None, limit: int) -> Listing:
        """The next `limit` objects in the order of their names, behind `after`."""
        async with self._turn:
            rows, end = await self._rows(selection, after, limit)
            refs = dict.fromkeys(ref for ref, _ in rows)
            held = {tier.name: await _held(tier, refs) for tier in self._tiers}
            found = []
            for ref, record in rows:
                known = self._catalog.look(ref, record)
                kept = {name: by_ref[ref] for name, by_ref in held.items() if ref in by_ref}
                if known is not None or kept:  # a record may be of another endpoint, and mean nothing today
                    found.append(Listed(ref, known, kept))
            return Listing(found, end)

    async def describe(self, name: Selection) -> list[Described]:
        """An object in all versions that were asked for; empty where nothing is known of it."""
        async with self._turn:
            rows, _ = await self._rows(name, None, VERSIONS_MAX)
            current = ObjectRef(name.provider, name.bucket, name.key)
            if current not in dict(rows):
                rows.insert(0, (current, None))
            found = []
            for ref, record in rows:
                known = self._catalog.look(ref, record)
                views = {tier.name: view for tier in self._tiers if (view := await self._view(tier, ref, known))}
                if known is not None or views:
                    found.append(Described(ref, known, views))
            return found

    async def _rows(
        self, selection: Selection, after: str | None, limit: int
    ) -> tuple[list[tuple[ObjectRef, dict[str, Any] | None]], str | None]:
        """Objects of which there is a record or something in memory, and the row behind which there may be more."""
        rows: dict[str, tuple[ObjectRef, dict[str, Any] | None]] = {}
        last: str | None = None
        if self._records is not None:
            page = await self._records.page(selection, after, limit)
            last = page.last
            rows = {entry.row: (entry.ref, entry.record) for entry in page.entries}
        here = self._catalog.select(selection).known
        for step in steps(await self._memory.refs()):
            here |= selection.among(step)
            await asyncio.sleep(0)
        for step in steps(here):
            for ref in step:
                row = row_key(ref) or str(ref)
                if row not in rows and (after is None or row > after) and (last is None or row <= last):
                    rows[row] = (ref, None)
            await asyncio.sleep(0)
        names = sorted(rows)
        if len(names) > limit:
            names, last = names[:limit], names[limit - 1]
        return [rows[row] for row in names], last

    async def _view(self, tier: BlockStore, ref: ObjectRef, known: Known | None) -> TierView | None:
        held = (await _held(tier, {ref: None})).get(ref)
        if held is None:
            return None
        here: list[int] = []
        if known is not None and known.meta.generation:
            indices = iter(range(min(MAP_BLOCKS_MAX, -(-known.meta.size // known.block_bytes))))
            while step := list(islice(indices, _LOOKED_FOR_AT_ONCE)):
                here += [index for index in step if tier.contains(known.block_key(index))]
                await asyncio.sleep(0)
        return TierView(held, tuple(_ranges(here)), await tier.outlook(ref))


async def _held(tier: BlockStore, refs: Mapping[ObjectRef, None]) -> dict[ObjectRef, Held]:
    try:
        return await tier.held(refs.keys())
    except TierError:
        return {}  # its state says so elsewhere


def _ranges(ascending: list[int]) -> Iterator[range]:
    start = stop = None
    for index in ascending:
        if index != stop:
            if start is not None and stop is not None:
                yield range(start, stop)
            start = index
        stop = index + 1
    if start is not None and stop is not None:
        yield range(start, stop)
