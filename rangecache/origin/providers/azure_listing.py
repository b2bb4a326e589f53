"""List Blobs and List Containers: what to ask for one page, and what the answer says. Pure.

"List Blobs" and "List Containers" of the Azure Storage REST reference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote
from xml.parsers import expat

from rangecache.errors import InvalidAnswer
from rangecache.httpdate import parse_http_date
from rangecache.model import ETag
from rangecache.origin.base import BucketPage, Listed, ListPage

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRIES_MAX: Final = 5000  # the most that Azure gives for one request
_TOP: Final = ("EnumerationResults",)
_BLOB: Final = (*_TOP, "Blobs", "Blob")
_PREFIX: Final = (*_TOP, "Blobs", "BlobPrefix")
_CONTAINER: Final = (*_TOP, "Containers", "Container")
_ENTRIES: Final = (_BLOB, _PREFIX, _CONTAINER)
_SIZE = re.compile(r"[0-9]{1,19}", re.ASCII)


def query(prefix: str, delimiter: str, marker: str | None) -> str:
    """The query of a request for a page of blobs."""
    fields = {"restype": "container", "comp": "list", "maxresults": str(ENTRIES_MAX)}
    if prefix:
        fields["prefix"] = prefix
    if delimiter:
        fields["delimiter"] = delimiter
    return _joined(fields, marker)


def container_query(marker: str | None) -> str:
    """The query of a request for a page of containers."""
    return _joined({"comp": "list", "maxresults": str(ENTRIES_MAX)}, marker)


def read_page(body: bytes) -> ListPage:
    """Read a page of blobs. Raises `InvalidAnswer` for everything else; no entity is ever resolved."""
    reader = _read(body)
    try:
        # An account with a hierarchical namespace lists folders as if they were empty blobs.
        blobs = [each for each in reader.entries(_BLOB) if each.get("ResourceType") != "directory"]
        prefixes = [_name(each) for each in reader.entries(_PREFIX)]
        return ListPage([_listed(each) for each in blobs], prefixes, reader.next_marker)
    except ValueError as error:
        raise InvalidAnswer("what Azure sent is no listing") from error


def read_containers(body: bytes) -> BucketPage:
    """Read a page of containers. Raises `InvalidAnswer` for everything else."""
    reader = _read(body)
    try:
        return BucketPage([_name(each) for each in reader.entries(_CONTAINER)], reader.next_marker)
    except ValueError as error:
        raise InvalidAnswer("what Azure sent is no listing") from error


def _joined(fields: Mapping[str, str], marker: str | None) -> str:
    given = dict(fields) if marker is None else {**fields, "marker": marker}
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in given.items())


def _read(body: bytes) -> _Reader:
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(body.removeprefix(b"\xef\xbb\xbf"), True)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidAnswer("what Azure sent is no listing") from error
    if not reader.complete:
        raise InvalidAnswer("the listing that Azure sent does not say whether it goes on")
    return reader


class _Reader:
    """Collects the text of the elements that are used. Raises ValueError for what is not a listing."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._text: list[str] = []
        self._fields: dict[str, str] = {}
        self._entries: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        self.complete = False
        self.next_marker: str | None = None

    def entries(self, kind: tuple[str, ...]) -> list[Mapping[str, str]]:
        """The fields of the entries of one kind, in the order of the listing."""
        return self._entries.get(kind, [])

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._open and name != _TOP[0]:
            raise ValueError("the document is another one")
        self._open.append(name)
        self._text.clear()
        if tuple(self._open) in _ENTRIES:
            self._fields = {}
        elif name == "Name" and attributes.get("Encoded") == "true":
            self._fields["Encoded"] = "true"

    def end(self, name: str) -> None:
        path, text = tuple(self._open), "".join(self._text)
        self._open.pop()
        self._text.clear()
        if path in _ENTRIES:
            self._entries.setdefault(path, []).append(self._fields)
        elif path[:-1] in _ENTRIES or (path[:-2] in _ENTRIES and path[-2] == "Properties"):
            self._fields[name] = text
        elif path == (*_TOP, "NextMarker"):
            self.complete, self.next_marker = True, text or None

    def text(self, part: str) -> None:
        self._text.append(part)

    def refuse(self, *_: object) -> None:
        raise ValueError("a listing has no document type, and entities are not read")


def _name(fields: Mapping[str, str]) -> str:
    name = fields.get("Name", "")
    if not name:
        raise ValueError("an entry of the listing has no name")
    # Characters that XML cannot carry (from version 2021-02-12 on).
    return unquote(name, errors="strict") if "Encoded" in fields else name


def _listed(fields: Mapping[str, str]) -> Listed:
    size = fields.get("Content-Length", "")
    if not _SIZE.fullmatch(size):
        raise ValueError("a blob of the listing has no size")
    tag = fields.get("Etag", "")
    e_tag = ETag.parse(tag if tag.startswith('"') else f'"{tag}"') if tag else None
    return Listed(_name(fields), int(size), e_tag, parse_http_date(fields.get("Last-Modified", "")))
