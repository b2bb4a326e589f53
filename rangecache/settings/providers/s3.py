"""`kind: s3`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    BucketName,
    EndpointUrl,
    ListingMode,
    Region,
    ResponseHeaders,
    Seconds,
    Section,
)
from rangecache.settings.providers.s3_credentials import S3Credentials


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
    listing: ListingMode = "auto"
    """`auto`: a directory that one page of the service's listing holds is listed to clients. `off`: none is."""
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
