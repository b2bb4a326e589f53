"""Cutting and reading heads, however the bytes arrive."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rangecache.model import ObjectRef
from rangecache.server.head import HEAD_BYTES_MAX, LINE_BYTES_MAX, HeadParser
from rangecache.server.head_buffer import HeadBuffer
from rangecache.server.problems import ProtocolError

CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
REF = ObjectRef("s3", "b", "k")
PIECES = st.sampled_from(
    [
        b"GET ", b"HEAD ", b"POST ", b"/s3/b/k", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ",
        b"Host: h\r\n", b"Range: bytes=0-1\r\n", b"Connection: close\r\n", b"Content-Length: 5\r\n", b"Expect: x\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"\x00", b"\xff", b"a" * 9000,
    ]
)  # fmt: skip
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


def cut(data: bytes, sizes: list[int]) -> tuple[list[bytes], bool]:
    """The heads found when `data` arrives in chunks of these sizes, and whether it was refused."""
    buffer, heads, at = HeadBuffer(), [], 0
    for size in [*sizes, len(data)]:
        chunk, at = data[at : at + size], at + size
        if not chunk:
            continue
        if buffer.completes(chunk):
            heads.append(chunk)
            continue
        buffer.feed(chunk)
        try:
            while (head := buffer.take()) is not None:
                heads.append(head)
        except ProtocolError:
            return heads, True
        assert len(buffer) <= HEAD_BYTES_MAX + LINE_BYTES_MAX + len(chunk)
    return heads, False


@given(STREAMS, st.lists(st.integers(1, 300), max_size=30))
@example(b"GET / HTTP/1.1\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", [17, 1])
@example(b"GET / HTTP/1.1\r\n\r\n", [3])
@example(b"\r\n" * 5, [2])
@example(b"GET / HTTP/1.1\r\n\r\n" + b"\r\nGET / HTTP/1.1\r\n\r\n" * 9, [18, 2, 18, 2, 18])
def test_heads_do_not_depend_on_how_the_bytes_arrive(data: bytes, sizes: list[int]) -> None:
    at_once, refused_at_once = cut(data, [])
    in_chunks, refused_in_chunks = cut(data, sizes)
    # A beginning that cannot become valid is refused as soon as it is seen, so chunks may find it out earlier: but only
    # in a head that would be refused anyway.
    common = min(len(at_once), len(in_chunks))
    assert at_once[:common] == in_chunks[:common]
    if len(at_once) != len(in_chunks):
        assert refused_in_chunks
        assert not is_valid(at_once[common])
    elif not refused_in_chunks:
        assert not refused_at_once


def is_valid(head: bytes) -> bool:
    """Whether a head by itself is accepted."""
    try:
        HeadParser().read(head)
    except ProtocolError:
        return False
    return True


@given(STREAMS)
def test_a_parser_that_has_read_one_head_reads_the_next_as_a_fresh_one_would(data: bytes) -> None:
    parser = HeadParser()
    for head in cut(data, [])[0]:
        try:
            parser.read(head)
        except ProtocolError as refusal:
            assert not is_valid(head)
            if refusal.close:
                break
        else:
            fresh = HeadParser()
            fresh.read(head)
            for name in ("method", "target", "host", "keep_alive", "old", "head_only"):
                assert getattr(parser, name) == getattr(fresh, name)
            assert parser.request(REF) == fresh.request(REF)
            if not parser.keep_alive:
                break


def read_by(parser: HeadParser, head: bytes) -> tuple[object, ...]:
    """Everything that a parser finds out about a head."""
    try:
        parser.read(head)
    except ProtocolError as refusal:
        return False, refusal.message
    names = ("keep_alive", "method", "target", "host", "old", "head_only")
    return *(getattr(parser, name) for name in names), parser.request(REF)


NUMBERS = st.text("0123456789-, \r\n:bytes=", max_size=25) | st.tuples(st.integers(0), st.integers(0)).map(
    "{0[0]}-{0[1]}".format
)
FIELDS = st.lists(
    st.sampled_from(
        [
            "X: bytes=0-1",
            "Connection: close",
            "Pragma: no-cache",
            'If-Range: "x"',
            "range: bytes=0-1",
            "Range:bytes=7-8",
        ]
    ),
    max_size=3,
)


@given(
    st.sampled_from(["GET /bytes=0-1", "HEAD /a", "GET /\r\nRange:", "PUT /a"]),
    FIELDS,
    FIELDS,
    st.lists(NUMBERS, min_size=2, max_size=5),
)
@example("GET /a", [], [], ["0-1", "0-1\r\nHost: x", "5-6"])
@example("GET /a", [], [], ["0-1", "", "-5", "5-", "0-1,3-4"])
def test_a_head_that_repeats_the_last_but_for_its_numbers_is_read_as_if_it_were_the_first(
    start: str, before: list[str], after: list[str], numbers: list[str]
) -> None:
    parser = HeadParser()
    for number in numbers:
        lines = [f"{start} HTTP/1.1", "Host: h", *before, f"Range: bytes={number}", *after, "", ""]
        head = "\r\n".join(lines).encode()
        if head.find(b"\r\n\r\n") != len(head) - 4:
            continue  # two heads
        found = read_by(parser, head)
        assert found == read_by(HeadParser(), head)
        if not found[0]:
            break  # the connection ends


def test_two_small_heads_do_not_overlap_into_a_remembered_one() -> None:
    parser = HeadParser()
    parser.read(b"GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n")
    parser.read(b"GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=\r\n\r\n")
    assert parser.request(REF).range == "bytes="


@given(st.binary(max_size=300))
def test_what_is_accepted_has_no_control_characters_and_no_bare_line_ends(data: bytes) -> None:
    for noise in (
        data,
        b"GET /" + data + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n",
    ):
        for head in cut(noise, [])[0]:
            if is_valid(head):
                assert not CONTROLS.search(head)
                assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n")


def test_nothing_of_one_request_is_left_for_the_next() -> None:
    parser = HeadParser()
    parser.read(b'HEAD /a HTTP/1.0\r\nHost: x\r\nRange: bytes=0-1\r\nIf-Match: "a"\r\nConnection: keep-alive\r\n\r\n')
    assert (parser.head_only, parser.old, parser.keep_alive) == (True, True, True)
    assert parser.request(REF).if_match == '"a"'
    parser.read(b"GET /b HTTP/1.1\r\nHost: y\r\n\r\n")
    assert (parser.method, parser.target, parser.host) == (b"GET", b"/b", b"y")
    request = parser.request(REF)
    assert (request.head, request.range, request.if_match) == (False, None, None)
    with pytest.raises(ProtocolError):
        parser.read(b"GET /b HTTP/9.9\r\nHost: y\r\n\r\n")
    assert (parser.method, parser.host, parser.keep_alive) == (b"", None, False)
