"""A cache that goes by what its origin says, and what an origin may say: for tests of the rules of a shared cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rangecache.httpdate import format_http_date
from rangecache.model import ObjectRef
from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import AddedHeaders, Headers
from rangecache.testing.objects import stamped
from tests.edge.rig import Rig, running

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager


REF: Final = ObjectRef("web", "b", "k")
DATA: Final = stamped("k", 1, 100)
DAY_S: Final = 86_400
IN_A_MONTH: Final = ("Expires", 30 * DAY_S)
BY_THE_ORIGIN: Final[dict[str, Any]] = {
    "freshness": [{"match": "**", "ttl": "origin"}],
    "fetch": {"attempts": 1},
    "bucket": {"response_headers": "all"},
}


def cache(
    clock: ManualClock | None = None, *, cache: Mapping[str, Any] | None = None, **defaults: str
) -> AbstractAsyncContextManager[Rig]:
    """A program that goes by what the origin says, and passes on all that it says."""
    return running(clock=clock or ManualClock(), **{**BY_THE_ORIGIN, "defaults": defaults, "cache": cache or {}})


@dataclass(frozen=True)
class Row:
    """One behaviour."""

    name: str
    headers: list[tuple[str, str | int]]
    """What the origin sends besides ETag and Date; a number is a date, in seconds from now."""
    becomes: str
    after_s: float = 3
    wish: tuple[str, ...] = ()
    """Fields of the second request."""
    e_tag: str | None = '"v1"'
    modified_s: float | None = None
    """Last-Modified, in seconds from now."""
    date: int | str | None = None
    """A Date other than now."""
    status: int = 206
    """Of the second answer."""
    shows: dict[str, str] = field(default_factory=dict)
    """Fields of the second answer."""


def put(rig: Rig, key: str, row: Row, data: bytes = DATA) -> None:
    """Let the origin answer for `key` as the row says, from now on."""
    now = datetime.fromtimestamp(rig.origin.clock.wall(), UTC)

    def shown(value: str | float) -> str:
        return value if isinstance(value, str) else format_http_date(now + timedelta(seconds=value))

    modified = None if row.modified_s is None else now + timedelta(seconds=row.modified_s)
    rig.origin.put(f"b/{key}", data, etag=row.e_tag, last_modified=modified)
    faults: list[Any] = [AddedHeaders(tuple((name, shown(value)) for name, value in row.headers))]
    if row.date is not None:
        faults.append(Headers({"Date": shown(row.date)}))
    rig.origin.fail(f"b/{key}", *faults, times=None)


def became(rig: Rig, key: str) -> str:
    """What the log says of the last read."""
    statuses = {request.status for request in rig.origin.log.select(f"b/{key}")}
    return "reused" if not statuses else "validated" if statuses == {304} else "fetched"


def is_fresh(rig: Rig) -> bool:
    """Whether the object `k` would be answered without asking."""
    known = rig.program.catalog.peek(REF)
    return known is not None and known.fresh_until > rig.origin.clock.monotonic()
