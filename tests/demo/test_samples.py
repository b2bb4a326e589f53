from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import zarr

from rangecache.testing import samples
from rangecache.testing.samples import PLAIN, SCENE, SHARDED, SMALL, WEATHER, make_samples

if TYPE_CHECKING:
    from pathlib import Path


def test_the_image_is_a_tiled_deflated_cog_with_overviews(small_samples: Path) -> None:
    with rasterio.open(small_samples / SCENE) as scene:
        assert scene.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert scene.profile["blockxsize"] == scene.profile["blockysize"] == 512
        assert scene.compression.value == "DEFLATE"
        assert scene.overviews(1) == [2, 4]
        assert (scene.width, scene.height, scene.count) == (SMALL.scene_pixels, SMALL.scene_pixels, 3)
        pixels = scene.read()
    # Realistic means that it is neither flat nor noise: it compresses, but not to nothing.
    size = (small_samples / SCENE).stat().st_size
    assert 0.5 < size / pixels.nbytes < 1.2
    assert pixels.std() > 20


def test_the_full_image_is_large_enough_to_be_worth_a_range() -> None:
    small = SMALL.scene_pixels**2
    # 72 MiB where this was measured; the size grows with the area.
    assert samples.FULL.scene_pixels**2 / small > 64 / 7


def test_the_same_weather_is_there_in_chunks_and_in_shards(small_samples: Path) -> None:
    group = zarr.open_group(str(small_samples / WEATHER), mode="r", zarr_format=3)
    plain, sharded = group[PLAIN], group[SHARDED]
    assert isinstance(plain, zarr.Array)
    assert isinstance(sharded, zarr.Array)
    assert plain.metadata.zarr_format == 3
    assert plain.shards is None
    assert sharded.shards is not None
    assert sharded.chunks != sharded.shards
    values = np.asarray(plain[:])
    assert np.array_equal(values, np.asarray(sharded[:]))
    assert -40 < values.min() < values.max() < 60
    assert not (values == 0).all(axis=(1, 2)).any()  # no hour is fill value


def test_samples_that_are_there_are_not_made_again(small_samples: Path) -> None:
    told: list[str] = []
    assert make_samples(small_samples.parent, SMALL, told.append) == small_samples
    assert told == []


def test_what_was_begun_and_not_finished_is_not_taken_for_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(samples, "write_weather", fails)
    with pytest.raises(OSError, match="no space"):
        make_samples(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_programs_that_make_them_at_once_both_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Path] = []

    def other_is_quicker(*_: object) -> None:
        monkeypatch.undo()
        done.append(make_samples(tmp_path, SMALL))

    monkeypatch.setattr(samples, "write_scene", other_is_quicker)
    monkeypatch.setattr(samples.os, "getpid", lambda: -1)
    assert make_samples(tmp_path, SMALL) == done[0]
    assert list(tmp_path.iterdir()) == done
