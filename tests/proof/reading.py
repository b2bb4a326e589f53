"""One answer of a simulated world, from its opening to its last byte, judged at every step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from rangecache.errors import (
    GenerationGone,
    InvalidRange,
    NotCached,
    NotFound,
    OriginError,
    RangecacheError,
    RangeNotSatisfiable,
)
from rangecache.model import ObjectRef
from tests.proof.model import Ask, Moment, Violation, content

if TYPE_CHECKING:
    from rangecache.read.messages import Reply
    from tests.proof.world import World

PATIENCE_S: Final = 900.0  # of simulated time: three attempts and all their pauses are over long before


def ref_of(name: str) -> ObjectRef:
    """As the cache calls it."""
    return ObjectRef("mem", "b", name)


class Reading:
    """One answer, from its opening to its last byte."""

    def __init__(self, world: World, name: str, ask: Ask) -> None:
        self._world = world
        self.name = name
        self.ask = ask
        self._reply: Reply | None = None
        self._version = 0
        self._body = bytearray()
        self._started = world.now
        self._quiet_at = world.quiet_at()

    @property
    def open(self) -> bool:
        """There are bytes to come."""
        return self._reply is not None

    def _moment(self, started: float | None = None) -> Moment:
        return Moment(self._started if started is None else started, self._world.now, self._quiet_at)

    async def begin(self) -> None:
        """Ask, and judge what comes."""
        model, ask = self._world.model, self.ask
        try:
            async with asyncio.timeout(PATIENCE_S):
                reply = await self._world.cache.open(ask.range, ref_of(self.name), **ask.fields)
        except NotFound:
            model.judge_absence(self.name, ask, self._moment())
        except (RangeNotSatisfiable, InvalidRange) as error:
            model.judge_unsatisfiable(self.name, ask, error, self._moment())
        except NotCached:
            if ask.cache_control != "only-if-cached":
                raise
        except GenerationGone as error:
            model.judge_cut(self.name, None, error, self._moment())
        except OriginError as error:
            model.judge_error(self.name, error, self._moment())
        else:
            self._opened = self._world.now
            self._spans = [(each.start, each.end) for each in reply.ranges]
            tag = str(reply.meta.e_tag)
            self._version = model.judge_head(self.name, ask, reply.status, tag, self._spans, self._moment())
            if isinstance(reply.body, list | tuple):
                self._end(b"".join(reply.body))
            else:
                self._reply = reply

    async def go_on(self, pieces: int | None = None) -> None:
        """Read some pieces, or all that are left."""
        if self._reply is None:
            return
        body: Any = self._reply.body
        try:
            async with asyncio.timeout(PATIENCE_S):
                while pieces is None or pieces > 0:
                    try:
                        self._body += await anext(body)
                    except StopAsyncIteration:
                        self._end(bytes(self._body))
                        return
                    pieces = None if pieces is None else pieces - 1
        except RangecacheError as error:
            await self.leave()
            self._world.model.judge_cut(self.name, self._version, error, self._moment(self._opened))

    def _end(self, body: bytes) -> None:
        self._reply = None
        self._world.model.judge_body(self.name, self._version, self._spans, body)
        self._world.answers += 1

    async def leave(self) -> None:
        """Go away without the rest. What was read so far has to be right all the same."""
        if self._reply is not None:
            body: Any = self._reply.body
            self._reply = None
            await body.aclose()
            data = content(self.name, self._version)
            if not b"".join(data[start:end] for start, end in self._spans).startswith(self._body):
                raise Violation(f"{self.name}: what was read before it broke off is not of version {self._version}")
