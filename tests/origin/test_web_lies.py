"""One lying answer at a time: each is refused for what it is, after exactly one request."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import (
    BodyCut,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    RangeNotSatisfiable,
    StaleConnection,
    Unauthenticated,
    Unavailable,
)
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.testing.faults import (
    AddedHeaders,
    BareLineFeeds,
    Chunked,
    CloseWithoutAnswer,
    ContentEncoding,
    ContentRange,
    Cut,
    ExtraBytes,
    Fault,
    Headers,
    HugeHeader,
    IgnoreRange,
    LengthAndChunked,
    LongRange,
    ManyContinues,
    ManyHeaders,
    Multipart,
    NoContentLength,
    NoValidators,
    OtherETag,
    OtherRange,
    RawAnswer,
    Redirect,
    Relabel,
    Reset,
    ShortRange,
    Status,
    TwoLengths,
    UnconditionalNotModified,
    WeakETag,
)

from .conftest import BODY, REF
from .reading import meta_of, read

if TYPE_CHECKING:
    from rangecache.origin.web import WebStore
    from rangecache.testing.origin import Origin

ASKED = ByteRange(16, 32)
RIGHT = BODY[16:32]


@dataclass(frozen=True)
class Row:
    """What becomes of a request for bytes 16-31: an error's class, or the bytes that are read."""

    faults: tuple[Fault, ...]
    unpinned: type[OriginError] | bytes
    pinned: type[OriginError] | bytes


def row(name: str, *faults: Fault, unpinned: type[OriginError] | bytes, pinned: type[OriginError] | bytes):
    return pytest.param(Row(faults, unpinned, pinned), id=name)


def same(name: str, *faults: Fault, gives: type[OriginError] | bytes):
    return row(name, *faults, unpinned=gives, pinned=gives)


ROWS = [
    same("F1 200 with the whole body", IgnoreRange(), gives=BODY),
    row("F2 200 with another tag", IgnoreRange(), OtherETag('"v2"'), unpinned=BODY, pinned=GenerationGone),
    row("F2 206 with another tag", OtherETag('"v2"'), unpinned=RIGHT, pinned=GenerationGone),
    same("F3 another range", OtherRange(50, 66), gives=InvalidAnswer),
    same("F3 another range labelled on the right bytes", ContentRange("bytes 17-32/100"), gives=InvalidAnswer),
    same("F4 206 without Content-Range", ContentRange(None), gives=InvalidAnswer),
    row("F5 unknown length", ContentRange("bytes 16-31/*"), unpinned=InvalidAnswer, pinned=RIGHT),
    row("F6 another length", ContentRange("bytes 16-31/101"), unpinned=RIGHT, pinned=GenerationGone),
    same("F7 backwards", ContentRange("bytes 31-16/100"), gives=InvalidAnswer),
    same("F7 beyond its own length", ContentRange("bytes 16-31/20"), gives=InvalidAnswer),
    same("F7 another unit", ContentRange("octets 16-31/100"), gives=InvalidAnswer),
    same("F7 no length", ContentRange("bytes 16-31"), gives=InvalidAnswer),
    same("F7 two of them", AddedHeaders((("Content-Range", "bytes 0-15/100"),)), gives=InvalidAnswer),
    same("F8 shorter than asked", ShortRange(5), gives=BodyCut),
    same("F9 longer than asked", LongRange(), gives=InvalidAnswer),
    same("F9 starts earlier", OtherRange(15, 32), gives=InvalidAnswer),
    same("F9 ends later", OtherRange(16, 33), gives=InvalidAnswer),
    same("F10 multipart for one range", Multipart(), gives=InvalidAnswer),
    same("F11 cut in order", Cut(5), gives=BodyCut),
    same("F12 reset", Reset(5), gives=BodyCut),
    same("F13 chunked and cut", Chunked(), Cut(5), gives=BodyCut),
    same("F14 cut without Content-Length", NoContentLength(), Cut(5), gives=BodyCut),
    same("F14 whole without Content-Length", NoContentLength(), gives=RIGHT),
    same("chunked and whole", Chunked(), gives=RIGHT),
    same("chunked and longer than its Content-Range", Chunked(), ContentRange("bytes 16-30/100"), gives=InvalidAnswer),
    same("F16 length and chunked", LengthAndChunked(), gives=InvalidAnswer),
    same("F16 two lengths", TwoLengths(), gives=InvalidAnswer),
    same("Content-Length is not that of Content-Range", ContentRange("bytes 16-30/100"), gives=InvalidAnswer),
    same(
        "Content-Length is less than its Content-Range",
        OtherRange(16, 21),
        ContentRange("bytes 16-31/100"),
        gives=InvalidAnswer,
    ),
    row("F17 another coding", ContentEncoding("gzip"), unpinned=RIGHT, pinned=GenerationGone),
    row("F19 weak tag", WeakETag(), unpinned=RIGHT, pinned=GenerationGone),
    row("F19 no validator", NoValidators(), unpinned=RIGHT, pinned=GenerationGone),
    row("F20 tag in another case", OtherETag('"V1"'), unpinned=RIGHT, pinned=GenerationGone),
    row("F20 tag without quotes", OtherETag("v1"), unpinned=RIGHT, pinned=GenerationGone),
    row("F21 huge tag", OtherETag(f'"{"x" * 6000}"'), unpinned=RIGHT, pinned=GenerationGone),
    same("F21 tag of 9000 bytes", OtherETag(f'"{"x" * 9000}"'), gives=InvalidAnswer),
    row("F21 tag with a control byte", OtherETag('"v\x011"'), unpinned=InvalidAnswer, pinned=InvalidAnswer),
    row("F22 412", Status(412), unpinned=InvalidAnswer, pinned=GenerationGone),
    row("F23 404", Status(404), unpinned=NotFound, pinned=GenerationGone),
    row("F23 410", Status(410), unpinned=NotFound, pinned=GenerationGone),
    row("F24 416", Status(416), unpinned=RangeNotSatisfiable, pinned=GenerationGone),
    same("F26 403", Status(403), gives=PermissionDenied),
    same("401", Status(401), gives=Unauthenticated),
    same("F27 redirect to a metadata service", Redirect("http://169.254.169.254/latest/"), gives=InvalidAnswer),
    same("F28 304 that nobody asked for", UnconditionalNotModified(), gives=InvalidAnswer),
    same("F29 204 with a body", Relabel(204), gives=InvalidAnswer),
    same("F29 status 099", Relabel(99), gives=InvalidAnswer),
    same("F29 status 600", Relabel(600), gives=InvalidAnswer),
    same("F29 status 201", Relabel(201), gives=InvalidAnswer),
    same("F30 a hundred continues", ManyContinues(100), gives=RIGHT),
    same("F31 huge header", HugeHeader(10_000), gives=InvalidAnswer),
    same("F31 a thousand headers", ManyHeaders(1000), gives=InvalidAnswer),
    same("F31 headers of 40 KiB together", Headers({f"X-{i}": "x" * 8000 for i in range(5)}), gives=InvalidAnswer),
    same("F31 NUL in a header", Headers({"X-Odd": "a\0b"}), gives=InvalidAnswer),
    same("F31 control byte in a header", Headers({"X-Odd": "a\x02b"}), gives=InvalidAnswer),
    same("F32 lines that end in LF alone", BareLineFeeds(), gives=RIGHT),
    # The pinned request is the second one on its connection.
    row("F35 closes without an answer", CloseWithoutAnswer(), unpinned=Unavailable, pinned=StaleConnection),
    row("F35 resets without an answer", Reset(None), unpinned=Unavailable, pinned=StaleConnection),
    same("not HTTP", RawAnswer(b"SSH-2.0-OpenSSH_9.2\r\n"), gives=InvalidAnswer),
    same("429", Status(429), gives=Unavailable),
    same("500", Status(500), gives=Unavailable),
    same("502 with a page", Status(502, {"Content-Type": "text/html"}, b"<h1>no</h1>" * 20_000), gives=Unavailable),
    same("503", Status(503), gives=Unavailable),
    same("400", Status(400), gives=InvalidAnswer),
    same("200 with a Content-Length of words", Headers({"Content-Length": "many"}), gives=InvalidAnswer),
    same("200 with a negative Content-Length", Headers({"Content-Length": "-5"}), gives=InvalidAnswer),
    row("200 without any length", IgnoreRange(), Chunked(), unpinned=InvalidAnswer, pinned=BODY),
    row(
        "200 without any length, cut",
        IgnoreRange(),
        NoContentLength(),
        Cut(50),
        unpinned=InvalidAnswer,
        pinned=BodyCut,
    ),
]


async def check(store: WebStore, origin: Origin, given: Row, expected: type[OriginError] | bytes, *, pin: bool) -> None:
    if_match = await meta_of(store, REF) if pin else None
    origin.log.clear()
    origin.fail("object", *given.faults, times=None)
    if isinstance(expected, bytes):
        _, _, data = await read(store, REF, ASKED, if_match=if_match)
        assert data == expected
    else:
        with pytest.raises(expected) as raised:
            await read(store, REF, ASKED, if_match=if_match)
        assert raised.type is expected
    (request,) = origin.requests
    assert request.range == "bytes=16-31"
    assert request.headers.get("if-match") == ('"v1"' if pin else None)


@pytest.mark.parametrize("given", ROWS)
async def test_an_unpinned_request_gets_the_right_bytes_or_the_right_error(store: WebStore, origin: Origin, given: Row):
    await check(store, origin, given, given.unpinned, pin=False)


@pytest.mark.parametrize("given", ROWS)
async def test_a_pinned_request_gets_bytes_of_its_generation_or_the_right_error(
    store: WebStore, origin: Origin, given: Row
):
    await check(store, origin, given, given.pinned, pin=True)


@pytest.mark.parametrize("given", ROWS)
async def test_the_next_request_is_answered_rightly_whatever_came_before(store: WebStore, origin: Origin, given: Row):
    origin.fail("object", *given.faults)
    with contextlib.suppress(OriginError):
        await read(store, REF, ASKED)
    _, _, data = await read(store, REF, ASKED)
    assert data == RIGHT


async def test_bytes_after_the_announced_end_are_never_read_as_the_next_answer(store: WebStore, origin: Origin):
    origin.fail("object", ExtraBytes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"))
    try:
        _, _, data = await read(store, REF, ASKED)
    except InvalidAnswer:
        data = RIGHT
    assert data == RIGHT
    _, _, again = await read(store, REF, ASKED)
    assert again == RIGHT
    assert [request.connection for request in origin.requests] == [1, 2]


async def test_a_suffix_is_compared_with_the_end_of_the_object(store: WebStore, origin: Origin):
    assert (await read(store, REF, SuffixRange(7)))[2] == BODY[-7:]
    origin.fail("object", OtherRange(90, 100))
    with pytest.raises(InvalidAnswer):
        await read(store, REF, SuffixRange(7))


async def test_a_suffix_longer_than_the_object_is_the_whole_object(store: WebStore):
    _, range_, data = await read(store, REF, SuffixRange(1000))
    assert (range_, data) == (ByteRange(0, 100), BODY)


async def test_a_suffix_answered_with_200_gives_the_whole_object(store: WebStore, origin: Origin):
    origin.fail("object", IgnoreRange())
    _, range_, data = await read(store, REF, SuffixRange(7))
    assert (range_, data) == (ByteRange(0, 100), BODY)


async def test_a_range_beyond_the_end_is_clamped(store: WebStore):
    _, range_, data = await read(store, REF, ByteRange(90, 1000))
    assert (range_, data) == (ByteRange(90, 100), BODY[90:])


async def test_a_part_in_answer_to_a_request_for_the_whole_is_refused(store: WebStore, origin: Origin):
    origin.fail("object", Relabel(206), Headers({"Content-Range": "bytes 0-99/100"}))
    with pytest.raises(InvalidAnswer, match="whole was asked for"):
        await read(store, REF)


async def test_a_416_says_how_long_the_object_is(store: WebStore, origin: Origin):
    with pytest.raises(RangeNotSatisfiable) as raised:
        await read(store, REF, ByteRange(100, 200))
    assert raised.value.size == 100
    origin.fail("object", Status(416, {"Content-Range": "bytes */many"}))
    with pytest.raises(RangeNotSatisfiable) as raised:
        await read(store, REF, ByteRange(100, 200))
    assert raised.value.size is None


async def test_an_answer_of_another_version_tells_what_is_there_now(store: WebStore, origin: Origin):
    old = await meta_of(store, REF)
    origin.fail("object", IgnoreRange(), OtherETag('"v2"'))
    with pytest.raises(GenerationGone) as raised:
        await read(store, REF, ASKED, if_match=old)
    assert raised.value.current is not None
    assert str(raised.value.current.e_tag) == '"v2"'


async def test_a_version_without_a_validator_cannot_be_pinned(store: WebStore, origin: Origin):
    origin.fail("object", NoValidators(), times=None)
    meta = await meta_of(store, REF)
    assert (meta.validator, meta.generation) == ("", "")
    origin.log.clear()
    with pytest.raises(GenerationGone):
        await read(store, REF, ASKED, if_match=meta)
    assert len(origin.log) == 0


@pytest.mark.parametrize(
    ("fault", "retry_after_s", "throttled"),
    [
        (Status(503, {"Retry-After": "7"}), 7.0, True),
        (Status(429, {"Retry-After": "0"}), 0.0, True),
        (Status(500, {"Retry-After": "3"}), 3.0, False),
        (Status(503), None, True),
        (Status(503, {"x-amz-retry-after": "1500"}), 1.5, True),
        (Status(503, {"x-amz-retry-after": "250", "Retry-After": "7"}), 0.25, True),
        (Status(503, {"x-amz-retry-after": "soon", "Retry-After": "7"}), 7.0, True),
        (Status(503, {"x-amz-retry-after": "9" * 20}), None, True),
        (Status(503, {"Retry-After": "-1"}), None, True),
        (Status(503, {"Retry-After": "abc"}), None, True),
        (Status(503, {"Retry-After": "1" + "0" * 20}), None, True),
        (Status(503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), None, True),
    ],
)
async def test_throttling_and_its_wish_are_passed_on_if_sensible(
    store: WebStore, origin: Origin, fault: Status, retry_after_s: float | None, throttled: bool
):
    origin.fail("object", fault)
    with pytest.raises(Unavailable) as raised:
        await read(store, REF, ASKED)
    assert (raised.value.retry_after_s, raised.value.throttled) == (retry_after_s, throttled)


@pytest.mark.parametrize("fault", [Status(404), Status(403), Status(500)])
async def test_error_bodies_stay_out_of_messages(store: WebStore, origin: Origin, fault: Status):
    origin.fail("object", Status(fault.code, body=b"<secret>"))
    with pytest.raises(OriginError) as raised:
        await read(store, REF, ASKED)
    assert "secret" not in raised.value.message
