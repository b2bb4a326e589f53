"""`kind: http`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rangecache.settings.fields import (
    EMPTY_IS_NOTHING,
    ONE_IS_A_LIST,
    BaseUrl,
    BucketName,
    Command,
    HostName,
    ListingMode,
    LocalPath,
    ResponseHeaders,
    Seconds,
    Section,
)
from rangecache.settings.throttle import Throttle


class HttpCredentials(Section):
    """Who we are towards a web server. They are sent to the host of a bucket's `url` and never along a redirect to
    another one. Without any of these: requests prove nothing."""

    bearer_file: LocalPath | None = None
    """A file that holds a token, sent as `Authorization: Bearer`. Files are read again each minute, and at once when
    the server answers 401. null: none."""
    basic_file: LocalPath | None = None
    """A file that holds `user:password`. null: none."""
    headers_file: LocalPath | None = None
    """A file that holds header fields, `Name: value`, one a line. null: none."""
    command: Command | None = None
    """A command that prints `{"headers": {…}}` or `{"token": …}` as JSON, and perhaps `"expires"`, an ISO 8601 time. No
    shell sees it: a text is split into words, a list is taken as it is. null: none."""

    @model_validator(mode="after")
    def _one_way(self) -> HttpCredentials:
        ways = (self.bearer_file, self.basic_file, self.headers_file, self.command)
        if sum(each is not None for each in ways) > 1:
            raise ValueError("expected one way to prove who asks: bearer_file, basic_file, headers_file or command")
        return self


class HttpBucket(Section):
    """A tree of objects on a web server. A plain text is taken for its `url`."""

    url: BaseUrl
    """The address that keys are appended to; http or https. A final `/` is added where it is missing."""
    redirect_hosts: Annotated[tuple[HostName, ...], ONE_IS_A_LIST] = ()
    """Other hosts (or host:port) that the server may redirect to. Empty: redirects must stay beneath `url`."""
    missing_403_is_404: bool = False
    """true: 403 from the server means that there is no such object, as some stores answer in place of 404."""
    credentials: HttpCredentials | None = None
    """Who we are towards this server; see above. null: the provider's `credentials` say."""
    anonymous: bool = False
    """true: nothing is proved to this server, whatever the provider's `credentials` say."""
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
    credentials: HttpCredentials = HttpCredentials()
    """Who we are towards the servers of all buckets; see below."""
    throttle: Throttle = Throttle()
    """How fast this provider is asked at most; `throttle` of all providers holds besides."""
    buckets: Annotated[dict[BucketName, HttpBucket], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """The trees that are served, by the name that clients use."""
