"""`python -m bench [NAME …]`: rangecache and its peers side by side. See README.md beside this file."""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NoReturn

from bench import machine
from bench.client import WrongAnswer
from bench.load import LoadFailed
from bench.peers import Peer, find_peers, missing
from bench.programs import ProgramFailed
from bench.results import Result, Results
from bench.scenarios import find_scenarios
from bench.stage import Scenario, Stage
from bench.tables import figure_tables, goal_table

_FAILURES: Final = (OSError, subprocess.SubprocessError, ProgramFailed, LoadFailed, WrongAnswer)


def main() -> None:
    """Measure, print tables, and write JSON if it is asked for."""
    scenarios, peers = find_scenarios(), find_peers()
    chosen = _arguments(list(scenarios), list(peers))
    if not Path("/proc/self/stat").exists():
        raise SystemExit("This bench reads CPU time from /proc, so it needs Linux.")
    signal.signal(signal.SIGTERM, _end)
    # Thousands of connections: ours, and those of what we start.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted = {name: peer for name, peer in peers.items() if not chosen.peers or name in chosen.peers}
    absent = {name: lacking for name, peer in wanted.items() if (lacking := missing(peer))}
    present = {name: peer for name, peer in wanted.items() if name not in absent}
    failed: list[str] = []
    results = Results(
        machine.describe(),
        {name: peer.version() for name, peer in present.items()},
        [name for name, peer in present.items() if peer.is_cache],
        absent,
    )
    with tempfile.TemporaryDirectory(prefix="rangecache-bench-") as shared:
        Path(shared).chmod(0o755)  # some peers give up root
        for name in chosen.scenarios or scenarios:
            try:
                results.scenarios[name] = _measure(name, scenarios[name], Path(shared), present, chosen)
            except _FAILURES as error:
                # What was measured is worth having, so the others go on.
                failed.append(f"{name}: {type(error).__name__}: {error}")
                print(failed[-1])
            if chosen.json:
                results.save(chosen.json)
    print(f"\n{goal_table(results)}")
    for name, lacking in absent.items():
        print(f"not installed: {name} ({', '.join(lacking)})")
    if failed:
        raise SystemExit("\n".join(["These have failed:", *failed]))


def _measure(name: str, scenario: Scenario, shared: Path, peers: dict[str, Peer], chosen: argparse.Namespace) -> Result:
    began_s = time.perf_counter()
    print(f"\n# {name}: {scenario.title}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=shared, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        stage = Stage(Path(folder), shared, peers, chosen.quick, chosen.rounds, _say)
        measured = scenario.run(stage)
    _say("")
    result = Result(scenario.title, machine.describe()["date"], chosen.quick, scenario.goals, measured, stage.left_out)
    print(figure_tables(measured))
    for peer, reason in stage.left_out.items():
        print(f"left out: {peer}: {reason}")
    print(f"({time.perf_counter() - began_s:.0f} s)", flush=True)
    return result


def _arguments(scenarios: list[str], peers: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition(":")[2])
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"some of {', '.join(scenarios)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a short version of each, for a first look")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often the sides take turns")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures there; what it has of others stays"
    )
    parser.add_argument("--peers", nargs="+", metavar="PEER", choices=peers, help=f"only these of {', '.join(peers)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.scenarios) - set(scenarios):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return chosen


def _say(what: str) -> None:
    """What is done now, on a terminal only, in one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what[:110]}")
        sys.stderr.flush()


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
