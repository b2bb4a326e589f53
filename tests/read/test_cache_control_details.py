"""What counts as white space, where an element ends, and what stands in its place where it cannot be read."""

from __future__ import annotations

import pytest

from rangecache.read.cache_control import (
    Directives,
    delta_seconds,
    field_names,
    parse_directives,
    parse_targeted,
)


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        ("no-store,max-age=5", {"no-store": [None], "max-age": ["5"]}),
        ("max-age=5,@,no-store", {"max-age": ["5"], "no-store": [None]}),
        (" \tno-store\t ", {"no-store": [None]}),
        ("\x0bno-store", {}),
        ("Xno-store,max-ageX", {"xno-store": [None], "max-agex": [None]}),
        ('"a,no-store', {"no-store": [""]}),
        ('"a, \tno-store', {"no-store": [""]}),
        ('"a,\x0bno-store', {}),
        ('"a,Xno-store', {"xno-store": [""]}),
        ('x="\\"a", b', {"x": ['"a'], "b": [None]}),
        ("", {}),
    ],
)
def test_elements(header: str, directives: Directives) -> None:
    assert parse_directives(header) == directives


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        (" max-age=5 ", {"max-age": ["5"]}),
        ("\tmax-age=5", None),
        ("\x0bmax-age=5", None),
        ("Xmax-age=5", None),
        ("max-age=5X", None),
        ('private="x\\"y"', {"private": ['x"y']}),
        ('private="XaX"', {"private": ["XaX"]}),
    ],
)
def test_targeted_fields(header: str, directives: Directives | None) -> None:
    assert parse_targeted(header) == directives


def test_ten_digits_may_still_be_a_number() -> None:
    assert delta_seconds("1234567890") == 1_234_567_890
    assert delta_seconds("0" * 30 + "9") == 9


def test_the_fields_of_every_time_that_a_directive_stands_there_count() -> None:
    assert field_names(parse_directives('private="a", private="b"'), "private") == {"a", "b"}
    assert field_names({"private": ["\x0ba, b"]}, "private") == {"\x0ba", "b"}
