from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rangecache.testing.children import Child, ChildFailed, answers, clean_environment
from rangecache.testing.comparison import PASSES, OriginThread, Row, compare
from rangecache.testing.readings import FAILED, READINGS, answer, window_corners

if TYPE_CHECKING:
    from pathlib import Path


def test_what_each_pass_cost_the_origin_is_counted_at_the_origin(small_samples: Path, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with (
        OriginThread(small_samples, latency_s=0) as origin,
        OriginThread(small_samples, latency_s=0) as elsewhere,
    ):
        # What stands for the proxy here answers from itself, as a warm cache would: the origin must not be seen asked.
        rows = compare(origin, elsewhere.url, tmp_path, lambda name, reading: told.append((name, reading.name)))
        assert origin.asked() == (
            sum(row.costs["direct"].origin_requests for row in rows),
            sum(row.costs["direct"].origin_bytes for row in rows),
        )
    for row in rows:
        assert row.equal
        assert row.costs["direct"].origin_requests > 0
        assert row.costs["direct"].origin_bytes > 0
        assert [row.costs[name].origin_requests for name in ("cold", "warm")] == [0, 0]
        assert all(cost.seconds > 0 for cost in row.costs.values())
    assert told == [(name, reading.name) for name in PASSES for reading in READINGS]


def test_readings_through_the_origin_are_those_of_the_files(small_samples: Path, tmp_path: Path) -> None:
    import rasterio

    with OriginThread(small_samples, latency_s=0) as origin:
        windows = READINGS[1].read(origin.url)["windows"]
    with rasterio.open(small_samples / "scene.tif") as scene:
        for read, (x, y) in zip(windows, window_corners(scene.width), strict=True):
            assert np.array_equal(read, scene.read(window=((y, y + 512), (x, x + 512))))


def test_one_other_pixel_in_one_pass_is_noticed() -> None:
    row = Row(READINGS[0], results={name: {"image": np.arange(10)} for name in PASSES})
    assert row.equal
    row.results["warm"]["image"][9] = 8
    assert not row.equal


def test_windows_lie_in_the_image_and_no_two_are_the_same() -> None:
    for pixels in (1536, 5120):
        corners = window_corners(pixels)
        assert len(set(corners)) == 12
        assert all(0 <= x <= pixels - 512 and 0 <= y <= pixels - 512 for x, y in corners)


def test_a_reader_that_cannot_read_says_why_on_one_line(tmp_path: Path) -> None:
    out = io.StringIO()
    answer(["overview\n"], "http://127.0.0.1:1/", tmp_path, out)
    assert out.getvalue().startswith(f"{FAILED}RasterioIOError: ")
    assert out.getvalue().count("\n") == 1


def test_a_failed_reading_fails_the_comparison(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with OriginThread(empty, latency_s=0) as origin, pytest.raises(ChildFailed, match=r"GDAL, overview: .*404"):
        compare(origin, origin.url, tmp_path)


def test_a_program_that_ends_too_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with Child("it", "-c", "import sys; sys.exit('out of luck')", log=tmp_path / "log") as child:
        with pytest.raises(ChildFailed, match="it ended too early: out of luck"):
            child.hear()
        with pytest.raises(ChildFailed, match="it did not start: out of luck"):
            child.wait_for("http://127.0.0.1:1/", timeout_s=60)


def test_a_program_is_ended_with_its_context(tmp_path: Path) -> None:
    with Child("it", "-c", "print('up', flush=True); input()", log=tmp_path / "log") as child:
        assert child.hear() == "up"
        assert not child.ended
    assert child.ended


def test_a_program_that_does_not_come_up_is_given_up(tmp_path: Path) -> None:
    with (
        Child("it", "-c", "input()", log=tmp_path / "log") as child,
        pytest.raises(ChildFailed, match="it was not ready within 0 s"),
    ):
        child.wait_for("http://127.0.0.1:1/", timeout_s=0)


def test_settings_for_other_work_do_not_reach_the_programs() -> None:
    environment = {
        "PATH": "/bin",
        "https_proxy": "x",
        "HTTP_PROXY": "x",
        "GDAL_HTTP_USERPWD": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "RANGECACHE_SERVER__LISTEN": "x",
        "CPL_VSIL_CURL_CACHE_SIZE": "x",
    }
    assert clean_environment(environment) == {"PATH": "/bin"}


def test_only_a_200_is_an_answer(small_samples: Path) -> None:
    with OriginThread(small_samples, latency_s=0) as origin:
        assert answers(f"{origin.url}scene.tif")
        assert not answers(f"{origin.url}none")
    assert not answers(f"{origin.url}scene.tif")
