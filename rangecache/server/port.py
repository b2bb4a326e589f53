"""What the connections of the data port share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rangecache.aio.tasks import Background

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.aio.allowance import Allowance
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.messages import Peeked, ReadRequest, Reply
    from rangecache.server.accounts import Accounts
    from rangecache.server.directories import Directories
    from rangecache.server.request import Router
    from rangecache.server.response import HeadPrinter
    from rangecache.server.sending import SendBudget
    from rangecache.server.wire import Connection


class Reader(Protocol):
    """What stands behind the data port."""

    def peek(self, ref: ObjectRef, start: int, end: int, most_bytes: int) -> Peeked | None:
        """The bytes [start, end) if nothing but them is asked for, and `try_open` would give them; None as well if it
        is simpler to ask that one."""
        ...

    def try_open(self, request: ReadRequest, most_bytes: int) -> Reply | None:
        """The answer if it can be given now, without waiting, and its body is at most so long; else None. Raises
        `RangecacheError`."""
        ...

    async def open(self, request: ReadRequest) -> Reply:
        """The answer, once its head is certain. Raises `RangecacheError`."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may cost; seconds and counts of the settings' section `server`."""

    max_connections: int = 4096
    header_timeout_s: float = 15.0
    keepalive_timeout_s: float = 120.0
    send_timeout_s: float = 60.0
    request_timeout_s: float = 300.0
    shutdown_grace_s: float = 30.0


@dataclass(slots=True)
class DataPort:
    """What all connections share."""

    reader: Reader
    router: Router
    directories: Directories
    accepts_host: Callable[[bytes], bool]
    """Whether a Host value means this program."""
    printer: HeadPrinter
    accounts: Accounts
    budget: SendBudget
    """For what waits until slow clients take it."""
    heads: Allowance
    """For what clients have sent that is not answered yet."""
    clock: Clock
    now: Callable[[], float] = field(init=False)
    """`clock.monotonic`, which is called twice a request."""
    limits: Limits = field(default_factory=Limits)
    answers: Background = field(default_factory=Background)
    """The tasks of answers that have to wait."""
    connections: set[Connection] = field(default_factory=set)
    draining: bool = False
    """No further request is begun."""
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has left and no other is open."""

    def __post_init__(self) -> None:
        self.now = self.clock.monotonic

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()
