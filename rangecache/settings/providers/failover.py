"""`kind: failover`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from rangecache.settings.fields import EMPTY_IS_NOTHING, BucketName, ProviderName, Section

REPLICAS_MAX: Final = 8


def _place(value: str) -> str:
    bucket, _, prefix = value.partition("/")
    if not bucket or value.startswith("/") or "//" in value or any(part in (".", "..") for part in prefix.split("/")):
        raise ValueError("expected bucket, or bucket/prefix/ that every key is appended to")
    return value


class Replica(Section):
    """One of the origins of a failover set. A plain text is taken for its `provider`."""

    provider: ProviderName
    """A provider of this configuration, of any kind but `failover`."""
    buckets: Annotated[dict[BucketName, Annotated[str, AfterValidator(_place)]], EMPTY_IS_NOTHING] = Field(
        default_factory=dict
    )
    """Where buckets lie there, by the name that clients use: `bucket`, or `bucket/prefix/` that keys are appended to.
    One without an entry has the same name there."""

    @model_validator(mode="before")
    @classmethod
    def _text_is_the_provider(cls, value: Any) -> Any:
        return {"provider": value} if isinstance(value, str) else value


class FailoverProvider(Section):
    """Copies of the same objects at several origins under one name; while one is down the next is read. Every answer is
    of one version, and one version is of one origin."""

    kind: Literal["failover"]
    """`failover`"""
    replicas: tuple[Replica, ...]
    """The origins, the one that counts first. What it says is not there is not there; a copy is believed that only with
    `identity: declared`."""
    identity: Literal["checksum", "size+mtime", "declared", "none"] = "checksum"
    """When a read that began at one origin may go on at another: where both give the same `checksum` of the same
    length (MD5 or SHA), where length and Last-Modified agree (`size+mtime`), where the length agrees (`declared`: you
    vouch that a name means one content for ever), or never (`none`)."""

    @model_validator(mode="after")
    def _some_and_each_once(self) -> FailoverProvider:
        if not 2 <= len(self.replicas) <= REPLICAS_MAX:
            raise ValueError(f"expected two to {REPLICAS_MAX} replicas, got {len(self.replicas)}")
        names = [each.provider for each in self.replicas]
        if len(set(names)) != len(names):
            raise ValueError("expected each provider once; make a second one for another place at the same service")
        return self
