"""The S3 provider against a real server that checks signatures. What is read was written by botocore's own client."""

from __future__ import annotations

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.errors import GenerationGone, NotFound, PermissionDenied, Unauthenticated
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.origin.credentials import Anonymous, Credentials, Static
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_buckets import S3Bucket
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.origin.providers.s3_sdk import from_sdk
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.settings import Egress, S3Provider
from rangecache.testing.suites import content, read
from rangecache.wiring.s3 import s3_dialect
from tests.emulators import PRIVATE, PUBLIC, SECRET_KEY, SeaweedFS

pytestmark = pytest.mark.emulator


def ref(key: str, bucket: str = PRIVATE) -> ObjectRef:
    return ObjectRef("s3", bucket, key)


def static(seaweedfs: SeaweedFS) -> Static[S3Credentials]:
    return Static(S3Credentials(seaweedfs.access_key, seaweedfs.secret_key), STATIC)


def connect(session, seaweedfs: SeaweedFS, credentials: Credentials[S3Credentials], **options) -> WebStore:
    clock = SystemClock()  # signatures hold for 15 minutes of real time
    dialect = S3Dialect(endpoint=seaweedfs.tap.endpoint, credentials=credentials, clock=clock, **options)
    return WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))


@pytest.fixture
def store(session, seaweedfs: SeaweedFS) -> WebStore:
    seaweedfs.tap.clear()
    return connect(session, seaweedfs, static(seaweedfs))


async def test_its_buckets_are_listed(seaweedfs: SeaweedFS, store: WebStore) -> None:
    page = await store.bucket_page("s3")
    assert {PRIVATE, PUBLIC} <= set(page.names)
    assert page.next is None


async def test_one_read_is_one_request(seaweedfs: SeaweedFS, store: WebStore) -> None:
    seaweedfs.put(PRIVATE, "once", b"0123456789")
    _, _, body = await read(store, ref("once"), ByteRange(2, 5))
    assert body == b"234"
    assert [(each.method, each.target, each.headers["range"]) for each in seaweedfs.tap.requests] == [
        ("GET", f"/{PRIVATE}/once", "bytes=2-4")
    ]


async def test_the_metadata_is_that_of_the_writer(seaweedfs: SeaweedFS, store: WebStore) -> None:
    tag = seaweedfs.put(PRIVATE, "meta", b"packed", ContentType="image/tiff", ContentEncoding="gzip")
    meta = await store.head(ref("meta"))
    assert isinstance(meta, ObjectMeta)
    assert (str(meta.e_tag), meta.validator) == (tag, f"etag {tag}")
    assert (meta.size, meta.content_encoding, meta.headers["content-type"]) == (6, "gzip", "image/tiff")
    assert meta.source == f"s3 {seaweedfs.tap.endpoint} {PRIVATE}"
    assert meta.last_modified is not None


@pytest.mark.parametrize(
    "key", ["a//b", "deep///x", "trailing..", "..a/b..", "a/.b", "%2E%2E/x", "%", "\u00a0", "a\\b"]
)
async def test_what_botocore_wrote_under_an_odd_key_is_read_under_it(
    key: str, seaweedfs: SeaweedFS, store: WebStore
) -> None:
    seaweedfs.put(PRIVATE, key, key.encode())
    assert (await read(store, ref(key)))[2] == key.encode()


async def test_a_pin_is_refused_by_the_server_itself_after_an_overwrite(seaweedfs: SeaweedFS, store: WebStore) -> None:
    seaweedfs.put(PRIVATE, "pin", content("old", 1000))
    old, _, _ = await read(store, ref("pin"), ByteRange(0, 10))
    seaweedfs.put(PRIVATE, "pin", content("new", 1000))
    seaweedfs.tap.clear()
    with pytest.raises(GenerationGone):
        await read(store, ref("pin"), ByteRange(0, 10), if_match=old)
    assert [each.headers["if-match"] for each in seaweedfs.tap.requests] == [str(old.e_tag)]


async def test_a_wrong_secret_is_unauthenticated(session, seaweedfs: SeaweedFS) -> None:
    store = connect(session, seaweedfs, Static(S3Credentials(seaweedfs.access_key, "another-canary"), STATIC))
    with pytest.raises(Unauthenticated, match="static keys of the configuration") as caught:
        await read(store, ref("ready"))
    assert "SignatureDoesNotMatch" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_an_unknown_key_is_unauthenticated(session, seaweedfs: SeaweedFS) -> None:
    store = connect(session, seaweedfs, Static(S3Credentials("NOBODY", "another-canary"), STATIC))
    with pytest.raises(Unauthenticated, match="InvalidAccessKeyId"):
        await read(store, ref("ready"))


async def test_anybody_reads_a_public_bucket_and_nobody_a_private_one(session, seaweedfs: SeaweedFS) -> None:
    store = connect(session, seaweedfs, Anonymous())
    seaweedfs.put(PUBLIC, "shared", b"for all")
    seaweedfs.tap.clear()
    assert (await read(store, ref("shared", PUBLIC), SuffixRange(3)))[2] == b"all"
    with pytest.raises(PermissionDenied, match=r"without credentials.*s3:GetObject"):
        await read(store, ref("ready"))
    assert all("authorization" not in each.headers for each in seaweedfs.tap.requests)


async def test_an_anonymous_bucket_is_not_signed_for_though_there_are_keys(session, seaweedfs: SeaweedFS) -> None:
    store = connect(
        session,
        seaweedfs,
        static(seaweedfs),
        buckets={"open": S3Bucket(PUBLIC, anonymous=True), "closed": S3Bucket(PRIVATE)},
    )
    seaweedfs.put(PUBLIC, "shared", b"for all")
    seaweedfs.put(PRIVATE, "mine", b"for me")
    seaweedfs.tap.clear()
    assert (await read(store, ref("shared", "open")))[2] == b"for all"
    assert (await read(store, ref("mine", "closed")))[2] == b"for me"
    assert ["authorization" in each.headers for each in seaweedfs.tap.requests] == [False, True]
    assert [each.target for each in seaweedfs.tap.requests] == [f"/{PUBLIC}/shared", f"/{PRIVATE}/mine"]


async def test_a_missing_bucket_is_not_found(store: WebStore) -> None:
    with pytest.raises(NotFound, match="NoSuchBucket"):
        await read(store, ref("x", "no-such-bucket"))


async def test_the_secret_is_in_no_request_and_no_repr(seaweedfs: SeaweedFS, store: WebStore) -> None:
    await read(store, ref("ready"))
    assert SECRET_KEY not in repr(seaweedfs.tap.requests)
    assert SECRET_KEY not in repr((store, vars(store), static(seaweedfs), S3Credentials("a", SECRET_KEY)))


# --- as it is configured ------------------------------------------------------------------------------------------


async def test_preset_minio_reads_from_a_real_server(session, seaweedfs: SeaweedFS) -> None:
    keys = {"access_key_id": seaweedfs.access_key, "secret_access_key": seaweedfs.secret_key}
    given = {"kind": "s3", "preset": "minio", "endpoint": seaweedfs.tap.endpoint, "credentials": keys}
    clock = SystemClock()
    dialect = s3_dialect(S3Provider.model_validate(given), clock, Egress())
    store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(1, 10))
    seaweedfs.put(PRIVATE, "a b/+é", b"0123456789")
    assert (await read(store, ref("a b/+é"), ByteRange(2, 5)))[2] == b"234"
    page = await store.list_page(ref("a b/"), delimiter="/")
    assert [each.key for each in page.objects] == ["a b/+é"]
    await dialect.aclose()


@pytest.mark.parametrize("key_id", ["EXPIRED", None])
async def test_keys_of_the_environment_that_are_no_good_do_not_break_a_public_bucket(
    key_id: str | None, session, seaweedfs: SeaweedFS, aws_free: pytest.MonkeyPatch
) -> None:
    if key_id is not None:
        aws_free.setenv("AWS_ACCESS_KEY_ID", key_id)
        aws_free.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        aws_free.setenv("AWS_SESSION_TOKEN", "canary")
    credentials = from_sdk(clock=SystemClock())
    store = connect(session, seaweedfs, credentials)
    seaweedfs.put(PUBLIC, "for-all", b"for all")
    assert (await read(store, ref("for-all", PUBLIC)))[2] == b"for all"
    with pytest.raises((PermissionDenied, Unauthenticated)) as caught:
        await read(store, ref("ready"))
    assert "canary" not in str(caught.value)
    await credentials.aclose()


async def test_every_version_of_an_object_can_be_read_and_a_delete_marker_is_none(session, seaweedfs) -> None:
    bucket = "versioned"
    seaweedfs.create_bucket(bucket)
    seaweedfs.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = connect(session, seaweedfs, static(seaweedfs))
    ids = [
        seaweedfs.client.put_object(Bucket=bucket, Key="k", Body=text)["VersionId"]
        for text in (b"the first", b"the second")
    ]
    marker = seaweedfs.client.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for version, text in zip(ids, (b"the first", b"the second"), strict=True):
        meta, _, body = await read(store, ObjectRef("s3", bucket, "k", version), ByteRange(4, 9))
        assert body == text[4:9]
        assert meta.version == version
        assert (await store.head(ObjectRef("s3", bucket, "k", version))).size == len(text)
    for gone in (ObjectRef("s3", bucket, "k"), ObjectRef("s3", bucket, "k", marker)):
        with pytest.raises(NotFound):
            await read(store, gone)
