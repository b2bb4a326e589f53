"""What the data port answers where no object is named: the providers, their buckets, and directories of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import NotCached, NotListable, OriginError
from rangecache.read.cache_control import parse_directives
from rangecache.read.listings import Listing
from rangecache.read.messages import CacheStatus
from rangecache.server import autoindex, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rangecache.model import ObjectRef
    from rangecache.read.listings import Known, Listings
    from rangecache.server.request import Router

_HIT: Final = CacheStatus("hit", hit=True)
_OURS: Final = CacheStatus("hit", hit=True, detail="configuration")
_ASKED: Final = CacheStatus("miss", fwd="uri-miss", stored=True)
_JOINED: Final = CacheStatus("miss", fwd="uri-miss", collapsed=True)


@dataclass(frozen=True, slots=True)
class DirectoryRequest:
    """One GET or HEAD of a directory."""

    ref: ObjectRef
    """What the keys of the directory begin with; without a bucket, or even a provider, above all buckets."""
    target: str
    """Its path as it stands in the request line."""
    accept: str | None
    """What kinds of answer the client takes; as the next one, None where absent."""
    cache_control: str | None

    @property
    def json(self) -> bool:
        """Whether JSON is asked for by its name, ahead of HTML."""
        kinds = [each.partition(";")[0].strip().lower() for each in (self.accept or "").split(",")]
        return autoindex.JSON in kinds and "text/html" not in kinds[: kinds.index(autoindex.JSON)]


@dataclass(frozen=True, slots=True)
class DirectoryReply:
    """An answer, whole."""

    status: int
    """200, or 404 where there is no listing."""
    content_type: str | None
    body: bytes
    cache: CacheStatus
    age_s: int | None = None
    """Seconds since the origin was asked; None where it was not."""


class Directories:
    """Answers requests for directories.

    `configured` has the buckets that are named in the settings, by provider. `lists` says whether a bucket's objects
    may be listed at all. No listing is an empty 404: GDAL reads a body whatever the status says.
    """

    def __init__(
        self,
        router: Router,
        listings: Listings,
        configured: Mapping[str, Iterable[str]],
        lists: Callable[[ObjectRef], bool],
    ) -> None:
        self._router = router
        self._listings = listings
        self._configured = {name: sorted(buckets) for name, buckets in configured.items()}
        self._lists = lists

    def try_open(self, request: DirectoryRequest) -> DirectoryReply | None:
        """The answer if it can be given without asking an origin. Raises `RangecacheError`."""
        ref = request.ref
        if not ref.provider:
            return self._reply(request, Listing((), [f"{name}/" for name in self._router.providers]), _OURS)
        if ref.bucket and not self._lists(ref):
            return self._reply(request, None, _OURS)
        directives = parse_directives(request.cache_control or "")
        known = None if "no-cache" in directives else self._listings.peek(ref)
        if known is not None:
            return self._tell(request, known, _HIT)
        if "only-if-cached" in directives:
            raise NotCached("This listing is not in the cache, and only-if-cached forbids to ask the origin for it.")
        return None

    async def open(self, request: DirectoryRequest) -> DirectoryReply:
        """The answer. Raises `RangecacheError`."""
        ref, anew = request.ref, "no-cache" in parse_directives(request.cache_control or "")
        try:
            known, asked = await self._listings.find(ref, anew=anew)
        except NotListable:
            return self._reply(request, self._buckets_of(ref) if not ref.bucket else None, _OURS)
        return self._tell(request, known, _ASKED if asked else _JOINED)

    def _tell(self, request: DirectoryRequest, known: Known, cache: CacheStatus) -> DirectoryReply:
        ref, age_s = request.ref, self._listings.age_s(known)
        try:
            listing = known.tell()
        except OriginError:
            if ref.bucket or not self._configured[ref.provider]:
                raise
            listing = Listing()
        if not ref.bucket and (listing is not None or self._configured[ref.provider]):
            listing = self._buckets_of(ref, [] if listing is None else listing.folders)
        return self._reply(request, listing, cache, age_s)

    def _buckets_of(self, ref: ObjectRef, listed: Iterable[str] = ()) -> Listing:
        """The buckets of a provider that may be asked for: those that are configured, and those of the origin."""
        names = {name.removesuffix("/") for name in listed}
        names = {name for name in names if self._router.accepts(ref.provider, name)}
        return Listing((), [f"{name}/" for name in sorted(names | set(self._configured[ref.provider]))])

    def _reply(
        self, request: DirectoryRequest, listing: Listing | None, cache: CacheStatus, age_s: int | None = None
    ) -> DirectoryReply:
        ref = request.ref
        shown = None if listing is None else self._allowed(ref, listing)
        if shown is None or not (shown.objects or shown.folders):
            if not request.json:
                return DirectoryReply(404, None, b"", cache, age_s)
            why = "There is no listing here: nothing is there, or it is too much for one page of the origin's listing."
            kind = "application/problem+json"
            return DirectoryReply(404, kind, problems.document(problems.NO_LISTING, why), cache, age_s)
        if request.json:
            name = "/".join(filter(None, (ref.provider, ref.bucket))) + "/" * bool(ref.provider) + ref.key
            return DirectoryReply(200, autoindex.JSON, autoindex.document(shown, name), cache, age_s)
        return DirectoryReply(200, autoindex.HTML, autoindex.page(shown, ref.key, request.target), cache, age_s)

    def _allowed(self, ref: ObjectRef, listing: Listing) -> Listing:
        """Without what the access rules keep from the client."""
        router = self._router
        above = "".join(f"{each}/" for each in (ref.provider, ref.bucket) if each)
        return Listing(
            [each for each in listing.objects if router.allows(ref._replace(key=each.key))],
            [each for each in listing.folders if router.reaches(above + each)],
        )
