"""What conformance checks check, and how they say that it failed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.errors import RangecacheError
from rangecache.origin.base import GetResult

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import NotModified, ObjectStore
    from rangecache.ranges import ByteRange, RangeSpec

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


class Unwritable(Exception):
    """No object can have that key where the subject writes."""


class Subject(Protocol):
    """A store under test and a way to change what it reads."""

    store: ObjectStore

    async def put(self, key: str, data: bytes) -> ObjectRef:
        """Write an object, or overwrite it, and say how the store is asked for it. Raises `Unwritable`."""
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """Remove an object that `put` wrote."""
        ...

    def absent(self) -> ObjectRef:
        """Where an object might be but is not."""
        ...


class KeepingSubject(Subject, Protocol):
    """One whose origin keeps versions."""

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        """Name the version that is there now, so that it can be asked for after the object was overwritten."""
        ...


class FrailSubject(Subject, Protocol):
    """One whose origin can be made to break off."""

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        """The next body of this object ends after so many bytes of it, and its connection with it; once."""
        ...


def content(seed: str, size: int = SIZE_BYTES) -> bytes:
    """Bytes that look random and are the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


async def read(
    store: ObjectStore,
    ref: ObjectRef,
    range: RangeSpec | None = None,
    *,
    if_match: ObjectMeta | None = None,
) -> tuple[ObjectMeta, ByteRange, bytes]:
    """Open an object, read it to its end and close it."""
    async with store.get(ref, range=range, if_match=if_match) as answer:
        found = opened(answer)
        return found.meta, found.range, b"".join([chunk async for chunk in found.chunks])


def opened(answer: GetResult | NotModified) -> GetResult:
    """The answer, which must be one with bytes."""
    if not isinstance(answer, GetResult):
        raise AssertionError("the store said that nothing had changed where it had to send the object")
    return answer


async def raises(kind: type[RangecacheError], work: Awaitable[object], what: str) -> RangecacheError:
    """The error of that kind that `work` must end with."""
    try:
        found = await work
    except RangecacheError as error:
        expect(isinstance(error, kind), f"{what}: {type(error).__name__} was raised, not {kind.__name__}: {error}")
        return error
    raise AssertionError(f"{what}: answered {found!r:.200}, expected {kind.__name__}")


def expect(holds: object, otherwise: str) -> None:
    """Raises `AssertionError` unless it holds."""
    if not holds:
        raise AssertionError(otherwise)


def equal(what: str, found: object, expected: object) -> None:
    """Raises `AssertionError` with both unless they are equal."""
    expect(found == expected, f"{what}: found {found!r:.200}, expected {expected!r:.200}")
