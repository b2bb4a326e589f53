"""One table of what was proven: claim, figures, duration, test. `make prove` prints it and keeps it in docs/proof.md.

A test takes the fixture `proof` and says what it has shown:

    proof.row("no answer mixes two versions", "1 000 000 reads, 24 kills, 0 mixed")

With `--proofs FILE` the lines of every test that ran replace those that the test had in FILE, each with its own date:
a long proof can be run alone, and what did not run stays as it was. A proof that fails says so in its line. Lines of
tests that no longer exist are dropped. Rows travel as properties of the test's report, so they survive xdist.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROPERTY: Final = "proof"
_FIELDS: Final = ("Claim", "Figures", "Seconds", "Test", "When, where")
_HEAD: Final = f"| {' | '.join(_FIELDS)} |"
_RULE: Final = "|---|---|--:|---|---|"
_WIDTH_MIN: Final = 120  # columns; narrower, a table of five columns cannot be read


class Proof:
    """What one test has shown."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def row(self, claim: str, figures: str) -> None:
        """One line of the table. Say it before the assertions too: a test that then fails is shown as failed."""
        self._properties.append((_PROPERTY, [claim, figures]))


@dataclass(frozen=True, order=True)
class Line:
    """One line of the table. They are sorted by test, and within a test by the order in which it spoke."""

    test: str
    place: int
    claim: str
    figures: str
    seconds: str
    when: str

    def text(self) -> str:
        """As it stands in the file."""
        cells = (self.claim, self.figures, self.seconds, f"`{self.test}`", self.when)
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    @classmethod
    def parse(cls, text: str, place: int) -> Line:
        """Back from the file."""
        claim, figures, seconds, test, when = (cell.strip() for cell in text.strip().strip("|").split("|"))
        return cls(test.strip("`"), place, claim, figures, seconds, when)


class Told:
    """What the reports of one test said."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self.seconds = 0.0
        self.failed = False
        self.ran = False

    def hear(self, report: pytest.TestReport) -> None:
        """One of its phases has ended."""
        self.seconds += report.duration
        self.failed = self.failed or report.failed
        self.ran = self.ran or report.failed or (report.when == "call" and report.passed)
        if report.when in {"call", "teardown"}:
            self.rows = [tuple(value) for name, value in report.user_properties if name == _PROPERTY]

    def lines(self, test: str, before: Iterable[Line]) -> list[Line]:
        """Its part of the table. A test that said nothing is called by its name; one that failed before it could say
        anything, by what it said when it last ran."""
        rows = self.rows
        if not rows and self.failed:
            rows = [(line.claim, "") for line in before]
        rows = rows or [(test.rpartition("::")[2].removeprefix("test_").replace("_", " "), "")]
        if self.failed:
            rows = [(claim, f"**FAILED** {figures}".strip()) for claim, figures in rows]
        when = f"{datetime.now(UTC):%Y-%m-%d}, {where()}"
        return [
            Line(test, place, claim, figures or "passed", f"{self.seconds:.0f}", when)
            for place, (claim, figures) in enumerate(rows)
        ]


def where() -> str:
    """What of the machine matters to the figures, without telling which machine it was."""
    return f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs"


class Sheet:
    """The lines of a file, and the prose around them."""

    def __init__(self, text: str) -> None:
        self._before, found, rest = text.partition(f"{_HEAD}\n{_RULE}\n")
        if not found:
            raise ValueError(f"there is no table that begins with {_HEAD}")
        lines = rest.splitlines(keepends=True)
        length = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
        self.lines = [Line.parse(line, place) for place, line in enumerate(lines[:length])]
        self._after = "".join(lines[length:])

    def of(self, test: str) -> list[Line]:
        """The lines of one test."""
        return [line for line in self.lines if line.test == test]

    def put(self, test: str, lines: list[Line]) -> None:
        """Replace the lines of one test."""
        self.lines = [line for line in self.lines if line.test != test] + lines

    def drop_unknown(self, root: Path) -> None:
        """Drop the lines of tests that are no more."""
        self.lines = [line for line in self.lines if _exists(line.test, root)]

    def text(self) -> str:
        """The file anew."""
        table = "".join(f"{line.text()}\n" for line in sorted(self.lines))
        return f"{self._before}{_HEAD}\n{_RULE}\n{table}{self._after}"


def _exists(test: str, root: Path) -> bool:
    path, _, name = test.partition("::")
    name = name.rpartition("::")[2].partition("[")[0]
    return (root / path).is_file() and f"def {name}(" in (root / path).read_text()


class Proofs:
    """The plugin of a session that keeps its table."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        self._told: dict[str, Told] = {}
        self._shown: list[Line] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of every phase of every test, wherever it ran."""
        self._told.setdefault(report.nodeid, Told()).hear(report)

    def pytest_sessionfinish(self) -> None:
        """Write the file, after one test or after all."""
        table = Sheet(self._path.read_text())
        for test, told in self._told.items():
            if told.ran:
                lines = told.lines(test, table.of(test))
                table.put(test, lines)
                self._shown += lines
        if self._shown:
            table.drop_unknown(self._root)
            self._path.write_text(table.text())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what this session has proven."""
        if self._shown:
            terminalreporter.section("proofs")
            terminalreporter.write(drawn(sorted(self._shown), max(_WIDTH_MIN, terminalreporter._tw.fullwidth)))


def drawn(lines: list[Line], width: int) -> str:
    """The table for a terminal."""
    table = Table(*_FIELDS[:4], show_lines=True)
    table.columns[2].justify = "right"
    for line in lines:
        table.add_row(line.claim, line.figures, line.seconds, line.test)
    out = StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(table)
    return out.getvalue()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addoption("--proofs", metavar="FILE", help="keep the table of proofs in FILE, which holds one already")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest; the workers of xdist leave the table to their controller."""
    path = config.getoption("--proofs")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proofs(Path(path), config.rootpath), "proofs")


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """Where a test says what it has shown."""
    return Proof(request.node.user_properties)
