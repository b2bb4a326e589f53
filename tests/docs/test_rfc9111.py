"""The page on freshness: every test that it names is there, and its sum is right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "rfc9111.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5]
REQUIREMENTS = [row for row in ROWS if row[0] != "section"]
NAMED = re.compile(r"`([a-z_]+/test_[a-z0-9_]+)::(test_[a-z0-9_]+)`")
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "should", "advice", "–"}


def _kind(how: str) -> str:
    return next((kind for kind in ("does not apply", "otherwise") if how.startswith(f"{kind}: ")), "met")


def test_every_named_test_exists() -> None:
    missing = []
    for file, name in set(NAMED.findall(PAGE)):
        path = TESTS / f"{file}.py"
        if not path.is_file() or re.search(rf"^(?:async )?def {name}\(", path.read_text(), re.MULTILINE) is None:
            missing.append(f"{file}::{name}")
    assert not missing


def test_every_requirement_that_is_met_names_a_test() -> None:
    for section, level, what, how in REQUIREMENTS:
        assert re.fullmatch(r"[0-9.]+", section), what
        assert level in LEVELS, what
        assert _kind(how) != "met" or NAMED.search(how), what


def test_the_sum_is_that_of_the_tables() -> None:
    kinds = Counter(_kind(how) for *_, how in REQUIREMENTS)
    said = re.search(r"(\d+) requirements: (\d+) are met, (\d+) do not apply here, (\d+) are kept otherwise", PAGE)
    assert said is not None
    assert tuple(map(int, said.groups())) == (
        len(REQUIREMENTS),
        kinds["met"],
        kinds["does not apply"],
        kinds["otherwise"],
    )
