"""Who asks at Google Cloud Storage: access tokens, from Google's own sources by gcloud-aio-auth, or from a command.

A fetch runs on a thread with an event loop and a session of its own. What it imports, reads and signs would stop the
program's loop for a fifth of a second, and nothing of it can be cancelled by a reader who leaves.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from rangecache.origin.command import run_command
from rangecache.origin.credentials import CredentialsUnavailable, Grant, read_secret
from rangecache.origin.fetched import Fetched, OnThread
from rangecache.origin.printed import read_expires, read_object
from rangecache.origin.providers.gcs_errors import LOGIN
from rangecache.origin.session import token_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.aio.clock import Clock

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
FETCH_S: Final = 20.0  # of one fetch; below `FETCH_TIMEOUT_S`, so that it is the fetch that ends
LOOK_AROUND_S: Final = 3.0  # for a metadata server that may not be there, as google-auth waits
FILE_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
LIFE_S_MAX: Final = 7 * 86_400.0  # Google's tokens live for an hour, or for twelve by an organisation's leave

_KINDS: Final = frozenset({"authorized_user", "external_account", "impersonated_service_account", "service_account"})


class Source(Protocol):
    """Somewhere to get a token from. Called on a thread, by one at a time."""

    description: str
    """For a sentence, such as "Google Cloud Storage does not accept …"."""

    def fetch(self, renew: bool) -> Grant[str] | None:
        """Blocks. See `rangecache.origin.fetched.Fetched`."""
        ...


def fetched(source: Source, *, clock: Clock, may_go_unsigned: bool = False) -> Fetched[str]:
    """What keeps and renews the tokens of a source."""
    fetch = OnThread(source.fetch)
    return Fetched(fetch, description=source.description, may_go_unsigned=may_go_unsigned, clock=clock)


class TokenCommand:
    """A command that prints `{"token": …, "expires": …}`; `expires` is an ISO 8601 time or seconds since 1970. What
    does not say when it expires is kept until it is rejected: a command may ask somebody for something."""

    def __init__(self, command: str | Sequence[str]) -> None:
        self._command = command
        self._kept: Grant[str] | None = None
        self.description = "the token that the configured command prints"

    def fetch(self, renew: bool) -> Grant[str]:
        """See `Source`."""
        if renew or self._kept is None or self._kept.expires_at_s is not None:
            self._kept = _printed(run_command(self._command))
        return self._kept


class GoogleToken:
    """The token of a key file, of a login, of a workload's identity or of this machine.

    Args:
        file: a file of Google's own forms: a service account's key, a login (`authorized_user`), an external account,
            an impersonation. It is read again for each token. None: the metadata server.
        proxy: what token services are reached through. The metadata server is this machine's and is asked directly.
        expected: forms that the file may have.
    """

    def __init__(
        self,
        file: Path | None,
        *,
        clock: Clock,
        proxy: str | None = None,
        ca_file: Path | None = None,
        expected: frozenset[str] = _KINDS,
        limit_s: float = FETCH_S,
    ) -> None:
        self._file = file
        self._clock = clock
        self._proxy = proxy
        self._ca_file = ca_file
        self._expected = expected
        self._limit_s = limit_s
        what = "the service account of this machine (metadata server)" if file is None else f"the credentials in {file}"
        self.description = what

    def fetch(self, _: bool) -> Grant[str]:
        """See `Source`."""
        text = "{}" if self._file is None else read_secret(self._file)
        kind = "metadata" if self._file is None else self._checked(text)
        try:
            token, life_s = asyncio.run(self._ask(text))
        except Exception as error:
            # Its text may repeat what a token service answered.
            raise CredentialsUnavailable(_failure(kind, error)) from error
        if not _is_token(token) or not 0 < life_s <= LIFE_S_MAX:
            raise CredentialsUnavailable("what came is no usable token")
        return Grant(token, self._clock.wall() + life_s)

    async def _ask(self, text: str) -> tuple[str, float]:
        """One attempt: `refresh` is what the SDK's own `get` repeats four times, with pauses of up to a minute."""
        from gcloud.aio.auth import AioSession, Token  # cryptography and JWT, and only where they are needed

        token = Token(service_file=io.StringIO(text), scopes=[SCOPE])
        proxy = None if self._file is None else self._proxy
        async with asyncio.timeout(self._limit_s), token_session(proxy=proxy, ca_file=self._ca_file) as session:
            token.session = AioSession(session)  # type: ignore[arg-type]  # its types are those of its other build
            answer = await token.refresh(timeout=int(self._limit_s))
        return answer.value, float(answer.expires_in)

    def _checked(self, text: str) -> str:
        """The form of the file. The SDK takes a file that it cannot read for none, and asks the metadata server."""
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            raise CredentialsUnavailable(f"the file {self._file} is not JSON") from None
        kind = found.get("type") if isinstance(found, dict) else None
        if not isinstance(kind, str) or kind not in self._expected:
            raise CredentialsUnavailable(f"the file {self._file} is not of type {' or '.join(sorted(self._expected))}")
        source = found.get("credential_source")
        if kind == "external_account" and isinstance(source, dict):
            if "executable" in source or str(source.get("environment_id", "")).startswith("aws"):
                raise CredentialsUnavailable(
                    f"the credential_source of {self._file} is aws or executable, which is not supported; use a file or"
                    " an address, or a command of its own for the provider"
                )
            if isinstance(source.get("file"), str):
                read_secret(Path(source["file"]))  # so that it is named where it cannot be read
        return kind


class ApplicationDefault:
    """Application default credentials, as Google's libraries look for them: the file that the environment names, the
    login of gcloud, and this machine's service account."""

    def __init__(self, *, clock: Clock, proxy: str | None = None, ca_file: Path | None = None) -> None:
        self._clock = clock
        self._proxy = proxy
        self._ca_file = ca_file
        self.description = "the application default credentials of this machine"

    def fetch(self, renew: bool) -> Grant[str] | None:
        """See `Source`."""
        named = os.environ.get(FILE_VARIABLE)
        file = Path(named) if named else _login_file()
        if named or file.exists():
            return GoogleToken(file, clock=self._clock, proxy=self._proxy, ca_file=self._ca_file).fetch(renew)
        try:
            return GoogleToken(None, clock=self._clock, limit_s=LOOK_AROUND_S).fetch(renew)
        except CredentialsUnavailable:
            return None  # most machines have no metadata server


def _login_file() -> Path:
    folder = os.environ.get("CLOUDSDK_CONFIG")
    return Path(folder or "~/.config/gcloud").expanduser() / "application_default_credentials.json"


def _failure(kind: str, error: Exception) -> str:
    """The end of a sentence, of nothing but the status or the kind of an exception."""
    status = getattr(error, "status", None)
    if kind == "metadata":
        return f"the metadata server gave no token ({status or type(error).__name__})"
    if status in (400, 401, 403) and kind in ("authorized_user", "impersonated_service_account"):
        return f"Google does not accept the login any more ({status}); renew it with {LOGIN}"
    if status is not None:
        return f"the token service refused ({status})"
    if "Certificate" in type(error).__name__:
        return "the token service does not prove who it is (TLS); egress.ca_file names further authorities"
    return f"no token could be had ({type(error).__name__})"


def _printed(document: bytes) -> Grant[str]:
    """Raises `CredentialsUnavailable`, which quotes nothing of the document."""
    found = read_object(document)
    token = found.get("token")
    if not isinstance(token, str) or not _is_token(token):
        raise CredentialsUnavailable("the command gave no usable token")
    return Grant(token, read_expires(found))


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and bool(text) and " " not in text
