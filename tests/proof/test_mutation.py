"""The tests of the pure rooms notice nine of ten faults that are put into the code.

mutmut changes one expression at a time (a comparison, a number, an argument, a text) and runs the tests that reach it.
A change that no test notices has survived. `mutmut run` does the same at the root of the project, `mutmut browse` shows
what survived. Survivors are looked at; those that are left mean the same as the original:

* the fast way of `parse_range` (`_PLAIN`) taken out or narrowed: the general way gives the same;
* `end <= size` as `<` in `resolve`: an equal range is made anew; `len(digits) <= _DIGITS_MAX` as `<`, likewise;
* what stands for a header that is absent ("" in `headers.get`), replaced by None or by other text that is no date, no
  number and no directive;
* characters that no input can have at that place any more, added to what is stripped;
* None for False, or for an empty range, where only truth is asked (`strongly`, `found`, `last`);
* what a loop sets before it is looked at (`unwanted` in `runs`), and a bound that cannot be reached (`at >= 0` behind
  the reserved slots, a single range that is longer than its object);
* a short cut that ends where the long way does (`renew` of the last in its list, `_contest` with no use left);
* an epoch that counts downwards, another one to begin with, what an array is lengthened by before it is written to, two
  buckets more at the beginning, places for 2 instead of 4 billion slots.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.proving import Proof

ROOT: Final = Path(__file__).parents[2]
SCORE_MIN: Final = 0.9
MODULES: Final = (
    "ranges",
    "blocks.admission",
    "blocks.framing",
    "read.cache_control",
    "read.conditions",
    "read.freshness",
)
NOTICED: Final = ("killed", "timeout")
"""A loop that no longer ends is noticed too."""
_RESULT: Final = re.compile(r"\s*rangecache\.([\w.]+)\.x\S*: (.+)")


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_nine_of_ten_mutants_are_noticed(tmp_path: Path, proof: Proof) -> None:
    for name in ("rangecache", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    mutmut = [sys.executable, "-m", "mutmut"]
    ran = subprocess.run(
        [*mutmut, "run", "--max-children", str(os.cpu_count())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    told = subprocess.run(
        [*mutmut, "results", "--all", "true"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for line in told.stdout.splitlines():
        if match := _RESULT.fullmatch(line):
            module, outcome = match.groups()
            outcomes[module][outcome] += 1
            if outcome not in NOTICED:
                survivors.append(line.strip())
    scores = {module: noticed(counts) / counts.total() for module, counts in outcomes.items()}
    killed = sum(map(noticed, outcomes.values()))
    total = sum(counts.total() for counts in outcomes.values())
    each = ", ".join(f"{module} {score:.1%} of {outcomes[module].total()}" for module, score in sorted(scores.items()))
    proof.row(
        "the tests of the pure rooms notice what is changed in the code",
        f"{killed / total:.1%} of {total} mutants; {each}",
    )
    print(*survivors, sep="\n")
    found = set(scores)
    assert all(any(module.startswith(wanted) for module in found) for wanted in MODULES), found
    assert all(score >= SCORE_MIN for score in scores.values()), each


def noticed(outcomes: Counter[str]) -> int:
    """How many of these mutants a test noticed."""
    return sum(outcomes[each] for each in NOTICED)
