"""ListObjectsV2 and ListBuckets: what to ask for one page of a listing, and what the answer says. Pure.

Both under these names in the Amazon S3 API reference; services that speak its protocol answer the same.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_plus
from xml.parsers import expat

from rangecache.errors import InvalidAnswer
from rangecache.model import ETag
from rangecache.origin.base import BucketPage, Listed, ListPage

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS_MAX: Final = 1000  # the most that S3 gives for one request
BUCKETS_MAX: Final = 1000  # S3 gives up to 10,000
_OBJECT: Final = ("ListBucketResult", "Contents")
_PREFIX: Final = ("ListBucketResult", "CommonPrefixes", "Prefix")
_BUCKET: Final = ("ListAllMyBucketsResult", "Buckets", "Bucket", "Name")
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
    return _joined(fields)


def buckets_query(token: str | None, *, paged: bool) -> str:
    """The query of a request for a page of buckets. A service that knows no pages gives all that there are."""
    fields = {"max-buckets": str(BUCKETS_MAX)} if paged else {}
    if token is not None:
        fields["continuation-token"] = token
    return _joined(fields)


def _joined(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(fields.items()))


def read_page(body: bytes) -> ListPage:
    """Read a `ListBucketResult`. Raises `InvalidAnswer` for everything else; no entity is ever resolved."""
    reader = _Objects()
    try:
        reader.parse(body)
        return reader.page()
    except (expat.ExpatError, ValueError) as error:
        raise InvalidAnswer("what S3 sent is no listing") from error


def read_buckets(body: bytes) -> BucketPage:
    """Read a `ListAllMyBucketsResult`; as `read_page` otherwise."""
    reader = _Buckets()
    try:
        reader.parse(body)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidAnswer("what S3 sent is no list of buckets") from error
    return BucketPage(reader.names, reader.top.get("ContinuationToken") or None)


class _Reader:
    """Walks through a document of one kind and gives its texts to `leaf`. Raises ValueError for another kind."""

    kind = ""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._text: list[str] = []
        self.top: dict[str, str] = {}
        """The texts right below the top."""

    def parse(self, body: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text_part
        parser.StartDoctypeDeclHandler = self._refuse
        parser.Parse(body, True)

    def leaf(self, path: tuple[str, ...], text: str) -> None:
        """The text of one element, as it ends."""
        raise NotImplementedError

    def _start(self, name: str, _: Mapping[str, str]) -> None:
        if not self._open and name != self.kind:
            raise ValueError("the document is another one")
        self._open.append(name)
        self._text.clear()

    def _end(self, name: str) -> None:
        path, text = tuple(self._open), "".join(self._text)
        self._open.pop()
        self._text.clear()
        if len(path) == 2:
            self.top[name] = text
        self.leaf(path, text)

    def _text_part(self, part: str) -> None:
        self._text.append(part)

    def _refuse(self, *_: object) -> None:
        raise ValueError("a listing has no document type, and entities are not read")


class _Buckets(_Reader):
    kind = "ListAllMyBucketsResult"

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def leaf(self, path: tuple[str, ...], text: str) -> None:
        if path == _BUCKET:
            self.names.append(text)


class _Objects(_Reader):
    kind = "ListBucketResult"

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[str, str] = {}
        self._objects: list[dict[str, str]] = []
        self._prefixes: list[str] = []

    def leaf(self, path: tuple[str, ...], text: str) -> None:
        if path == _OBJECT:
            self._objects.append(self._fields)
            self._fields = {}
        elif path == _PREFIX:
            self._prefixes.append(text)
        elif path[:-1] == _OBJECT:
            self._fields[path[-1]] = text

    def page(self) -> ListPage:
        encoded = self.top.get("EncodingType") == "url"

        def decoded(text: str) -> str:
            return unquote_plus(text, errors="strict") if encoded else text

        truncated = self.top.get("IsTruncated")
        token = self.top.get("NextContinuationToken") or None
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
    e_tag = ETag.parse(tag if tag.startswith('"') else f'"{tag}"') if tag else None
    return Listed(key, int(size), e_tag, _date(fields.get("LastModified", "")))


def _date(text: str) -> datetime | None:
    """An ISO 8601 date; None for what is none, as nothing depends on it."""
    with suppress(ValueError, OverflowError):
        date = datetime.fromisoformat(text)
        return date.astimezone(UTC) if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return None
