"""The sources of keys that speak to AWS, by botocore's own providers.

Everything here blocks and is called on a thread. The plain botocore and not aiobotocore: that one makes the clients of
token services on the event loop, and each stops it for 60 to 240 ms (measured).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rangecache.origin.credentials import CredentialsUnavailable, Grant, read_secret
from rangecache.origin.providers.s3_credentials import S3Credentials, fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.origin.fetched import Fetched
    from rangecache.origin.providers.s3_credentials import Source

STS_REGION: Final = "us-east-1"  # where nothing says which
# A profile may take three calls, one after another: together they stay below `FETCH_TIMEOUT_S`.
CONNECT_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 6.0
SESSION_NAME: Final = "rangecache"

_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sdk:
    """How the AWS SDK reaches token services: once and not again (who asks has a pause that grows), over the same
    proxy and with the same authorities as everything else."""

    region: str | None = None
    """Of the token service. None: the environment's or the profile's, else `STS_REGION`."""
    proxy: str | None = None
    ca_file: Path | None = None

    def session(self, profile: str | None = None) -> Any:
        """A botocore session. Never asks version 1 of an instance's metadata service, which answers anybody who can
        make a program send a GET."""
        import botocore.config  # a fifth of a second, and only where it is needed
        import botocore.session
        import botocore.utils

        # Neither is an option, and tests watch over both. A container's address would be asked three times, and an
        # instance's through a proxy of the environment, which would see the keys.
        botocore.utils.ContainerMetadataFetcher.RETRY_ATTEMPTS = 1
        botocore.utils.get_environ_proxies = lambda _: {}
        session = botocore.session.Session(profile=profile)
        session.set_config_variable("ec2_metadata_v1_disabled", True)
        session.set_config_variable("sts_regional_endpoints", "regional")
        if self.ca_file is not None:
            session.set_config_variable("ca_bundle", str(self.ca_file))
        region = self.region or session.get_config_variable("region") or os.environ.get("AWS_REGION") or STS_REGION
        session.set_config_variable("region", region)
        session.set_default_client_config(
            botocore.config.Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"total_max_attempts": 1, "mode": "standard"},
                proxies={} if self.proxy is None else {"http": self.proxy, "https": self.proxy},
            )
        )
        return session


def from_sdk(profile: str | None = None, *, clock: Clock, sdk: Sdk | None = None) -> Fetched[S3Credentials]:
    """The AWS SDK's own chain: environment, assumed roles, web identity, SSO, files, process, container, instance.
    With `profile` only what that profile says, and no going unsigned."""
    return fetched(Chain(profile, sdk or Sdk()), clock=clock, may_go_unsigned=profile is None)


class Chain:
    """botocore's credential chain. What it found is looked for anew where it expires and where it was rejected."""

    def __init__(self, profile: str | None, sdk: Sdk) -> None:
        self._profile = profile
        self._sdk = sdk
        self._kept: Grant[S3Credentials] | None = None
        where = "this machine's environment" if profile is None else f"profile {profile}"
        self.description = f"the credentials of {where}"

    def fetch(self, renew: bool) -> Grant[S3Credentials] | None:
        """See `Source`."""
        if renew or self._kept is None or self._kept.expires_at_s is not None:
            with _Explained(self._profile):
                self._kept = _grant(self._sdk.session(self._profile).get_credentials())
        return self._kept


class Instance:
    """The role of the EC2 instance, from its metadata service, version 2."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self.description = "the role of this instance (metadata service)"

    def fetch(self, _: bool) -> Grant[S3Credentials] | None:
        """See `Source`."""
        with _Explained(None):
            resolver = self._sdk.session().get_component("credential_provider")
            return _grant(resolver.get_provider("iam-role").load())


class AssumedRole:
    """A role that the keys of another source may assume."""

    def __init__(
        self, source: Source, sdk: Sdk, arn: str, session_name: str | None = None, external_id: str | None = None
    ) -> None:
        self._source = source
        self._sdk = sdk
        self._arn = arn
        self._asked = {"RoleSessionName": session_name or SESSION_NAME}
        if external_id is not None:
            self._asked["ExternalId"] = external_id
        self.description = f"the role {arn}, assumed with {source.description}"

    def fetch(self, renew: bool) -> Grant[S3Credentials] | None:
        """See `Source`."""
        from botocore.credentials import AssumeRoleCredentialFetcher, Credentials

        own = self._source.fetch(renew)
        if own is None:
            raise CredentialsUnavailable(f"{self._source.description} were not found, and the role needs them")
        keys = Credentials(own.value.access_key_id, own.value.secret_access_key, own.value.session_token)
        with _Explained(None):
            fetcher = AssumeRoleCredentialFetcher(_clients(self._sdk), keys, self._arn, extra_args=self._asked)
            return _role_grant(fetcher.fetch_credentials())


class WebIdentity:
    """A role for which the token in a file is enough (IRSA on EKS). The file is read anew each time. What is not given
    is what the environment says."""

    def __init__(
        self, sdk: Sdk, arn: str | None = None, token_file: Path | None = None, session_name: str | None = None
    ) -> None:
        self._sdk = sdk
        self._arn = arn
        self._token_file = token_file
        self._session_name = session_name
        self.description = f"the role {arn or 'of AWS_ROLE_ARN'}, assumed with a web identity token"

    def fetch(self, _: bool) -> Grant[S3Credentials] | None:
        """See `Source`."""
        from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher

        arn = self._arn or os.environ.get("AWS_ROLE_ARN")
        file = self._token_file or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        if not arn or not file:
            raise CredentialsUnavailable(
                "neither the configuration nor the environment names a role and a token file"
                " (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)"
            )
        name = self._session_name or os.environ.get("AWS_ROLE_SESSION_NAME") or SESSION_NAME
        token = read_secret(Path(file))
        with _Explained(None):
            fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
                _clients(self._sdk), lambda: token, arn, extra_args={"RoleSessionName": name}
            )
            return _role_grant(fetcher.fetch_credentials())


def _clients(sdk: Sdk) -> Callable[..., Any]:
    session = sdk.session()

    def make(service: str, **options: Any) -> Any:
        return session.create_client(service, **options)

    return make


def _grant(found: Any) -> Grant[S3Credentials] | None:
    """What a botocore credentials object holds, and until when. Those of assumed roles and SSO are fetched only here.

    botocore has no public word for the time; a test keeps watch over the private one.
    """
    if found is None:
        return None
    keys = found.get_frozen_credentials()
    expires_at = getattr(found, "_expiry_time", None)
    return Grant(
        S3Credentials(keys.access_key, keys.secret_key, keys.token or None),
        None if expires_at is None else expires_at.timestamp(),
    )


def _role_grant(role: Mapping[str, str]) -> Grant[S3Credentials]:
    return Grant(
        S3Credentials(role["access_key"], role["secret_key"], role["token"]),
        datetime.fromisoformat(role["expiry_time"]).timestamp(),
    )


class _Explained:
    """Turns what botocore raises into a sentence that says what to do. Only names and codes are taken from it: its
    texts repeat what processes and services printed."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and (said := self._sentence(error)):
            raise CredentialsUnavailable(said) from error

    def _sentence(self, error: Exception) -> str:
        import botocore.exceptions as sdk

        profile = self._profile or os.environ.get("AWS_PROFILE") or "default"
        match error:
            case sdk.ProfileNotFound():
                return f"the AWS configuration has no profile {self._profile or 'of the name in AWS_PROFILE'}"
            case sdk.SSOError() | sdk.TokenRetrievalError():
                return f"its login has expired or was never made; run aws sso login --profile {profile}"
            case sdk.LoginError():
                return f"its login has expired or was never made; run aws login --profile {profile}"
            case sdk.PartialCredentialsError():
                return f"{error.kwargs['cred_var']} is missing"
            case sdk.SSLError():
                return (
                    "the certificate of a token service is not accepted: it is another host's, or its authority is not"
                    " trusted here (egress.ca_file)"
                )
            case sdk.ProxyConnectionError():
                return "egress.proxy cannot be reached, or does not let through to a token service"
            case sdk.ConnectionError() | sdk.HTTPClientError():
                return f"a token service does not answer ({type(error).__name__})"
            case sdk.ClientError():
                return _refused(error)
        return ""


def _refused(error: Any) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    code = code if _CODE.fullmatch(code) else "an error"
    advice = {
        "AccessDenied": "the trust policy of the role must let them, and they need the permission themselves",
        "ExpiredTokenException": "the token has expired",
        "ExpiredToken": "the keys have expired",
        "InvalidIdentityToken": "the token is not of an issuer that the role trusts",
        "RegionDisabledException": "STS is switched off in that region for the account",
    }.get(code, "see the AWS documentation of that call")
    return f"{error.operation_name} was answered {code}: {advice}"
