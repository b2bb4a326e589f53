"""The head of a request: whether it is HTTP/1.1 to the letter, and the fields that we read.

A request has no body here, so a head ends at the first empty line and what follows is the next head. That cut is made
(`head_buffer`) before the parser (llhttp through httptools) sees anything, and both have to agree on it: a head after
which the parser does not report exactly one complete message is refused. What llhttp lets pass and we do not: HTTP/0.9
and 2.0, RTSP, several spaces between the words of the request line, a repeated Host, a missing Host, Transfer-Encoding
in HTTP/1.0, and heads without limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from rangecache.read.messages import ReadRequest
from rangecache.server import problems
from rangecache.server.problems import ProtocolError

if TYPE_CHECKING:
    from rangecache.model import ObjectRef

TARGET_BYTES_MAX: Final = 4096
LINE_BYTES_MAX: Final = 8190
HEAD_BYTES_MAX: Final = 32768
FIELDS_MAX: Final = 128
REMEMBERED_BYTES_MAX: Final = 2048
_SMALL_BYTES: Final = 4 * FIELDS_MAX  # a field takes four bytes at least: a smaller head breaks none of the limits

_RANGE_FIELD = re.compile(rb"\r\nrange:[ \t]*bytes=([0-9]{1,19}-[0-9]{1,19})[ \t]*\r\n", re.IGNORECASE)
_NUMBERS = re.compile(rb"[0-9]{1,19}-[0-9]{1,19}")
_DIGITS_MAX: Final = 18  # a number of so many digits is less than 2**63, and so is the next one
_ACCEPT = re.compile(rb"\r\naccept:([^\r\n]*)", re.IGNORECASE)
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")
_VERSION = re.compile(rb"HTTP/[0-9](\.[0-9])?")

# The fields that ReadRequest carries come first and in its order.
_RANGE, _CACHE_CONTROL, _REQUEST_FIELDS = 0, 6, 7
_HOST, _CONNECTION, _EXPECT, _TRANSFER_ENCODING, _PRAGMA, _SLOTS = 7, 8, 9, 10, 11, 12
_SLOT_OF: Final = {
    b"range": _RANGE,
    b"if-match": 1,
    b"if-none-match": 2,
    b"if-modified-since": 3,
    b"if-unmodified-since": 4,
    b"if-range": 5,
    b"cache-control": _CACHE_CONTROL,
    b"host": _HOST,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"pragma": _PRAGMA,
}
_LISTS: Final = frozenset({_CACHE_CONTROL, _CONNECTION, _EXPECT, _PRAGMA})  # may be repeated: one comma list


def check_line(words: list[bytes]) -> None:
    """Refuse a request line, split at its spaces, that is not `method SP target SP HTTP/1.x` within our limits."""
    if sum(map(len, words)) > LINE_BYTES_MAX:
        raise ProtocolError(problems.TARGET_TOO_LONG, "The request line is too long.")
    if len(words) == 3 and _METHOD.fullmatch(words[0]) and words[2] in {b"HTTP/1.1", b"HTTP/1.0"}:
        if len(words[1]) > TARGET_BYTES_MAX:
            raise ProtocolError(problems.TARGET_TOO_LONG, f"The path is longer than {TARGET_BYTES_MAX} bytes.")
        return
    if len(words) == 3 and _VERSION.fullmatch(words[2]) and words[0] != b"PRI":
        raise ProtocolError(problems.VERSION_NOT_SUPPORTED, "Use HTTP/1.1.")
    raise ProtocolError(problems.MALFORMED, "The request line is malformed; expected: GET /path HTTP/1.1.")


def _check_limits(head: bytes) -> None:
    """Refuse a head that is whole but too large."""
    if len(head) > HEAD_BYTES_MAX or head.count(b"\r\n") > FIELDS_MAX + 2:
        raise ProtocolError(problems.HEAD_TOO_LARGE, f"A head has at most {FIELDS_MAX} fields and 32 KiB.")
    if len(head) > LINE_BYTES_MAX and max(map(len, head.split(b"\r\n"))) > LINE_BYTES_MAX:
        raise ProtocolError(problems.HEAD_TOO_LARGE, f"A header line has at most {LINE_BYTES_MAX} bytes.")


class HeadParser:
    """Reads heads of one connection, one after the other. What it says is about the head it read last.

    Also the object that httptools calls back. A client that reads an object range by range sends the same head again
    and again but for two numbers. So the bytes before and after these are remembered: if they are the same and digits
    stand between them, all that was found out about the head before holds for this one too.
    """

    __slots__ = (
        "_after",
        "_before",
        "_complete",
        "_last",
        "_parser",
        "_plain",
        "_repeated",
        "_special",
        "_values",
        "head_only",
        "host",
        "keep_alive",
        "method",
        "old",
        "target",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._values: list[bytes | None] = [None] * _SLOTS
        self._last = b""  # head, if it was valid
        self._before = self._after = b""  # around the numbers in its Range; empty if it had none
        self._plain = False  # the last head had such a Range, and nothing else that `again` would have to tell
        self._repeated = False
        self._complete = 0  # messages that the parser has reported as complete since the head began
        self._special = False  # a field that is neither Host nor Range, or one of these twice
        self.method = b""
        self.head_only = False
        """The method is HEAD."""
        self.target = b""
        """The request target as it stands in the request line."""
        self.host: bytes | None = None
        self.old = False
        """The client speaks HTTP/1.0."""
        self.keep_alive = False
        """The client wants to go on with this connection."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; called by httptools, which has checked its grammar."""
        slot = _SLOT_OF.get(name.lower())
        if slot is None:
            return
        values = self._values
        value = value.rstrip(b" \t")  # the parser cuts white space before a value, not after it
        before = values[slot]
        if before is None:
            values[slot] = value
            if slot != _HOST and slot != _RANGE:
                self._special = True
        elif slot in _LISTS:
            values[slot] = before + b", " + value
        else:
            self._repeated = self._special = True

    def on_message_complete(self) -> None:
        """The end of a message; called by httptools."""
        self._complete += 1

    def again(self, data: bytes) -> tuple[int, int] | None:
        """First and last byte of the range that `data` asks for, if it is the head that was read last but for those
        numbers, and a GET in which nothing else is to be heeded. None says nothing about `data`."""
        before, after = self._before, self._after
        if not self._plain or not data.startswith(before) or not data.endswith(after):
            return None
        first, _, last = data[len(before) : -len(after)].partition(b"-")
        if first.isdigit() and last.isdigit() and len(first) <= _DIGITS_MAX and len(last) <= _DIGITS_MAX:
            return int(first), int(last)
        return None

    def forget(self) -> None:
        """Forget the head that was read last."""
        self.method, self.target, self.host = b"", b"", None
        self.head_only = self.keep_alive = self.old = False
        self._before, self._last, self._plain = b"", b"", False

    def read(self, head: bytes) -> None:
        """Read a whole head. Raises `ProtocolError`; the message is constant and holds nothing of the request."""
        if head == self._last or self._repeats(head):
            return
        self._before, self._last, self._plain = b"", b"", False
        words = head[: head.find(b"\r\n")].split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or len(head) > _SMALL_BYTES:
            self.forget()
            check_line(words)
            _check_limits(head)
        self.method, self.target, version = words
        self.head_only = self.method == b"HEAD"
        self.old = version != b"HTTP/1.1"
        self.keep_alive = False
        values = self._values = [None] * _SLOTS
        self._repeated = self._special = False
        self._complete = 0
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # no upgrade is known here, and RFC 9110 section 7.8 lets a server ignore the wish
        except httptools.HttpParserInvalidMethodError:
            self._complete = 0  # the parser does not know this method; what that means is said below
        except httptools.HttpParserError:
            # The parser's own text is not passed on: it may quote the request.
            raise ProtocolError(problems.MALFORMED, "The request is not valid HTTP/1.1.") from None
        if self._special:
            self._check_fields()
        else:
            self.keep_alive = not self.old
        if self.method != b"GET" and not self.head_only:
            if not _METHOD.fullmatch(self.method):
                raise ProtocolError(problems.MALFORMED, "The method is malformed.")
            raise ProtocolError(problems.METHOD_NOT_ALLOWED, "Use GET or HEAD.")
        if self._complete != 1:
            raise ProtocolError(problems.MALFORMED, "Requests with a body are not accepted.")
        self.host = values[_HOST]
        if self.host is None and not self.old:
            raise ProtocolError(problems.MALFORMED, "A request needs exactly one Host field.")
        if self.keep_alive and len(head) <= REMEMBERED_BYTES_MAX:
            self._last = head
            if (wanted := values[_RANGE]) is not None:
                self._remember(head, wanted)

    def _repeats(self, head: bytes) -> bool:
        """Whether it is the last head but for the numbers of its Range; then these have been read."""
        if self._before and head.startswith(self._before) and head.endswith(self._after):
            numbers = head[len(self._before) : -len(self._after)]
            if _NUMBERS.fullmatch(numbers):
                self._values[_RANGE] = b"bytes=" + numbers
                self._last = head
                return True
        return False

    def _remember(self, head: bytes, wanted: bytes) -> None:
        """Keep what stands around the numbers of a valid head. Its Range field is the only one: two are refused."""
        found = _RANGE_FIELD.search(head)
        if found is not None and wanted[-len(found[1]) :] == found[1]:
            self._before, self._after = head[: found.start(1)], head[found.end(1) :]
            others = self._values[_RANGE + 1 : _HOST] + self._values[_CONNECTION + 1 :]
            self._plain = not self.head_only and not self.old and others.count(None) == len(others)

    def _check_fields(self) -> None:
        values = self._values
        if values[_TRANSFER_ENCODING] is not None:
            raise ProtocolError(problems.MALFORMED, "Requests with a body are not accepted.")
        if self._repeated:
            raise ProtocolError(problems.MALFORMED, "Host, Range and the conditional fields may be given once only.")
        connection = values[_CONNECTION]
        self.keep_alive = not self.old
        if connection is not None:
            options = {option.strip(b" \t") for option in connection.lower().split(b",")}
            self.keep_alive = b"close" not in options and (not self.old or b"keep-alive" in options)
        expect = values[_EXPECT]
        if expect is not None and expect.lower() != b"100-continue":
            raise ProtocolError(problems.EXPECTATION_FAILED, "Send the request without Expect.")

    def accept(self, head: bytes) -> str | None:
        """What kinds of answer the client takes, where it says so in this head, which is the one read last. It is not
        read with the others: it says nothing about objects, and nearly all clients send it."""
        found = _ACCEPT.findall(head)
        return ",".join(each.decode("latin-1") for each in found) if found else None

    def request(self, ref: ObjectRef) -> ReadRequest:
        """The read that this head asks for."""
        values = self._values
        wanted = values[_RANGE]
        text = None if wanted is None else wanted.decode("latin-1")
        pragma = values[_PRAGMA]
        if pragma is not None and values[_CACHE_CONTROL] is None and b"no-cache" in pragma.lower():
            values[_CACHE_CONTROL] = b"no-cache"
        elif not self._special:
            return ReadRequest(ref, self.head_only, text)
        rest = (None if value is None else value.decode("latin-1") for value in values[1:_REQUEST_FIELDS])
        return ReadRequest(ref, self.head_only, text, *rest)
