"""The wire: one call is one request, whatever dies when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp.http_parser
import pytest

from rangecache.errors import ConfigurationError, OriginTimeout, StaleConnection, Unavailable
from rangecache.origin.base import GetResult
from rangecache.origin.session import DNS_TTL_S, WebSession, disable_hidden_retry, require_c_parser
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.testing.faults import Chunked, CloseWithoutAnswer, Drip, ManyContinues, RawAnswer, Reset, Stall

from .conftest import BODY, REF
from .reading import read

if TYPE_CHECKING:
    from rangecache.origin.providers.http import HttpDialect
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.faults import Fault
    from rangecache.testing.origin import Origin


@pytest.mark.parametrize("fault", [CloseWithoutAnswer(), Reset(None)])
async def test_an_origin_that_accepts_and_closes_sees_one_request_on_a_fresh_connection(
    store: WebStore, origin: Origin, fault: Fault
):
    origin.fail("object", fault, times=None)
    with pytest.raises(Unavailable):
        await read(store, REF)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("fault", [CloseWithoutAnswer(), Reset(None)])
async def test_an_origin_that_accepts_and_closes_sees_one_request_on_a_reused_connection(
    store: WebStore, origin: Origin, fault: Fault
):
    await read(store, REF)
    origin.fail("object", fault, times=None)
    with pytest.raises(StaleConnection):
        await read(store, REF)
    assert [request.connection for request in origin.requests] == [1, 1]


async def test_the_hidden_retry_of_aiohttp_is_still_there_to_be_disabled(origin: Origin):
    """If this fails, aiohttp has changed: look again at what `disable_hidden_retry` must do."""
    origin.fail("object", CloseWithoutAnswer(), times=None)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(f"{origin.url}object")
    assert len(origin.requests) == 2


def test_an_aiohttp_without_that_switch_is_refused():
    with pytest.raises(ConfigurationError, match="only once"):
        disable_hidden_retry(object())  # type: ignore[arg-type]


def test_the_parser_in_pure_python_is_refused(monkeypatch: pytest.MonkeyPatch):
    require_c_parser()
    monkeypatch.setattr(aiohttp.http_parser, "HttpResponseParser", aiohttp.http_parser.HttpResponseParserPy)
    with pytest.raises(ConfigurationError, match="compiled parser"):
        require_c_parser()


async def test_a_half_sent_head_is_no_stale_connection(store: WebStore, origin: Origin):
    await read(store, REF)
    origin.fail("object", RawAnswer(b"HTTP/1.1 206 Partial Content\r\nContent-Le"))
    with pytest.raises(Unavailable) as raised:
        await read(store, REF)
    assert raised.type is Unavailable
    assert len(origin.requests) == 2


async def test_a_refused_connection_is_unavailable(session: WebSession, store: WebStore, origin: Origin):
    await origin.stop()
    with pytest.raises(Unavailable, match="no connection"):
        await read(store, REF)


async def test_a_name_that_does_not_resolve_is_unavailable(store: WebStore, dialect: HttpDialect):
    dialect.add_bucket("bucket", "http://no-such-host.invalid/")
    with pytest.raises(Unavailable, match="cannot be resolved"):
        await read(store, REF)


async def test_a_name_is_resolved_once_for_all_connections_of_half_a_minute(
    store: WebStore, dialect: HttpDialect, origin: Origin, monkeypatch: pytest.MonkeyPatch
):
    dialect.add_bucket("bucket", origin.url.replace("127.0.0.1", "localhost"))
    loop, asked = asyncio.get_running_loop(), []

    async def resolved(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return await resolve("127.0.0.1", *args, **kwargs)

    resolve = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    for readers in (4, 8):
        await asyncio.gather(*(read(store, REF) for _ in range(readers)))
    assert origin.connections_made == 8
    assert asked == ["localhost"]
    assert DNS_TTL_S == 30


# --- what goes out ------------------------------------------------------------------------------------------------


async def test_only_our_own_headers_go_out(store: WebStore, origin: Origin):
    await read(store, REF, ByteRange(0, 10))
    (request,) = origin.requests
    assert request.headers == {
        "host": origin.url.removeprefix("http://").rstrip("/"),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": request.headers["user-agent"],
        "range": "bytes=0-9",
    }
    assert request.headers["user-agent"].startswith("rangecache/")


async def test_cookies_are_not_sent_back(store: WebStore, dialect: HttpDialect, origin: Origin):
    dialect.add_bucket("bucket", origin.url.replace("127.0.0.1", "localhost"))  # addresses get no cookies anyway
    origin.put("object", BODY, headers={"Set-Cookie": "id=1; Path=/"})
    meta, _, _ = await read(store, REF)
    await read(store, REF)
    assert "set-cookie" not in meta.headers
    assert "cookie" not in origin.requests[1].headers


async def test_the_environment_names_no_proxy(store: WebStore, origin: Origin, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    assert (await read(store, REF))[2] == BODY


# --- connections --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [(), (Chunked(),)])
async def test_a_body_that_was_read_to_its_end_leaves_the_connection_open(
    store: WebStore, origin: Origin, faults: tuple[Fault, ...]
):
    if faults:
        origin.fail("object", *faults, times=None, when=lambda request: request.range is not None)
    for _ in range(3):
        await read(store, REF, ByteRange(0, 50))
    assert origin.connections_made == 1


async def test_leaving_early_closes_the_connection_and_the_next_request_is_right(store: WebStore, origin: Origin):
    big = bytes(8 * 1024 * 1024)
    origin.put("object", big, etag='"big"')
    async with store.get(REF) as result:
        assert isinstance(result, GetResult)
        await anext(result.chunks)
    assert (await read(store, REF, ByteRange(5, 10)))[2] == bytes(5)
    assert [request.connection for request in origin.requests] == [1, 2]
    assert origin.requests[0].body_bytes_sent < len(big)


async def test_cancelling_a_reader_closes_the_connection(store: WebStore, origin: Origin):
    gate = origin.hold("object", after_bytes=10)
    task = asyncio.create_task(read(store, REF))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    await read(store, REF)
    assert [request.connection for request in origin.requests] == [1, 2]


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Stall(None), Stall(0)])
async def test_an_origin_that_does_not_answer_times_out(
    store: WebStore, origin: Origin, clock: ManualClock, fault: Fault
):
    origin.fail("object", fault)
    task = asyncio.create_task(read(store, REF))
    await clock.wait_for_sleepers()
    await clock.advance(9)
    assert not task.done()
    await clock.wait_for_sleepers()
    await clock.advance(22)
    with pytest.raises(OriginTimeout):
        await task
    assert len(origin.requests) == 1
    assert clock.sleepers == 0


async def test_endless_continues_do_not_put_off_the_timeout(store: WebStore, origin: Origin, clock: ManualClock):
    origin.fail("object", ManyContinues(5000), Stall(None))
    task = asyncio.create_task(read(store, REF))
    await clock.wait_for_sleepers()
    await clock.advance(31)
    with pytest.raises(OriginTimeout, match="begin to answer"):
        await task


async def test_a_body_that_stalls_times_out_after_the_window(store: WebStore, origin: Origin, clock: ManualClock):
    origin.fail("object", Stall(40))
    async with store.get(REF) as result:
        assert isinstance(result, GetResult)
        assert len(await anext(result.chunks)) == 40
        waiting = asyncio.ensure_future(anext(result.chunks))
        await clock.wait_for_sleepers()
        await clock.advance(9.9)
        assert not waiting.done()
        await clock.advance(0.2)
        with pytest.raises(OriginTimeout, match="less than 16384 bytes in 10 s"):
            await waiting


async def test_drops_do_not_put_off_the_timeout(store: WebStore, origin: Origin, clock: ManualClock):
    """One byte every three seconds would never trip a timeout between two reads."""
    origin.clock = clock
    origin.fail("object", Drip(1, 3.0))
    task = asyncio.create_task(read(store, REF))
    while not task.done():
        await clock.wait_for_sleepers()
        await clock.advance(1)
    with pytest.raises(OriginTimeout):
        await task
    assert origin.requests[0].body_bytes_sent <= 15


async def test_a_reader_that_takes_its_time_does_not_count_against_the_origin(
    store: WebStore, origin: Origin, clock: ManualClock
):
    gate = origin.hold("object", after_bytes=40)
    async with store.get(REF) as result:
        assert isinstance(result, GetResult)
        data = await anext(result.chunks)
        waiting = asyncio.ensure_future(anext(result.chunks))
        await clock.wait_for_sleepers()
        await clock.advance(6)
        gate.release()
        data += await waiting
        await clock.advance(1000)
        data += b"".join([chunk async for chunk in result.chunks])
    assert data == BODY


async def test_a_steady_origin_may_take_as_long_as_it_needs(
    session: WebSession, dialect: HttpDialect, origin: Origin, clock: ManualClock
):
    store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(bytes=10, over_s=10))
    origin.clock = clock
    origin.fail("object", Drip(10, 9.0))
    async with store.get(REF) as result:
        assert isinstance(result, GetResult)
        data = await anext(result.chunks)
        while len(data) < len(BODY):
            waiting = asyncio.ensure_future(anext(result.chunks))
            await clock.wait_for_sleepers(2)  # the origin between two drops, and the watchdog
            await clock.advance(9)
            data += await waiting
    assert data == BODY
    assert clock.monotonic() == 1000 + 9 * 9
