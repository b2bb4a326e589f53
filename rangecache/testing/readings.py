"""What the demo reads, with the libraries that people read with, in a process of its own.

`python -m rangecache.testing.readings BASE_URL FOLDER` opens nothing until it is told to. For each name of a reading on
standard input it reads, keeps the result as `FOLDER/<name>.npz` and answers with one line: the seconds it took, or the
error after `failed: `. A fresh process is the one sure way to begin without GDAL's block and header caches, and the
pauses between the lines let whoever drives it look at the origin's log.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from rangecache.testing.samples import PLAIN, SCENE, SHARDED, WEATHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Result = dict[str, npt.NDArray[Any]]
"""What a reading gave: arrays by name."""

FAILED: Final = "failed: "
WINDOW_PIXELS: Final = 512
# GDAL as its users are told to set it for the cloud: no look round the folder, nothing else changed.
_GDAL: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif"}


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that a person would look at."""

    name: str
    title: str
    """Who reads what, for a table."""
    about: str
    """How much of it."""
    read: Callable[[str], Result]
    """Given the address that the samples lie under, with a final slash."""


def read_overview(base_url: str) -> Result:
    """The whole image at an eighth of its width, from the file's overviews: `image`, shape (3, height, width)."""
    import rasterio

    with rasterio.Env(**_GDAL), rasterio.open(f"/vsicurl/{base_url}{SCENE}") as scene:
        shape = (scene.count, scene.height // 8, scene.width // 8)
        return {"image": scene.read(out_shape=shape)}


def read_windows(base_url: str) -> Result:
    """Windows at full resolution along a walk across the image; `windows` has the shape (12, 3, 512, 512)."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.Env(**_GDAL), rasterio.open(f"/vsicurl/{base_url}{SCENE}") as scene:
        corners = window_corners(scene.width)
        windows = [scene.read(window=Window(x, y, WINDOW_PIXELS, WINDOW_PIXELS)) for x, y in corners]
        return {"windows": np.stack(windows)}


def window_corners(scene_pixels: int) -> list[tuple[int, int]]:
    """Upper left corners (x, y) of the windows that `read_windows` reads: a walk from the upper left to the lower
    right that never keeps to the tiles' borders."""
    last = scene_pixels - WINDOW_PIXELS
    along = np.linspace(0.02, 0.98, 12)
    sway = 0.5 + 0.38 * np.sin(1.7 + 9 * along)
    return [(round(last * x), round(last * y)) for x, y in zip(along, sway, strict=True)]


def read_plain(base_url: str) -> Result:
    """A day at noon as a map, `noon` (y, x), and ten places through all hours, `series` (10, hours), from an array in
    plain chunks."""
    return _read_weather(base_url, PLAIN)


def read_shards(base_url: str) -> Result:
    """The same from an array in shards: chunks are found by an index at the end of each shard."""
    return _read_weather(base_url, SHARDED)


def _read_weather(base_url: str, name: str) -> Result:
    import zarr

    store = zarr.storage.FsspecStore.from_url(base_url + WEATHER, read_only=True)
    # Told the format, zarr does not look for metadata of format 2, which is two requests less.
    array = zarr.open_array(store, path=name, mode="r", zarr_format=3)
    _, rows, columns = array.shape
    places = [((37 * n) % rows, (101 * n) % columns) for n in range(1, 11)]
    noon = np.asarray(array[12])
    return {"noon": noon, "series": np.stack([np.asarray(array[:, y, x]) for y, x in places])}


READINGS: Final = (
    Reading("overview", "GDAL, overview", "whole image at 1/8", read_overview),
    Reading("windows", "GDAL, windows", "12 × 512² pixels", read_windows),
    Reading("plain", "Zarr, chunks", "map and 10 series", read_plain),
    Reading("shards", "Zarr, shards", "map and 10 series", read_shards),
)


def answer(names: Iterable[str], base_url: str, folder: Path, out: TextIO) -> None:
    """Read what each line of `names` names; see the head of this file."""
    readings = {reading.name: reading for reading in READINGS}
    for line in names:
        reading = readings[line.strip()]
        started = time.perf_counter()
        try:
            result = reading.read(base_url)
        except Exception as error:  # noqa: BLE001 - a reader may raise anything, and all of it is the answer
            print(f"{FAILED}{type(error).__name__}: {error}".replace("\n", " "), file=out, flush=True)
        else:
            took_s = time.perf_counter() - started
            np.savez(folder / f"{reading.name}.npz", allow_pickle=False, **result)
            print(f"{took_s:.6f}", file=out, flush=True)


def main() -> None:
    """See the head of this file."""
    _, base_url, folder = sys.argv
    # What is imported is not what is measured.
    import rasterio
    import zarr

    print(f"ready with GDAL {rasterio.__gdal_version__}, zarr {zarr.__version__}", flush=True)
    answer(sys.stdin, base_url, Path(folder), sys.stdout)


if __name__ == "__main__":
    main()
