"""Jobs: bounded in number, never silent, always ended."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.errors import NoSuchJob, Overloaded, Unavailable
from rangecache.jobs import job as job_module
from rangecache.jobs import runner as runner_module
from rangecache.jobs.job import Failures, Job
from rangecache.jobs.runner import JobRunner
from rangecache.testing.clock import ManualClock


class Nothing:
    def figures(self) -> dict[str, object]:
        return {}


@pytest.fixture
async def runner():
    made = JobRunner(ManualClock())
    yield made
    await made.aclose()
    assert not len(made)


def start(runner: JobRunner, work=None) -> Job:
    async def forever(_: Job) -> None:
        await asyncio.Event().wait()

    return runner.start("test", {}, Nothing(), work or forever)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_job_runs_to_its_end_and_is_remembered(runner: JobRunner) -> None:
    async def work(job: Job) -> None:
        assert job.state == "running"

    job = start(runner, work)
    assert job.state == "queued"
    await job.wait()
    assert runner.find(job.id).document()["state"] == "done"
    assert job.document()["finished"] is not None
    await runner.cancel(job.id)
    assert job.state == "done"


async def test_a_failure_is_told_and_a_fault_is_logged(runner: JobRunner, caplog) -> None:
    async def fail(_: Job) -> None:
        raise Unavailable("the origin is away")

    async def break_down(_: Job) -> None:
        raise ZeroDivisionError

    failed, broken = start(runner, fail), start(runner, break_down)
    await asyncio.gather(failed.wait(), broken.wait())
    await settle()
    assert (failed.state, failed.error) == ("failed", "the origin is away")
    assert (broken.state, broken.error) == ("failed", "a fault of the program; its log says more")
    assert "ZeroDivisionError" in caplog.text


async def test_jobs_wait_for_their_turn_and_too_many_are_refused(runner: JobRunner) -> None:
    jobs = [start(runner) for _ in range(runner_module.UNFINISHED_MAX)]
    await settle()
    running = [job for job in jobs if job.state == "running"]
    assert len(running) == runner_module.RUNNING_MAX
    with pytest.raises(Overloaded):
        start(runner)
    await runner.cancel(running[0].id)
    await settle()
    assert sum(job.state == "running" for job in jobs) == runner_module.RUNNING_MAX
    start(runner)


async def test_a_job_can_be_cancelled_in_every_state(runner: JobRunner) -> None:
    let_go = []

    async def work(_: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            let_go.append(True)

    unborn = start(runner)
    assert (await runner.cancel(unborn.id)).state == "cancelled"
    jobs = [start(runner, work) for _ in range(runner_module.RUNNING_MAX + 1)]
    await settle()
    assert jobs[-1].state == "queued"
    for job in reversed(jobs):
        assert (await runner.cancel(job.id)).state == "cancelled"
    assert len(let_go) == runner_module.RUNNING_MAX
    assert not len(runner)


async def test_old_jobs_are_forgotten_unfinished_ones_are_not(runner: JobRunner) -> None:
    async def work(_: Job) -> None:
        pass

    staying = start(runner)
    for _ in range(runner_module.REMEMBERED_MAX + 5):
        last = start(runner, work)
        await last.wait()
        await settle()
    assert len(runner.all()) == runner_module.REMEMBERED_MAX + 1
    assert runner.all()[0] is last
    assert runner.find(staying.id) is staying
    with pytest.raises(NoSuchJob):
        runner.find("test-00000000")


async def test_at_the_end_all_are_cancelled() -> None:
    runner = JobRunner(ManualClock())
    jobs = [start(runner) for _ in range(6)]
    await settle()
    await runner.aclose()
    assert {job.state for job in jobs} == {"cancelled"}


def test_failures_are_counted_all_and_kept_some() -> None:
    failures = Failures()
    for number in range(1000):
        failures.add(str(number), "x" * 10_000)
    assert failures.count == 1000
    assert len(failures.kept) == job_module.FAILURES_KEPT
    assert all(len(why) == job_module.FAILURE_CHARS_MAX for _, why in failures.kept)
