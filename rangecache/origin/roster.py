"""Which replica of a failover set is asked first, and which after it.

The first in order that is not known to be down. One that is down is asked again in the background, by one probe at a
time; nobody waits for it. So is one that has become slow, to find out whether it still is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.aio.tasks import Background
from rangecache.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.replica import Replica

SLOW_S: Final = 1.0  # a replica whose answers begin sooner is never called slow
SLOW_FACTOR: Final = 4.0
LAST_HOPE_S: Final = 1.0
PROBE_INTERVAL_S: Final = 5.0  # of one replica, besides the pauses of its breaker


class Roster:
    """The replicas of a set, the most trusted one first."""

    def __init__(self, replicas: Sequence[Replica], clock: Clock) -> None:
        self._replicas = tuple(replicas)
        self._clock = clock
        self._probed_at: dict[str, float] = {}
        self._hurried_at = float("-inf")
        self._background = Background()

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)

    def __len__(self) -> int:
        return len(self._replicas)

    @property
    def first(self) -> Replica:
        """The one that counts."""
        return self._replicas[0]

    def having(self, ref: ObjectRef) -> list[Replica]:
        """Those that may have the object, the most trusted one first."""
        return [each for each in self._replicas if each.has(ref)]

    def home(self, meta: ObjectMeta) -> Replica | None:
        """Whose version it is; None if it is of none of them any more."""
        return next((each for each in self._replicas if each.made(meta)), None)

    def in_order(self, ref: ObjectRef) -> list[Replica]:
        """The replicas to ask, one after the other: those that are up, quick ones first. Raises `UnknownName`.

        Those that are down are probed meanwhile, as is who may be quicker than a slow one. Where none is up, all of
        them are asked, and every `LAST_HOPE_S` past their breakers: the pauses of a breaker are for having others.
        """
        placed = self.having(ref)
        if not placed:
            raise UnknownName(f"no replica of {ref.provider} has a bucket {ref.bucket}; add it to the configuration")
        up = [each for each in placed if each.is_up(ref)]
        for each in placed:
            if each.may_be_probed(ref):
                self._probe(each, ref)
        slow = [each for each in up if self._is_slow(each, up, ref)]
        quick = [each for each in up if each not in slow]
        return quick + slow or self._all_of(placed, ref)

    async def aclose(self) -> None:
        """Stop probing."""
        await self._background.aclose()

    def _all_of(self, placed: list[Replica], ref: ObjectRef) -> list[Replica]:
        now = self._clock.monotonic()
        if now - self._hurried_at >= LAST_HOPE_S:
            self._hurried_at = now
            for each in placed:
                each.hurry(ref)
        return placed

    def _is_slow(self, replica: Replica, up: Sequence[Replica], ref: ObjectRef) -> bool:
        """Whether it has become much slower than one that would be asked after it."""
        latency_s = replica.latency_s(ref)
        if latency_s < SLOW_S:
            return False
        after = up[up.index(replica) + 1 :]
        for other in after:
            if not other.latency_s(ref):
                self._probe(other, ref)
        self._probe(replica, ref)
        return any(0 < other.latency_s(ref) * SLOW_FACTOR < latency_s for other in after)

    def _probe(self, replica: Replica, ref: ObjectRef) -> None:
        now = self._clock.monotonic()
        if now - self._probed_at.get(replica.name, float("-inf")) >= PROBE_INTERVAL_S:
            self._probed_at[replica.name] = now
            self._background.spawn(replica.probe(ref), f"probe of replica {replica.name}")

    def __repr__(self) -> str:
        return " ".join(each.name for each in self._replicas)
