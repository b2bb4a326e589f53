"""Warming: objects, or ranges of them, are brought into the cache before anybody asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import RangecacheError
from rangecache.origin.listing import list_all
from rangecache.read.filling import Filled, Filler, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.jobs.job import Job
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.ranges import RangeSpec

OBJECTS_AT_ONCE: Final = 8  # of one job; their bytes in flight have a bound of their own (`read/filling`)
COUNTED_AGAIN_MAX: Final = 10_000
"""Objects of which is looked at the end what a tier has kept; the others are looked at when they have just landed."""


class Wanted(NamedTuple):
    """One object to warm."""

    ref: ObjectRef
    ranges: tuple[RangeSpec, ...] | None
    """None for all of it."""


@dataclass(slots=True)
class WarmProgress:
    """How far a warm job has come."""

    objects: int = 0
    """Found so far."""
    listed: bool = False
    """Whether those are all."""
    done: int = 0
    failed: int = 0
    skipped: int = 0
    """Listed, but closed by the access rules or nothing but a folder's mark."""
    tally: Tally = field(default_factory=Tally)
    kept_bytes: int | None = None
    """What tiers had of it when the job ended: less than was wanted where they are too small for all of it."""

    def figures(self) -> dict[str, object]:
        """As JSON; bytes count whole blocks."""
        return {
            "objects": {
                "total": self.objects,
                "listed": self.listed,
                "done": self.done,
                "failed": self.failed,
                "skipped": self.skipped,
            },
            "bytes": {
                "total": self.tally.wanted,
                "done": self.tally.done,
                "cached": self.tally.present,
                "fetched": self.tally.fetched,
                "kept": self.kept_bytes,
            },
        }


class Warming:
    """The work of one warm job."""

    def __init__(
        self, filler: Filler, wanted: AsyncGenerator[Wanted, None] | Iterable[Wanted], progress: WarmProgress
    ) -> None:
        self._filler = filler
        self._wanted = wanted
        self._progress = progress
        self._kept_bytes = 0
        self._to_count: list[Filled] = []

    async def run(self, job: Job) -> None:
        """Fill one object after the other, a few at a time. One that fails is told, and the others go on; a listing
        that fails ends the job when what it had listed is done."""
        turns, failure = asyncio.Semaphore(OBJECTS_AT_ONCE), None
        async with asyncio.TaskGroup() as group:
            try:
                async with aclosing(_each(self._wanted)) as wanted:
                    async for each in wanted:
                        self._progress.objects += 1
                        await turns.acquire()
                        group.create_task(self._fill(each, job)).add_done_callback(lambda _: turns.release())
            except RangecacheError as error:
                failure = error
        if failure is not None:
            raise failure
        self._progress.listed = True
        for filled in self._to_count:
            self._kept_bytes += await self._filler.kept_bytes(filled)
        self._progress.kept_bytes = self._kept_bytes

    async def _fill(self, wanted: Wanted, job: Job) -> None:
        try:
            filled = await self._filler.fill(wanted.ref, wanted.ranges, self._progress.tally)
        except RangecacheError as error:
            self._progress.failed += 1
            job.failures.add(str(wanted.ref), error.message)
            return
        if len(self._to_count) < COUNTED_AGAIN_MAX:
            self._to_count.append(filled)
        else:
            self._kept_bytes += await self._filler.kept_bytes(filled)
        self._progress.done += 1


async def _each(wanted: AsyncGenerator[Wanted, None] | Iterable[Wanted]) -> AsyncGenerator[Wanted, None]:
    if isinstance(wanted, AsyncGenerator):
        async with aclosing(wanted):
            async for each in wanted:
                yield each
    else:
        for each in wanted:
            yield each


async def below(
    store: ObjectStore,
    prefix: ObjectRef,
    ranges: tuple[RangeSpec, ...] | None,
    allowed: Callable[[ObjectRef], bool],
    progress: WarmProgress,
) -> AsyncGenerator[Wanted, None]:
    """The objects whose keys begin with `prefix.key`, as the origin lists them."""
    async with aclosing(list_all(store, prefix)) as pages:
        async for page in pages:
            for entry in page.objects:
                ref = prefix._replace(key=entry.key)
                if (entry.key.endswith("/") and not entry.size) or not allowed(ref):
                    progress.skipped += 1
                else:
                    yield Wanted(ref, ranges)
