"""Where a blob lives: rules for names, and the address of a container and a key. Pure.

"Naming and referencing containers, blobs, and metadata" of the Azure Blob Storage REST reference.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError

PUBLIC_CLOUD: Final = "blob.core.windows.net"
KEY_CHARS_MAX: Final = 1024
KEY_BYTES_MAX: Final = 4 * KEY_CHARS_MAX  # of UTF-8
VERSION_PARAMETERS: Final = ("versionid", "snapshot")

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9])*|\$(?:root|web|logs)", re.ASCII)
_CONTAINER_CHARS_MIN: Final = 3
_CONTAINER_CHARS_MAX: Final = 63
# A time such as 2026-01-31T23:59:59.1234567Z; both parameters are of that form.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)
# The service takes a backslash for a slash and resolves dots, encoded ones too, before it looks for the container.
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\]|$)")


def account_fault(name: str) -> str:
    """What is wrong with an account's name, as the end of a sentence; empty if nothing is."""
    return "" if _ACCOUNT.fullmatch(name) else "must be 3 to 24 of a-z and 0-9"


def container_fault(name: str) -> str:
    """What is wrong with a container's name, as the end of a sentence; empty if nothing is."""
    if not _CONTAINER_CHARS_MIN <= len(name) <= _CONTAINER_CHARS_MAX or _CONTAINER.fullmatch(name) is None:
        return "must be 3 to 63 of a-z, 0-9 and single hyphens, with a letter or digit at both ends"
    return ""


@dataclass(frozen=True, slots=True)
class Place:
    """One container of one account."""

    account: str
    base: str
    """The account's address without a final slash."""
    container: str

    @property
    def secure(self) -> bool:
        """Whether what is sent there is encrypted on the way."""
        return self.base.startswith("https:")

    def blob(self, key: str, version: str | None = None) -> str:
        """The address of a blob. Raises `BadRequest` where no blob can have that name."""
        query = "" if version is None else f"?{_checked_version(version)}"
        return f"{self.base}/{self.container}/{_encoded_key(key)}{query}"

    def listing(self, query: str) -> str:
        """The address of the container, with the query of a listing."""
        return f"{self.base}/{self.container}?{query}"

    def containers(self, query: str) -> str:
        """The address of the account, with the query of a listing of its containers."""
        return f"{self.base}/?{query}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A cloud, or one account of it.

    Where the account is known, a bucket is a container; otherwise it is `<account>.<container>`.
    """

    base: str
    """An account's address; for a cloud one that has `{account}` in it. Without a final slash."""
    account: str | None

    @classmethod
    def parse(cls, address: str | None, account: str | None = None) -> Endpoint:
        """Read a configured endpoint, which may be that of an account (`https://ACCOUNT.blob.core.windows.net`, or
        `http://127.0.0.1:10000/ACCOUNT` for an emulator) or of a cloud (`https://blob.core.usgovcloudapi.net`).

        Raises `ConfigurationError`, also where `account` is another one than the endpoint's.
        """
        try:
            url = URL(address or f"https://{PUBLIC_CLOUD}")
        except ValueError as error:
            raise ConfigurationError("the endpoint cannot be read; it must look like https://host:port") from error
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment or url.user:
            raise ConfigurationError("the endpoint must look like https://host:port/, without user, ? and #")
        host, path = url.host.lower(), url.raw_path.strip("/")
        own = path.rpartition("/")[2] if path else _account_in(host)
        if host.startswith("blob.") and not path:
            base = str(url.origin()).replace("://", f"://{account or '{account}'}.", 1)
            return cls(base, _checked_account(account) if account else None)
        if own is not None and account is not None and own != account and account_fault(own) == "":
            raise ConfigurationError(f"the endpoint is that of account {own}, the credentials are of {account}")
        named = account or own
        if named is None:
            raise ConfigurationError(f"the endpoint {url.origin()} does not say the account: set credentials.account")
        return cls(f"{url.origin()}/{path}".rstrip("/"), _checked_account(named))

    def of_account(self) -> Place | None:
        """The account itself, without a container; None where it is not known."""
        return None if self.account is None else Place(self.account, self.base, "")

    def place(self, bucket: str) -> Place:
        """Where a bucket is. Raises `BadRequest` for a name that none can have."""
        if fault := self.bucket_fault(bucket):
            raise BadRequest(f"the name of an Azure bucket {fault}")
        if self.account is not None:
            return Place(self.account, self.base, bucket)
        account, _, container = bucket.partition(".")
        return Place(account, self.base.replace("{account}", account), container)

    def bucket_fault(self, bucket: str) -> str:
        """What is wrong with a bucket's name, as the end of a sentence; empty if nothing is."""
        if self.account is not None:
            return container_fault(bucket)
        account, dot, container = bucket.partition(".")
        if not dot:
            return "must be <account>.<container>, as no account is configured"
        if fault := account_fault(account):
            return f"begins with an account, which {fault}"
        fault = container_fault(container)
        return f"ends with a container, which {fault}" if fault else ""


def _account_in(host: str) -> str | None:
    """The account that a host name begins with: a label before `blob`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        first, _, rest = host.partition(".")
        # A DNS zone name or a secondary endpoint stands between: account.z12.blob…, account-secondary.blob….
        return first.removesuffix("-secondary") if "blob." in rest else None
    return None


def _checked_account(name: str) -> str:
    if fault := account_fault(name):
        raise ConfigurationError(f"the account {name!r} {fault}")
    return name


def _encoded_key(key: str) -> str:
    # RFC 3986 section 2.3: unreserved characters stay, as does the slash; every other byte of the UTF-8 is encoded.
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("the key is not valid Unicode; names of blobs are") from error
    if not raw:
        raise BadRequest("the address has a container but no key; append one")
    if len(key) > KEY_CHARS_MAX:
        raise BadRequest(f"the key is longer than the {KEY_CHARS_MAX} characters that Azure allows")
    if _DOT_SEGMENT.search(key):
        raise BadRequest("Azure has no blob with a . or .. in its path; remove it from the address")
    return quote(raw, safe="/")


def _checked_version(version: str) -> str:
    name, _, moment = version.partition("=")
    if name not in VERSION_PARAMETERS or _MOMENT.fullmatch(moment) is None:
        raise BadRequest("versionid and snapshot are times, such as 2026-01-31T23:59:59.1234567Z")
    return f"{name}={quote(moment, safe='')}"
