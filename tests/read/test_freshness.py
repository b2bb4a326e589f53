"""How long an answer lasts: RFC 9111 sections 4.2 and 5.2 as a table."""

from __future__ import annotations

import math

import pytest

from rangecache.httpdate import parse_http_date
from rangecache.read.freshness import HEURISTIC_MAX_S, Wishes, lifetime, parse_directives, read_wishes

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
_parsed = parse_http_date(DATE)
assert _parsed is not None
NOW = _parsed.timestamp()


def _fresh_s(now: float = NOW, **headers: str) -> float:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lifetime("origin", {"date": DATE, **named}, now).fresh_s


@pytest.mark.parametrize(
    ("cache_control", "fresh_s"),
    [
        ("max-age=60", 60),
        ("public, max-age=60", 60),
        ("max-age=60, s-maxage=10", 10),
        ("s-maxage=100, max-age=5", 100),
        ('max-age="60"', 60),
        ("Max-Age=60", 60),
        ("max-age=60, max-age=30", 30),
        ("max-age=1x", 0),
        ("max-age=-1", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=1_0", 0),
        ("max-age=99999999999999999999999", 0),
        ("max-age=99999999999", 2**31),
        ("no-cache", 0),
        ("no-cache, max-age=60", 0),
        ('x="max-age=5, y", max-age=60', 60),
        ("immutable", 0),
        ("", 0),
    ],
)
def test_cache_control(cache_control: str, fresh_s: float) -> None:
    assert _fresh_s(cache_control=cache_control) == fresh_s


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ({"expires": "Thu, 01 Jan 2026 12:01:00 GMT"}, 60),
        ({"expires": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"expires": "0"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 GMT", "cache_control": "max-age=5"}, 5),
        ({"cache_control": "max-age=60", "age": "10"}, 50),
        ({"cache_control": "max-age=60", "age": "-5"}, 60),
        ({"cache_control": "max-age=60", "age": "99999999999"}, 0),
        ({"last_modified": "Thu, 01 Jan 2026 11:58:20 GMT"}, 10),
        ({"last_modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, HEURISTIC_MAX_S),
        ({"last_modified": "Fri, 02 Jan 2026 00:00:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_other_headers(headers: dict[str, str], fresh_s: float) -> None:
    assert _fresh_s(**headers) == pytest.approx(fresh_s)


@pytest.mark.parametrize(("skew_s", "fresh_s"), [(30, 30), (-3600, 60), (3600, 0)])
def test_a_clock_that_differs_makes_an_answer_older_and_never_younger(skew_s: float, fresh_s: float) -> None:
    assert _fresh_s(NOW + skew_s, cache_control="max-age=60") == fresh_s


@pytest.mark.parametrize(
    ("headers", "storable"),
    [
        ({"cache-control": "no-store"}, False),
        ({"cache-control": "private, max-age=60"}, False),
        ({"cache-control": "max-age=60"}, True),
        ({"vary": "*"}, False),
        ({"vary": "Cookie"}, False),
        ({"vary": "Accept-Encoding"}, True),
        ({"vary": "accept-encoding, Origin"}, False),
    ],
)
def test_what_may_be_kept(headers: dict[str, str], storable: bool) -> None:
    assert lifetime("origin", headers, NOW).storable == storable


@pytest.mark.parametrize("directive", ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=5"])
def test_what_may_not_be_used_after_its_time(directive: str) -> None:
    assert not lifetime("origin", {"cache-control": directive}, NOW).stale_allowed
    assert lifetime("origin", {"cache-control": "max-age=5"}, NOW).stale_allowed


def test_a_duration_or_immutable_is_the_operators_word() -> None:
    assert lifetime(60.0, {"cache-control": "no-store"}, NOW).fresh_s == 60
    assert lifetime("immutable", {"cache-control": "no-store"}, NOW).fresh_s == math.inf


@pytest.mark.parametrize(
    ("header", "wishes"),
    [
        (None, Wishes()),
        ("", Wishes()),
        ("no-cache", Wishes(revalidate=True)),
        ("no-store", Wishes(revalidate=True)),
        ("max-age=0", Wishes(revalidate=True)),
        ("max-age=10", Wishes()),
        ("only-if-cached", Wishes(only_if_cached=True)),
        ("no-cache, only-if-cached", Wishes(revalidate=True, only_if_cached=True)),
    ],
)
def test_what_a_client_asks_of_us(header: str | None, wishes: Wishes) -> None:
    assert read_wishes(header) == wishes


def test_directives_are_read_in_linear_time_and_never_raise() -> None:
    header = 'a="' + "," * 8000
    assert parse_directives(header) == {"a": ["," * 8000]}
