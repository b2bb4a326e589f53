"""`python -m bench.readers NAME URL FOLDER [OPTION]`: a real client in a process of its own.

It reads once for each line of its standard input, and answers with a line of JSON: seconds, and a hash of what it has
read. A fresh process is the one sure way to begin without a client's caches, a second line the way to use them. OPTION
switches on a cache that the client brings along; FOLDER is where it may keep it.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import importlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rangecache.testing.samples import SCENE, SHARDED, WEATHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JPEG: Final = "jpeg.tif"
TABLE: Final = "table.parquet"
SEQUENCE: Final = "sequence"
SEQUENCE_BYTES: Final = 8 << 20
PIECE_BYTES: Final = 64 << 10
TILES: Final = 10
"""Along each side of the part of an image that is read."""
OWN_CACHE: Final = "own-cache"
_GDAL: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
# What GDAL's page on /vsicurl has to be raised for a second look at the same files.
_GDAL_CACHE: Final = {"VSI_CACHE": "TRUE", "VSI_CACHE_SIZE": "268435456", "CPL_VSIL_CURL_CACHE_SIZE": "268435456"}


@dataclass(frozen=True, slots=True)
class Reader:
    """A client and what it reads."""

    read: Callable[[str, Path, str], bytes]
    """Given the bucket's address with a final slash, a folder and an option; something that tells what was read."""
    own_caches: Mapping[str, bool] = field(default_factory=dict)
    """Caches that it brings along, by what the table calls them; whether a second process finds them again."""
    prepare: Callable[[str], None] = lambda _: None
    """Given the option, ahead of the first read and not measured: what is imported is not what is measured."""


def read_sequence(url: str, order: str) -> bytes:
    """A long object in small pieces on one connection, `forward` or `backward`."""
    target = urlsplit(url + SEQUENCE)
    connection = http.client.HTTPConnection(target.netloc)
    digest = hashlib.sha256()
    starts = range(0, SEQUENCE_BYTES, PIECE_BYTES)
    for start in starts if order == "forward" else reversed(starts):
        connection.request("GET", target.path, headers={"Range": f"bytes={start}-{start + PIECE_BYTES - 1}"})
        digest.update(connection.getresponse().read())
    return digest.digest()


def read_tiles(url: str, name: str, order: str, option: str) -> bytes:
    """A COG opened by GDAL, and a hundred of its tiles one after the other: by `rows`, in a `snake` or `scattered`."""
    import rasterio
    from rasterio.windows import Window

    digest = hashlib.sha256()
    settings = _GDAL | (_GDAL_CACHE if option else {})
    with rasterio.Env(**settings), rasterio.open(f"/vsicurl/{url}{name}") as scene:
        edge = scene.block_shapes[0][0]
        places = [(row, column) for row in range(TILES) for column in range(TILES)]
        if order == "snake":
            places = [(row, column if row % 2 == 0 else TILES - 1 - column) for row, column in places]
        if order == "scattered":
            random.Random(5).shuffle(places)
        for row, column in places:
            digest.update(scene.read(window=Window(column * edge, row * edge, edge, edge)).tobytes())
    return digest.digest()


def read_shards(url: str, folder: Path, option: str) -> bytes:
    """zarr-python over fsspec: a map at one hour and the series of ten places, out of a sharded array."""
    import numpy as np
    import zarr

    if option:
        store = zarr.storage.FsspecStore(_block_cache(folder), path=url + WEATHER, read_only=True)
    else:
        store = zarr.storage.FsspecStore.from_url(url + WEATHER, read_only=True)
    array: Any = zarr.open_array(store, path=SHARDED, mode="r", zarr_format=3)
    _, rows, columns = array.shape
    digest = hashlib.sha256(np.asarray(array[12]).tobytes())
    for n in range(1, 11):
        digest.update(np.asarray(array[:, (37 * n) % rows, (101 * n) % columns]).tobytes())
    return digest.digest()


def _block_cache(folder: Path) -> Any:
    """fsspec's cache of blocks on disk, in front of its HTTP file system, as zarr can use it."""
    import fsspec
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    blocks = fsspec.filesystem("blockcache", target_protocol="http", cache_storage=str(folder))
    files = AsyncFileSystemWrapper(blocks, asynchronous=True)
    read = files._cat_file
    # Two threads in it at once have read wrong bytes.
    one_at_a_time = asyncio.Lock()

    async def cat_file(path: str, start: int | None = None, end: int | None = None, **more: Any) -> Any:
        # A suffix of a file of which it has all blocks ends in an AttributeError of its own.
        if start is not None and start < 0:
            start += blocks.fs.info(path)["size"]
        async with one_at_a_time:
            return await read(path, start, end, **more)

    files._cat_file = cat_file
    return files


class Queries:
    """DuckDB with its httpfs extension: three queries over one Parquet file, each of some columns and row groups.

    `prepare` comes first: starting DuckDB and loading the extension take longer than all of the reading.
    """

    _TEXTS = (
        "SELECT count(*), max(hour) FROM read_parquet(?)",
        "SELECT station, max(value) FROM read_parquet(?) WHERE hour BETWEEN 200000 AND 260000 GROUP BY 1 ORDER BY 1",
        "SELECT hour, value, noise FROM read_parquet(?) WHERE hour BETWEEN 700000 AND 700500 ORDER BY hour",
    )

    def __init__(self) -> None:
        self._connection: Any = None

    def read(self, url: str, _folder: Path, _option: str) -> bytes:
        """All of them."""
        rows = [self._connection.execute(query, [url + TABLE]).fetchall() for query in self._TEXTS]
        return repr(rows).encode()

    def prepare(self, option: str) -> None:
        """Without the option nothing is kept in memory of what is read from files."""
        import duckdb
        import duckdb_ext

        connection = duckdb.connect()
        connection.execute("SET extension_directory = ?", [str(Path(next(iter(duckdb_ext.__path__))) / "extensions")])
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("LOAD httpfs")
        connection.execute(f"SET enable_external_file_cache = {'true' if option else 'false'}")
        self._connection = connection


def _tiles(name: str, order: str) -> Reader:
    def read(url: str, _folder: Path, option: str) -> bytes:
        return read_tiles(url, name, order, option)

    return Reader(read, {"direct, GDAL's own cache": False}, _imports("rasterio"))


def _sequence(order: str) -> Reader:
    return Reader(lambda url, *_: read_sequence(url, order))


def _imports(*modules: str) -> Callable[[str], None]:
    def prepare(_option: str) -> None:
        for module in modules:
            importlib.import_module(module)

    return prepare


_QUERIES: Final = Queries()
READERS: Final[Mapping[str, Reader]] = {
    "deflate-rows": _tiles(SCENE, "rows"),
    "deflate-snake": _tiles(SCENE, "snake"),
    "deflate-scattered": _tiles(SCENE, "scattered"),
    "jpeg-rows": _tiles(JPEG, "rows"),
    "jpeg-scattered": _tiles(JPEG, "scattered"),
    "forward": _sequence("forward"),
    "backward": _sequence("backward"),
    "zarr": Reader(
        read_shards,
        {"direct, fsspec's block cache": True},
        _imports("zarr", "fsspec.implementations.http", "fsspec.implementations.cached"),
    ),
    "duckdb": Reader(_QUERIES.read, {"direct, DuckDB's own cache": False}, _QUERIES.prepare),
}


def prepare(folder: Path) -> Path:
    """The folder that the origin serves, made once a run."""
    import rasterio.shutil

    from rangecache.testing.objects import stamped
    from rangecache.testing.samples import make_samples

    samples = make_samples(folder)
    if not (samples / TABLE).exists():
        rasterio.shutil.copy(samples / SCENE, samples / JPEG, driver="COG", compress="JPEG", blocksize=512)
        (samples / SEQUENCE).write_bytes(stamped(SEQUENCE, 1, SEQUENCE_BYTES))
        _write_table(samples / TABLE)
    return samples


def _write_table(path: Path) -> None:
    """A million rows in twenty row groups, about 20 MB."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, rows = np.random.default_rng(7), 1_000_000
    columns = {
        "hour": np.arange(rows),
        "station": rng.integers(0, 50, rows).astype("int32"),
        "value": rng.normal(size=rows),
        "noise": rng.random(rows),
    }
    pq.write_table(pa.table(columns), path, row_group_size=50_000)


def main() -> None:
    """See the head of this file."""
    name, url, folder, *options = sys.argv[1:]
    read = READERS[name].read
    READERS[name].prepare("".join(options))
    print("ready", flush=True)
    for _ in sys.stdin:
        began_s = time.perf_counter()
        data = read(url, Path(folder), "".join(options))
        took_s = time.perf_counter() - began_s
        print(json.dumps({"seconds": took_s, "digest": hashlib.sha256(data).hexdigest()}), flush=True)


if __name__ == "__main__":
    main()
