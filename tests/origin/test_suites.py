"""The checks that every store runs: the web provider passes them, and stores that break the contract do not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.memory import MemoryStore
from rangecache.ranges import ByteRange
from rangecache.testing import suites
from rangecache.testing.suites import STORE_CHECKS

if TYPE_CHECKING:
    from rangecache.origin.web import WebStore
    from rangecache.testing.origin import Origin


class WebSubject:
    def __init__(self, origin: Origin, store: WebStore) -> None:
        self.origin = origin
        self.store = store

    async def put(self, key: str, data: bytes) -> ObjectRef:
        self.origin.put(key, data)
        return ObjectRef("web", "bucket", key)

    async def delete(self, ref: ObjectRef) -> None:
        self.origin.delete(ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("web", "bucket", "absent")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_the_web_store_keeps_the_contract(check, origin: Origin, store: WebStore) -> None:
    await check(WebSubject(origin, store))


class Broken(MemoryStore):
    """A store that breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(chunk_bytes=30_000)
        self.fault = fault

    @asynccontextmanager
    async def get(self, ref, **options):
        if self.fault == "ignores pins":
            options.pop("if_match", None)
        if self.fault == "ignores conditions":
            options.pop("if_none_match", None)
        async with super().get(ref, **options) as answer:
            yield self.altered(answer) if isinstance(answer, GetResult) else answer

    def altered(self, answer: GetResult) -> GetResult:
        meta, span = answer.meta, answer.range
        if self.fault == "shifted bytes" and span.start:
            return replace(answer, range=ByteRange(span.start - 1, span.end - 1))
        if self.fault == "cut body":
            return replace(answer, chunks=_first_only(answer.chunks))
        if self.fault == "no validator":
            return replace(answer, meta=replace(meta, validator=""))
        if self.fault == "one generation for all":
            return replace(answer, meta=replace(meta, validator="the same"))
        if self.fault == "size of the part":
            return replace(answer, meta=replace(meta, size=span.length))
        return answer

    async def _look_up(self, request):
        if self.fault == "decodes keys":
            request = replace(request, ref=request.ref._replace(key=request.ref.key.replace("%2F", "/")))
        if self.fault == "empty for absent" and request.ref not in self._objects:
            self.put(request.ref, b"")
        return await super()._look_up(request)


async def _first_only(chunks):
    async for chunk in chunks:
        yield chunk
        return


class BrokenSubject:
    def __init__(self, fault: str) -> None:
        self.store = Broken(fault)

    async def put(self, key: str, data: bytes) -> ObjectRef:
        self.store.put(ObjectRef("mem", "bucket", key), data)
        return ObjectRef("mem", "bucket", key)

    async def delete(self, ref: ObjectRef) -> None:
        self.store.delete(ref)

    def absent(self) -> ObjectRef:
        return ObjectRef("mem", "bucket", "absent")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("shifted bytes", suites.gives_exactly_the_range),
        ("shifted bytes", suites.answers_many_at_once),
        ("cut body", suites.gives_a_whole_object),
        ("cut body", suites.may_be_left_early),
        ("no validator", suites.gives_a_whole_object),
        ("size of the part", suites.gives_exactly_the_range),
        ("size of the part", suites.tells_by_head_what_get_tells),
        ("one generation for all", suites.tells_by_head_what_get_tells),
        ("ignores pins", suites.keeps_to_the_pinned_version),
        ("ignores conditions", suites.says_that_nothing_has_changed),
        ("empty for absent", suites.says_that_an_object_is_absent),
        ("empty for absent", suites.says_that_a_deleted_object_is_absent),
        ("decodes keys", suites.takes_any_key),
    ],
)
async def test_a_store_that_breaks_the_contract_is_caught(fault: str, check) -> None:
    await check(BrokenSubject("none"))
    with pytest.raises(AssertionError):
        await check(BrokenSubject(fault))
