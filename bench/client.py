"""One patient HTTP client: a keep-alive connection, one request after the other, answers looked at closely."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

_TIMEOUT_S: Final = 120.0


class WrongAnswer(Exception):
    """An answer is not what HTTP and the object say."""


@dataclass(frozen=True, slots=True)
class Timed:
    """How long an answer took."""

    first_byte_s: float
    """Until its head and the first byte of its body were here."""
    seconds: float
    """Until all of it was."""


class Client:
    """A context manager."""

    def __init__(self, url: str) -> None:
        """`url` stands for the bucket; with a final slash."""
        target = urlsplit(url)
        self._path = target.path
        self._connection = http.client.HTTPConnection(target.netloc, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, name: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)` of an object. Raises `WrongAnswer`."""
        buffer = bytearray(end - start)
        self.read_into(buffer, name, start)
        return bytes(buffer)

    def read_into(self, buffer: bytearray, name: str, start: int | None = None) -> Timed:
        """Fill `buffer` with an object's bytes from `start` on; None: with all of it, asked for without a range. Raises
        `WrongAnswer` also where there are more or fewer."""
        last = None if start is None else start + len(buffer) - 1
        view, filled = memoryview(buffer), 0
        began_s = time.perf_counter()
        self._connection.request(
            "GET", self._path + name, headers={} if last is None else {"Range": f"bytes={start}-{last}"}
        )
        answer = self._connection.getresponse()
        said = answer.headers["Content-Range"] or ""
        if answer.status != (200 if start is None else 206) or (last and not said.startswith(f"bytes {start}-{last}/")):
            raise WrongAnswer(f"{answer.status} with Content-Range {said!r}")
        filled = answer.readinto(view[:1])
        first_byte_s = time.perf_counter() - began_s
        while filled < len(view) and (more := answer.readinto(view[filled:])):
            filled += more
        took_s = time.perf_counter() - began_s
        if filled < len(view) or answer.read(1):
            raise WrongAnswer(f"{filled} bytes or more where {len(view)} were asked for")
        return Timed(first_byte_s, took_s)

    def read_all(self, name: str) -> int:
        """The whole object, thrown away; its length."""
        self._connection.request("GET", self._path + name)
        answer = self._connection.getresponse()
        length = 0
        while piece := answer.read(1 << 20):
            length += len(piece)
        if answer.status != 200:
            raise WrongAnswer(f"{answer.status} to a GET without a range")
        return length
