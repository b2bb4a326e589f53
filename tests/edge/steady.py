"""A client that reads as it should, and how long it waits: `python -m tests.edge.steady PORT TARGET SIZE SECONDS`.

Random ranges of a warm object, one at a time over a few kept connections, at a steady pace, in a process of its own:
what it measures is the proxy and not the rest of a test. It prints percentiles in microseconds, as JSON.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from typing import Final

RANGE_BYTES: Final = 16 * 1024
CONNECTIONS: Final = 8
PACE_S: Final = 0.001


def read_one(connected: socket.socket, buffer: memoryview, wanted: bytes) -> None:
    """Ask, and read the answer to its end. Raises `RuntimeError` if it is not the one expected."""
    connected.sendall(wanted)
    got = connected.recv_into(buffer)
    end = bytes(buffer[:got]).find(b"\r\n\r\n")
    if not bytes(buffer[:13]) == b"HTTP/1.1 206 " or end < 0:
        raise RuntimeError(f"an answer of {bytes(buffer[:100])!r}")
    while got < end + 4 + RANGE_BYTES:
        taken = connected.recv_into(buffer[got:])
        if not taken:
            raise RuntimeError("an answer was cut")
        got += taken


def main() -> None:
    """The arguments: port, target, the object's size, seconds."""
    port, target, size, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    pool = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    choice, buffer, waited = random.Random(1), memoryview(bytearray(4 * RANGE_BYTES)), []
    ends_at = float("inf")
    while time.monotonic() < ends_at:
        start = choice.randrange(size - RANGE_BYTES)
        last = start + RANGE_BYTES - 1
        wanted = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes={start}-{last}\r\n\r\n".encode()
        asked_at = time.perf_counter()
        read_one(pool[len(waited) % CONNECTIONS], buffer, wanted)
        waited.append(time.perf_counter() - asked_at)
        if ends_at == float("inf") and len(waited) == CONNECTIONS:  # the first reads wait until they are accepted
            waited.clear()
            ends_at = time.monotonic() + seconds
        time.sleep(PACE_S)
    waited.sort()
    figures = {f"p{share:g}": waited[int(len(waited) * share / 100)] * 1e6 for share in (50, 90, 99, 99.9)}
    print(json.dumps({"reads": len(waited), "max": waited[-1] * 1e6, **figures}))


if __name__ == "__main__":
    main()
