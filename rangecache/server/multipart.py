"""The body of an answer as it goes over the wire: counted, and framed where there are several ranges."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rangecache.ranges import ByteRange

_BOUNDARY_BYTES: Final = 16  # random, so that no object holds the boundary by accident or by design


class BodyMismatch(Exception):
    """A body is not as long as was announced. The answer has to be aborted."""


class Framer:
    """Counts the pieces of a body against what the head has announced, and puts the framing of multipart/byteranges
    (RFC 9110 section 14.6) between the ranges."""

    def __init__(self, length: int) -> None:
        """For a body of `length` bytes without framing."""
        self._lengths: Sequence[int] = (length,)
        self._prefixes: Sequence[bytes] = ()
        self._closing = b""
        self._part = 0
        self._left = length
        self._started = False
        self.content_length = length
        """Bytes on the wire, framing included."""
        self.boundary = ""
        """Separates the parts; empty for a body without framing."""

    @classmethod
    def multipart(cls, ranges: Sequence[ByteRange], size: int, content_type: str) -> Framer:
        """For the given parts, in this order, of an object of `size` bytes."""
        framer = cls(0)
        boundary = framer.boundary = secrets.token_hex(_BOUNDARY_BYTES)
        start = f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: "
        framer._prefixes = [f"{start}{each.content_range(size)}\r\n\r\n".encode("latin-1") for each in ranges]
        framer._closing = f"\r\n--{boundary}--\r\n".encode()
        framer._lengths = [each.length for each in ranges]
        framer._left = framer._lengths[0]
        framer.content_length = sum(framer._lengths) + sum(map(len, framer._prefixes)) + len(framer._closing)
        return framer

    def frame(self, piece: memoryview) -> list[bytes | memoryview]:
        """What to write for the next piece. Raises `BodyMismatch` if it is more than belongs to its range."""
        length = len(piece)
        if not length:
            return []
        if not self._left and self._part + 1 < len(self._lengths):
            self._part += 1
            self._left = self._lengths[self._part]
            self._started = False
        if length > self._left:
            raise BodyMismatch(f"{length} bytes arrived where {self._left} are left of the range")
        self._left -= length
        if self._started or not self._prefixes:
            return [piece]
        self._started = True
        return [self._prefixes[self._part], piece]

    def parts(self, body: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
        """What to write for a whole body. Raises `BodyMismatch` if its length is wrong."""
        for piece in body:
            yield from self.frame(piece)
        yield self.end()

    def end(self) -> bytes:
        """What to write after the last piece. Raises `BodyMismatch` if bytes are missing."""
        if self._left or self._part + 1 < len(self._lengths):
            raise BodyMismatch(f"the body ended {self._left} bytes early in range {self._part}")
        return self._closing
