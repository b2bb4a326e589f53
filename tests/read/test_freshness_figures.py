"""The figures of a lifetime where two clocks differ, at their limits, and of what may not be kept."""

from __future__ import annotations

import pytest

from rangecache.httpdate import parse_http_date
from rangecache.read.freshness import HEURISTIC_MAX_S, Grace, Lifetime, lifetime, negative_lifetime

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
_parsed = parse_http_date(DATE)
assert _parsed is not None
NOW = _parsed.timestamp()
EARLIER_S = 3600.0  # our clock is behind the origin's by so much
GRACE = Grace(10, 100)


def test_a_date_of_expiry_counts_from_the_origins_date_and_not_from_ours() -> None:
    headers = {"date": DATE, "expires": "Thu, 01 Jan 2026 12:01:00 GMT"}
    assert lifetime("origin", headers, NOW - EARLIER_S).fresh_s == 60
    assert lifetime("origin", {"expires": headers["expires"]}, NOW).fresh_s == 60
    assert negative_lifetime("origin", {"expires": headers["expires"]}, NOW + 58, delay_s=0, default_s=9) == 2


def test_a_tenth_of_the_age_counts_from_the_origins_date_and_not_from_ours() -> None:
    headers = {"date": DATE, "last-modified": "Thu, 01 Jan 2026 11:58:20 GMT"}
    assert lifetime("origin", headers, NOW - EARLIER_S).fresh_s == pytest.approx(10)
    assert lifetime("origin", {"last-modified": headers["last-modified"]}, NOW).fresh_s == pytest.approx(10)
    assert lifetime("origin", {"last-modified": headers["last-modified"]}, NOW + 1e6).fresh_s == HEURISTIC_MAX_S


@pytest.mark.parametrize("forbidding", ["no-store", "private"])
def test_what_may_not_be_kept_has_an_age_and_no_lifetime(forbidding: str) -> None:
    life = lifetime("origin", {"date": DATE, "age": "7", "cache-control": forbidding}, NOW, grace=GRACE)
    assert life == Lifetime(0, 7, storable=False, grace=None)


def test_what_has_to_be_asked_about_each_time_has_an_age_and_no_lifetime() -> None:
    headers = {"date": DATE, "age": "7", "cache-control": 'no-cache, private="x-a"'}
    assert lifetime("origin", headers, NOW, grace=GRACE) == Lifetime(0, 7, grace=None, withheld=frozenset({"x-a"}))


def test_a_lifetime_of_less_than_a_second_is_one() -> None:
    assert lifetime(0.5, {}, NOW, grace=GRACE).grace == GRACE
    headers = {"date": DATE, "last-modified": "Thu, 01 Jan 2026 11:59:55 GMT"}
    life = lifetime("origin", headers, NOW, grace=GRACE)
    assert (life.fresh_s, life.grace) == (pytest.approx(0.5), GRACE)
    assert negative_lifetime("origin", {"cache-control": "max-age=5"}, NOW, delay_s=0, default_s=0.5) == 5


def test_a_targeted_field_without_a_lifetime_leaves_an_absence_its_default_whatever_expires_says() -> None:
    headers = {"cdn-cache-control": "none", "expires": "Thu, 01 Jan 2026 12:00:01 GMT"}
    assert negative_lifetime("origin", headers, NOW, delay_s=0, default_s=9) == 9


@pytest.mark.parametrize("age", ["\x0b7", "X7", "7X"])
def test_an_age_that_is_no_number_says_nothing(age: str) -> None:
    assert lifetime("origin", {"age": age, "cache-control": "max-age=60"}, NOW).age_s == 0


@pytest.mark.parametrize(
    ("vary", "storable"),
    [
        ("Accept-Encoding ,\tAccept-Encoding", True),
        ("accept-encoding accept-encoding", False),
        ("XAccept-Encoding", False),
        ("\x0baccept-encoding", False),
    ],
)
def test_vary_is_a_list_of_names(vary: str, storable: bool) -> None:
    assert lifetime("origin", {"vary": vary}, NOW).storable == storable
