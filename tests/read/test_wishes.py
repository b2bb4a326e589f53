"""What a client asks of us: RFC 9111 section 5.2.1 and RFC 5861 section 4 as tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.read.wishes import Wishes, read_wishes


@pytest.mark.parametrize(
    ("header", "wishes"),
    [
        (None, Wishes()),
        ("", Wishes()),
        ("no-cache", Wishes(revalidate=True)),
        ("no-store", Wishes(revalidate=True)),
        ("max-age=0", Wishes(revalidate=True, max_age_s=0)),
        ("max-age=x", Wishes(revalidate=True, max_age_s=0)),
        ("max-age=10", Wishes(max_age_s=10)),
        ("MAX-AGE=10, max-age=5", Wishes(max_age_s=5)),
        ("min-fresh=10", Wishes(min_fresh_s=10)),
        ("max-stale", Wishes(max_stale_s=math.inf)),
        ("max-stale=10", Wishes(max_stale_s=10)),
        ("max-stale=x", Wishes(max_stale_s=0)),
        ("max-stale =10", Wishes(max_stale_s=0)),
        ("stale-if-error=10", Wishes(stale_if_error_s=10)),
        ("no-transform, foo=bar", Wishes()),
        ("only-if-cached", Wishes(only_if_cached=True)),
        ("no-cache, only-if-cached", Wishes(revalidate=True, only_if_cached=True)),
    ],
)
def test_what_a_client_asks_of_us(header: str | None, wishes: Wishes) -> None:
    assert read_wishes(header) == wishes


@pytest.mark.parametrize(
    ("header", "age_s", "fresh_s", "met"),
    [
        ("", 1000, 1, True),
        ("", 0, 0, False),
        ("", 0, -1, False),
        ("no-cache", 0, 60, False),
        ("max-age=10", 10, 60, True),
        ("max-age=10", 11, 60, False),
        ("min-fresh=10", 0, 10, True),
        ("min-fresh=10", 0, 9, False),
        ("max-stale", 0, -1, False),
    ],
)
def test_whether_a_fresh_version_will_do(header: str, age_s: float, fresh_s: float, met: bool) -> None:
    assert read_wishes(header).met(age_s, fresh_s) == met


@pytest.mark.parametrize(
    ("header", "age_s", "stale_s", "met"),
    [
        ("", 0, 0, False),
        ("max-stale", 10**9, 10**9, True),
        ("max-stale=10", 0, 10, True),
        ("max-stale=10", 0, 11, False),
        ("max-stale=10, max-age=60", 61, 1, False),
        ("max-stale=10, min-fresh=1", 0, 1, False),
        ("max-stale, no-cache", 0, 1, False),
    ],
)
def test_whether_a_stale_version_will_do(header: str, age_s: float, stale_s: float, met: bool) -> None:
    assert read_wishes(header).stale_met(age_s, stale_s) == met


@given(st.text())
def test_any_text_is_a_wish(text: str) -> None:
    wishes = read_wishes(text)
    assert wishes.max_age_s >= 0
    assert wishes.min_fresh_s >= 0
