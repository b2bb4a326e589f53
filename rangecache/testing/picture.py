"""The demo's picture: what was read, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rangecache.testing.canvas import Canvas, Pixels, resized
from rangecache.testing.comparison import PASSES, Row
from rangecache.testing.readings import WINDOW_PIXELS, window_corners

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WIDTH: Final = 1280
_MARGIN: Final = 32
_TOP: Final = 112
_MAP_PIXELS: Final = 640
_RIGHT: Final = _MARGIN + _MAP_PIXELS + _MARGIN
_THUMB_PIXELS: Final = 176
_GAP: Final = 8
_BARS_TOP: Final = _TOP + _MAP_PIXELS + 40
_BAR_LEFT: Final = 360
_BAR_PIXELS_MAX: Final = 560
_BAR_HEIGHT: Final = 16
_ROW_HEIGHT: Final = 3 * (_BAR_HEIGHT + 4) + 16

_GROUND: Final = (18, 22, 30)
_TEXT: Final = (228, 232, 240)
_DIM: Final = (140, 150, 166)
_FRAME: Final = (250, 214, 90)
_PASS_COLOURS: Final = {"direct": (112, 122, 140), "cold": (74, 158, 222), "warm": (250, 184, 60)}
# From cold to warm air.
_HEAT: Final = ((38, 60, 140), (70, 150, 200), (235, 235, 215), (240, 160, 70), (180, 40, 50))


def draw(rows: Sequence[Row], latency_s: float, path: Path) -> None:
    """Write the picture of these readings as a PNG file."""
    results = {row.reading.name: row.results["warm"] for row in rows}
    canvas = Canvas(_WIDTH, _BARS_TOP + len(rows) * _ROW_HEIGHT + _MARGIN, _GROUND)
    canvas.write("rangecache", _MARGIN, _MARGIN, _FRAME, scale=4)
    canvas.write("the same reads, direct, cold and warm", 300, _MARGIN + 6, _TEXT, scale=3)
    same = "all passes read the same pixels" if all(row.equal for row in rows) else "THE PASSES DIFFER"
    canvas.write(f"an origin {latency_s * 1000:.0f} ms away; {same}", 300, _MARGIN + 40, _DIM)
    _draw_scene(canvas, results["overview"]["image"], results["windows"]["windows"])
    _draw_weather(canvas, **results["plain"])
    _draw_bars(canvas, rows)
    canvas.save(path)


def _draw_scene(canvas: Canvas, overview: npt.NDArray[np.uint8], windows: npt.NDArray[np.uint8]) -> None:
    """The whole image with numbered frames, and every second of the windows beside it."""
    whole = np.moveaxis(overview, 0, 2)
    canvas.paste(resized(whole, _MAP_PIXELS, _MAP_PIXELS), _MARGIN, _TOP)
    scene_pixels = overview.shape[1] * 8
    for number, (x, y) in enumerate(window_corners(scene_pixels)):
        shown = number % 2 == 1
        left, top, side = (value * _MAP_PIXELS // scene_pixels for value in (x, y, WINDOW_PIXELS))
        canvas.outline(_MARGIN + left, _TOP + top, side, side, _FRAME if shown else _TEXT)
        if not shown:
            continue
        _label(canvas, str(number // 2 + 1), _MARGIN + left, _TOP + top)
        column, row = number // 2 % 3, number // 6
        place = _RIGHT + column * (_THUMB_PIXELS + _GAP), _TOP + row * (_THUMB_PIXELS + _GAP)
        canvas.paste(resized(np.moveaxis(windows[number], 0, 2), _THUMB_PIXELS, _THUMB_PIXELS), *place)
        _label(canvas, str(number // 2 + 1), *place)


def _draw_weather(canvas: Canvas, noon: npt.NDArray[np.float32], series: npt.NDArray[np.float32]) -> None:
    """The map at noon, and four of the places through all hours."""
    side = _MAP_PIXELS - 2 * (_THUMB_PIXELS + _GAP)
    top = _TOP + _MAP_PIXELS - side
    canvas.paste(_heat(resized(noon, side, side)), _RIGHT, top)
    _label(canvas, "air temperature, noon", _RIGHT, top)

    left, width = _RIGHT + side + _GAP, 3 * _THUMB_PIXELS + _GAP - side
    canvas.fill(left, top, width, side, (26, 32, 42))
    coldest, warmest = float(series.min()), float(series.max())
    hours = np.arange(series.shape[1])
    across = np.linspace(0, hours[-1], width - 8)
    for line in series[::3]:
        down = (warmest - np.interp(across, hours, line)) / max(warmest - coldest, 1e-6)
        shade = _heat(np.full((1, 1), line.mean()), coldest, warmest)[0, 0]
        ys = (top + 28 + down * (side - 40)).astype(np.intp)
        canvas.curve(ys, left + 4, (int(shade[0]), int(shade[1]), int(shade[2])))
    _label(canvas, "at four places", left, top)


def _draw_bars(canvas: Canvas, rows: Sequence[Row]) -> None:
    longest_s = max(cost.seconds for row in rows for cost in row.costs.values())
    for index, row in enumerate(rows):
        top = _BARS_TOP + index * _ROW_HEIGHT
        canvas.write(row.reading.title, _MARGIN, top + 8, _TEXT)
        canvas.write(row.reading.about, _MARGIN, top + 32, _DIM, scale=1)
        for number, name in enumerate(PASSES):
            cost, y = row.costs[name], top + number * (_BAR_HEIGHT + 4)
            canvas.write(name, _BAR_LEFT - 80, y + 1, _DIM)
            length = max(2, round(cost.seconds / longest_s * _BAR_PIXELS_MAX))
            canvas.fill(_BAR_LEFT, y, length, _BAR_HEIGHT, _PASS_COLOURS[name])
            told = canvas.write(f"{cost.seconds:.2f} s", _BAR_LEFT + length + 10, y + 1, _TEXT)
            canvas.write(f"{cost.origin_requests} requests", told + 12, y + 1, _DIM)


def _label(canvas: Canvas, text: str, x: int, y: int) -> None:
    canvas.fill(x, y, 12 * len(text) + 8, 22, _GROUND)
    canvas.write(text, x + 5, y + 4, _FRAME)


def _heat(values: npt.NDArray[Any], coldest: float | None = None, warmest: float | None = None) -> Pixels:
    low = float(values.min()) if coldest is None else coldest
    high = float(values.max()) if warmest is None else warmest
    stops = np.linspace(low, max(high, low + 1e-6), len(_HEAT))
    bands = [np.interp(values, stops, [colour[band] for colour in _HEAT]) for band in range(3)]
    return np.stack(bands, axis=-1).astype(np.uint8)
