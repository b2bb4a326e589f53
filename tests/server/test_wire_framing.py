"""Requests that are not quite HTTP/1.1, over a raw socket: what each is answered, and that nothing of it comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rangecache.server.wire import LINGER_BYTES, LINGER_S
from tests.server.conftest import request_of

if TYPE_CHECKING:
    from tests.server.conftest import Door

HOST = b"Host: h\r\n"
GET = b"GET /s3/b/k HTTP/1.1\r\n"
POST = b"POST /s3/b/k HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"\r\n"

REFUSED = {
    "length and chunked": (POST + HOST + b"Content-Length: 5\r\n" + CHUNKED + END, 400),
    "two lengths": (GET + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n" + END, 400),
    "the same length twice": (GET + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n" + END, 400),
    "length zero twice": (GET + HOST + b"Content-Length: 0\r\nContent-Length: 0\r\n" + END, 400),
    "length with a sign": (GET + HOST + b"Content-Length: +5\r\n" + END, 400),
    "length list": (GET + HOST + b"Content-Length: 5, 5\r\n" + END, 400),
    "length empty": (GET + HOST + b"Content-Length:\r\n" + END, 400),
    "unknown coding": (GET + HOST + b"Transfer-Encoding: xchunked\r\n" + END, 400),
    "gzip coding": (GET + HOST + b"Transfer-Encoding: gzip\r\n" + END, 400),
    "chunked not last": (GET + HOST + b"Transfer-Encoding: chunked, identity\r\n" + END, 400),
    "chunked twice": (GET + HOST + CHUNKED + CHUNKED + END, 400),
    "vertical tab before chunked": (GET + HOST + b"Transfer-Encoding: \x0bchunked\r\n" + END, 400),
    "identity coding": (GET + HOST + b"Transfer-Encoding: identity\r\n" + END, 400),
    "chunked in HTTP/1.0": (b"POST /s3/b/k HTTP/1.0\r\n" + HOST + CHUNKED + END, 400),
    "chunked GET in HTTP/1.0": (b"GET /s3/b/k HTTP/1.0\r\n" + HOST + CHUNKED + END, 400),
    "GET with a request as its body": (
        GET + HOST + b"Content-Length: 41\r\n" + END + b"GET /s3/b/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        400,
    ),
    "chunk extension with LF": (GET + HOST + CHUNKED + END + b"2;\nxx\r\n0\r\n\r\n", 400),
    "chunk with bare LF": (GET + HOST + CHUNKED + END + b"0\n\r\n", 400),
    "chunk of size -1": (GET + HOST + CHUNKED + END + b"-1\r\n", 400),
    "gzip request bomb": (GET + HOST + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n" + END + b"\x1f\x8b", 400),
    "bare LF everywhere": (b"GET /s3/b/k HTTP/1.1\nHost: h\n\n", 400),
    "bare LF after a field": (GET + b"Host: h\nX: y\r\n" + END, 400),
    "bare LF at the end": (GET + HOST + b"\n", 400),
    "bare CR in a field": (GET + HOST + b"X-A: a\rTransfer-Encoding: chunked\r\n" + END, 400),
    "NUL in a field": (GET + HOST + b"X-A: SECRET\x00b\r\n" + END, 400),
    "control byte in a token": (GET + HOST + b"Authorization: Bearer SECRET\x01\r\n" + END, 400),
    "DEL in a field": (GET + HOST + b"X-A: SECRET\x7f\r\n" + END, 400),
    "folded line": (GET + HOST + b"X-A: a\r\n b\r\n" + END, 400),
    "space before the colon": (GET + HOST + b"Range : bytes=0-1\r\n" + END, 400),
    "space before the first field": (GET + b" Host: h\r\n" + END, 400),
    "no field name": (GET + HOST + b": SECRET\r\n" + END, 400),
    "no colon": (GET + HOST + b"SECRET\r\n" + END, 400),
    "two hosts": (GET + HOST + HOST + END, 400),
    "two hosts, one empty": (GET + HOST + b"Host:\r\n" + END, 400),
    "no host": (GET + END, 400),
    "two ranges fields": (GET + HOST + b"Range: bytes=0-1\r\nRange: bytes=2-3\r\n" + END, 400),
    "two If-Match fields": (GET + HOST + b'If-Match: "a"\r\nIf-Match: "b"\r\n' + END, 400),
    "two If-Range fields": (GET + HOST + b'If-Range: "a"\r\nIf-Range: "b"\r\n' + END, 400),
    "HTTP/0.9": (b"GET /s3/b/k\r\n", 400),
    "HTTP/0.9 by name": (b"GET /s3/b/k HTTP/0.9\r\n" + HOST + END, 505),
    "HTTP/2.0": (b"GET /s3/b/k HTTP/2.0\r\n" + HOST + END, 505),
    "HTTP/2": (b"GET /s3/b/k HTTP/2\r\n" + HOST + END, 505),
    "HTTP/1.2": (b"GET /s3/b/k HTTP/1.2\r\n" + HOST + END, 505),
    "HTTP/1.10": (b"GET /s3/b/k HTTP/1.10\r\n" + HOST + END, 400),
    "RTSP": (b"GET /s3/b/k RTSP/1.0\r\n" + HOST + END, 400),
    "lower-case version": (b"GET /s3/b/k http/1.1\r\n" + HOST + END, 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "absolute form": (b"GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\n" + HOST + END, 400),
    "absolute form of another": (b"GET https://evil/s3/b/k HTTP/1.1\r\n" + HOST + END, 400),
    "CONNECT": (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n" + HOST + END, 405),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + END, 405),
    "OPTIONS": (b"OPTIONS /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "lower-case method": (b"get /s3/b/k HTTP/1.1\r\n" + HOST + END, 400),
    "PUT": (b"PUT /s3/b/k HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n" + END + b"abc", 405),
    "POST": (POST + HOST + END, 405),
    "DELETE": (b"DELETE /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "PATCH": (b"PATCH /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "PURGE": (b"PURGE /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "PROPFIND": (b"PROPFIND /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "a method nobody knows": (b"FETCH /s3/b/k HTTP/1.1\r\n" + HOST + END, 405),
    "ICE": (b"SOURCE /s3/b/k ICE/1.0\r\n" + HOST + END, 400),
    "unknown expectation": (GET + HOST + b"Expect: 200-maybe\r\n" + END, 417),
    "expectation list": (GET + HOST + b"Expect: 100-continue, more\r\n" + END, 417),
    "unknown expectation of a body": (
        GET + HOST + b"Expect: x\r\nContent-Length: 41\r\n" + END + b"GET /s3/b/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        417,
    ),
    "space after the version": (b"GET /s3/b/k HTTP/1.1 \r\n" + HOST + END, 400),
    "two spaces": (b"GET  /s3/b/k HTTP/1.1\r\n" + HOST + END, 400),
    "two spaces later": (b"GET /s3/b/k  HTTP/1.1\r\n" + HOST + END, 400),
    "tabs": (b"GET\t/s3/b/k\tHTTP/1.1\r\n" + HOST + END, 400),
    "a space in the path": (b"GET /s3/b/k k HTTP/1.1\r\n" + HOST + END, 400),
    "no leading slash": (b"GET s3/b/k HTTP/1.1\r\n" + HOST + END, 400),
    "a star": (b"GET * HTTP/1.1\r\n" + HOST + END, 400),
    "long path": (b"GET /s3/b/" + b"a" * 4097 + b" HTTP/1.1\r\n" + HOST + END, 414),
    "endless request line": (b"GET /s3/b/" + b"a" * 9000, 414),
    "long field": (GET + HOST + b"X-A: " + b"a" * 8190 + b"\r\n" + END, 431),
    "endless field": (GET + HOST + b"X-A: " + b"a" * 8300, 431),
    "129 fields": (GET + HOST + b"".join(b"X-%d: 1\r\n" % i for i in range(128)) + END, 431),
    "33 KiB of fields": (GET + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 7000) for i in range(5)) + END, 431),
    "endless fields": (GET + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 7000) for i in range(5)), 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "empty lines": (b"\r\n" * 5 + GET + HOST + END, 400),
    "only LF before": (b"\n" + GET + HOST + END, 400),
    "no name that is ours": (GET + b"Host: evil.example\r\n" + END, 403),
    "empty host": (GET + b"Host:\r\n" + END, 403),
    "host with a user": (GET + b"Host: localhost@evil\r\n" + END, 403),
}
KEPT_OPEN = {403}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_that_breaks_the_protocol_is_refused_without_repeating_it(door: Door, name: str) -> None:
    request, status = REFUSED[name]
    client = await door.connect()
    client.send(request)
    answer = await client.answer()
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert b"SECRET" not in answer.raw_head + answer.body
    assert door.reader.requests == [], "nothing behind the door has heard of it"
    if "absolute" in name or name in {"a star", "no leading slash"} or status in KEPT_OPEN:
        return
    assert answer.headers["Connection"] == "close"
    assert await client.rest() == b"", "what follows is not taken for a request"


async def test_every_method_but_get_and_head_is_told_what_is_allowed(door: Door) -> None:
    for method in ("OPTIONS", "PUT", "TRACE", "PROPFIND"):
        answer = await door.get("/s3/b/k", method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


ACCEPTED = {
    "plain": GET + HOST + END,
    "an empty line before": b"\r\n" + GET + HOST + END,
    "HTTP/1.0": b"GET /s3/b/k HTTP/1.0\r\n" + HOST + END,
    "HTTP/1.0 without host": b"GET /s3/b/k HTTP/1.0\r\n" + END,
    "upgrade to h2c": (
        GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" + END
    ),
    "length zero": GET + HOST + b"Content-Length: 0\r\n" + END,
    "100-continue without a body": GET + HOST + b"Expect: 100-Continue\r\n" + END,
    "method override": GET + HOST + b"X-HTTP-Method-Override: DELETE\r\n" + END,
    "non-ASCII in a field": GET + HOST + b"X-A: \xc3\xa9\r\n" + END,
    "field names in any case": b"GET /s3/b/k HTTP/1.1\r\nHOST: h\r\n" + END,
    "white space around a value": GET + b"Host: \t h \t\r\n" + END,
    "128 fields": GET + HOST + b"".join(b"X-%d: 1\r\n" % i for i in range(127)) + END,
    "a field of 8 000 bytes": GET + HOST + b"X-A: " + b"a" * 8000 + b"\r\n" + END,
    "ranges in other fields": GET + HOST + b"Request-Range: bytes=0-1\r\nContent-Range: bytes 0-9/100\r\n" + END,
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_unusual_but_valid_requests_are_served(door: Door, name: str) -> None:
    answer = await door.ask(ACCEPTED[name])
    assert (answer.status, len(answer.body)) == (200, 100)


@pytest.mark.parametrize("name", ["plain", "upgrade to h2c", "HTTP/1.0", "128 fields"])
async def test_heads_may_arrive_a_byte_at_a_time(door: Door, name: str) -> None:
    client = await door.connect()
    request = ACCEPTED[name]
    for at in range(len(request)):
        client.send(request[at : at + 1])
        await asyncio.sleep(0)
    assert (await client.answer()).status == 200


async def test_the_connection_stays_usable_after_an_ignored_upgrade(door: Door) -> None:
    client = await door.connect()
    client.send(ACCEPTED["upgrade to h2c"] + ACCEPTED["plain"])
    assert [(await client.answer()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("request_bytes", "field", "ends"),
    [
        (b"GET /s3/b/k HTTP/1.0\r\n\r\n", "close", True),
        (b"GET /s3/b/k HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "keep-alive", False),
        (GET + HOST + b"Connection: close\r\n\r\n", "close", True),
        (GET + HOST + b"Connection: x\r\nConnection: Close\r\n\r\n", "close", True),
        (GET + HOST + b"Connection: keep-alive\r\n\r\n", None, False),
        (GET + HOST + END, None, False),
    ],
)
async def test_the_connection_ends_when_the_client_wants_it(
    door: Door, request_bytes: bytes, field: str | None, ends: bool
) -> None:
    client = await door.connect()
    client.send(request_bytes)
    answer = await client.answer()
    assert (answer.status, answer.headers.get("Connection")) == (200, field)
    if ends:
        assert await client.rest() == b""
    else:
        client.send(request_bytes)
        assert (await client.answer()).status == 200


async def test_what_follows_a_last_request_is_not_answered(door: Door) -> None:
    client = await door.connect()
    client.send(GET + HOST + b"Connection: close\r\n\r\n" + GET + HOST + END)
    assert (await client.answer()).status == 200
    assert await client.rest() == b""
    assert len(door.reader.requests) == 1


async def test_a_client_that_is_still_sending_sees_the_refusal(door: Door) -> None:
    client = await door.connect()
    client.send(b"PUT /s3/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n")
    for _ in range(5):
        client.send(b"x" * 100_000)
    answer = await client.answer()
    assert answer.status == 405
    assert await client.rest() == b"", "a clean end, not a reset"


async def test_what_a_refused_client_sends_is_read_for_a_moment_only(door: Door) -> None:
    client = await door.connect()
    client.send(POST + HOST + END)
    assert (await client.answer()).status == 405
    assert await client.rest() == b""
    assert len(door.port.connections) == 1
    now_s = door.clock.monotonic()
    door.listener.sweep(now_s + LINGER_S - 0.1)
    await asyncio.sleep(0)
    assert len(door.port.connections) == 1
    door.listener.sweep(now_s + LINGER_S)
    await door.port.empty.wait()


async def test_a_client_refused_after_a_long_pause_sees_the_refusal_too(door: Door) -> None:
    client = await door.connect()
    client.send(b"POST")
    while not any(len(each._heads) for each in door.port.connections):
        await asyncio.sleep(0)
    await door.clock.advance(10)
    client.send(b" nonsense\r\n")
    assert (await client.answer()).status == 400
    door.listener.sweep(door.clock.monotonic() + LINGER_S - 0.1)
    await asyncio.sleep(0)
    assert len(door.port.connections) == 1, "the moment counts from the refusal"


async def test_what_a_refused_client_sends_is_read_up_to_a_bound_only(door: Door) -> None:
    client = await door.connect()
    client.send(POST + HOST + END)
    assert (await client.answer()).status == 405
    client.send(b"x" * (LINGER_BYTES + 1))
    await asyncio.wait_for(door.port.empty.wait(), 10)


async def test_a_refusal_says_nothing_about_the_body_length_to_head(door: Door) -> None:
    client = await door.connect()
    client.send(request_of("/s3/b/absent", method="HEAD"))
    assert (await client.answer("HEAD")).status == 404
    client.send(request_of("/s3/b/k", "Range: bytes=0-9"))
    answer = await client.answer()
    assert (answer.status, len(answer.body)) == (206, 10), "no body stood in the way"
