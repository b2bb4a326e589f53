"""Recorded traces: which bytes of which objects were asked for, and when. Pure: lines in, reads out, and back.

A trace is CSV (RFC 4180, UTF-8) with the header `time_s,object,offset,length`, one read a line, in the order in which
they were asked for. Files are to be opened with `newline=""`, as the csv module asks: a key may hold a line break.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from rangecache.errors import InvalidTrace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HEADER: Final = ("time_s", "object", "offset", "length")
_TIME: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,12})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_BYTES: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_OBJECT: Final = re.compile(r"[^/]+/[^/]+/.+", re.DOTALL)
_SPECIAL: Final = re.compile(r'[",\r\n]')
_SHOWN_CHARS_MAX: Final = 60


class TracedRead(NamedTuple):
    """One read, as a client asked for it."""

    time_s: float
    """Since the trace began; ≥ 0."""
    object: str
    """`provider/bucket/key`; the key as it is called at the origin, not percent-encoded."""
    offset: int
    """The first byte, ≥ 0."""
    length: int
    """Bytes, ≥ 1."""


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


class TraceWriter:
    """Writes reads as a trace, the header first."""

    def __init__(self, out: _Writable) -> None:
        self._out = out
        out.write(",".join(HEADER) + "\n")

    def write(self, read: TracedRead) -> None:
        """Write one line; times to the microsecond."""
        self._out.write(f"{read.time_s:.6f},{_quoted(read.object)},{read.offset},{read.length}\n")


def read_trace(lines: Iterable[str], source: str) -> Iterator[TracedRead]:
    """The reads of a trace, one after the other as they are asked for.

    `source` is what errors call it, such as a file's name. Raises `InvalidTrace`, which names source and line.
    """
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            raise InvalidTrace(f"{source} is empty; expected the header {','.join(HEADER)}")
        if tuple(name.strip() for name in header) != HEADER:
            raise InvalidTrace(f"{source}:1: expected the header {','.join(HEADER)}, got {_shown(','.join(header))}")
        for row in rows:
            if row:  # an empty line, as at the end of a file that somebody edited
                try:
                    yield _parse(row)
                except ValueError as error:
                    raise InvalidTrace(f"{source}:{rows.line_num}: {error}") from None
    except csv.Error as error:
        raise InvalidTrace(f"{source}:{rows.line_num}: this is no CSV ({error})") from error
    except UnicodeDecodeError as error:
        raise InvalidTrace(f"{source}: after line {rows.line_num}: this is no UTF-8 text") from error


def _parse(row: Sequence[str]) -> TracedRead:
    """A line's read. Raises `ValueError` with a sentence."""
    if len(row) != len(HEADER):
        raise ValueError(f"expected {len(HEADER)} fields ({','.join(HEADER)}), got {len(row)}")
    time_s, name, offset, length = row
    if not _TIME.fullmatch(time_s):
        raise ValueError(f"time_s: expected seconds ≥ 0, got {_shown(time_s)}")
    if not _OBJECT.fullmatch(name):
        raise ValueError(f"object: expected provider/bucket/key, got {_shown(name)}")
    if not _BYTES.fullmatch(offset):
        raise ValueError(f"offset: expected a whole number ≥ 0, got {_shown(offset)}")
    if not _BYTES.fullmatch(length) or not (length_bytes := int(length)):
        raise ValueError(f"length: expected a whole number ≥ 1, got {_shown(length)}")
    return TracedRead(float(time_s), name, int(offset), length_bytes)


def _quoted(field: str) -> str:
    # By hand: with "\n" for line ends, the csv module of Python 3.11 leaves a field with "\r" bare.
    return '"' + field.replace('"', '""') + '"' if _SPECIAL.search(field) else field


def _shown(text: str) -> str:
    if not text.strip():
        return "nothing"
    line = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN_CHARS_MAX + 1])
    return line if len(line) <= _SHOWN_CHARS_MAX else f"{line[:_SHOWN_CHARS_MAX]}…"
