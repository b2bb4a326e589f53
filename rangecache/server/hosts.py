"""Which `Host` values are ours.

A web page can make a browser talk to a loopback port: its own name is made to resolve to 127.0.0.1 (DNS rebinding),
and then the browser believes that the page and the proxy are of one origin. What the page cannot forge is the `Host`
header, which still carries the page's name. So both ports serve only names that are known to mean this program.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9110 section 7.2: Host = uri-host [ ":" port ]; RFC 3986 section 3.2.2 for the brackets. No userinfo, no zone.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::[0-9]{0,5})?", re.ASCII)
_LOOPBACK_V4: Final = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6: Final = IPv6Address("::1")
# The longest value that can match: a DNS name, a colon and five digits. Longer ones are not looked at.
_HOST_CHARS_MAX: Final = 253 + 6
# A client sends one spelling for ever. The bound only stops someone who walks through 127/8 and all ports.
_REMEMBERED_MAX: Final = 256


class HostGuard:
    """Decides whether a `Host` value is ours: a loopback name, or one of `names`; with any port or none.

    The port is not compared: it says nothing about who is asking, and a tunnel or container may have mapped another.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` are the bind address and `server.hosts`: names or addresses, IPv6 with or without brackets, a port is
        dropped. A wildcard (`0.0.0.0`, `::`) names no host and adds nothing. Raises ValueError for anything else."""
        self._names = {"localhost", *filter(None, (_configured(name) for name in names))}
        self._accepted: set[str | bytes] = set()

    def accepts(self, host: str | bytes) -> bool:
        """Whether a request with this `Host` may be served; the empty value may not. Never raises."""
        if host in self._accepted:
            return True
        if len(host) > _HOST_CHARS_MAX or not self._is_ours(host):
            return False
        if len(self._accepted) >= _REMEMBERED_MAX:
            self._accepted.clear()
        self._accepted.add(host)
        return True

    def _is_ours(self, host: str | bytes) -> bool:
        text = host if isinstance(host, str) else host.decode("latin-1")
        name = canonical_name(text)
        if name is None:
            return False
        return name in self._names or name == str(_LOOPBACK_V6) or _is_loopback_v4(name)


def canonical_name(host: str) -> str | None:
    """The name in a `Host` value in the one spelling that we compare: lower case, IPv6 as RFC 5952 writes it, without
    brackets and port. None if it is malformed.

    A trailing dot, a short form (`127.1`, `2130706433`) or a leading zero is kept as it is, and so is equal to nothing:
    clients resolve such spellings before they send them, those who send them raw are probing.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    v6, name = match.groups()
    if v6 is None:
        return name.lower()
    try:
        return str(IPv6Address(v6))
    except AddressValueError:
        return None


def _is_loopback_v4(name: str) -> bool:
    try:
        return IPv4Address(name) in _LOOPBACK_V4
    except AddressValueError:
        return False


def _configured(name: str) -> str | None:
    bracketed = f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name
    canonical = canonical_name(bracketed)
    if canonical is None:
        raise ValueError(f"{name!r} is not a host name or address; write it as in http://NAME/, without a path or user")
    return None if canonical in {"0.0.0.0", "::"} else canonical  # noqa: S104 - compared, not bound
