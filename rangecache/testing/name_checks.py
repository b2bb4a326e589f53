"""What every `ObjectStore` must make of names: of keys, of versions, and of where an object is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.errors import BadRequest, InvalidAnswer, NotFound
from rangecache.model import ObjectMeta
from rangecache.testing.subject import ODD_KEYS, Unwritable, content, equal, expect, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.testing.subject import KeepingSubject, Subject

# Each could be taken for a step on a path, and would then lead to one of the objects in its way.
STEPS: Final = (
    "steps//b",
    "steps/./b",
    "steps/x/../b",
    "steps/b/",
    "./steps/b",
    "/steps/b",
    "x/../steps/b",
    "x/..//steps/b",
    "steps/x/..\\b",
)


async def takes_any_key(subject: Subject) -> None:
    """A key is opaque text: what looks like an escape, a query or a path is a part of it."""
    refs = [(await subject.put(key, key.encode()), key) for key in ODD_KEYS]
    for ref, key in refs:
        _, _, body = await read(subject.store, ref)
        equal(f"bytes of {key!r}", body, key.encode())


async def takes_nothing_in_a_key_for_a_step(subject: Subject) -> None:
    """`//`, `.` and `..` are parts of names too: such a key is read as itself, or not at all. Never is it another
    object, by a way around the rules for that one."""
    plain = await subject.put("steps/b", b"in the way")
    for key in STEPS:
        ref = plain._replace(key=key)
        try:
            await subject.put(key, key.encode())
        except Unwritable:
            written = False
        else:
            written = True
        try:
            _, _, body = await read(subject.store, ref)
        except BadRequest:
            continue
        except (NotFound, InvalidAnswer) as error:  # that the origin takes no such name is an answer of its own kind
            expect(not written, f"{key!r} was written, and cannot be read: {error}")
        else:
            expect(body == key.encode() and written, f"the key {key!r} led to {body!r:.40}")
    _, _, body = await read(subject.store, plain)
    equal("bytes of the plain key", body, b"in the way")


async def names_its_source(subject: Subject) -> None:
    """The same before and after a write, and in the metadata of every version."""
    source = subject.store.source(subject.absent())
    ref = await subject.put("source.bin", b"one")
    for data in (b"one", b"other"):
        await subject.put("source.bin", data)
        by_head = await subject.store.head(ref)
        by_get, _, _ = await read(subject.store, ref)
        expect(isinstance(by_head, ObjectMeta), "head() without a condition answered NotModified")
        told = {getattr(by_head, "source", ""), by_get.source, subject.store.source(ref)}
        equal("sources", told, {source})


async def reads_the_version_that_is_named(subject: KeepingSubject) -> None:
    """As long as it is kept, whatever is there now; and it is another object than the one without a version."""
    old, new = content("kept", 3000), content("newer", 2000)
    ref = await subject.put("kept.bin", old)
    kept = await subject.keep(ref)
    await subject.put("kept.bin", new)
    now, _, body = await read(subject.store, ref)
    expect(body == new, "without a version the newest one is read")
    before, _, body = await read(subject.store, kept)
    expect(body == old, "the bytes of the version that was kept are wrong")
    equal("size, and the ref with its version", (before.size, before.ref), (len(old), kept))
    expect(before.generation != now.generation, "two versions have the same generation")
    _, _, body = await read(subject.store, kept, if_match=before)
    expect(body == old, "the bytes of a pinned read of the version that was kept are wrong")
    by_head = await subject.store.head(kept)
    equal("generation by head", getattr(by_head, "generation", None), before.generation)


NAME_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    takes_any_key,
    takes_nothing_in_a_key_for_a_step,
    names_its_source,
)
VERSION_CHECKS: Final[tuple[Callable[[KeepingSubject], Awaitable[None]], ...]] = (reads_the_version_that_is_named,)
