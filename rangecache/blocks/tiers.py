"""Several tiers as one: ask the fastest first, fill the faster ones from the slower, put up with a broken one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rangecache.blocks.base import Forgotten, Held, TierStats, exact
from rangecache.errors import TierError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rangecache.blocks.base import BlockStore
    from rangecache.blocks.outlook import Outlook
    from rangecache.model import BlockKey, ObjectRef

logger = logging.getLogger(__name__)


class Tiers:
    """A `BlockStore` made of others, fastest first. Only `held` raises `TierError`: else the next tier is asked."""

    name = "tiers"

    def __init__(self, tiers: Sequence[BlockStore]) -> None:
        self._tiers = tuple(tiers)
        self._first = self._tiers[0]
        self._slower = self._tiers[1:]
        self._broken: set[str] = set()
        self._forgets = 0
        self._forgetting: list[Collection[ObjectRef]] = []  # under way
        self.errors = 0
        """Times that a tier was broken when it was asked."""

    def peek(self, key: BlockKey) -> memoryview | None:
        """The block if the first tier has it."""
        return self._first.peek(key)

    def peek_part(self, key: BlockKey, start: int, end: int) -> memoryview | None:
        """The bytes [start, end) of a block that is not in the first tier, if a slower one has them at once. They stay
        there."""
        for tier in self._slower:
            part = tier.peek_part(key, start, end)
            if part is not None:
                return part
        return None

    def has_parts(self, key: BlockKey) -> bool:
        """Whether any tier is likely to have parts of the block."""
        return any(tier.has_parts(key) for tier in self._tiers)

    def contains(self, key: BlockKey) -> bool:
        """Whether any tier is likely to have the block."""
        return any(tier.contains(key) for tier in self._tiers)

    async def find(self, key: BlockKey, *, part: bool = False) -> tuple[memoryview, str] | None:
        """The verified block and the name of the tier that had it, or None. It is then in all faster tiers too, unless
        only a `part` of it is wanted, and parts of it can be had at once from now on."""
        forgets = self._forgets
        for position, tier in enumerate(self._tiers):
            try:
                data = await tier.get(key)
            except TierError as error:
                self._note_error(tier.name, error)
                continue
            if data is not None:
                self._note_success(tier.name)
                # What was forgotten while it was read is handed out, but must not climb up again.
                forgotten = forgets != self._forgets or self.is_forgetting(key.ref)
                if not forgotten and not (part and tier.has_parts(key)):
                    self._fill(self._tiers[:position], key, data)
                return data, tier.name
        return None

    async def get(self, key: BlockKey) -> memoryview | None:
        """As `find`, without the tier's name."""
        found = await self.find(key)
        return None if found is None else found[0]

    def keep(self, key: BlockKey, data: memoryview) -> None:
        """Offer the block to every tier. The bytes must not change afterwards."""
        self._fill(self._tiers, key, exact(data))

    async def put(self, key: BlockKey, data: memoryview) -> None:
        """As `keep`."""
        self.keep(key, data)

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is here; what is in two tiers counts twice."""
        found: dict[ObjectRef, Held] = {}
        for tier in self._tiers:
            for ref, held in (await tier.held(refs)).items():
                found[ref] = _together([held, found.get(ref, Held())])
        return found

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Give up every block of these objects in all tiers."""
        each = (await self.forget_each(refs)).values()
        return Forgotten(_together([one.held for one in each]), "; ".join(one.failed for one in each if one.failed))

    async def forget_each(self, refs: Collection[ObjectRef]) -> dict[str, Forgotten]:
        """As `forget`, by the tiers' names. The slowest tier goes first: what is being read there for a faster one
        finds that out."""
        self._forgets += 1
        self._forgetting.append(refs)
        try:
            each = {tier.name: await tier.forget(refs) for tier in reversed(self._tiers)}
        finally:
            self._forgetting.remove(refs)
            self._forgets += 1
        return each

    async def outlook(self, ref: ObjectRef) -> Outlook | None:
        """As the slowest tier has it: what leaves that has left altogether."""
        return await self._tiers[-1].outlook(ref)

    def is_forgetting(self, ref: ObjectRef) -> bool:
        """Whether this object is just being given up: no tier may have it from another one now."""
        return any(ref in refs for refs in self._forgetting)

    def __iter__(self) -> Iterator[BlockStore]:
        """The tiers, fastest first."""
        return iter(self._tiers)

    def _fill(self, tiers: Sequence[BlockStore], key: BlockKey, data: memoryview) -> None:
        for tier in tiers:
            try:
                tier.keep(key, data)
            except TierError as error:
                self._note_error(tier.name, error)

    def _note_error(self, name: str, error: TierError) -> None:
        """Log once when a tier breaks, not once a block."""
        self.errors += 1
        if name not in self._broken:
            self._broken.add(name)
            logger.warning("the %s tier is broken, reads go on without it: %s", name, error)

    def _note_success(self, name: str) -> None:
        if name in self._broken:
            self._broken.discard(name)
            logger.info("the %s tier works again", name)

    async def flush(self) -> None:
        """Wait for every tier."""
        for tier in self._tiers:
            await tier.flush()

    def tier_stats(self) -> tuple[TierStats, ...]:
        """Size and counts of each tier, fastest first."""
        return tuple(tier.stats() for tier in self._tiers)

    def stats(self) -> TierStats:
        """Size and counts of all tiers together; the state is the last one's."""
        each = self.tier_stats()
        return TierStats(
            self.name,
            each[-1].state,
            sum(stats.blocks for stats in each),
            sum(stats.bytes for stats in each),
            sum(stats.limit_bytes for stats in each),
            sum(stats.evictions for stats in each),
            sum(stats.checksum_errors for stats in each),
            sum(stats.writes_dropped for stats in each),
        )

    async def aclose(self) -> None:
        """Close every tier."""
        for tier in self._tiers:
            await tier.aclose()

    def __repr__(self) -> str:
        return f"<Tiers {' → '.join(map(repr, self._tiers))}, {self.errors} errors>"


def _together(parts: Sequence[Held]) -> Held:
    return Held(sum(part.blocks for part in parts), sum(part.bytes for part in parts))
