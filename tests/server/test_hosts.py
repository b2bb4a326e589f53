from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.server.hosts import _REMEMBERED_MAX, HostGuard


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LocalHost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.255.0.9:1",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]:80",
        "localhost:",  # RFC 3986 section 3.2.3: the port may be empty
    ],
)
def test_loopback_names_are_ours_with_any_port(host: str) -> None:
    assert HostGuard().accepts(host)
    assert HostGuard().accepts(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8080",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "evil.example:127.0.0.1",
        # Userinfo is no part of a Host value.
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "user:localhost@evil.example",
        # Other spellings of loopback: clients resolve them before they send them.
        "localhost.",
        "127.0.0.1.",
        "127.1",
        "127.0.0.01",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
        "127.0.0.256",
        "127.0.0.0.1",
        "0.0.0.0",
        "[::]",
        "0",
        # IPv6 that is not loopback, not in brackets, or with a zone.
        "::1",
        "[::1%25lo]",
        "[::1%lo]:8080",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::1",
        "::1]",
        "[[::1]]",
        "[127.0.0.1]",
        "[]",
        "[::1]x",
        # Ports that are none.
        "localhost:x",
        "localhost:-1",
        "localhost:808080",
        "localhost:80:80",
        # More than a host.
        "http://localhost",
        "localhost/",
        "localhost/evil",
        "localhost?x",
        "localhost#x",
        " localhost",
        "localhost ",
        "localhost\n",
        "localhost\r\nX: y",
        "localhost\0",
        "localhost,evil.example",
        "*",
        "loc%61lhost",
        "１２７.0.0.1",
        "127.0.0.１",
        "lоcalhost",
        "localhost" * 1000,
    ],
)
def test_everything_else_is_refused(host: str) -> None:
    guard = HostGuard()
    assert not guard.accepts(host)
    assert not guard.accepts(host.encode())


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("cache.example.org", "cache.example.org:8080"),
        ("Cache.Example.ORG", "cache.example.org"),
        ("cache.example.org", "CACHE.example.org"),
        ("cache.example.org:9000", "cache.example.org:8080"),
        ("range-cache_1", "range-cache_1"),
        ("10.1.2.3", "10.1.2.3:80"),
        ("fd00::17", "[FD00:0::17]:80"),
        ("[fd00::17]", "[fd00::17]"),
        ("[fd00::17]:8080", "[fd00::17]"),
    ],
)
def test_a_configured_name_is_ours(configured: str, sent: str) -> None:
    assert HostGuard([configured]).accepts(sent)
    assert not HostGuard().accepts(sent)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", "[::]"])
def test_a_wildcard_bind_address_names_no_host(wildcard: str) -> None:
    guard = HostGuard([wildcard])
    assert not guard.accepts("0.0.0.0")
    assert not guard.accepts("[::]")
    assert guard.accepts("localhost")


@pytest.mark.parametrize("name", ["", "http://cache", "cache/", "a b", "*.example.org", "u@h", "[::1", "fe80::1%eth0"])
def test_a_name_that_no_client_could_send_is_a_fault_of_the_configuration(name: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        HostGuard([name])


def test_what_is_remembered_is_bounded_and_only_what_was_accepted() -> None:
    guard = HostGuard()
    for port in range(2 * _REMEMBERED_MAX):
        assert guard.accepts(f"localhost:{port}")
        assert not guard.accepts(f"evil.example:{port}")
    assert len(guard._accepted) <= _REMEMBERED_MAX
    assert not any("evil" in str(host) for host in guard._accepted)


@given(st.text(max_size=40))
def test_text_and_bytes_are_judged_alike_and_nothing_raises(host: str) -> None:
    guard = HostGuard(["cache.example.org"])
    assert guard.accepts(host) == guard.accepts(host.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=40))
def test_no_bytes_raise(host: bytes) -> None:
    assert isinstance(HostGuard().accepts(host), bool)
