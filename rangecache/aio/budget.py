"""The one ledger for repeats.

A retry helps when one request had bad luck. When an origin is down, or is answering slowly because it has too much to
do, retries are the load that keeps it there: three attempts a request are three times the load at the worst moment, and
layers that each retry multiply. So the number of repeats is tied to the number of requests.

Every request towards an origin deposits `ratio` of a token, every repeat withdraws a whole one, and no token means no
repeat: the first error stands. With a ratio of 0.1 an origin that fails everything sees 1.1 requests for each that a
reader asked for, and a healthy one with a fault here and there sees every fault repeated.

Two things soften that. A program that asks seldom would never have saved up a token, so `min_per_second` tokens trickle
in with time. And the ledger starts with `burst` tokens and holds no more than that, so that a short outage in a quiet
hour is ridden out while a good day does not pay for a bad week. Over any time t since the start, whatever happens,

    requests on the wire  ≤  (1 + ratio) · requests asked for  +  min_per_second · t  +  burst

There is one ledger in the process, for all providers and for every kind of repeat. Ledgers compose over processes by
their ratio, but their trickles add up: divide `min_per_second` by the number of instances.

The scheme is Finagle's RetryBudget with the ratio that the Google SRE book recommends; see also gRFC A6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock


class RetryBudget:
    """Tokens for repeats. All methods return at once."""

    def __init__(self, ratio: float, min_per_second: float, burst: float, clock: Clock) -> None:
        self._ratio = ratio
        self._per_second = min_per_second
        self._tokens = burst
        self._tokens_max = max(burst, 1.0)  # with less room than one token there would never be a repeat
        self._clock = clock
        self._counted_at = clock.monotonic()

    def deposit(self) -> None:
        """A request was asked for. Repeats of it do not count as requests."""
        self._trickle()
        self._tokens = min(self._tokens_max, self._tokens + self._ratio)

    def try_withdraw(self) -> bool:
        """Take the token for one repeat. False: there is none, and there must be no repeat."""
        self._trickle()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    @property
    def balance(self) -> float:
        """Tokens in the ledger now; each whole one is a repeat."""
        self._trickle()
        return self._tokens

    def _trickle(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._tokens_max, self._tokens + (now - self._counted_at) * self._per_second)
        self._counted_at = now
