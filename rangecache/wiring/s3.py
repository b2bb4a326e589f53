"""From the settings of `kind: s3` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import ConfigurationError
from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.s3 import AUTO, S3Bucket, S3Dialect
from rangecache.origin.providers.s3_credentials import from_files, from_sdk

if TYPE_CHECKING:
    from pydantic import SecretStr

    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.providers.s3_credentials import S3Credentials as S3Keys
    from rangecache.settings import S3Credentials, S3Provider


def s3_dialect(provider: S3Provider, clock: Clock) -> S3Dialect:
    """A dialect with the provider's credentials, its endpoint and what is particular about its buckets."""
    buckets = {}
    for alias in provider.buckets:
        bucket = provider.bucket(alias)
        buckets[alias] = S3Bucket(
            bucket.bucket or alias,
            region=bucket.region or AUTO,
            anonymous=bool(bucket.anonymous),
            missing_403_is_404=bucket.missing_403_is_404,
        )
    return S3Dialect(
        credentials=s3_credentials(provider.credentials, clock),
        clock=clock,
        endpoint=provider.endpoint,
        region=provider.region,
        buckets=buckets,
    )


def s3_credentials(given: S3Credentials, clock: Clock) -> Credentials[S3Keys]:
    """The one way to sign that the settings name; the SDK's own chain where they name none."""
    if given.anonymous:
        return Anonymous()
    if given.access_key_id is None:
        return from_sdk(given.profile, clock=clock)
    secret = given.secret_access_key_file or _revealed(given.secret_access_key)
    token = given.session_token_file or _revealed(given.session_token)
    if secret is None:
        raise ConfigurationError("providers: an access_key_id needs a secret_access_key or secret_access_key_file")
    return from_files(given.access_key_id, secret, token, clock=clock)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
