"""Who asks. Where credentials come from, how they are kept, and what happens when there are none.

What blocks (the SDK's chain, files) runs on a thread of its own, one fetch at a time however many ask, and goes on when
one of those who wait gives up. An outage of the source costs one try every `FAILURE_MEMORY_S`, not one a request.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from rangecache.aio.deadline import Deadline
from rangecache.aio.tasks import Background
from rangecache.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rangecache.aio.clock import Clock

logger = logging.getLogger(__name__)

RECHECK_S: Final = 60.0  # the SDK renews 10 to 15 minutes before the end; asking it costs a hop to a thread
NOTHING_FOUND_S: Final = 60.0  # walking the whole chain may wait a second for an instance's metadata
FAILURE_MEMORY_S: Final = 10.0
FETCH_TIMEOUT_S: Final = 30.0  # a credential_process may hang; who waits is not to hang with it
SECRET_FILE_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """A key pair, and the token that belongs to it if it is temporary. Its `repr` shows nothing of them."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class CredentialsSource(Protocol):
    """Gives credentials when asked. Everything is called inside one event loop."""

    may_go_unsigned: bool
    """Whether a request may be sent unsigned where these credentials are missing or have expired: they were found by
    looking around, and not asked for by name."""

    @property
    def signs(self) -> bool:
        """Whether `get` would give credentials now."""
        ...

    async def get(self) -> S3Credentials | None:
        """Credentials to sign with; None: send unsigned. Raises `Unauthenticated`."""
        ...

    async def renew(self) -> bool:
        """Called when the origin has rejected what `get` gave. True if there are others now."""
        ...

    def describe(self) -> str:
        """What `get` gives, for a sentence such as "S3 does not accept …". No secrets."""
        ...

    async def aclose(self) -> None: ...


class Anonymous:
    """Never signs."""

    may_go_unsigned = True
    signs = False

    async def get(self) -> S3Credentials | None:
        """None."""
        return None

    async def renew(self) -> bool:
        """There is nothing to renew."""
        return False

    def describe(self) -> str:
        """For a sentence."""
        return "requests without credentials (anonymous)"

    async def aclose(self) -> None:
        """Nothing to give back."""


class StaticCredentials:
    """Keys that were given as values."""

    may_go_unsigned = False
    signs = True

    def __init__(self, credentials: S3Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> S3Credentials | None:
        """The keys."""
        return self._credentials

    async def renew(self) -> bool:
        """There are no others."""
        return False

    def describe(self) -> str:
        """For a sentence."""
        return "the static keys of the configuration"

    async def aclose(self) -> None:
        """Nothing to give back."""


class CredentialsUnavailable(Exception):
    """A source failed. The message is the end of a sentence and holds nothing of the source's output."""


class FetchedCredentials:
    """Credentials that have to be fetched by blocking code, now and again.

    `fetch(renew)` runs on a thread, never twice at a time; `renew` is True where what it gave last was rejected. It
    returns None where it finds none and raises whatever it likes; a `CredentialsUnavailable` is quoted to users.
    """

    def __init__(
        self,
        fetch: Callable[[bool], S3Credentials | None],
        *,
        description: str,
        may_go_unsigned: bool,
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._description = description
        self.may_go_unsigned = may_go_unsigned
        self._clock = clock
        self._current: S3Credentials | None = None
        self._failure = ""
        self._check_at_s = float("-inf")
        self._renewed_at_s = float("-inf")
        self._renewed = False
        self._renewal: asyncio.Task[None] | None = None
        self._flight: asyncio.Task[None] | None = None
        self._thread: asyncio.Future[S3Credentials | Exception | None] | None = None
        self._background = Background()

    @property
    def signs(self) -> bool:
        """Whether there are credentials."""
        return self._current is not None

    async def get(self) -> S3Credentials | None:
        """What was fetched last, at once; only who comes first of all waits."""
        if self._clock.monotonic() >= self._check_at_s:
            flight = self._start(renew=False)
            if self._current is None:
                await asyncio.shield(flight)
        if self._current is None and not self.may_go_unsigned:
            what = self._failure or "none were found"
            raise Unauthenticated(f"there are no credentials: {self._description} cannot be used, {what}")
        return self._current

    async def renew(self) -> bool:
        """Fetch anew, unless that was done less than `FAILURE_MEMORY_S` ago: then say what came of it."""
        if self._renewal is None and self._clock.monotonic() - self._renewed_at_s >= FAILURE_MEMORY_S:
            self._renewal = self._background.spawn(self._renew(), "renew S3 credentials")
            self._renewal.add_done_callback(self._renewal_ended)
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        return self._renewed

    async def _renew(self) -> None:
        rejected = self._current
        if self._flight is not None:  # it began before the rejection and may bring the same again
            await asyncio.shield(self._flight)
        if self._current == rejected:
            await asyncio.shield(self._start(renew=True))
        self._renewed = self._current is not None and self._current != rejected
        self._renewed_at_s = self._clock.monotonic()

    def _renewal_ended(self, _: asyncio.Task[None]) -> None:
        self._renewal = None

    def describe(self) -> str:
        """For a sentence."""
        if self._current is not None:
            return self._description
        return f"requests without credentials ({self._description}: {self._failure or 'none were found'})"

    async def aclose(self) -> None:
        """Stop waiting for a fetch. A thread that hangs is left behind; it does not keep the program alive."""
        await self._background.aclose()

    def __repr__(self) -> str:
        state = "present" if self._current is not None else self._failure or "none"
        return f"<FetchedCredentials of {self._description}: {state}>"

    def _start(self, *, renew: bool) -> asyncio.Task[None]:
        if self._flight is None:
            self._flight = self._background.spawn(self._load(renew), "fetch S3 credentials")
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, _: asyncio.Task[None]) -> None:
        self._flight = None

    async def _load(self, renew: bool) -> None:
        try:
            async with Deadline(self._clock, FETCH_TIMEOUT_S):
                found = await asyncio.shield(self._in_thread(renew))
        except TimeoutError as error:
            found = CredentialsUnavailable(f"nothing came within {FETCH_TIMEOUT_S:g} s")
            found.__cause__ = error
        now_s = self._clock.monotonic()
        if isinstance(found, Exception):
            # Its own text may repeat what a credential process or a token service printed.
            self._failure = str(found) if isinstance(found, CredentialsUnavailable) else type(found).__name__
            self._check_at_s = now_s + FAILURE_MEMORY_S
            logger.warning("S3 credentials could not be loaded from %s: %s", self._description, self._failure)
            return
        self._current, self._failure = found, ""
        self._check_at_s = now_s + (NOTHING_FOUND_S if found is None else RECHECK_S)

    def _in_thread(self, renew: bool) -> asyncio.Future[S3Credentials | Exception | None]:
        """What `fetch` returns or raises, as a value. A fetch that still hangs from last time is waited for again."""
        if self._thread is None or self._thread.done():
            loop = asyncio.get_running_loop()
            done = self._thread = loop.create_future()

            def run() -> None:
                found: S3Credentials | Exception | None
                try:
                    found = self._fetch(renew)
                except Exception as error:  # noqa: BLE001  # the SDK's sources raise what they like; all of it is a failure
                    found = error
                with suppress(RuntimeError):  # the loop may be gone by now
                    loop.call_soon_threadsafe(_settle, done, found)

            threading.Thread(target=run, name="s3-credentials", daemon=True).start()
        return self._thread


def _settle(done: asyncio.Future[S3Credentials | Exception | None], found: S3Credentials | Exception | None) -> None:
    if not done.done():
        done.set_result(found)


# --- where they are fetched from ----------------------------------------------------------------------------------


def from_files(
    access_key_id: str,
    secret_access_key: str | Path,
    session_token: str | Path | None = None,
    *,
    clock: Clock,
) -> FetchedCredentials:
    """Keys whose secret parts are values or files. Files are read again every `RECHECK_S` and after a rejection."""

    def fetch(_: bool) -> S3Credentials:
        token = None if session_token is None else _secret(session_token)
        return S3Credentials(access_key_id, _secret(secret_access_key), token)

    return FetchedCredentials(
        fetch, description="the static keys of the configuration", may_go_unsigned=False, clock=clock
    )


def _secret(given: str | Path) -> str:
    if isinstance(given, str):
        return given
    try:
        with given.open("rb") as file:
            text = file.read(SECRET_FILE_BYTES_MAX).decode().strip()
    except OSError as error:
        raise CredentialsUnavailable(f"the file {given} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise CredentialsUnavailable(f"the file {given} is not text") from None  # the cause would quote the secret
    if not text:
        raise CredentialsUnavailable(f"the file {given} is empty")
    return text


def from_sdk(profile: str | None = None, *, clock: Clock) -> FetchedCredentials:
    """The AWS SDK's own chain: environment, assumed roles, web identity, SSO, files, process, container, instance.
    With `profile` only what that profile says, and no going unsigned."""
    chain = _Chain(profile)
    where = "this machine's environment" if profile is None else f"profile {profile}"
    return FetchedCredentials(
        chain.fetch, description=f"the credentials of {where}", may_go_unsigned=profile is None, clock=clock
    )


class _Chain:
    """botocore's credential chain. The plain one on a thread and not aiobotocore's: that one makes the clients of
    token services on the event loop, and each stops it for 60 to 240 ms (measured)."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._found: Any = None

    def fetch(self, renew: bool) -> S3Credentials | None:
        """Blocks. Credentials that can renew themselves do so inside `get_frozen_credentials`."""
        import botocore.exceptions  # a fifth of a second, and only where it is needed
        import botocore.session

        if renew:
            self._found = None
        try:
            if self._found is None:
                self._found = botocore.session.Session(profile=self._profile).get_credentials()
            if self._found is None:
                return None
            keys = self._found.get_frozen_credentials()
        except botocore.exceptions.ProfileNotFound as error:
            named = self._profile or "of the name in AWS_PROFILE"
            raise CredentialsUnavailable(f"the AWS configuration has no profile {named}") from error
        return S3Credentials(keys.access_key, keys.secret_key, keys.token or None)
