"""The least an origin must do. Every provider and every wrapper around one is an `ObjectStore`.

An `ObjectStore` never hears of blocks. Wrappers implement every method themselves, so that none can be forgotten.

What a caller may rely on, whatever the provider:

* `GetResult.range` is exactly the range asked for, clamped at the object's end, or `[0, size)` where the origin
  ignored the range. Nothing else leaves a provider: other answers are `InvalidAnswer`.
* `GetResult.chunks` gives exactly `range.length` bytes or raises; it never ends early without an error.
* with `if_match`, the answer is of that generation, or `GenerationGone` is raised.
* without `if_match`, `NotFound` means that the origin said so. It never means anything else.
* every key of a `ListPage` is one that the origin listed, as `get` takes it; `origin/listing` checks the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.ranges import ByteRange, RangeSpec


Purpose = Literal["demand", "prefetch", "revalidate", "warm", "list", "retry", "hedge", "failover"]
"""Why a request is sent: a label of the metrics, and what is shed first."""

PATIENT: Final[frozenset[Purpose]] = frozenset(("prefetch", "warm"))
"""What no reader waits for, unless one comes to."""


@dataclass(frozen=True, slots=True)
class NotModified:
    """The answer to `if_none_match` when nothing has changed (304)."""

    headers: Mapping[str, str]
    """Response headers, names in lower case: freshness may be renewed from them (RFC 9111 section 4.3.4)."""


@dataclass(frozen=True, slots=True)
class GetResult:
    """An open answer: metadata is here, bytes are on their way."""

    meta: ObjectMeta
    range: ByteRange
    """What `chunks` carries, half-open, in bytes of the stored object."""
    chunks: AsyncIterator[bytes]


class Listed(NamedTuple):
    """One object of a listing."""

    key: str
    size: int
    """In bytes, as stored."""
    e_tag: ETag | None = None
    """Where the origin gives it; not to be trusted for more than a hint, as a listing may be older than the object."""
    last_modified: datetime | None = None
    """In UTC, where the origin gives it; a hint as well."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """A part of a listing."""

    objects: Sequence[Listed]
    prefixes: Sequence[str] = ()
    """With a delimiter: what the keys that have it behind the prefix begin with, up to and with it, each once."""
    next: str | None = None
    """Where the next page begins, in the store's own words; None on the last one."""


@dataclass(frozen=True, slots=True)
class BucketPage:
    """A part of the buckets that an origin lists to us."""

    names: Sequence[str]
    """As clients ask for them."""
    next: str | None = None
    """Where the next page begins, in the store's own words; None on the last one."""


class ObjectStore(Protocol):
    """Reads objects. Methods raise errors of `rangecache.errors` and nothing else (`CancelledError` apart)."""

    def source(self, ref: ObjectRef) -> str:
        """What `ObjectMeta.source` of this object's versions is, as things are configured now.

        What was cached under the same name from somewhere else is told apart by it.
        """
        ...

    async def head(
        self, ref: ObjectRef, *, if_none_match: ObjectMeta | None = None, purpose: Purpose = "demand"
    ) -> ObjectMeta | NotModified:
        """Metadata of the whole object, by a real HEAD where the protocol has one."""
        ...

    def get(
        self,
        ref: ObjectRef,
        *,
        range: RangeSpec | None = None,
        if_match: ObjectMeta | None = None,
        if_none_match: ObjectMeta | None = None,
        purpose: Purpose = "demand",
    ) -> AbstractAsyncContextManager[GetResult | NotModified]:
        """Open the object, or a range of it. Leaving the context early closes the origin's connection.

        `if_match` pins: bytes of that generation or `GenerationGone`. `if_none_match` asks only for another
        generation than that one; `NotModified` otherwise. At most one of the two is given.
        """
        ...

    async def list_page(
        self, below: ObjectRef, *, delimiter: str = "", at: str | None = None, purpose: Purpose = "list"
    ) -> ListPage:
        """The objects whose keys begin with `below.key`, which may be empty and ends where it ends: `a/b` begins both
        `a/b/c` and `a/bc`.

        One page for one request, so that no permit is held while its reader thinks; `at` is the `next` of the page
        before. `origin/listing` walks over all. Raises `NotListable` where this origin has no listing, `NotFound` for
        a bucket that is not there.
        """
        ...

    async def bucket_page(self, provider: str, *, at: str | None = None, purpose: Purpose = "list") -> BucketPage:
        """The buckets that can be asked for, one page for one request; `provider` is the store's own name, for
        sentences. Raises `NotListable` where this origin does not list them."""
        ...

    def check_listable(self, below: ObjectRef) -> None:
        """Raises `NotListable` where it is known without asking the origin that `list_page` would."""
        ...

    async def aclose(self) -> None:
        """Give back connections. No call may follow."""
        ...
