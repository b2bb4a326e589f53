"""Sizes, durations and addresses as text."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.settings.units import (
    TcpAddress,
    UnixAddress,
    format_duration,
    format_size,
    parse_address,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("256KiB", 256 << 10),
        ("64 MiB", 64 << 20),
        ("1.5GiB", 3 << 29),
        (" 10GiB ", 10 << 30),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "KiB", "-1", "1e6", "10GB", "10G", "10Gi", "10gib", "1KiB1", "0x10", "٤KiB", "inf", "nan", "9999999TiB"],
)
def test_other_sizes_are_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match=f"got {text or 'nothing'}"):
        parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("250ms", 0.25),
        ("15s", 15.0),
        ("1.5 s", 1.5),
        ("5m", 300.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("1h30m", 5400.0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "5 min", "1e3s", "10S", "forever", "1s2", "٤s", "inf", "999999d"])
def test_other_durations_are_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match=f"got {text or 'nothing'}"):
        parse_duration(text)


def test_a_number_without_a_unit_is_no_duration_but_a_hint() -> None:
    with pytest.raises(ValueError, match="write 120s for seconds"):
        parse_duration("120")


@given(st.integers(0, 10**12))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080), True),
        ("127.8.8.8:0", TcpAddress("127.8.8.8", 0), True),
        ("[::1]:8080", TcpAddress("::1", 8080), True),
        ("[0:0::1]:8080", TcpAddress("::1", 8080), True),
        ("localhost:8080", TcpAddress("localhost", 8080), True),
        ("LocalHost:8080", TcpAddress("localhost", 8080), True),
        ("0.0.0.0:8080", TcpAddress("0.0.0.0", 8080), False),
        ("[::]:8080", TcpAddress("::", 8080), False),
        ("10.0.0.7:8080", TcpAddress("10.0.0.7", 8080), False),
        # Python 3.13 writes such an address with dots, earlier ones without.
        ("[::ffff:10.0.0.7]:80", TcpAddress(str(IPv6Address("::ffff:10.0.0.7")), 80), False),
        ("localhost.example.org:1", TcpAddress("localhost.example.org", 1), False),
        ("unix:/run/rc.sock", UnixAddress("/run/rc.sock"), True),
    ],
)
def test_addresses_are_read(text: str, address: object, loopback: bool) -> None:
    read = parse_address(text)
    assert read == address
    assert read.is_loopback is loopback
    assert parse_address(str(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:٨",
        "127.0.0.1:+80",
        "::1:8080",
        "[127.0.0.1]:80",
        "[nonsense]:80",
        "127.1:80",
        "2130706433:80",
        "256.0.0.1:80",
        "a b:80",
        "http://127.0.0.1:80",
        "unix:",
        "unix:relative.sock",
        "unix:/ends/",
        "unix:/" + "x" * 200,
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|brackets"):
        parse_address(text)
