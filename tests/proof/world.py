"""The reader's core, its memory, its directory and its origin in one simulated world that a test steers step by step.

Between two steps the world stands still wherever it is: with bodies half read, blocks half written, an opening on its
way. A process that dies is a loop that is never run again; the next one finds the directory as it is.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rangecache.aio.budget import RetryBudget
from rangecache.blocks.admission import LRU
from rangecache.blocks.admission_index import DictIndex, DigestIndex
from rangecache.blocks.admission_tinylfu import WTinyLFU
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.memory import MemoryTier
from rangecache.model import ETag
from rangecache.origin.limit import Limited
from rangecache.origin.memory import MemoryStore
from rangecache.origin.retry import Retrying
from rangecache.read.catalog_store import DiskCatalogStore
from rangecache.read.selection import Selection
from rangecache.testing.simloop import SimulatedClock, SimulatedLoop
from tests.proof.model import BLOCK, Ask, Model, Rules, content, date_of, is_weak
from tests.proof.moody import Moody
from tests.proof.reading import PATIENCE_S, Reading, ref_of
from tests.read.conftest import Cache

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rangecache.blocks.admission import Admission
    from rangecache.origin.base import ObjectStore

T = TypeVar("T")

NAMES: Final = ("a", "b", "c")
MEMORY_BLOCKS: Final = 3
DISK_BLOCKS: Final = 10
DISK_BYTES: Final = DISK_BLOCKS * 2 * BLOCK  # a block and its header take two pages
BATCH_BYTES: Final = 2 * 2 * BLOCK
PERMITS: Final = 4


class World:
    """Everything. Methods are steps; each leaves the world standing where it then is."""

    def __init__(
        self, rules: Rules, *, latency_s: float, seed: int, scan_resistant: bool = False, prefetch_blocks: int = 0
    ) -> None:
        shm = Path("/dev/shm")
        # Every other world on a file system whose page cache is read without a thread.
        self._folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() and seed % 2 else None))
        self._latency_s = latency_s
        self._scan_resistant = scan_resistant
        self._prefetch_blocks = prefetch_blocks
        self._random = random.Random(seed)
        self._wall_s: float | None = None
        self._dead: list[object] = []
        self.model = Model(rules, list(NAMES), latency_s)
        self.origin = MemoryStore(chunk_bytes=BLOCK // 2)
        self.readings: list[Reading] = []
        self.answers = 0
        self._quiet_at = 0.0
        self._boot(None)

    # --- life -----------------------------------------------------------------------------------------------------

    def _boot(self, now: float | None) -> None:
        loop = self.loop = SimulatedLoop(self._random.randrange(1 << 32))
        if now is not None:
            loop._now_s = now
        self.clock = SimulatedClock(loop) if self._wall_s is None else SimulatedClock(loop, self._wall_s)
        self.run(self._start())

    async def _start(self) -> None:
        rules = self.model.rules
        lru = not self._scan_resistant
        policy: Admission[bytes] = LRU() if lru else WTinyLFU(DigestIndex())
        self.memory = MemoryTier(MEMORY_BLOCKS * (BLOCK + 1000), LRU() if lru else WTinyLFU(DictIndex()))
        wanted = (lambda _key, _size_bytes: False) if lru else self.memory.wants  # an LRU wants all
        self.disk = DiskTier(self._folder, DISK_BYTES, 0, self.clock, policy, wanted=wanted)
        self.records = DiskCatalogStore(self.disk.directory, lambda: self.disk.owned, self.clock)
        await self.disk.start()
        self.cache = Cache(
            ttl=rules.ttl_s,
            tiers=[self.memory, self.disk],
            run_blocks=2,
            gap_blocks=1,
            ahead_bytes=4 * BLOCK,
            max_window_bytes=self._prefetch_blocks * BLOCK,
            stale_while_revalidate_s=rules.revalidate_s,
            stale_if_error_s=rules.error_s,
            negative_ttl_s=rules.absent_s,
            clock=self.clock,
            origin=self.origin,
            around=self._around,
            records=self.records,
        )

    def _around(self, store: ObjectStore) -> ObjectStore:
        self.moody = Moody(self.origin, self._latency_s, self._note_fault)
        budget = RetryBudget(0.1, 1.0, 10.0, self.clock)
        return Limited(Retrying(self.moody, budget=budget, clock=self.clock, random=self._random.random), PERMITS)

    def _note_fault(self) -> None:
        self.model.fault_at = self.now

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Let the world go on until `step` has ended."""
        return self.loop.run_until_complete(step)

    @property
    def now(self) -> float:
        """Simulated seconds."""
        return self.loop.time()

    def quiet_at(self) -> float:
        """When nothing was on its way last."""
        if not len(self.cache.background) and not any(each.open for each in self.readings):
            self._quiet_at = self.now
        return self._quiet_at

    def close(self) -> None:
        """The end of the world."""
        try:
            self.run(self._settle())
            self.run(self._shut())
            assert not asyncio.all_tasks(self.loop)
            assert not self.loop.errors, self.loop.errors
        finally:
            self._bury()
            shutil.rmtree(self._folder)

    async def _settle(self) -> None:
        """Everybody leaves, what is on its way lands; then nothing may be left."""
        for reading in self.readings:
            await reading.leave()
        self.readings.clear()
        async with asyncio.timeout(PATIENCE_S):
            while len(self.cache.background):
                await asyncio.sleep(1)
        await asyncio.sleep(1)
        await self.disk.flush()
        assert self._disk_bytes() <= DISK_BYTES, self.disk.stats()
        fetcher = self.cache.fetcher
        assert self.moody.open_bodies == 0
        assert (len(fetcher), fetcher.under_way.held_bytes, fetcher.under_way.coming_bytes) == (0, 0, 0)
        assert not len(self.cache.flights)

    async def _shut(self) -> None:
        await self.cache.background.aclose()
        await self.records.aclose()
        await self.cache.tiers.aclose()

    def restart(self, *, wall_back_s: float = 0.0) -> None:
        """In order: drain, close, start. Meanwhile the wall clock may be set back."""
        self.run(self._settle())
        self.run(self._shut())
        self._bury()
        self._reboot(wall_back_s)

    def crash(self, *, wall_back_s: float = 0.0) -> None:
        """The process is gone in the midst of what it did. The kernel closes its files; bytes written are there."""
        self.readings.clear()
        self.records._database.close()
        for entry in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{entry}").startswith(f"{self._folder}/"):
                    os.close(int(entry))
        self._bury()
        self._reboot(wall_back_s)

    def _reboot(self, wall_back_s: float) -> None:
        self._wall_s = self.clock.wall_s - wall_back_s
        self.model.dated_back_s += wall_back_s
        self._boot(self.now)

    def _bury(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(RuntimeError):
                task.get_coro().close()  # what would warn that it was never begun
        self.loop.close()

    # --- steps ----------------------------------------------------------------------------------------------------

    def write(self, name: str, rolls_back_to: int | None = None) -> None:
        """Overwrite an object at the origin, with something new or with something that was there before."""
        version = self.model.next_version(rolls_back_to)
        self.origin.put(
            ref_of(name),
            content(name, version),
            e_tag=ETag(str(version), weak=is_weak(version)),
            last_modified=date_of(version),
        )
        self.model.histories[name].becomes(version, self.now)

    def delete(self, name: str) -> None:
        """Delete it there."""
        self.origin.delete(ref_of(name))
        self.model.histories[name].becomes(None, self.now)

    def read(self, name: str, ask: Ask) -> None:
        """Ask and read to the end."""
        reading = Reading(self, name, ask)
        self.run(self._whole(reading))

    async def _whole(self, reading: Reading) -> None:
        await reading.begin()
        await reading.go_on()

    def begin(self, name: str, ask: Ask, pieces: int) -> Reading:
        """Ask, read a little, and pause."""
        reading = Reading(self, name, ask)
        self.readings.append(reading)
        self.run(reading.begin())
        self.run(reading.go_on(pieces))
        return reading

    def together(self, asks: list[tuple[str, Ask]], leaves: list[float | None], changes: list[float]) -> None:
        """Several readers at once; some leave after a while, and the first one's object changes meanwhile."""
        self.run(self._together(asks, leaves, changes))

    async def _together(self, asks: list[tuple[str, Ask]], leaves: list[float | None], changes: list[float]) -> None:
        tasks = [asyncio.ensure_future(self._whole(Reading(self, name, ask))) for name, ask in asks]
        for task, after_s in zip(tasks, leaves, strict=False):
            if after_s is not None:
                self.loop.call_later(after_s, task.cancel)
        for after_s in changes:
            self.loop.call_later(after_s, self.write, asks[0][0])
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        await asyncio.sleep(max(changes, default=0.0))

    def purge(self, name: str, *, look: bool = False) -> None:
        """Forget an object everywhere. `look`: then let everything land, and see that nothing of it came back."""
        began = self.now
        self.run(self._purge(name))
        self.model.histories[name].forgotten_at = began
        if look:
            self.run(self._settle())
            held = self.run(self.cache.tiers.held([ref_of(name)]))
            assert not any(each.blocks for each in held.values()), held
            assert self.cache.catalog.peek(ref_of(name)) is None

    async def _purge(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            report = await self.cache.purger.purge(Selection.an_object(f"mem/b/{name}"))
        assert report.complete, report

    def damage(self, seed: int, *, delete: bool) -> None:
        """Somebody changes or deletes a block's file."""
        files = sorted(each for each in self._folder.rglob("blocks-*/*/*") if each.is_file())
        if files:
            path = files[seed % len(files)]
            if delete:
                path.unlink()
            else:
                data = bytearray(path.read_bytes())
                if data:
                    data[seed % len(data)] ^= 1 << seed % 8
                path.write_bytes(data)

    def evict(self) -> None:
        """Others need the room: what a large object leaves of it is nothing."""
        ref = ref_of("filler")
        self.origin.put(ref, bytes(2 * DISK_BLOCKS * BLOCK))
        self.moody.next_faults, faults = deque(), self.moody.next_faults
        self.run(self.cache.read(ref=ref))
        self.moody.next_faults = faults

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.run(asyncio.sleep(seconds))

    def jump(self, seconds: float) -> None:
        """The wall clock is set, without the other."""
        self.clock.wall_s += seconds
        if seconds < 0:
            self.model.dated_back_s -= seconds

    def check(self) -> None:
        """What holds at every moment: no tier takes more than it may. On disk that is what files take. There are two
        writers, and what one has given up may still lie there while the other writes: a batch, here a block or two."""
        memory = self.memory.stats()
        assert memory.bytes <= memory.limit_bytes, memory
        assert self._disk_bytes() <= DISK_BYTES + BATCH_BYTES, self.disk.stats()

    def _disk_bytes(self) -> int:
        total = 0
        for shelf in self._folder.glob("blocks-*/*"):
            with os.scandir(shelf) as files:
                total += sum(-(-file.stat().st_size // BLOCK) * BLOCK for file in files)
        return total
