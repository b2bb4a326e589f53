"""Faults of framing: how the end of a body is told, and ends that come too early or never."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rangecache.testing.answers import Pace, Part, Stop

if TYPE_CHECKING:
    from rangecache.testing.answers import Answer


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
