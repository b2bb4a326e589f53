"""The way out: certificates are checked, an egress proxy and a private authority are honoured."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rangecache.errors import ConfigurationError, InvalidAnswer, OriginTimeout, Unavailable
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.session import WebSession
from rangecache.origin.web import MinRate, WebStore
from rangecache.testing.faults import Redirect

from .certificates import Authority
from .conftest import BODY, REF
from .reading import read
from .relay import forward_proxy, tls_front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def port_of(origin: Origin) -> int:
    port = urlsplit(origin.url).port
    assert port is not None
    return port


@asynccontextmanager
async def reaching(
    url: str,
    clock: ManualClock,
    *,
    proxy: str | None = None,
    ca_file: Path | None = None,
    connect_timeout_s: float = 5,
    redirect_hosts: Sequence[str] = (),
) -> AsyncIterator[WebStore]:
    dialect = HttpDialect()
    dialect.add_bucket("bucket", url, redirect_hosts)
    session = WebSession(connect_timeout_s=connect_timeout_s, proxy=proxy, ca_file=ca_file)
    try:
        yield WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(1, 10))
    finally:
        await session.aclose()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_private_authority_is_trusted_if_it_is_named(
    origin: Origin, clock: ManualClock, authority: Authority, host: str
):
    async with (
        tls_front(port_of(origin), authority.server(host)) as front,
        reaching(f"https://{host}:{front.port}/", clock, ca_file=authority.ca_file) as store,
    ):
        assert (await read(store, REF))[2] == BODY


async def test_a_private_authority_that_is_not_named_is_refused(
    origin: Origin, clock: ManualClock, authority: Authority
):
    async with (
        tls_front(port_of(origin), authority.server("localhost")) as front,
        reaching(f"https://localhost:{front.port}/", clock) as store,
    ):
        with pytest.raises(InvalidAnswer, match=r"egress\.ca_file"):
            await read(store, REF)
    assert len(origin.requests) == 0


@pytest.mark.parametrize("name", ["wrong.example.com", "127.0.0.2", "ocalhost", "*.localhost"])
async def test_a_certificate_for_another_name_is_refused(
    origin: Origin, clock: ManualClock, authority: Authority, name: str
):
    async with tls_front(port_of(origin), authority.server(name)) as front:
        for host in ("localhost", "127.0.0.1"):
            async with reaching(f"https://{host}:{front.port}/", clock, ca_file=authority.ca_file) as store:
                with pytest.raises(InvalidAnswer):
                    await read(store, REF)
    assert len(origin.requests) == 0


async def test_an_expired_certificate_is_refused(origin: Origin, clock: ManualClock, authority: Authority):
    async with (
        tls_front(port_of(origin), authority.server("localhost", not_after=datetime(2026, 1, 1, tzinfo=UTC))) as front,
        reaching(f"https://localhost:{front.port}/", clock, ca_file=authority.ca_file) as store,
    ):
        with pytest.raises(InvalidAnswer):
            await read(store, REF)
    assert len(origin.requests) == 0


async def test_a_redirect_never_leads_from_tls_to_plain_http(origin: Origin, clock: ManualClock, authority: Authority):
    origin.fail("object", Redirect(f"{origin.url}object"))
    allowed = origin.url.removeprefix("http://").rstrip("/")
    async with (
        tls_front(port_of(origin), authority.server("localhost")) as front,
        reaching(
            f"https://localhost:{front.port}/", clock, ca_file=authority.ca_file, redirect_hosts=[allowed]
        ) as store,
    ):
        with pytest.raises(InvalidAnswer, match="redirect"):
            await read(store, REF)
    assert len(origin.requests) == 1


async def test_plain_http_where_tls_was_asked_for_is_refused(clock: ManualClock):
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, reaching(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", clock) as store:
        with pytest.raises(InvalidAnswer, match="TLS"):
            await read(store, REF)


async def test_a_handshake_that_never_ends_runs_into_the_connect_timeout(origin: Origin, clock: ManualClock):
    """The origin waits for the end of an HTTP head and says nothing to a greeting in TLS."""
    url = f"https://127.0.0.1:{port_of(origin)}/"
    async with reaching(url, clock, connect_timeout_s=0.05) as store:
        with pytest.raises(OriginTimeout, match="connect timeout"):
            await read(store, REF)


async def test_a_ca_file_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path):
    for content in (None, "no certificate"):
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigurationError, match=r"egress\.ca_file"):
            WebSession(connect_timeout_s=1, ca_file=file)


async def test_a_proxy_is_asked_for_plain_addresses(origin: Origin, clock: ManualClock):
    async with forward_proxy() as proxy:
        url = f"http://no-such-host.invalid:{port_of(origin)}/"
        async with reaching(url, clock, proxy=f"http://127.0.0.1:{proxy.port}") as store:
            assert (await read(store, REF))[2] == BODY
        assert proxy.requests == [f"GET {url}object HTTP/1.1"]


async def test_a_proxy_is_asked_for_a_tunnel_to_tls_and_the_certificate_is_still_checked(
    origin: Origin, clock: ManualClock, authority: Authority
):
    async with forward_proxy() as proxy, tls_front(port_of(origin), authority.server("the.origin.test")) as front:
        address = f"http://127.0.0.1:{proxy.port}"
        for host, right in (("the.origin.test", True), ("another.test", False)):
            url = f"https://{host}:{front.port}/"
            async with reaching(url, clock, proxy=address, ca_file=authority.ca_file) as store:
                if right:
                    assert (await read(store, REF))[2] == BODY
                else:
                    with pytest.raises(InvalidAnswer):
                        await read(store, REF)
        names = [request.split()[1].split(":")[0] for request in proxy.requests]
    assert names == ["the.origin.test", "another.test"]
    assert len(origin.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_gets_its_password_and_the_origin_does_not(
    origin: Origin, clock: ManualClock, authority: Authority, scheme: str
):
    async with forward_proxy() as proxy, tls_front(port_of(origin), authority.server("the.origin.test")) as front:
        port = front.port if scheme == "https" else port_of(origin)
        address = f"http://user:secret@127.0.0.1:{proxy.port}"
        url = f"{scheme}://the.origin.test:{port}/"
        async with reaching(url, clock, proxy=address, ca_file=authority.ca_file) as store:
            await read(store, REF)
        (head,) = proxy.heads
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in head
    if scheme == "https":
        assert "proxy-authorization" not in origin.requests[0].headers


@pytest.mark.parametrize(("status", "error"), [(407, InvalidAnswer), (403, InvalidAnswer), (502, Unavailable)])
async def test_a_proxy_that_refuses_is_named(clock: ManualClock, status: int, error: type[Exception]):
    async with forward_proxy() as proxy:
        proxy.refuse = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
        async with reaching("https://the.origin.test/", clock, proxy=f"http://127.0.0.1:{proxy.port}") as store:
            with pytest.raises(error, match=rf"egress\.proxy refuses.*{status}"):
                await read(store, REF)


async def test_a_proxy_that_is_away_is_named(clock: ManualClock):
    async with forward_proxy() as proxy:
        port = proxy.port
    async with reaching("https://the.origin.test/", clock, proxy=f"http://127.0.0.1:{port}") as store:
        with pytest.raises(Unavailable, match=r"egress\.proxy cannot be reached"):
            await read(store, REF)
