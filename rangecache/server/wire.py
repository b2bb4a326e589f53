"""One connection of the data port: HTTP/1.1 from the client's side.

An answer that needs no waiting is written in the very call that brought its request, without a task. Everything else
is one task for each request, on the same path, one at a time: requests that were sent back to back wait as bytes that
are not yet parsed, so answers cannot overtake each other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from rangecache.aio.allowance import Allowance
from rangecache.errors import Overloaded, RangecacheError
from rangecache.model import ObjectRef
from rangecache.server import problems
from rangecache.server.again import answer_again
from rangecache.server.directories import DirectoryRequest
from rangecache.server.exchange import FAULT, After, Exchange
from rangecache.server.head import HeadParser
from rangecache.server.head_buffer import HeadBuffer
from rangecache.server.problems import ProtocolError
from rangecache.server.sending import Outbox

if TYPE_CHECKING:
    from rangecache.read.messages import ReadRequest, Reply
    from rangecache.server.directories import DirectoryReply
    from rangecache.server.port import DataPort
    from rangecache.server.request import Directory

logger = logging.getLogger(__name__)

HEADS_BYTES: Final = 1 << 24  # unanswered bytes of all connections together
PENDING_BYTES: Final = 65536  # of one, after which it is not read; more than a head may have
LEAST_PENDING_BYTES: Final = 2048  # what each may have however many there are: heads are shorter than that
BATCH_REQUESTS: Final = 64  # answered in one turn of the event loop before other connections get theirs
REFUSED_MAX: Final = 64  # connections beyond the limit that are told so; further ones are cut
LINGER_S: Final = 2.0
LINGER_BYTES: Final = 1 << 20


def heads_allowance() -> Allowance:
    """For what clients have sent that is not answered yet: heads that are not complete, and requests ahead of their
    answers."""
    return Allowance(HEADS_BYTES, least_bytes=LEAST_PENDING_BYTES, most_bytes=PENDING_BYTES)


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_closing",
        "_exchange",
        "_heads",
        "_lingered_bytes",
        "_lingering",
        "_not_reading",
        "_outbox",
        "_parser",
        "_part_of_head",
        "_pending_bytes",
        "_port",
        "_scheduled",
        "_since_s",
        "_task",
        "_transport",
    )

    def __init__(self, port: DataPort) -> None:
        self._port = port
        self._heads = HeadBuffer()
        self._parser = HeadParser()
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None  # the one that the task works on
        self._since_s = port.now()  # when the last answer ended, or a head that is not complete began
        self._part_of_head = False
        self._pending_bytes = 0  # charged to the port's allowance
        self._not_reading = False
        self._scheduled = False  # _advance will be called in the loop's next turn
        self._closing = False  # nothing that arrives matters any more
        self._lingering = False
        self._lingered_bytes = 0

    # --- called by the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        port = self._port
        self._transport = cast(asyncio.Transport, transport)
        self._outbox = Outbox(self._transport, port.budget)
        others = len(port.connections)
        port.connections.add(self)
        if others >= port.limits.max_connections + REFUSED_MAX:
            self._transport.abort()
        elif others >= port.limits.max_connections or port.draining:
            exchange = Exchange(port, self._outbox, self._parser, self._since_s)
            exchange.refuse(Overloaded("Too many connections are open; see `server.max_connections`."))
            self._linger()

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._lingering:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self._transport.abort()
        elif self._closing:
            return
        elif self._task is not None or self._scheduled or self._outbox.paused:
            self._heads.feed(data)
            self._regulate()
        elif not (self._part_of_head or self._heads.empty_lines) and (
            (ended_s := answer_again(self._port, self._parser, self._outbox, data)) is not None
        ):
            self._since_s = ended_s
        elif self._heads.completes(data):
            self._handle(data)
        else:
            self._heads.feed(data)
            self._advance()

    def eof_received(self) -> None:
        """The client will send no more. No client that we know closes one half only: this one has left."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._closing = True
        self._heads.clear()
        self._account()
        self._outbox.lost()
        self._port.left(self)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Bytes of ours wait in the transport."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """All have left."""
        self._outbox.resume()
        if self._task is None and not self._scheduled and self._heads:
            self._advance()

    # --- called by the listener -----------------------------------------------------------------------------------

    def sweep(self, now_s: float) -> None:
        """Compare the time with every limit. Called about once a second, so a limit is kept to about a second."""
        limits, waited_s = self._port.limits, now_s - self._since_s
        if self._outbox.stuck_s(now_s) >= limits.send_timeout_s:
            self._outbox.cut()
        elif self._exchange is not None:
            self._exchange.expire(now_s, limits.request_timeout_s)
        elif self._outbox.paused:
            return
        elif self._lingering:
            if waited_s >= LINGER_S:
                self._transport.close()
        elif waited_s >= (limits.header_timeout_s if self._part_of_head else limits.keepalive_timeout_s):
            self._close()

    def shutdown(self) -> None:
        """End the connection after the answer under way, or at once if there is none."""
        if self._task is None and not self._lingering:
            self._close()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # --- requests -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Answer the requests that are here, one after the other, until one has to wait."""
        self._scheduled = False
        answered = 0
        while self._task is None and self._heads and not self._closing and not self._outbox.paused:
            if answered == BATCH_REQUESTS:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._advance)
                break
            try:
                head = self._heads.take()
            except ProtocolError as error:
                self._parser.forget()
                Exchange(self._port, self._outbox, self._parser, self._port.now()).refuse(error)
                self._linger()
                break
            if head is None:
                if not self._part_of_head and self._heads:
                    self._part_of_head, self._since_s = True, self._port.now()
                break
            self._part_of_head = False
            self._handle(head)
            answered += 1
        self._regulate()

    def _regulate(self) -> None:
        """Stop reading from a client that sends more than it is answered, and start again. Cut those who hold more than
        they need when all together hold too much."""
        self._account()
        heads, held_bytes = self._port.heads, self._pending_bytes
        if held_bytes > LEAST_PENDING_BYTES and heads.used_bytes > heads.limit_bytes and not self._closing:
            self._transport.abort()
            return
        full = held_bytes > heads.share_bytes and not self._part_of_head
        if full != self._not_reading and not self._closing:
            self._not_reading = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _account(self) -> None:
        held_bytes = self._heads.held_bytes
        if held_bytes != self._pending_bytes:
            self._port.heads.charge(held_bytes - self._pending_bytes)
            self._pending_bytes = held_bytes

    def _handle(self, head: bytes) -> None:
        """Answer one request, or begin to."""
        port, parser = self._port, self._parser
        exchange = Exchange(port, self._outbox, parser, port.now())
        try:
            parser.read(head)
            if parser.host is not None and not port.accepts_host(parser.host):
                message = "The Host is not one of ours; add it to `server.hosts` if it should be."
                raise ProtocolError(problems.WRONG_HOST, message, close=False)
            found = port.router.find(parser.target)
            if isinstance(found, ObjectRef):
                exchange.ref = found
                request = parser.request(found)
                reply = port.reader.try_open(request, self._outbox.share_bytes)
                if reply is None or not exchange.send_now(reply):
                    self._exchange = exchange
                    self._task = port.answers.spawn(self._answer(exchange, request, reply), "answer")
                    self._task.add_done_callback(exchange.release)
                    return
            elif self._list(exchange, found, head):
                return
        except RangecacheError as error:
            exchange.refuse(error)
        except Exception:
            logger.exception("a request failed")
            exchange.refuse(RangecacheError(FAULT))
        self._settle(exchange)

    def _list(self, exchange: Exchange, directory: Directory, head: bytes) -> bool:
        """Answer a request for a directory. True: it has only been begun."""
        port, parser = self._port, self._parser
        ref = directory.ref
        if ref.provider:
            exchange.ref = ref
        cache_control = parser.request(ref).cache_control
        request = DirectoryRequest(ref, parser.target.decode("ascii"), parser.accept(head), cache_control)
        reply = port.directories.try_open(request)
        if reply is not None and exchange.send_directory_now(reply):
            return False
        self._exchange = exchange
        self._task = port.answers.spawn(self._answer_directory(exchange, request, reply), "listing")
        return True

    async def _answer_directory(
        self, exchange: Exchange, request: DirectoryRequest, reply: DirectoryReply | None
    ) -> None:
        """Answer a request for a directory that has to wait."""
        try:
            if reply is None:
                reply = await exchange.wait_for(self._port.directories.open(request))
            if reply is not None:
                await exchange.send_directory(reply)
        finally:
            self._task = self._exchange = None
        self._settle(exchange)
        self._advance()

    async def _answer(self, exchange: Exchange, request: ReadRequest, reply: Reply | None) -> None:
        """Answer a request that has to wait: for its opening, or for the client to take it."""
        try:
            if reply is None:
                reply = await exchange.wait_for(self._port.reader.open(request))
            if reply is not None:
                await exchange.send(reply)
        finally:
            self._task = self._exchange = None
        self._settle(exchange)
        self._advance()

    # --- between requests and at the end --------------------------------------------------------------------------

    def _settle(self, exchange: Exchange) -> None:
        """Go on after an answer as it demands."""
        self._since_s = exchange.ended_s
        if exchange.after is After.KEEP:
            if self._port.draining:
                self._close()
            return
        if exchange.after is After.ABORT:
            self._transport.abort()
        elif exchange.after is After.LINGER:
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        """End the connection as soon as everything has been sent."""
        self._closing = True
        self._transport.close()

    def _linger(self) -> None:
        """End the connection, but read for a moment what the client is still sending: if it were not read, the kernel
        would reset the connection and the client might never see our answer (RFC 9112 section 9.6)."""
        self._closing = self._lingering = True
        self._since_s = self._port.now()
        self._heads.clear()
        self._account()
        if self._not_reading:
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
