"""Where objects of Google Cloud Storage live: rules for names, and addresses. Pure.

Objects are read by the XML API, which has a real HEAD, suffix ranges and Last-Modified; lists come from the JSON API.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError

GOOGLE: Final = "https://storage.googleapis.com"
KEY_BYTES_MAX: Final = 1024  # "Object name requirements"; UTF-8, decoded

# "Bucket name requirements": up to 222 characters with dots, each part up to 63.
_BUCKET = re.compile(r"(?=.{3,222}\Z)[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.ASCII)
_PART_CHARS_MAX: Final = 63
_GENERATION = re.compile(r"[0-9]{1,19}", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\]|$)")


def bucket_fault(name: str) -> str:
    """What is wrong with a bucket's name, as the end of a sentence; empty if nothing is."""
    if _BUCKET.fullmatch(name) is None:
        return "must be 3 to 63 of a-z, 0-9, dot, hyphen and underscore, with a letter or digit at both ends"
    parts = name.split(".")
    if not all(parts) or max(map(len, parts)) > _PART_CHARS_MAX:
        return f"must have 1 to {_PART_CHARS_MAX} characters between two dots"
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return ""
    return "must not be an IP address"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Google's own service, or one that speaks its protocol."""

    base: str = GOOGLE
    """`https://host:port/prefix` without a final slash."""

    @classmethod
    def parse(cls, address: str | None) -> Endpoint:
        """Read a configured endpoint. Raises `ConfigurationError`."""
        if address is None:
            return cls()
        try:
            url = URL(address)
        except ValueError as error:
            raise ConfigurationError("the endpoint cannot be read; it must look like https://host:port") from error
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigurationError("the endpoint must look like https://host:port, with neither ? nor #")
        if url.user is not None or url.password is not None:
            raise ConfigurationError("the endpoint must not hold a user or password; use credentials")
        return cls(str(url.origin()) + url.raw_path.rstrip("/"))

    @property
    def may_see_tokens(self) -> bool:
        """Whether nobody on the way can read what is sent: by TLS, or as it does not leave this machine."""
        url = URL(self.base)
        return url.scheme == "https" or _is_loopback(url.host or "")

    def source(self, bucket: str) -> str:
        """Names the bucket in every generation."""
        return f"gcs {self.base} {bucket}"

    def object(self, bucket: str, key: str, generation: str | None) -> URL:
        """The address of a key, of one generation if any is named. Raises `BadRequest` where none can have that
        name."""
        query = "" if generation is None else f"?generation={checked_generation(generation)}"
        return URL(f"{self.base}/{bucket}/{self._encoded(key)}{query}", encoded=True)

    def objects(self, bucket: str, query: str) -> URL:
        """The address of a bucket's listing."""
        return URL(f"{self.base}/storage/v1/b/{bucket}/o?{query}", encoded=True)

    def buckets(self, query: str) -> URL:
        """The address of a listing of buckets."""
        return URL(f"{self.base}/storage/v1/b?{query}", encoded=True)

    def _encoded(self, key: str) -> str:
        # RFC 3986 section 2.3: unreserved characters stay, as does the slash; all other bytes of the UTF-8 are encoded.
        try:
            raw = key.encode()
        except UnicodeEncodeError as error:
            raise BadRequest("the key is not valid Unicode; keys of Google Cloud Storage are UTF-8") from error
        if not raw:
            raise BadRequest("the address has a bucket but no key; append one")
        if len(raw) > KEY_BYTES_MAX:
            raise BadRequest(f"the key is longer than the {KEY_BYTES_MAX} bytes that Google Cloud Storage allows")
        if _DOT_SEGMENT.search(key) is None:
            return quote(raw, safe="/")
        if self.base != GOOGLE or key in (".", ".."):
            # A server in front that resolves %2E%2E would lead into another bucket, past the rules for this one, and a
            # token, unlike a signature, is good there too.
            raise BadRequest("a key with a . or .. part cannot be asked for at this endpoint")
        return quote(raw, safe="")  # a path of one segment, in which nobody on the way sees a step


def checked_generation(text: str) -> str:
    """A generation that a client named. Raises `BadRequest`."""
    if _GENERATION.fullmatch(text) is None:
        raise BadRequest("generation is a number, as Google Cloud Storage gives them to objects")
    return text


def is_generation(text: str) -> bool:
    """Whether the service may have given this to an object."""
    return _GENERATION.fullmatch(text) is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
