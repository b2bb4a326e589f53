"""`kind: http`: addresses, validators, conditions, redirects."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.errors import (
    BadRequest,
    ConfigurationError,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    PermissionDenied,
    UnknownName,
)
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult, NotModified
from rangecache.origin.providers.http import HttpDialect
from rangecache.ranges import ByteRange
from rangecache.settings import HttpBucket, HttpProvider
from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Headers, NoETag, OtherETag, Redirect, Status, UnconditionalNotModified
from rangecache.testing.origin import Origin
from rangecache.wiring.http import http_dialect

from .conftest import BODY, REF
from .reading import meta_of, read

if TYPE_CHECKING:
    from rangecache.origin.web import WebStore
    from rangecache.telemetry import Metrics

LONG_AGO = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


async def address(key: str, url: str = "https://example.org/data/") -> str:
    dialect = HttpDialect()
    dialect.add_bucket("bucket", url)
    return str((await dialect.target("GET", ObjectRef("web", "bucket", key), {})).url)


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b.tif", "a/b.tif"),
        ("a b+c", "a%20b%2Bc"),
        ("ü", "%C3%BC"),
        ("100%", "100%25"),
        ("%2e%2e/x", "%252e%252e/x"),
        ("what?#now", "what%3F%23now"),
        ("a//b/", "a//b/"),
        ("/a", "/a"),
        ("..a/b..", "..a/b.."),
        ("x;y=1,2@3:4!$&'()*", "x%3By%3D1%2C2%403%3A4%21%24%26%27%28%29%2A"),
    ],
)
async def test_a_key_is_encoded_exactly_once(key: str, path: str):
    assert await address(key) == "https://example.org/data/" + path


@pytest.mark.parametrize("key", ["..", "../x", "a/../../x", "a/..", "./x", "a/./x", ".", "..\\x", "a\\..\\..\\x"])
async def test_a_key_that_would_leave_the_base_address_is_refused(key: str):
    with pytest.raises(BadRequest):
        await address(key)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
async def test_no_key_leaves_the_base_address(key: str):
    try:
        found = await address(key)
    except BadRequest:
        return
    assert found.startswith("https://example.org/data/")
    assert urljoin("https://example.org/", found) == found
    assert unquote(found.removeprefix("https://example.org/data/")) == key


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/data", "http://h/data/k"),
        ("http://h:8080", "http://h:8080/k"),
        ("http://h/a%2Fb/", "http://h/a%2Fb/k"),
        ("https://h/d/?sig=a%2Fb&x=1", "https://h/d/k?sig=a%2Fb&x=1"),
    ],
)
async def test_the_base_address_is_kept_as_it_stands(url: str, expected: str):
    assert await address("k", url) == expected


@pytest.mark.parametrize(
    "url", ["example.org/x", "ftp://h/", "http://", "http://u:p@h/", "http://h/#f", "http://[::1/"]
)
def test_an_unusable_base_address_is_a_fault_of_the_configuration(url: str):
    with pytest.raises(ConfigurationError) as raised:
        HttpDialect().add_bucket("bucket", url)
    assert "u:p" not in raised.value.message


async def test_the_path_goes_over_the_wire_unchanged(store: WebStore, origin: Origin):
    key = "a b/%2e%2e/ü+?x//y"
    origin.put(key, BODY)
    await read(store, ObjectRef("web", "bucket", key))
    assert origin.requests[0].target == "/a%20b/%252e%252e/%C3%BC%2B%3Fx//y"


async def test_a_presigned_base_sends_its_query_and_keeps_it_out_of_the_identity(
    store: WebStore, dialect: HttpDialect, origin: Origin
):
    dialect.add_bucket("bucket", f"{origin.url}?sig=s%2Fecret")
    meta = await meta_of(store, REF)
    assert origin.requests[0].target == "/object?sig=s%2Fecret"
    assert "ecret" not in repr(meta)


async def test_the_same_object_at_another_address_is_another_generation(
    store: WebStore, dialect: HttpDialect, origin: Origin
):
    first = await meta_of(store, REF)
    async with Origin() as other:
        other.put("object", BODY, etag='"v1"')
        dialect.add_bucket("bucket", other.url)
        second = await meta_of(store, REF)
        assert first.validator == second.validator
        assert first.generation != second.generation
        with pytest.raises(GenerationGone):
            await read(store, REF, if_match=first)


async def test_an_unknown_bucket_is_no_missing_object(store: WebStore):
    with pytest.raises(UnknownName):
        await read(store, ObjectRef("web", "nowhere", "object"))


# --- metadata -----------------------------------------------------------------------------------------------------


async def test_head_is_a_head_request(store: WebStore, origin: Origin):
    origin.put("object", BODY, etag='"v1"', last_modified=LONG_AGO, content_type="image/tiff")
    meta = await meta_of(store, REF)
    assert (meta.size, str(meta.e_tag), meta.last_modified) == (100, '"v1"', LONG_AGO)
    assert meta.validator == 'etag "v1"'
    assert meta.headers["content-type"] == "image/tiff"
    assert [request.method for request in origin.requests] == ["HEAD"]


async def test_head_and_get_tell_the_same(store: WebStore):
    head = await meta_of(store, REF)
    whole, _, _ = await read(store, REF)
    part, _, _ = await read(store, REF, ByteRange(3, 5))
    assert head.generation == whole.generation == part.generation
    assert head.size == whole.size == part.size == 100


async def test_a_head_without_a_length_is_refused(store: WebStore, origin: Origin):
    origin.fail("object", Headers({"Transfer-Encoding": "chunked"}))
    with pytest.raises(InvalidAnswer, match="without its length"):
        await store.head(REF)


async def test_a_missing_object_is_not_found(store: WebStore):
    with pytest.raises(NotFound):
        await store.head(ObjectRef("web", "bucket", "nothing"))


async def test_cookies_addresses_and_policies_of_the_origin_are_dropped(store: WebStore, origin: Origin):
    foreign = {
        "Set-Cookie": "a=b",
        "Location": "/elsewhere",
        "Link": "</x>; rel=preload",
        "Strict-Transport-Security": "max-age=1",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "x",
        "Keep-Alive": "timeout=5",
        "X-Hop": "1",
        "Connection": "keep-alive, x-hop",
        "Cache-Control": "max-age=5",
        "X-Kept": "yes",
    }
    origin.put("object", BODY, headers=foreign, content_type="text/plain; charset=utf-8")
    meta, _, _ = await read(store, REF, ByteRange(0, 5))
    assert set(meta.headers) == {
        "accept-ranges",
        "etag",
        "last-modified",
        "date",
        "content-type",
        "cache-control",
        "x-kept",
    }
    assert meta.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("kind", ["text", 'text/html; x="a', "te xt/html", "text/html; x=(", "<script>", ""])
async def test_a_malformed_content_type_becomes_a_harmless_one(store: WebStore, origin: Origin, kind: str):
    origin.put("object", BODY, content_type=kind)
    assert (await meta_of(store, REF)).headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity"])
async def test_a_stored_coding_is_passed_through_undecoded(store: WebStore, origin: Origin, coding: str):
    data = gzip.compress(BODY * 1000)
    origin.put("object", data, headers={"Content-Encoding": coding})
    meta, _, found = await read(store, REF)
    assert found == data
    assert meta.content_encoding == ("gzip" if coding != "identity" else "")


# --- validators ---------------------------------------------------------------------------------------------------


async def test_a_strong_date_pins_where_there_is_no_tag(store: WebStore, origin: Origin):
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO)
    meta = await meta_of(store, REF)
    assert meta.validator == "last-modified Mon, 03 Feb 2020 04:05:06 GMT"
    assert (await read(store, REF, ByteRange(0, 5), if_match=meta))[2] == BODY[:5]
    assert origin.requests[-1].headers["if-unmodified-since"] == "Mon, 03 Feb 2020 04:05:06 GMT"
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO + timedelta(days=1))
    with pytest.raises(GenerationGone):
        await read(store, REF, ByteRange(0, 5), if_match=meta)
    assert origin.requests[-1].status == 412


async def test_an_older_date_than_the_pinned_one_is_another_version(store: WebStore, origin: Origin):
    """If-Unmodified-Since lets it through: the origin answers 206."""
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO)
    meta = await meta_of(store, REF)
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO - timedelta(days=1))
    with pytest.raises(GenerationGone):
        await read(store, REF, ByteRange(0, 5), if_match=meta)
    assert origin.requests[-1].status == 206


@pytest.mark.parametrize("headers", [{"Date": None}, {"Date": "today"}, {"Last-Modified": "yesterday"}])
async def test_a_date_that_cannot_be_compared_identifies_nothing(
    store: WebStore, origin: Origin, headers: dict[str, str | None]
):
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO)
    origin.fail("object", Headers(headers))
    assert (await meta_of(store, REF)).validator == ""


async def test_a_weak_tag_is_shown_but_identifies_nothing(store: WebStore, origin: Origin):
    origin.put("object", BODY, etag='W/"v1"', last_modified=None)
    meta = await meta_of(store, REF)
    assert (str(meta.e_tag), meta.validator, meta.generation) == ('W/"v1"', "", "")


@pytest.mark.parametrize(("age_s", "strong"), [(0, False), (1, True), (-5, False)])
async def test_a_date_is_strong_a_second_before_the_answer(store: WebStore, origin: Origin, age_s: int, strong: bool):
    date = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
    origin.put("object", BODY, etag=None, last_modified=date - timedelta(seconds=age_s))
    origin.fail("object", Headers({"Date": "Thu, 01 Jan 2026 00:00:10 GMT"}))
    assert bool((await meta_of(store, REF)).validator) is strong


# --- conditions ---------------------------------------------------------------------------------------------------


async def test_an_unchanged_object_is_not_modified(store: WebStore, origin: Origin):
    meta = await meta_of(store, REF)
    answer = await store.head(REF, if_none_match=meta)
    assert isinstance(answer, NotModified)
    assert answer.headers["etag"] == '"v1"'
    async with store.get(REF, range=ByteRange(0, 5), if_none_match=meta) as got:
        assert isinstance(got, NotModified)
    assert [request.headers.get("if-none-match") for request in origin.requests] == [None, '"v1"', '"v1"']


async def test_a_changed_object_is_sent(store: WebStore, origin: Origin):
    meta = await meta_of(store, REF)
    origin.put("object", b"new", etag='"v2"')
    async with store.get(REF, if_none_match=meta) as result:
        assert isinstance(result, GetResult)
        assert b"".join([chunk async for chunk in result.chunks]) == b"new"


async def test_a_date_asks_where_the_tag_is_weak_or_missing(store: WebStore, origin: Origin):
    for tag in (None, 'W/"v1"'):
        origin.put("object", BODY, etag=tag, last_modified=LONG_AGO)
        meta = await meta_of(store, REF)
        origin.log.clear()
        assert isinstance(await store.head(REF, if_none_match=meta), NotModified)
        (request,) = origin.requests
        assert request.headers["if-modified-since"] == "Mon, 03 Feb 2020 04:05:06 GMT"
        assert "if-none-match" not in request.headers


async def test_a_304_that_names_another_version_confirms_nothing(store: WebStore, origin: Origin, metrics: Metrics):
    meta = await meta_of(store, REF)
    origin.put("object", b"new", etag='"v2"')
    origin.fail("object", UnconditionalNotModified())
    async with store.get(REF, if_none_match=meta) as result:
        assert isinstance(result, GetResult)
        assert str(result.meta.e_tag) == '"v2"'
    assert metrics.origin_requests.total(outcome="mend") == 1


async def test_a_304_for_an_older_date_confirms_nothing(store: WebStore, origin: Origin):
    origin.put("object", BODY, etag=None, last_modified=LONG_AGO)
    meta = await meta_of(store, REF)
    origin.put("object", BODY[::-1], etag=None, last_modified=LONG_AGO - timedelta(days=1))
    result = await store.head(REF, if_none_match=meta)
    assert not isinstance(result, NotModified)
    assert [request.status for request in origin.requests] == [200, 304, 200]


# --- redirects ----------------------------------------------------------------------------------------------------


async def test_a_redirect_inside_the_base_address_is_followed(store: WebStore, origin: Origin, metrics: Metrics):
    origin.put("moved/object", b"elsewhere")
    for location in ("/moved/object", f"{origin.url}moved/object", "moved/object"):
        origin.fail("object", Redirect(location, 307))
        assert (await read(store, REF, ByteRange(0, 4)))[2] == b"else"
        assert origin.requests[-1].range == "bytes=0-3"
    assert metrics.origin_requests.total(outcome="redirect") == 3


async def test_redirects_end_after_three(store: WebStore, origin: Origin):
    origin.fail("object", Redirect("/object"), times=None)
    with pytest.raises(InvalidAnswer, match="redirect"):
        await read(store, REF)
    assert len(origin.requests) == 4


async def test_a_redirect_to_another_host_is_followed_only_where_it_is_named(
    store: WebStore, dialect: HttpDialect, origin: Origin
):
    async with Origin() as other:
        other.put("object", b"at the other host")
        origin.fail("object", Redirect(f"{other.url}object"), times=None)
        with pytest.raises(InvalidAnswer, match="redirect_hosts"):
            await read(store, REF)
        assert len(other.requests) == 0
        port = other.url.rsplit(":", 1)[1].rstrip("/")
        dialect.add_bucket("bucket", origin.url, [f"127.0.0.1:{port}"])
        assert (await read(store, REF))[2] == b"at the other host"


@pytest.mark.parametrize(
    "location",
    [
        "/elsewhere/object",
        "/data/../elsewhere/object",
        "/data/%2e%2e/elsewhere",
        "/data/..%2felsewhere",
        "/data/..%5celsewhere",
        "//169.254.169.254/data/object",
        "http://127.0.0.1:1/data/object",
        "http://localhost/data/object",
        "file:///etc/passwd",
        "gopher://127.0.0.1/data/",
        "http://user@127.0.0.1/data/object",
        "http://[broken/data",
        "",
        "/d\u00e4ta/object",
    ],
)
async def test_redirects_out_of_the_base_address_are_refused(
    store: WebStore, dialect: HttpDialect, origin: Origin, location: str
):
    dialect.add_bucket("bucket", f"{origin.url}data/")
    origin.put("data/object", BODY)
    origin.put("elsewhere/object", b"secret")
    origin.fail("data/object", Redirect(location))
    with pytest.raises(InvalidAnswer):
        await read(store, REF)
    assert len(origin.requests) == 1


async def test_a_redirect_with_a_user_name_in_it_is_refused(store: WebStore, origin: Origin):
    origin.put("moved", BODY)
    origin.fail("object", Redirect(f"{origin.url.replace('://', '://user:password@')}moved"))
    with pytest.raises(InvalidAnswer):
        await read(store, REF)
    assert len(origin.requests) == 1


async def test_a_redirect_of_a_pinned_request_stays_pinned(store: WebStore, origin: Origin):
    meta = await meta_of(store, REF)
    origin.put("moved", BODY, etag='"v1"')
    origin.fail("object", Redirect("/moved"))
    assert (await read(store, REF, ByteRange(0, 4), if_match=meta))[2] == BODY[:4]
    assert origin.requests[-1].headers["if-match"] == '"v1"'
    origin.fail("object", Redirect("/moved"))
    origin.put("moved", BODY, etag='"v2"')
    with pytest.raises(GenerationGone):
        await read(store, REF, ByteRange(0, 4), if_match=meta)


@pytest.mark.parametrize("fault", [NoETag(), OtherETag("v1")])
async def test_without_a_tag_the_date_takes_over(store: WebStore, origin: Origin, fault: NoETag | OtherETag):
    origin.put("object", BODY, etag='"v1"', last_modified=LONG_AGO)
    origin.fail("object", fault)
    assert (await meta_of(store, REF)).validator.startswith("last-modified ")


async def test_a_failing_redirect_target_is_reported_for_what_it_is(store: WebStore, origin: Origin):
    origin.fail("object", Redirect("/gone"))
    origin.fail("gone", Status(404))
    with pytest.raises(NotFound):
        await read(store, REF)


@pytest.mark.parametrize(("said", "error"), [(True, NotFound), (False, PermissionDenied)])
async def test_403_is_a_missing_object_only_where_the_configuration_says_so(
    store: WebStore, origin: Origin, said: bool, error: type[Exception]
) -> None:
    provider = HttpProvider(kind="http", buckets={"bucket": HttpBucket(url=origin.url, missing_403_is_404=said)})
    store._dialect = http_dialect(provider, ManualClock())
    origin.fail("object", Status(403), times=None)
    with pytest.raises(error):
        await read(store, REF)
