"""What every `ObjectStore` that has a listing must list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.errors import NotListable
from rangecache.origin.listing import list_all
from rangecache.testing.subject import ODD_KEYS, content, equal, expect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.testing.subject import Subject

PAGED_OBJECTS: Final = 1_003  # a little more than S3 puts on a page
_WRITERS: Final = 8


async def lists_what_is_there(subject: Subject) -> None:
    """Every object below a prefix, once, with its size; with a delimiter one level of them. Or `NotListable`."""
    sizes = {"listed/a": 1, "listed/b/1": 2, "listed/b/2": 3, "listed/b/c/d": 4, "listed/b-": 5, "listedness": 6}
    refs = {key: await subject.put(key, content(key, size)) for key, size in sizes.items()}
    below = refs["listed/a"]._replace(key="listed/")
    try:
        everything = await _list(subject.store, below)
    except NotListable:
        return
    del sizes["listedness"]
    equal("objects and sizes", everything, ([], sizes))
    one_level = await _list(subject.store, below, "/")
    equal("one level", one_level, (["listed/b/"], {"listed/a": 1, "listed/b-": 5}))
    inner = below._replace(key="listed/b")
    names = {key: size for key, size in sizes.items() if key.startswith("listed/b")}
    equal("a prefix without a slash", await _list(subject.store, inner), ([], names))
    equal("nothing", await _list(subject.store, below._replace(key="listed/no")), ([], {}))
    await subject.delete(refs["listed/b/1"])
    equal("after a delete", len((await _list(subject.store, below))[1]), 4)


async def lists_any_key(subject: Subject) -> None:
    """As it can be read."""
    # Some services store a backslash as a slash and read it under both names.
    refs = [await subject.put(f"odd/{key}", b"x") for key in ODD_KEYS if "\\" not in key]
    try:
        _, sizes = await _list(subject.store, refs[0]._replace(key="odd/"))
    except NotListable:
        return
    equal("keys", sorted(sizes), sorted(ref.key for ref in refs))


async def lists_page_after_page(subject: Subject) -> None:
    """More than fits into one."""
    keys = [f"paged/{number // 100}/{number:04}" for number in range(PAGED_OBJECTS)]
    ref = await subject.put(keys[0], b"x")
    try:
        await _list(subject.store, ref)
    except NotListable:
        return
    turns = asyncio.Semaphore(_WRITERS)

    async def write(key: str) -> None:
        async with turns:
            await subject.put(key, b"x")

    await asyncio.gather(*map(write, keys[1:]))
    _, sizes = await _list(subject.store, ref._replace(key="paged/"))
    equal("number of objects", len(sizes), len(keys))
    expect(sorted(sizes) == sorted(keys), "the listing of many objects has other keys")


async def _list(store: ObjectStore, below: ObjectRef, delimiter: str = "") -> tuple[list[str], dict[str, int]]:
    """All prefixes, and all keys with their sizes; none may come twice."""
    prefixes: list[str] = []
    sizes: dict[str, int] = {}
    async for page in list_all(store, below, delimiter=delimiter):
        for entry in page.objects:
            expect(entry.key not in sizes, f"{entry.key} is listed twice")
            sizes[entry.key] = entry.size
        prefixes += page.prefixes
    expect(len(set(prefixes)) == len(prefixes), "a prefix is listed twice")
    return sorted(prefixes), sizes


LISTING_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    lists_what_is_there,
    lists_any_key,
    lists_page_after_page,
)
