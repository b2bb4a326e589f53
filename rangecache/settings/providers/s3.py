"""`kind: s3`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    BucketName,
    EndpointUrl,
    LocalPath,
    Region,
    ResponseHeaders,
    Seconds,
    Secret,
    Section,
)


class S3Credentials(Section):
    """Who we are towards an S3 service. Without any of these: the AWS SDK's own chain (environment, profiles, web
    identity, container, instance), and unsigned requests where that finds nothing."""

    access_key_id: str | None = None
    """The public half of a static key. null: no static key."""
    secret_access_key: Secret | None = None
    """The secret half, best given in the environment. Never printed. null: it is in the file, or there is none."""
    secret_access_key_file: LocalPath | None = None
    """A file that holds the secret half, such as a mounted Kubernetes secret. null: there is none."""
    session_token: Secret | None = None
    """The token that belongs to temporary static keys. Never printed. null: it is in the file, or there is none."""
    session_token_file: LocalPath | None = None
    """A file that holds the token. null: there is none."""
    profile: str | None = None
    """A profile of `~/.aws/config` and `~/.aws/credentials`. null: none by name."""
    anonymous: bool = False
    """true: requests are not signed, as public buckets allow."""

    @model_validator(mode="after")
    def _one_way(self) -> S3Credentials:
        secret = (self.secret_access_key, self.secret_access_key_file)
        token = (self.session_token, self.session_token_file)
        static = any(value is not None for value in (self.access_key_id, *secret, *token))
        if static + (self.profile is not None) + self.anonymous > 1:
            raise ValueError("expected one way to sign: access_key_id with its secret, or profile, or anonymous")
        if None not in secret or None not in token:
            raise ValueError("expected a secret or the file that holds it, not both")
        if static and (self.access_key_id is None or secret == (None, None)):
            raise ValueError(
                "a static key has two halves: access_key_id, and secret_access_key or secret_access_key_file"
            )
        return self


class S3Bucket(Section):
    """What is particular about one bucket. Buckets without an entry are served as well, under their own names."""

    bucket: BucketName | None = None
    """The bucket's name at the service. null: the name it is listed under."""
    region: Region | None = None
    """The region that requests for this bucket are signed for. null: the provider's `region`."""
    anonymous: bool | None = None
    """true: its requests are not signed. null: the provider's `credentials` say."""
    missing_403_is_404: bool = False
    """true: 403 from the service means that there is no such object, as S3 answers to those who may not list."""
    response_headers: ResponseHeaders = "safe"
    """`safe`: clients see the headers that describe the bytes. `all`: every end-to-end header but cookies."""
    first_byte_timeout: Seconds | None = None
    """How long the first byte of an answer may take. null: `fetch.first_byte_timeout`."""


class S3Provider(Section):
    """AWS S3, or a service that speaks its protocol."""

    kind: Literal["s3"]
    """`s3`"""
    region: Region = "auto"
    """The region that requests are signed for. `auto`: learned for each bucket from the service's answers."""
    endpoint: EndpointUrl | None = None
    """The address of a service that is not AWS; buckets are the first part of the path. null: AWS."""
    credentials: S3Credentials = S3Credentials()
    """Who we are; see below."""
    buckets: Annotated[dict[BucketName, S3Bucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """Aliases and particulars of buckets, by the name that clients use."""

    def bucket(self, name: str) -> S3Bucket:
        """The settings for `name`, with `bucket` and `region` filled in."""
        own = self.buckets.get(name, _PLAIN_S3_BUCKET)
        return own.model_copy(update={"bucket": own.bucket or name, "region": own.region or self.region})


_PLAIN_S3_BUCKET = S3Bucket()
