"""Listings of Google Cloud Storage: what to ask its JSON API for one page, and what the answer says. Pure.

"Objects: list" and "Buckets: list" of the JSON API reference.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from rangecache.errors import InvalidAnswer
from rangecache.model import ETag
from rangecache.origin.base import BucketPage, Listed, ListPage

PAGE_MAX: Final = 1000  # the most that the service gives for one request
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


def objects_query(prefix: str, delimiter: str, token: str | None) -> str:
    """The query of a request for a page of objects: nothing is sent back that is not used."""
    asked = {"fields": "items(name,size,generation,updated),prefixes,nextPageToken", "maxResults": str(PAGE_MAX)}
    given = {"prefix": prefix, "delimiter": delimiter, "pageToken": token}
    return urlencode({**asked, **{name: value for name, value in given.items() if value}})


def buckets_query(project: str, token: str | None) -> str:
    """The query of a request for a page of a project's buckets."""
    asked = {"project": project, "fields": "items(name),nextPageToken", "maxResults": str(PAGE_MAX)}
    if token:
        asked["pageToken"] = token
    return urlencode(asked)


def read_objects(body: bytes) -> ListPage:
    """A page of objects. Their tags are their generations, as those of reads are. Raises `InvalidAnswer`."""
    page = _read(body, "storage#objects")
    prefixes = page.get("prefixes", [])
    if not all(isinstance(prefix, str) for prefix in prefixes):
        raise InvalidAnswer("what Google Cloud Storage sent is no listing")
    return ListPage([_listed(item) for item in page.get("items", [])], prefixes, _next(page))


def read_buckets(body: bytes) -> BucketPage:
    """A page of buckets. Raises `InvalidAnswer`."""
    page = _read(body, "storage#buckets")
    return BucketPage([_text(item, "name") for item in page.get("items", [])], _next(page))


def _read(body: bytes, kind: str) -> dict[str, Any]:
    try:
        page = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer("what Google Cloud Storage sent is no listing") from error
    if (
        not isinstance(page, dict)
        or page.get("kind", kind) != kind
        or not all(isinstance(page.get(name, []), list) for name in ("items", "prefixes"))
        or not page.keys() <= {"kind", "items", "prefixes", "nextPageToken"}
    ):
        raise InvalidAnswer("what Google Cloud Storage sent is no listing")
    return page


def _next(page: dict[str, Any]) -> str | None:
    return _text(page, "nextPageToken") if page.get("nextPageToken") else None


def _listed(item: object) -> Listed:
    size, generation = _text(item, "size"), _text(item, "generation")
    if not _NUMBER.fullmatch(size) or not _NUMBER.fullmatch(generation):
        raise InvalidAnswer("an object of the listing has no size or no generation")
    return Listed(_text(item, "name"), int(size), ETag(generation), _date(item))


def _date(item: object) -> datetime | None:
    """When it was written; None where that cannot be read, as nothing depends on it."""
    with suppress(InvalidAnswer, ValueError, OverflowError):
        date = datetime.fromisoformat(_text(item, "updated"))
        return date.astimezone(UTC) if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return None


def _text(item: object, name: str) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value:
        raise InvalidAnswer(f"an entry of the listing has no {name}")
    return value
