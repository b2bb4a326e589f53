"""A rate that is kept, and who waits for it in which order.

aiolimiter keeps the rate: a leaky bucket that lets `BURST_S` worth of it through at once. By itself it refuses what is
larger than the bucket, and lets small amounts pass large ones for ever. So amounts are charged in slices, one at a time
behind a lock with two ranks: the urgent before the patient, each in the order they came. Who has more to pay goes to
the end of his rank after each slice, so a large amount holds up a small one by as many slices as there are others, and
none is overtaken for ever.

The limiter's time is the event loop's, not a `Clock`'s.
"""

from __future__ import annotations

from typing import Final

from aiolimiter import AsyncLimiter

from rangecache.aio.permits import Permits, Ticket

BURST_S: Final = 0.2  # 2 % of what passes in 10 s; a loop that stands still for longer loses some of its rate
SLICE: Final = 64 * 1024  # of bytes; where a rate is high, more, as each slice costs some µs
_SLICE_S: Final = 0.02


class Throttle:
    """At most `rate` units a second: bytes, or requests."""

    def __init__(self, rate: float) -> None:
        burst = max(1.0, rate * BURST_S)
        self._limiter = AsyncLimiter(burst, burst / rate)
        self._slice = min(burst, max(SLICE, rate * _SLICE_S))
        self._turns = Permits(1, 1)

    async def charge(self, amount: float, ticket: Ticket) -> None:
        """Return when `amount` may have passed. A ticket pays for one thing after the other."""
        while amount > 0:
            part = min(amount, self._slice)
            await self._turns.acquire(ticket)
            try:
                await self._limiter.acquire(part)
            finally:
                self._turns.release(ticket)
            amount -= part

    def promote(self, ticket: Ticket) -> None:
        """Somebody waits for it now; nothing happens if it is urgent already."""
        self._turns.promote(ticket)
