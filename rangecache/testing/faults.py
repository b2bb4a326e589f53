"""What a bad origin does, as values: each fault makes another `Answer` of the right one.

Several faults at once are applied in order: `origin.fail(path, IgnoreRange(), OtherETag())` answers 200 with all bytes
under another tag, `origin.fail(path, Chunked(), Cut(5))` a chunked body that ends in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from rangecache.testing.answers import Answer, Part, not_modified, partial, whole
from rangecache.testing.framing import (
    BareLineFeeds,
    Chunked,
    CloseWithoutAnswer,
    Cut,
    Drip,
    ExtraBytes,
    LengthAndChunked,
    ManyContinues,
    NoContentLength,
    RawAnswer,
    Reset,
    Stall,
    TwoLengths,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AddedHeaders",
    "BareLineFeeds",
    "Chunked",
    "CloseWithoutAnswer",
    "ContentEncoding",
    "ContentRange",
    "Cut",
    "Drip",
    "ExtraBytes",
    "Fault",
    "Headers",
    "HugeHeader",
    "IgnoreRange",
    "LengthAndChunked",
    "LongRange",
    "ManyContinues",
    "ManyHeaders",
    "Multipart",
    "NoContentLength",
    "NoETag",
    "NoValidators",
    "OtherETag",
    "OtherRange",
    "RawAnswer",
    "Redirect",
    "Relabel",
    "Reset",
    "ShortRange",
    "Stall",
    "Status",
    "TwoLengths",
    "UnconditionalNotModified",
    "WeakETag",
]


class Fault(Protocol):
    """One way to answer wrongly."""

    def apply(self, answer: Answer) -> Answer:
        """The answer that is given in place of `answer`, the right one; the same where the fault cannot apply."""
        ...


def _dated(answer: Answer, replaced: Answer) -> Answer:
    """With the Date of the answer whose place it takes."""
    return answer.with_headers({"Date": replaced.header("Date")})


# --- another status -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """An answer of that status and nothing of the object: 403, 429 with Retry-After, 500, 503 …"""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"the origin says no\n"

    def apply(self, answer: Answer) -> Answer:
        body = (Part.of(self.body),) if self.body else ()
        return _dated(Answer(self.code, tuple(self.headers.items()), body), answer)


@dataclass(frozen=True, slots=True)
class Relabel:
    """The same headers and body under another status, such as 204, 99 or 600."""

    code: int

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, status=self.code)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to `location`, an absolute or relative address."""

    location: str
    code: int = 302

    def apply(self, answer: Answer) -> Answer:
        return _dated(Answer(self.code, (("Location", self.location),)), answer)


@dataclass(frozen=True, slots=True)
class UnconditionalNotModified:
    """304 although nobody asked whether anything had changed."""

    def apply(self, answer: Answer) -> Answer:
        return answer if answer.stored is None else _dated(not_modified(answer.stored), answer)


# --- another range ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """200 with all bytes where a range was asked for."""

    def apply(self, answer: Answer) -> Answer:
        if answer.status not in {206, 416} or answer.stored is None:
            return answer
        return _dated(whole(answer.stored), answer)


@dataclass(frozen=True, slots=True)
class OtherRange:
    """An honest 206, but of bytes `[start, end)`; clamped to the object."""

    start: int
    end: int

    def apply(self, answer: Answer) -> Answer:
        if answer.range is None or answer.stored is None:
            return answer
        return _dated(partial(answer.stored, self.start, min(self.end, answer.stored.content.size)), answer)


@dataclass(frozen=True, slots=True)
class ShortRange:
    """An honest 206 of only the first `body_bytes` of what was asked (RFC 9110 section 15.3.7 allows it)."""

    body_bytes: int

    def apply(self, answer: Answer) -> Answer:
        if answer.range is None:
            return answer
        start, end = answer.range
        return OtherRange(start, min(end, start + self.body_bytes)).apply(answer)


@dataclass(frozen=True, slots=True)
class LongRange:
    """An honest 206 of the whole object where a part of it was asked for."""

    def apply(self, answer: Answer) -> Answer:
        return OtherRange(0, answer.stored.content.size).apply(answer) if answer.stored else answer


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Another Content-Range on a 206, or none; the body stays."""

    text: str | None

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"Content-Range": self.text}) if answer.status == 206 else answer


@dataclass(frozen=True, slots=True)
class Multipart:
    """One range as multipart/byteranges, which RFC 9110 section 15.3.7.2 forbids."""

    boundary: str = "PART"

    def apply(self, answer: Answer) -> Answer:
        if answer.range is None or answer.stored is None:
            return answer
        start, end = answer.range
        size = answer.stored.content.size
        head = f"--{self.boundary}\r\nContent-Range: bytes {start}-{end - 1}/{size}\r\n\r\n"
        body = (Part.of(head.encode()), *answer.body, Part.of(f"\r\n--{self.boundary}--\r\n".encode()))
        kind = f"multipart/byteranges; boundary={self.boundary}"
        return replace(answer.with_headers({"Content-Type": kind, "Content-Range": None}), body=body)


# --- other headers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Headers:
    """These headers in place of those of the same name; None takes one away. Values are sent unchecked."""

    changes: Mapping[str, str | None]

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers(self.changes)


@dataclass(frozen=True, slots=True)
class AddedHeaders:
    """These headers in addition, also where there is one of that name: two Content-Length, a thousand fields."""

    added: tuple[tuple[str, str], ...]

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, headers=(*answer.headers, *self.added))


@dataclass(frozen=True, slots=True)
class OtherETag:
    """Another tag on the same bytes. Written as it stands, so it may be unquoted, very long or hold odd bytes."""

    e_tag: str = '"another"'

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"ETag": self.e_tag}) if answer.stored else answer


@dataclass(frozen=True, slots=True)
class WeakETag:
    """The object's own tag, but weak."""

    def apply(self, answer: Answer) -> Answer:
        tag = answer.stored.e_tag if answer.stored else None
        return answer if tag is None or tag.startswith("W/") else answer.with_headers({"ETag": f"W/{tag}"})


@dataclass(frozen=True, slots=True)
class NoETag:
    """No entity tag; Last-Modified stays."""

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"ETag": None})


@dataclass(frozen=True, slots=True)
class NoValidators:
    """Neither entity tag nor Last-Modified."""

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"ETag": None, "Last-Modified": None})


@dataclass(frozen=True, slots=True)
class ContentEncoding:
    """Claims a content coding; the body stays what it is."""

    coding: str = "gzip"

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"Content-Encoding": self.coding})


@dataclass(frozen=True, slots=True)
class HugeHeader:
    """One header field with a value of that many bytes."""

    value_bytes: int = 100_000

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"X-Huge": "x" * self.value_bytes})


@dataclass(frozen=True, slots=True)
class ManyHeaders:
    """That many header fields more."""

    count: int = 1000

    def apply(self, answer: Answer) -> Answer:
        return AddedHeaders(tuple((f"X-Many-{i}", "x") for i in range(self.count))).apply(answer)
