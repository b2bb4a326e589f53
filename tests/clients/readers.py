"""Reads as users write them, with the libraries that they use; each gives the same arrays from a folder and over HTTP.

None of them keeps anything between two calls: what is read twice is asked for twice, unless a proxy remembers it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import duckdb_ext
import fsspec
import numpy as np
import pyarrow.parquet as pq
import rasterio
import xarray as xr
import zarr
from obstore.store import HTTPStore
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window
from zarr.storage import FsspecStore, ObjectStore

from rangecache.testing.samples import PLAIN, SCENE, SHARDED, WEATHER

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

Arrays = list[np.ndarray[Any, Any]]

GRID: Final = "grid.nc"
TABLE: Final = "table.parquet"
REAL: Final = "real"
"""Folder of the files that were made by others, where those are at hand."""


@dataclass(frozen=True)
class Reader:
    """One way to read."""

    name: str
    read: Callable[[str], Arrays]
    """Given where the data lie: a folder or an address, with a final slash."""
    needs: str
    """The file or folder that it reads."""

    def __str__(self) -> str:
        return self.name


def is_url(base: str) -> bool:
    """Whether the data lie behind HTTP."""
    return base.startswith("http")


# --- GDAL ---------------------------------------------------------------------------------------------------------


def gdal(base: str, **options: str) -> AbstractContextManager[object]:
    """GDAL as its users set it for the cloud, forgetting what it has read when a file is closed."""
    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_NON_CACHED": f"/vsicurl/{base}"} | options
    return rasterio.Env(**settings)


def gdal_path(base: str, name: str) -> str:
    """The name under which GDAL opens a file."""
    return f"/vsicurl/{base}{name}" if is_url(base) else base + name


def read_scene(base: str) -> Arrays:
    """Header, windows across tile borders, and overviews."""
    with gdal(base), rasterio.open(gdal_path(base, SCENE)) as scene:
        corners = [(0, 0), (300, 400), (scene.width - 256, scene.height - 256)]
        windows = [scene.read(window=Window(x, y, 256, 256)) for x, y in corners]
        overview = scene.read(1, out_shape=(scene.height // 4, scene.width // 4))
        return [*windows, overview]


def read_scene_multirange(base: str) -> Arrays:
    """A row of tiles by several ranges in one request."""
    options = {"GDAL_HTTP_MULTIRANGE": "SINGLE_GET", "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "NO"}
    with gdal(base, **options), rasterio.open(gdal_path(base, SCENE)) as scene:
        return [scene.read(window=Window(0, 600, scene.width, 300))]


def read_real_mosaic(base: str) -> Arrays:
    """All of a COG that somebody else made."""
    with gdal(base), rasterio.open(gdal_path(base, f"{REAL}/mosaic_cog1.tif")) as mosaic:
        return [mosaic.read(), mosaic.read(1, out_shape=(100, 100)), mosaic.dataset_mask()]


def read_real_world(base: str) -> Arrays:
    """A corner, the middle and an overview of a COG that somebody else made."""
    with gdal(base), rasterio.open(gdal_path(base, f"{REAL}/cog_world.tif")) as world:
        corner = world.read(window=Window(0, 0, 100, 100))
        middle = world.read(window=Window(world.width // 2, world.height // 2, 200, 200))
        return [corner, middle, world.read(out_shape=(world.count, 64, 128))]


# --- Zarr ---------------------------------------------------------------------------------------------------------


def read_zarr(store: Any) -> Arrays:
    """A map, a time series and a box of both layouts: whole chunks, shard indices, parts of shards."""
    arrays: Arrays = []
    for name in (PLAIN, SHARDED):
        array = zarr.open_array(store, path=name, mode="r", zarr_format=3)
        arrays += [np.asarray(array[20]), np.asarray(array[:, 37, 201]), np.asarray(array[5:20, 100:140, 60:200])]
    return arrays


def read_zarr_fsspec(base: str) -> Arrays:
    """zarr-python over fsspec's HTTP file system."""
    return read_zarr(FsspecStore.from_url(base + WEATHER, read_only=True) if is_url(base) else base + WEATHER)


def read_zarr_obstore(base: str) -> Arrays:
    """zarr-python over obstore's HTTPStore."""
    if not is_url(base):
        return read_zarr(base + WEATHER)
    http = HTTPStore.from_url(base + WEATHER, client_options={"allow_http": True})
    return read_zarr(ObjectStore(http, read_only=True))


def read_xarray_zarr(base: str) -> Arrays:
    """xarray over consolidated Zarr metadata."""
    with xr.open_zarr(base + WEATHER, consolidated=True, chunks=None) as weather:
        noon = weather[PLAIN].isel(time=12, y=slice(0, 100))
        places = weather[SHARDED].isel(x=[3, 77, 250], y=[200, 100, 5])
        return [noon.to_numpy(), places.to_numpy()]


# --- netCDF and Parquet -------------------------------------------------------------------------------------------


def read_netcdf(base: str, name: str) -> Arrays:
    """All two-dimensional variables of a netCDF-4 file, through the HDF5 library in GDAL."""
    with gdal(base), warnings.catch_warnings():
        # A variable is opened by its place in the file, and there GDAL does not look for coordinates.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        path = gdal_path(base, name)
        with rasterio.open(path, driver="HDF5") as file:
            if not file.subdatasets:
                return [file.read()]
            variables = [each.rpartition("://")[2] for each in file.subdatasets]
        arrays: Arrays = []
        for variable in variables:
            with rasterio.open(f'HDF5:"{path}"://{variable}') as image:
                arrays.append(image.read())
        return arrays


def read_parquet_pyarrow(base: str) -> Arrays:
    """Two columns of some row groups, through pyarrow over an fsspec file."""
    with fsspec.open(base + TABLE, "rb") as file, pq.ParquetFile(file) as table:
        groups = table.read_row_groups([0, 3], columns=["station", "value"])
        return [column.to_numpy() for column in groups.columns]


def read_parquet_duckdb(base: str) -> Arrays:
    """A query with a filter, in DuckDB with its httpfs extension."""
    with duckdb.connect() as connection:
        folder = str(Path(next(iter(duckdb_ext.__path__))) / "extensions")
        connection.execute("SET extension_directory = ?", [folder])
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("LOAD httpfs")
        query = """SELECT station, count(*) AS n, sum(hour) AS hours, max(value) AS most FROM read_parquet(?)
                   WHERE hour BETWEEN 15000 AND 42000 GROUP BY station ORDER BY station"""
        return list(connection.execute(query, [base + TABLE]).fetchnumpy().values())


READERS: Final = (
    Reader("gdal", read_scene, SCENE),
    Reader("gdal-multirange", read_scene_multirange, SCENE),
    Reader("zarr-fsspec", read_zarr_fsspec, WEATHER),
    Reader("zarr-obstore", read_zarr_obstore, WEATHER),
    Reader("xarray-zarr", read_xarray_zarr, WEATHER),
    Reader("gdal-netcdf", lambda base: read_netcdf(base, GRID), GRID),
    Reader("parquet-pyarrow", read_parquet_pyarrow, TABLE),
    Reader("parquet-duckdb", read_parquet_duckdb, TABLE),
    Reader("gdal-real-mosaic", read_real_mosaic, f"{REAL}/mosaic_cog1.tif"),
    Reader("gdal-real-world", read_real_world, f"{REAL}/cog_world.tif"),
    Reader("gdal-real-netcdf", lambda base: read_netcdf(base, f"{REAL}/dataset_2d.nc"), f"{REAL}/dataset_2d.nc"),
)
