"""The first request for an object that is unknown, or whose time is over.

One ranged GET brings size, validator and bytes together; all others who want the same object wait for its headers.
It asks for the blocks that its reader wants, conditional on what was known before. Its answer becomes

* a renewal (304),
* a new version and a run that lands in the tiers while readers already read from it, or
* a hand-off: bytes that cannot be shared (no strong validator, `no-store`), or a whole object that the origin sends
  although a range was asked for. They go to the one reader who opened it, with his pace; the others ask for themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import (
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    RangeNotSatisfiable,
    Unauthenticated,
)
from rangecache.origin.base import PATIENT, NotModified
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.read.epochs import KeeperSince
from rangecache.read.hand_off import HandOff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.aio.allowance import Allowance
    from rangecache.aio.flights import Flight, Flights
    from rangecache.blocks.base import BlockStore
    from rangecache.model import ObjectRef
    from rangecache.origin.base import GetResult, ObjectStore, Purpose
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.grids import Grids
    from rangecache.read.habits import Habits
    from rangecache.read.known import Known
    from rangecache.read.run import Run
    from rangecache.read.selection import Selection

SIZE_MAX: Final = 2**62  # no object is longer; larger numbers are not put on the wire
HAND_OFFS_MAX: Final = 32  # open at a time towards one provider: slow readers leave permits (origin/limit) to others


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opening found out."""

    known: Known
    status: int
    """What the origin answered: 206, 200 or 304."""
    hand_off: HandOff | None = None
    run: Run | None = None
    """What the answer brings for everybody."""


class Question(NamedTuple):
    """What the origin is asked."""

    ref: ObjectRef
    wanted: RangeSpec | None
    """The bytes that the reader wants; None: the first block."""
    stale: Known | None
    """What was known: if it still holds, nothing is sent."""
    purpose: Purpose
    epoch: int
    """In which it is asked, and `stale` was known (`read/epochs`)."""
    block_bytes: int
    """The size of blocks that it is asked in."""


class Opener:
    """Opens unknown objects and revalidates known ones, once for all who ask at the same time."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        tiers: BlockStore,
        catalog: Catalog,
        fetcher: Fetcher,
        flights: Flights[ObjectRef, Opened],
        allowance: Allowance,
        grids: Grids,
        habits: Habits,
    ) -> None:
        """`allowance` bounds what hand-offs keep for readers who are slow."""
        self._stores = stores
        self._tiers = tiers
        self._catalog = catalog
        self._fetcher = fetcher
        self._flights = flights
        self._allowance = allowance
        self._hand_offs: Counter[str] = Counter()  # open ones by provider
        self._kept: list[ObjectRef] = []  # of which hand-offs keep the blocks that pass by
        self._patient: dict[ObjectRef, RangeSpec | None] = {}  # what is asked for on behalf of nobody who waits
        self._epochs = catalog.epochs
        self._grids = grids
        self._habits = habits

    async def open(
        self,
        ref: ObjectRef,
        wanted: RangeSpec | None,
        stale: Known | None,
        *,
        by_head: bool = False,
        anew: bool = False,
        purpose: Purpose = "demand",
    ) -> tuple[Opened, bool]:
        """Ask the origin what is current, together with the blocks of `wanted` (None: the first one).

        `by_head` asks for metadata alone, if the origin answers HEAD. `anew` does not join a request that was under
        way already: the origin may have answered it before what the caller has just done there. `purpose` is what a
        request is sent for; one that joins another's keeps to what that was sent for, but in the rank of both.

        `stale` is what was known: if it still holds, the origin sends nothing. Gives what was found and whether this
        caller's request found it. Raises `NotFound` where the origin says so, or another `OriginError`.
        """
        work = self._head if by_head else self._ask
        if wanted is None and stale is None and self._habits.begins_at_end(ref):
            wanted = SuffixRange(1)
        if purpose not in PATIENT and ref in self._patient:
            self._fetcher.promote(ref, self._patient[ref])
        if stale is not None and not self._is_known(stale):
            stale = None  # it has been purged since the caller found it: not even a 304 may bring it back
        block_bytes = self._grids.first(ref, wanted) if stale is None else stale.block_bytes
        question = Question(ref, wanted, stale, purpose, self._epochs.now, block_bytes)
        return await self._flights.join(ref, lambda flight: work(flight, question), anew=anew)

    def void(self, selection: Selection) -> int:
        """These objects are being purged: nobody joins an opening that was begun before, and nothing of what it finds
        out is remembered. How many there were, hand-offs of which blocks are kept among them."""
        return self._flights.release(selection.matches) + sum(map(selection.matches, self._kept))

    def count(self, selection: Selection) -> int:
        """How many openings of these objects are under way."""
        return self._flights.count(selection.matches) + sum(map(selection.matches, self._kept))

    def _is_known(self, stale: Known) -> bool:
        current = self._catalog.peek(stale.meta.ref)
        return current is not None and current.meta.generation == stale.meta.generation

    def _take_back(self, question: Question) -> None:
        """Forget what the catalog has just been told, if the object has been purged since the origin was asked."""
        if self._epochs.over(question.ref, question.epoch):
            self._catalog.forget(question.ref)

    async def _head(self, flight: Flight[Opened], question: Question) -> None:
        """A real HEAD. 404 is an answer; whatever else goes wrong, a GET may still work (presigned addresses, servers
        that refuse HEAD), and its answer is the one that counts."""
        asked_at = self._catalog.now()
        try:
            meta = await self._stores[question.ref.provider].head(question.ref, purpose=question.purpose)
        except NotFound as error:
            self._catalog.absent(question.ref, error.headers, asked_at)
            self._take_back(question)
            raise
        except OriginError:
            await self._ask(flight, question)
            return
        if isinstance(meta, NotModified):
            raise InvalidAnswer("the origin answered 304 to a request without a condition")
        known = self._catalog.headed(meta, asked_at)
        self._take_back(question)
        flight.land(Opened(known, 200))

    async def _ask(self, flight: Flight[Opened], question: Question) -> None:
        first_block = ByteRange(0, question.block_bytes)
        spec = _spec(question, self._fetcher.run_bytes)
        asked_at = self._catalog.now()
        if question.purpose in PATIENT:
            self._patient[question.ref] = spec
        try:
            try:
                await self._get(flight, question, spec)
            except RangeNotSatisfiable as error:
                # Beyond the end, or an empty object, where no range is satisfiable. Either way the object is there,
                # and its validator is wanted. So are its headers: those of the 416 are about the error document, and
                # would give an empty object another type, coding and time to be fresh, even where it has an ETag.
                try:
                    await self._get(flight, question, None if error.size == 0 else first_block)
                except RangeNotSatisfiable:
                    await self._get(flight, question, None)
        except NotFound as error:
            self._catalog.absent(question.ref, error.headers, asked_at)
            self._take_back(question)
            raise
        except (PermissionDenied, Unauthenticated):
            if question.stale is not None and not self._epochs.over(question.ref, question.epoch):
                self._catalog.refused(question.stale)
            raise
        finally:
            if question.purpose in PATIENT:
                self._patient.pop(question.ref, None)

    async def _get(self, flight: Flight[Opened], question: Question, spec: RangeSpec | None) -> None:
        ref, stale, purpose = question.ref, question.stale, question.purpose
        asked_at = self._catalog.now()
        async with self._stores[ref.provider].get(
            ref,
            range=spec,
            if_none_match=stale.meta if stale else None,
            purpose="revalidate" if stale and purpose == "demand" else purpose,
        ) as answer:
            if isinstance(answer, NotModified):
                if stale is None:
                    raise InvalidAnswer("the origin answered 304 to a request without a condition")
                known = self._catalog.renewed(stale, answer.headers, asked_at)
                self._take_back(question)
                flight.land(Opened(known, 304))
                return
            known = self._catalog.learned(answer.meta, asked_at, question.block_bytes)
            self._take_back(question)
            status = 206 if answer.range.length < known.meta.size else 200
            if known.bypass or answer.range.length > self._fetcher.run_bytes + known.block_bytes:
                await self._hand_off(flight, known, status, answer, question.epoch)
            else:
                run = self._fetcher.adopt(known, answer, question.epoch)
                flight.land(Opened(known, status, run=run))
                await self._fetcher.land(run, answer)

    async def _hand_off(self, flight: Flight[Opened], known: Known, status: int, answer: GetResult, epoch: int) -> None:
        """Give the answer to the reader who opened it. Where too many are open already it is given up: he asks for
        himself like the others, which waits for its turn among those who are as slow as he may be."""
        provider = known.meta.ref.provider
        if self._hand_offs[provider] >= HAND_OFFS_MAX:
            flight.land(Opened(known, status))
            return
        self._hand_offs[provider] += 1
        try:
            hand_off = HandOff(answer.range, self._allowance)
            flight.land(Opened(known, status, hand_off))
            if answer.range.start or known.bypass:
                await hand_off.pump(answer, known, None)
                return
            self._kept.append(known.meta.ref)
            try:
                await hand_off.pump(answer, known, KeeperSince(self._tiers, self._epochs, epoch))
            finally:
                self._kept.remove(known.meta.ref)
        finally:
            self._hand_offs[provider] -= 1


def _spec(question: Question, most: int) -> RangeSpec | None:
    """What the origin is asked for; None for the whole object, where what was known of it had but one block."""
    stale = question.stale
    if stale is not None and stale.meta.size <= question.block_bytes:
        return None
    return _aligned(question.wanted, question.block_bytes, most)


def _aligned(wanted: RangeSpec | None, block_bytes: int, most: int) -> RangeSpec:
    """Widen to blocks, at most `most` bytes. A suffix has no block numbers yet: as many bytes before it are asked for
    as may be needed to reach back to the beginning of a block."""
    match wanted:
        case None:
            return ByteRange(0, block_bytes)
        case SuffixRange(length) if 0 < length <= most:
            return SuffixRange(length + block_bytes - 1)
        case SuffixRange():
            return ByteRange(0, block_bytes)
        case OffsetRange(start) | ByteRange(start, _) if start >= SIZE_MAX:
            return ByteRange(0, block_bytes)  # beyond every object; what is wanted is only how long this one is
        case OffsetRange(start):
            begin = start // block_bytes * block_bytes
            return ByteRange(begin, begin + most)
        case ByteRange(start, end):
            begin = start // block_bytes * block_bytes
            return ByteRange(begin, min(-(-end // block_bytes) * block_bytes, begin + most))
