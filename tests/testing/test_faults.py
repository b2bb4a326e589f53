"""Each way in which the origin can be bad, seen over bare sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import (
    AddedHeaders,
    BareLineFeeds,
    Chunked,
    CloseWithoutAnswer,
    ContentEncoding,
    ContentRange,
    Cut,
    Drip,
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
    NoETag,
    NoValidators,
    OtherETag,
    OtherRange,
    RawAnswer,
    Redirect,
    Relabel,
    Reset,
    ShortRange,
    Stall,
    Status,
    TwoLengths,
    UnconditionalNotModified,
    WeakETag,
)
from rangecache.testing.origin import Origin
from tests.testing.conftest import CONTENT
from tests.testing.wire import Received, connected, get

if TYPE_CHECKING:
    from tests.testing.wire import Wire

ASKED = CONTENT[16:32]


async def faulty(origin: Origin, *faults: Fault, method: str = "GET") -> Received:
    """The answer to `bytes=16-31` with these faults."""
    origin.fail("b/k", *faults)
    return await get(origin.url, "/b/k", "Range: bytes=16-31", 'If-Match: "v1"', method=method)


async def faulty_raw(origin: Origin, *faults: Fault) -> bytes:
    """All that comes back to `bytes=16-31` on a connection that is to be kept, up to its end."""
    origin.fail("b/k", *faults)
    async with connected(origin.url) as wire:
        wire.send("/b/k", "Range: bytes=16-31")
        return await wire.rest()


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (Status(503, {"Retry-After": "7"}, b"SlowDown"), 503, b"SlowDown"),
        (Status(403), 403, b"the origin says no\n"),
        (Status(304, body=b""), 304, b""),
        (Relabel(204), 204, ASKED),
        (Relabel(99), 99, ASKED),
        (Relabel(600), 600, ASKED),
        (Redirect("http://127.0.0.1:1/"), 302, b""),
        (UnconditionalNotModified(), 304, b""),
        (IgnoreRange(), 200, CONTENT),
        (OtherRange(50, 66), 206, CONTENT[50:66]),
        (ShortRange(5), 206, CONTENT[16:21]),
        (LongRange(), 206, CONTENT),
        (ContentRange(None), 206, ASKED),
        (NoETag(), 206, ASKED),
        (ContentEncoding("br"), 206, ASKED),
    ],
    ids=repr,
)
async def test_status_and_body_are_what_the_fault_says(origin: Origin, fault: Fault, status: int, body: bytes) -> None:
    answer = await faulty(origin, fault)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("fault", "name", "value"),
    [
        (Status(503, {"Retry-After": "7"}), "Retry-After", "7"),
        (Status(503), "ETag", None),
        (Redirect("/elsewhere"), "Location", "/elsewhere"),
        (UnconditionalNotModified(), "ETag", '"v1"'),
        (IgnoreRange(), "Content-Range", None),
        (OtherRange(50, 66), "Content-Range", "bytes 50-65/100"),
        (ShortRange(5), "Content-Range", "bytes 16-20/100"),
        (LongRange(), "Content-Range", "bytes 0-99/100"),
        (ContentRange("bytes 16-31/*"), "Content-Range", "bytes 16-31/*"),
        (ContentRange(None), "Content-Range", None),
        (OtherETag('"v2"'), "ETag", '"v2"'),
        (OtherETag("unquoted"), "ETag", "unquoted"),
        (WeakETag(), "ETag", 'W/"v1"'),
        (NoETag(), "ETag", None),
        (NoETag(), "Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT"),
        (NoValidators(), "Last-Modified", None),
        (ContentEncoding(), "Content-Encoding", "gzip"),
        (Headers({"Date": "never", "Vary": "*"}), "Date", "never"),
        (HugeHeader(9000), "X-Huge", "x" * 9000),
        (ManyHeaders(1000), "X-Many-999", "x"),
    ],
    ids=lambda each: repr(each)[:60],
)
async def test_headers_are_what_the_fault_says(origin: Origin, fault: Fault, name: str, value: str | None) -> None:
    answer = await faulty(origin, fault)
    assert answer.header(name) == value
    assert answer.header("Date")


async def test_faults_are_combined_in_order(origin: Origin) -> None:
    answer = await faulty(origin, IgnoreRange(), OtherETag('"v2"'))
    assert (answer.status, answer.header("ETag"), answer.body) == (200, '"v2"', CONTENT)


async def test_one_range_can_come_as_multipart(origin: Origin) -> None:
    answer = await faulty(origin, Multipart("B"))
    assert answer.header("Content-Type") == "multipart/byteranges; boundary=B"
    assert answer.body == b"--B\r\nContent-Range: bytes 16-31/100\r\n\r\n" + ASKED + b"\r\n--B--\r\n"
    assert answer.header("Content-Length") == str(len(answer.body))


async def test_a_fault_of_ranges_leaves_other_answers_alone(origin: Origin) -> None:
    for fault in (IgnoreRange(), OtherRange(0, 1), ShortRange(1), Multipart(), ContentRange("bytes 0-0/1")):
        origin.fail("b/none", fault)
        assert (await get(origin.url, "/b/none", "Range: bytes=0-5")).status == 404
        origin.fail("b/k", fault)
        assert (await get(origin.url, "/b/k", 'If-None-Match: "v1"', "Range: bytes=0-5")).status == 304


# --- framing ------------------------------------------------------------------------------------------------------


async def test_a_body_can_lack_its_length_and_end_with_the_connection(origin: Origin) -> None:
    answer = Received.parse(await faulty_raw(origin, NoContentLength()))
    assert (answer.header("Content-Length"), answer.header("Transfer-Encoding"), answer.body) == (None, None, ASKED)
    assert Received.parse(await faulty_raw(origin, NoContentLength(), Cut(5))).body == ASKED[:5]


async def test_a_body_can_be_chunked_and_cut(origin: Origin) -> None:
    answer = await faulty(origin, Chunked())
    assert (answer.header("Transfer-Encoding"), answer.header("Content-Length")) == ("chunked", None)
    assert answer.body == b"10\r\n" + ASKED + b"\r\n0\r\n\r\n"
    cut = Received.parse(await faulty_raw(origin, Chunked(), Cut(5)))
    assert cut.body == b"5\r\n" + ASKED[:5] + b"\r\n"


async def test_framing_headers_can_contradict_each_other(origin: Origin) -> None:
    both = await faulty(origin, LengthAndChunked())
    assert (both.header("Content-Length"), both.header("Transfer-Encoding")) == ("16", "chunked")
    two = await faulty(origin, TwoLengths())
    assert [value for name, value in two.headers if name == "Content-Length"] == ["16", "17"]
    added = await faulty(origin, AddedHeaders((("ETag", '"v2"'), ("X-Bad", "a\0b"))))
    assert [value for name, value in added.headers if name in {"ETag", "X-Bad"}] == ['"v1"', '"v2"', "a\0b"]


async def test_more_bytes_can_come_than_were_announced(origin: Origin) -> None:
    answer = await faulty(origin, ExtraBytes(b"HTTP/1.1 200 OK"))
    assert (answer.header("Content-Length"), answer.body) == ("16", ASKED + b"HTTP/1.1 200 OK")


async def test_interim_answers_can_come_without_end(origin: Origin) -> None:
    raw = await faulty_raw(origin, ManyContinues(3), Cut(16))
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 206 ")


async def test_lines_can_end_in_a_bare_line_feed(origin: Origin) -> None:
    raw = await faulty_raw(origin, BareLineFeeds(), Cut(16))
    head, _, body = raw.partition(b"\n\n")
    assert (b"\r" in head, body) == (False, ASKED)


async def test_any_bytes_can_be_sent_for_an_answer(origin: Origin) -> None:
    assert await faulty_raw(origin, RawAnswer(b"SSH-2.0-OpenSSH\r\n")) == b"SSH-2.0-OpenSSH\r\n"
    assert origin.requests[0].status is None


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_bytes", [0, 5, 15])
async def test_a_cut_body_is_shorter_than_announced(origin: Origin, after_bytes: int) -> None:
    answer = Received.parse(await faulty_raw(origin, Cut(after_bytes)))
    assert (answer.status, answer.header("Content-Length"), answer.body) == (206, "16", ASKED[:after_bytes])
    assert origin.requests[0].body_bytes_sent == after_bytes
    assert not origin.requests[0].answered_whole


async def test_a_large_body_is_cut_at_exactly_the_byte(origin: Origin) -> None:
    origin.put("b/k", bytes(1_000_000))
    origin.fail("b/k", Cut(654_321))
    assert len((await get(origin.url, "/b/k")).body) == 654_321


async def test_a_connection_can_close_without_an_answer(origin: Origin) -> None:
    assert await faulty_raw(origin, CloseWithoutAnswer()) == b""
    assert origin.requests[0].status is None


async def test_a_reset_before_the_head_brings_nothing(origin: Origin) -> None:
    with pytest.raises(ConnectionResetError):
        await faulty_raw(origin, Reset())


async def test_a_reset_in_the_body_brings_what_was_sent_before(origin: Origin) -> None:
    origin.fail("b/k", Reset(after_bytes=7))
    async with connected(origin.url) as wire:
        wire.send("/b/k", "Range: bytes=16-31")
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 16\r\n" in head
        assert await wire.reader.readexactly(7) == ASKED[:7]
        with pytest.raises(ConnectionResetError):
            await wire.rest()


async def stays_silent(wire: Wire) -> bool:
    """Whether nothing comes while the loop has nothing else to do; data on loopback would be there at once."""
    try:
        async with asyncio.timeout(0.05):
            await wire.reader.readexactly(1)
    except TimeoutError:
        return True
    return False


async def test_a_stalled_answer_brings_no_more_until_the_client_leaves(origin: Origin) -> None:
    for after_bytes, first in ((None, b""), (0, b""), (5, ASKED[:5])):
        origin.fail("b/k", Stall(after_bytes))
        async with connected(origin.url) as wire:
            wire.send("/b/k", "Range: bytes=16-31")
            if after_bytes is not None:
                await wire.reader.readuntil(b"\r\n\r\n")
            assert await wire.reader.readexactly(len(first)) == first
            assert await stays_silent(wire)
            (connection,) = origin.connections
        await connection.lost()


async def test_a_dripping_body_comes_in_drops() -> None:
    clock = ManualClock()
    async with Origin(clock=clock) as origin, connected(origin.url) as wire:
        origin.put("b/k", b"abcd")
        origin.fail("b/k", Drip(2, 30.0))
        wire.send("/b/k")
        await wire.reader.readuntil(b"\r\n\r\n")
        assert await wire.reader.readexactly(2) == b"ab"
        await clock.wait_for_sleepers()
        assert origin.requests[0].body_bytes_sent == 2
        await clock.advance(30.0)
        assert await wire.reader.readexactly(2) == b"cd"


# --- which requests -----------------------------------------------------------------------------------------------


async def statuses(origin: Origin, *targets: str, method: str = "GET") -> list[int]:
    """Statuses of these requests, one after the other."""
    return [(await get(origin.url, target, method=method)).status for target in targets]


async def test_a_fault_happens_so_many_times_after_so_many_right_answers(origin: Origin) -> None:
    origin.fail("b/k", Status(503), times=2, skip=1)
    assert await statuses(origin, *["/b/k"] * 5) == [200, 503, 503, 200, 200]


async def test_faults_are_used_in_the_order_they_were_given(origin: Origin) -> None:
    origin.fail("b/k", Status(500))
    origin.fail("b/k", Status(503), skip=1)
    origin.fail("b/k", Status(429), times=None)
    assert await statuses(origin, *["/b/k"] * 5) == [500, 200, 503, 429, 429]
    origin.heal()
    assert await statuses(origin, "/b/k") == [200]


async def test_a_fault_is_for_one_object_or_for_all(origin: Origin) -> None:
    origin.put("b/l", b"")
    origin.fail("b/l", Status(503))
    assert await statuses(origin, "/b/k", "/b/l", "/b/l") == [200, 503, 200]
    origin.fail(None, Status(503))
    assert await statuses(origin, "/b/k", "/b/l") == [503, 200]
    origin.fail(None, Status(503), per_object=True)
    assert await statuses(origin, "/b/k", "/b/l", "/b/k", "/b/l") == [503, 503, 200, 200]


async def test_a_fault_can_be_for_one_method_or_any_other_choice(origin: Origin) -> None:
    origin.fail(None, Status(405), method="HEAD", times=None)
    assert await statuses(origin, "/b/k", method="HEAD") == [405]
    assert await statuses(origin, "/b/k") == [200]
    origin.fail(None, Status(503), when=lambda request: request.range == "bytes=5-9", times=None)
    assert (await get(origin.url, "/b/k", "Range: bytes=5-9")).status == 503
    assert (await get(origin.url, "/b/k", "Range: bytes=5-8")).status == 206


async def test_a_gate_holds_only_the_requests_it_is_for(origin: Origin) -> None:
    gate = origin.hold("b/k", skip=1)
    assert await statuses(origin, "/b/k") == [200]
    held = asyncio.create_task(get(origin.url, "/b/k"))
    await gate.reached()
    assert await statuses(origin, "/b/k") == [200]
    gate.release()
    assert (await held).status == 200
