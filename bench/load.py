"""Load: random ranges of one object over keep-alive connections, from a program that costs much less than a proxy.

That is wrk. Where it is not installed, `bench.clients` does the same in Python: CPU time a request of who is measured
is as good then, requests a second and waiting times are mostly the client's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.programs import SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.peers import Running

_SCRIPT: Final = Path(__file__).with_name("ranges.lua")
_MARGIN_S: Final = 60.0


class LoadFailed(Exception):
    """Some requests were not answered as they should have been."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for."""

    path: str
    """Of the object, below the peer's address."""
    object_bytes: int
    range_bytes: int
    seconds: int
    """Whole ones: wrk knows no others."""
    connections: int = 16
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it, as the load generator tells it."""

    requests: int
    seconds: float
    bytes: int
    """Heads included."""
    failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float


def command(url: str, load: Load) -> list[str]:
    """What makes this load."""
    target = urlsplit(url + load.path)
    numbers = [str(load.object_bytes), str(load.range_bytes), str(load.seed)]
    if shutil.which("wrk") is None:
        return [
            sys.executable,
            "-m",
            "bench.clients",
            url + load.path,
            *numbers,
            str(load.connections),
            str(load.seconds),
        ]
    options = ["--threads", "1", "--connections", str(load.connections), "--timeout", "30s", "--latency"]
    place = f"{target.scheme}://{target.netloc}"
    return [
        "wrk",
        *options,
        "--duration",
        f"{load.seconds}s",
        "--script",
        str(_SCRIPT),
        place,
        "--",
        target.path,
        *numbers,
    ]


def parse(printed: str, range_bytes: int) -> Loaded:
    """The last line of JSON of what the load generator printed. Raises `LoadFailed` unless all was answered in full."""
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadFailed(f"no figures: {printed.strip()[-500:]}")
    loaded = Loaded(**json.loads(lines[-1]))
    if loaded.failed or not loaded.requests:
        raise LoadFailed(f"{loaded.failed} of {loaded.requests} requests failed")
    if loaded.bytes < loaded.requests * range_bytes:
        raise LoadFailed(f"{loaded.bytes / loaded.requests:.0f} bytes a request where {range_bytes} were asked for")
    return loaded


def loaded(running: Running, load: Load) -> Mapping[str, float]:
    """Put this load on a peer; what it took and how long its clients waited."""
    before_s = running.cpu_s()
    done = subprocess.run(
        command(running.url, load),
        check=True,
        capture_output=True,
        text=True,
        timeout=load.seconds + _MARGIN_S,
        preexec_fn=_keep_off_the_server,
    )
    found = parse(done.stdout, load.range_bytes)
    return {
        "cpu_us_per_request": (running.cpu_s() - before_s) / found.requests * 1e6,
        "requests_per_s": found.requests / found.seconds,
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "p999_ms": found.p999_ms,
    }


def _keep_off_the_server() -> None:
    """Leave the core of whoever is measured to him, where there is another."""
    others = os.sched_getaffinity(0) - {SERVER_CPU}
    if others:
        os.sched_setaffinity(0, others)
