"""What an origin gives to these credentials: a listing, a part of an object, and the absence of one that is not there.

Each is asked for once, by the store that the program reads with, past its repeats and breakers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from rangecache.aio.deadline import Deadline
from rangecache.checkup.step import Step
from rangecache.errors import (
    NotFound,
    NotListable,
    PermissionDenied,
    RangecacheError,
    RangeNotSatisfiable,
)
from rangecache.origin.base import GetResult
from rangecache.origin.exchanges import Exchanges, noting
from rangecache.origin.listing import first_page
from rangecache.ranges import ByteRange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.exchanges import Exchange

STEP_TIMEOUT_S: Final = 40.0  # beyond any `first_byte_timeout` by default; a body has its own minimal rate
READ_BYTES: Final = 1 << 20  # of one object: enough to tell a rate, and cheap
# The first byte is left out, so that an origin that ignores ranges is found out whatever the size of the object.
READ_RANGE: Final = ByteRange(1, 1 + READ_BYTES)

_T = TypeVar("_T")


class Listing(NamedTuple):
    """What came of a list."""

    step: Step
    first: ObjectRef | None = None
    """An object that can be read from: the first with two bytes at the least."""


class _Opened(NamedTuple):
    """What came of a read."""

    meta: ObjectMeta
    carried: ByteRange
    first_byte_s: float
    body_s: float
    body_bytes: int


class Reading:
    """Asks one store. `seen` are the heads of all answers."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.seen: list[Exchange] = []

    async def buckets(self, provider: str) -> tuple[Step, Sequence[str]]:
        """The first page of the provider's buckets."""
        began = self._clock.monotonic()
        try:
            page = await self._asked(self._store.bucket_page(provider), Exchanges(self._clock))
        except NotListable as error:
            return Step("buckets", "", "skipped", error.message), ()
        except PermissionDenied as error:
            said = f"{error.message}; name it in the configuration, or an object with --object"
            return Step("buckets", "", "warning", said), ()
        except (RangecacheError, TimeoutError) as error:
            return Step("buckets", "", "failed", _why(error)), ()
        ms = (self._clock.monotonic() - began) * 1000
        more = "at least " if page.next else ""
        figures = {"time_ms": ms, "buckets_count": len(page.names)}
        if not page.names:
            return Step("buckets", "", "warning", "there are none; name one of somebody else's", figures), ()
        return Step("buckets", "", "ok", f"{more}{len(page.names)} in {ms:.0f} ms", figures), page.names

    async def listing(self, below: ObjectRef) -> Listing:
        """One page of a bucket."""
        began, seen = self._clock.monotonic(), Exchanges(self._clock)
        try:
            self._store.check_listable(below)
            page = await self._asked(first_page(self._store, below), seen)
        except NotListable as error:
            return Listing(Step("list", below.bucket, "skipped", error.message))
        except PermissionDenied as error:
            said = f"{error.message}; objects that are named can be read all the same, if they may be"
            return Listing(Step("list", below.bucket, "warning", said, {"status": seen.status, "refused": True}))
        except (RangecacheError, TimeoutError) as error:
            return Listing(Step("list", below.bucket, "failed", _why(error)))
        ms = (self._clock.monotonic() - began) * 1000
        figures = {"time_ms": ms, "objects_count": len(page.objects), "status": seen.status}
        readable = next((each for each in page.objects if each.size > 1), None)
        if readable is None:
            return Listing(Step("list", below.bucket, "warning", "there is nothing in it that could be read", figures))
        more = "at least " if page.next else ""
        said = f"{more}{len(page.objects)} object{'s'[: len(page.objects) != 1]} in {ms:.0f} ms"
        return Listing(Step("list", below.bucket, "ok", said, figures), below._replace(key=readable.key))

    async def read(self, ref: ObjectRef) -> list[Step]:
        """A part of an object: that it comes, that it is the part, and what tells its version from another one."""
        seen = Exchanges(self._clock)
        try:
            opened = await self._asked(self._open(ref), seen)
        except RangeNotSatisfiable:
            said = f"{ref} has less than two bytes, too few to ask for a part; name another object with --object"
            return [Step("read", ref.bucket, "warning", said)]
        except (RangecacheError, TimeoutError) as error:
            return [Step("read", ref.bucket, "failed", _why(error))]
        return [_came(ref, opened, seen.status), _ranges(ref, opened), _validator(ref, opened.meta)]

    async def absent(self, ref: ObjectRef) -> Step:
        """An object that is not there."""
        seen = Exchanges(self._clock)
        try:
            await self._asked(self._open(ref), seen)
        except NotFound:
            status = seen.status
            said = f"{status}, as it should be" if status in (404, 410) else "not there, as it should be"
            if status == 403:
                said = "403, which missing_403_is_404 takes for 404"
            return Step("absent key", ref.bucket, "ok", said, {"status": status})
        except PermissionDenied:
            status = seen.status
            return Step("absent key", ref.bucket, "warning", _hidden(status), {"status": status})
        except (RangecacheError, TimeoutError) as error:
            return Step("absent key", ref.bucket, "failed", _why(error), {"status": seen.status})
        said = (
            f"{seen.status} for a random name that cannot be there: readers would take some page for data;"
            " look whether the address leads to a store of objects, and not to a site that explains its errors"
        )
        return Step("absent key", ref.bucket, "failed", said, {"status": seen.status})

    async def _open(self, ref: ObjectRef) -> _Opened:
        began = self._clock.monotonic()
        async with self._store.get(ref, range=READ_RANGE, purpose="revalidate") as answer:
            first_byte_s = self._clock.monotonic() - began
            if not isinstance(answer, GetResult):
                raise TypeError("an unconditional request was answered as if it had a condition")
            body_bytes = 0
            async for chunk in answer.chunks:
                body_bytes += len(chunk)
                if body_bytes >= READ_BYTES < answer.range.length:
                    break
            body_s = self._clock.monotonic() - began - first_byte_s
        return _Opened(answer.meta, answer.range, first_byte_s, body_s, body_bytes)

    async def _asked(self, asking: Awaitable[_T], seen: Exchanges) -> _T:
        """Within its time, its answers noted. Raises what the store raises, and `TimeoutError`."""
        with noting(seen):
            try:
                async with Deadline(self._clock, STEP_TIMEOUT_S):
                    return await asking
            finally:
                self.seen += seen.found


def _came(ref: ObjectRef, opened: _Opened, answered: int | None) -> Step:
    rate = opened.body_bytes / opened.body_s if opened.body_s > 0 else None
    figures = {
        "object": str(ref),
        "status": answered,
        "size_bytes": opened.meta.size,
        "first_byte_ms": opened.first_byte_s * 1000,
        "read_bytes": opened.body_bytes,
        "bytes_per_s": rate,
    }
    how_fast = "" if rate is None else f", then {opened.body_bytes:,} bytes at {rate / 1e6:.1f} MB/s"
    status = "" if answered is None else f"{answered}: "
    said = f"{status}{ref}, {opened.meta.size:,} bytes; first byte after {opened.first_byte_s * 1000:.0f} ms{how_fast}"
    return Step("read", ref.bucket, "ok", said, figures)


def _ranges(ref: ObjectRef, opened: _Opened) -> Step:
    if opened.carried.start == 0:
        said = (
            "ignored: the whole object comes whatever part is asked for, so that each first read transfers all of it;"
            " let the server send ranges, or serve from one that does"
        )
        return Step("ranges", ref.bucket, "warning", said, {"honoured": False})
    return Step("ranges", ref.bucket, "ok", "the part that was asked for came", {"honoured": True})


def _validator(ref: ObjectRef, meta: ObjectMeta) -> Step:
    kind = meta.validator.partition(" ")[0]
    if not kind:
        said = (
            "nothing identifies these bytes (no strong ETag, no Last-Modified older than the answer), so they are"
            " passed on and never cached; let the server send a strong ETag"
        )
        return Step("validator", ref.bucket, "warning", said, {"pins": None})
    named = {"etag": "an ETag", "last-modified": "Last-Modified", "generation": "a generation", "stat": "a stat"}.get(
        kind, kind
    )
    return Step("validator", ref.bucket, "ok", f"{named} pins the version", {"pins": kind})


def _hidden(status: int | None) -> str:
    return (
        f"{status or 'refused'} where 404 should be: whether an object exists is told only to those who may list."
        " Zarr readers need to know; grant the listing (s3:ListBucket on the bucket, Storage Object Viewer, or Storage"
        " Blob Data Reader), or set missing_403_is_404: true for the bucket"
    )


def _why(error: RangecacheError | TimeoutError) -> str:
    if isinstance(error, RangecacheError):
        return error.message
    return f"nothing came of it within {STEP_TIMEOUT_S:g} s"
