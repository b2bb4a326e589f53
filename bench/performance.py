"""`python -m bench.performance FILE.json [FOLDER]`: the page, its chart and its figures, by default in `docs`.

The words are in `performance.template.md` beside this file; `{{name}}` stands for what is made of the figures.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.results import Results
from bench.tables import figure_tables, goal_table, table

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = "performance.md"
CHART: Final = "performance.png"
FIGURES: Final = "performance.json"
TEMPLATE: Final = Path(__file__).with_name("performance.template.md")


def render(results: Results) -> str:
    """The page."""
    parts: dict[str, Callable[[Results], str]] = {
        "machine": machine,
        "versions": versions,
        "goals": goal_table,
        "missed": missed,
        "figures": all_figures,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]](results), TEMPLATE.read_text())


def machine(results: Results) -> str:
    """A sentence."""
    about = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    quick = [name for name, each in results.scenarios.items() if each.quick]
    warning = f" **Short versions of {', '.join(quick)}: a first look only.**" if quick else ""
    place = f"{about['cores']} cores of {about['processor']} with {about['memory_gib']} GiB, Linux {about['kernel']}"
    return f"Measured on {about['date']}: {place}, Python {about['python']}, {packages}.{warning}"


def versions(results: Results) -> str:
    """A table of the peers, with those that were not there."""
    rows = [(name, version) for name, version in results.versions.items()]
    rows += [(name, f"not installed ({', '.join(lacking)})") for name, lacking in results.absent.items()]
    return table(("side", "version"), rows)


def missed(results: Results) -> str:
    """How many goals there are and were reached."""
    verdicts = [verdict for name in results.scenarios for verdict in results.verdicts(name)]
    reached = sum(each.reached is True for each in verdicts)
    return f"{reached} of {len(verdicts)} goals are reached."


def all_figures(results: Results) -> str:
    """A section a scenario."""
    parts = []
    for name, result in results.scenarios.items():
        lines = [f"### {result.title} (`{name}`)", figure_tables(result.measured)]
        lines += [f"Left out: {peer}: {reason.splitlines()[0]}" for peer, reason in result.left_out.items()]
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    """Write the three files."""
    from bench.chart import draw

    if len(sys.argv) not in {2, 3}:
        raise SystemExit("usage: python -m bench.performance FILE.json [FOLDER]")
    results = Results.load(Path(sys.argv[1]))
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else "docs")
    folder.mkdir(parents=True, exist_ok=True)
    results.save(folder / FIGURES, fresh=True)
    (folder / PAGE).write_text(render(results))
    draw(results, folder / CHART)
    print(f"written: {', '.join(str(folder / name) for name in (PAGE, CHART, FIGURES))}")


if __name__ == "__main__":
    main()
