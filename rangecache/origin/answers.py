"""What an origin's answer says, and whether it may be believed. Pure: no I/O, no clock.

Section numbers are of RFC 9110 unless another document is named.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import (
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from rangecache.httpdate import format_http_date, identifies, parse_http_date
from rangecache.model import ETag, ObjectMeta
from rangecache.ranges import ByteRange, parse_content_range, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.model import ObjectRef
    from rangecache.origin.dialect import Answer
    from rangecache.ranges import RangeSpec

HEADERS_BYTES_MAX: Final = 32 * 1024  # of one answer, names and values; the metadata of every object is kept in memory
RETRY_AFTER_MAX_S: Final = 86_400.0  # a longer one is a mistake, not a wish

_GENERATION: Final = "generation "

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
# Section 5.5: a field value holds VCHAR, SP, HTAB and obs-text; anything else could end a header early.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(
    rf'{_WORD}/{_WORD}(?:[ \t]*;[ \t]*(?:{_WORD}=(?:{_WORD}|"(?:[^"\\\x00-\x1f\x7f]|\\[\t\x20-\x7e])*"))?)*',
    re.ASCII,
)
# Section 7.6.1 names the first eight. Framing of this one answer says nothing about the object. The others speak with
# the origin's authority about cookies, addresses and policies that are not ours to repeat.
OF_A_PART: Final = frozenset({"content-md5", "content-digest", "digest"})
"""Headers that in a 206 speak of the bytes it carries, and not of the object (RFC 9530 section 2)."""
_DROPPED: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-range",
        "set-cookie",
        "set-cookie2",
        "location",
        "link",
        "refresh",
        "alt-svc",
        "clear-site-data",
        "strict-transport-security",
        "www-authenticate",
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked for. At most one of the two conditions is set."""

    ref: ObjectRef
    range: RangeSpec | None = None
    if_match: ObjectMeta | None = None
    if_none_match: ObjectMeta | None = None

    def headers(self) -> dict[str, str]:
        """The Range and If-None-Match or If-Modified-Since header; the pin is the dialect's to say."""
        headers = {} if self.range is None else {"Range": self.range.header()}
        if (known := self.if_none_match) is not None:
            e_tag = _own_tag(known)
            # A weak tag promises the same meaning, not the same bytes; a date does better where it identifies them.
            if e_tag is not None and (not e_tag.weak or known.last_modified is None):
                headers["If-None-Match"] = str(e_tag)
            elif known.last_modified is not None:
                headers["If-Modified-Since"] = format_http_date(known.last_modified)
        return headers


@dataclass(frozen=True, slots=True)
class Extent:
    """Which bytes an answer carries."""

    promised: ByteRange
    """What the caller gets."""
    carried: ByteRange
    """What this answer holds of it: all, or less from the same start on (section 15.3.7 allows that)."""


def whole_size(headers: Mapping[str, str], asked: Asked) -> int:
    """Length of the object from a 200's Content-Length. Where that is absent a pinned request knows it already."""
    text = sole(headers, "content-length")
    if text is None and asked.if_match is not None:
        return asked.if_match.size
    if text is None:
        raise InvalidAnswer(
            "the origin sent the object without its length (no Content-Length), so it cannot be cut into blocks;"
            " it has to be served as a static file"
        )
    if _DIGITS.fullmatch(text) is None:
        raise InvalidAnswer("the origin sent a Content-Length that is not a number")
    return int(text)


def part_of(headers: Mapping[str, str], asked: Asked) -> tuple[ByteRange, int]:
    """The range and the whole length that a 206 says it carries, after checking that the two agree."""
    if headers.get("Content-Type", "").lower().startswith("multipart/byteranges"):
        raise InvalidAnswer("the origin answered a request for one range with several (multipart/byteranges)")
    found = parse_content_range(sole(headers, "content-range") or "")
    if found is None:
        raise InvalidAnswer("the origin sent a part of the object without a valid Content-Range")
    size = found.size
    if size is None and asked.if_match is not None:
        size = asked.if_match.size
    if size is None or found.range.end > size:
        raise InvalidAnswer("the origin sent a part of the object without saying the object's length")
    length = sole(headers, "content-length")
    if length is not None and length != str(found.range.length):
        raise InvalidAnswer("the Content-Length of the origin's answer is not the length of its Content-Range")
    return found.range, size


def extent(carried: ByteRange, asked: RangeSpec, size: int) -> Extent:
    """Compare what a 206 carries with what was asked for."""
    wanted = resolve(asked, size)
    if wanted is None or carried.start != wanted.start or carried.end > wanted.end:
        raise InvalidAnswer("the origin sent another range than the one asked for")
    return Extent(wanted, carried)


def read_meta(asked: Asked, headers: Mapping[str, str], size: int, *, validator: str, source: str) -> ObjectMeta:
    """The metadata in an answer's headers, which are those of `end_to_end`."""
    coding = headers.get("content-encoding", "").strip().lower()
    number = _generation(validator)
    return ObjectMeta(
        ref=asked.ref,
        size=size,
        # The tag beside a generation may be a checksum, which is the same for another generation of the same bytes.
        e_tag=ETag(number) if number else read_etag(headers),
        last_modified=parse_http_date(headers.get("last-modified", "")),
        validator=validator,
        source=source,
        content_encoding="" if coding == "identity" else coding,
        version=asked.ref.version,
        headers=headers,
    )


def read_etag(headers: Mapping[str, str]) -> ETag | None:
    """The answer's ETag; None if it has none that follows the grammar, or an oversized one."""
    text = headers.get("etag")
    return None if text is None else ETag.parse(text)


def check_pin(meta: ObjectMeta, pinned: ObjectMeta) -> None:
    """Raise unless the answer is of the pinned generation.

    The same bytes under another content coding are another generation too: their metadata has been corrected at the
    origin, which a 304 would never tell. What was begun under the old coding must not go on under the new one.
    """
    if meta.generation != pinned.generation:
        raise GenerationGone("the object has changed at the origin", current=meta)


def contradicts(headers: Mapping[str, str], known: ObjectMeta, validator: str) -> bool:
    """Whether a 304 names another version than the one that was asked about. `validator` is what it says itself.

    A server may compare dates with "not newer than" and so confirm a version that was replaced by an older one; one
    that compares checksums confirms a version that was replaced by the same bytes, and would not be found any more.
    """
    if _generation(validator) and _generation(known.validator):
        return validator != known.validator
    e_tag, own = read_etag(headers), _own_tag(known)
    if e_tag is not None and own is not None:
        return not e_tag.matches_weakly(own)
    modified = parse_http_date(headers.get("last-modified", ""))
    return modified is not None and known.last_modified is not None and modified != known.last_modified


def _own_tag(meta: ObjectMeta) -> ETag | None:
    """The tag that the origin itself gave, whatever clients are shown."""
    return read_etag(meta.headers) if _generation(meta.validator) else meta.e_tag


def _generation(validator: str) -> str:
    """The number in a validator of that form; empty for others."""
    return validator.removeprefix(_GENERATION) if validator.startswith(_GENERATION) else ""


def sole(headers: Mapping[str, str], name: str) -> str | None:
    """The header of that lower-case name; None if there is none, the empty text, which nothing accepts, if several."""
    values = [value for field, value in headers.items() if field.lower() == name]
    return values[0] if len(values) == 1 else "" if values else None


def end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    """Response headers that belong to the object, names in lower case, values of repeated ones joined (section 5.3).

    Raises `InvalidAnswer` for control characters and for more than `HEADERS_BYTES_MAX` bytes. A Content-Type that does
    not follow its grammar becomes application/octet-stream.
    """
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept: dict[str, str] = {}
    total = 0
    for field, value in headers.items():
        name = sys.intern(field.lower())  # the same few in every object's metadata: half of what it weighs
        total += len(name) + len(value)
        if _CONTROL.search(value) or total > HEADERS_BYTES_MAX:
            raise InvalidAnswer("the origin's answer has oversized headers or control characters in them")
        if name in _DROPPED or name in named or name.startswith("access-control-"):
            continue
        kept[name] = f"{kept[name]}, {value}" if name in kept else value
    if "content-type" in kept and _MEDIA_TYPE.fullmatch(kept["content-type"].strip(" \t")) is None:
        kept["content-type"] = "application/octet-stream"
    return kept


def strong_last_modified(headers: Mapping[str, str]) -> str:
    """The Last-Modified header if it identifies the bytes, else the empty text."""
    modified = parse_http_date(sole(headers, "last-modified") or "")
    strong = modified is not None and identifies(modified, parse_http_date(headers.get("Date", "")))
    return format_http_date(modified) if strong and modified is not None else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for (section 10.2.3). A date is taken relative to the answer's own Date.

    S3 says it in milliseconds too, which goes before. None for anything negative, absurdly long or malformed.
    """
    exact = headers.get("x-amz-retry-after", "").strip(" \t")
    if _DIGITS.fullmatch(exact) and float(exact) <= RETRY_AFTER_MAX_S * 1000:
        return float(exact) / 1000
    text = headers.get("Retry-After", "").strip(" \t")
    if _DIGITS.fullmatch(text):
        delay_s = float(text)
    else:
        until, sent = parse_http_date(text), parse_http_date(headers.get("Date", ""))
        if until is None or sent is None:
            return None
        delay_s = (until - sent).total_seconds()
    return delay_s if 0 <= delay_s <= RETRY_AFTER_MAX_S else None


def is_page(status: int, headers: Mapping[str, str], asked: Asked) -> bool:
    """Whether a part of an object was asked for, and a web page came instead."""
    return status == 200 and asked.range is not None and is_html(headers)


def is_html(headers: Mapping[str, str]) -> bool:
    """Whether it is a page for people: none of the clouds writes its errors so."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def status_error(answer: Answer, ref: ObjectRef) -> OriginError:
    """What a status alone says: the error of a plain HTTP server's answer, and of a cloud's that explains nothing."""
    status = answer.status
    if status in (404, 410):
        return NotFound(f"the origin has no object {ref}")
    if status == 401:
        return Unauthenticated(f"the origin wants other credentials for {ref.provider}/{ref.bucket} (401)")
    if status == 403:
        return PermissionDenied(f"the origin does not allow reading {ref} with these credentials (403)")
    if status in (429, 503):
        return Unavailable(
            f"the origin asks for fewer requests ({status})", retry_after_s=retry_after(answer.headers), throttled=True
        )
    if status == 408 or 500 <= status <= 599:
        return Unavailable(f"the origin failed ({status})", retry_after_s=retry_after(answer.headers))
    if 300 <= status <= 399:
        return InvalidAnswer(
            f"the origin redirects {ref} to an address outside its configured one ({status});"
            " add the host to redirect_hosts if it may be followed"
        )
    return InvalidAnswer(f"the origin answered with the unexpected status {status}")
