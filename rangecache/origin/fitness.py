"""Whether what a replica answers can be used.

A replica may be there, as the breaker of its endpoint sees it, and yet be of no use: it takes our credentials no
longer, its certificate is another host's, or something in front of it answers in its place. If each read found that out
anew, each would take a token of the budget for repeats, until there were none left for anybody. So such a replica
counts as down too, bucket by bucket, by the rules of `aio/breaker`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rangecache.aio.breaker import Breaker
from rangecache.errors import CircuitOpen, InvalidAnswer, OriginError, TransientError, Unauthenticated
from rangecache.origin.breaking import EndpointHealth
from rangecache.origin.recent import BUCKETS_REMEMBERED, Recent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef

logger = logging.getLogger(__name__)


class Fitness:
    """Of one replica. All names of objects are the set's."""

    def __init__(self, replica: str, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._breakers: Recent[str, Breaker] = Recent(BUCKETS_REMEMBERED)

    def is_good(self, ref: ObjectRef) -> bool:
        """Whether its answers about this object's bucket have been of use of late."""
        breaker = self._breakers.get(ref.bucket)
        return breaker is None or breaker.state == "closed"

    def retry_after_s(self, ref: ObjectRef) -> float:
        """How long it will not be asked; 0 where it would be asked now."""
        breaker = self._breakers.get(ref.bucket)
        return 0.0 if breaker is None else breaker.retry_after_s

    def hurry(self, ref: ObjectRef) -> None:
        """Let the next request through, as a probe."""
        breaker = self._breakers.get(ref.bucket)
        if breaker is not None:
            breaker.hurry()

    def faults(self) -> Iterator[EndpointHealth]:
        """Why it is not asked, for each bucket that it is not asked for."""
        for bucket, breaker in self._breakers.items():
            if breaker.state != "closed":
                name = f"{self._replica}/{bucket}"
                yield EndpointHealth(name, breaker.state, breaker.reason, breaker.retry_after_s, 0.0)

    @contextmanager
    def judge(self, ref: ObjectRef) -> Iterator[None]:
        """Around one question: how it ends is noted. Raises `CircuitOpen` where it should not be asked."""
        breaker = self._breaker(ref)
        leave = breaker.admit()
        if leave is None:
            wait_s = breaker.retry_after_s
            raise CircuitOpen(
                f"{self._replica} is not asked for another {wait_s:.0f} s: {breaker.reason}", retry_after_s=wait_s
            )
        try:
            yield
            breaker.succeeded(leave)
        except Unauthenticated as error:
            breaker.failed(leave, error.message)
            raise
        except InvalidAnswer as error:
            if error.unproven:
                breaker.failed(leave, error.message)
            else:  # which may be one object's trouble; its name is nothing for the log
                breaker.failed(leave, "its answers cannot be used", (ref.bucket, ref.key))
            raise
        except TransientError:
            breaker.dropped(leave)  # the endpoint's own breaker has heard of it
            raise
        except OriginError:
            breaker.succeeded(leave)
            raise
        except BaseException:
            breaker.dropped(leave)
            raise

    def _breaker(self, ref: ObjectRef) -> Breaker:
        breaker = self._breakers.get(ref.bucket)
        if breaker is None:
            breaker = Breaker(self._clock, on_turn=self._tell)
            self._breakers.put(ref.bucket, breaker)
        return breaker

    def _tell(self, breaker: Breaker) -> None:
        if breaker.state == "closed":
            logger.info("replica %s is of use again", self._replica)
        else:
            logger.warning("replica %s is of no use and not asked for now: %s", self._replica, breaker.reason)
