"""Sending with back-pressure: what one connection has in its transport's buffer, and what all have together.

The transport's high-water mark is zero. So "writing is paused" means exactly that the kernel did not take everything
and bytes of ours are waiting, and "resumed" that none are. Nothing is written while writing is paused, hence the buffer
only shrinks between the two.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JOIN_BYTES: Final = 65536  # up to here one copy is cheaper than a scattered write
PIECE_BYTES: Final = 1 << 20  # handed to the transport at once while the budget lasts
SMALL_PIECE_BYTES: Final = 16384  # what a connection may always have waiting
FAIR_BYTES: Final = 1 << 22  # sent without a pause before other connections get a turn

# CPython issue 127655: these versions' own writelines does not call pause_writing.
_WRITELINES_PAUSES: Final = not (
    (3, 12, 0) <= sys.version_info[:3] < (3, 12, 9) or (3, 13, 0) <= sys.version_info[:3] < (3, 13, 2)
)


class SendBudget:
    """Bytes that wait in the buffers of all connections together.

    Nobody ever waits for somebody else's bytes to leave: that would let clients that do not read stop those that do.
    When the budget is short, pieces become small instead. So at most `limit_bytes` plus `SMALL_PIECE_BYTES` for each
    connection are waiting.
    """

    __slots__ = ("_limit_bytes", "piece_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0
        self.piece_bytes = SMALL_PIECE_BYTES
        """How much a connection with an empty buffer may write now."""
        self.charge(0)

    def charge(self, change_bytes: int) -> None:
        """So many bytes more are waiting, or fewer."""
        self.used_bytes += change_bytes
        free_bytes = self._limit_bytes - self.used_bytes
        self.piece_bytes = max(SMALL_PIECE_BYTES, min(PIECE_BYTES, free_bytes))


class Outbox:
    """The sending side of one connection."""

    __slots__ = (
        "_budget",
        "_drained",
        "_seen",
        "_since_s",
        "_transport",
        "_unbroken_bytes",
        "_waiting_bytes",
        "paused",
    )

    def __init__(self, transport: asyncio.Transport, budget: SendBudget) -> None:
        self._transport = transport
        self._budget = budget
        self._waiting_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self._seen = (0, 0)
        self._since_s = 0.0
        self._unbroken_bytes = 0
        self.paused = False
        """Bytes are waiting: nothing more may be written."""
        transport.set_write_buffer_limits(high=0)

    def write(self, data: bytes) -> None:
        """Send bytes that are in one piece; at most the budget's `piece_bytes`, and not while paused."""
        self._transport.write(data)
        if self.paused:
            self._recount()

    def write_parts(self, parts: Sequence[bytes | memoryview], length: int) -> None:
        """Send `length` bytes that lie in several pieces; the same bounds."""
        if length <= JOIN_BYTES or not _WRITELINES_PAUSES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        if self.paused:
            self._recount()

    async def send(self, parts: Iterable[bytes | memoryview]) -> None:
        """Send any number of bytes in pieces that the budget allows, each when the one before has left.

        Returns when the last piece is written, which is not yet when it has left. If the connection is lost it does
        not return: whoever owns the connection cancels it then.
        """
        batch: list[bytes | memoryview] = []
        size = 0
        for part in parts:
            at = 0
            while at < len(part):
                if not batch and (self.paused or self._unbroken_bytes >= FAIR_BYTES):
                    await self._turn()
                taken = memoryview(part)[at : at + self._budget.piece_bytes - size]
                batch.append(taken)
                at += len(taken)
                size += len(taken)
                if size >= self._budget.piece_bytes:
                    self.write_parts(batch, size)
                    self._unbroken_bytes += size
                    batch, size = [], 0
        if batch:
            self.write_parts(batch, size)
            self._unbroken_bytes += size

    async def _turn(self) -> None:
        """Wait until nothing waits here, and in any case let others have their turn."""
        if self.paused:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        else:
            await asyncio.sleep(0)
        self._unbroken_bytes = 0

    def pause(self) -> None:
        """The transport's `pause_writing`; it arrives in the middle of a write."""
        self.paused = True

    def resume(self) -> None:
        """The transport's `resume_writing`."""
        self.paused = False
        self._recount()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def lost(self) -> None:
        """The connection is gone, and with it what was waiting."""
        self._budget.charge(-self._waiting_bytes)
        self._waiting_bytes = 0

    def stuck_s(self, now_s: float) -> float:
        """Seconds for which the client has taken no byte although some are waiting, as far as calls with ascending
        times can tell."""
        if not self.paused:
            self._seen = (0, 0)
            return 0.0
        seen = (self._transport.get_write_buffer_size(), self._kernel_bytes())
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        return now_s - self._since_s

    def _recount(self) -> None:
        waiting = self._transport.get_write_buffer_size()
        self._budget.charge(waiting - self._waiting_bytes)
        self._waiting_bytes = waiting

    def _kernel_bytes(self) -> int:
        """Bytes in the kernel's send queue. They count as progress: a slow client may take a minute to free so much of
        a large queue that the kernel asks for more."""
        connected = self._transport.get_extra_info("socket")
        try:
            return int(struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
        except (AttributeError, OSError):
            return 0  # not a socket, or not on this platform: the transport's own buffer has to do
