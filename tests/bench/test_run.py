"""The bench is run as people run it, as briefly as it goes. No figure has to be anything but there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import BASELINES, BEST, US
from bench.guard import members
from bench.peers import find_peers
from bench.results import Results
from bench.scenarios import find_scenarios

ROOT = Path(__file__).parents[2]


def test_a_scenario_gives_figures_of_who_is_here_and_leaves_nothing_behind(tmp_path: Path) -> None:
    peers = [US, "nginx slice"]
    command = [sys.executable, "-m", "bench", "warm_16k", "--quick", "--rounds", "1", "--json", str(tmp_path / "found")]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["TMPDIR"] = str(temporary)
    done = subprocess.run(
        [*command, "--peers", *peers],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    results = Results.load(tmp_path / "found")
    found = {each.peer: each.figures for each in results.scenarios["warm_16k"].measured}
    assert set(found) == ({US, "nginx slice"} if shutil.which("nginx") else {US})
    for figures in found.values():
        assert figures["cpu_us_per_request"] > 0
        assert figures["requests_per_s"] > 0
        assert figures["origin_requests"] == 0
    assert "| warm in memory, 16 KiB random ranges " in done.stdout
    assert list(temporary.iterdir()) == []


def test_programs_end_with_the_bench_also_where_it_is_killed() -> None:
    code = """
import sys, time
from pathlib import Path
from bench.programs import Program
program = Program("sleeper", ["sleep", "100"], Path(sys.argv[1])).__enter__()
print(program.pid, flush=True)
time.sleep(100)
"""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT) as bench,
    ):
        assert bench.stdout is not None
        session = int(bench.stdout.readline())
        assert members(session) == [session]
        bench.kill()
        bench.wait(10)
        deadline = time.monotonic() + 20
        while members(session) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert members(session) == []


def test_every_scenario_says_what_it_is_and_every_peer_can_be_named() -> None:
    scenarios, peers = find_scenarios(), find_peers()
    assert {"warm_16k", "warm_64k", "warm_1m", "warm_8m", "warm_disk_16k"} <= set(scenarios)
    assert len({each.order for each in scenarios.values()}) == len(scenarios)
    assert US in peers
    against = {goal.against for each in scenarios.values() for goal in each.goals}
    assert against - set(peers) <= {None, BEST, *BASELINES}
