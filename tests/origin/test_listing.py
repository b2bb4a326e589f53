"""Listings: what S3's pages say, what is believed of them, and how folders are walked."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from rangecache.errors import (
    InvalidAnswer,
    NotListable,
    OriginError,
    OriginTimeout,
    PermissionDenied,
    Unavailable,
    UnknownName,
)
from rangecache.model import ETag, ObjectRef
from rangecache.origin import listing, web
from rangecache.origin.base import BucketPage, Listed, ListPage
from rangecache.origin.credentials import Anonymous, Static
from rangecache.origin.limit import Limited
from rangecache.origin.listing import list_all
from rangecache.origin.memory import MemoryStore
from rangecache.origin.observe import Observed, count_listed
from rangecache.origin.providers import file_listing, s3_listing
from rangecache.origin.providers.file import FileStore
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_buckets import S3Bucket
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.origin.retry import Retrying
from rangecache.origin.web import MinRate, WebStore
from rangecache.testing.faults import Cut, Redirect, Status

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.aio.budget import RetryBudget
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.session import WebSession
    from rangecache.telemetry import Metrics
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin

BELOW = ObjectRef("s3", "data", "a/")


def page(*keys: str, more: str | None = None, extra: str = "") -> bytes:
    objects = "".join(
        f"<Contents><Key>{key}</Key><Size>{number}</Size><ETag>&quot;t{number}&quot;</ETag>"
        "<Owner><ID>x</ID></Owner></Contents>"
        for number, key in enumerate(keys)
    )
    goes_on = "<IsTruncated>false</IsTruncated>"
    if more is not None:
        goes_on = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>"
    name = 'ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<?xml version='1.0'?><{name}><Name>data</Name>{goes_on}{objects}{extra}</ListBucketResult>".encode()


async def keys(store: ObjectStore, below: ObjectRef = BELOW, delimiter: str = "") -> list[str]:
    return [entry.key async for each in list_all(store, below, delimiter=delimiter) for entry in each.objects]


# --- what S3 says -------------------------------------------------------------------------------------------------


def test_a_page_is_read() -> None:
    prefixes = "<CommonPrefixes><Prefix>a/z/</Prefix></CommonPrefixes>"
    read = s3_listing.read_page(page("a/x", "a/y", more="t==", extra=prefixes))
    assert list(read.objects) == [Listed("a/x", 0, ETag("t0")), Listed("a/y", 1, ETag("t1"))]
    assert (list(read.prefixes), read.next) == (["a/z/"], "t==")


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2009-10-12T17:50:30.000Z", datetime(2009, 10, 12, 17, 50, 30, tzinfo=UTC)),
        ("2009-10-12T17:50:30", datetime(2009, 10, 12, 17, 50, 30, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
    ],
)
def test_a_date_is_read_where_it_is_one(text: str, date: datetime | None) -> None:
    body = page("a/x").replace(b"<Size>", f"<LastModified>{text}</LastModified><Size>".encode())
    assert s3_listing.read_page(body).objects[0].last_modified == date


def test_a_key_is_decoded_once_and_only_where_the_answer_says_that_it_is_encoded() -> None:
    assert s3_listing.read_page(page("a%2520b+c")).objects[0].key == "a%2520b+c"
    encoded = s3_listing.read_page(page("a%2520b+c%0A", extra="<EncodingType>url</EncodingType>"))
    assert encoded.objects[0].key == "a%20b c\n"


def buckets(*names: str, more: str = "") -> bytes:
    inner = "".join(f"<Bucket><Name>{name}</Name><CreationDate>x</CreationDate></Bucket>" for name in names)
    token = f"<ContinuationToken>{more}</ContinuationToken>" if more else ""
    top = 'ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<{top}><Owner><Name>x</Name></Owner><Buckets>{inner}</Buckets>{token}</ListAllMyBucketsResult>".encode()


def test_buckets_are_read() -> None:
    assert s3_listing.read_buckets(buckets("one", "two", more="t=")) == BucketPage(["one", "two"], "t=")
    assert s3_listing.read_buckets(buckets()) == BucketPage([])
    for body in (b"", page("a/x"), buckets("one")[:-9]):
        with pytest.raises(InvalidAnswer):
            s3_listing.read_buckets(body)


def test_only_aws_is_asked_for_buckets_in_pages() -> None:
    assert s3_listing.buckets_query(None, paged=False) == ""
    assert s3_listing.buckets_query("t+", paged=True) == "continuation-token=t%2B&max-buckets=1000"


BOMB = b"""<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>&b;</Key><Size>1</Size></Contents></ListBucketResult>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html><body>hello</body></html>",
        b"<Error><Code>x</Code></Error>",
        page("a/x")[:-20],
        BOMB,
        b"<ListBucketResult><Contents><Key>&xxe;</Key></Contents></ListBucketResult>",
        b"<ListBucketResult></ListBucketResult>",
        page("a/x").replace(b"false", b"true"),
        page("a/x").replace(b"<Size>0</Size>", b""),
        page("a/x").replace(b"<Size>0</Size>", b"<Size>-1</Size>"),
        page("a/x").replace(b"<Size>0</Size>", "<Size>\u0663</Size>".encode()),
        page(""),
        page("%FF", extra="<EncodingType>url</EncodingType>"),
    ],
)
def test_what_is_no_listing_is_an_invalid_answer_and_no_entity_is_read(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        s3_listing.read_page(body)


# --- on the wire --------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(session: WebSession, origin: Origin, clock: ManualClock) -> WebStore:
    credentials = Static(S3Credentials("AKIDEXAMPLE", "canary-secret"), STATIC)
    dialect = S3Dialect(endpoint=origin.url.rstrip("/"), credentials=credentials, clock=clock)
    return WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(16 * 1024, 10))


async def test_pages_are_asked_for_one_by_one_signed_and_below_the_prefix_only(s3: WebStore, origin: Origin) -> None:
    tokens = iter(["one/+=", None])

    async def put_next_page(_request: object) -> None:
        token = next(tokens)
        origin.put("data/", page("a/1" if token else "a/2", more=token))

    origin.on_request = put_next_page
    assert await keys(s3, delimiter="/") == ["a/1", "a/2"]
    first, second = (parse_qs(each.target.partition("?")[2]) for each in origin.requests)
    assert first == {
        "list-type": ["2"],
        "encoding-type": ["url"],
        "max-keys": ["1000"],
        "prefix": ["a/"],
        "delimiter": ["/"],
    }
    assert second == {**first, "continuation-token": ["one/+="]}
    assert all("Credential=AKIDEXAMPLE" in each.headers["authorization"] for each in origin.requests)


async def test_a_bucket_without_credentials_is_asked_unsigned(session, origin: Origin, clock: ManualClock) -> None:
    dialect = S3Dialect(
        endpoint=origin.url.rstrip("/"), credentials=Anonymous(), clock=clock, buckets={"open": S3Bucket("data")}
    )
    store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(16 * 1024, 10))
    origin.put("data/", page("a/1"))
    assert await keys(store, BELOW._replace(bucket="open")) == ["a/1"]
    assert "authorization" not in origin.requests[0].headers


async def test_buckets_are_asked_for_signed_through_every_wrapper(
    s3: WebStore, origin: Origin, metrics: Metrics, clock: ManualClock, budget: RetryBudget
) -> None:
    around = Retrying(Observed(s3, metrics, clock, "s3"), budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    store = Limited(around, 1)
    origin.put("", buckets("one", "two"))
    origin.fail("", Status(503))
    assert await store.bucket_page("s3") == BucketPage(["one", "two"])
    assert [each.target for each in origin.requests] == ["/", "/"]
    assert all("Credential=AKIDEXAMPLE" in each.headers["authorization"] for each in origin.requests)
    assert metrics.origin_requests.total(purpose="list", outcome="throttled") == 1
    assert metrics.origin_requests.total(purpose="retry", outcome="ok") == 1
    origin.fail("", Status(403))
    with pytest.raises(PermissionDenied, match="s3:ListAllMyBuckets"):
        await store.bucket_page("s3")


async def test_without_credentials_nobody_is_asked_for_buckets(session, origin: Origin, clock: ManualClock) -> None:
    dialect = S3Dialect(endpoint=origin.url.rstrip("/"), credentials=Anonymous(), clock=clock)
    store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(16 * 1024, 10))
    with pytest.raises(NotListable):
        await store.bucket_page("s3")
    assert not origin.requests


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(404), InvalidAnswer),  # S3 would say in its own words what is missing
        (Status(403), PermissionDenied),
        (Status(206), InvalidAnswer),
        (Redirect("http://elsewhere.invalid/"), InvalidAnswer),
    ],
)
async def test_what_is_not_a_listing_is_told_for_what_it_is(s3: WebStore, origin: Origin, fault, error) -> None:
    origin.put("data/", page("a/1"))
    origin.fail("data/", fault)
    with pytest.raises(error):
        await keys(s3)


async def test_a_page_without_end_is_not_read_to_it(s3: WebStore, origin: Origin, monkeypatch) -> None:
    monkeypatch.setattr(web, "LIST_BODY_BYTES_MAX", 200)
    origin.put("data/", page(*(f"a/{number}" for number in range(100_000))))
    with pytest.raises(InvalidAnswer, match="longer than 200 bytes"):
        await keys(s3)


async def test_a_page_that_stalls_is_given_up(s3: WebStore, origin: Origin, clock: ManualClock) -> None:
    origin.put("data/", page("a/1"))
    gate = origin.hold("data/", after_bytes=20)
    reading = asyncio.create_task(keys(s3))
    await gate.reached()
    while not reading.done():
        await clock.advance(1.0)
        await asyncio.sleep(0.001)
    with pytest.raises(OriginTimeout):
        await reading


async def test_a_page_is_repeated_and_counted(
    s3: WebStore, origin: Origin, metrics: Metrics, clock: ManualClock, budget: RetryBudget
) -> None:
    store = Retrying(Observed(s3, metrics, clock, "s3"), budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    origin.put("data/", page("a/1"))
    origin.fail("data/", Status(503))
    origin.fail("data/", Cut(20))
    assert await keys(store) == ["a/1"]
    counted = {sample.labels["purpose"]: 0 for sample in metrics.origin_requests.family().samples}
    assert counted.keys() == {"list", "retry"}
    assert metrics.origin_requests.total(purpose="list", outcome="throttled") == 1
    assert metrics.origin_requests.total(purpose="retry", outcome="cut") == 1
    assert metrics.origin_requests.total(purpose="retry", outcome="ok") == 1


async def test_the_bytes_of_listings_are_counted_as_they_come_also_those_of_a_page_that_is_cut(
    session: WebSession, origin: Origin, metrics: Metrics, clock: ManualClock, budget: RetryBudget
) -> None:
    wire = WebStore(
        session,
        S3Dialect(endpoint=origin.url.rstrip("/"), credentials=Anonymous(), clock=clock),
        clock=clock,
        first_byte_timeout_s=30,
        min_rate=MinRate(16 * 1024, 10),
        on_listed=count_listed(metrics, "s3"),
    )
    store = Retrying(Observed(wire, metrics, clock, "s3"), budget=budget, clock=clock, attempts=3, random=lambda: 0.0)
    origin.put("data/", body := page("a/1"))
    assert await keys(store) == ["a/1"]
    assert metrics.origin_bytes.total(provider="s3", purpose="list") == len(body)
    origin.fail("data/", Cut(20))
    assert await keys(store) == ["a/1"]
    assert metrics.origin_bytes.total(purpose="list") == len(body) + 20
    assert metrics.origin_bytes.total(purpose="retry") == len(body)
    assert metrics.origin_bytes.total() == origin.log.body_bytes()


async def test_a_web_server_has_no_listing(store: WebStore, origin: Origin) -> None:
    below = ObjectRef("web", "bucket", "")
    with pytest.raises(NotListable, match="give a manifest"):
        await keys(store, below)
    with pytest.raises(NotListable, match="give a manifest"):
        store.check_listable(below)
    with pytest.raises(NotListable, match="that are configured"):
        await store.bucket_page("web")
    assert not origin.requests


# --- what is believed ---------------------------------------------------------------------------------------------


class Pages(MemoryStore):
    """Gives the pages it was made with, whatever is asked."""

    def __init__(self, *pages: ListPage) -> None:
        super().__init__()
        self.pages = list(pages)

    async def list_page(self, below, *, delimiter="", at=None, purpose="list") -> ListPage:
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


@pytest.mark.parametrize(
    ("delimiter", "lie"),
    [
        ("", ListPage([Listed("b/x", 1)])),
        ("", ListPage([Listed("a", 1)])),
        ("", ListPage([Listed("a/" + "x" * listing.KEY_CHARS_MAX, 1)])),
        ("", ListPage([Listed("a/x", -1)])),
        ("", ListPage([], ["a/b/"])),
        ("/", ListPage([Listed("a/b/c", 1)])),
        ("/", ListPage([], ["b/"])),
        ("/", ListPage([], ["a/b"])),
        ("", ListPage([Listed("a/x", 1)] * (listing.PAGE_ENTRIES_MAX + 1))),
        ("", ListPage([Listed("a/x", 1)], next="the same again")),
        ("", ListPage([], next="the same again")),
    ],
)
async def test_a_listing_that_cannot_be_is_refused(delimiter: str, lie: ListPage) -> None:
    with pytest.raises(InvalidAnswer):
        await keys(Pages(lie), delimiter=delimiter)


async def test_empty_pages_are_put_up_with_but_not_for_ever() -> None:
    empty = [ListPage([], next=str(number)) for number in range(listing.EMPTY_PAGES_MAX + 1)]
    assert await keys(Pages(*empty[:-1], ListPage([Listed("a/x", 1)]))) == ["a/x"]
    with pytest.raises(InvalidAnswer, match="come to an end"):
        await keys(Pages(*empty))


# --- folders ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def folder(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    store = FileStore({"data": root, "gone": tmp_path / "gone"})
    yield root, store
    await store.aclose()


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


EVERYTHING = ObjectRef("local", "data", "")


async def test_folders_that_are_configured_are_the_buckets(folder) -> None:
    _, store = folder
    assert await store.bucket_page("local") == BucketPage(["data", "gone"])


async def test_buckets_in_memory_come_page_after_page() -> None:
    store = MemoryStore(page_entries=1)
    for bucket in ("b", "a"):
        store.put(ObjectRef("m", bucket, "key"), b"x")
    assert await store.bucket_page("m") == BucketPage(["a"], "a")
    assert await store.bucket_page("m", at="a") == BucketPage(["b"])


async def test_files_come_in_the_order_of_their_keys_over_any_number_of_pages(folder, monkeypatch) -> None:
    root, store = folder
    names = ["a-b", "a/b/c", "a/b-", "a/b", "a0", "b/1", "b/2/3/4", "b/2/3/5", "b/2", "é/x", "\U0001f642"]
    names = [name for name in names if not any(other.startswith(name + "/") for other in names)]
    write(root, *names)
    for entries in (1, 2, 3, 1000):
        monkeypatch.setattr(file_listing, "PAGE_ENTRIES", entries)
        assert await keys(store, EVERYTHING) == sorted(names, key=str.encode)
        assert await keys(store, EVERYTHING._replace(key="b/2/3")) == ["b/2/3/4", "b/2/3/5"]
        inner = [each async for each in list_all(store, EVERYTHING._replace(key="b/2/"), delimiter="/")]
        assert [each for one in inner for each in one.prefixes] == ["b/2/3/"]


async def test_a_link_is_listed_where_it_can_be_read_and_nothing_outside_is(folder, tmp_path: Path) -> None:
    root, store = folder
    write(tmp_path, "outside/secret")
    write(root, "inside/file")
    (root / "good").symlink_to(root / "inside" / "file")
    (root / "out").symlink_to(tmp_path / "outside" / "secret")
    (root / "outer").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    (root / "nowhere").symlink_to(root / "absent")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff")).write_bytes(b"x")
    found = await keys(store, EVERYTHING)
    assert found == ["good", "inside/file"]
    for key in found:
        await store.head(EVERYTHING._replace(key=key))


async def test_the_tag_of_a_listing_is_that_of_the_file(folder) -> None:
    root, store = folder
    write(root, "file")
    (entry,) = (await store.list_page(EVERYTHING)).objects
    meta = await store.head(EVERYTHING._replace(key="file"))
    assert entry == Listed("file", 1, meta.e_tag, meta.last_modified)


async def test_faults_of_folders_are_told(folder) -> None:
    root, store = folder
    with pytest.raises(Unavailable):
        await keys(store, EVERYTHING._replace(bucket="gone"))
    with pytest.raises(UnknownName):
        await keys(store, EVERYTHING._replace(bucket="no such"))
    with pytest.raises(NotListable):
        await keys(store, EVERYTHING, delimiter="-")
    deep = root
    for _ in range(file_listing.FOLDERS_DEEP_MAX + 2):
        deep = deep / "d"
    deep.mkdir(parents=True)
    with pytest.raises(OriginError, match="nested"):
        await keys(store, EVERYTHING)
