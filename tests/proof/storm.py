"""Readers who come, dawdle and leave, an origin that is slow, fails and changes, all on simulated time.

Everything is drawn from the seed: the weather, the sizes, who reads what and when he gives up. Whatever is drawn, an
answer is bytes of one version that was current when the rules allow, everything ends, and nothing is left over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rangecache.aio.budget import RetryBudget
from rangecache.blocks.admission import LRU
from rangecache.blocks.memory import MemoryTier
from rangecache.errors import (
    BodyCut,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginError,
    OriginTimeout,
    PermissionDenied,
    RangeNotSatisfiable,
    Unavailable,
)
from rangecache.model import ETag, ObjectRef
from rangecache.origin.limit import Limited
from rangecache.origin.memory import MemoryStore
from rangecache.origin.retry import Retrying
from rangecache.ranges import parse_range, resolve
from rangecache.read.selection import Selection
from rangecache.testing.objects import stamped
from rangecache.testing.simloop import SimulatedClock, SimulatedLoop, simulate
from tests.proof.moody import CUTS, LIES, Moody
from tests.read.conftest import BLOCK, Cache, drain

if TYPE_CHECKING:
    from rangecache.model import BlockKey
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.memory import MemoryRequest
    from rangecache.read.messages import Reply

SECONDS_MAX: Final = 900  # of simulated time; three attempts, pauses and all are over long before
BLOCKS_MAX: Final = 12


@dataclass
class Tally:
    """What happened."""

    trace: int = 0
    calm: bool = False
    answers: int = 0
    gets: int = 0
    changes: int = 0
    purges: int = 0
    left: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class SlowTier(MemoryTier):
    """A second tier in which a look takes time, as on a disk."""

    name = "disk"  # type: ignore[misc]

    def __init__(self, limit_bytes: int, loop: SimulatedLoop) -> None:
        super().__init__(limit_bytes, LRU())
        self._loop = loop

    def peek(self, key: BlockKey) -> memoryview | None:
        return None

    async def get(self, key: BlockKey) -> memoryview | None:
        await asyncio.sleep(self._loop.random.uniform(0, 0.01))
        return super().peek(key)


class History:
    """The versions of one object, and since when each was current; None while there was none."""

    def __init__(self, ref: ObjectRef) -> None:
        self.ref = ref
        self.since: list[tuple[float, int | None]] = []
        self.purged_at = float("-inf")
        """Nothing heard before may be believed by who comes later."""

    def between(self, start: float, end: float) -> set[int | None]:
        """All that were current at some moment of that time."""
        ends = [since for since, _ in self.since[1:]] + [float("inf")]
        return {
            version for (since, version), until in zip(self.since, ends, strict=True) if since <= end and until >= start
        }


class Storm:
    """One scenario."""

    def __init__(self, loop: SimulatedLoop) -> None:
        chance = self.chance = loop.random
        self.loop = loop
        self.tally = Tally(calm=chance.random() < 0.3)
        calm = self.tally.calm
        self.changing = not calm and chance.random() < 0.7
        self.failing = not calm and chance.random() < 0.7
        self.impatient = not calm and chance.random() < 0.7
        self.fails_until = loop.time() + chance.uniform(0, 20)
        self.latency_s = chance.choice([0.0, 0.02, 0.5])
        self.hearsay_s = self.latency_s * chance.choice(
            [0.1, 1.0]
        )  # between the moment in which an answer is decided and that of its coming
        self.ttl = 3600.0 if calm else chance.choice([0.0, 0.5, 5.0, 3600.0])
        self.stale_s = chance.choice([0.0, 1.0])
        self.negative_ttl_s = chance.choice([0.0, 1.0])
        self.clock = SimulatedClock(loop)
        memory_bytes = 1 << 26 if calm else chance.choice([0, 3 * BLOCK, 20 * BLOCK, 1 << 26])
        # The scan resistant policy asks for hashes of names, which differ from process to process.
        self.tiers = [MemoryTier(memory_bytes, LRU())]
        if chance.random() < 0.5:
            self.tiers.append(SlowTier(chance.choice([6 * BLOCK, 1 << 26]), loop))
        self.permits = chance.choice([1, 2, 64])
        self.cache = Cache(
            ttl=self.ttl,
            tiers=self.tiers,
            ahead_bytes=chance.choice([1, 8, 1024]) * BLOCK,
            run_blocks=chance.choice([1, 2, 8]),
            gap_blocks=0 if calm else chance.choice([0, 1, 3]),
            max_window_bytes=chance.choice([0, 4, 16]) * BLOCK,
            stale_while_revalidate_s=self.stale_s,
            stale_if_error_s=self.stale_s,
            negative_ttl_s=self.negative_ttl_s,
            clock=self.clock,
            origin=MemoryStore(
                chunk_bytes=chance.choice([700, BLOCK, 3 * BLOCK]),
                ignores_ranges=not calm and chance.random() < 0.1,
                before_answer=self._before_answer,
                before_chunk=self._before_chunk,
            ),
            around=self._around,
        )
        self.histories = [History(ObjectRef("mem", "b", f"object-{number}")) for number in range(chance.choice([1, 3]))]
        self.newest = 0
        for history in self.histories:
            self._write(history)

    # --- the origin -----------------------------------------------------------------------------------------------

    def _around(self, store: ObjectStore) -> ObjectStore:
        self.moody = Moody(store, self.hearsay_s, lambda: None)  # type: ignore[arg-type]
        budget = RetryBudget(0.1, 1.0, 10.0, self.clock)
        retrying = Retrying(self.moody, budget=budget, clock=self.clock, random=self.chance.random)
        self.limited = Limited(retrying, self.permits)
        return self.limited

    async def _before_answer(self, _: MemoryRequest) -> None:
        await asyncio.sleep(self.chance.uniform(0, self.latency_s))
        if self.failing and self.chance.random() < 0.2:
            self.moody.next_faults.append(self.chance.choice(["other version"] * 6 + [*LIES, *CUTS]))
        self._perhaps_fail(0.2)

    async def _before_chunk(self, _: MemoryRequest, __: int) -> None:
        await asyncio.sleep(self.chance.uniform(0, self.latency_s / 10))
        self._perhaps_fail(0.05)

    def _perhaps_fail(self, share: float) -> None:
        if self.failing and self.loop.time() < self.fails_until and self.chance.random() < share:
            error = self.chance.choice([Unavailable, BodyCut, OriginTimeout, PermissionDenied, InvalidAnswer])
            raise error("by the seed")

    def _write(self, history: History) -> None:
        """Overwrite, delete, or roll back to an earlier version."""
        earlier = [version for _, version in history.since if version is not None]
        if earlier and self.chance.random() < 0.2:
            self.cache.origin.delete(history.ref)
            history.since.append((self.loop.time(), None))
            return
        self.newest += 1
        version = self.chance.choice(earlier) if earlier and self.chance.random() < 0.2 else self.newest
        self.cache.origin.put(history.ref, content(history.ref, version), e_tag=ETag(str(version)))
        history.since.append((self.loop.time(), version))

    async def _change(self) -> None:
        for _ in range(self.chance.randrange(1, 12) if self.changing else 0):
            await asyncio.sleep(self.chance.uniform(0, 2))
            history = self.chance.choice(self.histories)
            self._write(history)
            self.tally.changes += 1
            if self.chance.random() < 0.3:  # as somebody does who wants what he wrote to be seen
                began = self.loop.time()
                await self.cache.purger.purge(Selection.an_object(str(history.ref)))
                history.purged_at = began
                self.tally.purges += 1

    # --- readers --------------------------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        """One reader's life."""
        for _ in range(self.chance.randrange(1, 5)):
            await asyncio.sleep(self.chance.choice([0, 0, 0.01, 1]) * self.chance.random())
            history = self.chance.choice(self.histories)
            header = self._draw_range()
            wish = None if self.tally.calm else self.chance.choice([None] * 9 + ["no-cache"])
            started = self.loop.time()
            believed_from = max(
                started if wish else started - self.ttl - self.stale_s - self.hearsay_s, history.purged_at
            )
            try:
                reply = await self.cache.open(header, history.ref, head=self.chance.random() < 0.1, cache_control=wish)
                opened = self.loop.time()
                body = await self._take(reply)
            except OriginError as error:
                self._judge_error(error, history, started)
                continue
            self._judge(history, header, reply, body, believed_from, opened)

    def _draw_range(self) -> str | None:
        end = BLOCKS_MAX * BLOCK
        first = self.chance.randrange(end)
        return self.chance.choice(
            [
                None,
                f"bytes={first}-{first + self.chance.randrange(3 * BLOCK)}",
                f"bytes={first}-{first + 9}",
                f"bytes={first}-",
                f"bytes=-{1 + self.chance.randrange(2 * BLOCK)}",
                f"bytes={first}-{first + 99},{first // 2}-{first // 2 + 5000}",
            ]
        )

    async def _take(self, reply: Reply) -> bytes:
        if isinstance(reply.body, list | tuple):
            return await drain(reply)
        dawdles, taken = self.chance.random() < 0.3, []
        try:
            async for piece in reply.body:
                taken.append(bytes(piece))
                if dawdles:
                    await asyncio.sleep(self.chance.uniform(0, 0.3))
        finally:
            await reply.body.aclose()
        return b"".join(taken)

    def _judge(
        self, history: History, header: str | None, reply: Reply, body: bytes, believed_from: float, opened: float
    ) -> None:
        self.tally.answers += 1
        assert reply.meta.e_tag is not None
        version = int(reply.meta.e_tag.opaque)
        data = content(history.ref, version)
        assert version in history.between(believed_from, opened), "not current then"
        assert body == b"".join(data[each.start : each.end] for each in reply.ranges), "not the bytes of its version"
        if reply.status == 206 and header is not None:
            specs = parse_range(header, 9) or ()
            wanted = [found for spec in specs if (found := resolve(spec, len(data))) is not None]
            assert list(reply.ranges) in ([], wanted)

    def _judge_error(self, error: OriginError, history: History, started: float) -> None:
        self.tally.errors[type(error).__name__] += 1
        now = self.loop.time()
        if isinstance(error, NotFound):
            assert None in history.between(started - self.negative_ttl_s - self.hearsay_s, now), "it was there"
        elif isinstance(error, GenerationGone):
            assert self.changing or self.failing
        elif not isinstance(error, RangeNotSatisfiable):
            assert self.failing, error

    # --- all together ---------------------------------------------------------------------------------------------

    async def run(self) -> Tally:
        """Until everything has ended."""
        began = self.loop.time()
        readers = [asyncio.ensure_future(self._read_on()) for _ in range(self.chance.randrange(1, 14))]
        for reader in readers:
            if self.impatient and self.chance.random() < 0.4:
                self.loop.call_later(self.chance.choice([0, 0.01, 1]) * self.chance.random(), reader.cancel)
        results = await asyncio.gather(self._change(), *readers, return_exceptions=True)
        for result in results:
            if isinstance(result, asyncio.CancelledError):
                self.tally.left += 1
            elif result is not None:
                raise result
        while len(self.cache.background):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)  # for the other callbacks of the last one that ended
        self.tally.seconds = self.loop.time() - began
        assert self.tally.seconds < SECONDS_MAX
        self._check_end()
        await self._check_permits()
        return self.tally

    async def _check_permits(self) -> None:
        """All of them can be had at once. If one is lost, the loop says that everybody waits."""
        self.failing, ref = False, ObjectRef("mem", "b", "another")
        self.moody.next_faults.clear()
        self.cache.origin.put(ref, b"")
        async with AsyncExitStack() as all_at_once:
            for _ in range(self.permits):
                await all_at_once.enter_async_context(self.limited.get(ref))

    def _check_end(self) -> None:
        cache, fetcher = self.cache, self.cache.fetcher
        assert cache.origin.open_bodies == 0
        assert (len(fetcher), fetcher.under_way.held_bytes, fetcher.under_way.coming_bytes) == (0, 0, 0)
        assert not fetcher.under_way._coming
        assert len(cache.flights) == 0
        for tier, stats in zip(self.tiers, cache.tiers.tier_stats(), strict=True):
            assert stats.bytes <= stats.limit_bytes, tier
        self.tally.gets = cache.origin.request_count
        if self.tally.calm:
            assert not self.tally.errors
            self._check_one_get_a_block()

    def _check_one_get_a_block(self) -> None:
        """Of one version, with room for everything and nobody who leaves."""
        asked: Counter[tuple[ObjectRef, int]] = Counter()
        for request in self.cache.origin.requests:
            if request.method == "HEAD" or request.if_none_match is not None:  # answered 304, without a body
                continue
            size = len(content(request.ref, self._only_version(request.ref)))
            found = resolve(request.range, size) if request.range is not None else None
            if found is None:
                continue
            last = -(-found.end // BLOCK) if found.end == size else found.end // BLOCK
            for index in range(-(-found.start // BLOCK), last):
                asked[request.ref, index] += 1
        assert all(count == 1 for count in asked.values()), asked

    def _only_version(self, ref: ObjectRef) -> int:
        ((_, version),) = next(history.since for history in self.histories if history.ref == ref)
        assert version is not None
        return version


_contents: dict[tuple[ObjectRef, int], bytes] = {}


def content(ref: ObjectRef, version: int) -> bytes:
    """The bytes of a version; versions differ in length, and some are empty."""
    data = _contents.get((ref, version))
    if data is None:
        blocks, rest = divmod(version * 7919, BLOCKS_MAX)
        size = rest * BLOCK + (0, 1, 17, BLOCK - 1, 999)[blocks % 5]
        data = _contents[ref, version] = stamped(ref.key, version, size)
    return data


def weather(seed: int) -> Tally:
    """The scenario of a seed."""

    async def scenario(loop: SimulatedLoop) -> Tally:
        return await Storm(loop).run()

    tally, loop = simulate(scenario, seed)
    tally.trace = loop.trace
    return tally
