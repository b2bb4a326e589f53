"""Ranges and conditions through a raw socket, on an object of 100 bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from rangecache.model import ETag
from rangecache.ranges import ByteRange
from tests.server.conftest import pattern, request_of

if TYPE_CHECKING:
    from tests.server.conftest import Door

DATA = pattern(100)

SINGLE = {
    "bytes=0-9": (0, 10),
    "bytes=90-": (90, 100),
    "bytes=-10": (90, 100),
    "bytes=-1000": (0, 100),
    "bytes=0-18446744073709551615": (0, 100),
    "bytes=99-99": (99, 100),
    "BYTES=0-9": (0, 10),
    "bytes=0-" + "9" * 5000: (0, 100),
    "bytes=0-9,": (0, 10),
    "bytes=0-9,200-300": (0, 10),
}


@pytest.mark.parametrize("value", SINGLE)
async def test_a_range_is_answered_with_exactly_its_bytes(door: Door, value: str) -> None:
    answer = await door.get("/s3/b/k", f"Range: {value}")
    start, end = SINGLE[value]
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.body == DATA[start:end]


NOT_SATISFIABLE = [
    "bytes=100-", "bytes=100-200", "bytes=-0", "bytes=9-5", "bytes=-", "bytes=", "bytes", "=0-1", "bytes= 0-9",
    "bytes=0 - 9", "bytes=+0-9", "bytes=0x0-0x9", "bytes=1_0-2_0", "bytes=\u0660-\u0669".encode().decode("latin-1"),
    "bytes=0-" + ",0-" * 1300, "", "bytes=0-9;1-2", "bytes=0-1,5-3",
]  # fmt: skip


@pytest.mark.parametrize("value", NOT_SATISFIABLE, ids=lambda value: value[:16])
async def test_a_range_without_satisfiable_part_is_416_with_the_size(door: Door, value: str) -> None:
    answer = await door.get("/s3/b/k", f"Range: {value}")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */100"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("value", ["items=0-9", "seconds=1-2"])
async def test_a_range_in_an_unknown_unit_is_ignored(door: Door, value: str) -> None:
    answer = await door.get("/s3/b/k", f"Range: {value}")
    assert (answer.status, answer.body) == (200, DATA)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("value", ["bytes=0-1,3-4", "bytes=0-0,-1", "bytes=90-99,0-4,10-19", "bytes=5-9, 0-4 ,\t1-2"])
async def test_several_ranges_come_as_parts_in_the_order_asked(door: Door, value: str) -> None:
    answer = await door.get("/s3/b/k", f"Range: {value}")
    assert answer.status == 206
    kind = answer.headers["Content-Type"]
    assert (match := re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", kind)), kind
    assert "Content-Range" not in answer.headers
    wanted = []
    for spec in value.removeprefix("bytes=").split(","):
        first, last = spec.strip().split("-")
        wanted.append(ByteRange(int(first), int(last) + 1) if first else ByteRange(100 - int(last), 100))
    assert read_parts(answer.body, match[1]) == [
        ({"Content-Type": "text/plain", "Content-Range": each.content_range(100)}, DATA[each.start : each.end])
        for each in wanted
    ]


def read_parts(body: bytes, boundary: str) -> list[tuple[dict[str, str], bytes]]:
    """Parse as RFC 2046 section 5.1.1 says: CRLF, two hyphens and the boundary separate the parts."""
    preamble, *parts, epilogue = body.split(f"\r\n--{boundary}".encode())
    assert (preamble, epilogue) == (b"", b"--\r\n")
    read = []
    for part in parts:
        head, data = part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        read.append((fields, data))
    return read


async def test_head_tells_about_the_whole_object_and_ignores_the_range(door: Door) -> None:
    get = await door.get("/s3/b/k")
    client = await door.connect()
    client.send(request_of("/s3/b/k", "Range: bytes=0-9", "Connection: close", method="HEAD"))
    head = await client.answer("HEAD")
    assert head.status == 200
    assert await client.rest() == b"", "no byte of a body"
    same = set(get.headers) - {"X-Request-Id", "Connection"}
    assert {name: head.headers[name] for name in same} == {name: get.headers[name] for name in same}
    assert head.headers["Content-Length"] == "100"


@pytest.mark.parametrize(
    ("value", "status"), [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-5", 200), ("bytes=-0", 416), (None, 200)]
)
async def test_an_empty_object_has_no_ranges(door: Door, value: str | None, status: int) -> None:
    answer = await door.get("/s3/b/empty", *([f"Range: {value}"] if value else []))
    assert (answer.status, answer.headers.get("Content-Range")) == (status, "bytes */0" if status == 416 else None)
    if status == 200:
        assert answer.body == b""


DATE = "Fri, 20 Nov 2026 23:05:00 GMT"
LATER = "Fri, 20 Nov 2026 23:05:01 GMT"
CONDITIONS = [
    (['If-None-Match: "v1"', "Range: bytes=0-9"], 304),
    (['If-None-Match: W/"v1"'], 304),
    (['If-None-Match: "v0"'], 200),
    (["If-None-Match: *"], 304),
    ([f"If-None-Match: {', '.join(chr(34) + f't{i}' + chr(34) for i in range(500))}"], 200),
    (['If-Match: "v0"'], 412),
    (['If-Match: "v1"', "Range: bytes=0-9"], 206),
    (['If-Match: W/"v1"'], 412),
    (['If-Match: "v1", "v1'], 400),
    (['If-Range: "v1"', "Range: bytes=0-9"], 206),
    (['If-Range: "v0"', "Range: bytes=0-9"], 200),
    (['If-Range: W/"v1"', "Range: bytes=0-9"], 200),
    (['If-Range: "v1"'], 200),
    ([f"If-Range: {DATE}", "Range: bytes=0-9"], 206),
    ([f"If-Range: {LATER}", "Range: bytes=0-9"], 200),
    ([f"If-Modified-Since: {DATE}"], 304),
    (["If-Modified-Since: garbage"], 200),
    ([f"If-Unmodified-Since: {DATE}"], 200),
    (["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], 412),
    (["Authorization: Bearer SECRET", "X-Forwarded-Host: evil", "X-Amz-Security-Token: SECRET"], 200),
]


@pytest.mark.parametrize(("fields", "status"), CONDITIONS, ids=lambda value: str(value)[:40])
async def test_conditions_are_passed_on_and_their_answers_printed(door: Door, fields: list[str], status: int) -> None:
    client = await door.connect()
    client.send(request_of("/s3/b/k", *fields) + request_of("/s3/b/k", "Range: bytes=7-8"))
    answer = await client.answer()
    assert answer.status == status
    assert b"SECRET" not in answer.raw_head + answer.body
    if status in {200, 206, 304, 412}:
        assert answer.headers["ETag"] == '"v1"'
    if status == 304:
        assert answer.headers["Last-Modified"] == DATE
        assert "Content-Length" not in answer.headers
        assert "Content-Type" not in answer.headers
    assert (await client.answer()).body == DATA[7:9], "the next answer begins where this one ended"


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        (["Cache-Control: no-cache"], "no-cache"),
        (["Cache-Control: max-age=0", "Cache-Control: only-if-cached"], "max-age=0, only-if-cached"),
        (["Pragma: no-cache"], "no-cache"),
        (["Pragma: No-Cache", "Range: bytes=0-0"], "no-cache"),
        (["Pragma: no-cache", "Cache-Control: max-age=5"], "max-age=5"),
        (["Pragma: x"], None),
        ([], None),
    ],
)
async def test_the_clients_cache_directives_reach_the_reader(door: Door, fields: list[str], passed: str | None) -> None:
    await door.get("/s3/b/k", *fields)
    assert door.reader.requests[-1].cache_control == passed


async def test_each_field_reaches_the_reader_in_its_own_place(door: Door) -> None:
    names = ["Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"]
    await door.get("/s3/b/k", *(f'{name}: "{number}"' for number, name in enumerate(names)))
    request = door.reader.requests[-1]
    assert [getattr(request, name.lower().replace("-", "_")) for name in names] == [f'"{i}"' for i in range(6)]


async def test_the_entity_tag_may_hold_any_octet_the_grammar_allows(door: Door) -> None:
    door.reader.put("odd", b"x", e_tag=ETag("a\xe9%d"))
    answer = await door.get("/s3/b/odd", 'If-None-Match: "a\xe9%d"')
    assert (answer.status, answer.headers["ETag"]) == (304, '"a\xe9%d"')
    answer = await door.get("/s3/b/odd", "Range: bytes=0-0")
    assert (answer.status, answer.headers["ETag"]) == (206, '"a\xe9%d"')
