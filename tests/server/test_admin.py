from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from rangecache.aio.clock import SystemClock
from rangecache.errors import Overloaded
from rangecache.server import admin
from rangecache.server.admin import AdminServer, admin_app, health_app
from rangecache.server.api.answers import PROBLEMS, Member, answered, json_body
from rangecache.server.health import ServerState
from rangecache.server.hosts import HostGuard
from rangecache.server.problems import document
from rangecache.settings.units import Address, TcpAddress, UnixAddress
from rangecache.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANY_PORT = TcpAddress("127.0.0.1", 0)
SECRET_WORD = "xyzzy-marker"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def connected(server: AdminServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    match server.address:
        case TcpAddress(host, port):
            return await asyncio.open_connection(host, port)
        case UnixAddress(path):
            return await asyncio.open_unix_connection(path)


async def ask_raw(server: AdminServer, request: bytes) -> Answer:
    """One request on its own connection, byte for byte."""
    reader, writer = await connected(server)
    try:
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        with_body = not request.startswith(b"HEAD ")
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 10) if with_body else b""
        return Answer(int(first.split()[1]), headers, body)
    finally:
        writer.close()
        await writer.wait_closed()


async def ask(server: AdminServer, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    named = {"Host": "127.0.0.1", "Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return await ask_raw(server, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)


@asynccontextmanager
async def listening(app: web.Application, address: Address = ANY_PORT) -> AsyncIterator[AdminServer]:
    server = AdminServer(app)
    await server.start(address)
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture
def state() -> ServerState:
    return ServerState(Metrics(), SystemClock(), settings=lambda: {"server": {"listen": "127.0.0.1:8080"}})


@pytest.fixture
async def server(state: ServerState) -> AsyncIterator[AdminServer]:
    app = admin_app(state, HostGuard(["cache.example.org"]))

    async def change(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"changed": True})

    async def fail(_request: web.Request) -> web.StreamResponse:
        raise RuntimeError(SECRET_WORD)

    app.add_routes([web.post("/v1/change", change), web.delete("/v1/change", change), web.get("/v1/fail", fail)])
    async with listening(app) as server:
        yield server


@pytest.fixture
async def health(state: ServerState) -> AsyncIterator[AdminServer]:
    async with listening(health_app(state)) as server:
        yield server


async def test_readiness_follows_the_program_from_start_to_drain(server: AdminServer, state: ServerState) -> None:
    assert (await ask(server, "/readyz")).status == 503
    assert (await ask(server, "/livez")).status == 200
    state.ready = True
    assert (await ask(server, "/readyz")).status == 200
    state.drain()
    assert (await ask(server, "/readyz")).status == 503
    assert (await ask(server, "/livez")).status == 200


async def test_metrics_are_what_prometheus_scrapes(server: AdminServer, state: ServerState) -> None:
    state.metrics.coalesced.cell().value += 3
    answer = await ask(server, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"rangecache_coalesced_total 3.0\n" in answer.body


async def test_stats_and_configuration_are_json(server: AdminServer) -> None:
    stats = await ask(server, "/v1/stats")
    assert stats.headers["content-type"] == "application/json; charset=utf-8"
    assert stats.json["phase"] == "starting"
    assert (await ask(server, "/v1/config")).json == {"server": {"listen": "127.0.0.1:8080"}}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/stats", "/v1/config", "/none"])
async def test_a_foreign_host_is_refused_on_every_path(server: AdminServer, path: str) -> None:
    answer = await ask(server, path, Host=f"{SECRET_WORD}.example")
    assert answer.status == 403
    assert answer.json["type"] == "urn:rangecache:problem:wrong-host"
    assert SECRET_WORD.encode() not in answer.body


async def test_a_configured_host_is_served(server: AdminServer) -> None:
    assert (await ask(server, "/v1/stats", Host="cache.example.org:9999")).status == 200


async def test_a_request_without_host_is_malformed(server: AdminServer) -> None:
    assert (await ask_raw(server, b"GET /v1/stats HTTP/1.0\r\n\r\n")).status == 400


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_change_needs_json_as_content_type(server: AdminServer, method: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = await ask(server, "/v1/change", method, b"{}", Content_Type=content_type)
        assert (answer.status, answer.json["type"]) == (415, "urn:rangecache:problem:unsupported-media-type")
    assert (await ask(server, "/v1/change", method, b"{}")).status == 415
    assert (await ask(server, "/v1/change", method, b"{}", Content_Type="application/json")).status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8081", 200),
        ("https://127.0.0.1:8081", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:3000", 403),  # another program on this machine is not us
        ("http://127.0.0.1:80810", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_a_change_is_taken_from_our_own_pages_only(server: AdminServer, origin: str, status: int) -> None:
    answer = await ask(
        server, "/v1/change", "POST", b"{}", Host="127.0.0.1:8081", Content_Type="application/json", Origin=origin
    )
    assert answer.status == status


async def test_a_preflight_is_never_granted(server: AdminServer) -> None:
    answer = await ask(
        server, "/v1/change", "OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST"
    )
    assert answer.status == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", f"/{SECRET_WORD}", 404, "not-found"),
        ("POST", f"/{SECRET_WORD}", 404, "not-found"),
        ("POST", "/v1/stats", 405, "method-not-allowed"),
        ("GET", "/v1/fail", 500, "internal"),
    ],
)
async def test_errors_are_problem_documents_of_constant_text(
    server: AdminServer, method: str, path: str, status: int, name: str
) -> None:
    answer = await ask(server, f"{path}?{SECRET_WORD}", method, X_Secret=SECRET_WORD)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem, detail = PROBLEMS[status]
    assert (problem.status, problem.name) == (status, name)
    assert answer.body == document(problem, detail)


async def test_405_names_the_methods_that_are_known(server: AdminServer) -> None:
    assert (await ask(server, "/v1/stats", "DELETE")).headers["allow"] == "GET,HEAD"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 xyzzy-marker\r\n\r\n",
        b"xyzzy-marker\r\n\r\n",
        b"GET /xyzzy-marker HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nxyzzy-marker\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: xyzzy-marker\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: xyzzy-marker\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: xyzzy-marker\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: xyzzy-marker\r\n\r\n",
        b"GET /none HTTP/1.1\r\nHost: localhost\r\nExpect: xyzzy-marker\r\n\r\n",
        b"GET /" + b"xyzzy-marker" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
@pytest.mark.parametrize("door", ["server", "health"])
async def test_what_is_malformed_is_never_echoed(
    request_bytes: bytes, door: str, request: pytest.FixtureRequest, server: AdminServer, health: AdminServer
) -> None:
    answer = await ask_raw({"server": server, "health": health}[door], request_bytes)
    assert 400 <= answer.status < 500
    assert b"xyzzy" not in answer.body
    assert "xyzzy" not in str(answer.headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/stats", "/v1/config", "/none", "/v1/fail"])
async def test_no_answer_is_sniffed_stored_or_says_what_it_runs_on(server: AdminServer, path: str) -> None:
    answer = await ask(server, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["server"] == "rangecache"


async def test_head_works_where_get_works(server: AdminServer) -> None:
    got, asked = await ask(server, "/v1/config"), await ask(server, "/v1/config", "HEAD")
    assert (asked.status, asked.headers["content-length"]) == (200, got.headers["content-length"])


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/v1/stats", 404), ("/v1/config", 404), ("/", 404)],
)
async def test_the_health_port_serves_health_alone_and_to_any_host(health: AdminServer, path: str, status: int) -> None:
    assert (await ask(health, path, Host="10.1.2.3:9464")).status == status


async def test_a_connection_that_sends_no_request_is_cut_off(
    state: ServerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_FIRST_REQUEST_TIMEOUT_S", 0.05)
    async with listening(health_app(state)) as server:
        reader, writer = await connected(server)
        writer.write(b"GET /livez HT")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_connection_too_many_is_refused_and_the_others_go_on(
    state: ServerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_CONNECTIONS_MAX", 1)
    async with listening(health_app(state)) as server:
        reader, writer = await connected(server)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"alive\n")
        refused, other = await connected(server)
        assert await asyncio.wait_for(refused.read(), 10) == b""
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"alive\n")
        writer.close()
        other.close()


async def test_it_also_listens_on_a_unix_socket(state: ServerState, tmp_path: Path) -> None:
    async with listening(health_app(state), UnixAddress(str(tmp_path / "admin.sock"))) as server:
        assert (await ask(server, "/livez")).status == 200


async def test_an_address_in_use_is_an_os_error_and_leaves_nothing_behind(
    server: AdminServer, state: ServerState
) -> None:
    second = AdminServer(health_app(state))
    with pytest.raises(OSError, match="in use"):
        await second.start(server.address)
    await second.aclose()


async def test_an_answer_may_take_longer_than_a_request(state: ServerState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_FIRST_REQUEST_TIMEOUT_S", 0.05)

    async def take_time(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.json_response({})

    app = admin_app(state, HostGuard(), [web.post("/v1/slow", take_time)])
    async with listening(app) as server:
        assert (await ask(server, "/v1/slow", "POST", b"{}", Content_Type="application/json")).status == 200


async def test_an_error_of_the_tree_is_its_problem_with_its_sentence(state: ServerState) -> None:
    async def overloaded(_request: web.Request) -> web.StreamResponse:
        raise Overloaded("Too many; wait.")

    async with listening(admin_app(state, HostGuard(), [web.get("/v1/it", overloaded)])) as server:
        answer = await ask(server, "/v1/it")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json["detail"] == "Too many; wait."


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "The body is not JSON."),
        (b"\xff", "The body is not JSON."),
        (b'{"text": NaN}', "The body is not JSON."),
        (b"[" * 50_000, "The body is not JSON."),
        (b"[]", "The body has to be a JSON object; its members are text, flag, count."),
        (b'{"xyzzy": 1}', "The body has a member that is not known here. Known ones: text, flag, count."),
        (b'{"text": 1}', "The member `text` has to be text."),
        (b'{"flag": 1}', "The member `flag` has to be true or false."),
        (b'{"count": true}', "The member `count` has to be a number."),
        (b'{"text": null}', "The member `text` has to be text."),
    ],
)
async def test_a_body_that_is_not_what_is_expected_is_refused_in_a_sentence(
    state: ServerState, body: bytes, says: str
) -> None:
    members = {"text": Member(str, "text"), "flag": Member(bool, "true or false"), "count": Member(int, "a number")}

    async def echo(request: web.Request) -> web.StreamResponse:
        return answered(await json_body(request, members))

    async with listening(admin_app(state, HostGuard(), [web.post("/v1/echo", echo)])) as server:
        refused = await ask(server, "/v1/echo", "POST", body, Content_Type="application/json")
        taken = await ask(server, "/v1/echo", "POST", b'{"flag": true, "count": 0}', Content_Type="application/json")
    assert (refused.status, refused.json["detail"]) == (400, says)
    assert taken.json == {"flag": True, "count": 0}
