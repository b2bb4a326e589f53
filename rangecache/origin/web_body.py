"""The bytes of one HTTP answer as they arrive, counted and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.aio.watchdog import Watchdog
from rangecache.errors import BodyCut, InvalidAnswer, OriginTimeout

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.answers import Extent
    from rangecache.origin.session import WireAnswer
    from rangecache.origin.web import MinRate


class Paced:
    """Reads an answer and loses patience where it comes slower than the minimum rate."""

    def __init__(self, wire: WireAnswer, clock: Clock, min_rate: MinRate) -> None:
        self._wire = wire
        self._rate = min_rate
        self._since_restored = 0
        self._watchdog = Watchdog(clock, min_rate.over_s, self._too_slow)

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises `BodyCut` and `OriginTimeout`."""
        return self._wire.read_ready() or await self._wait()

    async def _wait(self) -> bytes:
        self._watchdog.wait()
        try:
            chunk = await self._wire.read()
        finally:
            self._watchdog.got()
        self._since_restored += len(chunk)
        if self._since_restored >= self._rate.bytes:
            self._since_restored = 0
            self._watchdog.restore()
        return chunk

    def _too_slow(self) -> None:
        self._wire.fail(OriginTimeout(f"the origin sent less than {self._rate.bytes} bytes in {self._rate.over_s:g} s"))

    def close(self) -> None:
        """Stop watching the time."""
        self._watchdog.close()


class Body:
    """The bytes of an object. Gives exactly the bytes promised, or raises `BodyCut`, `InvalidAnswer` (more than
    promised) or `OriginTimeout` (slower than the minimum rate)."""

    def __init__(self, wire: WireAnswer, extent: Extent, clock: Clock, min_rate: MinRate) -> None:
        self._paced = Paced(wire, clock, min_rate)
        self._left = extent.carried.length
        self._short = extent.carried != extent.promised

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._paced.read()
        self._left -= len(chunk)
        if self._left < 0:
            raise InvalidAnswer("the origin sent more bytes than it had announced")
        if chunk:
            return chunk
        if self._left or self._short:
            raise BodyCut("the origin's answer ended early")
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop watching the time."""
        self._paced.close()
