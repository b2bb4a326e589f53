"""ListObjectsV2: what to ask for one page of a bucket's listing, and what the answer says. Pure.

"ListObjectsV2" of the Amazon S3 API reference; services that speak its protocol answer the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_plus
from xml.parsers import expat

from rangecache.errors import InvalidAnswer
from rangecache.model import ETag
from rangecache.origin.base import Listed, ListPage

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS_MAX: Final = 1000  # the most that S3 gives for one request
_OBJECT: Final = ("ListBucketResult", "Contents")
_PREFIX: Final = ("ListBucketResult", "CommonPrefixes", "Prefix")
_TOP: Final = ("ListBucketResult",)
_SIZE = re.compile(r"[0-9]{1,19}", re.ASCII)


def query(prefix: str, delimiter: str, token: str | None) -> str:
    """The query of a request for a page, in the order in which Signature Version 4 wants it. Keys come percent-encoded:
    XML cannot carry every character that a key may hold."""
    fields = {"list-type": "2", "encoding-type": "url", "max-keys": str(KEYS_MAX)}
    if prefix:
        fields["prefix"] = prefix
    if delimiter:
        fields["delimiter"] = delimiter
    if token is not None:
        fields["continuation-token"] = token
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(fields.items()))


def read_page(body: bytes) -> ListPage:
    """Read a `ListBucketResult`. Raises `InvalidAnswer` for everything else; no entity is ever resolved."""
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(body, True)
        return reader.page()
    except (expat.ExpatError, ValueError) as error:
        raise InvalidAnswer("what S3 sent is no listing") from error


class _Reader:
    """Collects the text of the elements that are used. Raises ValueError for what is not a listing."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._text: list[str] = []
        self._top: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._objects: list[dict[str, str]] = []
        self._prefixes: list[str] = []

    def start(self, name: str, _: Mapping[str, str]) -> None:
        if not self._open and name != _TOP[0]:
            raise ValueError("the document is another one")
        self._open.append(name)
        self._text.clear()
        if tuple(self._open) == _OBJECT:
            self._fields = {}

    def end(self, name: str) -> None:
        path, text = tuple(self._open), "".join(self._text)
        self._open.pop()
        self._text.clear()
        if path == _OBJECT:
            self._objects.append(self._fields)
        elif path == _PREFIX:
            self._prefixes.append(text)
        elif path[:-1] == _OBJECT:
            self._fields[name] = text
        elif path[:-1] == _TOP:
            self._top[name] = text

    def text(self, part: str) -> None:
        self._text.append(part)

    def refuse(self, *_: object) -> None:
        raise ValueError("a listing has no document type, and entities are not read")

    def page(self) -> ListPage:
        encoded = self._top.get("EncodingType") == "url"

        def decoded(text: str) -> str:
            return unquote_plus(text, errors="strict") if encoded else text

        truncated = self._top.get("IsTruncated")
        token = self._top.get("NextContinuationToken") or None
        if truncated not in ("true", "false") or (truncated == "true" and token is None):
            raise ValueError("the listing does not say whether it goes on, or where")
        return ListPage(
            [_listed(fields, decoded(fields.get("Key", ""))) for fields in self._objects],
            [decoded(prefix) for prefix in self._prefixes],
            token if truncated == "true" else None,
        )


def _listed(fields: Mapping[str, str], key: str) -> Listed:
    size = fields.get("Size", "")
    if not key or not _SIZE.fullmatch(size):
        raise ValueError("an object of the listing has no key or no size")
    tag = fields.get("ETag", "")
    return Listed(key, int(size), ETag.parse(tag if tag.startswith('"') else f'"{tag}"') if tag else None)
