"""One ranged GET on its way in: consecutive blocks of one version, readable while they arrive.

A run is filled by the task that owns the origin's answer and read by any number of readers. Bytes are copied once,
from the chunk that arrived into the buffer that becomes the block. A reader who waits is handed the bytes themselves,
not the news that they are there: however short the run keeps its buffers afterwards, every wait brings a reader on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rangecache.ranges import block_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.errors import RangecacheError
    from rangecache.origin.base import Purpose
    from rangecache.read.known import Known


class Run:
    """Blocks `[blocks.start, blocks.stop)` of one version, landing in order."""

    __slots__ = (
        "_buffers",
        "_opening",
        "_waiting",
        "arrived",
        "blocks",
        "end",
        "epoch",
        "error",
        "followers",
        "known",
        "opened",
        "purpose",
        "readers",
        "sent",
        "start",
        "task",
    )

    def __init__(self, known: Known, blocks: range, purpose: Purpose = "demand") -> None:
        self.known = known
        self.purpose = purpose
        """Why it was begun; a reader may have come to wait for it since."""
        self.blocks = blocks
        self.start = blocks.start * known.block_bytes
        self.end = max(self.start, min(blocks.stop * known.block_bytes, known.meta.size))
        self.arrived = self.start
        """Bytes before this offset of the object are here."""
        self.sent = False
        """The origin has been asked: it cannot be made longer any more."""
        self.opened = False
        """The origin's answer has been checked: it is of this version and has these bytes."""
        self.error: RangecacheError | None = None
        """Why no more bytes will come."""
        self.epoch = 0
        """In which the origin was asked (`read/epochs`)."""
        self.readers = 0
        self.followers = 0
        """Those who want it to land and do not read from it."""
        self.task: asyncio.Task[None] | None = None
        self._buffers: dict[int, bytearray] = {}
        self._waiting: dict[int, list[tuple[int, int, asyncio.Future[memoryview | None]]]] = {}
        self._opening: list[asyncio.Future[None]] = []

    @property
    def length(self) -> int:
        """Bytes of the whole run."""
        return self.end - self.start

    @property
    def missing(self) -> int:
        """Bytes still to come."""
        return self.end - self.arrived

    @property
    def landing_bytes(self) -> int:
        """What the block that is not complete yet takes."""
        return len(self._buffers.get(self.arrived // self.known.block_bytes, b"")) if not self.done else 0

    @property
    def done(self) -> bool:
        """Nothing more will come: all is here, or it failed."""
        return self.error is not None or self.arrived >= self.end

    def widen(self, blocks: range) -> None:
        """Bring these blocks too, which touch it. Not once it has been sent."""
        self.blocks = range(min(self.blocks.start, blocks.start), max(self.blocks.stop, blocks.stop))
        self.start = self.arrived = self.blocks.start * self.known.block_bytes
        self.end = min(self.blocks.stop * self.known.block_bytes, self.known.meta.size)

    # --- the filling side -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Tell those who wait for it that the answer has been checked."""
        self.opened = True
        for waiter in self._opening:
            if not waiter.done():
                waiter.set_result(None)
        self._opening.clear()

    def feed(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Take the next bytes; gives each block that they complete, as its number and its read-only bytes.

        `data` must not reach beyond `end`. The iterator has to be driven to its end.
        """
        block_bytes, size = self.known.block_bytes, self.known.meta.size
        while len(data):
            index = self.arrived // block_bytes
            span = block_range(index, block_bytes, size)
            buffer = self._buffers.get(index)
            if buffer is None:
                buffer = self._buffers[index] = bytearray(span.length)
            at = self.arrived - span.start
            taken = min(len(data), span.length - at)
            buffer[at : at + taken] = data[:taken]
            data = data[taken:]
            self.arrived += taken
            self._wake(index)
            if self.arrived == span.end:
                yield index, memoryview(buffer).toreadonly()

    def fail(self, error: RangecacheError) -> None:
        """No more bytes will come."""
        if self.done:
            return
        self.error = error
        for waiter in self._opening:
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # whoever left before hearing it is not reported by the garbage collector
        self._opening.clear()
        for waiting in self._waiting.values():
            for _, _, hearing in waiting:
                if not hearing.done():
                    hearing.set_exception(error)
                    hearing.exception()
        self._waiting.clear()

    def drop(self) -> None:
        """Give up the complete blocks that are here; readers find them in the tiers."""
        landing = self.arrived // self.known.block_bytes
        self._buffers = {index: buffer for index, buffer in self._buffers.items() if index >= landing and not self.done}

    def _wake(self, index: int) -> None:
        for position, end, waiter in self._waiting.pop(index, ()):
            if waiter.done():
                continue
            if self.arrived > position:
                waiter.set_result(self._view(position, end))
            else:
                self._waiting.setdefault(index, []).append((position, end, waiter))

    # --- the reading side -----------------------------------------------------------------------------------------

    def offers(self, position: int) -> bool:
        """Whether the byte at `position` belongs to this run and has not been given up."""
        if not self.start <= position < self.end:
            return False
        return position >= self.arrived or position // self.known.block_bytes in self._buffers

    async def wait_opened(self) -> None:
        """Wait until the origin's answer has been checked. Raises the run's error if it fails before."""
        if self.opened:
            return
        if self.error is not None:
            raise self.error
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opening.append(waiter)
        await waiter

    async def read(self, position: int, end: int) -> memoryview | None:
        """The bytes from `position` that are here: at least one, at most to `end` or the end of the block.

        Waits for the first. None where the buffers have been given up: then the tiers may have the block. Raises the
        run's error where the byte will never come.
        """
        if position < self.arrived:
            return self._view(position, end)
        if self.error is not None:
            raise self.error
        waiter: asyncio.Future[memoryview | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(position // self.known.block_bytes, []).append((position, end, waiter))
        return await waiter

    def _view(self, position: int, end: int) -> memoryview | None:
        index = position // self.known.block_bytes
        buffer = self._buffers.get(index)
        if buffer is None:
            return None
        offset = index * self.known.block_bytes
        stop = min(self.arrived, end, offset + len(buffer))
        return memoryview(buffer).toreadonly()[position - offset : stop - offset]

    def __repr__(self) -> str:
        state = "failed" if self.error else "landed" if self.done else "open" if self.opened else "asked"
        blocks = f"blocks {self.blocks.start} to {self.blocks.stop}"
        return f"<Run {state}, {blocks}, {self.missing} bytes to come, {self.readers} readers>"
