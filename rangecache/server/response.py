"""Printing the heads of answers. Field names are in canonical case, which some clients compare (GDAL, for one).

All that is the same in every answer about one version of an object is printed once, as a template; a warm answer costs
one `%` over seven numbers and texts.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rangecache.httpdate import format_http_date
from rangecache.read.messages import HIT_DISK, HIT_MEMORY
from rangecache.server.autoindex import POLICY
from rangecache.server.fields import content_type, object_fields, other_fields, policy
from rangecache.server.multipart import Framer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta
    from rangecache.read.messages import CacheStatus, Reply
    from rangecache.server.directories import DirectoryReply
    from rangecache.server.problems import Problem

CACHED_TEMPLATES_MAX: Final = 4096  # versions; a template is about half a KiB

KEEP: Final = b""
CLOSE: Final = b"Connection: close\r\n"
KEEP_OLD: Final = b"Connection: keep-alive\r\n"  # an HTTP/1.0 client that asked for it has to be told

_REASONS: Final = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


def cache_status(status: CacheStatus) -> str:
    """A `Cache-Status` value (RFC 9211), such as `rangecache; fwd=uri-miss; fwd-status=206; stored`."""
    parts = ["rangecache"]
    if status.hit:
        parts.append("hit")
    if status.fwd is not None:
        parts.append(f"fwd={status.fwd}")
    if status.fwd_status is not None:
        parts.append(f"fwd-status={status.fwd_status}")
    if status.ttl_s is not None:
        parts.append(f"ttl={status.ttl_s}")
    if status.stored:
        parts.append("stored")
    if status.collapsed:
        parts.append("collapsed")
    if status.detail is not None:
        parts.append(f"detail={status.detail}")
    return "; ".join(parts)


class _Template:
    """What is printed once for a version of an object."""

    __slots__ = ("content_type", "meta", "not_modified", "partial", "whole")

    def __init__(self, meta: ObjectMeta, whole: str, partial: str, not_modified: str, content_type: str) -> None:
        self.meta = meta  # kept, so that its id is not given to another one
        self.whole, self.partial = whole.encode("latin-1"), partial.encode("latin-1")
        self.not_modified = not_modified.encode("latin-1")
        self.content_type = content_type


class HeadPrinter:
    """Prints heads.

    `passes_all` says of which versions every end-to-end field of the origin is passed on (`response_headers: all`).
    """

    def __init__(self, clock: Clock, passes_all: Callable[[ObjectMeta], bool] = lambda _: False) -> None:
        self._clock = clock
        self._passes_all = passes_all
        self._templates: dict[int, _Template] = {}
        # The number of the answer, after four digits that tell one run of the program from the next.
        self._request_number = 0
        self._run = secrets.token_hex(2).encode()
        self._date = b""
        self._hit_memory, self._hit_disk = _status_text(HIT_MEMORY), _status_text(HIT_DISK)
        self.tick()

    def tick(self) -> None:
        """Read the clock for the Date field. To be called once a second."""
        self._date = format_http_date(datetime.fromtimestamp(int(self._clock.wall()), UTC)).encode()

    def framer(self, reply: Reply) -> Framer:
        """The counter and framing of the reply's body."""
        if len(reply.ranges) > 1:
            return Framer.multipart(reply.ranges, reply.meta.size, self._template(reply.meta).content_type)
        return Framer(reply.ranges[0].length if reply.ranges else 0)

    def partial(self, reply: Reply, connection: bytes = KEEP) -> bytes:
        """The head of a 206 with one range."""
        wanted = reply.ranges[0]
        return self.part(reply.meta, wanted.start, wanted.end, reply.age_s, reply.cache, connection)

    def part(
        self, meta: ObjectMeta, start: int, end: int, age_s: int, cache: CacheStatus, connection: bytes = KEEP
    ) -> bytes:
        """The head of a 206 with the bytes [start, end)."""
        template = self._templates.get(id(meta)) or self._template(meta)
        number = self._request_number = self._request_number + 1
        said = self._said(cache)
        return template.partial % (end - start, start, end - 1, age_s, self._date, said, number, connection)

    def whole(self, reply: Reply, connection: bytes = KEEP) -> bytes:
        """The head of a 200, to GET or HEAD."""
        template = self._template(reply.meta)
        number = self._request_number = self._request_number + 1
        return template.whole % (reply.meta.size, reply.age_s, self._date, self._said(reply.cache), number, connection)

    def multipart(self, reply: Reply, framer: Framer, connection: bytes = KEEP) -> bytes:
        """The head of a 206 with several ranges."""
        fields = [
            ("Content-Type", f"multipart/byteranges; boundary={framer.boundary}"),
            ("Content-Length", str(framer.content_length)),
            ("Accept-Ranges", "bytes"),
            *self._about(reply.meta),
        ]
        return self._head(206, fields, reply.age_s, cache_status(reply.cache), connection)

    def not_modified(self, reply: Reply, connection: bytes = KEEP) -> bytes:
        """The head of a 304: of the fields of a 200 those that a cache needs (RFC 9110 section 15.4.5)."""
        template = self._template(reply.meta)
        number = self._request_number = self._request_number + 1
        return template.not_modified % (reply.age_s, self._date, self._said(reply.cache), number, connection)

    def problem(
        self,
        problem: Problem,
        length: int,
        connection: bytes = KEEP,
        *,
        size: int | None = None,
        retry_after_s: int | None = None,
        reply: Reply | None = None,
    ) -> bytes:
        """The head of an error answer with a document of `length` bytes; `size` is the object's, for a 416."""
        fields = [("Content-Type", "application/problem+json"), ("Content-Length", str(length))]
        if problem.status == 416 and size is not None:
            fields.append(("Content-Range", f"bytes */{size}"))
        if problem.status == 405:
            fields.append(("Allow", "GET, HEAD"))
        if retry_after_s is not None:
            fields.append(("Retry-After", str(retry_after_s)))
        said = f"rangecache; detail={problem.name}"
        if reply is not None:
            said = cache_status(reply.cache)
            if reply.meta.e_tag is not None:
                fields.append(("ETag", str(reply.meta.e_tag)))
        return self._head(problem.status, fields, None, said, connection)

    def directory(self, reply: DirectoryReply, connection: bytes = KEEP) -> bytes:
        """The head of an answer about a directory."""
        fields = [] if reply.content_type is None else [("Content-Type", reply.content_type)]
        fields += [("Content-Length", str(len(reply.body))), ("Content-Security-Policy", POLICY)]
        return self._head(reply.status, fields, reply.age_s, cache_status(reply.cache), connection)

    def _template(self, meta: ObjectMeta) -> _Template:
        template = self._templates.get(id(meta))
        if template is None:
            if len(self._templates) >= CACHED_TEMPLATES_MAX:
                del self._templates[next(iter(self._templates))]
            template = self._templates[id(meta)] = self._print(meta)
        return template

    def _about(self, meta: ObjectMeta) -> list[tuple[str, str]]:
        fields = list(object_fields(meta))
        if self._passes_all(meta):
            fields += other_fields(meta)
        fields += policy(meta)
        return fields

    def _print(self, meta: ObjectMeta) -> _Template:
        kind = content_type(meta)
        about = "".join(f"{name}: {value}\r\n" for name, value in self._about(meta)).replace("%", "%%")
        top = f"Content-Type: {kind}\r\n".replace("%", "%%") + "Content-Length: %d\r\n"
        bottom = "Accept-Ranges: bytes\r\n" + about + "Age: %d\r\n" + self._end_template()
        partial = f"HTTP/1.1 206 Partial Content\r\n{top}Content-Range: bytes %d-%d/{meta.size}\r\n{bottom}"
        whole = f"HTTP/1.1 200 OK\r\n{top}{bottom}"
        needed = [each for each in object_fields(meta) if each[0] != "Content-Encoding"]
        about = "".join(f"{name}: {value}\r\n" for name, value in needed).replace("%", "%%")
        not_modified = f"HTTP/1.1 304 Not Modified\r\n{about}Age: %d\r\n{self._end_template()}"
        return _Template(meta, whole, partial, not_modified, kind)

    def _said(self, cache: CacheStatus) -> bytes:
        if cache is HIT_MEMORY:
            return self._hit_memory
        return self._hit_disk if cache is HIT_DISK else _status_text(cache)

    def _end_template(self) -> str:
        run = self._run.decode()
        return (
            f"Date: %b\r\nCache-Status: %b\r\nX-Request-Id: {run}-%x\r\n"
            "X-Content-Type-Options: nosniff\r\nServer: rangecache\r\n%b\r\n"
        )

    def _head(
        self, status: int, fields: list[tuple[str, str]], age_s: int | None, said: str, connection: bytes
    ) -> bytes:
        if age_s is not None:
            fields.append(("Age", str(age_s)))
        self._request_number += 1
        top = "".join(f"{name}: {value}\r\n" for name, value in fields)
        start = f"HTTP/1.1 {status} {_REASONS[status]}\r\n{top}".encode("latin-1")
        end = self._end_template().encode() % (self._date, said.encode(), self._request_number, connection)
        return start + end


def _status_text(status: CacheStatus) -> bytes:
    return cache_status(status).encode("latin-1")
