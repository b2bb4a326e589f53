"""The header fields that describe an object, made from what its origin said: an allow-list, checked by grammar.

A field that does not keep to its grammar is left away; an origin must not be able to put anything into our head.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rangecache.httpdate import format_http_date

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.model import ObjectMeta

CONTENT_TYPE_DEFAULT: Final = "application/octet-stream"
VALUE_CHARACTERS_MAX: Final = 2048

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
# RFC 9110 section 8.3.1, media-type.
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|{_QUOTED}))*")
_CODINGS = re.compile(rf"{_WORD}(?:[ \t]*,[ \t]*{_WORD})*")
_DIRECTIVE = re.compile(rf"({_WORD})(?:=({_WORD}|{_QUOTED}))?[ \t]*(?:$|(?:,[ \t]*)+)")
_NAME = re.compile(_WORD)
_VALUE = re.compile(r"[\x21-\x7e\x80-\xff]+(?:[\t ]+[\x21-\x7e\x80-\xff]+)*")

_SECONDS: Final = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_FLAGS: Final = frozenset(
    {"public", "private", "immutable", "must-revalidate", "proxy-revalidate", "no-store", "no-transform"}
)

# What a browser shows as a document of its own, scripts and all.
_DOCUMENT = re.compile("html|xml|xsl|^multipart/|^message/")

# Written by ourselves, hop-by-hop (RFC 9110 section 7.6.1), cookies, or a promise about the whole object that software
# development kits would check against a part of it.
_NEVER: Final = frozenset(
    {
        "accept-ranges", "age", "cache-control", "cache-status", "connection", "content-digest", "content-encoding",
        "content-length", "content-md5", "content-range", "content-type", "date", "digest", "etag", "keep-alive",
        "last-modified", "proxy-authenticate", "proxy-authorization", "proxy-connection", "repr-digest", "server",
        "set-cookie", "set-cookie2", "te", "trailer", "transfer-encoding", "upgrade", "x-content-type-options",
        "x-request-id",
    }
)  # fmt: skip
_NEVER_BEGINNINGS: Final = ("x-amz-checksum-", "x-amz-server-side", "x-goog-hash")


def content_type(meta: ObjectMeta) -> str:
    """The object's own media type where it is one."""
    stated = meta.headers.get("content-type", "").strip(" \t")
    valid = len(stated) <= VALUE_CHARACTERS_MAX and _MEDIA_TYPE.fullmatch(stated)
    return stated if valid else CONTENT_TYPE_DEFAULT


def policy(meta: ObjectMeta) -> Iterator[tuple[str, str]]:
    """For an object that a browser would run: it is shown without scripts, and as of no origin.

    All buckets are one origin to a browser. A page in a bucket that anybody may write to could otherwise read, as the
    user who was led to it, whatever this proxy may read.
    """
    if _DOCUMENT.search(content_type(meta).lower()):
        yield "Content-Security-Policy", "sandbox"


def cache_control(stated: str) -> str:
    """The directives of an origin's Cache-Control that a client is shown; empty if there are none.

    `no-cache` becomes `max-age=0, must-revalidate`, which means the same to a cache (RFC 9111 section 5.2.2): GDAL
    stops its own block cache when it sees the word.
    """
    kept: dict[str, str] = {}
    at = 0
    stated = stated[:VALUE_CHARACTERS_MAX].lower().strip(" \t,")
    while at < len(stated) and (match := _DIRECTIVE.match(stated, at)):
        at = match.end()
        name, argument = match[1], match[2]
        if name == "no-cache" and argument is None:
            kept |= {"max-age": "max-age=0", "must-revalidate": "must-revalidate"}
        elif name in _FLAGS and argument is None:
            kept[name] = name
        elif name in _SECONDS and argument is not None and argument.isdecimal() and argument.isascii():
            # Of a repeated directive the first counts (RFC 9111 section 4.2.1), but nothing outlives a no-cache.
            kept.setdefault(name, f"{name}={argument[:19]}")
    if at < len(stated):
        return "no-store"  # what cannot be read must not be kept by anybody
    return ", ".join(kept.values())


def object_fields(meta: ObjectMeta) -> Iterator[tuple[str, str]]:
    """ETag, Last-Modified, Content-Encoding and Cache-Control, as far as the object has them."""
    if meta.e_tag is not None:
        yield "ETag", str(meta.e_tag)
    if meta.last_modified is not None:
        yield "Last-Modified", format_http_date(meta.last_modified)
    if _CODINGS.fullmatch(meta.content_encoding):
        yield "Content-Encoding", meta.content_encoding
    stated = meta.headers.get("cache-control", "")
    if shown := cache_control(stated):
        yield "Cache-Control", shown


def other_fields(meta: ObjectMeta) -> Iterator[tuple[str, str]]:
    """Every further end-to-end field of the origin's answer, for buckets with `response_headers: all`."""
    listed = {name.strip(" \t").lower() for name in meta.headers.get("connection", "").split(",")}
    for stated, value in meta.headers.items():
        name = stated.lower()
        if name in _NEVER or name in listed or name.startswith(_NEVER_BEGINNINGS) or not _NAME.fullmatch(name):
            continue
        if len(value) <= VALUE_CHARACTERS_MAX and _VALUE.fullmatch(value):
            yield "-".join(word.capitalize() for word in name.split("-")), value
