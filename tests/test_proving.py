"""The table of proofs says what ran, keeps what did not, and calls a failure a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

pytest_plugins = ["pytester"]

HERE: Final = Path(__file__).resolve().parents[1]

SHEET: Final = """# Proof

| Claim | Figures | Seconds | Test | When, where |
|---|---|--:|---|---|
| of a test that has gone | 1 of 1 | 3 | `test_it.py::test_gone` | 2026-01-02, CPython 3.11.4, 2 CPUs |
| breaks when run | 7 of 7 | 3 | `test_it.py::test_breaks_early` | 2026-01-02, CPython 3.11.4, 2 CPUs |
| was not run this time | 2 of 2 | 3 | `test_it.py::test_other` | 2026-01-02, CPython 3.11.4, 2 CPUs |
| what it said before | 0 of 5 | 3 | `test_it.py::test_holds` | 2026-01-02, CPython 3.11.4, 2 CPUs |

After the table.
"""
TESTS: Final = """
import pytest

@pytest.mark.prove
def test_holds(proof):
    proof.row("second in the alphabet", "5 of 5")
    proof.row("a first one | with a bar", "6 of 6")

@pytest.mark.prove
def test_breaks(proof):
    proof.row("does not hold", "4 of 5")
    assert False

@pytest.mark.prove
def test_breaks_early(proof):
    assert False
    proof.row("never said", "")

@pytest.mark.prove
def test_says_nothing_at_all():
    pass

def test_other(proof):
    proof.row("was not run this time", "9 of 9")
"""


@pytest.fixture
def sheet(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, some proofs and this plugin, which its sessions find by PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    pytester.makeini("[pytest]\nmarkers = prove: long\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest('pytest_plugins = ["tests.proving"]')
    pytester.makepyfile(test_it=TESTS)
    path = pytester.path / "proof.md"
    path.write_text(SHEET)
    return path


@pytest.mark.parametrize(
    "workers", [pytest.param((), id="alone"), pytest.param(("-n", "2"), id="xdist", marks=pytest.mark.prove)]
)
def test_lines_of_tests_that_ran_are_replaced(pytester: pytest.Pytester, sheet: Path, workers: tuple[str, ...]) -> None:
    result = pytester.runpytest_subprocess("-m", "prove", "--proofs", "proof.md", *workers)
    result.assert_outcomes(passed=2, failed=2)
    head, *rows = [line.split("|")[1:5] for line in sheet.read_text().splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in head] == ["Claim", "Figures", "Seconds", "Test"]
    shown = [(claim.strip(), figures.strip(), test.strip()) for claim, figures, _, test in rows]
    assert shown == [
        ("does not hold", "**FAILED** 4 of 5", "`test_it.py::test_breaks`"),
        ("breaks when run", "**FAILED**", "`test_it.py::test_breaks_early`"),
        ("second in the alphabet", "5 of 5", "`test_it.py::test_holds`"),
        ("a first one / with a bar", "6 of 6", "`test_it.py::test_holds`"),
        ("was not run this time", "2 of 2", "`test_it.py::test_other`"),
        ("says nothing at all", "passed", "`test_it.py::test_says_nothing_at_all`"),
    ]
    assert sheet.read_text().startswith("# Proof\n\n| Claim")
    assert sheet.read_text().endswith("|\n\nAfter the table.\n")
    terminal = result.stdout.str()
    assert "4 of 5" in terminal
    assert "was not run" not in terminal


def test_a_session_without_the_option_leaves_the_table_alone(pytester: pytest.Pytester, sheet: Path) -> None:
    pytester.runpytest_subprocess("-m", "prove").assert_outcomes(passed=2, failed=2)
    assert sheet.read_text() == SHEET


def test_a_file_without_a_table_is_an_error(pytester: pytest.Pytester, sheet: Path) -> None:
    sheet.write_text("# Proof\n")
    result = pytester.runpytest_subprocess("-k", "holds", "--proofs", "proof.md")
    assert "there is no table" in result.stdout.str() + result.stderr.str()
