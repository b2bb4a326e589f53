"""`python -m bench`: what a warm 16 KiB read costs the proxy in CPU time.

The proxy is a process of its own, with its default configuration and one rule that keeps it from revalidating. Its user
and system time, as the kernel counts them, is divided by the requests that it answered: that holds where requests per
second do not, because the client shares the machine. Every answer is checked for its length and status, some for their
bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rangecache.cli.demo import Proxy, running_proxy
from rangecache.testing.comparison import OriginThread
from rangecache.testing.objects import stamped

OBJECT_BYTES: Final = 64 * 1024 * 1024
RANGE_BYTES: Final = 16 * 1024
CONNECTIONS: Final = 16
REQUESTS: Final = 40_000
ROUNDS: Final = 5
CHECKED_EVERY: Final = 997
"""A prime, so that it is not always the same connection whose bytes are compared."""


async def client(host: str, port: int, path: str, data: bytes, requests: int, seed: int) -> None:
    """Read that many random ranges on one connection, one after the other."""
    choice = random.Random(seed)
    reader, writer = await asyncio.open_connection(host, port, limit=4 * RANGE_BYTES)
    try:
        for number in range(requests):
            start = choice.randrange(len(data) - RANGE_BYTES)
            wanted = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={start}-{start + RANGE_BYTES - 1}\r\n\r\n"
            writer.write(wanted.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(RANGE_BYTES)
            if not head.startswith(b"HTTP/1.1 206 "):
                raise RuntimeError(f"the proxy answered {head[:40]!r}")
            if number % CHECKED_EVERY == 0 and body != data[start : start + RANGE_BYTES]:
                raise RuntimeError(f"wrong bytes at {start}")
    finally:
        writer.close()
        await writer.wait_closed()


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, in seconds (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(proxy: Proxy, data: bytes) -> list[dict[str, float]]:
    """Some rounds of the same load, after one that warms."""
    host, port = proxy.data_url.split("/")[2].split(":")
    path = "/" + proxy.data_url.split("/", 3)[3] + "object"
    rounds = []
    for number in range(-1, ROUNDS):
        before_cpu_s, before_s = cpu_s(proxy.child.pid), time.perf_counter()
        share = REQUESTS // CONNECTIONS
        await asyncio.gather(
            *(client(host, int(port), path, data, share, number * CONNECTIONS + each) for each in range(CONNECTIONS))
        )
        cost_s, took_s = cpu_s(proxy.child.pid) - before_cpu_s, time.perf_counter() - before_s
        if number >= 0:
            rounds.append({"cpu_us_per_request": cost_s / REQUESTS * 1e6, "requests_per_s": REQUESTS / took_s})
    return rounds


def main() -> None:
    """Measure, print a table, and write JSON to the file named on the command line, if one is."""
    if not Path("/proc/self/stat").exists():
        raise SystemExit("This bench reads CPU time from /proc, so it needs Linux.")
    data = stamped("object", 1, OBJECT_BYTES)
    with tempfile.TemporaryDirectory(prefix="rangecache-bench-") as folder:
        work, store = Path(folder) / "work", Path(folder) / "store"
        work.mkdir()
        store.mkdir()
        (store / "object").write_bytes(data)
        with OriginThread(store, latency_s=0) as origin, running_proxy(origin.url, work) as proxy:
            rounds = asyncio.run(measure(proxy, data))
            asked, _ = origin.asked()
    best = min(each["cpu_us_per_request"] for each in rounds)
    for number, each in enumerate(rounds, 1):
        print(f"round {number}: {each['cpu_us_per_request']:6.1f} µs CPU, {each['requests_per_s']:8.0f} requests/s")
    print(
        f"warm 16 KiB from memory: {best:.1f} µs CPU a request (best of {ROUNDS} × {REQUESTS}, {CONNECTIONS} clients)"
    )
    document: dict[str, Any] = {
        "case": "warm in memory, 16 KiB random ranges",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "cpu_us_per_request_best": best,
        "origin_requests": asked,
    }
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
