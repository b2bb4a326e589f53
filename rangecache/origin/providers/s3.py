"""`kind: s3`: Amazon S3 and services that speak its protocol, through the one HTTP data path.

Any bucket can be asked for by its own name; an entry gives it an alias or particulars. A bucket whose region is `auto`
is asked for in `REGION_FIRST`; the answer from elsewhere names its region, which is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError, NotListable, Unauthenticated
from rangecache.origin.credentials import Anonymous
from rangecache.origin.dialect import Target
from rangecache.origin.providers import s3_errors, s3_listing
from rangecache.origin.providers.s3_address import Endpoint, bucket_fault, has_dot_segment
from rangecache.origin.providers.s3_signing import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.aio.clock import Clock
    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.dialect import Answer
    from rangecache.origin.providers.s3_credentials import S3Credentials

AUTO: Final = "auto"
REGION_FIRST: Final = "us-east-1"  # AWS routes a bucket's first request from there; other services take it as it comes
BUCKETS_REMEMBERED: Final = 1024
UNSIGNED_S: Final = 60.0

# The statuses by which a region says that the bucket is in another one. Not 404, 429 or 5xx: those are final, whatever
# region they name, and repeating them here would be outside every budget.
_MISROUTED: Final = frozenset({301, 302, 307, 308, 400, 403})

_ANONYMOUS: Final = Anonymous()

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """What is particular about one bucket."""

    bucket: str
    """Its name at the service."""
    region: str = AUTO
    """`auto`: learned."""
    anonymous: bool = False
    """Never sign requests for it."""
    missing_403_is_404: bool = False
    """Take a plain AccessDenied for "no such object", which is what it may mean to those who may not list."""


class S3Dialect:
    """See `rangecache.origin.dialect.Dialect`.

    Where credentials were found by looking around (`Credentials.may_go_unsigned`) and the service rejects them as
    expired or unknown, they are renewed once, and failing that the request is sent unsigned: a public bucket needs
    none. That is remembered for the bucket until there are other credentials, `UNSIGNED_S` at most. Refused access
    (403 AccessDenied) is no reason to go unsigned.

    A missing bucket is `NotFound` like a missing object: the origin said that it is not there.

    Args:
        endpoint: base address of a service other than AWS; buckets are then the first part of the path.
        region: for buckets without an entry.
        buckets: by the name that clients use.
    """

    def __init__(
        self,
        *,
        credentials: Credentials[S3Credentials],
        clock: Clock,
        endpoint: str | None = None,
        region: str = AUTO,
        buckets: Mapping[str, S3Bucket] | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(endpoint)
        self._credentials = credentials
        self._clock = clock
        self._region = region
        self._buckets = dict(buckets or {})
        self._learned: _Recent[str] = _Recent(BUCKETS_REMEMBERED)
        self._unsigned: _Recent[_Unsigned] = _Recent(BUCKETS_REMEMBERED)
        for alias, each in self._buckets.items():
            if fault := bucket_fault(each.bucket):
                raise ConfigurationError(f"bucket {alias}: the name {each.bucket!r} {fault}")

    def source(self, ref: ObjectRef) -> str:
        """The service and the bucket's own name, whatever alias it is asked for by."""
        return self._endpoint.source(self._options(ref).bucket)

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """Address and sign. Raises `BadRequest` for a name that cannot exist and `Unauthenticated` without credentials
        where they are required."""
        options = self._options(ref)
        credentials = None if options.anonymous else await self._usable(options.bucket)
        region = self._region_of(options)
        address = self._endpoint.address(options.bucket, ref.key, region, ref.version)
        if credentials is None:
            if has_dot_segment(ref.key) and self._endpoint.path_style(options.bucket):
                # A server in front that resolves %2E%2E would lead into another bucket, past the rules for this one.
                # A signature would not survive that; an unsigned request would.
                raise BadRequest("a key with a . or .. part cannot be asked for without credentials at this endpoint")
            return Target(URL(address.to_send, encoded=True), headers)
        now_s = self._clock.wall()
        signed = sign(method, address.to_sign, headers, credentials, region=region, now_s=now_s)
        return Target(URL(address.to_send, encoded=True), signed)

    def check_listable(self, below: ObjectRef) -> None:
        """Every bucket has a listing; whether it may be seen only S3 can say."""

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """ListObjectsV2, signed as every other request."""
        options = self._options(below)
        credentials = None if options.anonymous else await self._usable(options.bucket)
        region = self._region_of(options)
        url = self._endpoint.listing(options.bucket, region, s3_listing.query(below.key, delimiter, at))
        if credentials is None:
            return Target(URL(url, encoded=True), {})
        return Target(
            URL(url, encoded=True), sign("GET", url, {}, credentials, region=region, now_s=self._clock.wall())
        )

    def read_listing(self, body: bytes) -> ListPage:
        """A `ListBucketResult`."""
        return s3_listing.read_page(body)

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """ListBuckets. Only AWS is asked for pages: not every other service knows them."""
        credentials = await self._usable("")
        region = self._region_of(S3Bucket("", self._region))
        query = s3_listing.buckets_query(at, paged=self._endpoint.base is None)
        url = self._endpoint.service(region, query)
        if credentials is None:
            raise NotListable(f"without credentials the buckets of {provider} cannot be listed; name one")
        signed = sign("GET", url, {}, credentials, region=region, now_s=self._clock.wall())
        return Target(URL(url, encoded=True), signed)

    def read_buckets(self, body: bytes) -> BucketPage:
        """A `ListAllMyBucketsResult`."""
        return s3_listing.read_buckets(body)

    def pin(self, meta: ObjectMeta) -> Mapping[str, str]:
        """If-Match with the ETag, which on S3 is strong and is checked before the range."""
        return {"If-Match": meta.validator.removeprefix("etag ")}

    def validator(self, headers: Mapping[str, str], e_tag: ETag | None) -> str:
        """The ETag. A service that gives a weak one or none does not identify its bytes."""
        return f"etag {e_tag}" if e_tag is not None and not e_tag.weak else ""

    def error(self, answer: Answer, ref: ObjectRef) -> OriginError:
        """By S3's error code, else by status."""
        options = self._options(ref)
        code = s3_errors.read_error(answer.body).code
        if not ref.bucket and answer.status == 403:
            return s3_errors.unlisted_buckets(ref.provider, self._credentials.describe(), code)
        if options.missing_403_is_404 and answer.status == 403 and code in ("", "AccessDenied"):
            return s3_errors.missing(ref)
        if self._goes_unsigned(options.bucket) and answer.status in (401, 403) and not options.anonymous:
            return Unauthenticated(
                f"S3 no longer accepts {self._credentials.describe()}, and the bucket {ref.provider}/{ref.bucket}"
                f" cannot be read without; renew them, for instance with aws sso login ({answer.status} {code})"
            )
        source = _ANONYMOUS if options.anonymous else self._credentials
        sent = s3_errors.Sent(source.describe(), signed=source.signs, region=self._region_of(options))
        return s3_errors.explain(answer, ref, sent)

    async def mend(self, answer: Answer, ref: ObjectRef) -> bool:
        """Learn the bucket's region; renew rejected credentials, or go on without them."""
        options = self._options(ref)
        if self._learn_region(answer, options):
            return True
        if options.anonymous or self._goes_unsigned(options.bucket) or not s3_errors.rejects_credentials(answer):
            return False
        if await self._credentials.renew():
            return True
        rejected = await self._credentials.get()
        if rejected is None or not self._credentials.may_go_unsigned:
            return False
        self._unsigned.put(options.bucket, _Unsigned(rejected, self._clock.monotonic() + UNSIGNED_S))
        return True

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Only to the same bucket at the same service: AWS redirects requests for new buckets for some hours (307)."""
        return self._endpoint.is_inside(to, self._options(ref).bucket)

    async def aclose(self) -> None:
        """Give up on credentials that are being fetched."""
        await self._credentials.aclose()

    def __repr__(self) -> str:
        return f"<S3Dialect {self._endpoint.base or 'aws'}>"

    # --- what is known about a bucket -----------------------------------------------------------------------------

    def _options(self, ref: ObjectRef) -> S3Bucket:
        known = self._buckets.get(ref.bucket)
        if known is not None:
            return known
        if not ref.bucket:  # the listing of buckets
            return S3Bucket("", self._region)
        if fault := bucket_fault(ref.bucket):
            raise BadRequest(f"the name of an S3 bucket {fault}")
        return S3Bucket(ref.bucket, self._region)

    def _region_of(self, options: S3Bucket) -> str:
        if options.region != AUTO:
            return options.region
        return self._learned.get(options.bucket) or REGION_FIRST

    def _learn_region(self, answer: Answer, options: S3Bucket) -> bool:
        if options.region != AUTO or answer.status not in _MISROUTED:
            return False
        told = s3_errors.region_told(answer)
        if not told or told == self._region_of(options):
            return False
        self._learned.put(options.bucket, told)
        return True

    async def _usable(self, bucket: str) -> S3Credentials | None:
        """The credentials, unless this bucket's service has just rejected these very ones."""
        credentials = await self._credentials.get()
        mark = self._unsigned.get(bucket)
        if mark is None:
            return credentials
        if mark.rejected != credentials or self._clock.monotonic() >= mark.until_s:
            self._unsigned.drop(bucket)
            return credentials
        return None

    def _goes_unsigned(self, bucket: str) -> bool:
        return self._unsigned.get(bucket) is not None


@dataclass(frozen=True, slots=True)
class _Unsigned:
    rejected: S3Credentials
    until_s: float


class _Recent(Generic[_V]):
    """A dictionary that forgets what was used longest ago once it holds `limit` entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[str, _V] = OrderedDict()

    def get(self, key: str) -> _V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: _V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        self._values.pop(key, None)
