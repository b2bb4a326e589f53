"""What a Range header means for bytes that are at hand: the rules once more, with nothing taken from the product."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE: Final = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")
_LIST: Final = re.compile(r"(?i:bytes)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Expected:
    """The right answer."""

    status: int
    spans: tuple[tuple[int, int], ...] = ()
    """First and last byte of each range; one for 200 with all bytes, none for an empty body."""


def expected(header: str | None, size: int, max_ranges: int = 256) -> Expected:
    """RFC 9110 section 14, and the choices of our interface where the RFC leaves one.

    Sizes are small here, so every position is an explicit number and a suffix is a plain subtraction.
    """
    everything = Expected(200, ((0, size - 1),) if size else ())
    if header is None or re.fullmatch(r"(?!(?i:bytes)=)[0-9A-Za-z-]+=.*", header, re.DOTALL):
        return everything
    listed = _LIST.fullmatch(header)
    texts = listed[1].split(",") if listed else []
    several = len(texts) > 1
    texts = [text for text in texts if text.strip(" \t") or not several]
    matches = [_ONE.fullmatch(text) if several or text == text.strip(" \t") else None for text in texts]
    if not matches or not all(matches) or (listed and listed[1].count(",") >= max_ranges):
        return Expected(416)
    spans, backwards = [], False
    for match in matches:
        first, last, suffix = match.groups() if match else (None, None, None)
        if suffix is not None:
            start, end = size - min(size, number(suffix)), size - 1
        else:
            start, end = number(first), min(number(last) if last else size - 1, size - 1)
            backwards = backwards or (last != "" and number(last) < number(first))
        if start <= end and start < size:
            spans.append((start, end))
    if backwards:
        return Expected(416)
    if not spans:
        empty_suffix = not size and any(match and match[3] and number(match[3]) for match in matches)
        return everything if empty_suffix else Expected(416)
    if len(spans) > 1 and sum(end + 1 - start for start, end in spans) > size:
        return everything
    return Expected(206, tuple(spans))


def number(digits: str) -> int:
    """Python reads at most 4300 digits at once. The first 400 of them are beyond every size too."""
    return int(digits.lstrip("0")[:400] or "0")


def boundaries(size: int, block: int) -> list[int]:
    """The positions at which something may go wrong, in and around an object, and far beyond it."""
    near = {0, 1, 2, 3, 15, 16}
    for edge in (block, 2 * block, 3 * block, size):
        near |= {edge - 2, edge - 1, edge, edge + 1, edge + 2}
    far = {10**6, 2**31 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19 - 1, 10**19, 10**40}
    return sorted(position for position in near | far if position >= 0)


def headers(size: int, block: int) -> Iterator[str | None]:
    """Every form of range that a client may send for an object of `size` bytes."""
    points = boundaries(size, block)
    yield None
    for first, last in product(points, points):
        yield f"bytes={first}-{last}"
    for point in points:
        yield f"bytes={point}-"
        yield f"bytes=-{point}"
    pieces = ["0-0", "-1", f"{block - 1}-{block}", f"{max(0, size - 1)}-", "5-4", f"{size}-", "1-2", f"-{size + 9}", ""]
    for pair in product(pieces, pieces):
        yield f"bytes={pair[0]},{pair[1]}"
    for triple in product(pieces[:6], repeat=3):
        yield "bytes=" + " , ".join(triple)
    yield from MALFORMED
    yield from UNUSUAL


MALFORMED: Final = (
    "bytes=-",
    "bytes=",
    "bytes",
    "=0-1",
    "bytes= 0-9",
    "bytes=0 - 9",
    "bytes=0- 9",
    "bytes=+0-9",
    "bytes=0x0-0x9",
    "bytes=1_0-2_0",
    "bytes=--1",
    "bytes=1--2",
    "bytes=1-2-3",
    "bytes=a-b",
    "bytes=1.0-2.0",
    "bytes=1e3-",
    "bytes:0-1",
    "bytes=0-1;2-3",
    "bytes=0-1,a",
    "bytes=,",
    "bytes=, ,",
    "bytes=0-1,-",
    "bytes=\xb2-\xb3",
    "bytes =0-1",
    "by tes=0-1",
    "bytes=0-1,2-3" + ",4-5" * 255,
    "bytes=" + "0-," * 1300,
)
"""None of these is of the grammar, or each is more than `max_ranges`."""

UNUSUAL: Final = (
    "BYTES=0-9",
    "Bytes=-1",
    "items=0-9",
    "seconds=1-2",
    "none=",
    "x-unit=0-1",
    "bytes=0-" + "9" * 5000,
    "bytes=-" + "9" * 5000,
    "bytes=" + "9" * 5000 + "-",
    "bytes=0000000000000000000000000-1",
    "bytes=00-01",
    "bytes=-0",
    "bytes=-00",
    "bytes=0-0,\t1-1",
    "bytes=,0-0",
    "bytes=0-0,",
    "bytes=0-0 ,\t, 1-1",
    "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(256)),
)
"""Odd, but with a meaning."""
