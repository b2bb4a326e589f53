"""Recording: which bytes clients ask for, as a trace, for as long as somebody reads it.

Nothing of it is in the way of a request while nobody records: the reader behind the data port is exchanged for one that
takes notes, and put back afterwards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from rangecache.aio.tasks import first_of
from rangecache.errors import BadRequest, Overloaded
from rangecache.trace import TracedRead

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.ranges import ByteRange
    from rangecache.read.messages import ReadRequest, Reply
    from rangecache.read.reader import RangeReader

QUEUE_READS: Final = 65_536  # about 10 MB; more are lost, and counted
BATCH_READS: Final = 4_096
GATHER_S: Final = 0.1  # reads go out in batches, at most so many times a second
UNREAD_S: Final = 60.0  # a recording that nobody reads for so long has been forgotten
_LOOK_S: Final = 1.0


class Recording:
    """The reads of clients from one moment on, in order, and what has been counted of them."""

    def __init__(self, clock: Clock, for_s: float | None) -> None:
        """It ends by itself after `for_s` seconds."""
        self._clock = clock
        self._started_s = clock.monotonic()
        self._for_s = for_s
        self._reads: deque[tuple[float, ObjectRef, int, int]] = deque()
        self._more = asyncio.Event()
        self._stopped = asyncio.Event()
        self._is_read = False
        self._unread_since_s = self._started_s
        self.reads = 0
        self.bytes = 0
        self.lost = 0
        """Reads that found the queue full; they are in no trace."""

    def figures(self) -> dict[str, object]:
        """See `Progress`."""
        return {"reads": self.reads, "bytes": self.bytes, "lost": self.lost}

    def note(self, ref: ObjectRef, ranges: Sequence[ByteRange]) -> None:
        """A client is answered with these bytes."""
        time_s = self._clock.monotonic() - self._started_s
        for each in ranges:
            length = each.end - each.start
            self.reads += 1
            self.bytes += length
            if not length:
                continue  # an empty object: there is nothing to read
            if len(self._reads) >= QUEUE_READS:
                self.lost += 1
            else:
                self._reads.append((time_s, ref, each.start, length))
        self._more.set()

    def stop(self) -> None:
        """No further read is taken; those that are here can still be read."""
        self._stopped.set()
        self._more.set()

    def check_unread(self) -> None:
        """Raises `BadRequest` if somebody reads it."""
        if self._is_read:
            raise BadRequest("This recording is read by somebody already; start another one.")

    async def batches(self) -> AsyncGenerator[list[TracedRead], None]:
        """The reads as they come, until the recording has been stopped and all are out; an empty batch now and then
        where there are none, so that the reader can look whether anybody is there. Raises `BadRequest` if somebody
        else reads."""
        self.check_unread()
        self._is_read = True
        try:
            while not (self._stopped.is_set() and not self._reads):
                if not self._reads:
                    self._more.clear()
                    await self._pause(_LOOK_S, self._more)
                    await self._pause(GATHER_S, self._stopped)
                count = min(BATCH_READS, len(self._reads))
                batch = [self._reads.popleft() for _ in range(count)]
                yield [TracedRead(time_s, str(ref), start, length) for time_s, ref, start, length in batch]
        finally:
            self._is_read = False
            self._unread_since_s = self._clock.monotonic()

    async def over(self) -> None:
        """Return when it has been stopped or its time is over. Raises `Overloaded` if nobody reads it any more."""
        while not self._stopped.is_set():
            now = self._clock.monotonic()
            left_s = _LOOK_S if self._for_s is None else self._started_s + self._for_s - now
            if left_s <= 0:
                return
            if not self._is_read and now - self._unread_since_s >= UNREAD_S:
                raise Overloaded(f"nobody has read the trace for {UNREAD_S:g} s")
            await self._pause(min(_LOOK_S, left_s), self._stopped)

    async def _pause(self, delay_s: float, unless: asyncio.Event) -> None:
        """Sleep until the event at the most."""
        if not unless.is_set():
            await first_of(self._clock.sleep(delay_s), unless.wait())


class Recorder:
    """Exchanges the reader behind the data port while somebody records."""

    def __init__(self, reader: RangeReader, clock: Clock, seat: Callable[[RangeReader | NotingReader], None]) -> None:
        """`seat` puts a reader behind the data port."""
        self._reader = reader
        self._clock = clock
        self._seat = seat
        self._recordings: list[Recording] = []

    def make(self, for_s: float | None) -> Recording:
        """A recording, for `run`."""
        return Recording(self._clock, for_s)

    async def run(self, recording: Recording) -> None:
        """The work of a record job, from `make`."""
        self._recordings.append(recording)
        self._seat(NotingReader(self._reader, self._recordings))
        try:
            await recording.over()
        finally:
            self._recordings.remove(recording)
            recording.stop()
            if not self._recordings:
                self._seat(self._reader)


class NotingReader:
    """A `RangeReader` that notes what it has answered."""

    def __init__(self, reader: RangeReader, recordings: Sequence[Recording]) -> None:
        self._reader = reader
        self._recordings = recordings

    def try_open(self, request: ReadRequest, most_bytes: int) -> Reply | None:
        """As the reader's."""
        return self._noted(request, self._reader.try_open(request, most_bytes))

    def peek(self, ref: ObjectRef, start: int, end: int, most_bytes: int) -> None:
        """Nothing: what is asked here is asked of `try_open` next, and noted."""

    async def open(self, request: ReadRequest) -> Reply:
        """As the reader's."""
        reply = await self._reader.open(request)
        self._noted(request, reply)
        return reply

    def _noted(self, request: ReadRequest, reply: Reply | None) -> Reply | None:
        if reply is not None:  # without ranges where it has no body
            for recording in self._recordings:
                recording.note(request.ref, reply.ranges)
        return reply
