"""The files that the clients read: made here, and joined by real ones where those are at hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import rasterio.shutil

from rangecache.testing.samples import SMALL, make_samples
from tests.clients.readers import GRID, REAL, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL_FILES: Final = Path(__file__).parents[3] / "shared" / "data"
_ROWS: Final = 60_000


def make_data(folder: Path) -> Path:
    """Everything that `readers` reads, in a subfolder that is returned."""
    made = make_samples(folder, SMALL)
    rng = np.random.default_rng(7)
    table = pa.table(
        {
            "hour": np.arange(_ROWS),
            "station": rng.integers(0, 50, _ROWS).astype("int32"),
            "value": rng.normal(size=_ROWS),
            "noise": rng.random(_ROWS),
        }
    )
    pq.write_table(table, made / TABLE, row_group_size=10_000)
    _write_netcdf(made / GRID, rng.normal(size=(2, 300, 400)).astype("float32"))
    if REAL_FILES.is_dir():
        (made / REAL).mkdir()
        for file in sorted(REAL_FILES.glob("*.[tn][ic]*")):
            shutil.copyfile(file, made / REAL / file.name)
    return made


def _write_netcdf(path: Path, layers: np.ndarray[Any, Any]) -> None:
    """Compressed netCDF-4, by GDAL: it writes that format only as a copy of something."""
    count, height, width = layers.shape
    north_up = rasterio.Affine(0.1, 0, 0, 0, -0.1, 50)
    profile = {"width": width, "height": height, "count": count, "dtype": "float32", "transform": north_up}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", crs="EPSG:4326", **profile) as image:
            image.write(layers)
        rasterio.shutil.copy(memory.name, path, driver="netCDF", FORMAT="NC4", COMPRESS="DEFLATE")


def names_below(folder: Path) -> Iterator[str]:
    """Relative names of all files, with slashes."""
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
