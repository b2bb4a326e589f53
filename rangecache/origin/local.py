"""What stores that hold the bytes themselves decide before they answer; what a server decides for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import GenerationGone, RangeNotSatisfiable
from rangecache.origin.base import ListPage, NotModified
from rangecache.ranges import ByteRange, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rangecache.model import ObjectMeta
    from rangecache.origin.base import Listed
    from rangecache.ranges import RangeSpec


def unchanged(current: ObjectMeta, known: ObjectMeta | None) -> NotModified | None:
    """The answer to `if_none_match`: NotModified if `known` is the present generation. A generation that nothing
    identifies equals none, not even itself."""
    if known is not None and current.generation and current.generation == known.generation:
        return NotModified(current.headers)
    return None


def select(current: ObjectMeta, wanted: RangeSpec | None, if_match: ObjectMeta | None) -> ByteRange:
    """The bytes to send: those asked for, clamped, of the generation asked for.

    The precondition comes before the range (RFC 9110 section 13.2.2). Raises `GenerationGone` and
    `RangeNotSatisfiable`.
    """
    if if_match is not None and (not current.generation or current.generation != if_match.generation):
        raise GenerationGone(f"{current.ref} has changed since it was first read", current)
    if wanted is None:
        return ByteRange(0, current.size)
    found = resolve(wanted, current.size)
    if found is None:
        raise RangeNotSatisfiable(f"{current.ref} has {current.size} bytes; none of the range lies in it", current.size)
    return found


def page_of(found: Iterable[Listed], prefix: str, delimiter: str, at: str | None, entries_max: int) -> ListPage:
    """One page out of all the objects that begin with `prefix`, in the order of their keys' UTF-8, from behind `at`."""
    entries: dict[str, Listed | None] = {}
    for each in found:
        step, cut, _ = each.key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        entries[prefix + step + cut if cut else each.key] = None if cut else each
    names = sorted((name for name in entries if at is None or name.encode() > at.encode()), key=str.encode)
    page = names[:entries_max]
    return ListPage(
        [entry for name in page if (entry := entries[name]) is not None],
        [name for name in page if entries[name] is None],
        page[-1] if len(names) > len(page) else None,
    )
