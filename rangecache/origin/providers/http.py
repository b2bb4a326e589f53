"""`kind: http`: objects on plain web servers, read with nothing but RFC 9110.

A bucket is an alias of a base address; a key is appended to its path. The base address may carry a query (a presigned
one does), which is then sent with every request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from yarl import URL

from rangecache.errors import (
    BadRequest,
    ConfigurationError,
    InvalidAnswer,
    NotFound,
    NotListable,
    PermissionDenied,
    Unauthenticated,
    UnknownName,
)
from rangecache.origin import answers
from rangecache.origin.credentials import Anonymous
from rangecache.origin.dialect import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rangecache.errors import OriginError
    from rangecache.model import ETag, ObjectMeta, ObjectRef
    from rangecache.origin.base import BucketPage, ListPage
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.dialect import Answer
    from rangecache.origin.providers.http_credentials import HttpFields

_ANONYMOUS: Final = Anonymous()
_ETAG: Final = "etag "
_LAST_MODIFIED: Final = "last-modified "
# RFC 3986 section 2.3; everything else is encoded, so that no character of a key can mean anything in the address.
_UNRESERVED: Final = "/-._~"
_ENCODED = re.compile(r"[!-~]+", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\]|$)")


@dataclass(frozen=True, slots=True)
class _Base:
    url: URL
    prefix: str
    """The encoded path that every key is appended to; ends in a slash."""
    redirect_hosts: frozenset[str]
    source: str
    missing_403_is_404: bool
    credentials: Credentials[HttpFields]


class HttpDialect:
    """Plain HTTP. Strong ETags pin by If-Match, strong Last-Modified dates by If-Unmodified-Since."""

    def __init__(self) -> None:
        self._bases: dict[str, _Base] = {}

    def add_bucket(
        self,
        alias: str,
        url: str,
        redirect_hosts: Iterable[str] = (),
        *,
        missing_403_is_404: bool = False,
        credentials: Credentials[HttpFields] | None = None,
    ) -> None:
        """Make the objects below `url` readable as bucket `alias`; 403 may mean there that an object is missing.

        Redirects are followed inside `url` and to `redirect_hosts` (names, on the default port of their scheme, or
        `name:port`). The `credentials` go to the host of `url` and to no other one. Raises `ConfigurationError`.
        """
        if _ENCODED.fullmatch(url) is None:
            raise ConfigurationError(f"bucket {alias}: percent-encode the spaces and non-ASCII characters of the url")
        try:
            base = URL(url, encoded=True)
        except ValueError as error:
            raise ConfigurationError(f"bucket {alias}: the url cannot be read") from error
        if base.scheme not in ("http", "https") or not base.host or base.raw_fragment:
            raise ConfigurationError(f"bucket {alias}: the url must look like https://host/path/")
        if base.user is not None or base.password is not None:
            raise ConfigurationError(f"bucket {alias}: the url must not hold a user or password; use credentials")
        if _DOT_SEGMENT.search(base.path):
            raise ConfigurationError(f"bucket {alias}: write the url without . and .. in its path")
        prefix = base.raw_path if base.raw_path.endswith("/") else base.raw_path + "/"
        # A query may be a secret, and the source is stored with what is cached.
        source = str(base.origin()) + prefix
        hosts = frozenset(host.lower() for host in redirect_hosts)
        self._bases[alias] = _Base(base, prefix, hosts, source, missing_403_is_404, credentials or _ANONYMOUS)

    def source(self, ref: ObjectRef) -> str:
        """The base address without its query."""
        return self._base(ref).source

    def credentials_for(self, ref: ObjectRef) -> Credentials[HttpFields]:
        """See `rangecache.origin.dialect.Signing`."""
        return self._base(ref).credentials

    def all_credentials(self) -> Iterator[Credentials[HttpFields]]:
        """See `rangecache.origin.dialect.Signing`."""
        yield from {id(base.credentials): base.credentials for base in self._bases.values()}.values()

    def address_for(self, ref: ObjectRef) -> str:
        """See `rangecache.origin.dialect.Signing`."""
        return self._base(ref).source

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        """The object's address. Raises `UnknownName`, `Unauthenticated` where there are no credentials, and
        `BadRequest` for a key with a dot segment.

        A web server resolves `%2E%2E` like `..` (RFC 3986 section 6.2.2.2), so encoding would not keep such a key
        inside the base address. No file on such a server can have that name.
        """
        base = self._base(ref)
        if _DOT_SEGMENT.search(ref.key):
            raise BadRequest("a web server has no object with a . or .. in its path; remove it from the address")
        path = base.prefix + quote(ref.key, safe=_UNRESERVED)
        query = f"?{base.url.raw_query_string}" if base.url.raw_query_string else ""
        proof = await base.credentials.get()
        sent = headers if proof is None else {**headers, **proof.fields}
        return Target(URL(f"{base.url.origin()}{path}{query}", encoded=True), sent)

    def check_listable(self, below: ObjectRef) -> None:
        """Raises `NotListable`: HTTP has no listing, and a page of links is not the whole truth."""
        raise _unlistable(below)

    async def listing(self, below: ObjectRef, delimiter: str, at: str | None) -> Target:
        """Raises `NotListable`."""
        raise _unlistable(below)

    def read_listing(self, body: bytes) -> ListPage:
        """Raises `InvalidAnswer`: nothing was asked for."""
        raise InvalidAnswer("a web server has no listing")

    async def bucket_listing(self, provider: str, at: str | None) -> Target:
        """Raises `NotListable`."""
        raise NotListable(f"the buckets of {provider} are those that are configured")

    def read_buckets(self, body: bytes) -> BucketPage:
        """Raises `InvalidAnswer`: nothing was asked for."""
        raise InvalidAnswer("a web server has no listing")

    def pin(self, meta: ObjectMeta) -> Mapping[str, str]:
        """If-Match or If-Unmodified-Since, whichever the validator is."""
        if meta.validator.startswith(_ETAG):
            return {"If-Match": meta.validator.removeprefix(_ETAG)}
        return {"If-Unmodified-Since": meta.validator.removeprefix(_LAST_MODIFIED)}

    def validator(self, headers: Mapping[str, str], e_tag: ETag | None) -> str:
        """The strong ETag, else a strong Last-Modified."""
        if e_tag is not None and not e_tag.weak:
            return f"{_ETAG}{e_tag}"
        date = answers.strong_last_modified(headers)
        return f"{_LAST_MODIFIED}{date}" if date else ""

    def error(self, answer: Answer, ref: ObjectRef) -> OriginError:
        """By status; of what was refused, with which credentials."""
        base, status = self._base(ref), answer.status
        if status == 403 and base.missing_403_is_404:
            return NotFound(f"the origin has no object {ref} (403, by missing_403_is_404)")
        if status == 401:
            return Unauthenticated(
                f"the web server does not accept {base.credentials.describe()} for {ref.provider}/{ref.bucket};"
                f" correct them, or set credentials ({status})"
            )
        if status == 403:
            return PermissionDenied(
                f"the web server refuses {ref} to {base.credentials.describe()}; they may need a permission, or consent"
                f" to the terms of these data ({status})"
            )
        if 300 <= status <= 399 and base.credentials.signs:
            return InvalidAnswer(
                f"the web server redirects {ref} to a host that is not in redirect_hosts; if that is a login, it does"
                f" not accept {base.credentials.describe()} ({status})"
            )
        return answers.status_error(answer, ref)

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        """Renew credentials that are no longer accepted."""
        renewed = answer.status == 401 and await self._base(ref).credentials.renew()
        return "credentials" if renewed else ""

    async def aclose(self) -> None:
        """Give up on credentials that are being fetched."""
        for each in self.all_credentials():
            await each.aclose()

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        """Inside the base address, and to the hosts that were named for it."""
        base = self._base(ref)
        if to.origin() == base.url.origin():
            return to.raw_path.startswith(base.prefix) and _DOT_SEGMENT.search(to.path) is None
        name = (to.host or "").lower()
        return (name if to.is_default_port() else f"{name}:{to.port}") in base.redirect_hosts

    def _base(self, ref: ObjectRef) -> _Base:
        base = self._bases.get(ref.bucket)
        if base is None:
            raise UnknownName(f"provider {ref.provider} has no bucket {ref.bucket}; add it to the configuration")
        return base


def _unlistable(below: ObjectRef) -> NotListable:
    return NotListable(
        f"the web server of {below.provider}/{below.bucket} has no listing; name the objects, or give a manifest"
    )
