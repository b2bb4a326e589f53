"""Which buckets are asked without credentials though there are some: a public bucket needs none, and whether a login of
long ago has expired is nothing to its readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rangecache.origin.recent import BUCKETS_REMEMBERED, Recent

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials

UNSIGNED_S: Final = 60.0

T = TypeVar("T")


class MaybeUnsigned(Generic[T]):
    """The buckets whose service has just rejected their credentials, by the names that clients use.

    Rejected credentials are renewed once. Failing that, where they were found by looking around
    (`Credentials.may_go_unsigned`), the bucket is asked without, until there are others or `UNSIGNED_S` have passed.
    A name always comes with the same credentials.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: Recent[str, _Mark[T]] = Recent(BUCKETS_REMEMBERED)

    async def usable(self, bucket: str, credentials: Credentials[T]) -> T | None:
        """What to send with a request to this bucket; None: send it without. Raises `Unauthenticated`."""
        current = await credentials.get()
        mark = self._marks.get(bucket)
        if mark is None:
            return current
        if mark.rejected != current or self._clock.monotonic() >= mark.until_s:
            self._marks.drop(bucket)
            return current
        return None

    def without(self, bucket: str) -> bool:
        """Whether this bucket's service has rejected the credentials, and it is asked without them."""
        return self._marks.get(bucket) is not None

    async def rejected(self, bucket: str, credentials: Credentials[T]) -> str:
        """The service does not accept the credentials. A word, as of `Dialect.mend`, where the request may succeed now
        that they were renewed, or without them."""
        if self.without(bucket):
            return ""
        if await credentials.renew():
            return "credentials"
        rejected = await credentials.get()
        if rejected is None or not credentials.may_go_unsigned:
            return ""
        self._marks.put(bucket, _Mark(rejected, self._clock.monotonic() + UNSIGNED_S))
        return "unsigned"


@dataclass(frozen=True, slots=True)
class _Mark(Generic[T]):
    rejected: T
    until_s: float
