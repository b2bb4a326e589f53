"""Figures and tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP: Final = 1024
_TIMES: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def size(count: float) -> str:
    """Bytes, as `1.5 MiB`."""
    unit = 0
    # What would be shown as 1024.0 of one unit is 1.0 of the next.
    while unit < len(_UNITS) - 1 and round(count, 1) >= _STEP:
        count /= _STEP
        unit += 1
    return f"{count:.0f} B" if not unit else f"{count:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Seconds, as `3m` or `2d 4h`: the two largest units."""
    left, parts = int(seconds), []
    for length, unit in _TIMES:
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return " ".join(parts[:2]) or "0s"


def count(number: int, noun: str) -> str:
    """`1 object`, `2 objects`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(name: str) -> str:
    """A name that moves no cursor: characters that are not printed are written as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines in which columns are aligned, those numbered in `right` to the right. The last is as long as it is."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
