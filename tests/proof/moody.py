"""An origin that fails and lies when it is told to, in the ways that a caller of an `ObjectStore` has to expect."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rangecache.errors import (
    BodyCut,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginTimeout,
    PermissionDenied,
    RangeNotSatisfiable,
    Unavailable,
)
from rangecache.origin.base import GetResult, NotModified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, Purpose
    from rangecache.origin.memory import MemoryStore
    from rangecache.ranges import RangeSpec

ERRORS: Final = {
    "503": lambda: Unavailable("503, as told", throttled=True),
    "reset": lambda: Unavailable("reset, as told"),
    "timeout": lambda: OriginTimeout("as told"),
    "403": lambda: PermissionDenied("as told"),
    "nonsense": lambda: InvalidAnswer("as told"),
}
CUTS: Final = ("cut at once", "cut later")
LIES: Final = ("other version", "whole object", "304", "no validator")
FAULTS: Final = (*ERRORS, *CUTS, *LIES)
CUT_AFTER: Final = 1  # chunk


class Moody:
    """A `MemoryStore` with a list of what is to go wrong next, one fault a request.

    An answer is decided when it is looked up, and heard `latency_s` later.
    """

    def __init__(self, store: MemoryStore, latency_s: float, note_fault: Callable[[], None]) -> None:
        self._store = store
        self._latency_s = latency_s
        self._note_fault = note_fault
        self.next_faults: deque[str] = deque()
        self.open_bodies = 0
        """Answers that have not been left."""

    def source(self, ref: ObjectRef) -> str:
        return self._store.source(ref)

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        return await self._store.bucket_page(provider, at=at, purpose=purpose)

    def check_listable(self, below: ObjectRef) -> None:
        self._store.check_listable(below)

    async def aclose(self) -> None:
        await self._store.aclose()

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        self._fault(ERRORS)
        answer = await self._store.head(ref, if_none_match=if_none_match, purpose=purpose)
        await asyncio.sleep(self._latency_s)
        return answer

    @asynccontextmanager
    async def get(
        self,
        ref: ObjectRef,
        *,
        range: RangeSpec | None = None,
        if_match: ObjectMeta | None = None,
        if_none_match: ObjectMeta | None = None,
        purpose: Purpose = "demand",
    ) -> AsyncIterator[GetResult | NotModified]:
        await asyncio.sleep(self._latency_s)
        possible = {*ERRORS, *CUTS, "whole object", "no validator"}
        possible |= (
            {"304"} if if_none_match is None else set()
        )  # to a condition it would be a lie that nobody finds out
        possible |= {"other version"} if if_match is not None else set()
        fault = self._fault(possible)
        if fault == "304":
            yield NotModified({})
            return
        wanted = None if fault == "whole object" else range
        pin = None if fault == "other version" else if_match
        async with AsyncExitStack() as opened:
            try:
                answer = await opened.enter_async_context(
                    self._store.get(ref, range=wanted, if_match=pin, if_none_match=if_none_match, purpose=purpose)
                )
            except (NotFound, RangeNotSatisfiable) as error:
                if if_match is None:
                    raise
                raise GenerationGone("as every store says of a pin") from error
            await asyncio.sleep(self._latency_s)
            if isinstance(answer, NotModified):
                yield answer
                return
            meta = replace(answer.meta, validator="") if fault == "no validator" else answer.meta
            self.open_bodies += 1
            try:
                yield GetResult(meta, answer.range, self._chunks(answer, fault))
            finally:
                self.open_bodies -= 1

    async def _chunks(self, answer: GetResult, fault: str) -> AsyncIterator[bytes]:
        left = {"cut at once": 0, "cut later": CUT_AFTER}.get(fault)
        async for chunk in answer.chunks:
            if left == 0:
                self._note_fault()
                raise BodyCut("as told")
            left = None if left is None else left - 1
            await asyncio.sleep(self._latency_s / 10)
            yield chunk

    def _fault(self, possible: Container[str]) -> str:
        """What goes wrong now: the next fault that this request can have. Errors are raised here."""
        fault = next((each for each in self.next_faults if each in possible), "")
        if fault:
            self.next_faults.remove(fault)
            self._note_fault()
        if fault in ERRORS:
            raise ERRORS[fault]()
        return fault
