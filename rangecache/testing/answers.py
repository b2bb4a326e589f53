"""What an origin answers when it does everything right (RFC 9110 sections 13 and 14), as plain values.

The reading of ranges and conditions is written a second time here, on purpose: an origin that shared the proxy's own
parser could not show that parser's mistakes.
"""

from __future__ import annotations

import os
import re
import weakref
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.ASCII | re.IGNORECASE)
_TAGS = re.compile(r'(W/)?("[^"]*")')
_NO_BODY: Final = frozenset({204, 304})  # RFC 9110 section 8.6: no Content-Length there


class Content(Protocol):
    """Where the bytes of one version of an object come from."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, start: int, end: int) -> bytes | memoryview:
        """Bytes `[start, end)`, all of them."""
        ...


class InMemory:
    """Bytes held in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    def read(self, start: int, end: int) -> memoryview:
        """Bytes `[start, end)`, not copied."""
        return self._data[start:end]


class InFile:
    """An open file, read piece by piece; it stays the same file when another takes its name."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)  # closed with the last answer that needs it
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        self.e_tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        self.last_modified = datetime.fromtimestamp(found.st_mtime, UTC)

    def read(self, start: int, end: int) -> bytes:
        """Bytes `[start, end)`."""
        return os.pread(self._descriptor, end - start, start)


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object at the origin."""

    content: Content
    e_tag: str | None
    """As it stands in the header, with its quotes; None for none."""
    last_modified: datetime | None
    headers: tuple[tuple[str, str], ...] = ()
    """Content-Type and whatever else is sent with the object."""

    def validators(self) -> tuple[tuple[str, str], ...]:
        """The headers that name this version."""
        tag = () if self.e_tag is None else (("ETag", self.e_tag),)
        date = () if self.last_modified is None else (("Last-Modified", http_date(self.last_modified)),)
        return tag + date


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a body: bytes `[start, end)` of some content."""

    content: Content
    start: int
    end: int

    @classmethod
    def of(cls, data: bytes) -> Part:
        """These very bytes."""
        return cls(InMemory(data), 0, len(data))


@dataclass(frozen=True, slots=True)
class Stop:
    """Where an answer ends too early, and how."""

    after_bytes: int | None
    """Body bytes that are still sent; None: not even the status line is."""
    how: Literal["fin", "rst", "stall"]
    """Closed in order, reset, or nothing more until the other side closes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A body that comes in drops."""

    piece_bytes: int
    every_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it is written. Faults make another one of it."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """In the order of the wire, without framing; a Content-Length or Transfer-Encoding among them is sent as it is."""
    body: tuple[Part, ...] = ()
    stored: Stored | None = None
    """What the answer is about; None where there is no such object."""
    range: tuple[int, int] | None = None
    """The bytes of the object that a 206 carries, half-open."""
    framing: Literal["length", "chunked", "eof"] = "length"
    stop: Stop | None = None
    pace: Pace | None = None
    before: bytes = b""
    """Sent ahead of the status line."""
    raw: bytes | None = None
    """Sent instead of everything else, then the connection is closed."""
    newline: bytes = b"\r\n"
    reason: str = "Reason"

    @property
    def body_bytes(self) -> int:
        """Length of the body."""
        return sum(part.end - part.start for part in self.body)

    def header(self, name: str) -> str | None:
        """The last value of a header; None if there is none."""
        return next((value for each, value in reversed(self.headers) if each.lower() == name.lower()), None)

    def with_headers(self, changes: Mapping[str, str | None]) -> Answer:
        """With these headers set in place of any of that name; None takes a header away."""
        names = {name.lower() for name in changes}
        kept = tuple(each for each in self.headers if each[0].lower() not in names)
        added = tuple((name, value) for name, value in changes.items() if value is not None)
        return replace(self, headers=kept + added)

    def head(self) -> bytes:
        """Status line and headers, framing included."""
        names = {name.lower() for name, _ in self.headers}
        framing: list[tuple[str, str]] = []
        if names.isdisjoint({"content-length", "transfer-encoding"}) and self.status not in _NO_BODY:
            if self.framing == "length":
                framing = [("Content-Length", str(self.body_bytes))]
            elif self.framing == "chunked":
                framing = [("Transfer-Encoding", "chunked")]
        if self.framing == "eof" and "connection" not in names:
            framing.append(("Connection", "close"))
        lines = [f"HTTP/1.1 {self.status:03d} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *framing)]
        return b"".join(line.encode("latin-1") + self.newline for line in [*lines, ""])

    def pieces(self, piece_bytes: int, marks: Sequence[int]) -> Iterator[bytes | memoryview]:
        """The body in pieces of at most `piece_bytes`, none of which crosses one of the ascending `marks`."""
        sent = 0
        for part in self.body:
            at = part.start
            while at < part.end:
                mark = next((mark for mark in marks if mark > sent), None)
                step = min(piece_bytes, part.end - at, piece_bytes if mark is None else mark - sent)
                yield part.content.read(at, at + step)
                at += step
                sent += step


@dataclass(frozen=True, slots=True)
class Conditions:
    """The request headers that decide an answer, None where absent."""

    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Conditions:
        """From a request's headers, names in lower case."""
        return cls(**{name: headers.get(name.replace("_", "-")) for name in cls.__dataclass_fields__})


_UNCONDITIONAL = Conditions()


def http_date(moment: datetime) -> str:
    """RFC 9110 section 5.6.7, IMF-fixdate; fractions of a second are dropped."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def not_found() -> Answer:
    """404: no such object."""
    return Answer(404, (("Content-Type", "text/plain"),), (Part.of(b"no such object\n"),), reason="Not Found")


def whole(stored: Stored) -> Answer:
    """200 with all bytes."""
    headers = (("Accept-Ranges", "bytes"), *stored.validators(), *stored.headers)
    return Answer(200, headers, (Part(stored.content, 0, stored.content.size),), stored, reason="OK")


def partial(stored: Stored, start: int, end: int) -> Answer:
    """206 with bytes `[start, end)`."""
    span = ("Content-Range", f"bytes {start}-{end - 1}/{stored.content.size}")
    full = whole(stored)
    return replace(
        full,
        status=206,
        reason="Partial Content",
        headers=(*full.headers, span),
        body=(Part(stored.content, start, end),),
        range=(start, end),
    )


def decide(stored: Stored | None, asked: Conditions = _UNCONDITIONAL) -> Answer:
    """The right answer to a GET, preconditions before Range (RFC 9110 section 13.2.2). Several ranges get all bytes."""
    if stored is None:
        return not_found()
    if (failed := _precondition(stored, asked)) is not None:
        return failed
    match = _RANGE.fullmatch(asked.range or "")
    if match is None or match[0].endswith("=-") or not _if_range_holds(stored, asked.if_range):
        return whole(stored)
    size = stored.content.size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < int(first):
        return whole(stored)  # RFC 9110 section 14.2: an invalid range may be ignored
    if start >= end:
        headers = (("Accept-Ranges", "bytes"), ("Content-Range", f"bytes */{size}"), ("Content-Type", "text/plain"))
        text = Part.of(b"no such range\n")
        return Answer(416, headers, (text,), stored, reason="Range Not Satisfiable")
    return partial(stored, start, end)


def not_modified(stored: Stored) -> Answer:
    """304."""
    return Answer(304, (*stored.validators(), *stored.headers), (), stored, reason="Not Modified")


def _precondition(stored: Stored, asked: Conditions) -> Answer | None:
    failed = Answer(412, stored.validators(), (), stored, reason="Precondition Failed")
    if asked.if_match is not None:
        if not _matches(asked.if_match, stored.e_tag, weakly=False):
            return failed
    elif _modified_after(stored, asked.if_unmodified_since) is True:
        return failed
    if asked.if_none_match is not None:
        if _matches(asked.if_none_match, stored.e_tag, weakly=True):
            return not_modified(stored)
    elif _modified_after(stored, asked.if_modified_since) is False:
        return not_modified(stored)
    return None


def _matches(listed: str, e_tag: str | None, *, weakly: bool) -> bool:
    if listed.strip() == "*":
        return True
    if e_tag is None or (e_tag.startswith("W/") and not weakly):
        return False
    opaque = e_tag.removeprefix("W/")
    return any(tag == opaque and (weakly or not weak) for weak, tag in _TAGS.findall(listed))


def _if_range_holds(stored: Stored, if_range: str | None) -> bool:
    if if_range is None:
        return True
    if if_range.endswith('"'):
        return _matches(if_range, stored.e_tag, weakly=False)
    return stored.last_modified is not None and if_range == http_date(stored.last_modified)


def _modified_after(stored: Stored, date: str | None) -> bool | None:
    """None where the header is to be ignored: absent, no date, or an object without a modification date."""
    if date is None or stored.last_modified is None:
        return None
    try:
        since = parsedate_to_datetime(date).replace(tzinfo=UTC)
    except ValueError:
        return None
    return stored.last_modified.replace(microsecond=0) > since
