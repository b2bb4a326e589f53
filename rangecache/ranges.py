"""Byte ranges: read and print the headers, resolve against a size, then align to blocks.

Half-open everywhere; inclusive ends exist in header text only. The grammar is RFC 9110 section 14, ASCII only. Parsing
is total (a result or `InvalidRange`, never another error) and linear in the header's length. Resolve first, align
second: a suffix has no block numbers until the size is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2; a range unit is one
# RFC 9110 section 14.1.1: int-range = first-pos "-" [ last-pos ], suffix-range = "-" suffix-length.
_SPEC = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
# What nearly every request has. Read by itself it costs a third of the general way.
_PLAIN = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_DIGITS_MAX: Final = 19  # more digits than any size has; such a number lies beyond the end of every object
_BEYOND: Final = 10**_DIGITS_MAX
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `[start, end)` of an object; as a request, `end` may lie beyond the object."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.end - self.start

    def clamp(self, size: int) -> ByteRange:
        """The part of it that lies in an object of `size` bytes; empty at the end if nothing does."""
        return ByteRange(min(self.start, size), min(self.end, size))

    def header(self) -> str:
        """As the value of a Range header."""
        return f"bytes={self.start}-{self.end - 1}"

    def content_range(self, size: int) -> str:
        """As the value of a Content-Range header of an object of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """From `start` to the end of the object."""

    start: int

    def header(self) -> str:
        """As the value of a Range header."""
        return f"bytes={self.start}-"


@dataclass(frozen=True, slots=True)
class SuffixRange:
    """The last `length` bytes, or the whole object if it is shorter."""

    length: int

    def header(self) -> str:
        """As the value of a Range header."""
        return f"bytes=-{self.length}"


RangeSpec = ByteRange | OffsetRange | SuffixRange
"""What was asked for, not yet resolved against a size."""


def parse_range(header: str, max_ranges: int) -> tuple[RangeSpec, ...] | None:
    """Read a Range header's value.

    None where its unit is not bytes: such a header must be ignored (RFC 9110 section 14.2). Raises `InvalidRange` for
    a malformed value and for more than `max_ranges` ranges: the RFC lets a server ignore those or refuse them, and
    ignoring would send the whole object to a client that asked for a little.
    """
    plain = _PLAIN.fullmatch(header)
    if plain is not None:
        start, end = int(plain[1]), int(plain[2]) + 1
        if start < end:
            return (ByteRange(start, end),)
    unit, equals, listed = header.partition("=")
    if unit.lower() != "bytes":
        if equals and _TOKEN.fullmatch(unit):
            return None
        raise InvalidRange("the Range header is malformed; expected bytes=first-last")
    if listed.count(",") >= max_ranges:
        raise InvalidRange(f"the Range header asks for more than {max_ranges} ranges")
    if "," not in listed:
        return (_parse_spec(listed),)
    # RFC 9110 section 5.6.1.2: white space around elements and empty elements are to be accepted in a list.
    specs = tuple(_parse_spec(text) for each in listed.split(",") if (text := each.strip(" \t")))
    if not specs:
        raise InvalidRange("the Range header is malformed; expected bytes=first-last, first- or -length")
    return specs


def _parse_spec(text: str) -> RangeSpec:
    match = _SPEC.fullmatch(text)
    if match is None or text == "-":
        raise InvalidRange("the Range header is malformed; expected bytes=first-last, first- or -length")
    first, last = match.groups()
    if not first:
        return SuffixRange(_number(last))
    start = _number(first)
    if not last:
        return OffsetRange(start)
    end = _number(last) + 1
    if end <= start:
        raise InvalidRange("the Range header asks for a range that ends before it starts")
    return ByteRange(start, end)


def _number(digits: str) -> int:
    if len(digits) <= _DIGITS_MAX:
        return int(digits)
    significant = digits.lstrip("0")  # the grammar allows any number of leading zeros
    return int(significant or "0") if len(significant) <= _DIGITS_MAX else _BEYOND


def resolve(spec: RangeSpec, size: int) -> ByteRange | None:
    """The bytes that `spec` means in an object of `size` bytes; None if it is not satisfiable (RFC 9110 14.1.2)."""
    match spec:
        case ByteRange(start, end):
            if end <= size:
                return spec
            return ByteRange(start, size) if start < size else None
        case OffsetRange(start):
            return ByteRange(start, size) if start < size else None
        case SuffixRange(length):
            return ByteRange(max(0, size - length), size) if length and size else None


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range header (RFC 9110 section 14.4)."""

    range: ByteRange
    size: int | None
    """Length of the whole object; None where the header says `*`."""


def parse_content_range(header: str) -> ContentRange | None:
    """Read the Content-Range of a 206. None unless it is exactly `bytes first-last/size` or `…/*` and consistent."""
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None:
        return None
    start, end = int(match[1]), int(match[2]) + 1
    size = None if match[3] == "*" else int(match[3])
    if end <= start or (size is not None and end > size):
        return None
    return ContentRange(ByteRange(start, end), size)


def parse_unsatisfied(header: str) -> int | None:
    """Read the Content-Range of a 416, `bytes */size`: the object's length, or None if it does not say."""
    match = _UNSATISFIED.fullmatch(header)
    return int(match[1]) if match else None


def block_indices(wanted: ByteRange, block_bytes: int) -> range:
    """Numbers of the blocks that hold the bytes of `wanted`, which is resolved."""
    return range(wanted.start // block_bytes, -(-wanted.end // block_bytes))


def block_range(index: int, block_bytes: int, size: int) -> ByteRange:
    """The bytes of block `index` in an object of `size` bytes; the last block is shorter."""
    return ByteRange(index * block_bytes, min((index + 1) * block_bytes, size))


def runs(indices: Iterable[int], max_blocks: int, gap_blocks: int = 0, waste_max: float = 1.0) -> Iterator[range]:
    """Join ascending block numbers into runs of at most `max_blocks` blocks.

    Neighbours share a run. So do those with at most `gap_blocks` unwanted blocks between them, which are then in the
    run too, as long as those are no larger share of it than `waste_max`.
    """
    run, unwanted = range(0), 0
    for part in _neighbours(indices, max_blocks):
        gap = part.start - run.stop
        joined = range(run.start, part.stop)
        # Parts that touch are halves of one that was too long: they stay apart.
        if run and 0 < gap <= gap_blocks and len(joined) <= max_blocks and unwanted + gap <= waste_max * len(joined):
            run, unwanted = joined, unwanted + gap
            continue
        if run:
            yield run
        run, unwanted = part, 0
    if run:
        yield run


def _neighbours(indices: Iterable[int], max_blocks: int) -> Iterator[range]:
    found = range(0)
    for index in indices:
        if found and index == found.stop and len(found) < max_blocks:
            found = range(found.start, index + 1)
            continue
        if found:
            yield found
        found = range(index, index + 1)
    if found:
        yield found


def total_length(wanted: Sequence[ByteRange]) -> int:
    """Bytes in all ranges together; overlapping bytes count each time."""
    return sum(each.length for each in wanted)
