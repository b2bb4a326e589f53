"""The rows of the catalog's database: what their keys and values say, and what of them is believed. Pure.

A row's key is the object's name as text, `provider/bucket/key`, behind it a newline and the version where one was asked
for: so the rows lie in the order of the names, and those under a prefix lie together. Its value is compressed JSON: the
name once more, and the record.
"""

from __future__ import annotations

import json
import sys
import zlib
from contextlib import suppress
from typing import Any, Final, NamedTuple

from diskcache_community import Disk
from diskcache_community.core import MODE_RAW, UNKNOWN

from rangecache.model import ObjectRef

Record = dict[str, Any]

RECORD_BYTES_MAX: Final = 256 * 1024
"""As JSON. Response headers are bounded well below it; it also bounds what a damaged row may unpack to."""


class Entry(NamedTuple):
    """A row."""

    row: str
    """Its key: where the next page goes on."""
    ref: ObjectRef
    record: Record | None
    """None where it was not asked for, or cannot be read."""


class Page(NamedTuple):
    """Rows in the order of their keys."""

    entries: list[Entry]
    last: str | None
    """The key behind which there may be more; None at the end."""


def row_key(ref: ObjectRef) -> str | None:
    """The key of an object's row; None if it can have none, because its name would be read as another's."""
    name = str(ref)
    if "\n" in name:
        return None
    return name if ref.version is None else f"{name}\n{ref.version}"


def entry_of(key: str, mode: Any, filename: Any, value: Any) -> Entry:
    """A row, from its columns."""
    name, mark, version = key.partition("\n")
    provider, _, rest = name.partition("/")
    bucket, _, key_of_object = rest.partition("/")
    # A hundred thousand names have few providers and buckets among them.
    ref = ObjectRef(sys.intern(provider), sys.intern(bucket), key_of_object, version if mark else None)
    record = None
    if mode == MODE_RAW and filename is None and isinstance(value, bytes):
        with suppress(ValueError, zlib.error):
            record = record_in(_unpack(value), ref)
    return Entry(key, ref, record)


def record_in(found: Any, ref: ObjectRef) -> Record | None:
    """The record that the value of an object's row holds, if it is one of this object."""
    # The name is kept with the record too: a damaged index may lead to the row of another object.
    match found:
        case [name, dict() as record] if name == list(ref):
            return record
    return None


class JSONRows(Disk):
    """The library reads whatever a row says it is: a row of mode 4 is unpickled, which runs code.

    Here a key is text, a value is JSON, and an unreadable row is deleted and absent (`on_error`).
    """

    on_error = "miss"

    def get(self, key: Any, raw: bool) -> Any:
        """A row's key."""
        if not raw or not isinstance(key, str):
            raise ValueError("a key that is no text")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> Any:
        """What a row holds for a value."""
        return super().store(zlib.compress(json.dumps(value).encode(), 1), read=False, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        """A row's value."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise ValueError("a value that is no JSON in its row")
        return _unpack(value)


def _unpack(packed: bytes) -> Any:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(packed, RECORD_BYTES_MAX)
    if not unpacking.eof:
        raise ValueError("cut, or longer than any record")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested deeper than any record") from error
