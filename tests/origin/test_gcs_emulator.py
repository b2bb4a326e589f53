"""The GCS provider against fake-gcs-server. What is read was written by the JSON API."""

from __future__ import annotations

import gzip

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.errors import GenerationGone, InvalidAnswer, NotFound, RangeNotSatisfiable
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.origin.base import NotModified
from rangecache.origin.credentials import Anonymous
from rangecache.origin.listing import list_all
from rangecache.origin.providers.gcs import GcsBucket, GcsDialect
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.testing.suites import read
from tests.emulators import PRIVATE, FakeGcs

pytestmark = pytest.mark.emulator


def ref(key: str, bucket: str = PRIVATE, generation: str | None = None) -> ObjectRef:
    return ObjectRef("gs", bucket, key, generation)


def connect(session, fake_gcs: FakeGcs, **options) -> WebStore:
    clock = SystemClock()
    dialect = GcsDialect(credentials=Anonymous(), clock=clock, endpoint=fake_gcs.tap.endpoint, **options)
    return WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))


@pytest.fixture
def store(session, fake_gcs: FakeGcs) -> WebStore:
    fake_gcs.tap.clear()
    return connect(session, fake_gcs)


async def test_one_read_is_one_request_that_takes_what_is_stored(fake_gcs: FakeGcs, store: WebStore) -> None:
    fake_gcs.put(PRIVATE, "once", b"0123456789")
    _, _, body = await read(store, ref("once"), ByteRange(2, 5))
    assert body == b"234"
    (asked,) = fake_gcs.tap.requests
    assert (asked.method, asked.target) == ("GET", f"/{PRIVATE}/once")
    assert (asked.headers["range"], asked.headers["accept-encoding"]) == ("bytes=2-4", "gzip")
    assert "authorization" not in asked.headers


async def test_the_generation_identifies_an_object_and_is_its_tag(fake_gcs: FakeGcs, store: WebStore) -> None:
    generation = fake_gcs.put(PRIVATE, "meta", b"0123456789", contentType="image/tiff")
    meta = await store.head(ref("meta"))
    assert isinstance(meta, ObjectMeta)
    assert (str(meta.e_tag), meta.validator) == (f'"{generation}"', f"generation {generation}")
    assert (meta.size, meta.headers["content-type"]) == (10, "image/tiff")
    assert meta.source == f"gcs {fake_gcs.tap.endpoint} {PRIVATE}"
    assert meta.last_modified is not None


@pytest.mark.parametrize("spec", [SuffixRange(3), OffsetRange(7), ByteRange(7, 99)])
async def test_all_forms_of_a_range_reach_the_end(fake_gcs: FakeGcs, store: WebStore, spec) -> None:
    fake_gcs.put(PRIVATE, "end", b"0123456789")
    assert (await read(store, ref("end"), spec))[1:] == (ByteRange(7, 10), b"789")


async def test_the_same_bytes_written_again_are_another_generation(fake_gcs: FakeGcs, store: WebStore) -> None:
    fake_gcs.put(PRIVATE, "again", b"same")
    old, _, _ = await read(store, ref("again"))
    fake_gcs.put(PRIVATE, "again", b"same")
    assert (await read(store, ref("again")))[0].generation != old.generation
    fake_gcs.tap.clear()
    with pytest.raises(GenerationGone):
        await read(store, ref("again"), ByteRange(0, 2), if_match=old)
    number = old.validator.removeprefix("generation ")
    assert [each.target for each in fake_gcs.tap.requests] == [f"/{PRIVATE}/again?generation={number}"]


async def test_a_generation_can_be_asked_for_by_its_number(fake_gcs: FakeGcs, store: WebStore) -> None:
    number = fake_gcs.put(PRIVATE, "numbered", b"first")
    assert (await read(store, ref("numbered", generation=number)))[2] == b"first"
    fake_gcs.put(PRIVATE, "numbered", b"second")
    with pytest.raises(NotFound, match=f"of generation {number}"):
        await read(store, ref("numbered", generation=number))


async def test_a_compressed_object_is_passed_on_as_it_is_stored(fake_gcs: FakeGcs, store: WebStore) -> None:
    packed = gzip.compress(b"x" * 10_000)
    fake_gcs.put(PRIVATE, "packed", packed, contentEncoding="gzip")
    meta, _, body = await read(store, ref("packed"))
    assert (meta.size, meta.content_encoding, body) == (len(packed), "gzip", packed)
    assert (await read(store, ref("packed"), ByteRange(5, 20), if_match=meta))[2] == packed[5:20]


async def test_a_compressed_object_that_was_decompressed_on_its_way_is_refused(
    session, fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by something in between that drops Accept-Encoding."""
    fake_gcs.put(PRIVATE, "unpacked", gzip.compress(b"x" * 10_000), contentEncoding="gzip")
    store = connect(session, fake_gcs)
    send = session.send

    async def without_coding(method, url, headers, **options):
        return await send(method, url, {**headers, "Accept-Encoding": "identity"}, **options)

    monkeypatch.setattr(session, "send", without_coding)
    for spec in (None, ByteRange(5, 20)):
        with pytest.raises(InvalidAnswer, match="has compressed or decompressed"):
            await read(store, ref("unpacked"), spec)


async def test_what_is_not_there_is_said_by_the_service(session, fake_gcs: FakeGcs, store: WebStore) -> None:
    with pytest.raises(NotFound):
        await read(store, ref("nothing"))
    with pytest.raises(NotFound):
        await read(store, ref("nothing", "no-such-bucket"))
    with pytest.raises(NotFound, match="no bucket gs/no-such-bucket"):
        await store.list_page(ref("", "no-such-bucket"))
    fake_gcs.put(PRIVATE, "ten", b"0123456789")
    with pytest.raises(RangeNotSatisfiable):
        await read(store, ref("ten"), OffsetRange(10))


async def test_an_alias_means_its_bucket(session, fake_gcs: FakeGcs) -> None:
    generation = fake_gcs.put(PRIVATE, "aliased/one", b"mine")
    store = connect(session, fake_gcs, buckets={"short": GcsBucket(PRIVATE)})
    assert (await read(store, ref("aliased/one", "short")))[2] == b"mine"
    (page,) = [page async for page in list_all(store, ref("aliased/", "short"), delimiter="/")]
    assert [(each.key, each.size, str(each.e_tag)) for each in page.objects] == [("aliased/one", 4, f'"{generation}"')]


async def test_a_head_says_that_nothing_has_changed_where_conditions_are_not_known(
    fake_gcs: FakeGcs, store: WebStore
) -> None:
    fake_gcs.put(PRIVATE, "known", b"0123456789")
    known, _, _ = await read(store, ref("known"))
    assert isinstance(await store.head(ref("known"), if_none_match=known), NotModified)
