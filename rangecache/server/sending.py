"""Sending with back-pressure: what one connection has in its transport's buffer, and what all have together.

The transport's high-water mark is zero. So "writing is paused" means exactly that the kernel did not take everything
and bytes of ours are waiting, and "resumed" that none are. Nothing is written while writing is paused, hence the buffer
only shrinks between the two.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rangecache.aio.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JOIN_BYTES: Final = 65536  # up to here one copy is cheaper than a scattered write
SCATTERED_BYTES: Final = 16384  # and where parts are shorter than this on average, which would pin a block each
VIEWS_BYTES: Final = 1 << 21  # resident bytes that one answer may keep, while the budget lasts; of more, pieces
PIECE_BYTES: Final = 1 << 20  # handed to the transport at once, while the budget lasts
UNPROVEN_BYTES: Final = 65536  # both, for a client who has not yet shown that he reads what does not fit the kernel
SMALL_PIECE_BYTES: Final = 8192  # handed to the transport at once when the budget is short
SMALL_ANSWER_BYTES: Final = 16384  # a resident answer of that length is always sent as a whole
FAIR_BYTES: Final = 1 << 22  # sent without a pause before other connections get a turn
PROVEN_BYTES: Final = (
    1 << 20
)  # taken by the kernel: several times what it holds, here and there, for one who reads nothing
UNPROVEN_KERNEL_BYTES: Final = 131072  # unsent in the kernel for such a client
HANDED_BYTES: Final = 131072  # given to the kernel directly; of more it takes only a part at once
HANDED_PARTS_MAX: Final = 64
KERNEL_BYTES: Final = 1 << 20  # and for one who reads; with less, sending 1 MiB takes several turns

_NOT_SENT_LOW_WATER: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # 25 is Linux's number

# CPython issue 127655: these versions' own writelines does not call pause_writing.
_WRITELINES_PAUSES: Final = not (
    (3, 12, 0) <= sys.version_info[:3] < (3, 12, 9) or (3, 13, 0) <= sys.version_info[:3] < (3, 13, 2)
)


class SendBudget(Allowance):
    """What all connections together keep in memory because their clients are slow: bytes that wait in transports, and
    the blocks whose views are being sent.

    A block that is only partly sent counts as a whole: it is in memory as a whole, whatever the tiers evict meanwhile.
    """

    __slots__ = ()

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, least_bytes=SMALL_ANSWER_BYTES, most_bytes=VIEWS_BYTES)


class Outbox:
    """The sending side of one connection."""

    __slots__ = (
        "_budget",
        "_drained",
        "_file",
        "_held_bytes",
        "_seen",
        "_since_s",
        "_taken_bytes",
        "_transport",
        "_unbroken_bytes",
        "most_bytes",
        "paused",
    )

    def __init__(self, transport: asyncio.Transport, budget: SendBudget) -> None:
        self._transport = transport
        self._budget = budget
        self._held_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self._seen = (0, 0)
        self._since_s = 0.0
        self._unbroken_bytes = 0
        self._taken_bytes = 0  # by the kernel, until that is proof enough
        self.most_bytes = UNPROVEN_BYTES
        """How much may be sent at once, while the budget lasts."""
        self.paused = False
        """Bytes are waiting: nothing more may be written."""
        transport.set_write_buffer_limits(high=0)
        self._file = _file_of(transport)

    @property
    def share_bytes(self) -> int:
        """How long an answer of resident bytes may be now, which is kept as a whole until it has been sent."""
        return min(self.most_bytes, self._budget.share_bytes)

    @property
    def piece_bytes(self) -> int:
        """How much may be handed to the transport now, if nothing waits there."""
        share_bytes = self._budget.share_bytes
        return min(self.most_bytes, share_bytes, PIECE_BYTES) if share_bytes > SMALL_ANSWER_BYTES else SMALL_PIECE_BYTES

    def write(self, data: bytes) -> None:
        """Send bytes that are in one piece; at most `piece_bytes`, and not while paused."""
        self._transport.write(data)
        if self.paused:
            self._hold(len(data))

    def write_parts(self, parts: Sequence[bytes | memoryview], length: int) -> None:
        """Send `length` bytes that lie in several pieces; the same bounds."""
        if length <= HANDED_BYTES:
            taken = self._hand_over(parts)
            if taken == length:
                return
            if taken:
                parts, length = list(_after(parts, taken)), length - taken
        if length <= max(JOIN_BYTES, SCATTERED_BYTES * len(parts)) or not _WRITELINES_PAUSES:
            self.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
            if self.paused:
                self._hold(whole_bytes(parts))

    def _hand_over(self, parts: Sequence[bytes | memoryview]) -> int:
        """Give the kernel what it takes of these at once, as they lie; how many bytes that was. A transport would first
        copy them into one piece, and keep that until its loop's next turn.

        Nothing may wait in the transport, which would be overtaken; and one that is closing may have given its number
        back to the system, which gives it to the next client.
        """
        transport = self._transport
        if (
            self._file < 0
            or len(parts) > HANDED_PARTS_MAX
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            return 0
        try:
            taken = os.writev(self._file, parts)
        except OSError:  # full, or broken: the transport will find out which
            return 0
        if self.most_bytes == UNPROVEN_BYTES:
            self._taken_bytes += taken
            if self._taken_bytes >= PROVEN_BYTES and self._budget.share_bytes > SMALL_ANSWER_BYTES:
                self._trust()
        return taken

    async def ready(self) -> None:
        """Wait until something may be written. Whoever waits here, and not in `send`, need not have it yet."""
        if self.paused or self._unbroken_bytes >= FAIR_BYTES:
            await self._turn()

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
                most_bytes = self.piece_bytes
                taken = memoryview(part)[at : at + max(0, most_bytes - size)]
                batch.append(taken)
                at += len(taken)
                size += len(taken)
                if size >= most_bytes:
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
        self._hold(0)
        if self.most_bytes == UNPROVEN_BYTES and self._budget.share_bytes > SMALL_ANSWER_BYTES:
            self._trust()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def lost(self) -> None:
        """The connection is gone, and with it what was waiting."""
        self._file = -1
        self._hold(0)

    def cut(self) -> None:
        """Abort the connection, and with it what waits in the kernel: it would be kept for minutes for a client that
        does not read, although nobody here knows of it any more."""
        connected = self._transport.get_extra_info("socket")
        with suppress(AttributeError, OSError):  # not a socket, or gone
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

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

    def _hold(self, held_bytes: int) -> None:
        self._budget.charge(held_bytes - self._held_bytes)
        self._held_bytes = held_bytes

    def _trust(self) -> None:
        """The client has taken everything that once waited, or more than fits between us: he reads. From now on more
        may be on its way to him."""
        self.most_bytes = VIEWS_BYTES
        connected = self._transport.get_extra_info("socket")
        with suppress(AttributeError, OSError):  # not TCP, or gone
            connected.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_LOW_WATER, KERNEL_BYTES)

    def _kernel_bytes(self) -> int:
        """Bytes in the kernel's send queue. They count as progress: a slow client may take a minute to free so much of
        a large queue that the kernel asks for more."""
        connected = self._transport.get_extra_info("socket")
        try:
            return int(struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
        except (AttributeError, OSError):
            return 0  # not a socket, or not on this platform: the transport's own buffer has to do


def _file_of(transport: asyncio.Transport) -> int:
    """The number of the socket that takes plain bytes; -1 if there is none, as under TLS or on Windows."""
    connected = transport.get_extra_info("socket")
    if connected is None or transport.get_extra_info("sslcontext") is not None or not hasattr(os, "writev"):
        return -1
    return int(connected.fileno())


def bound_kernel_buffers(listening: Iterable[socket.socket]) -> None:
    """Let the kernel keep no more than `UNPROVEN_KERNEL_BYTES` unsent for each connection that is accepted here, until
    its client has shown that he reads. Left alone it keeps up to 4 MiB (`tcp_wmem`) of each: a few hundred clients that
    do not read take all that it has for all connections of the machine (`tcp_mem`)."""
    for each in listening:
        with suppress(OSError):  # not TCP
            each.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_LOW_WATER, UNPROVEN_KERNEL_BYTES)


def _after(parts: Iterable[bytes | memoryview], taken_bytes: int) -> Iterator[bytes | memoryview]:
    """What is left of these when so much of their beginning is gone."""
    for part in parts:
        if taken_bytes < len(part):
            yield memoryview(part)[taken_bytes:] if taken_bytes else part
        taken_bytes = max(0, taken_bytes - len(part))


def whole_bytes(parts: Iterable[bytes | memoryview]) -> int:
    """What is kept in memory by keeping these: a view keeps all of what it is a view of."""
    return sum(memoryview(part.obj).nbytes if isinstance(part, memoryview) else len(part) for part in parts)
