"""Which error is which HTTP answer: the one table, and the problem documents (RFC 9457) that clients read.

Nothing of the request is ever repeated in a document: a value with a secret in it would otherwise come back to whoever
sees the answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_AFTER_DEFAULT_S: Final = 1
RETRY_AFTER_MAX_S: Final = 60  # an origin may ask for hours; our own answer only says when to ask us again


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of error answer."""

    status: int
    name: str
    """The end of `urn:rangecache:problem:<name>`."""
    title: str
    retry: bool = False
    """Asking again later may help: the answer carries Retry-After."""


MALFORMED: Final = Problem(400, "malformed-request", "The request is not valid HTTP/1.1")
BAD_REQUEST: Final = Problem(400, "bad-request", "The request cannot be understood")
UNKNOWN_NAME: Final = Problem(400, "unknown-name", "No such provider or bucket is configured")
ACCESS_DENIED: Final = Problem(403, "access-denied", "Refused by this proxy's own rules")
WRONG_HOST: Final = Problem(403, "wrong-host", "This proxy does not answer under that name")
PERMISSION_DENIED: Final = Problem(403, "permission-denied", "The origin refuses access")
NOT_FOUND: Final = Problem(404, "not-found", "No such object")
METHOD_NOT_ALLOWED: Final = Problem(405, "method-not-allowed", "Only GET and HEAD are answered")
PRECONDITION_FAILED: Final = Problem(412, "precondition-failed", "The object is not the version that was asked for")
TARGET_TOO_LONG: Final = Problem(414, "target-too-long", "The address is too long")
INVALID_RANGE: Final = Problem(416, "invalid-range", "The range cannot be satisfied")
EXPECTATION_FAILED: Final = Problem(417, "expectation-failed", "The expectation cannot be met")
HEAD_TOO_LARGE: Final = Problem(431, "head-too-large", "The request's header fields are too large")
INTERNAL: Final = Problem(500, "internal", "A fault in this proxy")
# Not 401: that would ask the client for credentials, and it is the proxy's own that the origin did not accept.
UNAUTHENTICATED: Final = Problem(502, "origin-credentials", "The origin does not accept this proxy's credentials")
INVALID_ANSWER: Final = Problem(502, "invalid-answer", "The origin's answer cannot be used")
UNAVAILABLE: Final = Problem(502, "origin-unavailable", "The origin cannot be reached")
THROTTLED: Final = Problem(503, "origin-throttled", "The origin asks for fewer requests", retry=True)
PAUSED: Final = Problem(503, "origin-paused", "The origin has failed and is not asked for now", retry=True)
# 503 and not 502: nothing is broken, the next request starts on the version that is there now.
CHANGED: Final = Problem(503, "object-changed", "The object changed while it was read", retry=True)
BUDGET_EXHAUSTED: Final = Problem(503, "budget-exhausted", "The budget for repeated requests is spent", retry=True)
OVERLOADED: Final = Problem(503, "overloaded", "This proxy is at a limit", retry=True)
NO_SUCH_JOB: Final = Problem(404, "no-such-job", "No such job")
NO_LISTING: Final = Problem(404, "no-listing", "No such listing")
NOT_LISTABLE: Final = Problem(400, "not-listable", "This origin has no listing")
NOT_CACHED: Final = Problem(504, "not-cached", "Not in the cache, and only the cache was asked")
TIMED_OUT: Final = Problem(504, "origin-timeout", "The origin took too long")
VERSION_NOT_SUPPORTED: Final = Problem(505, "version-not-supported", "Only HTTP/1.1 and HTTP/1.0 are spoken")

_TABLE: Final[Mapping[type[errors.RangecacheError], Problem]] = {
    errors.BadRequest: BAD_REQUEST,
    errors.UnknownName: UNKNOWN_NAME,
    errors.AccessDenied: ACCESS_DENIED,
    errors.InvalidRange: INVALID_RANGE,
    errors.NotCached: NOT_CACHED,
    errors.NoSuchJob: NO_SUCH_JOB,
    errors.NotListable: NOT_LISTABLE,
    errors.NotFound: NOT_FOUND,
    errors.PermissionDenied: PERMISSION_DENIED,
    errors.Unauthenticated: UNAUTHENTICATED,
    errors.GenerationGone: CHANGED,
    errors.NotStorable: CHANGED,
    errors.RangeNotSatisfiable: INVALID_RANGE,
    errors.InvalidAnswer: INVALID_ANSWER,
    errors.OriginTimeout: TIMED_OUT,
    errors.CircuitOpen: PAUSED,
    errors.BudgetExhausted: BUDGET_EXHAUSTED,
    errors.Overloaded: OVERLOADED,
    # The roots of the branches, for a class that is added to the tree and forgotten here.
    errors.RequestError: BAD_REQUEST,
    errors.TransientError: UNAVAILABLE,
    errors.OriginError: INVALID_ANSWER,
    errors.RangecacheError: INTERNAL,
}


class ProtocolError(errors.RequestError):
    """The request breaks HTTP/1.1 or a limit of this door. `message` is constant text."""

    def __init__(self, problem: Problem, message: str, *, close: bool = True) -> None:
        super().__init__(message)
        self.problem = problem
        self.close = close
        """Whether it is in doubt where the next request would begin, so that the connection has to end."""


def problem_of(error: errors.RangecacheError) -> Problem:
    """The answer that `error` becomes."""
    if isinstance(error, ProtocolError):
        return error.problem
    if isinstance(error, errors.TransientError) and error.throttled:
        return THROTTLED
    return next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)


def retry_after_s(problem: Problem, error: errors.RangecacheError) -> int | None:
    """Whole seconds for Retry-After; None where the answer has none."""
    if not problem.retry:
        return None
    asked = error.retry_after_s if isinstance(error, errors.TransientError) else None
    return min(RETRY_AFTER_MAX_S, max(RETRY_AFTER_DEFAULT_S, math.ceil(asked or 0)))


def document(problem: Problem, detail: str, more: Mapping[str, object] | None = None) -> bytes:
    """The body of an error answer, `application/problem+json`; `more` are members of this kind of problem alone."""
    members = {
        **(more or {}),
        "type": f"urn:rangecache:problem:{problem.name}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
    }
    return json.dumps(members, ensure_ascii=True).encode() + b"\n"
