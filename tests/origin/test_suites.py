"""The checks that every store runs: stores that break the contract do not pass them."""

from __future__ import annotations

import asyncio
import posixpath
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from rangecache.errors import BodyCut
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.memory import MemoryStore
from rangecache.ranges import ByteRange
from rangecache.testing import interruption_checks, name_checks, suites


class Broken(MemoryStore):
    """A store that breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(chunk_bytes=30_000, before_answer=self.wait, before_chunk=self.wait)
        self.fault = fault
        self.permits = asyncio.Semaphore(1)
        self.left: list[asyncio.Task[object]] = []
        self.cut_at: int | None = None

    async def wait(self, request, offset: int | None = None) -> None:
        await asyncio.sleep(0)
        if self.cut_at is not None and offset is not None and offset >= self.cut_at:
            self.cut_at = None
            raise _Short if self.fault == "ends cut bodies in order" else BodyCut("cut")

    def source(self, ref):
        return f"number {self.request_count}" if self.fault == "moves about" else super().source(ref)

    async def aclose(self) -> None:
        assert not (self.closed and self.fault == "closes only once"), "closed twice"
        await super().aclose()

    @asynccontextmanager
    async def get(self, ref, **options):
        if self.fault == "leaves a task":
            self.left.append(asyncio.ensure_future(asyncio.sleep(3600)))
        if self.fault == "ignores versions":
            ref = ref._replace(version=None)
        if self.fault == "keeps a permit of who leaves":
            await self.permits.acquire()
        if self.fault == "swallows a cancellation":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self.fault == "ignores pins":
            options.pop("if_match", None)
        if self.fault == "ignores conditions":
            options.pop("if_none_match", None)
        async with super().get(ref, **options) as answer:
            yield self.altered(answer) if isinstance(answer, GetResult) else answer
        self.permits.release()

    def altered(self, answer: GetResult) -> GetResult:
        meta, span = answer.meta, answer.range
        if self.fault == "shifted bytes" and span.start:
            return replace(answer, range=ByteRange(span.start - 1, span.end - 1))
        if self.fault == "cut body":
            return replace(answer, chunks=_first_only(answer.chunks))
        if self.fault == "ends cut bodies in order":
            return replace(answer, chunks=_until_short(answer.chunks))
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
        if self.fault == "resolves steps":
            request = replace(request, ref=request.ref._replace(key=posixpath.normpath(request.ref.key).lstrip("/")))
        if self.fault == "empty for absent" and request.ref not in self._objects:
            self.put(request.ref, b"")
        return await super()._look_up(request)


async def _first_only(chunks):
    async for chunk in chunks:
        yield chunk
        return


class _Short(Exception):
    pass


async def _until_short(chunks):
    with suppress(_Short):
        async for chunk in chunks:
            yield chunk


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

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        async with MemoryStore.get(self.store, ref) as answer:
            assert isinstance(answer, GetResult)
            data = b"".join([chunk async for chunk in answer.chunks])
        self.store.put(ref._replace(version="1"), data)
        return ref._replace(version="1")

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self.store.cut_at = after_bytes


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("shifted bytes", suites.gives_exactly_the_range),
        ("shifted bytes", interruption_checks.answers_many_at_once),
        ("cut body", suites.gives_a_whole_object),
        ("cut body", interruption_checks.may_be_left_early),
        ("no validator", suites.gives_a_whole_object),
        ("size of the part", suites.gives_exactly_the_range),
        ("size of the part", suites.tells_by_head_what_get_tells),
        ("one generation for all", suites.tells_by_head_what_get_tells),
        ("ignores pins", suites.keeps_to_the_pinned_version),
        ("ignores conditions", suites.says_that_nothing_has_changed),
        ("empty for absent", suites.says_that_an_object_is_absent),
        ("empty for absent", suites.says_that_a_deleted_object_is_absent),
        ("decodes keys", name_checks.takes_any_key),
        ("resolves steps", name_checks.takes_nothing_in_a_key_for_a_step),
        ("moves about", name_checks.names_its_source),
        ("ignores versions", name_checks.reads_the_version_that_is_named),
        ("leaves a task", interruption_checks.leaves_nothing_running),
        ("closes only once", interruption_checks.closes),
        ("swallows a cancellation", interruption_checks.may_be_cancelled_at_each_await),
        ("keeps a permit of who leaves", interruption_checks.may_be_cancelled_at_each_await),
        ("ends cut bodies in order", interruption_checks.never_ends_a_body_early),
    ],
)
async def test_a_store_that_breaks_the_contract_is_caught(fault: str, check, monkeypatch: pytest.MonkeyPatch) -> None:
    await check(BrokenSubject("none"))
    monkeypatch.setattr(interruption_checks, "PATIENCE_S", 0.1)
    broken = BrokenSubject(fault)
    with pytest.raises((AssertionError, TimeoutError)):
        await check(broken)
    for task in broken.store.left:
        task.cancel()
