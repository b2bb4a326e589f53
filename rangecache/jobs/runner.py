"""Runs jobs: a few at a time, a few more waiting, the latest remembered when they have ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rangecache.aio.tasks import Background
from rangecache.errors import NoSuchJob, Overloaded, RangecacheError
from rangecache.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.jobs.job import Progress

logger = logging.getLogger(__name__)

RUNNING_MAX: Final = 4
UNFINISHED_MAX: Final = 8  # running and waiting together: each may hold a manifest
REMEMBERED_MAX: Final = 64  # ended ones; the oldest is forgotten first


class JobRunner:
    """All jobs of the program."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._background = Background()
        self._turns = asyncio.Semaphore(RUNNING_MAX)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def all(self) -> list[Job]:
        """The latest first."""
        return list(reversed(self._jobs.values()))

    def find(self, id: str) -> Job:
        """Raises `NoSuchJob`."""
        job = self._jobs.get(id)
        if job is None:
            raise NoSuchJob("There is no job of that id; those that ended long ago are forgotten.")
        return job

    def check_room(self) -> None:
        """Raises `Overloaded` where no further job would be taken."""
        if len(self._tasks) >= UNFINISHED_MAX:
            raise Overloaded(f"{UNFINISHED_MAX} jobs are under way or waiting; wait for one of them, or cancel one.")

    def start(
        self,
        kind: str,
        about: Mapping[str, object],
        progress: Progress,
        work: Callable[[Job], Coroutine[Any, Any, None]],
    ) -> Job:
        """A job that runs `work`, which is given the job, when it is its turn. Raises `Overloaded`.

        What `work` raises from our own tree of errors is told as the job's failure; anything else is logged too.
        """
        self.check_room()
        job = Job(f"{kind}-{secrets.token_hex(4)}", kind, about, progress, self._clock)
        self._jobs[job.id] = job
        task = self._background.spawn(self._run(job, work), f"job {job.id}")
        self._tasks[job.id] = task
        # A task that is cancelled before its first step runs no line of its own.
        task.add_done_callback(partial(self._ended, job))
        return job

    async def cancel(self, id: str) -> Job:
        """End a job and wait until it has let go of everything. One that has ended stays as it is. Raises
        `NoSuchJob`."""
        job = self.find(id)
        task = self._tasks.get(id)
        if task is not None:
            if job.stop is None or job.state == "queued":
                task.cancel()
            else:
                job.stop()
            await asyncio.wait([task])
        return job

    async def aclose(self) -> None:
        """Cancel all."""
        await self._background.aclose()

    async def _run(self, job: Job, work: Callable[[Job], Coroutine[Any, Any, None]]) -> None:
        async with self._turns:
            job.begin()
            try:
                await work(job)
            except RangecacheError as error:
                job.end("failed", error.message)
                logger.warning("job %s failed; GET /v1/jobs/%s says why", job.id, job.id)
            except Exception:
                job.end("failed", "a fault of the program; its log says more")
                raise
            else:
                job.end("done")

    def _ended(self, job: Job, _task: asyncio.Task[None]) -> None:
        job.end("cancelled")  # unless it has ended otherwise
        del self._tasks[job.id]
        ended = [each.id for each in self._jobs.values() if each.ended]
        for oldest in ended[: max(0, len(ended) - REMEMBERED_MAX)]:
            del self._jobs[oldest]
