"""The buckets of one S3 service: what was said about them, and what is learned about them on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from rangecache.errors import BadRequest, ConfigurationError
from rangecache.origin.providers.s3_address import AccessPoint, bucket_fault, is_arn, unsupported
from rangecache.origin.recent import BUCKETS_REMEMBERED, Recent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.origin.credentials import Credentials
    from rangecache.origin.providers.s3_credentials import S3Credentials

AUTO: Final = "auto"
REGION_FIRST: Final = "us-east-1"  # AWS routes a bucket's first request from there; other services take it as it comes


@dataclass(frozen=True, slots=True)
class Service:
    """What differs between services that speak the protocol."""

    virtual: bool = False
    """The bucket is part of the host's name."""
    region_first: str = REGION_FIRST
    """What requests are signed for where the region is `auto` and nothing was learned."""
    versions: bool = True
    """Whether it knows `versionId`. One that does not would answer with another version than the one asked for."""
    accept_encoding: str | None = None
    """In place of our own, and unsigned as always."""


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """What is particular about one bucket."""

    bucket: str
    """Its name at the service, or the ARN of an access point."""
    region: str = AUTO
    """`auto`: learned."""
    anonymous: bool = False
    """Never sign requests for it."""
    missing_403_is_404: bool = False
    """Take a plain AccessDenied for "no such object", which is what it may mean to those who may not list."""
    requester_pays: bool = False
    """Agree to pay for requests and bytes, without which such a bucket refuses."""
    expected_owner: str | None = None
    """The account that it has to belong to; S3 refuses where it is another's."""
    credentials: Credentials[S3Credentials] | None = field(default=None, compare=False)
    """In place of the provider's."""

    def headers(self) -> dict[str, str]:
        """What is sent, and signed, with each request for it."""
        wanted = {} if self.expected_owner is None else {"x-amz-expected-bucket-owner": self.expected_owner}
        return wanted | {"x-amz-request-payer": "requester"} if self.requester_pays else wanted


class Buckets:
    """By the name that clients use.

    Raises `ConfigurationError` where one that was configured cannot exist or cannot be read.
    """

    def __init__(self, named: Mapping[str, S3Bucket], *, region: str, region_first: str, aws: bool) -> None:
        self._region = region
        self._region_first = region_first
        self._aws = aws
        self._learned: Recent[str, str] = Recent(BUCKETS_REMEMBERED)
        self._named = {alias: self._checked(alias, each) for alias, each in named.items()}

    def __getitem__(self, name: str) -> S3Bucket:
        """The bucket of that name; "" for the service itself. Raises `BadRequest` where there can be none."""
        known = self._named.get(name)
        if known is not None:
            return known
        if name and (fault := bucket_fault(name)):
            raise BadRequest(f"the name of an S3 bucket {fault}")
        if self._aws and (fault := unsupported(name)):
            raise BadRequest(f"the name {name} {fault}")
        return S3Bucket(name, self._region)

    def credentials(self) -> Iterator[Credentials[S3Credentials]]:
        """Those that buckets have of their own."""
        for each in self._named.values():
            if each.credentials is not None:
                yield each.credentials

    def region(self, bucket: S3Bucket) -> str:
        """What requests for it are signed for."""
        if bucket.region != AUTO:
            return bucket.region
        return self._learned.get(bucket.bucket) or self._region_first

    def learn_region(self, bucket: S3Bucket, told: str) -> bool:
        """Remember what the service said. False if that is nothing new, or not asked for."""
        if bucket.region != AUTO or not told or told == self.region(bucket):
            return False
        self._learned.put(bucket.bucket, told)
        return True

    def _checked(self, alias: str, bucket: S3Bucket) -> S3Bucket:
        name = bucket.bucket
        if is_arn(name):
            if not self._aws:
                raise ConfigurationError(f"bucket {alias}: access points are Amazon's: remove endpoint and preset")
            try:
                return replace(bucket, region=AccessPoint.parse(name).region)
            except ConfigurationError as error:
                raise ConfigurationError(f"bucket {alias}: {error.message}") from error
        if fault := bucket_fault(name) or (unsupported(name) if self._aws else ""):
            raise ConfigurationError(f"bucket {alias}: the name {name!r} {fault}")
        return bucket
