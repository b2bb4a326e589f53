"""How sizes, durations and addresses are written. Pure: text in, number or address out, and back.

Every parser raises ValueError with a sentence that says what was expected and what there was instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address
from typing import Final

_SIZE: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,6})?) ?(B|KiB|MiB|GiB|TiB)?", re.ASCII)
_SIZE_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE_BYTES_MAX: Final = 1 << 60  # 1 EiB: what is larger is a slip of the pen
_DURATION: Final = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,6})? ?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"([0-9.]+) ?(ms|s|m|h|d)", re.ASCII)
_DURATION_UNITS: Final = {"d": 86400_000, "h": 3600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION_S_MAX: Final = 100 * 365 * 86400.0  # a hundred years: what is longer would be `immutable`
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_PORT_MAX: Final = 65535
_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path of Linux, less the final zero; macOS has four fewer


def parse_size(text: str) -> int:
    """`256KiB`, `1.5 GiB`, `4096` (bytes) → bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a size such as 256KiB, 64MiB or 10GiB, got {shown(text)}")
    size = int(Decimal(match[1]) * _SIZE_UNITS[match[2] or "B"])
    if size > _SIZE_BYTES_MAX:
        raise ValueError(f"expected a size up to {format_size(_SIZE_BYTES_MAX)}, got {shown(text)}")
    return size


def format_size(size: int) -> str:
    """The shortest exact way to write so many bytes."""
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def parse_duration(text: str) -> float:
    """`250ms`, `15s`, `1h30m`, `0` → seconds. A bare number has no unit and is refused."""
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    if not _DURATION.fullmatch(stripped):
        hint = f"; write {stripped}s for seconds" if stripped.isascii() and stripped.isdigit() else ""
        raise ValueError(f"expected a duration such as 250ms, 15s, 5m, 24h or 7d, got {shown(text)}{hint}")
    parts = _DURATION_PART.findall(stripped)
    seconds = float(sum(Decimal(number) * _DURATION_UNITS[unit] for number, unit in parts) / 1000)
    if seconds > _DURATION_S_MAX:
        raise ValueError(f"expected a duration up to 36500d, got {shown(text)}")
    return seconds


def format_duration(seconds: float) -> str:
    """So many seconds, exact to the millisecond, in the largest unit of which there are three: `120s`, but `5m`."""
    milliseconds = round(seconds * 1000)
    for unit, factor in _DURATION_UNITS.items():
        if milliseconds and milliseconds % factor == 0 and (milliseconds >= 3 * factor or factor == 1):
            return f"{milliseconds // factor}{unit}"
    return "0s"


def shown(text: str, *, chars_max: int = 80) -> str:
    """`text` as an error repeats it: short, and on one line."""
    if not text.strip():
        return "nothing"
    line = "".join(char if char.isprintable() else "?" for char in text)
    return line if len(line) <= chars_max else f"{line[:chars_max]}…"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen: one address or name of this machine, and a port."""

    host: str
    """An IP address (IPv6 without brackets) or a name; `0.0.0.0` or `::` for all addresses."""
    port: int
    """0: the system chooses a free one."""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can connect. A name other than localhost is not looked up: it may
        mean something else tomorrow."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """Where to listen: a socket in the file system, guarded by its folder's permissions."""

    path: str
    is_loopback = True
    """No other machine can connect."""

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:0`, `unix:/run/rangecache.sock`."""
    stripped = text.strip()
    if stripped.startswith("unix:"):
        path = stripped.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError(f"expected an absolute path, as in unix:/run/rangecache.sock, got {shown(text)}")
        if len(path.encode()) > _SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"expected a socket path of at most {_SOCKET_PATH_BYTES_MAX} bytes: a longer one fails")
        return UnixAddress(path)
    host, colon, port = stripped.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= _PORT_MAX):
        raise ValueError(f"expected host:port, [IPv6]:port or unix:/path.sock, got {shown(text)}")
    if not host:
        raise ValueError(f"expected a host before the port, as 127.0.0.1:{port}, or 0.0.0.0:{port} for all addresses")
    return TcpAddress(_host(host, text), int(port))


def _host(host: str, text: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        # Digits and dots alone are an address with a slip in it, never a name.
        if bracketed or not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise ValueError(f"expected host:port, [IPv6]:port or unix:/path.sock, got {shown(text)}") from None
        return host.lower()
    if (address.version == 6) is not bracketed:
        raise ValueError(f"an IPv6 address, and no other, stands in brackets, as in [::1]:8080; got {shown(text)}")
    return str(address)
