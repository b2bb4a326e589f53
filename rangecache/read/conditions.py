"""What a request means for one known version: which status, which bytes. Pure.

Preconditions are evaluated in the order of RFC 9110 section 13.2.2, then the range. The answer may be drawn from
metadata that is fresh by rule but no longer true; `Decision.doubtful` marks the refusals that should not be given
before the origin has been asked once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rangecache.errors import BadRequest, InvalidRange
from rangecache.httpdate import identifies, parse_http_date
from rangecache.model import ETag
from rangecache.ranges import ByteRange, SuffixRange, parse_range, resolve, total_length

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta
    from rangecache.ranges import RangeSpec
    from rangecache.read.messages import ReadRequest


@dataclass(frozen=True, slots=True)
class Decision:
    """Status and bytes of an answer."""

    status: int
    """200, 206, 304, 412 or 416."""
    ranges: tuple[ByteRange, ...] = ()
    """What the body carries; empty for a status without a body."""
    doubtful: bool = False
    """True for a refusal that rests on metadata: 412, 416, and the whole object in answer to a failed If-Range."""


def decide(request: ReadRequest, meta: ObjectMeta, max_ranges: int) -> Decision:
    """Which status and which bytes answer `request`, if `meta` is what is current.

    Raises `BadRequest` for a malformed list of entity tags.
    """
    if request.if_match is not None:
        if not _matches(request.if_match, meta.e_tag, strongly=True):
            return Decision(412, doubtful=True)
    elif request.if_unmodified_since is not None and _modified_since(request.if_unmodified_since, meta) is True:
        return Decision(412, doubtful=True)
    if request.if_none_match is not None:
        if _matches(request.if_none_match, meta.e_tag, strongly=False):
            return Decision(304)
    elif request.if_modified_since is not None and _still_as_of(request.if_modified_since, meta):
        return Decision(304)
    if request.head or request.range is None:
        return Decision(200, (ByteRange(0, meta.size),))
    if request.if_range is not None and not _if_range_holds(request.if_range, meta):
        return Decision(200, (ByteRange(0, meta.size),), doubtful=True)
    try:
        specs = parse_range(request.range, max_ranges)
    except InvalidRange:
        return Decision(416)
    if specs is not None and len(specs) == 1 and (found := resolve(specs[0], meta.size)) is not None:
        return Decision(206, (found,))
    return _resolve(specs, meta.size)


def _resolve(specs: tuple[RangeSpec, ...] | None, size: int) -> Decision:
    whole = (ByteRange(0, size),)
    if specs is None:
        return Decision(200, whole)
    ranges = tuple(found for spec in specs if (found := resolve(spec, size)) is not None)
    if not ranges:
        if not size and any(isinstance(spec, SuffixRange) and spec.length for spec in specs):
            return Decision(200, whole)  # the last n bytes of an empty object: everything there is
        return Decision(416, doubtful=True)
    if len(ranges) > 1 and total_length(ranges) > size:
        return Decision(200, whole)  # more than the object in overlapping pieces: amplification, or a confused client
    return Decision(206, ranges)


def _if_range_holds(value: str, meta: ObjectMeta) -> bool:
    """RFC 9110 section 13.1.5: an exact match of a strong validator, else the whole object is wanted."""
    if '"' in value:
        tag = ETag.parse(value)
        return tag is not None and tag.matches_strongly(meta.e_tag)
    date = parse_http_date(value)
    sent = parse_http_date(meta.headers.get("date", ""))
    return date is not None and date == meta.last_modified and identifies(date, sent)


def _modified_since(value: str, meta: ObjectMeta) -> bool | None:
    """None where the header must be ignored: no valid date, or the object has none (RFC 9110 13.1.3 and 13.1.4)."""
    date = parse_http_date(value)
    if date is None or meta.last_modified is None:
        return None
    return meta.last_modified > date


def _still_as_of(value: str, meta: ObjectMeta) -> bool:
    """Whether a copy of that date is current. Where the object has no date of its own, the one on which the origin sent
    or confirmed it stands in (RFC 9111 section 4.3.2)."""
    if meta.last_modified is not None:
        return _modified_since(value, meta) is False
    date, sent = parse_http_date(value), parse_http_date(meta.headers.get("date", ""))
    return date is not None and sent is not None and sent <= date


def _matches(value: str, e_tag: ETag | None, *, strongly: bool) -> bool:
    """Evaluate If-Match (strong comparison) or If-None-Match (weak comparison)."""
    if value.strip(" \t") == "*":
        return True
    found = False
    for tag in parse_tags(value):
        found = found or (tag.matches_strongly(e_tag) if strongly else tag.matches_weakly(e_tag))
    return found


def parse_tags(value: str) -> list[ETag]:
    """Read a list of entity tags. Commas may stand inside a tag, so it is read from quote to quote, once, in linear
    time. Raises `BadRequest` if any of it is malformed."""
    tags: list[ETag] = []
    at, end = 0, len(value)
    while at < end:
        if value[at] in " \t,":
            at += 1
            continue
        opening = value.find('"', at)
        closing = value.find('"', opening + 1)
        tag = ETag.parse(value[at : closing + 1]) if 0 <= opening < closing else None
        if tag is None:
            raise BadRequest("a list of entity tags is malformed; each is quoted, and they are separated by commas")
        tags.append(tag)
        at = closing + 1
        if at < end and value[at] not in " \t,":
            raise BadRequest("a list of entity tags is malformed; each is quoted, and they are separated by commas")
    return tags
