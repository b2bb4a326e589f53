"""Manifests: which parts of which objects are to be warmed. Pure: lines in, entries out, and back.

A manifest has one entry a line: an object's name as it stands, or JSON with its ranges::

    s3/bucket/key
    {"object": "s3/bucket/key", "ranges": [[0, 65536], [1048576, 1114112]]}
    {"object": "s3/bucket/key", "ranges": "bytes=0-65535,-65536"}

Ranges are pairs `[start, end)` in bytes, or the text of a Range header, which can count from the end. Without ranges
the whole object is meant. Empty lines, and lines that begin with `#`, say nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import BadRequest, InvalidRange
from rangecache.ranges import ByteRange, parse_range
from rangecache.trace import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rangecache.ranges import RangeSpec

LINE_BYTES_MAX: Final = 64 * 1024
RANGES_MAX: Final = 8192  # of one entry; more than fit into a line
_OFFSET_MAX: Final = 1 << 62
_EXPECTED: Final = 'ranges have to be pairs such as [[0, 65536]], or text such as "bytes=0-65535,-65536"'


class Entry(NamedTuple):
    """One line."""

    name: str
    """The object's, in any of the forms that the data port's addresses have outside."""
    ranges: tuple[RangeSpec, ...] | None
    """None for the whole object."""


def read_line(line: bytes) -> Entry | None:
    """The entry of a line, without its end; None for a line that says nothing. Raises `BadRequest`."""
    if len(line) > LINE_BYTES_MAX:
        raise BadRequest(f"a line is longer than {LINE_BYTES_MAX} bytes; split it into several with the same object")
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise BadRequest("a line is not UTF-8") from None
    if not text or text.startswith("#"):
        return None
    if text == ",".join(HEADER):
        raise BadRequest("this is a trace and no manifest; write one with: rangecache record --format manifest")
    if not text.startswith("{"):
        return Entry(text, None)
    try:
        return read_entry(json.loads(text))
    except (ValueError, RecursionError):
        raise BadRequest("a line that begins with { is not JSON") from None


def read_entry(entry: object) -> Entry:
    """An entry that came as JSON: a name, or an object with `object` and `ranges`. Raises `BadRequest`."""
    match entry:
        case str(name):
            return Entry(name, None)
        case {"object": str(name), **others} if not others.keys() - {"ranges"}:
            ranges = others.get("ranges")
            return Entry(name, None if ranges is None else read_ranges(ranges))
        case _:
            raise BadRequest('an entry has to be a name, or {"object": name, "ranges": …}')


def read_ranges(ranges: object) -> tuple[RangeSpec, ...]:
    """Ranges that came as JSON. Raises `BadRequest`."""
    if isinstance(ranges, str):
        try:
            specs = parse_range(ranges, RANGES_MAX)
        except InvalidRange as error:
            raise BadRequest(f"{_EXPECTED}: {error.message}") from error
        if specs is None:
            raise BadRequest(_EXPECTED)
        return specs
    if not isinstance(ranges, list) or not 0 < len(ranges) <= RANGES_MAX:
        raise BadRequest(_EXPECTED)
    return tuple(_pair(each) for each in ranges)


def _pair(pair: object) -> ByteRange:
    match pair:
        case [int(start), int(end)] if type(start) is type(end) is int and 0 <= start < end <= _OFFSET_MAX:
            return ByteRange(start, end)
        case _:
            raise BadRequest(f"{_EXPECTED}; a pair is [start, end) with 0 ≤ start < end")


class Merged:
    """Reads gathered by object, as the ranges of a manifest: ascending, disjoint, neighbours joined."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, name: str, offset: int, length: int) -> None:
        """One read."""
        spans = self._spans.setdefault(name, [])
        spans.append((offset, offset + length))
        if len(spans) > _UNMERGED_MAX and not len(spans) & (len(spans) - 1):
            spans[:] = _merged(spans)

    def lines(self) -> Iterator[str]:
        """The manifest, in the order in which objects were first read. An entry that is too long is split."""
        for name, spans in self._spans.items():
            merged = _merged(spans)
            for at in range(0, len(merged), _PAIRS_MAX):
                ranges = [list(span) for span in merged[at : at + _PAIRS_MAX]]
                yield json.dumps({"object": name, "ranges": ranges}, ensure_ascii=False)


_UNMERGED_MAX: Final = 1024
_PAIRS_MAX: Final = 1000  # of at most 42 characters each: with the longest key a line stays below its bound


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
