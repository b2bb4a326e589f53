"""The origin that does everything right, read over bare sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.objects import Stamped, check_stamped
from rangecache.testing.origin import Origin
from tests.testing.conftest import CONTENT
from tests.testing.wire import connected, get

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
LATER = "Fri, 02 Jan 2026 03:04:06 GMT"
EARLIER = "Fri, 02 Jan 2026 03:04:04 GMT"


async def test_a_get_brings_all_bytes_and_says_what_they_are(origin: Origin) -> None:
    answer = await get(origin.url, "/b/k")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.header("Content-Length") == "100"
    assert answer.header("ETag") == '"v1"'
    assert answer.header("Last-Modified") == DATE
    assert answer.header("Accept-Ranges") == "bytes"
    assert answer.header("Content-Type") == "application/octet-stream"
    assert answer.header("Content-Range") is None
    assert answer.header("Date")


@pytest.mark.parametrize(
    ("asked", "said", "body"),
    [
        ("bytes=16-31", "bytes 16-31/100", CONTENT[16:32]),
        ("bytes=0-0", "bytes 0-0/100", CONTENT[:1]),
        ("bytes=90-", "bytes 90-99/100", CONTENT[90:]),
        ("bytes=-10", "bytes 90-99/100", CONTENT[90:]),
        ("bytes=-1000", "bytes 0-99/100", CONTENT),
        ("bytes=99-5000", "bytes 99-99/100", CONTENT[99:]),
    ],
)
async def test_a_range_brings_exactly_its_bytes(origin: Origin, asked: str, said: str, body: bytes) -> None:
    answer = await get(origin.url, "/b/k", f"Range: {asked}")
    assert (answer.status, answer.header("Content-Range"), answer.body) == (206, said, body)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
async def test_a_range_outside_the_object_is_416_with_its_size(origin: Origin, asked: str) -> None:
    answer = await get(origin.url, "/b/k", f"Range: {asked}")
    assert (answer.status, answer.header("Content-Range")) == (416, "bytes */100")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=9-5", "bytes=-", "lines=0-1", "bytes=a-b"])
async def test_several_or_odd_ranges_bring_all_bytes(origin: Origin, asked: str) -> None:
    answer = await get(origin.url, "/b/k", f"Range: {asked}")
    assert (answer.status, answer.body) == (200, CONTENT)


async def test_every_range_of_an_empty_object_is_416(origin: Origin) -> None:
    origin.put("b/empty", b"")
    assert (await get(origin.url, "/b/empty")).body == b""
    for asked in ("bytes=0-", "bytes=-5", "bytes=0-9"):
        answer = await get(origin.url, "/b/empty", f"Range: {asked}")
        assert (answer.status, answer.header("Content-Range")) == (416, "bytes */0")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('If-None-Match: "v1"', 304),
        ('If-None-Match: W/"v1"', 304),
        ('If-None-Match: "v0", "v1"', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "v0"', 206),
        ('If-Match: "v1"', 206),
        ('If-Match: W/"v1"', 412),
        ('If-Match: "v0"', 412),
        ("If-Match: *", 206),
        (f"If-Modified-Since: {DATE}", 304),
        (f"If-Modified-Since: {EARLIER}", 206),
        ("If-Modified-Since: yesterday", 206),
        (f"If-Unmodified-Since: {DATE}", 206),
        (f"If-Unmodified-Since: {EARLIER}", 412),
        ('If-Range: "v1"', 206),
        ('If-Range: "v0"', 200),
        ('If-Range: W/"v1"', 200),
        (f"If-Range: {DATE}", 206),
        (f"If-Range: {LATER}", 200),
    ],
)
async def test_conditions_come_before_the_range(origin: Origin, condition: str, status: int) -> None:
    answer = await get(origin.url, "/b/k", condition, "Range: bytes=0-9")
    assert answer.status == status
    if status == 304:
        assert (answer.body, answer.header("ETag"), answer.header("Content-Length")) == (b"", '"v1"', None)


async def test_conditions_on_a_date_are_ignored_where_the_object_has_none(origin: Origin) -> None:
    origin.put("b/k", CONTENT, last_modified=None)
    assert (await get(origin.url, "/b/k", f"If-Modified-Since: {LATER}")).status == 200
    assert (await get(origin.url, "/b/k", f"If-Unmodified-Since: {EARLIER}")).status == 200


async def test_a_weak_tag_matches_only_weakly(origin: Origin) -> None:
    origin.put("b/k", CONTENT, etag='W/"v1"')
    assert (await get(origin.url, "/b/k", 'If-Match: "v1"')).status == 412
    assert (await get(origin.url, "/b/k", 'If-Match: W/"v1"')).status == 412
    assert (await get(origin.url, "/b/k", 'If-None-Match: "v1"')).status == 304
    assert (await get(origin.url, "/b/k", 'If-Range: W/"v1"', "Range: bytes=0-9")).status == 200


async def test_a_head_has_the_headers_of_the_whole_object_and_no_body(origin: Origin) -> None:
    answer = await get(origin.url, "/b/k", "Range: bytes=0-9", method="HEAD")
    assert (answer.status, answer.header("Content-Length"), answer.body) == (200, "100", b"")
    assert (await get(origin.url, "/b/none", method="HEAD")).status == 404


async def test_other_methods_are_refused(origin: Origin) -> None:
    answer = await get(origin.url, "/b/k", method="PUT")
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")


async def test_a_connection_serves_many_requests_and_keeps_the_order_of_those_sent_ahead(origin: Origin) -> None:
    async with connected(origin.url) as wire:
        for first in range(5):
            wire.send("/b/k", f"Range: bytes={first}-{first}")
        assert [(await wire.answer()).body for _ in range(5)] == [bytes([n]) for n in range(5)]
    assert (origin.connections_made, {each.connection for each in origin.requests}) == (1, {1})


async def test_http_1_0_is_answered_and_closed(origin: Origin) -> None:
    async with connected(origin.url) as wire:
        wire.send("/b/k", version="HTTP/1.0")
        assert (await wire.rest()).endswith(CONTENT)


async def test_what_is_not_http_is_400(origin: Origin) -> None:
    async with connected(origin.url) as wire:
        wire.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
    assert origin.requests == []


async def test_keys_are_decoded_once_and_logged_raw(origin: Origin) -> None:
    origin.put("b/a%2e+c é//d", b"odd")
    target = "/b/a%252e+c%20%C3%A9//d?x=%31"
    assert (await get(origin.url, target)).body == b"odd"
    (logged,) = origin.requests
    assert (logged.target, logged.path) == (target, "/b/a%252e+c%20%C3%A9//d")
    assert logged.key == "b/a%2e+c é//d"
    assert origin.log.count("b/a%2e+c é//d") == origin.log.count(logged.path) == 1
    assert (await get(origin.url, "/b/a%2e+c%20%C3%A9//d")).status == 404


async def test_the_log_tells_what_was_asked_and_answered(origin: Origin) -> None:
    await get(origin.url, "/b/k", "RANGE: bytes=16-31", "X-Odd:  spaced ")
    await get(origin.url, "/b/none", method="HEAD")
    ranged, head = origin.requests
    assert (ranged.method, ranged.range, ranged.status, ranged.body_bytes_sent) == ("GET", "bytes=16-31", 206, 16)
    assert ("RANGE", "bytes=16-31") in ranged.raw_headers
    assert ranged.headers["x-odd"] == "spaced"
    assert ranged.answered_whole
    assert (head.method, head.status, head.body_bytes_sent, head.connection) == ("HEAD", 404, 0, 2)
    assert (origin.log.count(), origin.log.count(method="GET"), origin.log.count(status=404)) == (2, 1, 1)
    assert origin.log.body_bytes() == 16
    requests = origin.requests
    origin.log.clear()
    assert requests == [] == origin.requests


async def test_a_new_version_has_another_tag_and_a_deleted_object_is_404(origin: Origin) -> None:
    tags = []
    for data in (b"one", b"two", b"one"):
        origin.put("b/n", data)
        tags.append((await get(origin.url, "/b/n")).header("ETag"))
    assert tags[0] == tags[2] != tags[1]
    origin.delete("b/n")
    assert (await get(origin.url, "/b/n")).status == 404


async def test_an_answer_goes_on_with_the_version_it_began_with(origin: Origin) -> None:
    gate = origin.hold("b/k", after_bytes=10)
    async with connected(origin.url) as wire:
        wire.send("/b/k")
        await gate.reached()
        origin.put("b/k", b"another")
        gate.release()
        assert (await wire.answer()).body == CONTENT


async def test_a_request_held_before_its_answer_sees_what_is_there_when_it_goes_on(origin: Origin) -> None:
    gate = origin.hold("b/k")
    async with connected(origin.url) as wire:
        wire.send("/b/k")
        await gate.reached()
        assert origin.requests[0].status is None
        origin.put("b/k", b"another")
        gate.release()
        assert (await wire.answer()).body == b"another"


async def test_a_gate_holds_back_everything_after_so_many_bytes(origin: Origin) -> None:
    for after_bytes in (0, 40, 100):
        gate = origin.hold("b/k", after_bytes=after_bytes)
        async with connected(origin.url) as wire:
            wire.send("/b/k", "Connection: close")
            await gate.reached()
            head = await wire.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await wire.reader.readexactly(after_bytes) == CONTENT[:after_bytes]
            assert origin.requests[-1].body_bytes_sent == after_bytes
            assert not origin.requests[-1].answered_whole
            gate.release()
            assert await wire.rest() == CONTENT[after_bytes:]


async def test_a_client_that_leaves_ends_its_answer(origin: Origin) -> None:
    gate = origin.hold("b/k", after_bytes=50)
    async with connected(origin.url) as wire:
        wire.send("/b/k")
        await gate.reached()
        (connection,) = origin.connections
    await connection.lost()
    assert not origin.requests[0].answered_whole
    assert origin.requests[0].body_bytes_sent == 50


async def settled(progress: Callable[[], int]) -> int:
    """The value of `progress` once it has not moved for many turns of the loop."""
    value, same_turns = progress(), 0
    while same_turns < 100:
        await asyncio.sleep(0)
        value, same_turns = progress(), same_turns + 1 if progress() == value else 0
    return value


async def test_a_client_that_does_not_read_holds_the_body_back(origin: Origin) -> None:
    size = 64 << 20
    origin.put("b/huge", Stamped("huge", 1, size), etag='"1"')
    async with connected(origin.url) as wire:
        wire.send("/b/huge")
        await wire.reader.readuntil(b"\r\n\r\n")
        sent = await settled(lambda: origin.requests[0].body_bytes_sent)
        assert sent < size // 2, "what the kernel holds at both ends, and no more"
        for offset in range(0, size, 1 << 20):
            assert check_stamped(await wire.reader.readexactly(1 << 20), offset) == 1


async def test_a_client_far_ahead_is_read_no_further(origin: Origin) -> None:
    gate = origin.hold("b/k")
    async with connected(origin.url) as wire:
        for _ in range(100_000):
            wire.send("/b/k", "Range: bytes=0-0", "X-Padding: " + 100 * "x")
        await gate.reached()
        assert await settled(wire.writer.transport.get_write_buffer_size) > 0
        gate.release()
        for _ in range(1000):
            assert (await wire.answer()).body == CONTENT[:1]


async def test_the_hook_is_awaited_before_the_answer_is_decided(origin: Origin) -> None:
    async def overwrite(request: object) -> None:
        origin.put("b/k", b"another")

    origin.on_request = overwrite
    assert (await get(origin.url, "/b/k")).body == b"another"


async def test_latency_and_bandwidth_pass_on_the_given_clock() -> None:
    clock = ManualClock()
    async with Origin(latency_s=5.0, bandwidth_bytes_per_s=100.0, clock=clock) as origin, connected(origin.url) as wire:
        origin.put("b/k", CONTENT)
        began_s = clock.monotonic()
        wire.send("/b/k")
        await clock.wait_for_sleepers()
        await clock.advance(5.0)
        assert await wire.reader.readuntil(b"\r\n\r\n")
        for n in range(100):
            assert await wire.reader.readexactly(1) == CONTENT[n : n + 1]
            await clock.wait_for_sleepers()
            await clock.advance(0.01 + 1e-9)  # a hair more: sums of floats are not exact
        assert clock.monotonic() - began_s == pytest.approx(6.0)


async def test_a_stopped_origin_refuses_connections_and_comes_back_at_its_address(origin: Origin) -> None:
    url = origin.url
    async with connected(url) as wire:
        wire.send("/b/k")
        await wire.answer()
        await origin.stop()
        assert await wire.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await get(url, "/b/k")
    await origin.start()
    assert origin.url == url
    assert (await get(url, "/b/k")).status == 200


async def test_content_that_is_made_when_read_can_be_larger_than_memory(origin: Origin) -> None:
    origin.put("b/huge", Stamped("huge", 7, 1 << 50), etag='"7"')
    start = (1 << 49) + 5
    answer = await get(origin.url, "/b/huge", f"Range: bytes={start}-{start + 199_999}")
    assert len(answer.body) == 200_000
    assert check_stamped(answer.body, start, "huge") == 7
    with pytest.raises(ValueError, match="give an etag"):
        origin.put("b/huge", Stamped("huge", 7, 1 << 50))


async def test_a_folder_is_served_from_disk(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a b.bin"
    file.write_bytes(CONTENT * 10_000)
    (tmp_path.parent / "secret").write_bytes(b"secret")
    origin.serve_directory(tmp_path, prefix="files/")
    answer = await get(origin.url, "/files/deep/a%20b.bin", "Range: bytes=100-299")
    assert (answer.status, answer.body) == (206, CONTENT * 2)
    assert len((await get(origin.url, "/files/deep/a%20b.bin")).body) == 1_000_000
    os.utime(file, (1, 1))
    changed = await get(origin.url, "/files/deep/a%20b.bin", method="HEAD")
    assert changed.header("ETag") != answer.header("ETag")
    assert changed.header("Last-Modified") == "Thu, 01 Jan 1970 00:00:01 GMT"
    for target in (
        "/files/../secret",
        "/files/%2e%2e/secret",
        "/files/",
        "/files/deep",
        "/files//etc/passwd",
        "/files",
    ):
        assert (await get(origin.url, target)).status == 404, target


def test_a_folder_is_served_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(CONTENT)
    command = [sys.executable, "-m", "rangecache.testing.origin", "--dir", str(tmp_path), "--latency", "1ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with urlopen(url + "k") as answer:
                assert answer.read() == CONTENT
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
