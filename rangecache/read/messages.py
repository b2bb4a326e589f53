"""What a front door asks of the reader and what it gets back. No HTTP framing here: the doors do that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.ranges import ByteRange


@dataclass(slots=True)
class ReadRequest:
    """One GET or HEAD of one object. Header values are as the client sent them, None where absent; `conditions` and
    `ranges` read them. Not frozen, since one is made for every request and freezing costs a microsecond."""

    ref: ObjectRef
    head: bool = False
    """True for HEAD: no body is wanted, and `range` is ignored (RFC 9110 section 14.2)."""
    range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None
    cache_control: str | None = None
    """The request's own Cache-Control; `Pragma: no-cache` arrives here as `no-cache`."""

    @property
    def conditional(self) -> bool:
        """Whether there are conditions (RFC 9110 section 13), on which even a range beyond the end depends."""
        return any(
            each is not None
            for each in (
                self.if_match,
                self.if_none_match,
                self.if_modified_since,
                self.if_unmodified_since,
                self.if_range,
            )
        )


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """How an answer came about: what `Cache-Status` (RFC 9211) says and the `cache` label of the metrics."""

    outcome: str
    """hit, partial, miss, stale, revalidated or bypass."""
    hit: bool = False
    detail: str | None = None
    """Which tier, for a hit."""
    fwd: str | None = None
    """Why a request went to the origin: uri-miss, partial, stale, request or bypass."""
    fwd_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    ttl_s: int | None = None
    """Remaining freshness, said only where the answer is stale (negative)."""


HIT_MEMORY: Final = CacheStatus("hit", hit=True, detail="memory")
PREFETCHED: Final = CacheStatus(
    "miss", detail="prefetched", fwd="uri-miss", fwd_status=206, stored=True, collapsed=True
)
"""Fetched ahead for this very request: it waited for nothing, and yet it is no hit."""
HIT_DISK: Final = CacheStatus("hit", hit=True, detail="disk")

Body = Sequence[memoryview] | AsyncGenerator[memoryview, int | None]

Peeked = tuple["ObjectMeta", "CacheStatus", int, int, "list[memoryview]"]
"""What is current, how the answer came about, its age in seconds, the end of the range within the object, its bytes.
A plain tuple, since one is made for every warm read."""


@dataclass(slots=True)
class Reply:
    """An answer about an object that exists. Everything else is raised as an error of `rangecache.errors`."""

    status: int
    """200, 206, 304, 412 or 416."""
    meta: ObjectMeta
    cache: CacheStatus
    age_s: int = 0
    """Seconds since the origin last vouched for this version."""
    ranges: Sequence[ByteRange] = ()
    """What the body carries, resolved, in the order asked: one range (the whole object for 200), or several, which the
    front door frames as multipart/byteranges. Empty where there is no body (HEAD, 304, 412, 416)."""
    body: Body = ()
    """The bytes of all `ranges` one after the other; no piece crosses the border of a range. A sequence is complete
    and costs no waiting. A generator has been started and may be sent how long its next piece is to be at most, which
    it follows where it cuts pieces out of blocks; it must be closed if it is not read to its end; if it raises, the
    answer has to be aborted, never ended cleanly."""
