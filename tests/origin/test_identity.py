"""When versions at two origins are the same bytes: what counts for a proof, and what does not."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.origin.identity import checksums, same_bytes

DATA = b"some bytes"
MD5 = hashlib.md5(DATA).digest()
SHA256 = hashlib.sha256(DATA).digest()
DATE = datetime(2026, 1, 1, tzinfo=UTC)


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def meta(e_tag: str | None = None, **options: Any) -> ObjectMeta:
    fields: dict[str, Any] = {"size": len(DATA), "last_modified": DATE, "validator": "x", "source": "s", **options}
    return ObjectMeta(ObjectRef("p", "b", "k"), e_tag=None if e_tag is None else ETag.parse(e_tag), **fields)


MD5_AS_ETAG = meta(f'"{MD5.hex()}"', source="a s3 https://s3.example b")
SAID_BY = {
    "S3, by its ETag": MD5_AS_ETAG,
    "S3, as a web server": meta(f'"{MD5.hex()}"', headers={"x-amz-request-id": "1"}),
    "GCS": meta(headers={"x-goog-hash": f"crc32c=AAAAAA==, md5={b64(MD5)}"}),
    "Azure, beside a part": meta(headers={"x-ms-blob-content-md5": b64(MD5)}),
    "Azure, of the whole": meta(headers={"content-md5": b64(MD5)}),
    "RFC 9530": meta(headers={"repr-digest": f"sha-256=:{b64(SHA256)}:, md5=:{b64(MD5)}:"}),
}


@pytest.mark.parametrize("one", SAID_BY.values(), ids=SAID_BY)
@pytest.mark.parametrize("other", SAID_BY.values(), ids=SAID_BY)
def test_a_checksum_that_both_give_in_their_own_ways_is_a_proof(one: ObjectMeta, other: ObjectMeta) -> None:
    assert same_bytes("checksum", one, other)


NO_PROOF = {
    "an ETag of parts": meta(f'"{MD5.hex()}-2"'),
    "a weak ETag": meta(f'W/"{MD5.hex()}"'),
    "no checksum": meta('"v1"'),
    "32 bits": meta(headers={"x-goog-hash": "crc32c=AAAAAA=="}),
    "no base64": meta(headers={"x-goog-hash": "md5=!!"}),
    "a short one": meta(headers={"x-goog-hash": "md5=AAAA"}),
    "another algorithm": meta(headers={"repr-digest": f"sha-256=:{b64(SHA256)}:"}),
    "an ETag of a web server": meta(f'"{MD5.hex()}"', source="b https://web.example/"),
    "another length": meta(f'"{MD5.hex()}"', size=len(DATA) + 1),
    "another coding": meta(f'"{MD5.hex()}"', content_encoding="gzip"),
    "another content": meta(f'"{hashlib.md5(b"other").hexdigest()}"'),
    "a checksum of checksums": meta(headers={"x-amz-checksum-sha256": f"{b64(SHA256)}-4"}),
}


@pytest.mark.parametrize("other", NO_PROOF.values(), ids=NO_PROOF)
def test_what_is_no_proof(other: ObjectMeta) -> None:
    assert not same_bytes("checksum", MD5_AS_ETAG, other)
    assert not same_bytes("checksum", other, MD5_AS_ETAG)


def test_all_common_checksums_have_to_agree() -> None:
    wrong = hashlib.sha256(b"other").digest()
    one = meta(headers={"repr-digest": f"sha-256=:{b64(SHA256)}:", "content-md5": b64(MD5)})
    other = meta(headers={"x-amz-checksum-sha256": b64(wrong), "content-md5": b64(MD5)})
    assert checksums(other) == {"sha-256": wrong, "md5": MD5}
    assert not same_bytes("checksum", one, other)


def test_the_other_policies() -> None:
    one, other = meta('"a"'), meta('"b"')
    assert same_bytes("declared", one, other)
    assert same_bytes("size+mtime", one, other)
    assert not same_bytes("none", one, one)
    later = meta('"b"', last_modified=DATE + timedelta(seconds=1))
    assert same_bytes("declared", one, later)
    assert not same_bytes("size+mtime", one, later)
    assert not same_bytes("size+mtime", meta(last_modified=None), meta(last_modified=None))
    assert not same_bytes("declared", one, meta('"b"', size=1))
