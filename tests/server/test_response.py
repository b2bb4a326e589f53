"""What is printed about an object, and what an origin cannot put into it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.model import ETag, ObjectRef
from rangecache.ranges import ByteRange
from rangecache.read.messages import HIT_MEMORY, CacheStatus, Reply
from rangecache.server import response as response_module
from rangecache.server.directories import DirectoryReply
from rangecache.server.fields import cache_control, content_type, other_fields
from rangecache.server.multipart import BodyMismatch, Framer
from rangecache.server.response import CLOSE, HeadPrinter, cache_status
from rangecache.testing.clock import ManualClock
from tests.server.conftest import make_meta

REF = ObjectRef("s3", "b", "k")


def lines_of(head: bytes) -> list[str]:
    """The lines of a head, whose end has to be right."""
    assert head.endswith(b"\r\n\r\n")
    return head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


def make_reply(*ranges: ByteRange, status: int = 206, cache: CacheStatus = HIT_MEMORY, **changes: object) -> Reply:
    """An answer about an object of 100 bytes."""
    return Reply(status, make_meta(REF, bytes(100), **changes), cache, 12, ranges)


@pytest.fixture
def printer() -> HeadPrinter:
    """A printer at 2027-01-15T08:00:00Z."""
    return HeadPrinter(ManualClock())


def test_the_fields_of_a_part_come_in_a_fixed_order_and_case(printer: HeadPrinter) -> None:
    reply = make_reply(
        ByteRange(5, 15), content_encoding="gzip", headers={"content-type": "a/b; c=d", "cache-control": "max-age=5"}
    )
    run = printer._run.decode()
    assert lines_of(printer.partial(reply)) == [
        "HTTP/1.1 206 Partial Content",
        "Content-Type: a/b; c=d",
        "Content-Length: 10",
        "Content-Range: bytes 5-14/100",
        "Accept-Ranges: bytes",
        'ETag: "v1"',
        "Last-Modified: Fri, 20 Nov 2026 23:05:00 GMT",
        "Content-Encoding: gzip",
        "Cache-Control: max-age=5",
        "Age: 12",
        "Date: Fri, 15 Jan 2027 08:00:00 GMT",
        "Cache-Status: rangecache; hit; detail=memory",
        f"X-Request-Id: {run}-1",
        "X-Content-Type-Options: nosniff",
        "Server: rangecache",
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "Text/HTML; charset=utf-8",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "multipart/related",
    ],
)
def test_a_page_in_a_bucket_is_no_page_of_ours_to_a_browser(kind: str, printer: HeadPrinter) -> None:
    reply = make_reply(ByteRange(0, 1), headers={"content-type": kind})
    several = make_reply(ByteRange(0, 1), ByteRange(50, 51), headers={"content-type": kind})
    for head in (
        printer.partial(reply),
        printer.whole(reply),
        printer.multipart(several, printer.framer(several)),
    ):
        assert "Content-Security-Policy: sandbox" in lines_of(head)


@pytest.mark.parametrize("kind", ["image/tiff", "application/octet-stream", "application/json", "text/plain"])
def test_what_no_browser_runs_has_no_policy(kind: str, printer: HeadPrinter) -> None:
    head = printer.whole(make_reply(ByteRange(0, 1), status=200, headers={"content-type": kind}))
    assert not any(line.startswith("Content-Security-Policy") for line in lines_of(head))


def test_the_whole_object_and_the_end_of_the_connection(printer: HeadPrinter) -> None:
    lines = lines_of(printer.whole(make_reply(status=200), CLOSE))
    assert lines[:4] == ["HTTP/1.1 200 OK", "Content-Type: text/plain", "Content-Length: 100", "Accept-Ranges: bytes"]
    assert lines[-1] == "Connection: close"
    assert not any(line.startswith("Content-Range") for line in lines)


def test_percent_signs_of_the_origin_are_no_format(printer: HeadPrinter) -> None:
    reply = make_reply(ByteRange(0, 1), e_tag=ETag("50%d%s%%"), headers={"content-type": 'a/b; c="%d"'})
    lines = lines_of(printer.partial(reply))
    assert 'ETag: "50%d%s%%"' in lines
    assert 'Content-Type: a/b; c="%d"' in lines


def test_a_weak_tag_stays_weak_and_missing_fields_stay_away(printer: HeadPrinter) -> None:
    assert 'ETag: W/"x"' in lines_of(printer.partial(make_reply(ByteRange(0, 1), e_tag=ETag("x", weak=True))))
    names = {line.split(":")[0] for line in lines_of(printer.whole(make_reply(e_tag=None, last_modified=None)))}
    assert names.isdisjoint({"ETag", "Last-Modified", "Content-Encoding", "Cache-Control"})


def test_the_date_moves_with_the_clock() -> None:
    clock = ManualClock()
    printer = HeadPrinter(clock)
    clock.wall_s = datetime(2027, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp() + 0.9
    printer.tick()
    assert "Date: Wed, 03 Feb 2027 04:05:06 GMT" in lines_of(printer.whole(make_reply(status=200)))


def test_request_ids_are_never_repeated(printer: HeadPrinter) -> None:
    reply = make_reply(ByteRange(0, 1))
    directory = printer.directory(DirectoryReply(404, None, b"", HIT_MEMORY))
    heads = [printer.partial(reply), printer.whole(reply), printer.not_modified(reply), directory]
    ids = {line for head in heads for line in lines_of(head) if line.startswith("X-Request-Id")}
    assert len(ids) == 4


def test_templates_belong_to_one_version_and_are_bounded(printer: HeadPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_module, "CACHED_TEMPLATES_MAX", 10)
    for number in range(100):
        reply = make_reply(ByteRange(0, 1), e_tag=ETag(f"v{number}"))
        for _ in range(2):
            assert f'ETag: "v{number}"' in lines_of(printer.partial(reply))
        assert len(printer._templates) <= 10


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (HIT_MEMORY, "rangecache; hit; detail=memory"),
        (
            CacheStatus("miss", fwd="uri-miss", fwd_status=206, stored=True),
            "rangecache; fwd=uri-miss; fwd-status=206; stored",
        ),
        (CacheStatus("partial", fwd="partial", collapsed=True), "rangecache; fwd=partial; collapsed"),
        (CacheStatus("revalidated", fwd="stale", fwd_status=304), "rangecache; fwd=stale; fwd-status=304"),
        (CacheStatus("stale", hit=True, ttl_s=-12), "rangecache; hit; ttl=-12"),
        (CacheStatus("bypass", fwd="bypass"), "rangecache; fwd=bypass"),
    ],
)
def test_cache_status_says_how_the_answer_came_about(status: CacheStatus, text: str) -> None:
    assert cache_status(status) == text
    printer = HeadPrinter(ManualClock())
    assert f"Cache-Status: {text}" in lines_of(printer.partial(make_reply(ByteRange(0, 1), cache=status)))


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("image/tiff; application=geotiff", "image/tiff; application=geotiff"),
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ('text/html; x="\r\nX-Evil: 1"', "application/octet-stream"),
        ("text/html\r\nX-Evil: 1", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("text/plain; charset=é", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a/b" + "; c=d" * 1000, "application/octet-stream"),
    ],
)
def test_a_media_type_is_shown_only_if_it_is_one(stated: str, shown: str) -> None:
    assert content_type(make_meta(REF, b"", headers={"content-type": stated})) == shown


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("max-age=60", "max-age=60"),
        ("public, max-age=31536000, immutable", "public, max-age=31536000, immutable"),
        ("no-cache", "max-age=0, must-revalidate"),
        ("no-cache, max-age=100", "max-age=0, must-revalidate"),
        ("max-age=100, no-cache", "max-age=0, must-revalidate"),
        ("NO-CACHE", "max-age=0, must-revalidate"),
        ('no-cache="set-cookie", max-age=5', "max-age=5"),
        ("private,no-store ,", "private, no-store"),
        ("max-age=1x, s-maxage=2, max-age", "s-maxage=2"),
        ("max-age=5, max-age=9", "max-age=5"),
        ("community=x, stale-while-revalidate=10", "stale-while-revalidate=10"),
        ("max-age=5\r\nX-Evil: 1", "no-store"),
        ('max-age=5, "', "no-store"),
        ("max-age=\u0665", "no-store"),
        (", ,max-age=1,,", "max-age=1"),
        ("", ""),
    ],
)
def test_cache_control_is_shown_by_allow_list_and_never_as_no_cache(stated: str, shown: str) -> None:
    assert cache_control(stated) == shown


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["no-cache", "max-age=1", "=", '"', ",", "x=y", " ", "\r\n"])).map("".join)
)
def test_whatever_cache_control_says_our_own_is_well_formed(stated: str) -> None:  # fmt: skip
    shown = cache_control(stated)
    assert "no-cache" not in shown
    assert all(0x20 <= ord(character) < 0x7F for character in shown)
    assert cache_control(shown) == shown


ORIGIN_FIELDS = {
    "content-disposition": "attachment; filename=x",
    "x-amz-meta-Owner": "me",
    "set-cookie": "SECRET",
    "connection": "x-hop, close",
    "x-hop": "1",
    "transfer-encoding": "chunked",
    "content-length": "7",
    "x-amz-checksum-crc32": "x",
    "content-md5": "x",
    "x-evil": "a\r\nX-Injected: 1",
    "bad name": "x",
    "cache-control": "no-cache",
    "accept-ranges": "none",
    "server": "origin",
}


def test_by_default_the_origins_other_fields_stay_behind(printer: HeadPrinter) -> None:
    head = printer.whole(make_reply(status=200, headers=ORIGIN_FIELDS)).decode()
    assert "Cache-Control: max-age=0, must-revalidate\r\n" in head
    for word in ("Disposition", "Owner", "SECRET", "Injected", "hop", "none", "origin\r", "chunked"):
        assert word not in head


def test_a_bucket_may_pass_all_end_to_end_fields() -> None:
    meta = make_meta(REF, b"", headers=ORIGIN_FIELDS)
    assert list(other_fields(meta)) == [
        ("Content-Disposition", "attachment; filename=x"),
        ("X-Amz-Meta-Owner", "me"),
    ]
    printer = HeadPrinter(ManualClock(), lambda meta: meta.ref.bucket == "b")
    assert "X-Amz-Meta-Owner: me" in lines_of(printer.partial(make_reply(ByteRange(0, 1), headers=ORIGIN_FIELDS)))


def test_a_304_has_what_a_cache_needs_and_no_more(printer: HeadPrinter) -> None:
    reply = make_reply(status=304, content_encoding="gzip", headers={"cache-control": "max-age=1"})
    names = [line.split(":")[0] for line in lines_of(printer.not_modified(reply))[1:-3]]
    assert names == ["ETag", "Last-Modified", "Cache-Control", "Age", "Date", "Cache-Status"]


RANGES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda pair: ByteRange(pair[0], pair[0] + pair[1])),
    min_size=2,
    max_size=5,
)


@given(RANGES, st.integers(1, 9))
def test_a_multipart_body_is_exactly_as_long_as_announced(ranges: list[ByteRange], piece: int) -> None:
    data = bytes(range(100))
    framer = Framer.multipart(ranges, 100, "a/b")
    view = memoryview(data)
    pieces = [view[at : min(at + piece, each.end)] for each in ranges for at in range(each.start, each.end, piece)]
    body = b"".join(framer.parts(pieces))
    assert len(body) == framer.content_length
    assert body.count(framer.boundary.encode()) == len(ranges) + 1
    for each in ranges:
        assert f"Content-Range: {each.content_range(100)}\r\n\r\n".encode() + data[each.start : each.end] in body


@pytest.mark.parametrize("lengths", [[3, 5], [4, 4], [5, 4], [9], [4], []])
def test_pieces_that_do_not_fit_the_ranges_are_noticed(lengths: list[int]) -> None:
    framer = Framer.multipart([ByteRange(0, 4), ByteRange(6, 11)], 100, "a/b")
    with pytest.raises(BodyMismatch):
        list(framer.parts(memoryview(bytes(length)) for length in lengths))


def test_empty_pieces_mean_nothing() -> None:
    framer = Framer(2)
    empty, one = memoryview(b""), memoryview(b"x")
    assert b"".join(framer.parts([empty, one, empty, one, empty])) == b"xx"
    assert b"".join(Framer(0).parts([empty])) == b""
