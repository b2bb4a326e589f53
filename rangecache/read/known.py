"""A version that the origin has vouched for: how long that holds, and how it is written down for a restart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rangecache.httpdate import parse_http_date
from rangecache.model import BlockKey, ETag, ObjectMeta
from rangecache.read.remembered import fields_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.model import ObjectRef
    from rangecache.read.freshness import Grace, Lifetime

KNOWN_BYTES: Final = 600  # tracemalloc on CPython 3.11: validator, tag, date and numbers, header fields apart
IMMUTABLE: Final = "immutable"  # as a validator: the operator's word, where the origin has none
# RFC 9111 section 3.2: what a later answer does not change, as the bytes that are stored have not changed.
_KEPT: Final = frozenset({"content-encoding", "content-length", "content-range", "etag"})
_OF_ONE_ANSWER: Final = frozenset({"age", "date"})


@dataclass(frozen=True, slots=True)
class Known:
    """A version that the origin has vouched for, and until when its word is taken."""

    meta: ObjectMeta
    block_bytes: int
    validated_at: float
    """Monotonic seconds."""
    fresh_until: float
    """Monotonic seconds; infinite for what never changes."""
    age_s: float
    """How old the origin's answer was when it came (RFC 9111 section 4.2.3)."""
    grace: Grace | None
    """How long after its time it may be used; None: not at all, whoever would take it."""
    bypass: bool = False
    """True: its bytes may not be stored or combined; every request goes to the origin."""

    def block_key(self, index: int) -> BlockKey:
        """The name of block `index` of this version."""
        meta = self.meta
        return BlockKey(meta.ref, meta.generation, index, self.block_bytes)

    def age(self, now: float) -> int:
        """The value of the Age header."""
        elapsed_s = now - self.validated_at
        return int(self.age_s + elapsed_s if elapsed_s > 0 else self.age_s)


def weight(known: Known) -> int:
    """What it takes in memory, about."""
    return KNOWN_BYTES + fields_bytes(known.meta.headers)


def updated(meta: ObjectMeta, headers: Mapping[str, str]) -> ObjectMeta:
    """Metadata as a later answer about the same bytes leaves it (RFC 9111 section 3.2): a 304, a HEAD or another part.

    Age and Date of the earlier answer say nothing of the later one. Last-Modified changes too, unless the version is
    identified by it.
    """
    kept = {name: value for name, value in meta.headers.items() if name not in _OF_ONE_ANSWER}
    fresh = {name: value for name, value in headers.items() if name not in _KEPT}
    last_modified = meta.last_modified
    if meta.validator.startswith("last-modified"):
        fresh.pop("last-modified", None)
    else:
        last_modified = parse_http_date(headers.get("last-modified", "")) or last_modified
    return replace(meta, headers={**kept, **fresh}, last_modified=last_modified)


def without(meta: ObjectMeta, names: frozenset[str]) -> ObjectMeta:
    """Metadata without those header fields."""
    if names.isdisjoint(meta.headers):
        return meta
    return replace(meta, headers={name: value for name, value in meta.headers.items() if name not in names})


def record_of(known: Known, wall: float, *, small_blocks: bool) -> dict[str, Any]:
    """As JSON, written at `wall` (seconds since 1970): dates as text, no infinity."""
    meta = known.meta
    fresh_s = known.fresh_until - known.validated_at
    return {
        "size": meta.size,
        "e_tag": str(meta.e_tag) if meta.e_tag else None,
        "last_modified": meta.last_modified.isoformat() if meta.last_modified else None,
        "validator": meta.validator,
        "source": meta.source,
        "content_encoding": meta.content_encoding,
        "version": meta.version,
        "headers": dict(meta.headers),
        "validated_wall": wall,
        "fresh_s": None if math.isinf(fresh_s) else fresh_s,
        "age_s": known.age_s,
        "stale_allowed": known.grace is not None,
        "small_blocks": small_blocks,
    }


@dataclass(frozen=True, slots=True)
class Restored:
    """What a record says, before anybody has decided whether it is believed."""

    meta: ObjectMeta
    validated_wall: float
    fresh_s: float
    age_s: float
    stale_allowed: bool
    small_blocks: bool
    """Its blocks have not the configured size, but the smaller one (`read/grids`)."""

    @classmethod
    def read(cls, ref: ObjectRef, record: dict[str, Any]) -> Restored | None:
        """A record of an earlier process; None if it is not one of ours."""
        try:
            meta = ObjectMeta(
                ref=ref,
                size=int(record["size"]),
                e_tag=ETag.parse(record["e_tag"]) if record["e_tag"] else None,
                last_modified=datetime.fromisoformat(record["last_modified"]) if record["last_modified"] else None,
                validator=str(record["validator"]),
                source=str(record["source"]),
                content_encoding=str(record["content_encoding"]),
                version=record["version"],
                headers={str(name): str(value) for name, value in record["headers"].items()},
            )
            return cls(
                meta,
                validated_wall=float(record["validated_wall"]),
                fresh_s=math.inf if record["fresh_s"] is None else float(record["fresh_s"]),
                age_s=float(record["age_s"]),
                stale_allowed=bool(record["stale_allowed"]),
                small_blocks=record.get("small_blocks") is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def known(self, life: Lifetime, *, block_bytes: int, now: float, wall: float) -> Known:
        """The version, dated by the wall clock: what lies in the future is stale."""
        elapsed_s = wall - self.validated_wall
        validated_at = now - elapsed_s
        fresh_until = validated_at + life.fresh_s if elapsed_s >= 0 or math.isinf(life.fresh_s) else now
        grace = life.grace if self.stale_allowed else None
        return Known(self.meta, block_bytes, min(now, validated_at), fresh_until, self.age_s, grace)
