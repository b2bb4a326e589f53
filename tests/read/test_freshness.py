"""How long an answer lasts: RFC 9111 sections 3, 4.2 and 5.2, RFC 5861 and RFC 9213 as tables."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.httpdate import format_http_date, parse_http_date
from rangecache.read.freshness import (
    ABSENT_MAX_S,
    HEURISTIC_MAX_S,
    Grace,
    initial_age,
    lifetime,
    negative_lifetime,
)

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
_parsed = parse_http_date(DATE)
assert _parsed is not None
NOW = _parsed.timestamp()


def _headers(**headers: str) -> dict[str, str]:
    return {"date": DATE, **{name.replace("_", "-"): value for name, value in headers.items()}}


def _fresh_s(now: float = NOW, **headers: str) -> float:
    return lifetime("origin", _headers(**headers), now).fresh_s


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
        ("max-age=30, max-age=60", 30),
        ("max-age=1x", 0),
        ("max-age=x1", 0),
        ("max-age='60'", 0),
        ("max-age=60.0", 0),
        ("max-age=-1", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age =60", 0),
        ("max-age= 60", 0),
        ("max-age=60; public", 0),
        ("max-age=1_0", 0),
        ("max-age=0060", 60),
        ("max-age=99999999999999999999999", 2**31),
        ("max-age=99999999999", 2**31),
        ("max-age=2147483648", 2**31),
        ("no-cache", 0),
        ("no-cache, max-age=60", 0),
        ("No-CaChE, max-age=60", 0),
        ('x="max-age=5, y", max-age=60', 60),
        ('max-age=5, x="max-age=60"', 5),
        (r'x="a\", max-age=60, b", max-age=5', 5),
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
        ({"expires": "THU, 01 JAN 2026 12:01:00 gmt"}, 60),
        ({"expires": "Thursday, 01-Jan-26 12:01:00 GMT"}, 60),
        ({"expires": "Thu Jan  1 12:01:00 2026"}, 60),
        ({"expires": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"expires": DATE}, 0),
        ({"expires": "0"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 UTC"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 EST"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 +0000"}, 0),
        ({"expires": "Thu, 01 Jan 26 12:01:00 GMT"}, 0),
        ({"expires": "Thu 01 Jan 2026 12:01:00 GMT"}, 0),
        ({"expires": "Thu, 01  Jan  2026 12:01:00 GMT"}, 0),
        ({"expires": "Thu, 01-Jan-2026 12:01:00 GMT"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12.01.00 GMT"}, 0),
        ({"expires": "Thu, 01 Jan 2026 2:01:00 GMT"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 GMT, Thu, 01 Jan 2026 13:00:00 GMT"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 GMT", "cache_control": "max-age=5"}, 5),
        ({"expires": "Thu, 01 Jan 2026 11:00:00 GMT", "cache_control": "max-age=60"}, 60),
        ({"expires": "0", "cache_control": "s-maxage=60"}, 60),
        ({"expires": "0", "last_modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
        ({"cache_control": "max-age=x", "last_modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
        ({"expires": "Thu, 01 Jan 2026 12:01:00 GMT", "date": "never"}, 60),
        ({"last_modified": "Thu, 01 Jan 2026 11:58:20 GMT"}, 10),
        ({"last_modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, HEURISTIC_MAX_S),
        ({"last_modified": "Fri, 02 Jan 2026 00:00:00 GMT"}, 0),
        ({"pragma": "no-cache", "cache_control": "max-age=60"}, 60),
        ({}, 0),
    ],
)
def test_other_headers(headers: dict[str, str], fresh_s: float) -> None:
    assert _fresh_s(**headers) == pytest.approx(fresh_s)


@pytest.mark.parametrize(
    ("age", "fresh_s"),
    [
        ("10", 50),
        ("70", -10),
        ("-5", 60),
        ("abc", 60),
        ("10.0", 60),
        ("10, 0", 50),
        ("0, 10", 60),
        ("10, 10", 50),
        ("99999999999", 60 - 2**31),
        ("9" * 5000, 60 - 2**31),
    ],
)
def test_age(age: str, fresh_s: float) -> None:
    assert _fresh_s(cache_control="max-age=60", age=age) == fresh_s


@pytest.mark.parametrize(
    ("targeted", "cache_control", "fresh_s"),
    [
        ("max-age=60", "", 60),
        ("max-age=60", "max-age=5", 60),
        ("max-age=5", "max-age=60", 5),
        ("max-age=60", "no-store", 60),
        ("max-age=60", "no-cache", 60),
        ("foobar, max-age=60", "max-age=5", 60),
        ("max-age=60;x=1", "", 60),
        ("s-maxage=7, max-age=60", "", 7),
        ("max-age=99999999999", "", 2**31),
        ("no-cache", "max-age=60", 0),
        # What is no dictionary, or no such value, is as if it were not there.
        ("max-age=60, &&&", "max-age=5", 5),
        ('max-age="60"', "max-age=5", 5),
        ("max-age=60.5", "max-age=5", 5),
        ("max-age =60", "max-age=5", 5),
        ("max-age= 60", "max-age=5", 5),
        ("Max-Age=60", "max-age=5", 5),
        ("max-age=60,", "max-age=5", 5),
        ("no-store=1", "max-age=5", 5),
        ("", "max-age=5", 5),
        # Valid, and without a lifetime: Cache-Control does not count all the same.
        ("none", "max-age=5", 0),
    ],
)
def test_a_targeted_field_takes_the_place_of_cache_control(targeted: str, cache_control: str, fresh_s: float) -> None:
    assert _fresh_s(cdn_cache_control=targeted, cache_control=cache_control) == fresh_s


def test_a_targeted_field_takes_the_place_of_expires() -> None:
    expires = "Thu, 01 Jan 2026 13:00:00 GMT"
    assert _fresh_s(cdn_cache_control="max-age=0", expires=expires) == 0
    assert _fresh_s(cdn_cache_control="none", expires=expires) == 0
    assert _fresh_s(cdn_cache_control="&", expires=expires) == 3600


@pytest.mark.parametrize(("skew_s", "fresh_s"), [(30, 30), (-3600, 60), (3600, 60 - 3600)])
def test_a_clock_that_differs_makes_an_answer_older_and_never_younger(skew_s: float, fresh_s: float) -> None:
    assert _fresh_s(NOW + skew_s, cache_control="max-age=60") == fresh_s


def test_an_answer_is_as_old_as_it_took_to_come() -> None:
    life = lifetime("origin", _headers(cache_control="max-age=60", age="10"), NOW, delay_s=5)
    assert (life.age_s, life.fresh_s) == (15, 45)


@given(
    skew_s=st.floats(-3600, 3600),
    upstream_s=st.integers(0, 10**6),
    delay_s=st.floats(0, 300),
    lived_s=st.floats(0, 300),
)
def test_an_age_is_never_younger_than_the_truth(skew_s: float, upstream_s: int, delay_s: float, lived_s: float) -> None:
    """The origin's clock is wrong by up to an hour. Its answer is made at some time between request and answer, or was
    that long ago in a cache on the way which says so."""
    lived_s = min(lived_s, delay_s)
    made = NOW - upstream_s - lived_s
    date = format_http_date(datetime.fromtimestamp(made + skew_s, UTC))
    assert initial_age({"date": date, "age": str(upstream_s)}, NOW, delay_s) >= upstream_s + lived_s
    if not upstream_s:
        assert initial_age({"date": date}, NOW, delay_s) >= lived_s


_WORDS = st.sampled_from(
    [
        "max-age",
        "s-maxage",
        "no-cache",
        "private",
        "no-store",
        "=",
        '"',
        "\\",
        ",",
        ";",
        " ",
        "60",
        "-1",
        "?1",
        "(",
        "é",
    ]
)
_TEXTS = st.one_of(st.text(max_size=60), st.lists(_WORDS, max_size=12).map("".join))


@given(cache_control=_TEXTS, targeted=_TEXTS, expires=_TEXTS, age=_TEXTS, date=_TEXTS, vary=_TEXTS)
def test_any_text_has_a_lifetime(**headers: str) -> None:
    named = {name.replace("_", "-").replace("targeted", "cdn-cache-control"): value for name, value in headers.items()}
    life = lifetime("origin", named, NOW)
    assert life.age_s >= 0
    assert life.fresh_s + life.age_s >= 0  # the lifetime itself is never negative
    assert negative_lifetime("origin", named, NOW, delay_s=0, default_s=2.0) >= 0


# --- what may be kept -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "storable"),
    [
        ({"cache-control": "no-store"}, False),
        ({"cache-control": "No-StOrE"}, False),
        ({"cache-control": "max-age=60, no-store"}, False),
        ({"cache-control": "no-store =1"}, False),
        ({"cache-control": 'x="y, no-store'}, False),
        ({"cache-control": 'x="no-store"'}, True),
        ({"cache-control": "must-understand, no-store, max-age=60"}, True),
        ({"cache-control": "private, max-age=60"}, False),
        ({"cache-control": 'private="", max-age=60'}, False),
        ({"cache-control": 'private="set-cookie", private, max-age=60'}, False),
        ({"cache-control": 'private="set-cookie", max-age=60'}, True),
        ({"cache-control": 'private="etag", max-age=60'}, False),
        ({"cache-control": "max-age=60"}, True),
        ({"cdn-cache-control": "no-store", "cache-control": "max-age=60"}, False),
        ({"cdn-cache-control": "private", "cache-control": "max-age=60"}, False),
        ({"cdn-cache-control": 'private="x-a"', "cache-control": "no-store"}, True),
        ({"vary": "*"}, False),
        ({"vary": "*, *"}, False),
        ({"vary": ", *"}, False),
        ({"vary": "Accept-Encoding, *"}, False),
        ({"vary": "Cookie"}, False),
        ({"vary": "Accept-Encoding"}, True),
        ({"vary": ""}, True),
        ({"vary": "accept-encoding, Origin"}, False),
    ],
)
def test_what_may_be_kept(headers: dict[str, str], storable: bool) -> None:
    assert lifetime("origin", headers, NOW).storable == storable


@pytest.mark.parametrize(
    ("cache_control", "withheld", "fresh_s"),
    [
        ('private="X-A, x-b", max-age=60', {"x-a", "x-b"}, 60),
        ("private=x-a, max-age=60", {"x-a"}, 60),
        ('no-cache="x-a", private="x-b", max-age=60', {"x-a", "x-b"}, 60),
        ('no-cache="x-a", no-cache, max-age=60', set(), 0),
        ('no-cache="content-type", max-age=60', set(), 0),
    ],
)
def test_fields_that_are_not_kept_with_the_rest(cache_control: str, withheld: set[str], fresh_s: float) -> None:
    life = lifetime("origin", {"cache-control": cache_control}, NOW)
    assert (life.withheld, life.fresh_s) == (withheld, fresh_s)


# --- after its time -------------------------------------------------------------------------------------------------

DEFAULTS = Grace(10, 100)


@pytest.mark.parametrize(
    ("cache_control", "grace"),
    [
        ("max-age=5", DEFAULTS),
        ("max-age=5, stale-while-revalidate=30", Grace(30, 100)),
        ("max-age=5, stale-if-error=30", Grace(10, 30)),
        ("max-age=5, stale-while-revalidate=0, stale-if-error=0", Grace(0, 0)),
        ("max-age=5, stale-while-revalidate=x, stale-if-error=-1", Grace(0, 0)),
        ('max-age=5, stale-if-error="30"', Grace(10, 30)),
        # What is never fresh is not used unasked, but the origin may allow it.
        ("max-age=0", Grace(0, 100)),
        ("max-age=0, stale-while-revalidate=30", Grace(30, 100)),
        ("no-cache, stale-while-revalidate=30", None),
        ("max-age=5, must-revalidate, stale-if-error=30", None),
        ("max-age=5, proxy-revalidate", None),
        ("s-maxage=5, stale-while-revalidate=30", None),
    ],
)
def test_what_may_be_used_after_its_time(cache_control: str, grace: Grace | None) -> None:
    assert lifetime("origin", {"cache-control": cache_control}, NOW, grace=DEFAULTS).grace == grace


def test_a_targeted_field_says_what_may_be_used_after_its_time() -> None:
    headers = {"cdn-cache-control": "max-age=5, stale-while-revalidate=7", "cache-control": "must-revalidate"}
    assert lifetime("origin", headers, NOW, grace=DEFAULTS).grace == Grace(7, 100)


@pytest.mark.parametrize("ttl", [60.0, "immutable"])
def test_a_duration_or_immutable_is_the_operators_word(ttl: Any) -> None:
    headers = _headers(cache_control="no-store, must-revalidate", vary="*", age="10")
    life = lifetime(ttl, headers, NOW, grace=DEFAULTS)
    assert life.storable
    assert life.fresh_s == (math.inf if ttl == "immutable" else 60)
    assert life.age_s == 10  # it is told to others all the same
    assert life.grace == (Grace() if ttl == "immutable" else DEFAULTS)


def test_what_the_operator_calls_never_fresh_is_not_used_unasked() -> None:
    assert lifetime(0.0, {}, NOW, grace=DEFAULTS).grace == Grace(0, 100)


# --- absences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "headers", "life_s"),
    [
        ("origin", {}, 2),
        ("origin", {"last-modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, 2),
        ("origin", {"cache-control": "max-age=30"}, 30),
        ("origin", {"cache-control": "max-age=30", "age": "10"}, 20),
        ("origin", {"cache-control": "max-age=3600"}, ABSENT_MAX_S),
        ("origin", {"cache-control": "max-age=0"}, 0),
        ("origin", {"cache-control": "max-age=x"}, 0),
        ("origin", {"cache-control": "no-store"}, 0),
        ("origin", {"cache-control": "private, max-age=30"}, 0),
        ("origin", {"cache-control": "no-cache, max-age=30"}, 0),
        ("origin", {"cache-control": "max-age=30", "vary": "cookie"}, 0),
        ("origin", {"cdn-cache-control": "max-age=7", "cache-control": "max-age=30"}, 7),
        ("origin", {"expires": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        (60.0, {"cache-control": "max-age=30"}, 2),
        ("immutable", {"cache-control": "max-age=30"}, 2),
    ],
)
def test_how_long_a_404_is_remembered(ttl: Any, headers: dict[str, str], life_s: float) -> None:
    assert negative_lifetime(ttl, {"date": DATE, **headers}, NOW, delay_s=0, default_s=2.0) == life_s


def test_a_404_is_never_remembered_where_the_operator_says_so() -> None:
    assert negative_lifetime("origin", {"cache-control": "max-age=30"}, NOW, delay_s=0, default_s=0) == 0
