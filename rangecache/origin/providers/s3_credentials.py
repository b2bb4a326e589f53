"""Who asks at S3: the value that proves it, and its plain sources, which are files, a command and an address.

The sources that speak to AWS are in `s3_sdk`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.origin.command import run_command
from rangecache.origin.credentials import CredentialsUnavailable, Grant, read_secret
from rangecache.origin.fetched import Fetched, OnThread
from rangecache.origin.printed import read_object, read_time
from rangecache.origin.providers.s3_metadata import fetch_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rangecache.aio.clock import Clock

STATIC: Final = "the static keys of the configuration"


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """A key pair, and the token that belongs to it if it is temporary. Its `repr` shows nothing of them."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Source(Protocol):
    """Somewhere to get keys from. Called on a thread, by one at a time."""

    description: str
    """For a sentence, such as "S3 does not accept …"."""

    def fetch(self, renew: bool) -> Grant[S3Credentials] | None:
        """Blocks. See `rangecache.origin.fetched.Fetched`."""
        ...


def fetched(source: Source, *, clock: Clock, may_go_unsigned: bool = False) -> Fetched[S3Credentials]:
    """What keeps and renews the keys of a source. The SDK that signs with them is loaded on the same thread."""

    def fetch(renew: bool) -> Grant[S3Credentials] | None:
        import rangecache.origin.providers.s3_signing  # noqa: F401  # a tenth of a second that stops no loop

        return source.fetch(renew)

    return Fetched(OnThread(fetch), description=source.description, may_go_unsigned=may_go_unsigned, clock=clock)


class KeyFiles:
    """Keys whose secret parts are values or files. Files are read again every `RECHECK_S` and after a rejection."""

    def __init__(
        self, access_key_id: str, secret_access_key: str | Path, session_token: str | Path | None = None
    ) -> None:
        self._access_key_id = access_key_id
        self._secret = secret_access_key
        self._token = session_token
        self.description = STATIC

    def fetch(self, _: bool) -> Grant[S3Credentials]:
        """See `Source`."""
        token = None if self._token is None else read_secret(self._token)
        return Grant(S3Credentials(self._access_key_id, read_secret(self._secret), token))


class KeysCommand:
    """A command that prints keys: the `credential_process` of the AWS SDKs. What does not say when it expires is kept
    until it is rejected, as they do: a command may ask somebody for something."""

    def __init__(self, command: str | Sequence[str]) -> None:
        self._command = command
        self._kept: Grant[S3Credentials] | None = None
        self.description = "the keys that the configured command prints"

    def fetch(self, renew: bool) -> Grant[S3Credentials]:
        """See `Source`."""
        if renew or self._kept is None or self._kept.expires_at_s is not None:
            self._kept = read_keys(run_command(self._command), "the command")
        return self._kept


class KeysUrl:
    """An address that gives out keys, such as that of a container's credentials. A token file is read anew each time.

    Over plain HTTP only this machine and link-local addresses are asked: keys would go over the network in clear.
    """

    def __init__(self, url: str, token_file: Path | None = None, *, ca_file: Path | None = None) -> None:
        self._url = url
        self._token_file = token_file
        self._ca_file = ca_file
        self.description = f"the keys that {url} gives out"

    def fetch(self, _: bool) -> Grant[S3Credentials]:
        """See `Source`."""
        token = None if self._token_file is None else read_secret(self._token_file)
        return read_keys(fetch_document(self._url, token, ca_file=self._ca_file), self._url)


def read_keys(document: bytes, whose: str) -> Grant[S3Credentials]:
    """Read `{"Version": 1, "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}` ("Sourcing credentials with
    an external process", AWS SDKs reference guide). Metadata services leave the version out and say `Token`.

    Raises `CredentialsUnavailable`, which quotes nothing of the document.
    """
    found = read_object(document, whose)
    if found.get("Version", 1) != 1:
        raise CredentialsUnavailable(f"{whose} gave keys of a form that is not known: Version must be 1")
    token = found.get("SessionToken") or found.get("Token")
    for name, value in (
        ("AccessKeyId", found.get("AccessKeyId")),
        ("SecretAccessKey", found.get("SecretAccessKey")),
        ("SessionToken", token or "none"),
    ):
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
            raise CredentialsUnavailable(f"{whose} gave no usable {name}")
    expires_at_s = read_time(found.get("Expiration"), whose, "Expiration")
    return Grant(S3Credentials(found["AccessKeyId"], found["SecretAccessKey"], token or None), expires_at_s)
