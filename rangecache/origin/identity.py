"""When two versions at two origins are the same bytes. Pure.

Validators of two origins never compare: an ETag is an opaque word of the one who gave it. So that a read may go on at
another replica it takes a proof, or the operator's word:

* `checksum`: the same length, and a checksum of all bytes that both give, long enough that no two contents share it.
  Checksums of 32 bits (CRC32C, which is all that Google gives for composed objects) are no such proof.
* `size+mtime`: the same length and the same Last-Modified, as tools that copy files with their times leave them.
* `declared`: the same length; the operator vouches that one name means one content.
* `none`: never.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.model import ObjectMeta

Policy = Literal["checksum", "size+mtime", "declared", "none"]

_HEX_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST_BYTES: Final = {"md5": 16, "sha-1": 20, "sha-256": 32, "sha-512": 64}
_AMZ_CHECKSUM: Final = "x-amz-checksum-"
# RFC 9530 section 2: a dictionary of byte sequences.
_REPR_DIGEST: Final = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*", re.ASCII)


def same_bytes(policy: Policy, one: ObjectMeta, other: ObjectMeta) -> bool:
    """Whether these two are known to be the same bytes."""
    if policy == "none" or one.size != other.size or one.content_encoding != other.content_encoding:
        return False
    if policy == "declared":
        return True
    if policy == "size+mtime":
        return one.last_modified is not None and one.last_modified == other.last_modified
    return agree(checksums(one), checksums(other))


def agree(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> bool:
    """Whether there is a common checksum and all common ones are equal."""
    common = one.keys() & other.keys()
    return bool(common) and all(one[name] == other[name] for name in common)


def checksums(meta: ObjectMeta) -> dict[str, bytes]:
    """Checksums of the whole object, by algorithm.

    An ETag of 32 hex digits of S3 is taken for an MD5, which it is where an object was put in one piece without a KMS
    key; where it is none it is equal to no MD5 of an equally long object, so a proof never comes of it. Of a web server
    it may be an MD5 of the file's date and length, as Starlette makes it, which two contents can share.
    """
    found: dict[str, bytes] = {}
    for name, text in _told(meta.headers):
        digest = _decoded(text)
        if digest is not None and len(digest) == _DIGEST_BYTES.get(name):
            found.setdefault(name, digest)
    tag = meta.e_tag
    if "md5" not in found and tag is not None and not tag.weak and _speaks_s3(meta):
        opaque = tag.opaque.lower()
        if _HEX_MD5.fullmatch(opaque):
            found["md5"] = bytes.fromhex(opaque)
    return found


def _speaks_s3(meta: ObjectMeta) -> bool:
    """Whether it was read by that protocol, or from a web address of such a service."""
    return "s3" in meta.source.split() or any(name.startswith("x-amz-") for name in meta.headers)


def _told(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Algorithm and base64 text, of the headers that speak of the whole object. In metadata Content-MD5 is one of them:
    `WebStore` does not keep that of a part."""
    for field in headers.get("x-goog-hash", "").split(","):
        name, _, text = field.strip().partition("=")
        yield name, text
    yield "md5", headers.get("x-ms-blob-content-md5", "")  # Azure, beside a part
    yield "md5", headers.get("content-md5", "")
    for match in _REPR_DIGEST.finditer(headers.get("repr-digest", "")):
        yield ("sha-1" if match[1] == "sha" else match[1]), match[2]
    for header, text in headers.items():
        # "…-4" behind it: a checksum of the checksums of four parts.
        if header.startswith(_AMZ_CHECKSUM) and "-" not in text:
            yield header.removeprefix(_AMZ_CHECKSUM).replace("sha", "sha-"), text


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if text else None
    except (binascii.Error, ValueError):
        return None
