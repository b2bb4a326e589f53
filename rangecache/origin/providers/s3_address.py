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
_REGION: Final = "{region}"
_ACCESS_POINT = re.compile(
    r"arn:aws[a-z-]{0,16}:s3:(?P<region>[a-z0-9-]{1,32}):(?P<account>[0-9]{12}):"
    r"accesspoint[/:](?P<name>[a-z0-9][a-z0-9-]{1,48}[a-z0-9])",
    re.ASCII,
)
_MRAP: Final = (
    "is a multi-Region access point, whose requests take Signature Version 4A; that is not built, name the access point"
    " of one region or the bucket"
)


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


def unsupported(name: str) -> str:
    """Why AWS does not give this bucket to plain signed requests, as the end of a sentence; empty if it does."""
    if name.endswith(("--x-s3", "--xa-s3")):
        return (
            "is that of a directory bucket (S3 Express One Zone), which takes sessions of its own; these are not built,"
            " read a general purpose bucket"
        )
    if name.endswith(".mrap"):
        return _MRAP
    return ""


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """An access point of S3, which stands for a bucket ("Using Amazon S3 access points", Amazon S3 user guide)."""

    name: str
    account: str
    region: str

    @classmethod
    def parse(cls, arn: str) -> AccessPoint:
        """Read `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME`. Raises `ConfigurationError`."""
        service, region = [*arn.split(":"), "", "", "", ""][2:4]
        if service != "s3":
            raise ConfigurationError(f"{arn} is of the service {service!r}; only access points of s3 are read")
        if not region and arn.endswith(".mrap"):
            raise ConfigurationError(f"{arn} {_MRAP}")
        found = _ACCESS_POINT.fullmatch(arn)
        if found is None:
            raise ConfigurationError(f"{arn} is no access point: expected arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME")
        return cls(found["name"], found["account"], found["region"])

    @property
    def host(self) -> str:
        """Where its requests go."""
        return f"{self.name}-{self.account}.s3-accesspoint.{self.region}.{_domain(self.region)}"


def is_arn(bucket: str) -> bool:
    """Whether a configured bucket is not a name; no name has a colon."""
    return bucket.startswith("arn:")


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
    """`https://host:port/prefix` without a final slash, in which `{region}` may stand for the region; None for AWS."""
    virtual: bool = False
    """At a service other than AWS: the bucket is the first part of the host's name and not of the path."""

    @classmethod
    def parse(cls, address: str | None, *, virtual: bool = False) -> Endpoint:
        """Read a configured endpoint. Raises `ConfigurationError`."""
        if address is None:
            return cls(None)
        try:
            url = URL(address.replace(_REGION, "region"))
        except ValueError as error:
            raise ConfigurationError("the endpoint cannot be read; it must look like https://host:port") from error
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigurationError("the endpoint must look like https://host:port, with neither ? nor #")
        if url.user is not None or url.password is not None:
            raise ConfigurationError("the endpoint must not hold a user or password; use credentials")
        if _REGION in address:
            return cls(address.rstrip("/"), virtual)
        return cls(str(url.origin()) + url.raw_path.rstrip("/"), virtual)

    def source(self, bucket: str, region: str) -> str:
        """Names the bucket in every generation. On AWS its region does not change it."""
        return f"s3 {self._base(region) if self.base is not None else 'aws'} {bucket}"

    def path_style(self, bucket: str) -> bool:
        """Whether the bucket is the first part of the path. On AWS only one whose name has dots: as a host name it
        would not match the wildcard of the certificate."""
        return (self.base is not None and not self.virtual) or "." in bucket

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
        base = self._base(region)
        return f"{base}/?{query}" if query else f"{base}/"

    def is_inside(self, url: URL, bucket: str, region: str) -> bool:
        """Whether an address is that bucket's at this service: on AWS in any region, elsewhere at the same origin."""
        if self.base is not None or is_arn(bucket):
            base = URL(self._bucket(bucket, region))
            below = url.raw_path.startswith(f"{base.raw_path.rstrip('/')}/")
            return url.origin() == base.origin() and below and not has_dot_segment(url.path)
        host = re.escape(bucket) + r"\.s3[.-][a-z0-9-]{1,32}\.amazonaws\.com(\.cn)?"
        return url.scheme == "https" and url.is_default_port() and re.fullmatch(host, url.host or "") is not None

    def _base(self, region: str) -> str:
        return f"https://{_host(region)}" if self.base is None else self.base.replace(_REGION, region)

    def _bucket(self, bucket: str, region: str) -> str:
        if is_arn(bucket):
            return f"https://{AccessPoint.parse(bucket).host}"
        base = self._base(region)
        if self.path_style(bucket):
            return f"{base}/{bucket}"
        scheme, _, rest = base.partition("://")
        return f"{scheme}://{bucket}.{rest}"


def has_dot_segment(key: str) -> bool:
    """Whether a part of the key is `.` or `..`."""
    return _DOT_SEGMENT.search(key) is not None


def _host(region: str) -> str:
    return f"s3.{region}.{_domain(region)}"


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith(_CHINA) else "amazonaws.com"


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
