"""The first request for an object that is unknown, or whose time is over.

One ranged GET brings size, validator and bytes together; all others who want the same object wait for its headers.
It asks for the blocks that its reader wants, conditional on what was known before. Its answer becomes

* a renewal (304),
* a new version and a run that lands in the tiers while readers already read from it, or
* a hand-off: bytes that cannot be shared (no strong validator, `no-store`), or a whole object that the origin sends
  although a range was asked for. They go to the one reader who opened it, with his pace; the others ask for themselves.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidAnswer, NotFound, OriginError, RangecacheError, RangeNotSatisfiable
from rangecache.origin.base import NotModified
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.read.run import Run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from rangecache.aio.flights import Flight, Flights
    from rangecache.blocks.base import BlockStore
    from rangecache.model import ObjectRef
    from rangecache.origin.base import GetResult, ObjectStore
    from rangecache.ranges import RangeSpec
    from rangecache.read.catalog import Catalog, Known
    from rangecache.read.fetcher import Fetcher

SIZE_MAX: Final = 2**62  # no object is longer; larger numbers are not put on the wire
HAND_OFF_CHUNKS: Final = 4  # chunks of at most some 100 KiB that wait between an origin and a slow reader
HAND_OFF_TAKEN_S: Final = 1.0  # the reader is there when the hand-off is made; if he has just left, nobody comes


class HandOff:
    """An open answer on its way to one reader. The origin is read no faster than the reader reads."""

    def __init__(self, answered: ByteRange) -> None:
        self.range = answered
        self._chunks: asyncio.Queue[bytes | RangecacheError | None] = asyncio.Queue(HAND_OFF_CHUNKS)
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def take(self) -> bool:
        """Become the reader. True for the first who asks."""
        first = not self._taken.is_set()
        self._taken.set()
        return first

    def discard(self) -> None:
        """Nobody will read it, or read on: the origin's connection is closed, if it is still open."""
        self._taken.set()
        if self._task is not None:
            self._task.cancel()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The answer's bytes. Raises what the origin raised. Whoever stops early has to `discard` the rest."""
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, RangecacheError):
                raise chunk
            yield chunk

    async def pump(self, answer: GetResult, known: Known, keep: BlockStore | None) -> None:
        """Pass the answer on, storing the whole blocks that pass by in `keep`. Runs in the answer's own task."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.timeout(HAND_OFF_TAKEN_S):
                await self._taken.wait()
        except TimeoutError:
            return
        passing = Run(known, range(-(-known.meta.size // known.block_bytes))) if keep is not None else None
        try:
            async for chunk in answer.chunks:
                if passing is not None and keep is not None:
                    for index, block in passing.feed(memoryview(chunk)):
                        keep.keep(known.block_key(index), block)
                        passing.drop()  # nobody reads from it
                await self._chunks.put(chunk)
        except RangecacheError as error:
            await self._chunks.put(error)
        else:
            await self._chunks.put(None)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opening found out."""

    known: Known
    status: int
    """What the origin answered: 206, 200 or 304."""
    hand_off: HandOff | None = None


class Opener:
    """Opens unknown objects and revalidates known ones, once for all who ask at the same time."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        tiers: BlockStore,
        catalog: Catalog,
        fetcher: Fetcher,
        flights: Flights[ObjectRef, Opened],
        *,
        block_bytes: int,
    ) -> None:
        self._stores = stores
        self._tiers = tiers
        self._catalog = catalog
        self._fetcher = fetcher
        self._flights = flights
        self._block_bytes = block_bytes

    async def open(
        self,
        ref: ObjectRef,
        wanted: RangeSpec | None,
        stale: Known | None,
        *,
        by_head: bool = False,
        anew: bool = False,
    ) -> tuple[Opened, bool]:
        """Ask the origin what is current, together with the blocks of `wanted` (None: the first one).

        `by_head` asks for metadata alone, if the origin answers HEAD. `anew` does not join a request that was under
        way already: the origin may have answered it before what the caller has just done there.

        `stale` is what was known: if it still holds, the origin sends nothing. Gives what was found and whether this
        caller's request found it. Raises `NotFound` where the origin says so, or another `OriginError`.
        """
        work = self._head if by_head else self._ask
        return await self._flights.join(ref, lambda flight: work(flight, ref, wanted, stale), anew=anew)

    def revalidate(self, known: Known) -> None:
        """Ask in the background whether `known` still holds. Nobody waits for it."""
        ref = known.meta.ref
        self._flights.start(ref, lambda flight: self._ask(flight, ref, None, known))

    async def _head(
        self, flight: Flight[Opened], ref: ObjectRef, wanted: RangeSpec | None, stale: Known | None
    ) -> None:
        """A real HEAD. 404 is an answer; whatever else goes wrong, a GET may still work (presigned addresses, servers
        that refuse HEAD), and its answer is the one that counts."""
        try:
            meta = await self._stores[ref.provider].head(ref)
        except NotFound:
            self._catalog.absent(ref)
            raise
        except OriginError:
            await self._ask(flight, ref, wanted, stale)
            return
        if isinstance(meta, NotModified):
            raise InvalidAnswer("the origin answered 304 to a request without a condition")
        flight.land(Opened(self._catalog.learned(meta), 200))

    async def _ask(self, flight: Flight[Opened], ref: ObjectRef, wanted: RangeSpec | None, stale: Known | None) -> None:
        first_block = ByteRange(0, self._block_bytes)
        spec: RangeSpec | None = self._aligned(wanted)
        try:
            try:
                await self._get(flight, ref, spec, stale)
            except RangeNotSatisfiable as error:
                # Beyond the end, or an empty object, where no range is satisfiable. Either way the object is there,
                # and its validator is wanted.
                try:
                    await self._get(flight, ref, None if error.size == 0 else first_block, stale)
                except RangeNotSatisfiable:
                    await self._get(flight, ref, None, stale)
        except NotFound:
            self._catalog.absent(ref)
            raise

    async def _get(self, flight: Flight[Opened], ref: ObjectRef, spec: RangeSpec | None, stale: Known | None) -> None:
        async with self._stores[ref.provider].get(
            ref,
            range=spec,
            if_none_match=stale.meta if stale else None,
            purpose="revalidate" if stale else "demand",
        ) as answer:
            if isinstance(answer, NotModified):
                if stale is None:
                    raise InvalidAnswer("the origin answered 304 to a request without a condition")
                flight.land(Opened(self._catalog.renewed(stale, answer.headers), 304))
                return
            known = self._catalog.learned(answer.meta)
            status = 206 if answer.range.length < known.meta.size else 200
            if known.bypass or answer.range.length > (self._fetcher.run_blocks + 1) * self._block_bytes:
                hand_off = HandOff(answer.range)
                flight.land(Opened(known, status, hand_off))
                whole = answer.range.start == 0 and not known.bypass
                await hand_off.pump(answer, known, self._tiers if whole else None)
            else:
                run = self._fetcher.adopt(known, answer)
                flight.land(Opened(known, status))
                await self._fetcher.land(run, answer)

    def _aligned(self, wanted: RangeSpec | None) -> RangeSpec:
        """Widen to blocks, at most one run. A suffix has no block numbers yet: as many bytes before it are asked for
        as may be needed to reach back to the beginning of a block."""
        block_bytes, most = self._block_bytes, self._fetcher.run_blocks * self._block_bytes
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
