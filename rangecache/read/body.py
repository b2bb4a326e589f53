"""The bytes of one answer, block after block, from wherever they are.

Each block is looked for in memory, among the runs on their way, on disk, and then fetched. While the reader reads, a
few runs are kept in flight ahead of it, as far as there is room. A reader holds no block while its client is slow:
it keeps its place, and finds the block again where it then is.

Clouds give a connection about 100 MB/s, so a long answer comes over several at once, as shorter runs. How many there
are depends on who waits for whom: a client who takes each block as it arrives waits for the origin, and the number is
doubled; for one who is slower than the origin a few are enough, and nothing is asked that he does not come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.errors import BudgetExhausted, TransientError
from rangecache.ranges import block_indices
from rangecache.read.at_hand import PART_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container, Iterator, Sequence

    from rangecache.blocks.tiers import Tiers
    from rangecache.ranges import ByteRange
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.known import Known
    from rangecache.read.run import Run
    from rangecache.telemetry import Counter

AHEAD_RUNS: Final = 4  # runs in flight for a reader: enough to keep one 100 MB/s connection 30 ms away busy
AHEAD_RUNS_MAX: Final = 16  # for one who waits for the origin, as careful readers of clouds do by themselves
SURVEY_BLOCKS: Final = 256  # how far an answer is looked over before it begins; 64 MiB of the usual blocks
PRIMED: Final = memoryview(b"")


class Presence:
    """Where the blocks of an answer were when it began."""

    __slots__ = ("disk", "joined", "memory", "missing")

    def __init__(self) -> None:
        self.memory = 0
        self.disk = 0
        self.missing = 0
        self.joined = False
        """Some of the missing ones were already on their way."""


class BodyReader:
    """Reads `ranges` of one version. Used once, by one task."""

    def __init__(
        self,
        known: Known,
        ranges: Sequence[ByteRange],
        tiers: Tiers,
        fetcher: Fetcher,
        served: Counter,
        *,
        prefetched: Container[int] = (),
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        """`prefetched` are blocks that were fetched ahead for this very read: they count as fetched for it. `on_left`
        is called if the reader leaves before the end."""
        self._known = known
        self._ranges = ranges
        self._tiers = tiers
        self._fetcher = fetcher
        self._served = served
        self._run_blocks = fetcher.run_blocks(known)
        self._piece_blocks = fetcher.piece_blocks(known, AHEAD_RUNS_MAX)
        self._ahead_runs = AHEAD_RUNS
        self._waited = False  # for a byte of the block that is being read
        self._prefetched = prefetched
        self._on_left = on_left
        self._attached: list[Run] = []
        self._plan = self._blocks()
        self._claimed = 0
        self._passed = 0
        self._position = 0
        self._left_bytes = sum(wanted.length for wanted in ranges)
        self._first_missing: int | None = None
        self.presence = Presence()

    def begin(self) -> None:
        """Look over the beginning of the answer and claim what is missing of it. `pieces` has to be begun right after
        this."""
        presence, ahead = self.presence, self._blocks()
        for _, index in zip(range(SURVEY_BLOCKS), ahead, strict=False):
            key = self._known.block_key(index)
            if self._tiers.peek(key) is not None:
                ahead_of_him = index in self._prefetched
                presence.memory += not ahead_of_him
                presence.missing += ahead_of_him
                presence.joined |= ahead_of_him
                continue
            flying = self._fetcher.flying(key)
            if not flying and self._tiers.contains(key):
                presence.disk += 1
                continue
            presence.missing += 1
            presence.joined |= flying
            if self._first_missing is None:
                self._first_missing = index
        self._claim_next(self._run_blocks)

    async def pieces(self) -> AsyncGenerator[memoryview, int | None]:
        """The bytes of all ranges in order; no piece crosses a range's border, and none is longer than what was sent
        into the generator for it.

        The first piece is empty: by then the origin has vouched for the first run that is missing, if it begins within
        the first run's worth of blocks. So an object that has changed is mostly found out (`GenerationGone`) while
        nothing has been sent. Close it if it is not read to its end.
        """
        block_bytes = self._known.block_bytes
        try:
            await self._wait_for_first()
            most_bytes = yield PRIMED
            at = -1
            for number, wanted in enumerate(self._ranges):
                self._position = wanted.start
                # With several ranges the reading may come back to a run.
                back = min((later.start for later in self._ranges[number + 1 :]), default=wanted.end)
                while self._position < wanted.end:
                    if self._position // block_bytes != at:
                        at = self._position // block_bytes
                        self._passed += 1
                        self._leave_behind(min(self._position, back))
                        self._read_ahead()
                    end = wanted.end if most_bytes is None else min(wanted.end, self._position + most_bytes)
                    # In no variable: this frame would keep the piece, and with it its block, while the client is slow.
                    most_bytes = yield await self._take(end)
        finally:
            for run in self._attached:
                # Whoever was given the last piece need not come back for more.
                self._fetcher.detach(run, satisfied=not self._left_bytes)
            self._attached.clear()
            if self._left_bytes:
                self._on_left()

    def _blocks(self) -> Iterator[int]:
        """Block numbers in the order in which they are read."""
        before = -1
        for wanted in self._ranges:
            for index in block_indices(wanted, self._known.block_bytes):
                if index != before:
                    yield index
                before = index

    async def _wait_for_first(self) -> None:
        """Wait for the head of the first run that is missing."""
        missing = self._first_missing
        if missing is None:
            return
        # What is missing only behind a whole run's worth of cached blocks is not waited for: they can go out meanwhile.
        while (run := self._run_at(missing * self._known.block_bytes)) is not None:
            try:
                await run.wait_opened()
            except (TransientError, BudgetExhausted):
                if run.purpose != "prefetch":
                    raise
                # Fetched ahead of everybody it was not tried again. Now somebody waits.
                self._leave(run)
                self._attach(self._fetcher.claim(self._known, range(missing, run.blocks.stop), "demand"))
            else:
                return

    def _claim_next(self, most_blocks: int) -> bool:
        """Claim the next blocks of the plan. False at its end."""
        indices = [index for _, index in zip(range(most_blocks), self._plan, strict=False)]
        self._claimed += len(indices)
        self._attach(self._fetcher.claim(self._known, indices, "demand"))
        return bool(indices)

    def _read_ahead(self) -> None:
        """Keep some runs claimed beyond the block being read, as far as there is room for them; more for a reader who
        waited for the block before, unless the origin has lately asked for fewer requests."""
        if self._waited and self._fetcher.eased(self._known.meta.ref):
            self._ahead_runs = min(2 * self._ahead_runs, AHEAD_RUNS_MAX)
        self._waited = False
        piece_blocks = self._piece_blocks
        while self._claimed - self._passed < (self._ahead_runs - 1) * piece_blocks:
            if self._claimed > self._passed and not self._fetcher.has_room(piece_blocks * self._known.block_bytes):
                return
            if not self._claim_next(piece_blocks):
                return

    def _attach(self, found: list[Run]) -> None:
        for run in found:
            if run not in self._attached:
                self._fetcher.attach(run)
                self._attached.append(run)

    def _run_at(self, position: int) -> Run | None:
        for run in self._attached:
            if run.offers(position):
                return run
        return None

    def _leave_behind(self, position: int) -> None:
        """Leave the runs of which only what lies before `position` was wanted."""
        for run in [run for run in self._attached if run.end <= position]:
            self._leave(run)

    def _leave(self, run: Run) -> None:
        self._attached.remove(run)
        self._fetcher.detach(run, satisfied=True)

    async def _take(self, end: int) -> memoryview:
        """The next bytes, at most to `end`; the reader stands behind them then."""
        piece, source = await self._piece(self._position, end)
        self._position += len(piece)
        self._left_bytes -= len(piece)
        self._served.cell(self._known.meta.ref.provider, source).value += len(piece)
        return piece

    async def _piece(self, position: int, end: int) -> tuple[memoryview, str]:
        """The next bytes, at most to the end of their block, and where they were found."""
        index = position // self._known.block_bytes
        key = self._known.block_key(index)
        needed = range(index, index + 1)
        while True:
            run = self._run_at(position)
            if run is not None and position >= run.arrived and isinstance(run.error, (TransientError, BudgetExhausted)):
                # It failed while it was ahead and nobody waited for it. By now the origin may answer again.
                needed = range(index, run.blocks.stop)
                self._leave(run)
                continue
            if run is not None:
                self._waited |= position >= run.arrived
                try:
                    piece = await run.read(position, end)
                except (TransientError, BudgetExhausted):
                    if run.purpose != "prefetch":
                        raise
                    continue  # nor was it tried again before anybody waited for it
                if piece is not None:
                    return piece, "origin"
            block, source = self._tiers.peek(key), "memory"
            offset = index * self._known.block_bytes
            start, stop = position - offset, min(end - offset, self._known.block_bytes)
            if block is None and not self._fetcher.flying(key):
                part = stop - start <= PART_BYTES_MAX
                if part and (piece := self._tiers.peek_part(key, start, stop)) is not None:
                    return piece, "origin" if index in self._prefetched else "disk"
                block, source = await self._tiers.find(key, part=part) or (None, "")
            if block is not None:
                return block[start:stop], "origin" if index in self._prefetched else source
            self._attach(self._fetcher.claim(self._known, needed, "demand", needed=index))
