"""`kind: gcs`: Google Cloud Storage through the one HTTP data path.

Any bucket can be asked for by its own name; an entry gives it an alias or particulars. What identifies bytes is the
generation, a number that each write gives an object, also one of the same bytes: reads are pinned to it, and it is the
ETag that clients see.

An object that is stored compressed (`Content-Encoding: gzip`) comes decompressed to whom does not say that he takes it
as it is, without its length, and whatever range was asked for ("Transcoding of gzip-compressed files"). So every
request says so, and an answer that was changed all the same is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rangecache.errors import BadRequest, ConfigurationError, InvalidAnswer, NotListable, Unauthenticated
from rangecache.model import ObjectRef
from rangecache.origin import answers
from rangecache.origin.credentials import Anonymous
from rangecache.origin.dialect import Target
from rangecache.origin.providers import gcs_errors, gcs_listing
from rangecache.origin.providers.gcs_address import Endpoint, bucket_fault, is_generation
from rangecache.origin.unsigned import MaybeUnsigned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yarl import URL

    from rangecache.aio.clock import Clock
    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.dialect import Answer

_GENERATION: Final = "generation "
_ANONYMOUS: Final = Anonymous()
# "Warning: 214 UploadServer gunzipped" (RFC 9111 section 5.5: 214 is "transformation applied").
_TRANSFORMED: Final = "214 "


@dataclass(frozen=True, slots=True)
class GcsBucket:
    """What is particular about one bucket."""

    bucket: str
    """Its name at the service."""
    anonymous: bool = False
    """Never send a token for it."""
    billed_project: str | None = None
    """The project that pays for requests to it (requester pays)."""
    missing_403_is_404: bool = False
    """Take refused access for "no such object", which is what it may mean to those who may not list."""
    credentials: Credentials[str] | None = field(default=None, compare=False)
    """In place of the provider's."""


_NO_BUCKET: Final = GcsBucket("")


class GcsDialect:
    """See `rangecache.origin.dialect.Dialect`.

    A token that was found by looking around and is rejected is renewed once, and failing that the request is sent
    without: see `MaybeUnsigned`. Refused access (403) is no reason to go unsigned.

    A missing bucket is `NotFound` like a missing object: the origin said that it is not there.

    Args:
        credentials: give the access token.
        endpoint: base address of a service other than Google's.
        project: whose buckets are listed.
        buckets: by the name that clients use.
    """

    def __init__(
        self,
        *,
        credentials: Credentials[str],
        clock: Clock,
        endpoint: str | None = None,
        project: str | None = None,
        buckets: Mapping[str, GcsBucket] | None = None,
    ) -> None:
        """Raises `ConfigurationError`."""
        self._endpoint = Endpoint.parse(endpoint)
        self._credentials = credentials
        self._project = project
        self._tokens: MaybeUnsigned[str] = MaybeUnsigned(clock)
        self._buckets = dict(buckets or {})
        has_tokens = not all(isinstance(each, Anonymous) for each in self.all_credentials())
        if has_tokens and not self._endpoint.may_see_tokens:
            raise ConfigurationError(
                "a token would cross the network in the clear: give the endpoint with https, or set anonymous: true"
            )
        for alias, each in self._buckets.items():
            if fault := bucket_fault(each.bucket):
                raise ConfigurationError(f"bucket {alias}: the name {each.bucket!r} {fault}")

    def source(self, ref: ObjectRef) -> str:
        """The service and the bucket's own name, whatever alias it is asked for by."""
        return self._endpoint.source(self._options(ref).bucket)

    def credentials_for(self, ref: ObjectRef) -> Credentials[str]:
        """See `rangecache.origin.dialect.Signing`."""
        options = self._options(ref)
        return _ANONYMOUS if options.anonymous else options.credentials or self._credentials

    def all_credentials(self) -> Iterator[Credentials[str]]:
        """See `rangecache.origin.dialect.Signing`."""
        yield self._credentials
        for each in self._buckets.values():
            if each.credentials is not None:
                yield each.credentials

    def address_for(self, ref: ObjectRef) -> str:
        """See `rangecache.origin.dialect.Signing`."""
        return self._endpoint.base

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """Address and token. Of a pinned version the generation is in the address: one that is gone is 404, and one
        that a bucket with versioning keeps can be read to its end. Raises `BadRequest` for a name that cannot exist and
        `Unauthenticated` without a token where one is required."""
        options = self._options(ref)
        generation = ref.version if pinned is None else pinned.validator.removeprefix(_GENERATION)
        url = self._endpoint.object(options.bucket, ref.key, generation)
        return Target(url, {**headers, "Accept-Encoding": "gzip", **await self._proof(ref)})

    def check_listable(self, below: ObjectRef) -> None:
        """Every bucket has a listing; whether it may be seen only the service can say."""

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """Objects: list."""
        options = self._options(below)
        url = self._endpoint.objects(options.bucket, gcs_listing.objects_query(below.key, delimiter, at))
        return Target(url, await self._proof(below))

    def read_listing(self, body: bytes) -> ListPage:
        """A `storage#objects`."""
        return gcs_listing.read_objects(body)

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """Buckets: list. Raises `NotListable` where no project is configured: buckets are those of one."""
        if self._project is None:
            raise NotListable(f"the buckets of {provider} can be listed once its project is configured; name a bucket")
        proof = await self._proof(ObjectRef(provider, "", ""))
        if not proof:
            raise NotListable(f"without credentials the buckets of {provider} cannot be listed; name one")
        return Target(self._endpoint.buckets(gcs_listing.buckets_query(self._project, at)), proof)

    def read_buckets(self, body: bytes) -> BucketPage:
        """A `storage#buckets`."""
        return gcs_listing.read_buckets(body)

    def pin(self, meta: ObjectMeta) -> Mapping[str, str]:
        """Nothing: the address says it."""
        return {}

    def validator(self, headers: Mapping[str, str], e_tag: ETag | None) -> str:
        """The generation. Raises `InvalidAnswer` for an object whose coding was changed on its way."""
        stored = answers.sole(headers, "x-goog-stored-content-encoding")
        recoded = stored is not None and _coding(stored) != _coding(answers.sole(headers, "content-encoding"))
        warned = answers.sole(headers, "warning")
        if recoded or (warned is not None and warned.lstrip().startswith(_TRANSFORMED)):
            raise InvalidAnswer(
                "something on the way from Google Cloud Storage has compressed or decompressed the object, so that its"
                " parts cannot be told from each other; have what is in between pass Accept-Encoding on"
            )
        generation = answers.sole(headers, "x-goog-generation") or ""
        return f"{_GENERATION}{generation}" if is_generation(generation) else ""

    def error(self, answer: Answer, ref: ObjectRef) -> OriginError:
        """By the code or reason in the answer, else by status."""
        options = self._options(ref)
        source, signed = self.credentials_for(ref), self._signs(ref)
        code = gcs_errors.read_code(answer.body)
        refused = answer.status == 403 or (answer.status == 401 and not signed)
        refused = refused and code in ("", "AccessDenied", "forbidden") and not gcs_errors.is_foreign(answer)
        if options.missing_403_is_404 and not answer.listing and refused:
            return gcs_errors.missing(ref, f"{answer.status}, by missing_403_is_404")
        if self._tokens.without(ref.bucket) and answer.status in (401, 403):
            return Unauthenticated(
                f"Google Cloud Storage no longer accepts {source.describe()}, and the bucket"
                f" {ref.provider}/{ref.bucket} cannot be read without; renew them, a login of your own with"
                f" {gcs_errors.LOGIN} ({answer.status} {code})"
            )
        if not ref.bucket and answer.status in (401, 403):
            return gcs_errors.unlisted_buckets(ref.provider, source.describe(), code)
        return gcs_errors.explain(answer, ref, gcs_errors.Sent(source.describe(), signed))

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        """Renew a rejected token, or go on without."""
        if not self._signs(ref) or not gcs_errors.rejects_credentials(answer):
            return ""
        return await self._tokens.rejected(ref.bucket, self.credentials_for(ref))

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Never: the service does not redirect reads."""
        return False

    async def aclose(self) -> None:
        """Give up on tokens that are being fetched."""
        for each in self.all_credentials():
            await each.aclose()

    def __repr__(self) -> str:
        return f"<GcsDialect {self._endpoint.base}>"

    def _options(self, ref: ObjectRef) -> GcsBucket:
        if not ref.bucket:  # the listing of buckets
            return _NO_BUCKET
        known = self._buckets.get(ref.bucket)
        if known is not None:
            return known
        if fault := bucket_fault(ref.bucket):
            raise BadRequest(f"the name of a bucket of Google Cloud Storage {fault}")
        return GcsBucket(ref.bucket)

    def _signs(self, ref: ObjectRef) -> bool:
        """Whether a request to its bucket carries a token, as things stand."""
        return self.credentials_for(ref).signs and not self._tokens.without(ref.bucket)

    async def _proof(self, ref: ObjectRef) -> dict[str, str]:
        """The headers that say who asks, and who pays."""
        options = self._options(ref)
        token = await self._tokens.usable(ref.bucket, self.credentials_for(ref))
        proof = {} if token is None else {"Authorization": f"Bearer {token}"}
        if options.billed_project is not None and token is not None:
            proof["x-goog-user-project"] = options.billed_project
        return proof


def _coding(text: str | None) -> str:
    """A content coding, lower case; empty for none."""
    coding = (text or "").strip(" \t").lower()
    return "" if coding == "identity" else coding
