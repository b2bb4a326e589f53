"""One GET to an address that gives out keys. Blocks; bounded in time and bytes; follows no redirect; asks no proxy.

botocore's own fetcher asks three times with pauses and reads without a bound.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rangecache.origin.credentials import CredentialsUnavailable

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT_BYTES_MAX: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 2.0
TIMEOUT_S: Final = 10.0
# Of EKS Pod Identity over IPv6; its other addresses are link-local, and so is that of containers.
_POD_IDENTITY: Final = ipaddress.ip_address("fd00:ec2::23")


def fetch_document(url: str, token: str | None, *, ca_file: Path | None = None) -> bytes:
    """The document at `url`; `token` is the value of Authorization. Raises `CredentialsUnavailable`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and not may_be_asked_in_clear(host):
        raise CredentialsUnavailable(f"{url} would give keys over the network in clear; use https")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise CredentialsUnavailable("the token for it is not one line of text")
    headers = {"Accept": "application/json"} | ({} if token is None else {"Authorization": token})
    try:
        connection = _connection(parts.scheme, host, parts.port, ca_file)
        try:
            connection.connect()
            connection.sock.settimeout(TIMEOUT_S)
            connection.request("GET", parts.path or "/", headers=headers)
            response = connection.getresponse()
            document = _read(response)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        # Its message names the reason and the host's name, nothing else.
        raise CredentialsUnavailable(f"the certificate of {url} is not accepted ({error.verify_message})") from error
    except (OSError, http.client.HTTPException) as error:
        raise CredentialsUnavailable(f"{url} does not answer ({type(error).__name__})") from error
    if response.status != 200:
        raise CredentialsUnavailable(f"{url} answered {response.status}")
    return document


def may_be_asked_in_clear(host: str) -> bool:
    """Whether what is said to this host stays on this machine or its link."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address == _POD_IDENTITY


def _connection(scheme: str, host: str, port: int | None, ca_file: Path | None) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_S)
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    return http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT_S, context=context)


def _read(response: http.client.HTTPResponse) -> bytes:
    deadline_s = time.monotonic() + TIMEOUT_S
    document = bytearray()
    while chunk := response.read1(16 * 1024):
        document += chunk
        if len(document) > DOCUMENT_BYTES_MAX or time.monotonic() > deadline_s:
            raise CredentialsUnavailable("the document is too long, or comes too slowly")
    return bytes(document)
