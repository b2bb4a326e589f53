"""`kind: http`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    ONE_IS_A_LIST,
    BaseUrl,
    BucketName,
    HostName,
    ListingMode,
    ResponseHeaders,
    Seconds,
    Section,
)
from rangecache.settings.throttle import Throttle


class HttpBucket(Section):
    """A tree of objects on a web server. A plain text is taken for its `url`."""

    url: BaseUrl
    """The address that keys are appended to; http or https. A final `/` is added where it is missing."""
    redirect_hosts: Annotated[tuple[HostName, ...], ONE_IS_A_LIST] = ()
    """Other hosts (or host:port) that the server may redirect to. Empty: redirects must stay beneath `url`."""
    missing_403_is_404: bool = False
    """true: 403 from the server means that there is no such object, as some stores answer in place of 404."""
    listing: ListingMode = "auto"
    """Both are the same here: a web server has no listing that is known to be complete."""
    response_headers: ResponseHeaders = "safe"
    """`safe`: clients see the headers that describe the bytes. `all`: every end-to-end header but cookies."""
    first_byte_timeout: Seconds | None = None
    """How long the first byte of an answer may take. null: 30s, or `fetch.first_byte_timeout` where that is set."""

    @model_validator(mode="before")
    @classmethod
    def _text_is_the_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


class HttpProvider(Section):
    """Web servers that answer ranges. Nothing but the addresses named here is ever asked."""

    kind: Literal["http"]
    """`http`"""
    throttle: Throttle = Throttle()
    """How fast this provider is asked at most; `throttle` of all providers holds besides."""
    buckets: Annotated[dict[BucketName, HttpBucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """The trees that are served, by the name that clients use."""
