"""Patterns over `provider/bucket/key`: what they match, what they must not, and at what cost."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rangecache.patterns import PATTERN_CHARS_MAX, Pattern, PatternSet, first_match

MATCHES = [
    ("**", "s3/data/k"),
    ("s3/**", "s3/data/a/b/c"),
    ("s3/data/**", "s3/data/k"),
    ("s3/data/**", "s3/data/a//b"),
    ("s3/data/", "s3/data/k"),
    ("s3/data/p/**", "s3/data/p/x"),
    ("s3/data/p/**", "s3/data/p"),
    ("s3/data/*", "s3/data/k"),
    ("s3/data/*", "s3/data/"),
    ("s3/*/public/**", "s3/any/public/x"),
    ("s3/data/a*c", "s3/data/abc"),
    ("s3/data/a*c", "s3/data/ac"),
    ("s3/data/*a*b*", "s3/data/xaxbx"),
    ("s3/data/*.json", "s3/data/.json"),
    ("**/zarr.json", "s3/data/zarr.json"),
    ("**/zarr.json", "s3/data/deep/er/zarr.json"),
    ("**/*.vrt", "web/noaa/a/b.vrt"),
    ("s3/**/c/0/**", "s3/data/array/c/0/1"),
    ("s3/**/x/**/y", "s3/data/x/y"),
    ("s3/**/x/**/y", "s3/x/x/y/y"),
    ("**/a/b", "s3/a/a/b"),
    ("**/**", "s3/data/k"),
    ("s3/data/[a-z]?", "s3/data/[a-z]?"),
    ("s3/data/caf\u00e9", "s3/data/caf\u00e9"),
]

MATCHES_NOT = [
    ("s3/data/**", "s3/data-evil/k"),
    ("s3/data/**", "s3/database/x"),
    ("s3/data/**", "s3/Data/k"),
    ("s3/data/**", "s33/data/k"),
    ("s3/data/**", "x/s3/data/k"),
    ("s3/data/p/**", "s3/data/p2/k"),
    ("s3/data/p/", "s3/data/pq"),
    ("s3/data/*", "s3/data/a/b"),
    ("s3/*/public/**", "s3/a/b/public/x"),
    ("s3/data/a*a", "s3/data/a"),
    ("s3/data/ab*bc", "s3/data/abc"),
    ("s3/data/a*bc*c", "s3/data/abc"),
    ("s3/data/*a*b*", "s3/data/xbxax"),
    ("s3/data/*.json", "s3/data/a.jsonl"),
    ("**/zarr.json", "s3/data/not-zarr.json"),
    ("**/*.vrt", "web/noaa/a.vrt/b"),
    ("s3/**/c/0/**", "s3/data/array/c/10/1"),
    ("s3/**/a/**/b", "s3/a/a"),
    ("s3/data/[a-z]", "s3/data/b"),
    ("s3/data/?", "s3/data/x"),
    ("s3/data/.", "s3/data/x"),
    ("s3/data/caf\u00e9", "s3/data/cafe\u0301"),
]

USELESS = [
    ("", "1 to 1024"),
    ("x" * (PATTERN_CHARS_MAX + 1), "1 to 1024"),
    ("/s3/data/**", "write s3/data/**"),
    ("/", "leading slash"),
    ("s3", "write s3/**"),
    ("s3/data", "write s3/data/**"),
    ("*.json", "write **/*.json"),
    ("zarr.json", "write **/zarr.json"),
    ("s3/data**", "whole segments"),
    ("s3/***/x", "whole segments"),
]


@pytest.mark.parametrize(("pattern", "name"), MATCHES)
def test_a_pattern_matches(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name)


@pytest.mark.parametrize(("pattern", "name"), MATCHES_NOT)
def test_a_pattern_does_not_match(pattern: str, name: str) -> None:
    assert not Pattern(pattern).matches(name)


@pytest.mark.parametrize(("pattern", "says"), USELESS)
def test_a_pattern_that_can_match_nothing_says_what_to_write(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("*", r"\*")):
        Pattern(pattern)


def _oracle(pattern: list[str], name: list[str]) -> bool:
    """The definition, word by word; exponential, and so only for short texts."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_oracle(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and _segment_oracle(pattern[0], name[0]) and _oracle(pattern[1:], name[1:])


def _segment_oracle(pattern: str, segment: str) -> bool:
    if not pattern:
        return not segment
    if pattern[0] == "*":
        return any(_segment_oracle(pattern[1:], segment[at:]) for at in range(len(segment) + 1))
    return segment[:1] == pattern[0] and _segment_oracle(pattern[1:], segment[1:])


_pattern_segments = st.lists(
    st.one_of(st.just("**"), st.from_regex(r"\A([ab]|\*(?!\*)){0,4}\Z")), min_size=3, max_size=6
)
_name_segments = st.lists(st.from_regex(r"\A[ab]{0,4}\Z"), min_size=1, max_size=7)


@given(_pattern_segments, _name_segments)
def test_matching_is_what_its_definition_says(pattern: list[str], name: list[str]) -> None:
    if not pattern[0] or not pattern[-1]:
        return  # a slash at either end is another spelling, tested above
    assert Pattern("/".join(pattern)).matches("/".join(name)) == _oracle(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("s3/b/" + "*a" * 500, "s3/b/" + "a" * 100_000 + "b"),
        ("**/" + "a/**/" * 150 + "b", "/".join("a" * 50_000)),
        ("s3/" + "**/*a*/" * 100 + "z", "s3/" + "ba/" * 30_000),
    ],
)
def test_hostile_names_cost_no_more_than_their_length(pattern: str, name: str) -> None:
    compiled, began = Pattern(pattern), time.process_time()
    assert not compiled.matches(name)
    assert time.process_time() - began < 1


def test_a_set_holds_what_any_of_its_patterns_matches() -> None:
    allowed = PatternSet(["s3/data/**", "web/noaa/*"])
    assert "s3/data/k" in allowed
    assert "web/noaa/k" in allowed
    assert "s3/data-evil/k" not in allowed
    assert "s3/data/k" not in PatternSet([])


def test_the_first_rule_that_matches_wins() -> None:
    rules = [(Pattern("s3/a/**"), 1), (Pattern("s3/**"), 2)]
    assert first_match(rules, "s3/a/k") == 1
    assert first_match(rules, "s3/b/k") == 2
    assert first_match(rules, "web/b/k") is None


@given(pattern=_pattern_segments, name=_name_segments)
def test_a_pattern_reaches_every_beginning_of_what_it_matches(pattern: list[str], name: list[str]) -> None:
    try:
        compiled = Pattern("/".join(pattern))
    except ValueError:
        assume(False)
    if compiled.matches("/".join(name)):
        assert all(compiled.reaches("".join(f"{part}/" for part in name[:count])) for count in range(len(name)))


@pytest.mark.parametrize(
    ("pattern", "beginning", "reaches"),
    [
        ("**", "s3/data/", True),
        ("s3/data/a/**", "", True),
        ("s3/data/a/**", "s3/", True),
        ("s3/data/a/**", "s3/data/", True),
        ("s3/data/a/**", "s3/data/a/b/", True),
        ("s3/data/a/**", "s3/data/ab/", False),
        ("s3/data/a/**", "s3/database/", False),
        ("s3/*/x.json", "s3/data/", True),
        ("s3/*/x.json", "s3/data/x.json/", False),
        ("s3/*/x.json", "gs/data/", False),
        ("**/zarr.json", "s3/any/thing/", True),
        ("s3/data/**/*.tif", "s3/data/deep/er/", True),
        ("s3/data/**/*.tif", "s3/other/", False),
    ],
)
def test_a_pattern_reaches_no_further_than_it_can(pattern: str, beginning: str, reaches: bool) -> None:
    assert Pattern(pattern).reaches(beginning) is reaches
