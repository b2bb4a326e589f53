"""Who asks at S3: static keys, the AWS SDK's own chain, a profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rangecache.origin.credentials import CredentialsUnavailable, Fetched, Grant, OnThread, read_secret

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.aio.clock import Clock

STATIC: Final = "the static keys of the configuration"


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """A key pair, and the token that belongs to it if it is temporary. Its `repr` shows nothing of them."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def from_files(
    access_key_id: str,
    secret_access_key: str | Path,
    session_token: str | Path | None = None,
    *,
    clock: Clock,
) -> Fetched[S3Credentials]:
    """Keys whose secret parts are values or files. Files are read again every `RECHECK_S` and after a rejection."""

    def fetch(_: bool) -> Grant[S3Credentials]:
        token = None if session_token is None else read_secret(session_token)
        return Grant(S3Credentials(access_key_id, read_secret(secret_access_key), token))

    return Fetched(OnThread(fetch), description=STATIC, may_go_unsigned=False, clock=clock)


def from_sdk(profile: str | None = None, *, clock: Clock) -> Fetched[S3Credentials]:
    """The AWS SDK's own chain: environment, assumed roles, web identity, SSO, files, process, container, instance.
    With `profile` only what that profile says, and no going unsigned."""
    chain = _Chain(profile)
    where = "this machine's environment" if profile is None else f"profile {profile}"
    return Fetched(
        OnThread(chain.fetch), description=f"the credentials of {where}", may_go_unsigned=profile is None, clock=clock
    )


class _Chain:
    """botocore's credential chain. The plain one on a thread and not aiobotocore's: that one makes the clients of
    token services on the event loop, and each stops it for 60 to 240 ms (measured)."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._found: Any = None

    def fetch(self, renew: bool) -> Grant[S3Credentials] | None:
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
        return Grant(S3Credentials(keys.access_key, keys.secret_key, keys.token or None))
