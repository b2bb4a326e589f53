"""What proves who asks at Azure, and how a request carries it: Shared Key, shared access signature, bearer token. Pure.

"Authorize with Shared Key" of the Azure Storage REST reference, for the Blob service from version 2015-02-21 on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from rangecache.httpdate import format_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION: Final = "2023-11-03"  # of every request; a later one may answer otherwise
# In the order in which their values are signed. Date is left empty: x-ms-date takes its place.
_SIGNED: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass(frozen=True, slots=True)
class AccountKey:
    """One of an account's two keys. Its `repr` shows nothing of it."""

    account: str
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, account: str, text: str) -> AccountKey:
        """A key as the portal shows it, in Base64. Raises ValueError, which does not repeat it."""
        try:
            return cls(account, base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("the account key is not Base64") from None


@dataclass(frozen=True, slots=True)
class Sas:
    """A shared access signature. Its `repr` shows nothing of it."""

    query: str = field(repr=False)
    """Without its question mark, as it stands in an address."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token of Microsoft Entra ID. Its `repr` shows nothing of it."""

    token: str = field(repr=False)


AzureCredential = AccountKey | Sas | Bearer


def prove(
    method: str, url: str, headers: Mapping[str, str], credential: AzureCredential | None, *, now_s: float
) -> tuple[str, dict[str, str]]:
    """Address and headers of a request that carries `credential`. `now_s` counts from 1970, UTC."""
    sent = {**headers, "x-ms-version": API_VERSION}
    match credential:
        case AccountKey():
            sent["x-ms-date"] = format_http_date(datetime.fromtimestamp(now_s, UTC))
            signature = sign(credential.key, string_to_sign(method, url, sent, credential.account))
            sent["Authorization"] = f"SharedKey {credential.account}:{signature}"
        case Bearer(token):
            sent["Authorization"] = f"Bearer {token}"
        case Sas(query):
            url = f"{url}{'&' if '?' in url else '?'}{query}"
    return url, sent


def sign(key: bytes, text: str) -> str:
    """The signature of a text: HMAC-SHA256 in Base64."""
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def string_to_sign(method: str, url: str, headers: Mapping[str, str], account: str) -> str:
    """What Shared Key signs of a request without a body."""
    given = {name.lower(): value.strip() for name, value in headers.items()}
    own = sorted((name, value) for name, value in given.items() if name.startswith("x-ms-"))
    parts = urlsplit(url)
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        fields.setdefault(name.lower(), []).append(value)
    return "\n".join(
        [
            method,
            *(given.get(name, "") for name in _SIGNED),
            *(f"{name}:{value}" for name, value in own),
            f"/{account}{parts.path or '/'}",
            *(f"{name}:{','.join(sorted(values))}" for name, values in sorted(fields.items())),
        ]
    )
