"""Before anything is measured: does a peer answer ranges with the right bytes? Speed of wrong answers is of no use."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from bench.client import Client, WrongAnswer

if TYPE_CHECKING:
    from pathlib import Path

_RANGES: Final = 24
_STEP_BYTES: Final = 1 << 20


def warm_up(url: str, file: Path) -> None:
    """Have a peer take in a whole object: as a whole, and its slices too where it keeps only what was asked as such."""
    size = file.stat().st_size
    with Client(url) as client:
        if (length := client.read_all(file.name)) != size:
            raise WrongAnswer(f"{length} bytes of an object of {size}")
        for start in range(0, size, _STEP_BYTES):
            client.read(file.name, start, min(start + _STEP_BYTES, size))


def check_ranges(url: str, file: Path, range_bytes: int, seed: int = 1) -> None:
    """Some random ranges, their bytes compared with the file's. Raises `WrongAnswer`."""
    choice, size = random.Random(seed), file.stat().st_size
    with Client(url) as client, file.open("rb") as truth:
        for _ in range(_RANGES):
            start = choice.randint(0, size - range_bytes)
            truth.seek(start)
            if client.read(file.name, start, start + range_bytes) != truth.read(range_bytes):
                raise WrongAnswer(f"wrong bytes from {start} on")
