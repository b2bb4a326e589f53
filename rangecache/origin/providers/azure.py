"""`kind: azure`: Azure Blob Storage through the one HTTP data path.

Any container can be asked for by its own name, where no account is configured by `<account>.<container>`; an entry
gives it an alias or particulars. Azure has no suffix ranges: a store with this dialect belongs into `SizeFirst`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError, NotListable, Unauthenticated
from rangecache.origin.credentials import Anonymous
from rangecache.origin.dialect import Target
from rangecache.origin.providers import azure_errors, azure_listing
from rangecache.origin.providers.azure_signing import AzureCredential, Bearer, prove
from rangecache.origin.unsigned import MaybeUnsigned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.dialect import Answer
    from rangecache.origin.providers.azure_address import Endpoint, Place

_ANONYMOUS: Final = Anonymous()


@dataclass(frozen=True, slots=True)
class AzureBucket:
    """What is particular about one bucket."""

    bucket: str
    """Its name at the service: a container, or `<account>.<container>` where no account is configured."""
    anonymous: bool = False
    """Never prove who asks for it."""
    missing_403_is_404: bool = False
    """Take a refusal for "no such object", which is what it may mean."""
    credentials: Credentials[AzureCredential] | None = field(default=None, compare=False)
    """In place of the provider's."""


class AzureDialect:
    """See `rangecache.origin.dialect.Dialect`.

    Where credentials were found by looking around (`Credentials.may_go_unsigned`) and Azure rejects them, they are
    renewed once, and failing that the request is sent without: a public container needs none. A token never goes over
    plain http: there such credentials count as none.

    Args:
        buckets: by the name that clients use.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        credentials: Credentials[AzureCredential],
        clock: Clock,
        buckets: Mapping[str, AzureBucket] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._clock = clock
        self._buckets = dict(buckets or {})
        self._unsigned: MaybeUnsigned[AzureCredential] = MaybeUnsigned(clock)
        for alias, each in self._buckets.items():
            if fault := endpoint.bucket_fault(each.bucket):
                raise ConfigurationError(f"bucket {alias}: the name {each.bucket!r} {fault}")

    def source(self, ref: ObjectRef) -> str:
        """The account and the container, whatever alias they are asked for by."""
        place = self._place(ref)
        return f"azure {place.base} {place.container}"

    def credentials_for(self, ref: ObjectRef) -> Credentials[AzureCredential]:
        """See `rangecache.origin.dialect.Signing`."""
        options = self._options(ref)
        return _ANONYMOUS if options.anonymous else options.credentials or self._credentials

    def all_credentials(self) -> Iterator[Credentials[AzureCredential]]:
        """See `rangecache.origin.dialect.Signing`."""
        yield self._credentials
        for each in self._buckets.values():
            if each.credentials is not None:
                yield each.credentials

    def address_for(self, ref: ObjectRef) -> str:
        """See `rangecache.origin.dialect.Signing`."""
        place = self._place(ref) if ref.bucket else self._endpoint.of_account()
        if place is None:
            raise BadRequest(f"no account is configured for {ref.provider}; name a container of one")
        return place.base

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """Address and sign. Raises `BadRequest` for a name that cannot exist and `Unauthenticated` without credentials
        where they are required."""
        if headers.get("Range", "").startswith("bytes=-"):  # Azure would ignore it, an emulator answers nonsense
            raise BadRequest("Azure has no suffix ranges; ask for the size first")
        return await self._signed(method, self._place(ref).blob(ref.key, ref.version), ref, headers)

    def check_listable(self, below: ObjectRef) -> None:
        """Every container has a listing; whether it may be seen only Azure can say."""

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """List Blobs, signed as every other request."""
        url = self._place(below).listing(azure_listing.query(below.key, delimiter, at))
        return await self._signed("GET", url, below, {})

    def read_listing(self, body: bytes) -> ListPage:
        """An `EnumerationResults`."""
        return azure_listing.read_page(body)

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """List Containers of the one account that is configured."""
        account = self._endpoint.of_account()
        if account is None:
            raise NotListable(f"no account is configured for {provider}; set credentials.account, or name a container")
        credential = await self._unsigned.usable("", self._credentials)
        if credential is None:
            raise NotListable(f"without credentials the containers of {provider} cannot be listed; name one")
        url = account.containers(azure_listing.container_query(at))
        return self._carrying(self._credentials, credential, "GET", account, url, {})

    def read_buckets(self, body: bytes) -> BucketPage:
        """An `EnumerationResults` of containers."""
        return azure_listing.read_containers(body)

    def pin(self, meta: ObjectMeta) -> Mapping[str, str]:
        """If-Match with the ETag, which on Azure is strong."""
        return {"If-Match": meta.validator.removeprefix("etag ")}

    def validator(self, headers: Mapping[str, str], e_tag: ETag | None) -> str:
        """The ETag. A service that gives a weak one or none does not identify its bytes."""
        return f"etag {e_tag}" if e_tag is not None and not e_tag.weak else ""

    def error(self, answer: Answer, ref: ObjectRef) -> OriginError:
        """By Azure's error code, else by status."""
        options = self._options(ref)
        source = self.credentials_for(ref)
        signs = source.signs and not self._unsigned.without(ref.bucket)
        if options.missing_403_is_404 and azure_errors.hides_absence(answer, signed=signs):
            said = f"{answer.status} {azure_errors.read_code(answer)}".strip()
            return azure_errors.missing(ref, f"{said}, by missing_403_is_404")
        if source.signs and not signs and azure_errors.wants_credentials(answer):
            return Unauthenticated(
                f"Azure no longer accepts {source.describe()}, and the container {ref.provider}/{ref.bucket}"
                f" cannot be read without; renew them, for instance with az login"
                f" ({answer.status} {azure_errors.read_code(answer)})"
            )
        return azure_errors.explain(answer, ref, azure_errors.Sent(source.describe(), signed=signs))

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        """Renew rejected credentials, or go on without them."""
        if not azure_errors.rejects_credentials(answer):
            return ""
        return await self._unsigned.rejected(ref.bucket, self.credentials_for(ref))

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Never: Azure does not redirect those who read blobs."""
        return False

    async def aclose(self) -> None:
        """Give up on credentials that are being fetched."""
        for each in self.all_credentials():
            await each.aclose()

    def __repr__(self) -> str:
        return f"<AzureDialect {self._endpoint.base}>"

    async def _signed(self, method: str, url: str, ref: ObjectRef, headers: Mapping[str, str]) -> Target:
        source = self.credentials_for(ref)
        credential = await self._unsigned.usable(ref.bucket, source)
        return self._carrying(source, credential, method, self._place(ref), url, headers)

    def _carrying(
        self,
        source: Credentials[AzureCredential],
        credential: AzureCredential | None,
        method: str,
        place: Place,
        url: str,
        headers: Mapping[str, str],
    ) -> Target:
        if isinstance(credential, Bearer) and not place.secure:
            if not source.may_go_unsigned:
                raise Unauthenticated("a token is not sent over plain http; give the endpoint an https:// address")
            credential = None
        address, sent = prove(method, url, headers, credential, now_s=self._clock.wall())
        return Target(URL(address, encoded=True), sent)

    def _place(self, ref: ObjectRef) -> Place:
        return self._endpoint.place(self._options(ref).bucket)

    def _options(self, ref: ObjectRef) -> AzureBucket:
        # Without a bucket it is about the listing of containers.
        return self._buckets.get(ref.bucket) or AzureBucket(ref.bucket)
