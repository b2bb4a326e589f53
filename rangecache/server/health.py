"""Whether the program lives, whether it wants traffic, and what there is to tell about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rangecache.server.stats import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.blocks.base import BlockStore
    from rangecache.server.stats import MemoryUse
    from rangecache.telemetry import Metrics


def _no_flights() -> int:
    return 0


def _no_places() -> Mapping[str, MemoryUse]:
    return {}


def _no_settings() -> Mapping[str, object]:
    return {}


@dataclass(slots=True)
class ServerState:
    """What the admin and health ports show. The wiring makes it, sets `ready` when start-up is complete and calls
    `drain()` when it begins to stop."""

    metrics: Metrics
    clock: Clock
    tiers: Sequence[BlockStore] = ()
    """From the fastest to the slowest."""
    flights: Callable[[], int] = _no_flights
    """How many block fetches are under way."""
    memory: Callable[[], Mapping[str, MemoryUse]] = _no_places
    """What each place of the program holds in memory."""
    settings: Callable[[], Mapping[str, object]] = _no_settings
    """The configuration in force, without secrets."""
    ready: bool = False
    draining: bool = field(default=False, init=False)
    started_at_s: float = field(init=False)
    """On the monotonic clock."""

    def __post_init__(self) -> None:
        self.started_at_s = self.clock.monotonic()

    def drain(self) -> None:
        """From now on `/readyz` asks balancers to send new requests elsewhere. There is no way back."""
        self.draining = True

    @property
    def phase(self) -> str:
        """`starting`, `ready` or `draining`; only in the second is traffic wanted."""
        if self.draining:
            return "draining"
        return "ready" if self.ready else "starting"

    def stats(self) -> dict[str, object]:
        """The document of `/v1/stats`."""
        return stats(
            self.metrics,
            [tier.stats() for tier in self.tiers],
            self.memory(),
            flights=self.flights(),
            uptime_s=self.clock.monotonic() - self.started_at_s,
            phase=self.phase,
        )
