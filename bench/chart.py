"""The figures as a picture: a panel a case, a bar a peer. matplotlib is loaded here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.figures import FIGURES, US

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results

_COLUMNS: Final = 3
_PANEL_INCHES: Final = (4.6, 2.9)
_DOTS_PER_INCH: Final = 110
_OURS, _THEIRS, _INK = "#1b7f5c", "#b8c0c8", "#333333"
_LONGEST: Final = 12.0
"""A bar that is so many times longer than the second best is cut, or nothing else could be told apart."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One case."""

    title: str
    scenario: str
    case: str
    figure: str


PANELS: Final = (
    Panel("warm in memory, 16 KiB", "warm_16k", "warm", "cpu_us_per_request"),
    Panel("warm in memory, 64 KiB", "warm_64k", "warm", "cpu_us_per_request"),
    Panel("warm in memory, 1 MiB", "warm_1m", "warm", "cpu_us_per_request"),
    Panel("warm in memory, 8 MiB", "warm_8m", "warm", "cpu_us_per_request"),
    Panel("warm on disk, 16 KiB", "warm_disk_16k", "warm", "cpu_us_per_request"),
    Panel("200 clients for one cold range", "crowd_200", "200 clients", "p99_ms"),
    Panel("cold 64 MiB", "cold_64m", "cold", "seconds"),
    Panel("cold 256 MiB, 100 MB/s a connection", "cold_256m", "cold", "seconds"),
    Panel("cold first byte of a new object", "cold_first_byte", "first range of an object", "first_byte_ms"),
    Panel("GDAL, 100 tiles, 50 ms, cold", "gdal", "GDAL, 50 ms, cold", "seconds"),
    Panel("Zarr shards, 50 ms, cold", "zarr", "Zarr, 50 ms, cold", "seconds"),
    Panel("DuckDB, 50 ms, cold", "duckdb", "DuckDB, 50 ms, cold", "seconds"),
)


def bars(results: Results, panel: Panel) -> list[tuple[str, float]]:
    """Peers and their figures, the best first; empty where the case was not measured."""
    result = results.scenarios.get(panel.scenario)
    if result is None:
        return []
    found = [
        (each.peer, each.figures[panel.figure])
        for each in result.measured
        if each.case == panel.case and panel.figure in each.figures
    ]
    return sorted(found, key=lambda each: each[1], reverse=FIGURES[panel.figure].more_is_better)


def draw(results: Results, path: Path) -> None:
    """Write a PNG."""
    from matplotlib.figure import Figure as Canvas

    panels = [(panel, found) for panel in PANELS if (found := bars(results, panel))]
    rows = -(-len(panels) // _COLUMNS)
    width, height = _PANEL_INCHES
    canvas = Canvas(figsize=(width * _COLUMNS, height * rows), dpi=_DOTS_PER_INCH, layout="constrained")
    grid = canvas.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (panel, found) in zip(grid.flat, panels, strict=False):
        figure = FIGURES[panel.figure]
        longest = found[min(1, len(found) - 1)][1] * _LONGEST
        lengths = [min(value, longest) for _, value in found]
        colours = [_OURS if peer == US else _THEIRS for peer, _ in found]
        axes.barh(range(len(found)), lengths, color=colours, height=0.72)
        for row, (_, value) in enumerate(found):
            cut = " (cut)" if value > longest else ""
            axes.text(lengths[row], row, f" {figure.text(value)}{cut}", va="center", fontsize=8, color=_INK)
        axes.set_yticks(range(len(found)), [peer for peer, _ in found], fontsize=8, color=_INK)
        axes.invert_yaxis()
        axes.set_xlim(0, max(lengths) * 1.32)
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_title(f"{panel.title}: {figure.title}", fontsize=9.5, loc="left", color=_INK)
    canvas.savefig(path)
