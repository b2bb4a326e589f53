"""What a client has sent and nobody has answered yet, cut into heads."""

from __future__ import annotations

from typing import Final

from rangecache.server import problems
from rangecache.server.head import HEAD_BYTES_MAX, LINE_BYTES_MAX, check_line
from rangecache.server.problems import ProtocolError

EMPTY_LINES_MAX: Final = 4  # before a request line; RFC 9112 section 2.2 asks to skip at least one
_END: Final = b"\r\n\r\n"


class HeadBuffer:
    """Bytes from a client that have not been answered yet, cut into heads."""

    __slots__ = ("_at", "_data", "empty_lines")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self.empty_lines = 0
        """That came since the last head."""

    def __len__(self) -> int:
        """Bytes that have not been taken."""
        return len(self._data) - self._at

    @property
    def held_bytes(self) -> int:
        """What is kept in memory: with what has not been taken, what came before it in one piece."""
        return len(self._data)

    def completes(self, data: bytes) -> bool:
        """Whether nothing is here and `data` is exactly one head: the usual case, which needs no buffer."""
        if self._data or self.empty_lines or not data.endswith(_END):
            return False
        return data.find(_END) == len(data) - 4 and not data.startswith(b"\r\n")

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._data, self._at = self._data[self._at :] + data, 0

    def take(self) -> bytes | None:
        """The next whole head with its empty line; None if more has to arrive.

        Raises `ProtocolError` as soon as it is certain that no valid head can come of it.
        """
        data, at = self._data, self._at
        if data.startswith(b"\r\n", at):
            at = self._skip_empty_lines()
        end = data.find(_END, at)
        if end < 0:
            if at < len(data):
                _check_part(data[at:])
            else:
                self.clear()
            return None
        self._at = end + 4
        self.empty_lines = 0
        if self._at == len(data):
            self.clear()
        return data[at : end + 4]

    def clear(self) -> None:
        """Forget everything."""
        self._data, self._at = b"", 0

    def _skip_empty_lines(self) -> int:
        while self._data.startswith(b"\r\n", self._at):
            self._at += 2
            self.empty_lines += 1
            if self.empty_lines > EMPTY_LINES_MAX:
                raise ProtocolError(problems.MALFORMED, "There are empty lines before the request.")
        return self._at


def _check_part(part: bytes) -> None:
    """Refuse the beginning of a head that cannot become valid, without waiting for the rest: a TLS greeting, for
    example, has no line end to wait for."""
    line, line_end, _ = part.partition(b"\r\n")
    if line_end:
        check_line(line.split(b" "))
    elif len(line) > LINE_BYTES_MAX:
        raise ProtocolError(problems.TARGET_TOO_LONG, "The request line is too long.")
    elif not (65 <= part[0] <= 90 or part == b"\r"):
        raise ProtocolError(problems.MALFORMED, "The request does not begin with a method. Is it plain HTTP?")
    if part.count(b"\n") != part.count(b"\r\n"):
        raise ProtocolError(problems.MALFORMED, "Lines must end with CR LF.")
    if len(part) > HEAD_BYTES_MAX or len(part) - part.rfind(b"\r\n") > LINE_BYTES_MAX:
        raise ProtocolError(problems.HEAD_TOO_LARGE, "The request's header fields are too large.")
