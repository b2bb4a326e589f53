"""What differs between the clouds, as seen from the one HTTP data path.

`WebStore` (web.py) sends every ranged GET and every HEAD, checks every answer and turns transport faults into errors.
A `Dialect` says the rest: where an object lives, which headers prove who asks, what identifies its bytes, what an error
answer means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yarl import URL

    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Target:
    """One request, ready to be sent."""

    url: URL
    """Built with `encoded=True`: the path goes out exactly as it stands."""
    headers: Mapping[str, str]
    """All request headers, authorisation included."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Headers that an answer has to have with these values, such as that of the version that was asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; for an error answer the beginning of its body too."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes = b""
    """At most 64 KiB, of an error answer only; never shown to a client or logged raw."""
    listing: bool = False
    """It answers a request for a listing."""
    head: bool = False
    """It answers a HEAD, so that no body can say what is wrong."""


class Dialect(Protocol):
    """One provider's way of speaking HTTP."""

    def source(self, ref: ObjectRef) -> str:
        """Names where the object's bucket really is, for every generation (`ObjectMeta.source`). No secrets."""
        ...

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """Address and sign a request that will carry `headers` (Range, If-Match, …). `pinned` is the version that was
        given to `pin`, for services that are asked for one by its address: 404 then means that it is gone."""
        ...

    def check_listable(self, below: ObjectRef) -> None:
        """Raises `NotListable` where there is no listing at all."""
        ...

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """Address and sign a request for one page of a listing, as `ObjectStore.list_page`. Raises as
        `check_listable` does."""
        ...

    def read_listing(self, body: bytes) -> ListPage:
        """What a page says. Raises `InvalidAnswer` if it is none."""
        ...

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """Address and sign a request for one page of the buckets, as `ObjectStore.bucket_page`. Raises `NotListable`.

        `error`, `mend` and `may_redirect` are asked about its answer with a `ref` that has neither bucket nor key."""
        ...

    def read_buckets(self, body: bytes) -> BucketPage:
        """What such a page says. Raises `InvalidAnswer` if it is none."""
        ...

    def pin(self, meta: ObjectMeta) -> Mapping[str, str]:
        """Request headers that make the origin refuse (412) to send another version than `meta`."""
        ...

    def validator(self, headers: Mapping[str, str], e_tag: ETag | None) -> str:
        """The strong validator of an answer with these headers, as `ObjectMeta.validator`; empty if it has none. Raises
        `InvalidAnswer` where they show that the body is not what is stored."""
        ...

    def error(self, answer: Answer, ref: ObjectRef) -> OriginError:
        """What an answer that is neither 200, 206, 304, 412 nor 416 means."""
        ...

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        """Called for an error answer. Where something was learned (a bucket's region, a new token), so that the same
        request addressed and signed anew may succeed: a word for what, else "". It is then sent once more, if the
        ledger of repeats allows it, and only once for each such word."""
        ...

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Whether a redirect to this address may be followed. The address is absolute."""
        ...


@runtime_checkable
class Signing(Protocol):
    """A dialect that proves who asks."""

    def credentials_for(self, ref: ObjectRef) -> Credentials[object]:
        """What requests about this bucket are signed with, to be asked what it is; `ref` may have no bucket, for the
        listing of buckets."""
        ...

    def all_credentials(self) -> Iterator[Credentials[object]]:
        """What any of its requests are signed with, each once."""
        ...

    def address_for(self, ref: ObjectRef) -> str:
        """An address at the host that such requests go to first, to be looked at. Raises `BadRequest` where there can
        be none."""
        ...
