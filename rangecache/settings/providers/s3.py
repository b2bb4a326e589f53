"""`kind: s3`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    BucketName,
    EndpointUrl,
    ListingMode,
    Region,
    ResponseHeaders,
    Seconds,
    Section,
    bucket_name,
)
from rangecache.settings.providers.s3_credentials import S3Credentials
from rangecache.settings.providers.s3_presets import AUTO, PRESETS, PresetName
from rangecache.settings.throttle import Throttle

_ARN_CHARS_MAX: Final = 2048


def _bucket_or_arn(text: str) -> str:
    if text.startswith("arn:") and len(text) <= _ARN_CHARS_MAX and text.isascii() and text.isprintable():
        return text
    return bucket_name(text)


# What stands in the name of a host.
_HostPart = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class S3Bucket(Section):
    """What is particular about one bucket. Buckets without an entry are served as well, under their own names."""

    bucket: Annotated[str, AfterValidator(_bucket_or_arn)] | None = None
    """The bucket's name at the service, or the ARN of an access point. null: the name it is listed under."""
    region: Region | None = None
    """The region that requests for this bucket are signed for. null: the provider's `region`."""
    anonymous: bool | None = None
    """true: its requests are not signed. null: the provider's `credentials` say."""
    credentials: S3Credentials | None = None
    """Who we are towards this bucket, as the provider's `credentials`. null: those."""
    requester_pays: bool = False
    """true: agree to pay for requests and bytes, without which S3 refuses such a bucket."""
    expected_owner: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    """The AWS account that the bucket has to belong to; S3 refuses where it is another's. null: any."""
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
    preset: PresetName | None = None
    """A service that is not AWS, by name: `minio`, `r2`, `b2`, `wasabi`, `spaces`, `oci`, `ceph` or `gcs-interop`. It
    says the endpoint, the region and what is different there; each can be set over it. null: none."""
    region: Region = "auto"
    """The region that requests are signed for. `auto`: the preset's, or learned for each bucket from the service's
    answers."""
    endpoint: EndpointUrl | None = None
    """The address of a service that is not AWS; buckets are the first part of the path. null: the preset's, or AWS."""
    account: _HostPart | None = None
    """The account id that is part of the endpoint of preset `r2`. null: there is none."""
    namespace: _HostPart | None = None
    """The namespace that is part of the endpoint of preset `oci`. null: there is none."""
    credentials: S3Credentials = S3Credentials()
    """Who we are; see below."""
    throttle: Throttle = Throttle()
    """How fast this provider is asked at most; `throttle` of all providers holds besides."""
    buckets: Annotated[dict[BucketName, S3Bucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """Aliases and particulars of buckets, by the name that clients use."""

    @model_validator(mode="after")
    def _complete(self) -> S3Provider:
        given = {"endpoint": self.endpoint, "account": self.account, "namespace": self.namespace}
        if self.preset is not None:
            lacks = PRESETS[self.preset].lacks(self.preset, given, self.region)
            if lacks:
                raise ValueError(lacks)
        elif self.account is not None or self.namespace is not None:
            raise ValueError("account and namespace are parts of a preset's endpoint, and there is no preset")
        for name, bucket in self.buckets.items():
            signs = not (self.credentials.anonymous if bucket.anonymous is None else bucket.anonymous)
            if bucket.requester_pays and not signs:
                raise ValueError(f"bucket {name}: who pays has to sign; requester_pays and anonymous contradict")
            if bucket.anonymous and bucket.credentials is not None:
                raise ValueError(f"bucket {name}: expected credentials or anonymous, not both")
        return self

    def address(self) -> str | None:
        """The endpoint, in which `{region}` may stand for each bucket's region; None for AWS."""
        if self.preset is None or self.endpoint is not None:
            return self.endpoint
        template = PRESETS[self.preset].endpoint or ""
        return template.replace("{account}", self.account or "").replace("{namespace}", self.namespace or "")

    def signed_for(self) -> str:
        """The region, or `auto`."""
        own = None if self.preset is None or self.region != AUTO else PRESETS[self.preset].region
        return own or self.region

    def bucket(self, name: str) -> S3Bucket:
        """The settings for `name`, with `bucket` and `region` filled in."""
        own = self.buckets.get(name, _PLAIN_S3_BUCKET)
        region = None if own.region == AUTO and self.preset is not None else own.region
        return own.model_copy(update={"bucket": own.bucket or name, "region": region or self.signed_for()})


_PLAIN_S3_BUCKET = S3Bucket()
