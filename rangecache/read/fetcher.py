"""Missing blocks: who fetches them, in which requests, and where they go when they arrive.

Blocks are coalesced, not requests. A reader claims the blocks that it misses; those which somebody fetches already are
joined, the others become runs of neighbours, one ranged GET each. Claiming never awaits, so between the look at the
tiers and the claim nothing can change; but between the reader's own look and his claim it can:

    reader A misses block 7 and waits for the disk ... reader B's run lands block 7 ... A claims block 7

so the claim looks at the memory tier once more.

A run belongs to the cache. Readers come and go; if the last one goes away before he was served, while more than
`ABANDON_BYTES` and half of the run is still to come, the run is cancelled and its connection closed. Otherwise it
lands, for the next reader: most readers want less than a block, and have it long before the block is here.

Nothing here waits for memory. A run on its way holds one block that is not complete, and there are no more of those
than the origin's permits (`origin/limit`). Complete blocks are in the tiers; the run keeps them for its readers too, so
that a small memory tier does not evict them before a reader comes to them. What is kept so is bounded, the oldest goes
first, and reading ahead stops where it would exceed the bound. Waiting for memory is not to be had: a body that has to
be resumed would wait for a connection while it holds memory, and those who have connections would wait for memory.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from rangecache.errors import (
    GenerationGone,
    InvalidAnswer,
    NotFound,
    NotStorable,
    RangecacheError,
    RangeIgnored,
    RangeNotSatisfiable,
    Unavailable,
)
from rangecache.origin.base import PATIENT, GetResult
from rangecache.ranges import ByteRange, runs
from rangecache.read.known import IMMUTABLE
from rangecache.read.run import Run
from rangecache.read.under_way import UnderWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rangecache.aio.tasks import Background
    from rangecache.blocks.base import BlockStore
    from rangecache.model import BlockKey, ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore, Purpose
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog
    from rangecache.read.known import Known
    from rangecache.read.selection import Selection
    from rangecache.telemetry import Metrics

ABANDON_BYTES: Final = 64 * 1024  # less than this is sooner fetched than a new connection is opened (Squid: 16 KiB)
JOIN_WASTE_MAX: Final = (
    0.25  # of a run, in blocks that are here already: a request is worth less than those of all gaps
)
SKIP_BYTES_MAX: Final = 64 * 1024 * 1024  # what is read and thrown away of an origin that ignores Range


class Fetcher:
    """Turns missing blocks into ranged GETs and lands their bytes in the tiers."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        tiers: BlockStore,
        catalog: Catalog,
        background: Background,
        metrics: Metrics,
        *,
        run_bytes: int,
        gap_blocks: int,
        ahead_bytes: int,
        promote: Callable[[ObjectRef, RangeSpec | None], None] = lambda _ref, _range: None,
        eased: Callable[[ObjectRef], bool] = lambda _ref: True,
    ) -> None:
        """`run_bytes` is the longest run; `gap_blocks` how many blocks may be over-read to join two runs;
        `ahead_bytes` how much may be kept for readers, and fetched ahead of them, all together. `promote` tells the
        provider that a reader has come to wait for a GET that was sent for none. `eased` says whether an object's
        bucket has not lately asked for fewer requests."""
        self._stores = stores
        self._tiers = tiers
        self._catalog = catalog
        self._background = background
        self._metrics = metrics
        self.run_bytes = run_bytes
        self._gap_blocks = gap_blocks
        self.promote = promote
        self.eased = eased
        self._epochs = catalog.epochs
        self.under_way = UnderWay(catalog.epochs, ahead_bytes)
        """The books of all runs."""
        self._coalesced = metrics.coalesced.cell()

    def __len__(self) -> int:
        return len(self.under_way)

    def flying(self, key: BlockKey) -> bool:
        """Whether the block is on its way."""
        return key in self.under_way

    def run_blocks(self, known: Known) -> int:
        """How many blocks of this version the longest run has."""
        return max(1, self.run_bytes // known.block_bytes)

    def piece_blocks(self, known: Known, ways: int) -> int:
        """How many blocks each run has where so many bring a long answer side by side: half as many as usual if there
        is room for that number of halves, and not of whole ones."""
        room_bytes = self.under_way.ahead_bytes // ways
        halved = self.run_bytes // 2 <= room_bytes < self.run_bytes
        return max(1, self.run_blocks(known) // 2) if halved else self.run_blocks(known)

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more may be fetched ahead of their reader."""
        return self.under_way.has_room(size)

    def claim(self, known: Known, indices: Iterable[int], purpose: Purpose, needed: int | None = None) -> list[Run]:
        """Join or start the runs that bring those of the blocks which no tier has.

        Block `needed` is fetched even if a tier should have it: the caller has just asked, and it had not.
        """
        found: dict[Run, None] = {}
        missing = []
        for index in sorted(set(indices)):
            key = known.block_key(index)
            run = self.under_way.find(key)
            if run is not None:
                found[run] = None
                if run.purpose in PATIENT and purpose not in PATIENT:
                    self.promote(run.known.meta.ref, _asked(run))
            elif self._tiers.peek(key) is None if index == needed else not self._tiers.contains(key):
                missing.append(index)
        self._coalesced.value += len(found)
        for blocks in runs(missing, self.run_blocks(known), self._gap_blocks, JOIN_WASTE_MAX):
            found[self._start(known, blocks, purpose)] = None
        return sorted(found, key=lambda run: run.start)

    def fetch_ahead(
        self, known: Known, indices: Iterable[int], most: int | None = None, *, widen: bool = False
    ) -> list[tuple[Run, range]]:
        """Start the runs that bring those of the blocks, ascending, which are not here and not on their way, but not
        more than `most` of them. No reader waits for them. Gives the runs, each with what it brings of that. Those that
        lie beside a run that has not been asked for yet make that one longer, with `widen`."""
        missing = (index for index in indices if not self.coming(known, index))
        return [
            ((self._widened(known, blocks) if widen else None) or self._start(known, blocks, "prefetch"), blocks)
            for blocks in runs(islice(missing, most), self.run_blocks(known))
        ]

    def coming(self, known: Known, index: int) -> bool:
        """Whether the block is here or on its way."""
        key = known.block_key(index)
        return key in self.under_way or self._tiers.contains(key)

    def unsent(self, known: Known, blocks: range) -> Run | None:
        """The one run that has just been started for what is missing of these blocks; None where there are several, or
        nothing is missing, or the origin has been asked already."""
        found = {run for index in blocks if (run := self.under_way.find(known.block_key(index))) is not None}
        run = found.pop() if len(found) == 1 else None
        return run if run is not None and not run.sent and run.purpose == "demand" else None

    def _widened(self, known: Known, blocks: range) -> Run | None:
        """A run that has not been asked for yet and ends or begins where these blocks begin or end, made longer by
        them; None if there is none."""
        for beside in (blocks.start - 1, blocks.stop):
            run = self.under_way.find(known.block_key(beside))
            if run is None or run.sent or run.purpose == "warm":
                continue
            if len(run.blocks) + len(blocks) > self.run_blocks(known):
                continue
            self.under_way.widen(run, blocks)
            return run
        return None

    def _start(self, known: Known, blocks: range, purpose: Purpose) -> Run:
        run = Run(known, blocks, purpose)
        self.under_way.add(run, self._epochs.now)
        run.task = self._background.spawn(self._fetch(run), f"fetch {known.meta.ref.provider}")
        # A task that is cancelled before its first step runs no line of its own, not even a `finally`.
        run.task.add_done_callback(partial(self._ended, run))
        return run

    def adopt(self, known: Known, answer: GetResult, epoch: int) -> Run:
        """A run for the whole blocks of an answer that the caller has open and will `land` in its own task. The origin
        was asked for it in `epoch`."""
        block_bytes = known.block_bytes
        first = -(-answer.range.start // block_bytes)
        whole = answer.range.end == known.meta.size
        last = -(-answer.range.end // block_bytes) if whole else answer.range.end // block_bytes
        run = Run(known, range(first, max(first, last)))
        run.sent = True
        self.under_way.add(run, epoch)
        run.task = asyncio.current_task()
        if run.task is not None:
            run.task.add_done_callback(partial(self._ended, run))
        return run

    def attach(self, run: Run) -> None:
        """One more reader wants this run."""
        run.readers += 1

    def detach(self, run: Run, *, satisfied: bool) -> None:
        """One reader less. If the last one leaves without having got what he came for, that may end the run."""
        run.readers -= 1
        if run.readers:
            return
        self.under_way.let_go(run)
        if not satisfied and not run.followers:
            self._abandon(run)

    def follow(self, run: Run) -> None:
        """Somebody wants the run to land and will not read from it: nothing is kept for him."""
        run.followers += 1

    def unfollow(self, run: Run) -> None:
        """One of those less. If nobody else wants the run, that may end it."""
        run.followers -= 1
        if not run.followers and not run.readers:
            self._abandon(run)

    def _abandon(self, run: Run) -> None:
        if not run.done and run.missing > max(ABANDON_BYTES, run.length // 2) and run.task is not None:
            self.under_way.remove(run)  # at once: nobody may join a run that is on its way out
            run.task.cancel()

    async def land(self, run: Run, answer: GetResult) -> None:
        """Read an answer that has been checked into its run and the tiers. Errors go to the run's readers."""
        run.open()
        try:
            position = answer.range.start
            async for chunk in answer.chunks:
                view = memoryview(chunk)[max(0, run.arrived - position) : max(0, run.end - position)]
                position += len(chunk)
                for index, block in run.feed(view):
                    key = run.known.block_key(index)
                    if not self._epochs.over(key.ref, run.epoch):
                        self._tiers.keep(key, block)
                    self.under_way.landed(run, key)
                    self.under_way.hold(run, len(block))
                # An answer that ends with the run is read to its end, so that its connection can be used again.
                if run.done and answer.range.end != run.end:
                    break
        except RangecacheError as error:
            self._failed(run, error)

    async def _fetch(self, run: Run) -> None:
        run.sent = True
        meta = run.known.meta
        # The operator's `immutable` may stand in for a validator that the origin does not have: nothing to pin to.
        pin = None if meta.validator == IMMUTABLE else meta
        wanted = ByteRange(run.start, run.end)
        asked_at = self._catalog.now()
        try:
            async with self._stores[meta.ref.provider].get(
                meta.ref, range=_asked(run), if_match=pin, purpose=run.purpose
            ) as answer:
                if not isinstance(answer, GetResult):
                    raise InvalidAnswer("the origin answered 304 to a request without a condition")
                _check(answer, wanted, meta)
                if not self._may_store(run, answer.meta, asked_at):
                    raise NotStorable("the origin no longer allows these bytes to be stored; ask again")
                await self.land(run, answer)
        except RangecacheError as error:
            if pin is None and isinstance(error, (NotFound, RangeNotSatisfiable)):
                # The run was for a version, pin or not. What is true now is found out by asking anew.
                error = GenerationGone("an object that the configuration calls immutable has changed")
            self._failed(run, error)

    def _may_store(self, run: Run, meta: ObjectMeta, asked_at: float) -> bool:
        """Whether a part that was asked for at `asked_at` may be stored. If so, its version is current."""
        if run.known.meta.validator == IMMUTABLE or self._epochs.over(meta.ref, run.epoch):
            return True  # it proves nothing of what is known, or is not stored anyway
        return self._catalog.confirmed(run.known, meta, asked_at)

    def _ended(self, run: Run, _: asyncio.Task[None]) -> None:
        self.under_way.remove(run)
        run.fail(Unavailable("the fetch of these bytes was cancelled; ask again"))

    def _failed(self, run: Run, error: RangecacheError) -> None:
        self.under_way.remove(run)  # at once: who comes now begins anew
        if self._epochs.over(run.known.meta.ref, run.epoch):
            pass  # it says nothing of what is known now
        elif isinstance(error, GenerationGone):
            self._catalog.conflict(run.known)
            self._metrics.version_conflicts.cell(run.known.meta.ref.provider).value += 1
        elif isinstance(error, RangeIgnored):
            self._catalog.pass_through(run.known)
        run.fail(error)

    def void(self, selection: Selection) -> int:
        """These objects are being purged: nothing of the runs that were asked for before is stored, and nobody joins
        them any more. Those who read from them still do. How many there were."""
        runs_of = self.under_way.select(selection)
        for run in runs_of:
            if run.readers:
                self.under_way.hide(run)
            else:
                self.under_way.remove(run)
                if run.task is not None:
                    run.task.cancel()
        return len(runs_of)

    def count(self, selection: Selection) -> int:
        """How many runs for these objects are under way."""
        return len(self.under_way.select(selection))

    def __repr__(self) -> str:
        return f"<Fetcher {len(self)} runs under way, {self.under_way.held_bytes} bytes held>"


def _asked(run: Run) -> ByteRange | None:
    """What the origin is asked for: a small object without a Range, which every server and every cache knows best."""
    small = len(run.blocks) == 1 and run.length == run.known.meta.size
    return None if small else ByteRange(run.start, run.end)


def _check(answer: GetResult, wanted: ByteRange, meta: ObjectMeta) -> None:
    """Distrust the answer once more, as the one who knows which version it must be. Raises `GenerationGone`,
    `RangeIgnored` or `InvalidAnswer`."""
    if meta.validator == IMMUTABLE:
        if (answer.meta.size, answer.meta.content_encoding) != (meta.size, meta.content_encoding):
            raise GenerationGone("an object that the configuration calls immutable has changed", answer.meta)
    elif answer.meta.generation != meta.generation:
        raise GenerationGone("the object has changed at the origin", answer.meta)
    if answer.range.start > wanted.start or answer.range.end < wanted.end:
        raise InvalidAnswer("the origin sent other bytes than those asked for")
    if answer.range != wanted and meta.size > SKIP_BYTES_MAX:
        raise RangeIgnored("the origin ignores Range, and the object is too long to be read in parts that way")
