"""`python -m bench.cold`: cold reads of an origin 30 ms away, directly and through the proxy.

What is read is what fetching ahead and planning are for. Requests and bytes are those of the origin's own log. Every
reader is a process of its own, so that GDAL's caches are empty, and all read the same bytes or the bench fails.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from rangecache.cli.demo import running_proxy
from rangecache.testing.comparison import OriginThread
from rangecache.testing.objects import stamped
from rangecache.testing.samples import SCENE, make_samples

LATENCY_S: Final = 0.03
TILES: Final = 10  # along each side
SEQUENTIAL: Final = "sequential"
SEQUENTIAL_BYTES: Final = 64 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
JPEG: Final = "jpeg.tif"
PASSES: Final = ("direct", "cold", "again")


def read_sequence(base_url: str, order: str) -> str:
    """A long object in small pieces on one connection, `forward` or `backward`."""
    import http.client
    from urllib.parse import urlsplit

    target = urlsplit(base_url + SEQUENTIAL)
    connection = http.client.HTTPConnection(target.netloc)
    digest = hashlib.sha256()
    starts = range(0, SEQUENTIAL_BYTES, PIECE_BYTES)
    for start in starts if order == "forward" else reversed(starts):
        connection.request("GET", target.path, headers={"Range": f"bytes={start}-{start + PIECE_BYTES - 1}"})
        digest.update(connection.getresponse().read())
    return digest.hexdigest()


def read_tiles(base_url: str, name: str, order: str) -> str:
    """A COG opened by GDAL, and a hundred of its tiles one after the other: by `rows`, in a `snake` or `scattered`."""
    import rasterio
    from rasterio.windows import Window

    digest = hashlib.sha256()
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(f"/vsicurl/{base_url}{name}") as scene,
    ):
        edge = scene.block_shapes[0][0]
        places = [(row, column) for row in range(TILES) for column in range(TILES)]
        if order == "snake":
            places = [(row, column if row % 2 == 0 else TILES - 1 - column) for row, column in places]
        if order == "scattered":
            random.Random(5).shuffle(places)
        for row, column in places:
            digest.update(scene.read(window=Window(column * edge, row * edge, edge, edge)).tobytes())
    return digest.hexdigest()


CASES: Final[dict[str, tuple[Any, ...]]] = {
    "64 MiB forward in pieces of 64 KiB": (read_sequence, "forward"),
    "64 MiB backward in pieces of 64 KiB": (read_sequence, "backward"),
    "COG (Deflate), 100 tiles by rows": (read_tiles, SCENE, "rows"),
    "COG (Deflate), 100 tiles in a snake": (read_tiles, SCENE, "snake"),
    "COG (Deflate), 100 tiles scattered": (read_tiles, SCENE, "scattered"),
    "COG (JPEG), 100 tiles by rows": (read_tiles, JPEG, "rows"),
    "COG (JPEG), 100 tiles scattered": (read_tiles, JPEG, "scattered"),
}


def prepare(folder: Path) -> Path:
    """The folder that the origin serves."""
    import rasterio.shutil

    samples = make_samples(folder)
    if not (samples / JPEG).exists():
        rasterio.shutil.copy(samples / SCENE, samples / JPEG, driver="COG", compress="JPEG", blocksize=512)
    if not (samples / SEQUENTIAL).exists():
        (samples / SEQUENTIAL).write_bytes(stamped(SEQUENTIAL, 1, SEQUENTIAL_BYTES))
    return samples


def measure(samples: Path, case: str) -> dict[str, dict[str, float]]:
    """One case in all passes, with a proxy of its own."""
    passes: dict[str, dict[str, float]] = {}
    digests = set()
    with (
        tempfile.TemporaryDirectory() as work,
        OriginThread(samples, LATENCY_S) as origin,
        running_proxy(origin.url, Path(work)) as proxy,
    ):
        for name in PASSES:
            requests, sent = origin.asked()
            base_url = origin.url if name == "direct" else proxy.data_url
            done = subprocess.run(
                [sys.executable, "-m", "bench.cold", "--read", case, base_url],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            took_s, digest = done.stdout.split()
            digests.add(digest)
            after, sent_after = origin.asked()
            passes[name] = {
                "seconds": float(took_s),
                "origin_requests": after - requests,
                "origin_bytes": sent_after - sent,
            }
        with urllib.request.urlopen(f"{proxy.admin_url}metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("rangecache_prefetch_blocks_total"):
                    passes["cold"][line.split('"')[1]] = float(line.rpartition(" ")[2])
    if len(digests) > 1:
        raise RuntimeError(f"{case}: the passes have read different bytes")
    return passes


def read(case: str, base_url: str) -> None:
    """What the process of a reader does."""
    function, *arguments = CASES[case]
    started = time.perf_counter()
    digest = function(base_url, *arguments)
    print(f"{time.perf_counter() - started:.3f} {digest}")


def main() -> None:
    """Measure, print a table, and write JSON to the file named on the command line, if one is."""
    if sys.argv[1:2] == ["--read"]:
        read(*sys.argv[2:4])
        return
    found: dict[str, Any] = {}
    folder = Path(tempfile.gettempdir()) / "rangecache-bench"
    try:
        samples = prepare(folder)
        print(f"{'origin 30 ms away':36}" + "".join(f"{name:>24}" for name in PASSES))
        for case in CASES:
            found[case] = measure(samples, case)
            cells = [
                f"{each['seconds']:8.2f} s {each['origin_requests']:4.0f} r {each['origin_bytes'] / 1e6:5.1f} MB"
                for each in found[case].values()
            ]
            print(f"{case:36}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"latency_s": LATENCY_S, "cases": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
