"""`kind: gcs`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    BucketName,
    EndpointUrl,
    ListingMode,
    LocalPath,
    ResponseHeaders,
    Seconds,
    Section,
)
from rangecache.settings.throttle import Throttle

_NO: Final = frozenset({"false", "no", "off", "none"})


def _no_is_nothing(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in _NO else value


Command = Annotated[str | tuple[str, ...], Field(min_length=1)]
# "Project IDs": 6 to 30 lower-case letters, digits and hyphens; older ones belong to a domain, and numbers do as well.
Project = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,63}:)?[a-z0-9-]{4,30}$")]


class GcsCredentials(Section):
    """Who we are towards Google Cloud Storage. Without any of these: application default credentials
    (`GOOGLE_APPLICATION_CREDENTIALS`, the login of `gcloud auth application-default login`, this machine's service
    account), and requests without credentials where there are none or they have expired. Tokens are asked for reading
    only."""

    service_account_file: LocalPath | None = None
    """A file with a service account's key; read again for each token. null: none by name."""
    workload_identity: Annotated[LocalPath | None, BeforeValidator(_no_is_nothing)] = None
    """The configuration file of a workload identity federation (`external_account`), whose own token comes from a file,
    an address or the environment; read again for each token. null: none by name."""
    metadata: bool = False
    """true: the service account of this machine or pod, from the metadata server, and nothing else."""
    command: Command | None = None
    """A command that prints `{"token": …, "expires": …}`. No shell sees it: a text is split into words, a list is taken
    as it is. It runs again before that expires. null: none."""
    anonymous: bool = False
    """true: requests carry no token, as public buckets allow."""

    @model_validator(mode="after")
    def _one_way(self) -> GcsCredentials:
        named = (self.service_account_file, self.workload_identity, self.command)
        if sum(value is not None for value in named) + self.metadata + self.anonymous > 1:
            raise ValueError("expected one of service_account_file, workload_identity, metadata, command and anonymous")
        return self


class GcsBucket(Section):
    """What is particular about one bucket. Buckets without an entry are served as well, under their own names."""

    bucket: BucketName | None = None
    """The bucket's name at the service. null: the name it is listed under."""
    anonymous: bool | None = None
    """true: its requests carry no token. null: the provider's `credentials` say."""
    credentials: GcsCredentials | None = None
    """Who we are towards this bucket, as the provider's `credentials`. null: those."""
    requester_pays: bool = False
    """true: requests to it are billed to the provider's `project`."""
    listing: ListingMode = "auto"
    """`auto`: a directory that one page of the service's listing holds is listed to clients. `off`: none is."""
    missing_403_is_404: bool = False
    """true: a plain refusal means that there is no such object, as it may to those who may not list."""
    response_headers: ResponseHeaders = "safe"
    """`safe`: clients see the headers that describe the bytes. `all`: every end-to-end header but cookies."""
    first_byte_timeout: Seconds | None = None
    """How long the first byte of an answer may take. null: `fetch.first_byte_timeout`."""


class GcsProvider(Section):
    """Google Cloud Storage."""

    kind: Literal["gcs"]
    """`gcs`"""
    endpoint: EndpointUrl | None = None
    """The address of a service that speaks its protocol, such as an emulator. null: Google's."""
    project: Project | None = None
    """The project whose buckets are listed, and that pays where a bucket says `requester_pays`. null: none."""
    credentials: GcsCredentials = GcsCredentials()
    """Who we are; see below."""
    buckets: Annotated[dict[BucketName, GcsBucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """Aliases and particulars of buckets, by the name that clients use."""
    throttle: Throttle = Throttle()
    """How fast this provider is asked at most; `throttle` of all providers holds besides."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> GcsProvider:
        sources = [self.credentials]
        for name, bucket in self.buckets.items():
            if bucket.anonymous and bucket.credentials is not None:
                raise ValueError(f"bucket {name}: expected credentials or anonymous, not both")
            own = bucket.credentials or self.credentials
            sources.append(own)
            if bucket.requester_pays and (self.project is None or own.anonymous or bucket.anonymous):
                raise ValueError(f"requester_pays of {name}: somebody has to pay: set project and credentials")
        shows_tokens = self.endpoint is not None and not _is_private(self.endpoint)
        if shows_tokens and not all(each.anonymous for each in sources):
            raise ValueError("a token would cross the network in clear: give an endpoint with https, or set anonymous")
        return self


def _is_private(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
