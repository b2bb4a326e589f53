"""Takes objects out of the cache: the one place that knows all that has to forget them.

What has been purged must not come back, neither by an answer of the origin that was on its way nor by a restart,
whenever that comes. So the order is:

1. In one step of the loop: the epoch of these objects ends (`read/epochs`), nobody joins what is under way for them,
   and the catalog knows nothing of them. From then on nobody finds what was known, and what was asked for before makes
   nothing lasting. Were the catalog first, an answer on its way would fill it again; were it later, a reader could
   confirm what he found there (304) and so carry it over.
2. The catalog's records on disk. Blocks can be reached through a record only: whoever is killed here leaves blocks
   that nobody finds unasked. The other way round he would leave records that answer without blocks.
3. Blocks, the slowest tier first, so that none climbs up behind us (`blocks/tiers`).

Which objects there are is asked of everybody who may know one: the catalog, its records, the blocks in memory, and for
a prefix the blocks on disk that no record explains.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.aio.deadline import Deadline
from rangecache.blocks.base import Held, steps
from rangecache.blocks.disk_files import object_prefix
from rangecache.errors import Overloaded, TierError
from rangecache.model import ObjectRef
from rangecache.read.selection import Selection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Iterable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.blocks.memory import MemoryTier
    from rangecache.blocks.tiers import Tiers
    from rangecache.read.catalog import Catalog
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.opening import Opener

logger = logging.getLogger(__name__)

PURGES_MAX: Final = 16  # under way and waiting; they are done one after another
DISK_PATIENCE_S: Final = 300.0  # for a directory that is being looked through, or does not answer
EVERYTHING: Final = Selection.prefix("")
_DIGESTS_AT_ONCE: Final = 256  # about half a millisecond


class Forgetful(Protocol):
    """Whoever remembers something of single objects, whatever it is."""

    def forget(self, selection: Selection) -> None:
        """Remember nothing of these objects. At once, without waiting."""
        ...


class Records(Protocol):
    """The catalog's records on disk, as far as they are listed here."""

    def refs(self, selection: Selection) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects of which there are records. Raises `TierError` where that cannot be told."""
        ...


class Strangers(Protocol):
    """The disk tier, as far as it is asked here for what nobody knows."""

    def strangers(self, known: Container[bytes]) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects of which it has blocks and whose digests are not in `known`. Raises `TierError`."""
        ...


@dataclass(slots=True)
class PurgeReport:
    """What was taken out, or, of a dry run, what would be."""

    selection: Selection
    dry_run: bool
    objects: int = 0
    """Names of which anything was kept, whatever number of versions each has; those known to be absent do not count."""
    negative: int = 0
    """Names that were known to be absent."""
    flights: int = 0
    """Requests of the origin on their way of which nothing will be kept."""
    tiers: dict[str, Held] = field(default_factory=dict)
    """Blocks and their bytes, as each tier counts them against its bound."""
    failures: dict[str, str] = field(default_factory=dict)
    """Where something may still be, and why: it may come back. Empty: nothing will."""

    @property
    def complete(self) -> bool:
        """Whether the purge has reached everything."""
        return not self.failures


class Purger:
    """Purges, one after another. Each goes on to its end, whoever waits for it."""

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        fetcher: Fetcher,
        tiers: Tiers,
        memory: MemoryTier,
        background: Background,
        clock: Clock,
        *,
        records: Records | None = None,
        disk: Strangers | None = None,
        forgetful: Sequence[Forgetful] = (),
    ) -> None:
        """`records` and `disk` are there where the cache survives a restart. `forgetful` are all others who remember
        something of single objects."""
        self._catalog = catalog
        self._opener = opener
        self._fetcher = fetcher
        self._tiers = tiers
        self._memory = memory
        self._background = background
        self._clock = clock
        self._records = records
        self._disk = disk
        self._forgetful = forgetful
        self._turn = asyncio.Lock()
        self._purges = 0

    async def purge(self, selection: Selection, *, dry_run: bool = False) -> PurgeReport:
        """Take these objects out of the cache; `dry_run` only counts. Raises `Overloaded` where too many wait."""
        if self._purges >= PURGES_MAX:
            raise Overloaded("Too many purges wait already; ask again in a moment.")
        self._purges += 1
        work = self._background.spawn(self._in_turn(selection, dry_run), "purge")
        report: PurgeReport = await asyncio.shield(work)
        return report

    async def _in_turn(self, selection: Selection, dry_run: bool) -> PurgeReport:
        try:
            async with self._turn:
                report = PurgeReport(selection, dry_run)
                await (self._count(report) if dry_run else self._forget(report))
                _log(report)
                return report
        finally:
            self._purges -= 1

    # --- counting -------------------------------------------------------------------------------------------------

    async def _count(self, report: PurgeReport) -> None:
        selection = report.selection
        noted = self._catalog.select(selection)
        report.flights = self._opener.count(selection) + self._fetcher.count(selection)
        report.negative = len(noted.absent)
        refs = noted.known
        try:
            async for each in self._recorded(selection):
                refs.update(each)
        except TierError as error:
            report.failures["catalog"] = error.message
        await self._add_those_of_blocks(report, refs)
        for tier in self._tiers:
            try:
                async with Deadline(self._clock, DISK_PATIENCE_S):
                    held = await tier.held(_asked(selection, refs))
                report.tiers[tier.name] = await _together(held.values())
            except (TierError, TimeoutError) as error:
                report.tiers[tier.name] = Held()
                report.failures[tier.name] = _why(error)
        report.objects = await _names(report, refs)

    # --- forgetting -----------------------------------------------------------------------------------------------

    async def _forget(self, report: PurgeReport) -> None:
        selection = report.selection
        # Nothing is awaited from here to the first await of `Catalog.purge`: all of this is one step of the loop.
        self._catalog.epochs.begin(selection)
        report.flights = self._opener.void(selection) + self._fetcher.void(selection)
        for each in self._forgetful:
            each.forget(selection)
        noted, purged = await self._catalog.purge(selection)
        report.negative = len(noted.absent)
        if purged.failed:
            report.failures["catalog"] = purged.failed
        refs = purged.refs
        refs |= noted.known
        await self._add_those_of_blocks(report, refs)
        for name, forgotten in (await self._tiers.forget_each(_asked(selection, refs))).items():
            report.tiers[name] = forgotten.held
            if forgotten.failed:
                report.failures[name] = forgotten.failed
        report.objects = await _names(report, refs)

    # --- who is meant ---------------------------------------------------------------------------------------------

    async def _recorded(self, selection: Selection) -> AsyncGenerator[list[ObjectRef], None]:
        if self._records is not None:
            async with aclosing(self._records.refs(selection)) as pages:
                async for refs in pages:
                    yield refs

    async def _add_those_of_blocks(self, report: PurgeReport, refs: set[ObjectRef]) -> None:
        """Add to `refs` the objects meant that have blocks and are known to nobody else.

        A block on disk names its object by a digest only: if nobody knows whose that is, its file is looked into. That
        is done for a prefix. Of an object, the digest of what is current needs no looking up; versions that were asked
        for by their own names, and whose records are lost, are reached by nobody, and found by a prefix.
        """
        selection, in_memory = report.selection, await self._memory.refs()
        for step in steps(in_memory):
            refs |= selection.among(step)
            await asyncio.sleep(0)
        if selection.whole or self._disk is None:
            return
        try:
            async with Deadline(self._clock, DISK_PATIENCE_S):
                known = await self._digests(chain(in_memory, refs))
                async with aclosing(self._disk.strangers(known)) as strangers:
                    async for found in strangers:
                        refs |= selection.among(found)
        except (TierError, TimeoutError) as error:
            report.failures["disk"] = _why(error)

    async def _digests(self, refs: Iterable[ObjectRef]) -> set[bytes]:
        """Of these objects and of all that have a record: about 80 bytes each, while the purge takes."""
        known: set[bytes] = set()
        for step in steps(refs, _DIGESTS_AT_ONCE):
            known.update(map(object_prefix, step))
            await asyncio.sleep(0)
        async for page in self._recorded(EVERYTHING):
            for step in steps(page, _DIGESTS_AT_ONCE):
                known.update(map(object_prefix, step))
                await asyncio.sleep(0)
        return known


def _asked(selection: Selection, refs: set[ObjectRef]) -> set[ObjectRef]:
    """Of whom the tiers are asked: an object may have blocks there that nobody knows."""
    return refs | {ObjectRef(selection.provider, selection.bucket, selection.key)} if selection.whole else refs


async def _names(report: PurgeReport, refs: set[ObjectRef]) -> int:
    """How many names something was kept of."""
    if report.selection.whole:
        return int(bool(refs) or any(held.blocks for held in report.tiers.values()))
    names: set[tuple[str, ...]] = set()
    for step in steps(refs):
        names.update(ref[:3] for ref in step)
        await asyncio.sleep(0)
    return len(names)


async def _together(parts: Iterable[Held]) -> Held:
    blocks = size_bytes = 0
    for step in steps(parts):
        blocks += sum(each.blocks for each in step)
        size_bytes += sum(each.bytes for each in step)
        await asyncio.sleep(0)
    return Held(blocks, size_bytes)


def _why(error: Exception) -> str:
    if isinstance(error, TierError):
        return error.message
    return f"it has not answered for {DISK_PATIENCE_S:g} s"


def _log(report: PurgeReport) -> None:
    """One line a purge, for whoever asks later who took it out. Of names it holds what was given, and no other."""
    if report.dry_run:
        return
    kept = ", ".join(f"{held.blocks} blocks in {name}" for name, held in report.tiers.items())
    logger.info(
        "purged %s: %d objects, %s, %d known absent, %d fetches under way",
        report.selection,
        report.objects,
        kept,
        report.negative,
        report.flights,
    )
    for where, why in report.failures.items():
        logger.warning("the purge of %s is not complete in the %s: %s", report.selection, where, why)
