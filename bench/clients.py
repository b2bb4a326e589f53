"""`python -m bench.clients`: what `ranges.lua` does, for machines without wrk. Prints the same line of JSON."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from urllib.parse import urlsplit


async def client(url: str, object_bytes: int, range_bytes: int, seed: int, until_s: float) -> list[float]:
    """Random ranges on one connection, one after the other; how long each took, in seconds."""
    target, choice, waits = urlsplit(url), random.Random(seed), []
    reader, writer = await asyncio.open_connection(target.hostname, target.port, limit=1 << 20)
    head = f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nRange: bytes="
    try:
        while (began_s := time.perf_counter()) < until_s:
            start = choice.randint(0, object_bytes - range_bytes)
            writer.write(f"{head}{start}-{start + range_bytes - 1}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 206"):
                raise RuntimeError(f"answered with {answer[:60]!r}")
            await reader.readexactly(range_bytes)
            waits.append(time.perf_counter() - began_s)
    finally:
        writer.close()
        await writer.wait_closed()
    return waits


async def crowd(url: str, object_bytes: int, range_bytes: int, seed: int, clients: int, seconds: int) -> str:
    """Several at once; the line of JSON."""
    began_s = time.perf_counter()
    members = [client(url, object_bytes, range_bytes, seed * 4096 + each, began_s + seconds) for each in range(clients)]
    waits = sorted(wait for one in await asyncio.gather(*members) for wait in one)
    took_s = time.perf_counter() - began_s
    marks = {name: waits[int(len(waits) * share)] * 1000 for name, share in _MARKS.items()} if waits else {}
    found = {"requests": len(waits), "seconds": took_s, "bytes": len(waits) * range_bytes, "failed": 0}
    return json.dumps(found | dict.fromkeys(_MARKS, 0.0) | marks)


_MARKS = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


def main() -> None:
    """Arguments: address, size of the object, length of a range, seed, clients, seconds."""
    url, *numbers = sys.argv[1:]
    print(asyncio.run(crowd(url, *map(int, numbers))))


if __name__ == "__main__":
    main()
