from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rich.console import Console

from rangecache.cli.demo_screen import Screen
from rangecache.testing.canvas import Canvas, resized
from rangecache.testing.comparison import PASSES, Cost, Row
from rangecache.testing.lettering import letters
from rangecache.testing.picture import _PASS_COLOURS, draw
from rangecache.testing.readings import READINGS

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.testing.readings import Result

RESULTS: dict[str, Result] = {
    "overview": {"image": np.zeros((3, 192, 192), np.uint8)},
    "windows": {"windows": np.zeros((12, 3, 512, 512), np.uint8)},
    "plain": {"noon": np.arange(64.0).reshape(8, 8), "series": np.arange(480.0).reshape(10, 48)},
    "shards": {},
}


@pytest.fixture
def rows() -> list[Row]:
    costs = {"direct": Cost(2.0, 40, 9_000_000), "cold": Cost(1.0, 10, 12_000_000), "warm": Cost(0.1, 1, 0)}
    return [Row(each, costs, dict.fromkeys(PASSES, RESULTS[each.name])) for each in READINGS]


def shown(rows: list[Row], columns: int) -> str:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=columns, highlight=False))
    screen.table(rows, 0.05)
    screen.addresses("http://127.0.0.1:8080/web/demo/", "http://127.0.0.1:8081/", "http://127.0.0.1:9/")
    return out.getvalue()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # it lies nowhere on Earth
def test_bars_are_as_long_as_the_times(rows: list[Row], tmp_path: Path) -> None:
    draw(rows, 0.05, tmp_path / "demo.png")
    with rasterio.open(tmp_path / "demo.png") as picture:
        pixels = np.moveaxis(picture.read(), 0, 2)
    lengths = [int((pixels == colour).all(axis=2).any(axis=0).sum()) for colour in _PASS_COLOURS.values()]
    assert lengths == [560, 280, 28]  # as 2.0 s, 1.0 s and 0.1 s


def test_a_glyph_is_five_columns_and_a_gap() -> None:
    assert letters("I").tolist() == [
        [False, True, True, True, False, False],
        *([[False, False, True, False, False, False]] * 5),
        [False, True, True, True, False, False],
        [False] * 6,
    ]
    assert letters("IIII", scale=3).shape == (24, 72)
    assert np.array_equal(letters("\u2603"), letters("?"))


def test_what_lies_outside_the_canvas_is_cut_off() -> None:
    canvas = Canvas(20, 10, (0, 0, 0))
    canvas.write("wide text", 10, 5, (255, 255, 255))
    canvas.paste(np.full((50, 50, 3), 7, np.uint8), 15, 8)
    assert canvas.pixels.shape == (10, 20, 3)
    assert (canvas.pixels[8:, 15:] == 7).all()


def test_resizing_takes_evenly_spaced_places() -> None:
    assert resized(np.arange(8)[np.newaxis, :], 1, 4).tolist() == [[0, 2, 4, 6]]
    assert resized(np.arange(2)[np.newaxis, :], 1, 4).tolist() == [[0, 0, 1, 1]]


def test_the_table_says_times_requests_and_bytes_and_fits_a_terminal(rows: list[Row]) -> None:
    text = shown(rows, 80)
    assert max(len(line) for line in text.split("Try:")[0].splitlines()) <= 80
    for expected in ("GDAL, windows", "2.00 s", "40 requests", "9.0 MB", "1 request ", "20 ×", "160 requests"):
        assert expected in text
    assert "have read the same" in text


def test_passes_that_differ_are_not_called_the_same(rows: list[Row]) -> None:
    rows[0].results["warm"] = {"image": np.ones((3, 192, 192), np.uint8)}
    assert "have read the same" not in shown(rows, 80)


def test_without_a_terminal_progress_is_plain_lines() -> None:
    out = io.StringIO()
    with Screen(Console(file=out)).progress(2) as step:
        step("first")
        step("second")
    assert out.getvalue() == "first\nsecond\n"
