"""Each wrapper as the checks that are shipped get it: around any store, and hardly felt."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from rangecache.aio.budget import RetryBudget
from rangecache.aio.clock import SystemClock
from rangecache.aio.throttle import Throttle
from rangecache.origin.breaking import Breaking
from rangecache.origin.hedged import Hedged
from rangecache.origin.limit import Limited, Yielding
from rangecache.origin.observe import Observed
from rangecache.origin.retry import Retrying
from rangecache.origin.size_first import SizeFirst
from rangecache.origin.strain import Strain
from rangecache.origin.throttled import Rates, Throttled
from rangecache.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.origin.base import ObjectStore

CLOCK: Final = SystemClock()  # signatures hold for 15 minutes of real time


def budget() -> RetryBudget:
    """A ledger that is never in the way."""
    return RetryBudget(ratio=0.1, min_per_second=10, burst=1000, clock=CLOCK)


def throttled(store: ObjectStore) -> Throttled:
    """Behind rates that are kept and hardly felt."""
    waited = Metrics().throttle_wait.cell()
    return Throttled(store, Rates((Throttle(1e9),), (Throttle(1e5),)), clock=CLOCK, waited=waited)


def retrying(store: ObjectStore) -> Retrying:
    """With pauses of nothing."""
    return Retrying(store, budget=budget(), clock=CLOCK, attempts=3, random=itertools.repeat(0.0).__next__)


def hedged(store: ObjectStore) -> Hedged:
    """Ready to hedge."""
    return Hedged(store, budget=budget(), clock=CLOCK)


def observed(store: ObjectStore) -> Observed:
    """Counted."""
    return Observed(store, Metrics(), CLOCK, "web")


def limited(store: ObjectStore) -> Limited:
    """With so few permits that one which is not given back is missed."""
    return Limited(store, 2)


def yielding(store: ObjectStore) -> Yielding:
    """In a window of two."""
    return Yielding(store, Strain(CLOCK, 2))


def breaking(store: ObjectStore) -> Breaking:
    """With a breaker that is closed."""
    return Breaking(store, clock=CLOCK)


WRAPPERS: Final[dict[str, Callable[[ObjectStore], ObjectStore]]] = {
    "observed": observed,
    "throttled": throttled,
    "size first": SizeFirst,
    "yielding": yielding,
    "breaking": breaking,
    "hedged": hedged,
    "retrying": retrying,
    "limited": limited,
}


def as_the_program_wraps(store: ObjectStore) -> ObjectStore:
    """All of them, in the order of `wiring/origins`."""
    for wrap in WRAPPERS.values():
        store = wrap(store)
    return store
