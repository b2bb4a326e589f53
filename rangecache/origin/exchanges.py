"""Lets somebody who looks into a provider see the heads of the answers to his own requests.

What was answered, and not what became of it: an answer that ends in an error says by its Date that our clock is wrong,
and by its status what a sentence leaves out. Nobody else's requests are noted, and nothing is where nobody looks.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from rangecache.httpdate import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.aio.clock import Clock


class Exchange(NamedTuple):
    """The head of one answer."""

    status: int
    skew_s: float | None
    """How far the origin's clock is ahead of ours, to a second; None where it does not say, or where the answer has
    lain in a cache."""


class Exchanges:
    """The answers to what was asked within a `noting` block, in their order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.found: list[Exchange] = []

    @property
    def status(self) -> int | None:
        """Of the last answer; None if there was none."""
        return self.found[-1].status if self.found else None

    def note(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer has begun."""
        sent = None if headers.get("Age", "0") != "0" else parse_http_date(headers.get("Date", ""))
        self.found.append(Exchange(status, None if sent is None else sent.timestamp() - self._clock.wall()))


_noting: ContextVar[Exchanges | None] = ContextVar("exchanges", default=None)


@contextmanager
def noting(exchanges: Exchanges) -> Iterator[None]:
    """Notes the answers to what the present task asks within the block."""
    token = _noting.set(exchanges)
    try:
        yield
    finally:
        _noting.reset(token)


def note(status: int, headers: Mapping[str, str]) -> None:
    """Called with the head of every answer."""
    if (exchanges := _noting.get()) is not None:
        exchanges.note(status, headers)
