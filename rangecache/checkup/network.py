"""The way to a host: its name, a connection, its certificate. Nothing is asked over it: requests are the stores'."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rangecache.aio.deadline import Deadline
from rangecache.checkup.step import Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rangecache.aio.clock import Clock
    from rangecache.checkup.step import Figure

NAME_TIMEOUT_S: Final = 10.0
TLS_TIMEOUT_S: Final = 10.0
EXPIRES_SOON_S: Final = 14 * 86_400.0
ADDRESSES_SHOWN: Final = 4
# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})


class Host(NamedTuple):
    """Where requests go first."""

    scheme: str
    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Network:
    """Tries hosts as requests would reach them, each step within its own time."""

    def __init__(
        self, clock: Clock, *, connect_timeout_s: float, tls: ssl.SSLContext, ca_file: Path | None = None
    ) -> None:
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._authorities = "this system's authorities" + ("" if ca_file is None else f" and those in {ca_file}")

    async def look(self, host: Host, role: str = "") -> list[Step]:
        """Name, connection and TLS; `role` is what the host is, where it is not the origin itself."""
        of = f"{host} {role}".strip()
        named = await self._resolve(host, of)
        if named.result == "failed":
            return [named, _skipped("connect", of, "the name has no address"), _skipped("tls", of, "no connection")]
        connected = await self._connect(host, of)
        if connected.result == "failed":
            return [named, connected, _skipped("tls", of, "there is no connection")]
        return [named, connected, await self._prove(host, of)]

    async def _resolve(self, host: Host, of: str) -> Step:
        with suppress(ValueError):
            return Step("name", of, "ok", f"{ipaddress.ip_address(host.name)} is an address itself")
        began = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        try:
            async with Deadline(self._clock, NAME_TIMEOUT_S):
                found = await loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            return Step(
                "name", of, "failed", f"no name server answered within {NAME_TIMEOUT_S:g} s; look at its address"
            )
        except (OSError, UnicodeError):
            return Step(
                "name",
                of,
                "failed",
                f"the name {host.name} has no address here; look for a slip of the pen, and at DNS",
            )
        ms = (self._clock.monotonic() - began) * 1000
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        more = f" and {len(addresses) - ADDRESSES_SHOWN} more" if len(addresses) > ADDRESSES_SHOWN else ""
        said = f"{', '.join(addresses[:ADDRESSES_SHOWN])}{more}, found in {ms:.0f} ms"
        return Step("name", of, "ok", said, {"time_ms": ms, "address": addresses[0], "addresses_count": len(addresses)})

    async def _connect(self, host: Host, of: str) -> Step:
        began = self._clock.monotonic()
        try:
            async with Deadline(self._clock, self._connect_timeout_s):
                _, writer = await asyncio.open_connection(host.name, host.port)
        except TimeoutError:
            return Step(
                "connect",
                of,
                "failed",
                f"no answer within {self._connect_timeout_s:g} s: a firewall or a security group drops it, or the host"
                " is down; if it is only far away, raise fetch.connect_timeout",
            )
        except ConnectionRefusedError:
            said = f"the connection is refused: nothing listens at port {host.port}; look at the address"
            return Step("connect", of, "failed", said)
        except OSError as error:
            return Step("connect", of, "failed", f"there is no way to it from here ({error.strerror or 'no route'})")
        ms = (self._clock.monotonic() - began) * 1000
        peer = writer.get_extra_info("peername")
        writer.transport.abort()
        address = str(peer[0]) if peer else host.name
        return Step("connect", of, "ok", f"{address} answered in {ms:.0f} ms", {"time_ms": ms, "address": address})

    async def _prove(self, host: Host, of: str) -> Step:
        if host.scheme != "https":
            return _skipped("tls", of, "the address is plain http")
        began = self._clock.monotonic()
        try:
            async with Deadline(self._clock, TLS_TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    host.name, host.port, ssl=self._tls, server_hostname=host.name
                )
        except TimeoutError:
            said = f"no handshake within {TLS_TIMEOUT_S:g} s; look whether port {host.port} is one that speaks TLS"
            return Step("tls", of, "failed", said)
        except ssl.SSLCertVerificationError as error:
            return Step("tls", of, "failed", self._refusal(host, error))
        except OSError:  # SSLError too
            said = "the handshake broke off; what listens there may speak plain http, or only versions before TLS 1.2"
            return Step("tls", of, "failed", said)
        ms = (self._clock.monotonic() - began) * 1000
        certificate: dict[str, Any] = writer.get_extra_info("peercert") or {}
        tls = writer.get_extra_info("ssl_object")
        version = str(tls.version()) if tls is not None else "TLS"
        writer.transport.abort()
        return self._certified(of, certificate, version, ms)

    def _certified(self, of: str, certificate: dict[str, Any], version: str, ms: float) -> Step:
        left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - self._clock.wall()
        days = left_s / 86_400
        issuer = _name(certificate.get("issuer", ()))
        figures: dict[str, Figure] = {"time_ms": ms, "version": version, "expires_in_days": days, "issuer": issuer}
        said = f"{version} in {ms:.0f} ms; certificate by {issuer} for {days:.0f} more days; {self._authorities} count"
        if left_s < EXPIRES_SOON_S:
            return Step("tls", of, "warning", f"{said}: it should have been renewed by now", figures)
        return Step("tls", of, "ok", said, figures)

    def _refusal(self, host: Host, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in _OTHER_NAME:
            return f"its certificate is another host's and not that of {host.name}; look at the address, and at proxies"
        if error.verify_code == _EXPIRED:
            return (
                f"the certificate of {host.name} has expired; whoever runs it has to renew it (or this clock is wrong)"
            )
        if error.verify_code == _NOT_YET_VALID:
            return f"the certificate of {host.name} is not valid yet; this machine's clock may be wrong"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return (
                f"none of {self._authorities} vouches for {host.name}; if a private authority does, or a proxy that"
                " looks into TLS, set egress.ca_file to its certificate"
            )
        return f"the certificate of {host.name} is refused ({error.verify_message})"


def _name(issuer: Sequence[Sequence[tuple[str, str]]]) -> str:
    told = {field: text for part in issuer for field, text in part}
    return told.get("organizationName") or told.get("commonName") or "an authority without a name"


def _skipped(name: str, of: str, why: str) -> Step:
    return Step(name, of, "skipped", why)
