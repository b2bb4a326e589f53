"""The README is run: its recipes through a proxy, its table of settings against the settings.

In the recipes the address `http://127.0.0.1:8080/web/demo/` stands for wherever a reader has his data. Here it is
replaced by the address of a proxy in front of the small samples; nothing else is changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import duckdb_ext
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from rangecache.cli.demo import running_proxy
from rangecache.settings import Settings
from rangecache.testing.comparison import OriginThread
from rangecache.testing.samples import SMALL, make_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BASE = "http://127.0.0.1:8080/web/demo/"
RECIPES = dict(re.findall(r"^### (.+?)\n.*?^```(?:python|sh)\n(.*?)^```", README, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy in front of what the recipes read."""
    samples = make_samples(tmp_path_factory.mktemp("samples"), SMALL)
    table = {"station": np.arange(50_000) % 7, "temperature": np.linspace(-10, 30, 50_000)}
    pq.write_table(pa.table(table), samples / "stations.parquet")
    work = tmp_path_factory.mktemp("proxy")
    with OriginThread(samples, latency_s=0) as origin, running_proxy(origin.url, work) as proxy:
        yield proxy.data_url


def run(recipe: str, base_url: str) -> dict[str, Any]:
    """Run a recipe with its address replaced; its names and what they mean in the end."""
    code = RECIPES[recipe]
    assert BASE in code or BASE.removesuffix("/") in code
    names: dict[str, Any] = {}
    exec(compile(code.replace(BASE, base_url), f"README.md, {recipe}", "exec"), names)
    return names


def test_every_recipe_is_known_to_these_tests() -> None:
    assert set(RECIPES) == {
        "curl", "GDAL", "Zarr, through fsspec", "Zarr, through obstore", "xarray", "DuckDB", "pyarrow",
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_recipe_for_curl_shows_bytes_and_headers(base_url: str) -> None:
    done = subprocess.run(
        RECIPES["curl"].replace(BASE, base_url), shell=True, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.startswith("0000000   I   I   *")
    assert "Cache-Status: rangecache; " in done.stdout


def test_the_recipe_for_gdal_reads_pixels(base_url: str) -> None:
    names = run("GDAL", base_url)
    assert names["overview"].shape == (3, SMALL.scene_pixels // 8, SMALL.scene_pixels // 8)
    assert names["window"].shape == (3, 512, 512)
    assert names["window"].std() > 10


def test_the_recipe_for_zarr_through_fsspec_reads_a_map(base_url: str) -> None:
    noon = run("Zarr, through fsspec", base_url)["noon"]
    assert noon.shape == (SMALL.grid_points, SMALL.grid_points)
    assert (noon != 0).all()


def test_the_recipe_for_zarr_through_obstore_reads_a_series(base_url: str) -> None:
    series = run("Zarr, through obstore", base_url)["series"]
    assert series.shape == (SMALL.hours,)
    assert (series != 0).all()


def test_the_recipe_for_xarray_reads_a_mean(base_url: str) -> None:
    assert -30 < run("xarray", base_url)["mean"] < 50


def test_the_recipe_for_duckdb_groups_a_parquet_file(base_url: str) -> None:
    # Where a network is, DuckDB gets this extension by itself.
    (extension,) = Path(next(iter(duckdb_ext.__path__))).rglob("httpfs.duckdb_extension")
    duckdb.load_extension(str(extension))
    stations = run("DuckDB", base_url)["stations"]
    assert sorted(station for station, _ in stations) == list(range(7))


def test_the_recipe_for_pyarrow_reads_a_column(base_url: str) -> None:
    temperatures = run("pyarrow", base_url)["temperatures"]
    assert (temperatures.num_rows, temperatures.column_names) == (50_000, ["temperature"])


def test_the_configuration_in_the_readme_is_accepted() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    settings = Settings.model_validate(yaml.safe_load(text))
    assert set(settings.providers) == {"s3", "minio", "gs", "lake", "web", "local"}


def test_the_table_of_settings_has_their_names_and_defaults() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", README, re.MULTILINE)
    assert len(rows) > 10
    defaults = Settings().redacted()
    for key, shown in rows:
        value: Any = defaults
        for part in key.split("."):
            value = value[part]
        if key == "providers":
            assert list(value) == shown.split("`, `")
        else:
            assert yaml.safe_load(shown.replace("~", str(Path.home()))) == value, key


def test_files_that_the_readme_points_at_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).is_file(), target
