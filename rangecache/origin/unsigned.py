"""Which buckets are asked without credentials though there are some: a public bucket needs none, and whether a login of
long ago has expired is nothing to its readers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials

BUCKETS_REMEMBERED: Final = 1024
UNSIGNED_S: Final = 60.0

T = TypeVar("T")


class MaybeUnsigned(Generic[T]):
    """Credentials, and the buckets whose service has just rejected them.

    Rejected credentials are renewed once. Failing that, where they were found by looking around
    (`Credentials.may_go_unsigned`), the bucket is asked without, until there are others or `UNSIGNED_S` have passed.
    """

    def __init__(self, credentials: Credentials[T], clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._marks: OrderedDict[str, _Mark[T]] = OrderedDict()

    async def usable(self, bucket: str) -> T | None:
        """The credentials for a request to this bucket; None: send it without. Raises `Unauthenticated`."""
        credentials = await self._credentials.get()
        mark = self._marks.get(bucket)
        if mark is None:
            return credentials
        if mark.rejected != credentials or self._clock.monotonic() >= mark.until_s:
            del self._marks[bucket]
            return credentials
        return None

    def without(self, bucket: str) -> bool:
        """Whether this bucket's service has rejected the credentials, and it is asked without them."""
        return bucket in self._marks

    async def rejected(self, bucket: str) -> bool:
        """The service does not accept the credentials: True if the request may succeed now that they were renewed, or
        without them."""
        if self.without(bucket):
            return False
        if await self._credentials.renew():
            return True
        rejected = await self._credentials.get()
        if rejected is None or not self._credentials.may_go_unsigned:
            return False
        self._marks[bucket] = _Mark(rejected, self._clock.monotonic() + UNSIGNED_S)
        self._marks.move_to_end(bucket)
        if len(self._marks) > BUCKETS_REMEMBERED:
            self._marks.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True)
class _Mark(Generic[T]):
    rejected: T
    until_s: float
