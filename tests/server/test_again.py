"""The short way of the answer that is given most must not be told from the usual one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rangecache.errors import Unavailable
from rangecache.model import ObjectRef
from rangecache.server import wire
from rangecache.server.again import answer_again
from rangecache.server.head import HeadParser
from rangecache.server.problems import ProtocolError
from tests.server.conftest import pattern, request_of
from tests.server.test_wire_flow import until

if TYPE_CHECKING:
    from rangecache.server.port import DataPort
    from rangecache.server.sending import Outbox
    from tests.server.conftest import Answer, Door

FIRST = request_of("/s3/b/k", "Range: bytes=3-7")
NUMBER = re.compile(rb"X-Request-Id: \S+")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each request for which it was tried: whether it was answered the short way."""
    tried: list[bool] = []

    def noting(port: DataPort, parser: HeadParser, outbox: Outbox, data: bytes) -> float | None:
        ended_s = answer_again(port, parser, outbox, data)
        tried.append(ended_s is not None)
        return ended_s

    monkeypatch.setattr(wire, "answer_again", noting)
    return tried


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers differ in nothing but their number."""
    return (NUMBER.sub(b"", one.raw_head), one.body) == (NUMBER.sub(b"", other.raw_head), other.body)


async def again(door: Door, *requests: bytes) -> list[Answer]:
    """The answers to these, one after the other on one connection."""
    client = await door.connect()
    answers = []
    for request in requests:
        client.send(request)
        answers.append(await client.answer(request.split(b" ")[0].decode()))
    return answers


async def test_the_last_request_with_other_numbers_is_answered_the_short_way(door: Door, taken: list[bool]) -> None:
    _, second, third = await again(
        door, FIRST, request_of("/s3/b/k", "Range: bytes=10-49"), request_of("/s3/b/k", "Range: bytes=99-5000")
    )
    assert taken == [False, True, True]
    assert (second.status, second.body) == (206, pattern(100)[10:50])
    assert (second.headers["Content-Range"], second.headers["Content-Length"]) == ("bytes 10-49/100", "40")
    assert (third.body, third.headers["Content-Range"]) == (pattern(100)[99:], "bytes 99-99/100")
    assert door.metrics.requests.total(provider="s3", method="GET", code="206", cache="hit") == 3
    assert sum(door.metrics.request_duration.cell("s3", "hit").counts) == 3


@pytest.mark.parametrize("field", ["Range: bytes=3-7", "range: bytes=3-7", "RANGE:bytes=3-7 ", "Range:\t BYTES=3-7"])
async def test_it_does_not_matter_how_the_field_is_spelled(door: Door, taken: list[bool], field: str) -> None:
    """hyper, and so every client in Rust, writes names in lower case."""
    request = request_of("/s3/b/k", "Accept: */*", field, "User-Agent: x")
    for answer in await again(door, request, request, request):
        assert answer.body == pattern(100)[3:8]
    assert taken == [False, True, True]


@pytest.mark.parametrize(
    "fields",
    [
        ("Range: bytes=5-3",),
        ("Range: bytes=100-200",),
        ("Range: bytes=5-",),
        ("Range: bytes=-5",),
        ("Range: bytes=1-2", 'If-None-Match: "v1"'),
        ("Range: bytes=1-2", 'If-Match: "other"'),
        ("Range: bytes=1-2", 'If-Range: "other"'),
        ("Range: bytes=1-2", "Cache-Control: no-cache"),
        ("Range: bytes=1-2", "Pragma: no-cache"),
        ("Range: bytes=1-2", "Connection: close"),
        ("Range: bytes=1-2", "Host: h"),
        ("Range: bytes=1-2", "Transfer-Encoding: chunked"),
        ("Range: bytes=1-2", "Expect: 200-maybe"),
        ("Range: bytes=1-99999999999999999999",),
        ("Range: bytes=１-2".encode().decode("latin-1"),),
        (),
    ],
)
async def test_every_other_request_is_answered_as_if_it_were_the_first(door: Door, fields: tuple[str, ...]) -> None:
    request = request_of("/s3/b/k", *fields)
    (alone,) = await again(door, request)
    _, _, after = await again(door, FIRST, FIRST, request)
    assert same(alone, after)


@pytest.mark.parametrize(
    "first",
    [
        request_of("/s3/b/k", "Range: bytes=3-7", 'If-None-Match: "v1"'),
        request_of("/s3/b/k", "Range: bytes=3-7", 'If-Match: "v1"'),
        request_of("/s3/b/k", "Range: bytes=3-7", 'If-Range: "other"'),
        request_of("/s3/b/k", "Range: bytes=3-7", "If-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT"),
        request_of("/s3/b/k", "Range: bytes=3-7", "If-Unmodified-Since: Sat, 21 Nov 2015 00:00:00 GMT"),
        request_of("/s3/b/k", "Range: bytes=3-7", "Cache-Control: no-cache"),
        request_of("/s3/b/k", "Range: bytes=3-7", "Pragma: no-cache"),
        request_of("/s3/b/k", "Range: bytes=3-7", method="HEAD"),
    ],
)
async def test_a_head_in_which_more_has_to_be_heeded_is_read_each_time(
    door: Door, taken: list[bool], first: bytes
) -> None:
    one, other = await again(door, first, first)
    assert same(one, other)
    assert taken == [False, False]


async def test_an_object_that_has_changed_failed_or_gone_is_seen(door: Door, taken: list[bool]) -> None:
    client = await door.connect()

    async def ask() -> Answer:
        client.send(FIRST)
        return await client.answer()

    assert (await ask()).body == (await ask()).body == pattern(100)[3:8]
    ref = door.reader.put("k", bytes(100))
    assert (await ask()).body == bytes(5)
    door.reader.errors[ref] = Unavailable("The origin is away.")
    assert (await ask()).status == 502
    del door.reader.errors[ref]
    assert (await ask()).status == 206
    del door.reader.objects[ref]
    assert (await ask()).status == 404
    assert taken == [False, True, True, False, True, False]


async def test_what_is_not_accepted_any_more_is_refused(door: Door) -> None:
    client = await door.connect()
    for number in range(4):
        if number == 2:
            door.port.router._cache.clear()
            door.port.router._allowed = lambda _: False
        client.send(FIRST)
        assert (await client.answer()).status == (403 if number >= 2 else 206)
    client = await door.connect()
    door.port.router._allowed = lambda _: True
    for number in range(4):
        if number == 2:
            door.port.accepts_host = lambda _: False
        client.send(FIRST)
        assert ("wrong-host" in (await client.answer()).headers["Cache-Status"]) is (number >= 2)


@given(st.lists(st.integers(0, 13), min_size=2, max_size=12))
@settings(max_examples=300, deadline=None)
def test_what_came_before_on_a_connection_changes_no_answer(order: list[int]) -> None:
    """Of the same heads, and of some that differ in little, in any order."""

    def parsed(parser: HeadParser, head: bytes) -> tuple[object, ...]:
        parser.read(head)
        request = parser.request(ObjectRef("s3", "b", "k"))
        return request, parser.method, parser.target, parser.host, parser.head_only, parser.keep_alive, parser.old

    heads = [
        *(request_of("/s3/b/k", f"Range: bytes={at}-{at + 5}") for at in range(3)),
        request_of("/s3/b/k"),
        request_of("/s3/b/k", method="HEAD"),
        request_of("/s3/b/other", "Range: bytes=0-5"),
        *(request_of("/s3/b/k", f"Range: bytes={at}-9", 'If-None-Match: "v1"') for at in range(2)),
        request_of("/s3/b/k", 'If-None-Match: "v1"'),
        request_of("/s3/b/k", "Range: bytes=0-5", "Cache-Control: no-cache"),
        *(request_of("/s3/b/k", f"Range: bytes={at}-9", "Pragma: no-cache") for at in range(2)),
        request_of("/s3/b/k", "Range: bytes=0-5", "Connection: keep-alive"),
        request_of("/s3/b/k", "Range: bytes=0-5,7-9"),
    ]
    experienced = HeadParser()
    for number in order:
        assert parsed(experienced, heads[number]) == parsed(HeadParser(), heads[number])


async def test_draining_ends_the_connection_with_the_next_answer(door: Door) -> None:
    client = await door.connect()
    for _ in range(2):
        client.send(FIRST)
        await client.answer()
    door.port.draining = True
    client.send(FIRST)
    answer = await client.answer()
    assert (answer.status, answer.headers["Connection"]) == (206, "close")
    assert await client.rest() == b""


async def test_an_empty_line_after_each_request_is_forgiven_for_ever(door: Door) -> None:
    """Four empty lines may stand before a request, and each request begins to count anew."""
    client = await door.connect()
    for _ in range(12):
        client.send(FIRST)
        assert (await client.answer()).status == 206
        (connection,) = door.port.connections
        assert connection._heads.empty_lines == 0
        client.send(b"\r\n")
        await until(lambda: connection._heads.empty_lines == 1)  # noqa: B023 - called at once


async def test_requests_in_pieces_and_in_heaps_are_answered_in_order(door: Door) -> None:
    client = await door.connect()
    client.send(FIRST)
    await client.answer()
    client.send(FIRST[:-9])
    await until(lambda: any(connection._part_of_head for connection in door.port.connections))
    client.send(FIRST[-9:] + b"".join(request_of("/s3/b/k", f"Range: bytes={at}-{at}") for at in range(20)))
    assert (await client.answer()).body == pattern(100)[3:8]
    for at in range(20):
        assert (await client.answer()).body == pattern(100)[at : at + 1]


@pytest.mark.parametrize(("host", "status"), [(b"", 416), (b"Host: localhost\r\n", 400)])
async def test_a_request_within_a_field_of_another_is_none(door: Door, host: bytes, status: int) -> None:
    """Without a Host of its own, the one request has that of the other; otherwise it has two."""
    client = await door.connect()
    client.send(FIRST)
    await client.answer()
    client.send(b"GET /s3/b/empty HTTP/1.1\r\n" + host + b"X-Quote: ")
    await until(lambda: any(connection._part_of_head for connection in door.port.connections))
    client.send(FIRST)
    assert (await client.answer()).status == status


@given(
    head=st.sampled_from([FIRST, request_of("/s3/b/k", "range: bytes=3-7"), request_of("/s3/b/k", "Range: BYTES=3-7")]),
    change=st.tuples(st.integers(0, 80), st.integers(0, 12), st.binary(max_size=12)),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_numbers_are_found_only_where_a_parser_that_knows_nothing_finds_them(
    head: bytes, change: tuple[int, int, bytes]
) -> None:
    at, cut, put = change
    other = head[:at] + put + head[at + cut :]
    experienced, fresh = HeadParser(), HeadParser()
    experienced.read(head)
    numbers = experienced.again(other)
    if numbers is None:
        return
    fresh.read(other)  # it is a valid head …
    request = fresh.request(ObjectRef("s3", "b", "k"))
    assert request.range is not None
    first, _, last = request.range.partition("=")[2].partition("-")
    assert (int(first), int(last)) == numbers
    assert (fresh.target, fresh.host, fresh.method) == (experienced.target, experienced.host, experienced.method)
    assert (fresh.keep_alive, fresh.old, request.conditional, request.cache_control) == (True, False, False, None)


@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_such_head_are_left_alone(data: bytes) -> None:
    parser = HeadParser()
    assert parser.again(data) is None
    parser.read(FIRST)
    assert parser.again(data) is None
    with pytest.raises(ProtocolError):
        parser.read(b"GET /s3/b/k HTTP/1.1\r\n\r\n")
    assert parser.again(FIRST) is None
