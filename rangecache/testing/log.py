"""What an origin was asked, in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, eq=False)
class LoggedRequest:
    """One request as it stood on the wire, and what became of it; the last fields change while it is answered."""

    method: str
    target: str
    """The request target, raw: path and query."""
    raw_headers: list[tuple[str, str]]
    """Names and values in the order and spelling of the wire."""
    connection: int
    """Number of the connection it came on, from 1."""
    started_at: float
    """When its head was complete, by the origin's monotonic clock."""
    version: str = "HTTP/1.1"
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case; the last one wins."""
    status: int | None = None
    """Status of the answer; None while there is none, and where none was sent."""
    body_bytes_sent: int = 0
    """Body bytes handed to the socket."""
    answered_whole: bool = False
    """True once the answer has been written to its end as intended."""

    def __post_init__(self) -> None:
        self.headers = {name.lower(): value for name, value in self.raw_headers}

    @property
    def path(self) -> str:
        """The raw path: nothing decoded, no query."""
        return self.target.partition("?")[0]

    @property
    def key(self) -> str:
        """The path without its first slash, percent-decoded exactly once."""
        return unquote_to_bytes(self.path.removeprefix("/").encode("latin-1")).decode("utf-8", "surrogateescape")

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")

    def __str__(self) -> str:
        asked = "" if self.range is None else f" [{self.range}]"
        return f"#{self.connection} {self.method} {self.target}{asked} -> {self.status}, {self.body_bytes_sent} bytes"


class RequestLog:
    """All requests since the start or the last `clear`."""

    def __init__(self) -> None:
        self.requests: list[LoggedRequest] = []

    def clear(self) -> None:
        """Forget them; the list stays the same list."""
        self.requests.clear()

    def select(
        self, path: str | None = None, method: str | None = None, status: int | None = None
    ) -> list[LoggedRequest]:
        """Those of that object (its key, or its raw path with the first slash), method and status; None is any."""
        wanted = _matcher(path)
        return [
            each
            for each in list(self.requests)
            if wanted(each) and method in {None, each.method} and status in {None, each.status}
        ]

    def count(self, path: str | None = None, method: str | None = None, status: int | None = None) -> int:
        """How many there are of those that `select` gives."""
        return len(self.select(path, method, status))

    def body_bytes(self, path: str | None = None) -> int:
        """Body bytes sent in answer to those of that object, or to all."""
        return sum(each.body_bytes_sent for each in self.select(path))

    def __len__(self) -> int:
        return len(self.requests)

    def __str__(self) -> str:
        return "\n".join(map(str, self.requests)) or "no requests"


def _matcher(path: str | None) -> Callable[[LoggedRequest], bool]:
    if path is None:
        return lambda _: True
    return lambda request: path in (request.key, request.path)
