"""Credentials that have to be fetched: how they are kept, renewed and given up.

It is fetched once however many ask, and goes on being fetched when one of those who wait gives up. What says when it
expires is renewed before, at a random moment between half and four fifths of its life, so that many instances do not
renew at once; until it has expired, it is used whatever becomes of the renewal. A source that fails is asked after
`FAILURE_PAUSE_S`, then after twice as long each time, and not for every request: `docs/budget.md` has the formula.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from rangecache.aio.deadline import Deadline
from rangecache.aio.tasks import Background
from rangecache.errors import Unauthenticated
from rangecache.origin.credentials import CredentialsUnavailable, Grant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rangecache.aio.clock import Clock

logger = logging.getLogger(__name__)

RECHECK_S: Final = 60.0  # of what does not say when it expires, such as a file; asking costs a hop to a thread
NOTHING_FOUND_S: Final = 60.0  # walking a whole chain may wait a second for an instance's metadata
FAILURE_PAUSE_S: Final = 10.0
FAILURE_PAUSE_MAX_S: Final = 300.0
USEFUL_MIN_S: Final = 1.0  # however short its life: whoever gives what dies at once is not asked for every request
FETCH_TIMEOUT_S: Final = 30.0  # a command may hang; who waits is not to hang with it
RENEW_FROM: Final = 0.5  # of what is left of its life when it comes
RENEW_TO: Final = 0.8

Outcome = Literal["ok", "none", "error", "timeout"]
"""How a fetch ended: with credentials, or as there are none, it failed, or it took too long."""

T = TypeVar("T")


class Fetched(Generic[T]):
    """Credentials that have to be fetched, now and again.

    `fetch(renew)` never runs twice at a time; `renew` is True where what it gave last was rejected. It returns None
    where it finds none and raises whatever it likes; a `CredentialsUnavailable` is quoted to users, of another error
    only its kind is told. What blocks is wrapped in `OnThread`. `random` gives numbers in [0, 1).
    """

    def __init__(
        self,
        fetch: Callable[[bool], Awaitable[Grant[T] | None]],
        *,
        description: str,
        may_go_unsigned: bool,
        clock: Clock,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._fetch = fetch
        self._description = description
        self.may_go_unsigned = may_go_unsigned
        self._clock = clock
        self._random = random
        self._current: Grant[T] | None = None
        self._failure = ""
        self._failures = 0
        self._check_at_s = float("-inf")
        self._renewed_at_s = float("-inf")
        self._renewed = False
        self._renewal: asyncio.Task[None] | None = None
        self._flight: asyncio.Task[None] | None = None
        self._background = Background()
        self._on_ended: Callable[[Outcome], None] | None = None

    def watch(self, on_ended: Callable[[Outcome], None]) -> None:
        """Tell `on_ended` of each fetch from now on."""
        self._on_ended = on_ended

    @property
    def signs(self) -> bool:
        """Whether there are credentials that have not expired."""
        return self._valid() is not None

    @property
    def expires_at_s(self) -> float | None:
        """By the wall clock, of what was fetched last."""
        grant = self._valid()
        return None if grant is None else grant.expires_at_s

    async def get(self) -> T | None:
        """What was fetched last, at once; only who comes first of all, or after it has expired, waits."""
        if self._clock.monotonic() >= self._check_at_s:
            flight = self._start(renew=False)
            if self._valid() is None:
                await asyncio.shield(flight)
        current = self._valid()
        if current is not None:
            return current.value
        if not self.may_go_unsigned:
            raise Unauthenticated(f"there are no credentials: {self._description} cannot be used, {self._why()}")
        return None

    async def renew(self) -> bool:
        """Fetch anew, unless that was done less than `FAILURE_PAUSE_S` ago: then say what came of it. Of a source that
        fails nothing comes before its pause has ended."""
        now_s = self._clock.monotonic()
        if self._renewal is None and self._failures and now_s < self._check_at_s:
            return False
        if self._renewal is None and now_s - self._renewed_at_s >= FAILURE_PAUSE_S:
            self._renewal = self._background.spawn(self._renew(), f"renewal of {self._description}")
            self._renewal.add_done_callback(self._renewal_ended)
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        return self._renewed

    def describe(self) -> str:
        """For a sentence."""
        if self._valid() is not None:
            return self._description
        return f"requests without credentials ({self._description}: {self._why()})"

    async def aclose(self) -> None:
        """Stop waiting for a fetch. A thread that hangs is left behind; it does not keep the program alive."""
        await self._background.aclose()

    def __repr__(self) -> str:
        state = "present" if self._valid() is not None else self._why()
        return f"<Fetched {self._description}: {state}>"

    def _valid(self) -> Grant[T] | None:
        grant = self._current
        return None if grant is None or self._has_expired(grant) else grant

    def _has_expired(self, grant: Grant[T]) -> bool:
        return grant.expires_at_s is not None and self._clock.wall() >= grant.expires_at_s

    def _why(self) -> str:
        if self._failure or self._current is None:
            return self._failure or "none were found"
        return "they have expired"

    async def _renew(self) -> None:
        rejected = self._current
        if self._flight is not None:  # it began before the rejection and may bring the same again
            await asyncio.shield(self._flight)
        if _same(self._current, rejected):
            await asyncio.shield(self._start(renew=True))
        self._renewed = self._valid() is not None and not _same(self._current, rejected)
        self._renewed_at_s = self._clock.monotonic()

    def _renewal_ended(self, _: asyncio.Task[None]) -> None:
        self._renewal = None

    def _start(self, *, renew: bool) -> asyncio.Task[None]:
        if self._flight is None:
            self._flight = self._background.spawn(self._load(renew), f"fetch of {self._description}")
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, _: asyncio.Task[None]) -> None:
        self._flight = None

    async def _load(self, renew: bool) -> None:
        try:
            async with Deadline(self._clock, FETCH_TIMEOUT_S):
                grant = await self._fetch(renew)
            if grant is not None and self._has_expired(grant):
                raise CredentialsUnavailable("what came has expired already; is the clock of this machine right?")
        except TimeoutError as error:
            self._failed(CredentialsUnavailable(f"nothing came within {FETCH_TIMEOUT_S:g} s"), error)
            self._ended("timeout")
        except Exception as error:  # noqa: BLE001  # sources raise what they like; all of it is a failure
            self._failed(error, error)
            self._ended("error")
        else:
            self._current, self._failure, self._failures = grant, "", 0
            self._check_at_s = self._clock.monotonic() + self._useful_s(grant)
            self._ended("none" if grant is None else "ok")

    def _ended(self, outcome: Outcome) -> None:
        if self._on_ended is not None:
            self._on_ended(outcome)

    def _useful_s(self, grant: Grant[T] | None) -> float:
        """How long to ask for nothing else."""
        if grant is None:
            return NOTHING_FOUND_S
        if grant.expires_at_s is None:
            return RECHECK_S
        left_s = grant.expires_at_s - self._clock.wall()
        return max(USEFUL_MIN_S, left_s * (RENEW_FROM + (RENEW_TO - RENEW_FROM) * self._random()))

    def _failed(self, error: Exception, cause: Exception) -> None:
        # Its own text may repeat what a command or a token service printed.
        self._failure = str(error) if isinstance(error, CredentialsUnavailable) else type(error).__name__
        pause_s = min(FAILURE_PAUSE_S * 2.0**self._failures, FAILURE_PAUSE_MAX_S)
        self._failures = min(self._failures + 1, 16)
        self._check_at_s = self._clock.monotonic() + pause_s
        logger.warning("credentials could not be had from %s: %s", self._description, self._failure)
        logger.debug("the cause is a %s", type(cause).__name__)


def _same(one: Grant[T] | None, other: Grant[T] | None) -> bool:
    return (None if one is None else one.value) == (None if other is None else other.value)


class OnThread(Generic[T]):
    """Makes a `fetch` of blocking code: it runs on a thread of its own, at most one, which does not keep the program
    alive. One that still hangs from last time is waited for again."""

    def __init__(self, fetch: Callable[[bool], Grant[T] | None]) -> None:
        self._fetch = fetch
        self._running: asyncio.Future[Grant[T] | None] | None = None

    async def __call__(self, renew: bool) -> Grant[T] | None:
        """What the code returns or raises."""
        if self._running is None or self._running.done():
            self._running = self._begin(renew)
        return await asyncio.shield(self._running)

    def _begin(self, renew: bool) -> asyncio.Future[Grant[T] | None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Grant[T] | None] = loop.create_future()

        def run() -> None:
            found: Grant[T] | Exception | None
            try:
                found = self._fetch(renew)
            except Exception as error:  # noqa: BLE001  # handed on
                found = error
            with suppress(RuntimeError):  # the loop may be gone by now
                loop.call_soon_threadsafe(_settle, done, found)

        threading.Thread(target=run, name="credentials", daemon=True).start()
        return done


def _settle(done: asyncio.Future[Any], found: object) -> None:
    if done.done():
        return
    if isinstance(found, Exception):
        done.set_exception(found)
        done.exception()  # nobody may be waiting any more; that is no fault of the program
    else:
        done.set_result(found)
