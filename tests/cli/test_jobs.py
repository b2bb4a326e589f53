"""`warm` and `record` as a user runs them: processes of their own, against a proxy that is one too."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from rangecache.testing.children import clean_environment
from rangecache.testing.faults import Status
from rangecache.testing.origin import Origin
from rangecache.trace import read_trace
from tests.edge.process import Proxy
from tests.edge.rig import BLOCK, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DATA = os.urandom(30 * BLOCK + 7)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as made:
        for key in ("b/x", "b/y"):
            made.put(key, DATA)
        yield made


async def start(proxy: Proxy, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rangecache", *arguments, "--admin", f"http://127.0.0.1:{proxy.admin_port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(os.environ),
    )


async def run(proxy: Proxy, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    process = await start(proxy, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_warming_tells_its_progress_in_lines_of_json(origin: Origin, tmp_path: Path) -> None:
    async with Proxy(tmp_path, origin) as proxy:
        code, out, err = await run(proxy, "warm", f"http://127.0.0.1:{proxy.port}/web/b/x", "web/b/y")
        assert (code, err) == (0, "")
        last = json.loads(out.splitlines()[-1])
        assert last["state"] == "done"
        assert last["progress"]["bytes"]["kept"] == 2 * len(DATA)
        asked = len(origin.requests)
        assert (await proxy.get("y")).body == DATA
        assert len(origin.requests) == asked


async def test_something_that_cannot_be_warmed_is_exit_code_1(origin: Origin, tmp_path: Path) -> None:
    origin.fail("b/y", Status(403), times=None)
    async with Proxy(tmp_path, origin) as proxy:
        code, out, _ = await run(proxy, "warm", "web/b/x", "web/b/y", "--ranges", "0-9")
        assert code == 1
        assert json.loads(out.splitlines()[-1])["failures"]["count"] == 1
        code, _, err = await run(proxy, "warm", "nowhere/b/x")
        assert (code, "No provider of that name" in err) == (1, True)
        code, _, err = await run(proxy, "warm")
        assert (code, "Say what to warm" in err) == (2, True)
        code, out, err = await run(proxy, "warm", "--prefix", "web/b/")
        assert (code, out, "name the objects, or give a manifest" in err) == (1, "", True)


async def test_ctrl_c_cancels_the_job_and_says_so(origin: Origin, tmp_path: Path) -> None:
    origin.put("b/large", os.urandom(4 << 20))
    gate = origin.hold("b/large", after_bytes=1000, times=None)
    async with Proxy(tmp_path, origin) as proxy:
        process = await start(proxy, "warm", "web/b/large")
        await gate.reached()
        assert process.stdout is not None
        await process.stdout.readline()  # its first look
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert process.returncode == 130
        assert json.loads(out.splitlines()[-1])["state"] == "cancelled"
        assert b"Traceback" not in err
        await until(lambda: not origin.connections)
        gate.release()


async def test_what_was_recorded_is_warm_in_a_fresh_cache(origin: Origin, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    wanted = [("x", 0, 99), ("x", 5 * BLOCK, 7 * BLOCK - 1), ("y", len(DATA) - 7, len(DATA) - 1)]
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with Proxy(tmp_path / "first", origin) as proxy:
        recorder = await start(proxy, "record", str(manifest), "--format", "manifest")
        await until(manifest.exists)
        await read_until_recorded(proxy, wanted)
        recorder.send_signal(signal.SIGINT)
        _, err = await recorder.communicate()
        assert recorder.returncode == 0
        assert b"of 2 objects" in err
        assert b"0 reads were lost" in err
    async with Proxy(tmp_path / "second", origin) as proxy:
        code, out, _ = await run(proxy, "warm", "--manifest", str(manifest))
        assert code == 0
        assert json.loads(out.splitlines()[-1])["progress"]["objects"]["done"] == 2
        asked = len(origin.requests)
        for key, first, last in wanted:
            answer = await proxy.get(key, f"Range: bytes={first}-{last}")
            assert answer.body == DATA[first : last + 1]
            assert "hit" in answer.cache
        assert len(origin.requests) == asked


async def read_until_recorded(proxy: Proxy, wanted: list[tuple[str, int, int]]) -> None:
    """Read, again until the recording has noted each: it may begin a moment after its file."""
    for _ in range(1000):
        for key, first, last in wanted:
            await proxy.get(key, f"Range: bytes={first}-{last}")
        jobs = (await proxy.admin("jobs"))["jobs"]
        if jobs and jobs[0]["progress"]["reads"] >= len(wanted):
            return
    raise AssertionError("nothing was recorded")


async def test_a_trace_is_recorded_for_a_time(origin: Origin, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    async with Proxy(tmp_path, origin) as proxy:
        recorder = await start(proxy, "record", str(trace), "--for", "2s")
        await until(trace.exists)
        await read_until_recorded(proxy, [("x", 0, 99)])
        _, err = await recorder.communicate()
        assert recorder.returncode == 0, err
    with trace.open(newline="") as lines:
        reads = list(read_trace(lines, "trace.csv"))
    assert reads
    assert {(read.object, read.offset, read.length) for read in reads} == {("web/b/x", 0, 100)}


async def test_a_recorded_trace_costs_in_the_simulation_what_it_has_cost_the_origin(
    origin: Origin, tmp_path: Path
) -> None:
    trace, end = tmp_path / "trace.csv", len(DATA)
    wanted = [  # [start, end): a miss, the same again, a run, half of a run, the ends of both objects, everything
        *[("x", 0, 100), ("x", 0, 100), ("x", 5 * BLOCK, 7 * BLOCK), ("x", 6 * BLOCK + 9, 8 * BLOCK)],
        *[("y", 3, 9), ("y", end - 7, end), ("x", end - 7, end), ("y", 0, end), ("y", 5 * BLOCK, 9 * BLOCK - 1)],
    ]
    async with Proxy(tmp_path, origin, fetch={"prefetch": {"max_window": 0}}) as proxy:
        recorder = await start(proxy, "record", str(trace))
        await until_recording(proxy)
        answers = [await proxy.get(key, f"Range: bytes={first}-{stop - 1}") for key, first, stop in wanted]
        recorder.send_signal(signal.SIGINT)
        _, err = await recorder.communicate()
        assert recorder.returncode == 0, err
        assert err.decode().startswith(f"recorded {len(wanted)} reads of 2 objects, {sum(map(_length, wanted))} bytes;")
        asked, sent = len(origin.requests), origin.log.body_bytes()
        arguments = ["--size", "100%", "--block-size", str(BLOCK), "--policy", "rangecache", "--json"]
        simulation = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rangecache", "simulate", str(trace), *arguments),
            stdout=asyncio.subprocess.PIPE,
            env=clean_environment(os.environ),
        )
        out, _ = await simulation.communicate()
        assert simulation.returncode == 0
        assert len(origin.requests) == asked
    assert [answer.body for answer in answers] == [DATA[first:stop] for _, first, stop in wanted]
    direct, ours = map(json.loads, out.splitlines())
    assert direct["reads"] == direct["origin_requests"] == len(wanted)
    assert direct["origin_bytes"] == sum(map(_length, wanted))
    assert ours["hits"] == sum("; hit" in answer.cache for answer in answers)
    assert (ours["origin_requests"], ours["origin_bytes"]) == (asked, sent)


def _length(read: tuple[str, int, int]) -> int:
    _, first, stop = read
    return stop - first


async def until_recording(proxy: Proxy) -> None:
    """Wait until every further read is noted."""
    while not any(each["state"] == "running" for each in (await proxy.admin("jobs"))["jobs"]):
        await asyncio.sleep(0.01)


async def test_a_proxy_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, origin: Origin) -> None:
    proxy = Proxy(tmp_path, origin)
    proxy.admin_port = 1
    for arguments in (["warm", "web/b/x"], ["record", str(tmp_path / "trace")]):
        code, _, err = await run(proxy, *arguments)
        assert code == 1
        assert "is it running?" in err
        assert "Traceback" not in err


async def test_on_a_terminal_progress_is_one_line_that_is_written_over(origin: Origin, tmp_path: Path) -> None:
    origin.fail("b/y", Status(403), times=None)
    async with Proxy(tmp_path, origin) as proxy:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rangecache", "warm", "web/b/x", "web/b/y"),
            *("--admin", f"http://127.0.0.1:{proxy.admin_port}"),
            stdout=theirs,
            env=clean_environment(os.environ),
        )
        assert await process.wait() == 1
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
    line, *failures = shown.split("\r\n")
    assert line.rpartition("\r")[2].startswith("done: 1 of 2 objects, 1 failed, 120.0 KiB of 120.0 KiB, ")
    assert failures[0].startswith("  web/b/y: ")
