"""What a bad origin does, as values: each fault makes another `Answer` of the right one.

Several faults at once are applied in order: `origin.fail(path, IgnoreRange(), OtherETag())` answers 200 with all bytes
under another tag, `origin.fail(path, Chunked(), Cut(5))` a chunked body that ends in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from rangecache.testing.answers import Answer, Pace, Part, Stop, not_modified, partial, whole

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(Protocol):
    """One way to answer wrongly."""

    def apply(self, answer: Answer) -> Answer:
        """The answer that is given in place of `answer`, the right one; the same where the fault cannot apply."""
        ...


# --- another status -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """An answer of that status and nothing of the object: 403, 429 with Retry-After, 500, 503 …"""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"the origin says no\n"

    def apply(self, answer: Answer) -> Answer:
        date = tuple(each for each in answer.headers if each[0] == "Date")
        return Answer(self.code, (*date, *self.headers.items()), (Part.of(self.body),) if self.body else ())


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
        return Answer(self.code, (("Location", self.location),))


@dataclass(frozen=True, slots=True)
class UnconditionalNotModified:
    """304 although nobody asked whether anything had changed."""

    def apply(self, answer: Answer) -> Answer:
        return answer if answer.stored is None else not_modified(answer.stored)


# --- another range ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """200 with all bytes where a range was asked for."""

    def apply(self, answer: Answer) -> Answer:
        return whole(answer.stored) if answer.status in {206, 416} and answer.stored else answer


@dataclass(frozen=True, slots=True)
class OtherRange:
    """An honest 206, but of bytes `[start, end)`; clamped to the object."""

    start: int
    end: int

    def apply(self, answer: Answer) -> Answer:
        if answer.range is None or answer.stored is None:
            return answer
        return partial(answer.stored, self.start, min(self.end, answer.stored.content.size))


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


# --- other framing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoContentLength:
    """A body that ends when the connection does. With `Cut` nobody can tell that it was cut."""

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, framing="eof")


@dataclass(frozen=True, slots=True)
class Chunked:
    """A chunked body, without Content-Length."""

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, framing="chunked")


@dataclass(frozen=True, slots=True)
class ExtraBytes:
    """Bytes after the announced end of the body."""

    data: bytes = b"and more"

    def apply(self, answer: Answer) -> Answer:
        announced = answer.with_headers({"Content-Length": str(answer.body_bytes)})
        return replace(announced, body=(*answer.body, Part.of(self.data)))


@dataclass(frozen=True, slots=True)
class LengthAndChunked:
    """Content-Length and Transfer-Encoding in one answer (RFC 9112 section 6.1: perhaps an attack); body unchunked."""

    def apply(self, answer: Answer) -> Answer:
        return answer.with_headers({"Content-Length": str(answer.body_bytes), "Transfer-Encoding": "chunked"})


@dataclass(frozen=True, slots=True)
class TwoLengths:
    """Two Content-Length fields that differ by `more`."""

    more: int = 1

    def apply(self, answer: Answer) -> Answer:
        size = answer.body_bytes
        both = (("Content-Length", str(size)), ("Content-Length", str(size + self.more)))
        return replace(answer.with_headers({"Content-Length": None}), headers=(*answer.headers, *both))


@dataclass(frozen=True, slots=True)
class ManyContinues:
    """That many `100 Continue` ahead of the answer."""

    count: int = 5000

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, before=b"HTTP/1.1 100 Continue\r\n\r\n" * self.count)


@dataclass(frozen=True, slots=True)
class BareLineFeeds:
    """A head whose lines end in LF alone."""

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, newline=b"\n")


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """These bytes and nothing else; then the connection is closed."""

    data: bytes

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, raw=self.data)


# --- an early or a late end ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is closed in order after that many bytes of the body; the head announced all of them."""

    after_bytes: int

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, stop=Stop(self.after_bytes, "fin"))


@dataclass(frozen=True, slots=True)
class CloseWithoutAnswer:
    """The connection is closed before the status line, as an idle one that has timed out."""

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, stop=Stop(None, "fin"))


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST) after that many bytes of the body; None: before the status line."""

    after_bytes: int | None = None

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, stop=Stop(self.after_bytes, "rst"))


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing more comes after that many bytes of the body (None: not even the status line) until the client goes.

    To hold an answer and let it go on later, use `Origin.hold`.
    """

    after_bytes: int | None = None

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, stop=Stop(self.after_bytes, "stall"))


@dataclass(frozen=True, slots=True)
class Drip:
    """The body in drops: `piece_bytes` every `every_s` seconds of the origin's clock."""

    piece_bytes: int = 1
    every_s: float = 0.3

    def apply(self, answer: Answer) -> Answer:
        return replace(answer, pace=Pace(self.piece_bytes, self.every_s))
