"""Answers past the cache: the response that was opened for a request, or one that is asked for in its name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import GenerationGone
from rangecache.read.fetcher import SKIP_BYTES_MAX
from rangecache.read.messages import CacheStatus, Reply
from rangecache.read.passing import PassThrough, check_skip, from_hand_off, reaches, single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.aio.allowance import Allowance
    from rangecache.aio.clock import Clock
    from rangecache.origin.base import ObjectStore
    from rangecache.read.catalog import Catalog
    from rangecache.read.conditions import Decision
    from rangecache.read.hand_off import HandOff
    from rangecache.read.known import Known
    from rangecache.read.messages import ReadRequest
    from rangecache.telemetry import Counter


class Bypass:
    """What cannot be stored, or is quicker handed on than stored first."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        catalog: Catalog,
        clock: Clock,
        served: Counter,
        allowance: Allowance,
        *,
        max_ranges: int,
    ) -> None:
        """`stores` are asked for what passes through to one client, at his pace; `allowance` counts what he has not
        taken yet."""
        self._stores = stores
        self._catalog = catalog
        self._clock = clock
        self._served = served
        self._allowance = allowance
        self._max_ranges = max_ranges

    async def from_hand_off(self, known: Known, hand_off: HandOff, decision: Decision) -> Reply | None:
        """Answer from the response that was opened for this request; None where it has too little. Raises
        `InvalidAnswer` where the bytes asked for lie too deep in it."""
        decision = single(decision, known.meta)
        if not decision.ranges or not reaches(hand_off.range, decision):
            hand_off.discard()
            return None
        wanted = decision.ranges[0]
        if wanted.start - hand_off.range.start > SKIP_BYTES_MAX:
            hand_off.discard()
        check_skip(hand_off.range, wanted)
        outcome = "bypass" if known.bypass else "uri-miss"
        cache = CacheStatus(
            "bypass" if known.bypass else "miss",
            fwd=outcome,
            fwd_status=206 if hand_off.range.length < known.meta.size else 200,
            stored=not known.bypass,
        )
        hand_off.take()
        pieces = from_hand_off(hand_off, wanted, self._served.cell(known.meta.ref.provider, "origin"))
        await anext(pieces)
        age_s = known.age(self._clock.monotonic())
        return Reply(decision.status, known.meta, cache, age_s, decision.ranges, pieces)

    async def pass_through(self, request: ReadRequest, known: Known) -> Reply:
        """Ask the origin for exactly what the client asked for, for this client alone. Raises `OriginError`."""
        store = self._stores[request.ref.provider]
        passing = PassThrough(store, request, known.meta, self._max_ranges, self._allowance)
        pieces = passing.pieces(self._served.cell(request.ref.provider, "origin"))
        epoch = self._catalog.epochs.now
        try:
            await anext(pieces)
        except GenerationGone as gone:
            if gone.current is not None and not self._catalog.epochs.over(request.ref, epoch):
                self._catalog.learned(gone.current)
            raise
        reply = passing.reply(pieces)
        if not reply.ranges:
            await pieces.aclose()
            reply.ranges, reply.body = (), ()
        return reply
