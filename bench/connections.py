"""`python -m bench.connections`: what the proxy takes in memory when idle, and what each open connection adds.

The proxy is a process of its own with S3 configured, as it starts without a configuration. Resident memory is the
kernel's figure, so what is shared with other processes (the interpreter's code) is in it. Connections are made and
left idle, then a part of a request's head is sent on each; the kernel's own buffers are not in the figures.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import yaml

from rangecache.testing.children import Child

CONNECTIONS: Final = 2000
HEAD: Final = b"GET /s3/bucket/key HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SETTLE_S: Final = 2.0
START_TIMEOUT_S: Final = 60.0
_SERVE: Final = ("-c", "from rangecache.cli import main; main()", "serve", "--config")


def rss_bytes(pid: int) -> int:
    """Resident memory of a process (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(work: Path) -> dict[str, float]:
    """Start a proxy, look at it, connect, look again."""
    port, admin_port = free_port(), free_port()
    configuration = work / "rangecache.yaml"
    server = {"listen": f"127.0.0.1:{port}", "admin_listen": f"127.0.0.1:{admin_port}"}
    cache = {"disk": {"path": str(work / "cache")}}
    configuration.write_text(yaml.safe_dump({"server": server, "cache": cache, "providers": {"s3": {"kind": "s3"}}}))
    with Child("the proxy", *_SERVE, str(configuration), log=work / "log") as proxy, ExitStack() as stack:
        proxy.wait_for(f"http://127.0.0.1:{admin_port}/readyz", START_TIMEOUT_S)
        time.sleep(SETTLE_S)
        idle_bytes = rss_bytes(proxy.pid)
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        time.sleep(SETTLE_S)
        connected_bytes = rss_bytes(proxy.pid)
        for client in clients:
            client.sendall(HEAD)
        time.sleep(SETTLE_S)
        begun_bytes = rss_bytes(proxy.pid)
    return {
        "idle_rss_mib": idle_bytes / 2**20,
        "connections": CONNECTIONS,
        "bytes_per_idle_connection": (connected_bytes - idle_bytes) / CONNECTIONS,
        "bytes_per_connection_with_a_part_of_a_head": (begun_bytes - idle_bytes) / CONNECTIONS,
    }


def main() -> None:
    """Measure, print, and write JSON to the file named on the command line, if one is."""
    if not Path("/proc/self/statm").exists():
        raise SystemExit("This bench reads memory from /proc, so it needs Linux.")
    with tempfile.TemporaryDirectory(prefix="rangecache-bench-") as folder:
        figures = measure(Path(folder))
    print(f"idle with S3 configured: {figures['idle_rss_mib']:.1f} MiB resident")
    print(f"each of {CONNECTIONS} idle connections: {figures['bytes_per_idle_connection'] / 1024:.1f} KiB")
    print(f"with a part of a head: {figures['bytes_per_connection_with_a_part_of_a_head'] / 1024:.1f} KiB")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"case": "memory of connections", **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
