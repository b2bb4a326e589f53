"""Which objects and folders lie right below a prefix, asked of the origin once for all who want to know.

Only the whole truth is given: GDAL takes a listing for complete and never asks for what is not in it. So a directory
is listed where one page of the origin, fetched within `PATIENCE_S`, holds all of it; of others is remembered for
`UNLISTED_S` that there is no listing. The buckets of a provider are listed by the same rules, as folders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from rangecache.aio.deadline import Deadline
from rangecache.aio.flights import Flights
from rangecache.errors import InvalidAnswer, OriginError, PermissionDenied, TransientError
from rangecache.origin.listing import first_page
from rangecache.read.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.aio.flights import Flight
    from rangecache.aio.tasks import Background
    from rangecache.model import ObjectRef
    from rangecache.origin.base import Listed, ObjectStore
    from rangecache.read.selection import Selection

PATIENCE_S: Final = 0.3  # GDAL asks before it opens a file, and its reader waits
UNLISTED_S: Final = 60.0
LISTINGS_BYTES: Final = 8 * 1024 * 1024  # some 30,000 objects
ENTRY_BYTES: Final = 250  # of one, beside the characters of its key
DELIMITER: Final = "/"


@dataclass(frozen=True, slots=True)
class Listing:
    """All that lies right below a prefix."""

    objects: Sequence[Listed] = ()
    folders: Sequence[str] = ()
    """Their whole keys, each with its final slash; of a provider the names of its buckets, each with a slash."""


@dataclass(frozen=True, slots=True)
class Known:
    """What came of asking."""

    listing: Listing | None
    """None: there is none that is complete, or it took too long."""
    error: OriginError | None
    """What the origin said instead."""
    asked_s: float
    until_s: float
    """How long it may be told, by the clock's `monotonic`."""

    def tell(self) -> Listing | None:
        """The listing. Raises the error."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.listing


class Listings:
    """Directories by the prefix that ends in a slash, or is empty. A `ref` without a bucket means a provider's buckets.

    `life_s` is how long a listing is told: what it does not name is taken for absent.
    """

    def __init__(
        self, stores: Mapping[str, ObjectStore], clock: Clock, background: Background, *, life_s: float
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._life_s = life_s
        self._known: Remembered[Known] = Remembered(LISTINGS_BYTES, _weigh)
        self._flights: Flights[ObjectRef, Known] = Flights(background, "listing")
        self._purges = 0

    @property
    def held_bytes(self) -> int:
        """What is remembered, in memory."""
        return self._known.held_bytes

    @property
    def limit_bytes(self) -> int:
        """The bound on `held_bytes`."""
        return self._known.limit_bytes

    def age_s(self, known: Known) -> int:
        """Whole seconds since the origin was asked."""
        return int(self._clock.monotonic() - known.asked_s)

    def peek(self, below: ObjectRef) -> Known | None:
        """What is known and may still be told."""
        known = self._known.get(below)
        if known is None:
            return None
        if self._clock.monotonic() < known.until_s:
            return known
        self._known.drop(below)
        return None

    async def find(self, below: ObjectRef, *, anew: bool = False) -> tuple[Known, bool]:
        """Ask the origin, or wait for who is asking; with `anew` nobody who asked before this call. True: this call
        asked. Raises `NotListable`, without asking, where there can be no listing."""
        if below.bucket:
            self._stores[below.provider].check_listable(below)
        return await self._flights.join(below, partial(self._load, below), anew=anew)

    def forget(self, selection: Selection) -> None:
        """Forget the directories that these objects lie in, and those below them."""
        self._purges += 1  # of what is being asked now nothing is remembered
        name = selection.name

        def meant(below: ObjectRef) -> bool:
            directory = f"{below.provider}/{below.bucket}/{below.key}" if below.bucket else f"{below.provider}/"
            return directory.startswith(name) or name.startswith(directory)

        for below in [each for each in self._known if meant(each)]:
            self._known.drop(below)
        self._flights.release(meant)

    async def _load(self, below: ObjectRef, flight: Flight[Known]) -> None:
        purges, asked_s = self._purges, self._clock.monotonic()
        listing, error = None, None
        try:
            async with Deadline(self._clock, PATIENCE_S):
                listing = await self._ask(below)
        except TimeoutError:
            pass
        except OriginError as answer:
            error = answer
        life_s = self._life_s if listing is not None or error is not None else UNLISTED_S
        if isinstance(error, TransientError):
            life_s = 0.0
        elif isinstance(error, (PermissionDenied, InvalidAnswer)):
            life_s = UNLISTED_S  # GDAL asks for each file, and here it is told of none
        known = Known(listing, error, asked_s, asked_s + life_s)
        if life_s > 0 and purges == self._purges:
            self._known.keep(below, known)
        flight.land(known)

    async def _ask(self, below: ObjectRef) -> Listing | None:
        store = self._stores[below.provider]
        if not below.bucket:
            buckets = await store.bucket_page(below.provider)
            return None if buckets.next is not None else Listing((), [f"{name}/" for name in buckets.names])
        page = await first_page(store, below, delimiter=DELIMITER)
        return None if page.next is not None else Listing(page.objects, page.prefixes)


def _weigh(known: Known) -> int:
    listing = known.listing
    if listing is None:
        return ENTRY_BYTES
    names = [each.key for each in listing.objects] + list(listing.folders)
    return ENTRY_BYTES * (1 + len(names)) + sum(map(len, names))
