"""An answer of the origin that goes to one reader, and how much of it is kept while he is slow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from rangecache.aio.allowance import Allowance
from rangecache.errors import RangecacheError
from rangecache.read.run import Run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rangecache.origin.base import GetResult
    from rangecache.ranges import ByteRange
    from rangecache.read.epochs import Keeper
    from rangecache.read.known import Known

HAND_OFF_BYTES: Final = 16 * 1024 * 1024  # of all hand-offs together, and of what else passes to one client each
HAND_OFF_LEAST_BYTES: Final = 64 * 1024  # what each may have waiting however many there are; one chunk goes beyond it
HAND_OFF_MOST_BYTES: Final = 1024 * 1024  # what one alone may have waiting: some milliseconds of a quick origin
HAND_OFF_TAKEN_S: Final = 1.0  # the reader is there when the hand-off is made; if he has just left, nobody comes


def hand_off_allowance() -> Allowance:
    """For all that passes from origins to one client each. Where it is full, origins are read no further."""
    return Allowance(HAND_OFF_BYTES, least_bytes=HAND_OFF_LEAST_BYTES, most_bytes=HAND_OFF_MOST_BYTES)


class Channel:
    """Chunks from one task to another, in order. Who sends waits for his own receiver and for nobody else.

    A chunk counts until the receiver asks for the next one: he may be slow to pass it on.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self._in_hand_bytes = 0
        self._error: RangecacheError | None = None
        self._ended = False
        self._changed = asyncio.Event()

    async def send(self, chunk: bytes) -> None:
        """Give the receiver a chunk, and wait until there is room for another one."""
        if self._ended:
            return
        self._chunks.append(chunk)
        self._charge(len(chunk))
        self._changed.set()
        while self._chunks and self._held_bytes > self._allowance.share_bytes and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    async def receive(self) -> bytes | None:
        """The next chunk, None at the end. Raises what the channel was ended with."""
        self._let_go()
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._in_hand_bytes = len(chunk)
        self._changed.set()
        return chunk

    def end(self, error: RangecacheError | None = None) -> None:
        """Nothing more will be sent; what has been sent can still be received."""
        self._ended, self._error = True, error
        self._changed.set()

    def close(self) -> None:
        """Nobody will receive any more."""
        self.end()
        self._chunks.clear()
        self._in_hand_bytes = 0
        self._charge(-self._held_bytes)

    def _let_go(self) -> None:
        self._charge(-self._in_hand_bytes)
        self._in_hand_bytes = 0

    def _charge(self, change_bytes: int) -> None:
        self._held_bytes += change_bytes
        self._allowance.charge(change_bytes)


class HandOff:
    """An open answer on its way to one reader. The origin is read no faster than the reader reads."""

    def __init__(self, answered: ByteRange, allowance: Allowance) -> None:
        self.range = answered
        self._channel = Channel(allowance)
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def take(self) -> bool:
        """Become the reader. True for the first who asks."""
        first = not self._taken.is_set()
        self._taken.set()
        return first

    def discard(self) -> None:
        """Nobody will read it, or read on: the origin's connection is closed, if it is still open."""
        self._taken.set()
        self._channel.close()
        if self._task is not None:
            self._task.cancel()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The answer's bytes. Raises what the origin raised. Whoever stops early has to `discard` the rest."""
        while (chunk := await self._channel.receive()) is not None:
            yield chunk

    async def pump(self, answer: GetResult, known: Known, keep: Keeper | None) -> None:
        """Pass the answer on, storing the whole blocks that pass by in `keep`. Runs in the answer's own task."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.timeout(HAND_OFF_TAKEN_S):
                await self._taken.wait()
        except TimeoutError:
            return
        passing = Run(known, range(-(-known.meta.size // known.block_bytes))) if keep is not None else None
        try:
            async for chunk in answer.chunks:
                if passing is not None and keep is not None:
                    for index, block in passing.feed(memoryview(chunk)):
                        keep.keep(known.block_key(index), block)
                        passing.drop()  # nobody reads from it
                await self._channel.send(chunk)
        except RangecacheError as error:
            self._channel.end(error)
        else:
            self._channel.end()
