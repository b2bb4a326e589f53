"""What the demo shows on a terminal; plain lines where there is none."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rangecache.testing.comparison import PASSES, Cost, Row
from rangecache.testing.samples import PLAIN, SCENE, WEATHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_STYLES = {"direct": "bright_black", "cold": "blue", "warm": "yellow"}


class Screen:
    """Where the demo writes. `console` is for tests; None is standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """A line of text."""
        self._console.print(Text(line))

    @contextmanager
    def progress(self, steps: int) -> Iterator[Callable[[str], None]]:
        """A bar that goes on by one whenever the yielded function is told what comes next."""
        if not self._console.is_terminal:
            yield self.say
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=steps)
            begun = False

            def step(text: str) -> None:
                nonlocal begun
                bar.update(task, description=f"{text:<34}", advance=1 if begun else 0)
                begun = True

            yield step

    def table(self, rows: Sequence[Row], latency_s: float) -> None:
        """Readings down, passes across."""
        table = Table(
            title=f"\nThe same reads from an origin {latency_s * 1000:.0f} ms away",
            caption="cold: the proxy's first sight of the data; warm: the next reader\n"
            "requests and MB: what the origin saw, from its own log",
            title_style="bold",
            title_justify="left",
            caption_justify="left",
            show_lines=True,
        )
        table.add_column("", no_wrap=True)
        for name in PASSES:
            table.add_column(Text(name, style=_STYLES[name]), justify="right", no_wrap=True)
        table.add_column("speed-up", justify="right", no_wrap=True)
        for row in rows:
            costs = [row.costs[name] for name in PASSES]
            what = Text.assemble((row.reading.title, "bold"), "\n", (row.reading.about, "dim"))
            table.add_row(what, *map(_cell, costs), _speed_up(costs[0], costs[-1]))
        totals = [_sum([row.costs[name] for row in rows]) for name in PASSES]
        table.add_row(Text("all", style="bold"), *map(_cell, totals), _speed_up(totals[0], totals[-1]))
        self._console.print(table)
        if all(row.equal for row in rows):
            self.say("The three passes have read the same pixels and numbers.")

    def addresses(self, data_url: str, admin_url: str, origin_url: str) -> None:
        """What can be tried while the proxy stays up."""
        # The programs beside this one: nothing needs to be activated or on the search path.
        programs = os.path.relpath(Path(sys.executable).parent)
        self.say(f"\nThe proxy stays up until Ctrl-C, at {data_url}\nin front of {origin_url}. Try:\n")
        for line in (
            f"curl -s -D - -o /dev/null -r 0-65535 {data_url}{SCENE}",
            f"{programs}/rio info /vsicurl/{data_url}{SCENE}",
            f'{programs}/python -c \'import zarr; print(zarr.open("{data_url}{WEATHER}")["{PLAIN}"][12, 0, :4])\'',
            f"curl -s {admin_url}v1/stats",
            f"curl -s {admin_url}metrics",
        ):
            self.say(f"  {line}")
        self.say("")


def _cell(cost: Cost) -> Text:
    requests = "1 request" if cost.origin_requests == 1 else f"{cost.origin_requests} requests"
    megabytes = f"{cost.origin_bytes / 1e6:.1f} MB"
    return Text.assemble((f"{cost.seconds:.2f} s", "bold"), "\n", (f"{requests}\n{megabytes}", "dim"))


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.origin_requests for cost in costs),
        sum(cost.origin_bytes for cost in costs),
    )


def _speed_up(direct: Cost, warm: Cost) -> Text:
    ratio = direct.seconds / max(warm.seconds, 1e-6)
    return Text(f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:.0f} ×", style="bold green")
