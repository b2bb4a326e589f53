"""Where an object lives: rules for names, and the address of a bucket and a key. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from rangecache.errors import BadRequest, ConfigurationError

KEY_BYTES_MAX: Final = 1024  # "Object key naming guidelines" of the Amazon S3 user guide; UTF-8, decoded
VERSION_CHARS_MAX: Final = 1024

# "Bucket naming rules" of the same guide.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?<![^/])(\.{1,2})(?![^/])")
_CHINA: Final = "cn-"


def bucket_fault(name: str) -> str:
    """What is wrong with a bucket's name, as the end of a sentence; empty if nothing is."""
    if _BUCKET.fullmatch(name) is None:
        return "must be 3 to 63 of a-z, 0-9, dot and hyphen, with a letter or digit at both ends"
    if ".." in name:
        return "must not have two dots in a row"
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return ""
    return "must not be an IP address"


@dataclass(frozen=True, slots=True)
class Address:
    """One object's address, spelled twice."""

    to_send: str
    """Segments `.` and `..` are percent-encoded, so that nothing on the way takes them for steps in a path."""
    to_sign: str
    """The same with those dots bare: a server takes the path of the signature from the decoded key (Signature
    Version 4, canonical URI: unreserved characters are not encoded)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """AWS, or a service of the same protocol at an address of its own."""

    base: str | None
    """`https://host:port/prefix` without a final slash; None for AWS."""

    @classmethod
    def parse(cls, address: str | None) -> Endpoint:
        """Read a configured endpoint. Raises `ConfigurationError`."""
        if address is None:
            return cls(None)
        try:
            url = URL(address)
        except ValueError as error:
            raise ConfigurationError("the endpoint cannot be read; it must look like https://host:port") from error
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigurationError("the endpoint must look like https://host:port, with neither ? nor #")
        if url.user is not None or url.password is not None:
            raise ConfigurationError("the endpoint must not hold a user or password; use credentials")
        return cls(str(url.origin()) + url.raw_path.rstrip("/"))

    def source(self, bucket: str) -> str:
        """Names the bucket in every generation; its region does not change it."""
        return f"s3 {self.base or 'aws'} {bucket}"

    def path_style(self, bucket: str) -> bool:
        """Whether the bucket is the first part of the path. On AWS only one whose name has dots: as a host name it
        would not match the wildcard of the certificate."""
        return self.base is not None or "." in bucket

    def address(self, bucket: str, key: str, region: str, version: str | None = None) -> Address:
        """The address of a key. Raises `BadRequest` where no object can have that name."""
        path = _encoded_key(key)
        base = self._bucket(bucket, region)
        query = "" if version is None else f"?versionId={quote(_checked_version(version), safe='')}"
        hidden = _DOT_SEGMENT.sub(lambda dots: "%2E" * len(dots[1]), path)
        return Address(f"{base}/{hidden}{query}", f"{base}/{path}{query}")

    def listing(self, bucket: str, region: str, query: str) -> str:
        """The address of a bucket, with the query of a listing."""
        return f"{self._bucket(bucket, region)}/?{query}"

    def service(self, region: str, query: str) -> str:
        """The address of the service itself, with the query of a listing of its buckets."""
        base = self.base or f"https://{_host(region)}"
        return f"{base}/?{query}" if query else f"{base}/"

    def _bucket(self, bucket: str, region: str) -> str:
        if self.base is not None:
            return f"{self.base}/{bucket}"
        if self.path_style(bucket):
            return f"https://{_host(region)}/{bucket}"
        return f"https://{bucket}.{_host(region)}"

    def is_inside(self, url: URL, bucket: str) -> bool:
        """Whether an address is that bucket's at this service: on AWS in any region, elsewhere at the same origin."""
        if self.base is not None:
            base = URL(self.base)
            below = url.raw_path.startswith(f"{base.raw_path.rstrip('/')}/{bucket}/")
            return url.origin() == base.origin() and below and not has_dot_segment(url.path)
        host = re.escape(bucket) + r"\.s3[.-][a-z0-9-]{1,32}\.amazonaws\.com(\.cn)?"
        return url.scheme == "https" and url.is_default_port() and re.fullmatch(host, url.host or "") is not None


def has_dot_segment(key: str) -> bool:
    """Whether a part of the key is `.` or `..`."""
    return _DOT_SEGMENT.search(key) is not None


def _host(region: str) -> str:
    return f"s3.{region}.amazonaws.com" + (".cn" if region.startswith(_CHINA) else "")


def _encoded_key(key: str) -> str:
    # RFC 3986 section 2.3: unreserved characters stay, as does the slash; every other byte of the UTF-8 is encoded.
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("the key is not valid Unicode; S3 keys are UTF-8") from error
    if not raw:
        raise BadRequest("the address has a bucket but no key; append one")
    if len(raw) > KEY_BYTES_MAX:
        raise BadRequest(f"the key is longer than the {KEY_BYTES_MAX} bytes that S3 allows")
    return quote(raw, safe="/")


def _checked_version(version: str) -> str:
    if not version or len(version) > VERSION_CHARS_MAX or not version.isascii() or not version.isprintable():
        raise BadRequest("versionId is not one that S3 gives out")
    return version
