"""`kind: azure`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    BucketName,
    EndpointUrl,
    ListingMode,
    LocalPath,
    ResponseHeaders,
    Seconds,
    Secret,
    Section,
)
from rangecache.settings.throttle import Throttle


class AzureCredentials(Section):
    """Who we are towards Azure. Without any of these: what azure-identity's `DefaultAzureCredential` finds on this
    machine (environment, workload and managed identity, Azure CLI), and requests without credentials where that finds
    nothing."""

    account: str | None = None
    """The storage account. A bucket is then a container; without, and without `endpoint`, it is
    `<account>.<container>`. null: none, or the one of the endpoint or the connection string."""
    account_key: Secret | None = None
    """One of the account's keys, best given in the environment. Never printed. null: none."""
    account_key_file: LocalPath | None = None
    """A file that holds the key; it is read again when it changes. null: none."""
    sas_token: Secret | None = None
    """A shared access signature, `sv=…&sig=…`. Never printed. null: none."""
    sas_token_file: LocalPath | None = None
    """A file that holds the signature; it is read again when it changes. null: none."""
    connection_string: Secret | None = None
    """A connection string with an account key or a shared access signature. Never printed. null: none."""
    connection_string_file: LocalPath | None = None
    """A file that holds the connection string; its key or signature is read again when it changes. null: none."""
    managed_identity: bool = False
    """true: the managed identity of this machine."""
    workload_identity: bool = False
    """true: the workload identity of this pod (Kubernetes), as its environment describes it."""
    client_id: str | None = None
    """Which managed or workload identity, where there are several. null: the one of the environment."""
    tenant_id: str | None = None
    """The tenant of the workload identity. null: the one of the environment."""
    federated_token_file: LocalPath | None = None
    """The file of the workload identity's own token; it is read for each renewal. null: the one of the environment."""
    command: str | tuple[str, ...] | None = None
    """A program that prints `{"sas_token": …, "expires": …}` or `{"token": …, "expires": …}`: words as in a shell, or a
    list of them; no shell is asked. It is run again before that expires. null: none."""
    anonymous: bool = False
    """true: requests carry no credentials, as public containers allow."""

    @model_validator(mode="after")
    def _one_way(self) -> AzureCredentials:
        pairs = (
            (self.account_key, self.account_key_file),
            (self.sas_token, self.sas_token_file),
            (self.connection_string, self.connection_string_file),
        )
        if any(None not in pair for pair in pairs):
            raise ValueError("expected a secret or the file that holds it, not both")
        given = [pair != (None, None) for pair in pairs]
        ways = (*given, self.managed_identity, self.workload_identity, self.command is not None, self.anonymous)
        if sum(ways) > 1:
            raise ValueError(
                "expected one of account_key, sas_token, connection_string, managed_identity, workload_identity,"
                " command and anonymous"
            )
        if given[0] and self.account is None:
            raise ValueError("an account_key is of one account: set account too")
        if self.client_id is not None and not (self.managed_identity or self.workload_identity):
            raise ValueError("a client_id belongs to managed_identity or workload_identity")
        if (self.tenant_id or self.federated_token_file) and not self.workload_identity:
            raise ValueError("tenant_id and federated_token_file belong to workload_identity")
        return self


class AzureBucket(Section):
    """What is particular about one bucket. Buckets without an entry are served as well, under their own names."""

    bucket: BucketName | None = None
    """The container, or `<account>.<container>` where no account is configured. null: the name it is listed under."""
    anonymous: bool | None = None
    """true: its requests carry no credentials. null: the provider's `credentials` say."""
    credentials: AzureCredentials | None = None
    """Who we are towards this bucket, as the provider's `credentials`. null: those."""
    missing_403_is_404: bool = False
    """true: a plain refusal (403) means that there is no such object, and so does ResourceNotFound to a request without
    credentials."""
    listing: ListingMode = "auto"
    """`auto`: a directory that one page of the service's listing holds is listed to clients. `off`: none is."""
    response_headers: ResponseHeaders = "safe"
    """`safe`: clients see the headers that describe the bytes. `all`: every end-to-end header but cookies."""
    first_byte_timeout: Seconds | None = None
    """How long the first byte of an answer may take. null: `fetch.first_byte_timeout`."""


class AzureProvider(Section):
    """Azure Blob Storage."""

    kind: Literal["azure"]
    """`azure`"""
    endpoint: EndpointUrl | None = None
    """The address of an account (`https://ACCOUNT.blob.core.windows.net`, `http://127.0.0.1:10000/ACCOUNT` for an
    emulator) or of another cloud (`https://blob.core.usgovcloudapi.net`). null: the public cloud, or what the
    connection string says."""
    credentials: AzureCredentials = AzureCredentials()
    """Who we are; see below."""
    throttle: Throttle = Throttle()
    """How fast this provider is asked at most; `throttle` of all providers holds besides."""
    buckets: Annotated[dict[BucketName, AzureBucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """Aliases and particulars of buckets, by the name that clients use."""

    @model_validator(mode="after")
    def _can_be_proved(self) -> AzureProvider:
        sources = [self.credentials]
        for name, bucket in self.buckets.items():
            if bucket.anonymous and bucket.credentials is not None:
                raise ValueError(f"bucket {name}: expected credentials or anonymous, not both")
            sources.append(bucket.credentials or self.credentials)
        tokens = any(own.managed_identity or own.workload_identity for own in sources)
        if tokens and (self.endpoint or "").startswith("http:"):
            raise ValueError("the token of an identity is not sent over plain http: give an endpoint with https://")
        return self
