"""The types that settings are made of: what is written as text is read here, once, and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from rangecache.patterns import Pattern
from rangecache.settings.units import (
    TcpAddress,
    UnixAddress,
    format_duration,
    format_size,
    parse_address,
    parse_duration,
    parse_size,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_PROVIDER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
# What stands, or may one day stand, at these places of a port of ours.
_RESERVED_NAMES: Final = frozenset(
    ["console", "docs", "favicon", "healthz", "livez", "metrics", "openapi", "readyz", "robots", "v1"]
)
_BUCKET_NAME_CHARS_MAX: Final = 255
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
# RFC 3986 section 3.3: what may stand in a path unencoded. A `%` has to begin a whole escape.
_URL_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)


class Section(BaseModel):
    """A group of settings. Immutable; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        """A section whose keys are all commented out is read as null and means its defaults."""
        return {} if value is None else value


def between(low: float, high: float) -> AfterValidator:
    """Bounds, both included, of a plain number."""
    return _bounds(low, high, str)


def sized(low: int, high: int) -> AfterValidator:
    """Bounds, both included, of a size in bytes."""
    return _bounds(low, high, format_size)


def lasting(low_s: float, high_s: float) -> AfterValidator:
    """Bounds, both included, of a duration in seconds."""
    return _bounds(low_s, high_s, format_duration)


def _bounds(low: Any, high: Any, show: Any) -> AfterValidator:
    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise ValueError(f"expected from {show(low)} to {show(high)}, got {show(value)}")
        return value

    return AfterValidator(check)


def _text_first(read: Callable[[str], Any], wanted: type | tuple[type, ...], expected: str) -> BeforeValidator:
    """Text is read by `read`; a value built in code passes if it is `wanted` already; all else is a fault."""

    def convert(value: Any) -> Any:
        if value is None or isinstance(value, str):
            return read(value or "")
        if not isinstance(value, wanted):
            raise ValueError(f"expected {expected}")
        return value

    return BeforeValidator(convert)


def _one_is_a_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _empty_is_nothing(value: Any) -> Any:
    return {} if value is None else value


def _local_path(value: Any, info: ValidationInfo) -> Any:
    """A relative path starts at the folder of the configuration file; `~` is the user's home where there is one."""
    if not isinstance(value, str | Path):
        raise ValueError("expected a path")
    text = str(value)
    if not text or "\0" in text:
        raise ValueError("expected a path")
    path = Path(text)
    try:
        path = path.expanduser()
    except RuntimeError:
        return path  # No home directory is known. Where that matters, it is said.
    base = (info.context or {}).get("base")
    return base / path if base is not None else path


def _pattern(text: str) -> str:
    return Pattern(text).text


def _provider_name(name: str) -> str:
    if not _PROVIDER_NAME.fullmatch(name):
        raise ValueError("a provider's name has lower-case letters, digits, - and _, and begins with a letter or digit")
    if name in _RESERVED_NAMES:
        raise ValueError(f"{name} is a name of our own ports: choose another one for the provider")
    return name


def bucket_name(name: str) -> str:
    """A name that is one part of a path. Raises `ValueError`."""
    if not name or len(name) > _BUCKET_NAME_CHARS_MAX or name in {".", ".."} or "/" in name or not name.isprintable():
        raise ValueError(
            f"a bucket's name is one part of a URL's path: 1 to {_BUCKET_NAME_CHARS_MAX} characters without a slash"
        )
    return name


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError(f"expected auto or a region such as eu-central-1, got {shown(text)}")
    return text


def _http_url(text: str) -> str:
    """An absolute http or https URL without user, query and fragment. Errors never repeat it: it may hold a secret."""
    try:
        parts = urlsplit(text.strip())
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("expected a URL such as https://example.org/data/") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected a URL that begins with http:// or https:// and names a host")
    if "@" in parts.netloc:
        raise ValueError("a user or password in a URL ends up in logs: remove it")
    if "?" in text or "#" in text:
        raise ValueError("expected a URL without a query (?) and without a fragment (#)")
    if not port_ok or not _HOST.fullmatch(parts.netloc.lower()):
        raise ValueError("expected a host name in ASCII (xn--… for others) and, if any, a port from 1 to 65535")
    if not _URL_PATH.fullmatch(parts.path):
        raise ValueError("expected a percent-encoded path: a blank is %20")
    if any(segment in {".", ".."} for segment in parts.path.lower().replace("%2e", ".").split("/")):
        raise ValueError("expected a path without the segments . and ..")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))


def _base_url(text: str) -> str:
    url = _http_url(text)
    return url if url.endswith("/") else f"{url}/"


def _bare_url(text: str) -> str:
    return _http_url(text).rstrip("/")


def _origin_url(text: str) -> str:
    url = _bare_url(text)
    if urlsplit(url).path:
        raise ValueError("expected a URL without a path, such as http://proxy.example.org:3128")
    return url


def _host_name(text: str) -> str:
    host = text.strip().lower()
    if not _HOST.fullmatch(host):
        raise ValueError(f"expected a host name or address, with or without :port, got {shown(text)}")
    return host


Bytes = Annotated[
    int,
    _text_first(parse_size, int, "a size such as 256KiB"),
    Field(ge=0),
    PlainSerializer(format_size, when_used="json"),
]
"""A size: `256KiB` in text, bytes inside."""

Seconds = Annotated[
    float,
    _text_first(parse_duration, (int, float), "a duration such as 15s"),
    Field(ge=0, allow_inf_nan=False),
    PlainSerializer(format_duration, when_used="json"),
]
"""A duration: `15s` in text, seconds inside."""

ListenAddress = Annotated[
    TcpAddress | UnixAddress,
    _text_first(parse_address, (TcpAddress, UnixAddress), "host:port, [IPv6]:port or unix:/path.sock"),
    PlainSerializer(str, when_used="json"),
]
LocalPath = Annotated[Path, BeforeValidator(_local_path)]
ObjectPattern = Annotated[str, AfterValidator(_pattern)]
ProviderName = Annotated[str, AfterValidator(_provider_name)]
BucketName = Annotated[str, AfterValidator(bucket_name)]
Region = Annotated[str, AfterValidator(_region)]
HostName = Annotated[str, AfterValidator(_host_name)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""A URL beneath which objects lie; always ends in `/`."""
EndpointUrl = Annotated[str, AfterValidator(_bare_url)]
"""A URL that buckets are appended to; never ends in `/`."""
OriginUrl = Annotated[str, AfterValidator(_origin_url)]
"""Scheme, host and port alone."""

ONE_IS_A_LIST: Final = BeforeValidator(_one_is_a_list)
EMPTY_IS_NOTHING: Final = BeforeValidator(_empty_is_nothing)

Secret = Annotated[SecretStr, Field(min_length=1)]
ResponseHeaders = Literal["safe", "all"]
Command = Annotated[str | tuple[str, ...], Field(min_length=1)]
ListingMode = Literal["auto", "off"]
