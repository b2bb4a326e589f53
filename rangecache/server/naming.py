"""How people and files name objects, besides by the data port's addresses. Pure.

* `http://127.0.0.1:8080/s3/bucket/a%20key` and `/s3/bucket/a%20key`: an address of the data port, whichever host;
* `s3://bucket/a key`: a provider's name as the scheme, as other tools write it, not percent-encoded;
* `s3/bucket/a key`: provider, bucket and key as they are called, not percent-encoded.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from rangecache.errors import BadRequest

_MALFORMED_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ADDRESS: Final = re.compile(r"https?://[^/?#]+(/[^#]*)?", re.ASCII | re.IGNORECASE)
_SCHEME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.+-]*)://(.*)", re.ASCII | re.DOTALL)


def target_of(name: str) -> bytes:
    """The target by which the data port would be asked for it. Raises `BadRequest` for what is no text."""
    if (address := _ADDRESS.fullmatch(name)) is not None:
        return _raw(address[1] or "/")
    if name.startswith("/"):
        return _raw(name)
    if (scheme := _SCHEME.fullmatch(name)) is not None:
        name = f"{scheme[1]}/{scheme[2]}"
    try:
        provider, bucket, *key = (quote(part, safe="/") for part in name.split("/", 2))
    except UnicodeEncodeError:
        raise BadRequest("The name is not valid Unicode.") from None
    except ValueError:
        raise BadRequest("Write provider/bucket/key.") from None
    if not key:
        return f"/{provider}/{bucket}".encode()
    # In an address a final slash means a listing; here every character belongs to the key.
    ending = "%2F" if key[0].endswith("/") else ""
    return f"/{provider}/{bucket}/{key[0].removesuffix('/') if ending else key[0]}{ending}".encode()


def name_of(name: str) -> str:
    """The name as it is called, `provider/bucket/key`, whatever form it was given in; or a beginning of such a name,
    also of one that is not configured now. Raises `BadRequest`."""
    if (address := _ADDRESS.fullmatch(name)) is not None:
        return _called(address[1] or "/")
    if name.startswith("/"):
        return _called(name)
    if (scheme := _SCHEME.fullmatch(name)) is not None:
        return f"{scheme[1]}/{scheme[2]}"
    return name


def _called(path: str) -> str:
    if "?" in path:
        raise BadRequest("Leave the query away: an object is meant in all its versions.")
    if _MALFORMED_PERCENT.search(path):
        raise BadRequest("A '%' in the address is not followed by two hexadecimal digits; write %25 for a '%'.")
    provider, *rest = (unquote_to_bytes(part) for part in path.removeprefix("/").split("/", 2))
    if b"/" in provider or (rest and b"/" in rest[0]):
        raise BadRequest("An encoded slash stands in the name of the provider or bucket; write provider/bucket/key.")
    try:
        return b"/".join([provider, *rest]).decode()
    except UnicodeDecodeError:
        raise BadRequest("The address is not UTF-8 once it is percent-decoded.") from None


def _raw(target: str) -> bytes:
    try:
        return target.encode("ascii")
    except UnicodeEncodeError:
        raise BadRequest("Percent-encode what is not ASCII in an address, or write provider/bucket/key.") from None
