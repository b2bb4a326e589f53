"""Reading lists of directives, whatever an origin or a client writes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.read.cache_control import delta_seconds, field_names, parse_directives, parse_targeted, seconds


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        ("", {}),
        (" , ,", {}),
        ("no-store", {"no-store": [None]}),
        ("Max-Age=5, max-age=6", {"max-age": ["5", "6"]}),
        (r'x="a\"b,c", y', {"x": ['a"b,c'], "y": [None]}),
        ("max-age =5", {"max-age": [""]}),
        ("max-age=5 6", {"max-age": [""]}),
        ('max-age=5"6"', {"max-age": [""]}),
        ("private=a=b", {"private": [""]}),
        ("=5, ;, é", {}),
        # A quotation mark that is never closed hides nothing, and vouches for nothing.
        ('x="a, no-store, max-age=60', {"x": [""], "no-store": [""], "max-age": [""]}),
    ],
)
def test_directives(header: str, directives: dict[str, list[str | None]]) -> None:
    assert parse_directives(header) == directives


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        ("max-age=60", {"max-age": ["60"]}),
        (" max-age=60 ,  no-store ", {"max-age": ["60"], "no-store": [None]}),
        ("max-age=1, max-age=2", {"max-age": ["2"]}),
        ('private="a, b"', {"private": ["a, b"]}),
        ('x="a\\"b", y=:YQ==:, z=?0, t=tok/en, i=(1 "b";q=2);r', {"x", "y", "z", "t", "i"}),
        ('x=1;a;b=2;c="d", *key.1-_', {"x", "*key.1-_"}),
        ("", None),
        ("   ", None),
        (",", None),
        ("a,,b", None),
        ("a b", None),
        ("A", None),
        ("a=", None),
        ("a=é", None),
        ('a="b', None),
        ("a=1234567890123456", None),
        ("private=?0", None),
        ("private=token", None),
        ("must-revalidate=?0", None),
    ],
)
def test_targeted_fields(header: str, directives: dict[str, list[str | None]] | set[str] | None) -> None:
    read = parse_targeted(header)
    assert (set(read) if isinstance(directives, set) and read is not None else read) == directives


@pytest.mark.parametrize(
    ("text", "read"),
    [("0", 0), ("007", 7), ("2147483649", 2**31), ("9" * 10_000, 2**31), ("0" * 10_000 + "5", 5)]
    + [(text, None) for text in ("", None, "+5", "-5", "5.0", "٥", "²", "5 ", "5s")],
)
def test_seconds_are_digits_and_bounded(text: str | None, read: float | None) -> None:
    assert delta_seconds(text) == read


def test_seconds_that_cannot_be_read_are_none_at_all() -> None:
    directives = parse_directives("max-age=5, max-age=x, s-maxage")
    assert seconds(directives, "max-age") == 0
    assert seconds(directives, "s-maxage") == 0
    assert seconds(directives, "min-fresh") is None


def test_names_of_fields() -> None:
    directives = parse_directives('private="A, b,", no-cache, public=","')
    assert field_names(directives, "private") == {"a", "b"}
    assert field_names(directives, "no-cache") is None
    assert field_names(directives, "public") is None
    assert field_names(directives, "other") == frozenset()


@given(st.text(alphabet='ab=," \\\t;:()?1*é', max_size=40))
def test_any_text_is_read(text: str) -> None:
    for name in parse_directives(text):
        assert name == name.lower()
    parse_targeted(text)


@pytest.mark.parametrize(
    "piece", ['a="', 'a="\\"', ",", '"', 'a="b",', "a=(", "a;b", "a=1;b=", " ", "a, ", '"\\', "a=( 1 ", "max-age=1,"]
)
def test_long_headers_are_read_in_linear_time(piece: str) -> None:
    """Twice as long may take a little more than twice as long, but not four times; no clock fails this, a hang does."""
    header = piece * (32_768 // len(piece))
    began = time.process_time()
    parse_directives(header)
    parse_targeted(header)
    assert time.process_time() - began < 60
