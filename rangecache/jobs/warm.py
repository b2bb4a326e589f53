"""Warming: objects, or ranges of them, are brought into the cache before anybody asks for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import RangecacheError, Unauthenticated, Unavailable
from rangecache.origin.listing import list_all
from rangecache.read.filling import Filled, Filler, Tally
from rangecache.read.revalidation import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.jobs.job import Job
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.ranges import RangeSpec

OBJECTS_AT_ONCE: Final = 8  # of one job; their bytes in flight have a bound of their own (`read/filling`)
COUNTED_AGAIN_MAX: Final = 10_000
"""Objects of which is looked at the end what a tier has kept; the others are looked at when they have just landed."""
OUTAGE_OBJECTS: Final = 8
"""So many objects of one provider in a row that it could not be asked for end the job. As many are under way at a time:
fewer may have met one and the same short trouble."""


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
        self._answers: Counter[str] = Counter()  # objects that took an answer of their provider
        self._outages: Counter[str] = Counter()  # objects in a row that could not be asked for, by provider
        self._outage: RangecacheError | None = None

    async def run(self, job: Job) -> None:
        """Fill one object after the other, a few at a time. One that fails is told, and the others go on; a listing
        that fails, or an origin that is down, ends the job when what is under way has ended."""
        failure: RangecacheError | None = None
        async with asyncio.TaskGroup() as group:
            try:
                await self._fill_all(group, job)
                self._progress.listed = True
            except RangecacheError as error:
                failure = error
        await self._filler.flush()
        for filled in self._to_count:
            self._kept_bytes += await self._filler.kept_bytes(filled)
        self._progress.kept_bytes = self._kept_bytes
        if failure := failure or self._outage:
            raise failure

    async def _fill_all(self, group: asyncio.TaskGroup, job: Job) -> None:
        turns = asyncio.Semaphore(OBJECTS_AT_ONCE)
        async with aclosing(_each(self._wanted)) as wanted:
            async for each in wanted:
                await turns.acquire()
                if self._outage is not None:
                    raise self._outage
                self._progress.objects += 1
                group.create_task(self._fill(each, job)).add_done_callback(lambda _: turns.release())

    async def _fill(self, wanted: Wanted, job: Job) -> None:
        provider = wanted.ref.provider
        answers = self._answers[provider]
        try:
            filled = await self._filler.fill(wanted.ref, wanted.ranges, self._progress.tally)
        except RangecacheError as error:
            self._progress.failed += 1
            job.failures.add(str(wanted.ref), error.message)
            if not isinstance(error, (*UNREACHABLE, Unauthenticated)):
                self._note_answer(provider)
            elif answers == self._answers[provider]:  # else it has answered for others while this one was tried
                self._note_outage(provider, error)
            return
        if filled.asked:
            self._note_answer(provider)
        if len(self._to_count) < COUNTED_AGAIN_MAX:
            self._to_count.append(filled)
        else:
            self._kept_bytes += await self._filler.kept_bytes(filled)
        self._progress.done += 1

    def _note_answer(self, provider: str) -> None:
        self._answers[provider] += 1
        self._outages[provider] = 0

    def _note_outage(self, provider: str, error: RangecacheError) -> None:
        self._outages[provider] += 1
        if self._outages[provider] >= OUTAGE_OBJECTS and self._outage is None:
            self._outage = Unavailable(
                f"{provider} could not be asked for {OUTAGE_OBJECTS} objects in a row, the last time because"
                f" {error.message}; warm again when it answers: what is in the cache already costs nothing"
            )


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
