"""From the settings of `kind: s3` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import ConfigurationError
from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_buckets import AUTO, REGION_FIRST, S3Bucket, Service
from rangecache.origin.providers.s3_credentials import KeyFiles, KeysCommand, KeysUrl, fetched
from rangecache.origin.providers.s3_sdk import AssumedRole, Chain, Instance, Sdk, WebIdentity
from rangecache.settings.providers.s3_presets import PRESETS

if TYPE_CHECKING:
    from pydantic import SecretStr

    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.providers.s3_credentials import S3Credentials as S3Keys
    from rangecache.origin.providers.s3_credentials import Source
    from rangecache.settings import Egress, S3Credentials, S3Provider


def s3_dialect(provider: S3Provider, clock: Clock, egress: Egress) -> S3Dialect:
    """A dialect with the provider's credentials, its endpoint and what is particular about its buckets."""
    endpoint, region = provider.address(), provider.signed_for()
    # A region of another service than AWS says nothing of where AWS's token service is.
    sdk = Sdk(None if region == AUTO or endpoint is not None else region, proxy=egress.proxy, ca_file=egress.ca_file)
    buckets = {}
    for alias in provider.buckets:
        bucket = provider.bucket(alias)
        buckets[alias] = S3Bucket(
            bucket.bucket or alias,
            region=bucket.region or AUTO,
            anonymous=bool(bucket.anonymous),
            missing_403_is_404=bucket.missing_403_is_404,
            requester_pays=bucket.requester_pays,
            expected_owner=bucket.expected_owner,
            credentials=None if bucket.credentials is None else s3_credentials(bucket.credentials, clock, sdk),
        )
    return S3Dialect(
        credentials=s3_credentials(provider.credentials, clock, sdk),
        clock=clock,
        endpoint=endpoint,
        region=region,
        service=s3_service(provider),
        buckets=buckets,
    )


def s3_service(provider: S3Provider) -> Service:
    """How the provider's service differs from AWS."""
    if provider.preset is None:
        return Service()
    preset = PRESETS[provider.preset]
    return Service(preset.virtual, preset.region or REGION_FIRST, preset.versions, preset.accept_encoding)


def s3_credentials(given: S3Credentials, clock: Clock, sdk: Sdk) -> Credentials[S3Keys]:
    """The one way to sign that the settings name, or the role that is assumed with it; the SDK's own chain where they
    name none."""
    if given.anonymous:
        return Anonymous()
    source = s3_source(given, sdk)
    role = given.assume_role
    if role is not None:
        assumed = AssumedRole(source, sdk, role.arn, role.session_name, role.external_id)
        return fetched(assumed, clock=clock)
    ambient = isinstance(source, Chain) and given.profile is None
    return fetched(source, clock=clock, may_go_unsigned=ambient)


def s3_source(given: S3Credentials, sdk: Sdk) -> Source:
    """Where the keys come from, apart from a role that is assumed with them."""
    if given.access_key_id is not None:
        secret = given.secret_access_key_file or _revealed(given.secret_access_key)
        token = given.session_token_file or _revealed(given.session_token)
        if secret is None:
            raise ConfigurationError("providers: an access_key_id needs a secret_access_key or secret_access_key_file")
        return KeyFiles(given.access_key_id, secret, token)
    if given.web_identity is not None:
        identity = given.web_identity
        return WebIdentity(sdk, identity.role_arn, identity.token_file, identity.session_name)
    if given.imds:
        return Instance(sdk)
    if given.command is not None:
        return KeysCommand(given.command)
    if given.url is not None:
        return KeysUrl(given.url, given.url_token_file, ca_file=sdk.ca_file)
    return Chain(given.profile, sdk)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
