"""The Azure provider against a real server that checks signatures, beyond the contract, which is in test_conformance.

Azurite has no versions of blobs; what is asked for those is in test_azure_dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.aio.budget import RetryBudget
from rangecache.aio.clock import SystemClock
from rangecache.errors import (
    GenerationGone,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.origin.base import NotModified
from rangecache.origin.credentials import Anonymous, Credentials
from rangecache.origin.listing import list_all
from rangecache.origin.providers.azure import AzureBucket, AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.providers.azure_credentials import from_account_key, from_sas
from rangecache.origin.retry import Retrying
from rangecache.origin.size_first import SizeFirst
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.testing.suites import content, read
from tests.azurite_server import AZURE_ACCOUNT, Azurite
from tests.emulators import PRIVATE, PUBLIC

if TYPE_CHECKING:
    from rangecache.origin.providers.azure_signing import AzureCredential

pytestmark = pytest.mark.emulator

CLOCK = SystemClock()  # signatures hold for 15 minutes of real time


def ref(key: str, bucket: str = PRIVATE, version: str | None = None) -> ObjectRef:
    return ObjectRef("az", bucket, key, version)


def connect(session, azurite: Azurite, credentials: Credentials[AzureCredential], **buckets: AzureBucket) -> Retrying:
    dialect = AzureDialect(
        endpoint=Endpoint.parse(azurite.tapped), credentials=credentials, clock=CLOCK, buckets=buckets
    )
    web = WebStore(session, dialect, clock=CLOCK, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))
    budget = RetryBudget(ratio=0.1, min_per_second=1, burst=100, clock=CLOCK)
    return Retrying(SizeFirst(web), budget=budget, clock=CLOCK, attempts=2)  # it closes connections after 5 s


def with_key(azurite: Azurite, key: str | None = None) -> Credentials[AzureCredential]:
    return from_account_key(azurite.account, key or azurite.key, clock=CLOCK)


@pytest.fixture
def store(session, azurite: Azurite) -> Retrying:
    azurite.tap.clear()
    return connect(session, azurite, with_key(azurite))


async def test_one_read_is_one_request(azurite: Azurite, store: Retrying) -> None:
    azurite.put(PRIVATE, "once", b"0123456789")
    _, _, body = await read(store, ref("once"), ByteRange(2, 5))
    assert body == b"234"
    assert [(each.method, each.target, each.headers["range"]) for each in azurite.tap.requests] == [
        ("GET", f"/{AZURE_ACCOUNT}/{PRIVATE}/once", "bytes=2-4")
    ]


async def test_a_suffix_is_asked_for_by_the_size_and_pinned(azurite: Azurite, store: Retrying) -> None:
    tag = azurite.put(PRIVATE, "tail", b"0123456789")
    meta, got, body = await read(store, ref("tail"), SuffixRange(3))
    assert (got, body) == (ByteRange(7, 10), b"789")
    assert (await read(store, ref("tail"), SuffixRange(2), if_match=meta))[2] == b"89"
    assert [
        (each.method, each.headers.get("range"), each.headers.get("if-match")) for each in azurite.tap.requests
    ] == [("HEAD", None, None), ("GET", "bytes=7-9", tag), ("GET", "bytes=8-9", tag)]


async def test_the_metadata_is_that_of_the_writer(azurite: Azurite, store: Retrying) -> None:
    tag = azurite.put(PRIVATE, "meta", b"packed", Content_Type="image/tiff", x_ms_blob_content_encoding="gzip")
    meta = await store.head(ref("meta"))
    assert isinstance(meta, ObjectMeta)
    assert (str(meta.e_tag), meta.validator) == (tag, f"etag {tag}")
    assert (meta.size, meta.content_encoding, meta.headers["content-type"]) == (6, "gzip", "image/tiff")
    assert meta.source == f"azure {azurite.tapped} {PRIVATE}"
    assert meta.last_modified is not None


async def test_a_pin_is_refused_by_the_server_itself_after_an_overwrite(azurite: Azurite, store: Retrying) -> None:
    azurite.put(PRIVATE, "pin", content("old", 1000))
    old, _, _ = await read(store, ref("pin"), ByteRange(0, 10))
    azurite.put(PRIVATE, "pin", content("new", 1000))
    azurite.tap.clear()
    with pytest.raises(GenerationGone):
        await read(store, ref("pin"), ByteRange(0, 10), if_match=old)
    assert [each.headers["if-match"] for each in azurite.tap.requests] == [str(old.e_tag)]


async def test_an_unchanged_blob_is_not_sent_again(azurite: Azurite, store: Retrying) -> None:
    azurite.put(PRIVATE, "same", b"0123456789")
    known = await store.head(ref("same"))
    assert isinstance(known, ObjectMeta)
    async with store.get(ref("same"), range=ByteRange(0, 5), if_none_match=known) as answer:
        assert isinstance(answer, NotModified)
    async with store.get(ref("same"), range=SuffixRange(5), if_none_match=known) as answer:
        assert isinstance(answer, NotModified)


async def test_a_snapshot_is_another_object_than_the_blob(azurite: Azurite, store: Retrying) -> None:
    azurite.put(PRIVATE, "snap", b"before")
    moment = azurite.snapshot(PRIVATE, "snap")
    azurite.put(PRIVATE, "snap", b"after")
    before, _, old = await read(store, ref("snap", version=f"snapshot={moment}"))
    after, _, new = await read(store, ref("snap"))
    assert (old, new) == (b"before", b"after")
    assert before.generation != after.generation
    with pytest.raises(NotFound):
        await read(store, ref("snap", version="snapshot=2020-01-01T00:00:00.0000000Z"))


async def test_a_wrong_key_says_whose_it_is_and_nothing_of_it(session, azurite: Azurite) -> None:
    store = connect(session, azurite, with_key(azurite, "Y2FuYXJ5LWtleQ=="))
    with pytest.raises((Unauthenticated, PermissionDenied), match=f"the key of account {AZURE_ACCOUNT}") as caught:
        await read(store, ref("once"))
    assert "Y2FuYXJ5" not in str(caught.value)


async def test_a_sas_token_reads_and_lists_and_never_shows(session, azurite: Azurite) -> None:
    token = azurite.sas()
    store = connect(session, azurite, from_sas(f"?{token}", clock=CLOCK))
    azurite.put(PRIVATE, "by/sas", b"0123456789")
    assert (await read(store, ref("by/sas"), ByteRange(2, 5)))[2] == b"234"
    assert [each.key async for page in list_all(store, ref("by/")) for each in page.objects] == ["by/sas"]
    expired = connect(session, azurite, from_sas(azurite.sas(se="2020-01-01T00:00:00Z"), clock=CLOCK))
    with pytest.raises((Unauthenticated, PermissionDenied), match="the SAS token of the configuration") as caught:
        await read(expired, ref("by/sas"))
    assert "sig" not in str(caught.value)
    meta = await store.head(ref("by/sas"))
    assert isinstance(meta, ObjectMeta)
    assert "sig" not in meta.source


async def test_anybody_reads_a_public_container_and_nobody_a_private_one(session, azurite: Azurite) -> None:
    store = connect(session, azurite, Anonymous())
    azurite.put(PUBLIC, "shared", b"for all")
    azurite.put(PRIVATE, "mine", b"for me")
    azurite.tap.clear()
    assert (await read(store, ref("shared", PUBLIC), SuffixRange(3)))[2] == b"all"
    with pytest.raises(PermissionDenied, match=r"without credentials.*Storage Blob Data Reader"):
        await read(store, ref("mine"))
    with pytest.raises(NotFound, match="BlobNotFound"):
        await read(store, ref("absent", PUBLIC))
    assert all("authorization" not in each.headers for each in azurite.tap.requests)


async def test_an_anonymous_bucket_carries_no_credentials_though_there_are_some(session, azurite: Azurite) -> None:
    store = connect(
        session,
        azurite,
        with_key(azurite),
        open=AzureBucket(PUBLIC, anonymous=True),
        closed=AzureBucket(PRIVATE),
    )
    azurite.put(PUBLIC, "shared", b"for all")
    azurite.put(PRIVATE, "mine", b"for me")
    azurite.tap.clear()
    assert (await read(store, ref("shared", "open")))[2] == b"for all"
    assert (await read(store, ref("mine", "closed")))[2] == b"for me"
    assert ["authorization" in each.headers for each in azurite.tap.requests] == [False, True]


async def test_a_missing_container_is_not_found(store: Retrying) -> None:
    with pytest.raises(NotFound, match="ContainerNotFound"):
        await read(store, ref("x", "no-such-container"))


async def test_the_containers_of_the_account_are_listed(store: Retrying) -> None:
    page = await store.bucket_page("az")
    assert {PRIVATE, PUBLIC} <= set(page.names)
    assert page.next is None


async def test_a_listing_gives_folders_tags_and_dates(azurite: Azurite, store: Retrying) -> None:
    tag = azurite.put(PRIVATE, "tree/a", b"1")
    for key in ("tree/b/one", "tree/b/two", "tree/c&<d>/x", "tree/e f"):
        azurite.put(PRIVATE, key, b"12")
    page = await store.list_page(ref("tree/"), delimiter="/")
    assert [(each.key, each.size) for each in page.objects] == [("tree/a", 1), ("tree/e f", 2)]
    assert str(page.objects[0].e_tag) == tag
    assert page.objects[0].last_modified is not None
    assert page.prefixes == ["tree/b/", "tree/c&<d>/"]


async def test_the_key_is_in_no_request_and_no_repr(azurite: Azurite, store: Retrying) -> None:
    await store.bucket_page("az")
    assert azurite.key not in repr(azurite.tap.requests)
    assert azurite.key not in repr((store, vars(store), with_key(azurite)))
