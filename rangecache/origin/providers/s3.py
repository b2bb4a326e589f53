"""`kind: s3`: Amazon S3 and services that speak its protocol, through the one HTTP data path.

Any bucket can be asked for by its own name; an entry gives it an alias or particulars. A bucket whose region is `auto`
is asked for in `REGION_FIRST`; the answer from elsewhere names its region, which is remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yarl import URL

from rangecache.errors import BadRequest, NotListable, Unauthenticated
from rangecache.origin.credentials import Anonymous
from rangecache.origin.dialect import Target
from rangecache.origin.providers import s3_errors, s3_listing
from rangecache.origin.providers.s3_address import Endpoint, has_dot_segment
from rangecache.origin.providers.s3_buckets import AUTO, Buckets, Service
from rangecache.origin.unsigned import MaybeUnsigned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.dialect import Answer
    from rangecache.origin.providers.s3_buckets import S3Bucket
    from rangecache.origin.providers.s3_credentials import S3Credentials

# The statuses by which a region says that the bucket is in another one. Not 404, 429 or 5xx: those are final, whatever
# region they name, and repeating them here would be outside every budget.
_MISROUTED: Final = frozenset({301, 302, 307, 308, 400, 403})

_ANONYMOUS: Final = Anonymous()


class S3Dialect:
    """See `rangecache.origin.dialect.Dialect`.

    Where credentials were found by looking around (`Credentials.may_go_unsigned`) and the service rejects them as
    expired or unknown, they are renewed once, and failing that the request is sent unsigned: a public bucket needs
    none: see `MaybeUnsigned`. Refused access (403 AccessDenied) is no reason to go unsigned.

    A missing bucket is `NotFound` like a missing object: the origin said that it is not there.

    Args:
        endpoint: base address of a service other than AWS.
        region: for buckets without an entry.
        service: how a service other than AWS differs.
        buckets: by the name that clients use.
    """

    def __init__(
        self,
        *,
        credentials: Credentials[S3Credentials],
        clock: Clock,
        endpoint: str | None = None,
        region: str = AUTO,
        service: Service | None = None,
        buckets: Mapping[str, S3Bucket] | None = None,
    ) -> None:
        self._service = service or Service()
        self._endpoint = Endpoint.parse(endpoint, virtual=self._service.virtual)
        self._credentials = credentials
        self._clock = clock
        self._buckets = Buckets(
            buckets or {}, region=region, region_first=self._service.region_first, aws=endpoint is None
        )
        self._unsigned: MaybeUnsigned[S3Credentials] = MaybeUnsigned(clock)

    def source(self, ref: ObjectRef) -> str:
        """The service and the bucket's own name, whatever alias it is asked for by."""
        bucket = self._buckets[ref.bucket]
        return self._endpoint.source(bucket.bucket, bucket.region)

    def credentials_for(self, ref: ObjectRef) -> Credentials[S3Credentials]:
        """See `rangecache.origin.dialect.Signing`."""
        bucket = self._buckets[ref.bucket]
        return _ANONYMOUS if bucket.anonymous else bucket.credentials or self._credentials

    def all_credentials(self) -> Iterator[Credentials[S3Credentials]]:
        """See `rangecache.origin.dialect.Signing`."""
        yield self._credentials
        yield from self._buckets.credentials()

    def address_for(self, ref: ObjectRef) -> str:
        """See `rangecache.origin.dialect.Signing`."""
        bucket = self._buckets[ref.bucket]
        region = self._buckets.region(bucket)
        return self._endpoint.listing(bucket.bucket, region, "") if ref.bucket else self._endpoint.service(region, "")

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """Address and sign. Raises `BadRequest` for a name that cannot exist and `Unauthenticated` without credentials
        where they are required."""
        bucket = self._buckets[ref.bucket]
        if ref.version is not None and not self._service.versions:
            raise BadRequest("this service does not know versionId and would answer with another version; remove it")
        credentials = await self._unsigned.usable(ref.bucket, self.credentials_for(ref))
        region = self._buckets.region(bucket)
        address = self._endpoint.address(bucket.bucket, ref.key, region, ref.version)
        if credentials is None and has_dot_segment(ref.key) and self._endpoint.path_style(bucket.bucket):
            # A server in front that resolves %2E%2E would lead into another bucket, past the rules for this one.
            # A signature would not survive that; an unsigned request would.
            raise BadRequest("a key with a . or .. part cannot be asked for without credentials at this endpoint")
        wanted = {**headers, **bucket.headers()}
        if self._service.accept_encoding is not None:
            wanted["Accept-Encoding"] = self._service.accept_encoding
        if credentials is not None:
            wanted = self._sign(method, address.to_sign, wanted, credentials, region)
        # The version "null" is what a bucket without versions has; it does not always say so.
        named = ref.version is not None and ref.version != "null"
        expected = {"x-amz-version-id": ref.version} if named and ref.version is not None else {}
        return Target(URL(address.to_send, encoded=True), wanted, expected)

    def check_listable(self, below: ObjectRef) -> None:
        """Every bucket has a listing; whether it may be seen only S3 can say."""

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """ListObjectsV2, signed as every other request."""
        bucket = self._buckets[below.bucket]
        credentials = await self._unsigned.usable(below.bucket, self.credentials_for(below))
        region = self._buckets.region(bucket)
        url = self._endpoint.listing(bucket.bucket, region, s3_listing.query(below.key, delimiter, at))
        headers = bucket.headers()
        if credentials is not None:
            headers = self._sign("GET", url, headers, credentials, region)
        return Target(URL(url, encoded=True), headers)

    def read_listing(self, body: bytes) -> ListPage:
        """A `ListBucketResult`."""
        return s3_listing.read_page(body)

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """ListBuckets. Only AWS is asked for pages: not every other service knows them."""
        everything = self._buckets[""]
        credentials = await self._unsigned.usable("", self._credentials)
        region = self._buckets.region(everything)
        query = s3_listing.buckets_query(at, paged=self._endpoint.base is None)
        url = self._endpoint.service(region, query)
        if credentials is None:
            raise NotListable(f"without credentials the buckets of {provider} cannot be listed; name one")
        signed = self._sign("GET", url, {}, credentials, region)
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
        bucket = self._buckets[ref.bucket]
        credentials = self.credentials_for(ref)
        code = s3_errors.read_error(answer.body).code
        if not ref.bucket and answer.status == 403 and code in ("", "AccessDenied"):
            return s3_errors.unlisted_buckets(ref.provider, credentials.describe(), code)
        refused = answer.status == 403 and code in ("", "AccessDenied") and not s3_errors.is_foreign(answer)
        if bucket.missing_403_is_404 and refused:
            return s3_errors.missing(ref)
        if self._unsigned.without(ref.bucket) and answer.status in (401, 403):
            return Unauthenticated(
                f"S3 no longer accepts {credentials.describe()}, and the bucket {ref.provider}/{ref.bucket}"
                f" cannot be read without; renew them, for instance with aws sso login ({answer.status} {code})"
            )
        sent = s3_errors.Sent(
            credentials.describe(),
            signed=credentials.signs,
            region=self._buckets.region(bucket),
            expected_owner=bucket.expected_owner,
            requester_pays=bucket.requester_pays,
        )
        return s3_errors.explain(answer, ref, sent)

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        """Learn the bucket's region; renew rejected credentials, or go on without them."""
        bucket = self._buckets[ref.bucket]
        if answer.status in _MISROUTED and self._buckets.learn_region(bucket, s3_errors.region_told(answer)):
            return "region"
        if not s3_errors.rejects_credentials(answer):
            return ""
        return await self._unsigned.rejected(ref.bucket, self.credentials_for(ref))

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Only to the same bucket at the same service: AWS redirects requests for new buckets for some hours (307)."""
        bucket = self._buckets[ref.bucket]
        return self._endpoint.is_inside(to, bucket.bucket, self._buckets.region(bucket))

    async def aclose(self) -> None:
        """Give up on credentials that are being fetched."""
        for each in self.all_credentials():
            await each.aclose()

    def __repr__(self) -> str:
        return f"<S3Dialect {self._endpoint.base or 'aws'}>"

    def _sign(
        self, method: str, url: str, headers: Mapping[str, str], credentials: S3Credentials, region: str
    ) -> dict[str, str]:
        # botocore, which takes a while: `s3_credentials.fetched` has loaded it on its thread by now.
        from rangecache.origin.providers.s3_signing import sign

        return sign(method, url, headers, credentials, region=region, now_s=self._clock.wall())
