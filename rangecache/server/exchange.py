"""One request and its answer: what is sent, how it is counted, and what becomes of the connection afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from rangecache.errors import OriginTimeout, RangecacheError, RangeNotSatisfiable
from rangecache.server import problems
from rangecache.server.accounts import NO_CACHE
from rangecache.server.multipart import BodyMismatch, Framer
from rangecache.server.problems import ProtocolError
from rangecache.server.response import CLOSE, KEEP, KEEP_OLD
from rangecache.server.sending import JOIN_BYTES, whole_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from rangecache.model import ObjectRef
    from rangecache.read.messages import Reply
    from rangecache.server.directories import DirectoryReply
    from rangecache.server.head import HeadParser
    from rangecache.server.port import DataPort
    from rangecache.server.sending import Outbox

logger = logging.getLogger(__name__)

T = TypeVar("T")

FAULT: Final = "This is a fault of the proxy. Its log says more; please report it."


class After(Enum):
    """What becomes of a connection when an answer has been sent."""

    KEEP = "keep"
    CLOSE = "close"
    LINGER = "linger"
    """Closed too, but the client may still be sending something that nobody will read."""
    ABORT = "abort"
    """Cut: the client must not take what it has got for the whole answer."""


class Exchange:
    """One request of one connection, from its last byte on."""

    __slots__ = ("_deadline", "_kept_bytes", "_outbox", "_parser", "_port", "after", "ended_s", "ref", "started_s")

    def __init__(self, port: DataPort, outbox: Outbox, parser: HeadParser, started_s: float) -> None:
        """`parser` has read the request's head, or is about to, and reads no other before the exchange ends."""
        self._port = port
        self._outbox = outbox
        self._parser = parser
        self._deadline: asyncio.Timeout | None = None
        self._kept_bytes = 0
        self.started_s = self.ended_s = started_s
        """When the request was complete, and when its answer had been handed to the transport, by the port's clock."""
        self.ref: ObjectRef | None = None
        """What is asked for, as soon as that is known."""
        self.after = After.KEEP
        """What has to become of the connection, once an answer has been sent."""

    def _connection(self) -> bytes:
        """The Connection field of the answer, settled in the moment that the head is printed."""
        if self.after is not After.KEEP or not self._parser.keep_alive or self._port.draining:
            if self.after is After.KEEP:
                self.after = After.CLOSE
            return CLOSE
        return KEEP_OLD if self._parser.old else KEEP

    # --- answers about an object ----------------------------------------------------------------------------------

    def send_now(self, reply: Reply) -> bool:
        """Send an answer that is here, if it is small enough to be sent at once. False if nothing was sent."""
        if reply.status in {412, 416}:
            self._send_refusal(reply)
            return True
        body, ranges = reply.body, reply.ranges
        if reply.status == 206 and len(ranges) == 1 and isinstance(body, (list, tuple)):
            length = ranges[0].end - ranges[0].start
            if length <= JOIN_BYTES and length <= self._port.budget.share_bytes:
                self._send_small(reply, length, body)
                return True
        if isinstance(body, AsyncGenerator):
            return False
        if sum(map(len, body)) > self._outbox.piece_bytes:
            self._keep(body)
            return False
        head, framer = self._print(reply)
        if framer is None:
            self._outbox.write(head)
            self._end(reply, 0)
            return True
        parts: list[bytes | memoryview] = [head]
        try:
            parts += framer.parts(body)
        except BodyMismatch as error:
            self._abort(reply, 0, error)
            return True
        self._outbox.write_parts(parts, len(head) + framer.content_length)
        self._end(reply, framer.content_length)
        return True

    def _send_small(self, reply: Reply, length: int, body: Sequence[memoryview]) -> None:
        """The most frequent answer of all, one small range of a resident object, with nothing done that it does not
        need."""
        port = self._port
        head = port.printer.partial(reply, self._connection())
        if sum(map(len, body)) != length:
            self._abort(reply, 0, BodyMismatch(f"{sum(map(len, body))} bytes where {length} were announced"))
            return
        self._outbox.write_parts((head, *body), len(head) + length)
        self.ended_s = port.now()
        duration_s = self.ended_s - self.started_s
        port.accounts.answered(self._parser.method, self.ref, 206, reply.cache.outcome, duration_s, duration_s, length)

    async def send(self, reply: Reply) -> None:
        """Send an answer piece by piece, as fast as it arrives and the client takes it.

        What is resident is kept, and counted, until it has been sent; of everything else no more is taken from the
        reader than the client can be sent at once.
        """
        if reply.status in {412, 416}:
            self._send_refusal(reply)
            return
        body, sent, first_byte_s = reply.body, 0, None
        if not isinstance(body, AsyncGenerator):
            self._keep(body)
        try:
            head, framer = self._print(reply)
            first_byte_s = self._port.now() - self.started_s
            await self._outbox.send((head,))
            if framer is None:
                pass
            elif isinstance(body, AsyncGenerator):
                while (taken := await self._pass_on(body, framer)) is not None:
                    sent += taken
                await self._outbox.send((framer.end(),))
            else:
                await self._outbox.send(framer.parts(body))
            sent = 0 if framer is None else framer.content_length
        except asyncio.CancelledError:
            self._count(reply.status, reply.cache.outcome, sent, first_byte_s)
            raise
        except RangecacheError as error:
            self._abort(reply, sent, error, first_byte_s)
        except Exception as error:
            logger.exception("a body failed")
            self._abort(reply, sent, error, first_byte_s)
        else:
            self._end(reply, sent, first_byte_s)
        finally:
            self.release()
            if isinstance(body, AsyncGenerator):
                await body.aclose()

    def _keep(self, body: Sequence[memoryview]) -> None:
        """Count what is kept for this answer, before anybody else is told how much of the budget is left."""
        if not self._kept_bytes:
            self._kept_bytes = whole_bytes(body)
            self._port.budget.charge(self._kept_bytes)

    def release(self, _: object = None) -> None:
        """Keep nothing any more. To be called at the end of the task that was to send the answer, which may have been
        cancelled before it began."""
        self._port.budget.charge(-self._kept_bytes)
        self._kept_bytes = 0

    async def _pass_on(self, body: AsyncGenerator[memoryview, int | None], framer: Framer) -> int | None:
        """Send the next piece; how long it was, None at the end. Nothing is kept of it when this returns."""
        await self._outbox.ready()
        try:
            piece = await body.asend(self._outbox.piece_bytes)
        except StopAsyncIteration:
            return None
        await self._outbox.send(framer.frame(piece))
        return len(piece)

    def _print(self, reply: Reply) -> tuple[bytes, Framer | None]:
        """The head, and the framer of the body if there is one."""
        printer, ranges = self._port.printer, reply.ranges
        if reply.status == 206 and len(ranges) == 1:
            return printer.partial(reply, self._connection()), Framer(ranges[0].length)
        if reply.status == 200:
            return printer.whole(reply, self._connection()), None if self._parser.head_only else Framer(reply.meta.size)
        if reply.status == 206:
            framer = printer.framer(reply)
            return printer.multipart(reply, framer, self._connection()), framer
        return printer.not_modified(reply, self._connection()), None

    def _send_refusal(self, reply: Reply) -> None:
        """Send a 412 or 416 about a known object."""
        failed = reply.status == 412
        problem = problems.PRECONDITION_FAILED if failed else problems.INVALID_RANGE
        body = problems.document(problem, "The object has changed." if failed else f"It has {reply.meta.size} bytes.")
        head = self._port.printer.problem(problem, len(body), self._connection(), size=reply.meta.size, reply=reply)
        self._outbox.write(head if self._parser.head_only else head + body)
        self._end(reply, 0 if self._parser.head_only else len(body))

    # --- other answers --------------------------------------------------------------------------------------------

    async def wait_for(self, answer: Awaitable[T]) -> T | None:
        """An answer that somebody is asked for. None if it was an error or took too long; then that has been sent."""
        self._deadline = asyncio.timeout(None)  # the sweep of the connections sets it
        try:
            async with self._deadline:
                return await answer
        except RangecacheError as error:
            self.refuse(error)
        except TimeoutError:
            message = "The origin did not answer within `server.request_timeout`. Try again, or raise it."
            self.refuse(OriginTimeout(message))
        except Exception:
            logger.exception("a request failed")
            self.refuse(RangecacheError(FAULT))
        finally:
            self._deadline = None
        return None

    def expire(self, now_s: float, timeout_s: float) -> None:
        """End `wait_for` if it has taken longer than `timeout_s`."""
        deadline = self._deadline
        if deadline is not None and now_s - self.started_s >= timeout_s:
            self._deadline = None  # it ends once; what is being opened may take a while to notice
            deadline.reschedule(asyncio.get_running_loop().time())

    def refuse(self, error: RangecacheError) -> None:
        """Send the answer that an error becomes."""
        problem = problems.problem_of(error)
        if isinstance(error, ProtocolError) and error.close:
            self.after = After.LINGER
        body = problems.document(problem, error.message)
        head = self._port.printer.problem(
            problem,
            len(body),
            self._connection(),
            size=error.size if isinstance(error, RangeNotSatisfiable) else None,
            retry_after_s=problems.retry_after_s(problem, error),
        )
        self._outbox.write(head if self._parser.head_only else head + body)
        self._count(problem.status, NO_CACHE, 0 if self._parser.head_only else len(body))

    def send_directory_now(self, reply: DirectoryReply) -> bool:
        """Send a directory, if it is small enough to be sent at once. False if nothing was sent."""
        if len(reply.body) > self._outbox.piece_bytes:
            return False
        head = self._port.printer.directory(reply, self._connection())
        body = b"" if self._parser.head_only else reply.body
        self._outbox.write(head + body)
        self._count(reply.status, reply.cache.outcome, len(body))
        return True

    async def send_directory(self, reply: DirectoryReply) -> None:
        """Send a directory of any length."""
        body = b"" if self._parser.head_only else reply.body
        self._port.budget.charge(len(body))
        sent = 0
        try:
            await self._outbox.send((self._port.printer.directory(reply, self._connection()), body))
            sent = len(body)
        finally:
            self._port.budget.charge(-len(body))
            self._count(reply.status, reply.cache.outcome, sent)

    # --- its end --------------------------------------------------------------------------------------------------

    def _end(self, reply: Reply, sent_bytes: int, first_byte_s: float | None = None) -> None:
        self._count(reply.status, reply.cache.outcome, sent_bytes, first_byte_s)

    def _abort(self, reply: Reply, sent_bytes: int, reason: Exception, first_byte_s: float | None = None) -> None:
        logger.warning("an answer about %s/%s was cut: %s", reply.meta.ref.provider, reply.meta.ref.bucket, reason)
        self.after = After.ABORT
        self._count(reply.status, reply.cache.outcome, sent_bytes, first_byte_s)

    def _count(self, status: int, cache: str, sent_bytes: int, first_byte_s: float | None = None) -> None:
        self.ended_s = self._port.now()
        duration_s = self.ended_s - self.started_s
        if first_byte_s is None:
            first_byte_s = duration_s
        method = self._parser.method
        self._port.accounts.answered(method, self.ref, status, cache, first_byte_s, duration_s, sent_bytes)
