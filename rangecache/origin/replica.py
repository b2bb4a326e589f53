"""One of the origins that stand in for each other: its own names for objects, and how it does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from rangecache.errors import RangecacheError, Unavailable
from rangecache.origin.base import GetResult, ListPage, NotModified
from rangecache.origin.fitness import Fitness
from rangecache.origin.stopwatch import carry_none

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import Purpose
    from rangecache.origin.breaking import Breaking, EndpointHealth
    from rangecache.ranges import RangeSpec

LOOK_S: Final = 0.25  # how often who waits for a head looks whether this replica has been found to be down

T = TypeVar("T")


class Place(NamedTuple):
    """Where a bucket of the failover set lies at one replica."""

    bucket: str
    prefix: str = ""
    """What every key begins with there."""


class Replica:
    """Translates between the names of the set and its own. All objects and versions that go in and out of its methods
    are the set's; errors are `OriginError`s."""

    def __init__(self, name: str, store: Breaking, clock: Clock, place: Callable[[str], Place | None]) -> None:
        """`place` says where a bucket lies; None where this replica does not have it. `name` has no spaces."""
        self.name = name
        self._store = store
        self._clock = clock
        self._place = place
        self._fitness = Fitness(name, clock)

    def has(self, ref: ObjectRef) -> bool:
        """Whether objects of this bucket are looked for here."""
        return self._place(ref.bucket) is not None

    def is_up(self, ref: ObjectRef) -> bool:
        """Whether it is not known to be down, or to be there and of no use."""
        return self._store.state(self._there(ref)) == "closed" and self._fitness.is_good(ref)

    def latency_s(self, ref: ObjectRef) -> float:
        """How long answers of this object's endpoint have taken to begin, of late; 0 before there was one."""
        return self._store.latency_s(self._there(ref))

    def health(self) -> Iterator[EndpointHealth]:
        """Of its endpoints, whoever asked them."""
        return self._store.health()

    def faults(self) -> Iterator[EndpointHealth]:
        """Why it is of no use though its endpoints answer, for each bucket of the set."""
        return self._fitness.faults()

    def may_be_probed(self, ref: ObjectRef) -> bool:
        """Whether it is down and has been left alone for long enough."""
        left_alone = self._store.retry_after_s(self._there(ref)) or self._fitness.retry_after_s(ref)
        return not self.is_up(ref) and not left_alone

    def hurry(self, ref: ObjectRef) -> None:
        """Let the next request through though it is down, as a probe."""
        self._store.hurry(self._there(ref))
        self._fitness.hurry(ref)

    def source(self, ref: ObjectRef) -> str:
        """That of its versions of this object."""
        return f"{self._label(ref)} {self._store.source(self._there(ref))}"

    def made(self, meta: ObjectMeta) -> bool:
        """Whether this version is one of its own."""
        return self.has(meta.ref) and meta.source == self.source(meta.ref)

    async def head(
        self, ref: ObjectRef, if_none_match: ObjectMeta | None, purpose: Purpose
    ) -> ObjectMeta | NotModified:
        """As `ObjectStore.head`."""
        condition = None if if_none_match is None else self._inward(if_none_match)
        with self._fitness.judge(ref):
            asking = self._store.head(self._there(ref), if_none_match=condition, purpose=purpose)
            answer = await self._unless_down(ref, asking)
        return answer if isinstance(answer, NotModified) else self._outward(ref, answer)

    @asynccontextmanager
    async def get(
        self,
        ref: ObjectRef,
        range: RangeSpec | None,
        if_match: ObjectMeta | None,
        if_none_match: ObjectMeta | None,
        purpose: Purpose,
    ) -> AsyncIterator[GetResult | NotModified]:
        """As `ObjectStore.get`."""
        context = self._store.get(
            self._there(ref),
            range=range,
            if_match=None if if_match is None else self._inward(if_match),
            if_none_match=None if if_none_match is None else self._inward(if_none_match),
            purpose=purpose,
        )
        with self._fitness.judge(ref):
            answer = await self._unless_down(ref, context.__aenter__(), context)
        try:
            if isinstance(answer, GetResult):
                answer = GetResult(self._outward(ref, answer.meta), answer.range, answer.chunks)
            yield answer
        finally:
            await context.__aexit__(None, None, None)

    async def list_page(self, below: ObjectRef, delimiter: str, at: str | None, purpose: Purpose) -> ListPage:
        """As `ObjectStore.list_page`."""
        there = self._there(below)
        page = await self._store.list_page(there, delimiter=delimiter, at=at, purpose=purpose)
        cut = len(there.key) - len(below.key)
        objects = [each._replace(key=each.key[cut:]) for each in page.objects]
        return ListPage(objects, [prefix[cut:] for prefix in page.prefixes], page.next)

    def check_listable(self, below: ObjectRef) -> None:
        """As `ObjectStore.check_listable`."""
        self._store.check_listable(self._there(below))

    async def probe(self, ref: ObjectRef) -> None:
        """Ask whether it is there, by a HEAD; any answer will do. To be run as a task of its own."""
        carry_none()
        try:
            await self.head(ref, None, "failover")
        except RangecacheError:
            return  # the breaker has heard of it, or this replica cannot have an object of such a name

    async def _unless_down(
        self,
        ref: ObjectRef,
        asking: Coroutine[Any, Any, T],
        context: AbstractAsyncContextManager[GetResult | NotModified] | None = None,
    ) -> T:
        """What it answers; `Unavailable` as soon as others have found it to be down. `context` is left if the answer
        comes when nobody wants it any more."""
        task = asyncio.ensure_future(asking)
        try:
            while not task.done():
                look = asyncio.ensure_future(self._clock.sleep(LOOK_S))
                try:
                    await asyncio.wait({task, look}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    look.cancel()
                if not task.done() and self._store.state(self._there(ref)) == "open":
                    raise Unavailable(f"{self.name} has been found to be down meanwhile")
        except BaseException:
            task.cancel()
            await asyncio.wait({task})
            if context is not None and not task.cancelled() and task.exception() is None:
                await context.__aexit__(None, None, None)
            raise
        return task.result()

    # --- names ----------------------------------------------------------------------------------------------------

    def name_of(self, ref: ObjectRef) -> ObjectRef:
        """What the object is called here."""
        return self._there(ref)

    def _label(self, ref: ObjectRef) -> str:
        """The prefix is a part of it: below another one are other objects, perhaps of the same dates and lengths."""
        place = self._place(ref.bucket)
        return f"{self.name}/{place.prefix}" if place is not None and place.prefix else self.name

    def _there(self, ref: ObjectRef) -> ObjectRef:
        place = self._place(ref.bucket)
        if place is None:
            raise Unavailable(f"{self.name} has no bucket for {ref.provider}/{ref.bucket}")
        return ref._replace(provider=self.name, bucket=place.bucket, key=place.prefix + ref.key)

    def _inward(self, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, ref=self._there(meta.ref), source=meta.source.removeprefix(f"{self._label(meta.ref)} "))

    def _outward(self, ref: ObjectRef, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, ref=ref, source=f"{self._label(ref)} {meta.source}")

    def __repr__(self) -> str:
        return f"<Replica {self.name}>"
