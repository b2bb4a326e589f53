"""One tree of errors. No HTTP status is named here: the front doors hold that table.

`message` is a sentence for the person who reads it and says what to do next. It never holds a secret, a header or a
query. Errors of libraries are chained (`raise … from`), never let through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.model import ObjectMeta


class RangecacheError(Exception):
    """Root of the tree."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(RangecacheError):
    """The configuration cannot be used. `message` holds every fault, a line each."""


class InvalidTrace(RangecacheError):
    """A recorded trace cannot be read. `message` names the file and the line."""


# --- what the client did ------------------------------------------------------------------------------------------


class RequestError(RangecacheError):
    """The request itself is at fault; asking again unchanged is useless."""


class BadRequest(RequestError):
    """Malformed: path, header or query."""


class UnknownName(BadRequest):
    """No provider or bucket of that name is configured. Not `NotFound`: Zarr reads a 404 as "fill value"."""


class AccessDenied(RequestError):
    """Refused by our own rules, before any look-up."""


class NoSuchJob(RequestError):
    """No job of that id is known."""


class InvalidRange(RequestError):
    """The Range header has no valid form, or none of its ranges lies in the object."""

    def __init__(self, message: str, size: int | None = None) -> None:
        super().__init__(message)
        self.size = size
        """The object's length, where it is known."""


class NotListable(RequestError):
    """This origin cannot say which objects it has."""


class NotCached(RequestError):
    """`only-if-cached` was asked and something is missing."""


# --- what the origin did ------------------------------------------------------------------------------------------


class OriginError(RangecacheError):
    """The origin did not give what was asked."""


class NotFound(OriginError):
    """The origin says that there is no such object. An answer, not a fault: never retried."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers: Mapping[str, str] = headers or {}
        """End-to-end headers of the origin's answer, names in lower case: they may say how long it holds."""


class PermissionDenied(OriginError):
    """The origin refuses these credentials this object."""


class Unauthenticated(OriginError):
    """The origin does not accept the credentials at all, or they have expired."""


class GenerationGone(OriginError):
    """The version that was pinned is no longer there (412, 404, 416, or another validator in the answer)."""

    def __init__(self, message: str, current: ObjectMeta | None = None) -> None:
        super().__init__(message)
        self.current = current
        """What is there now, where the answer told."""


class NotStorable(OriginError):
    """The object is there, but its bytes may not be stored or combined: the origin forbids it, perhaps only now, or
    gives nothing that identifies them."""


class RangeNotSatisfiable(OriginError):
    """416 to an unpinned request. `size` is the object's length where the origin said it."""

    def __init__(self, message: str, size: int | None) -> None:
        super().__init__(message)
        self.size = size


class InvalidAnswer(OriginError):
    """The origin answered nonsense: wrong range, wrong length, a coding nobody asked for. Not retried."""

    def __init__(self, message: str, *, unproven: bool = False) -> None:
        super().__init__(message)
        self.unproven = unproven
        """The server did not prove who it is (TLS): whatever is asked of that host fares the same."""


class RangeIgnored(InvalidAnswer):
    """The origin sends the whole object whatever range is asked for, and it is too long to skip to each part of it."""


class TransientError(OriginError):
    """Asking again may help. The only errors that are retried."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, throttled: bool = False, unreached: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """What the origin asked for, already checked to be a finite number ≥ 0; None if it said nothing."""
        self.throttled = throttled
        """429 or 503: the origin asks for less, so pauses are longer."""
        self.unreached = unreached
        """There was no connection: whatever is asked of that host fares the same."""


class Unavailable(TransientError):
    """5xx, a refused or reset connection, a name that does not resolve."""


class CircuitOpen(Unavailable):
    """The origin has failed too often of late and is not asked for now. Nothing was put on the wire; asking again
    before `retry_after_s` is useless, so this is never retried."""


class BodyCut(TransientError):
    """The body ended before its announced length."""


class StaleConnection(TransientError):
    """A pooled connection that had been used before died before the first byte of the answer. One new connection is
    free: the request was not processed (RFC 9112 section 9.6)."""


class OriginTimeout(TransientError):
    """The origin took longer than a timeout allows, or sent slower than `fetch.min_rate`."""


class BudgetExhausted(OriginError):
    """A repeat would have helped, but the budget for repeats is spent."""


class Overloaded(RangecacheError):
    """A bound of our own is reached; later it may be free."""


# --- what our own stores did --------------------------------------------------------------------------------------


class TierError(RangecacheError):
    """A tier is broken. Never a broken read: the reader goes on to the next tier or to the origin."""
