"""What conformance checks check, and how they say that it failed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore

SIZE_BYTES: Final = 200_003  # several chunks of any store, and no multiple of anything
ODD_KEYS: Final = (
    "with space",
    "a+b",
    "a/b",
    "a%2Fb",
    "a%252Fb",
    "100%",
    "year=2026/month=01/part-0.parquet",
    "é中🙂",
    "e\u0301",  # the decomposed form of é, another name
    "a?b#c&d;e",
    "semi'quote\"<>&amp;",
    "~tilde-._*()!$,:@",
    "back\\slash",
    ".hidden/..name/...",
)


class Subject(Protocol):
    """A store under test and a way to change what it reads."""

    store: ObjectStore

    async def put(self, key: str, data: bytes) -> ObjectRef:
        """Write an object, or overwrite it, and say how the store is asked for it."""
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """Remove an object that `put` wrote."""
        ...

    def absent(self) -> ObjectRef:
        """Where an object might be but is not."""
        ...


def content(seed: str, size: int = SIZE_BYTES) -> bytes:
    """Bytes that look random and are the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def expect(holds: object, otherwise: str) -> None:
    """Raises `AssertionError` unless it holds."""
    if not holds:
        raise AssertionError(otherwise)


def equal(what: str, found: object, expected: object) -> None:
    """Raises `AssertionError` with both unless they are equal."""
    expect(found == expected, f"{what}: found {found!r:.200}, expected {expected!r:.200}")
