"""What is measured. One file each, with a `SCENARIO`; the file's name is what it is called on the command line."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.stage import Scenario


def find_scenarios() -> dict[str, Scenario]:
    """All that have a file here, in the order of the table."""
    found: dict[str, Scenario] = {
        each.name: importlib.import_module(f"{__name__}.{each.name}").SCENARIO
        for each in pkgutil.iter_modules(__path__)
    }
    return dict(sorted(found.items(), key=lambda each: each[1].order))
