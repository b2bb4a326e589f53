"""The range parser against an oracle on real bytes: total, linear, and right."""

from __future__ import annotations

import string
import sys
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rangecache.errors import InvalidRange
from rangecache.ranges import (
    ByteRange,
    ContentRange,
    OffsetRange,
    RangeSpec,
    SuffixRange,
    block_indices,
    block_range,
    parse_content_range,
    parse_range,
    parse_unsatisfied,
    resolve,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NO_DEADLINE = settings(deadline=None)  # a busy machine is no reason to fail
MAX_RANGES = 256
HEADER_BYTES_MAX = 8190
BEYOND = 10**19  # all larger positions are one: beyond the end of every object
POSITIONS = st.one_of(st.integers(0, 40), st.integers(2**63 - 2, 2**64 + 2)).map(str)
SPECS = st.one_of(
    st.builds("{}-{}".format, POSITIONS, POSITIONS),
    st.builds("{}-".format, POSITIONS),
    st.builds("-{}".format, POSITIONS),
    st.builds("0{}-0{}".format, POSITIONS, POSITIONS),
    st.text("0123456789-, \t+x\xb2٣", max_size=6),
)
HEADERS = st.one_of(
    st.builds("{}={}".format, st.sampled_from(["bytes", "BYTES", "items"]), st.lists(SPECS, max_size=5).map(",".join)),
    st.text("bytes=0123456789-, \t", max_size=40),
    st.text(max_size=60),
)


TOKEN_CHARACTERS = set(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")  # RFC 9110 section 5.6.2


def oracle(header: str, data: bytes) -> list[bytes] | None:
    """The bytes that a header asks for, by slicing; None where it is malformed, all bytes for another unit."""
    unit, equals, listed = header.partition("=")
    if unit.lower() != "bytes":
        return [data] if equals and unit and set(unit) <= TOKEN_CHARACTERS else None
    elements = [text.strip(" \t") if "," in listed else text for text in listed.split(",")]
    elements = [text for text in elements if text or "," not in listed]
    wanted = []
    for first, dash, last in (text.partition("-") for text in elements):
        if not dash or not first + last or not set(first + last) <= set("0123456789"):
            return None
        if first and last and min(int(last), BEYOND) < min(int(first), BEYOND):
            return None
        start = int(first) if first else max(0, len(data) - int(last))
        wanted.append(data[start : int(last) + 1 if first and last else None])
    return wanted or None


@NO_DEADLINE
@given(HEADERS, st.integers(0, 40))
@example("bytes=00000000000000000000000001-2", 40)
@example("bytes=-0", 40)
@example("-=", 0)
@example("x.y=0-1", 9)
@example("bytes=" + "0" * 4000 + "-1", 1)
@example("bytes=,", 1)
def test_a_header_means_what_slicing_the_bytes_says_or_is_invalid(header: str, size: int) -> None:
    data = bytes(range(size))
    try:
        specs = parse_range(header, MAX_RANGES)
    except InvalidRange:
        assert oracle(header, data) is None
        return
    found = [ByteRange(0, size)] if specs is None else [resolve(spec, size) for spec in specs]
    assert [data[each.start : each.end] if each is not None else b"" for each in found] == oracle(header, data)
    for each in found:
        assert each is None or 0 <= each.start < each.end <= size or specs is None


@NO_DEADLINE
@given(st.text())
def test_any_text_at_all_is_read_or_is_invalid(header: str) -> None:
    with suppress(InvalidRange):
        parse_range(header, MAX_RANGES)


@NO_DEADLINE
@given(st.text("0123456789-*/ bytes", max_size=60))
@example("bytes " + "9" * 20 + "-1/2")
def test_any_text_at_all_is_a_content_range_or_none(header: str) -> None:
    found = parse_content_range(header)
    if found is not None:
        size = "*" if found.size is None else found.size
        assert found.range.start < found.range.end
        assert header.lstrip("bytes ").replace("0", "") == f"{found.range.start}-{found.range.end - 1}/{size}".replace(
            "0", ""
        )
    unsatisfied = parse_unsatisfied(header)
    assert unsatisfied is None or header.startswith("bytes */")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-9", [ByteRange(0, 10)]),
        ("bytes=90-", [ByteRange(90, 100)]),
        ("bytes=-10", [ByteRange(90, 100)]),
        ("bytes=-1000", [ByteRange(0, 100)]),
        ("bytes=0-18446744073709551615", [ByteRange(0, 100)]),
        ("bytes=99-99", [ByteRange(99, 100)]),
        ("bytes=100-", [None]),
        ("bytes=100-200", [None]),
        ("bytes=-0", [None]),
        ("bytes=0-1,3-4", [ByteRange(0, 2), ByteRange(3, 5)]),
        ("bytes=0-0,-1", [ByteRange(0, 1), ByteRange(99, 100)]),
        ("BYTES=0-9", [ByteRange(0, 10)]),
        ("bytes=0-" + "9" * 5000, [ByteRange(0, 100)]),
        ("bytes=" + "9" * 5000 + "-", [None]),
        ("bytes=00000000000000000000000000-1", [ByteRange(0, 2)]),
        ("bytes=0-1 ,, 3-4", [ByteRange(0, 2), ByteRange(3, 5)]),
    ],
)
def test_what_is_valid_resolves_against_a_hundred_bytes(header: str, wanted: list[ByteRange | None]) -> None:
    specs = parse_range(header, MAX_RANGES)
    assert specs is not None
    assert [resolve(spec, 100) for spec in specs] == wanted


@pytest.mark.parametrize(
    "header",
    [
        *("bytes=9-5", "bytes=-", "bytes=", "bytes", "=0-1", "", "bytes= 0-9", "bytes=0 - 9", "bytes=0-9 "),
        *("bytes=+0-9", "bytes=0x0-0x9", "bytes=1_0-2_0", "bytes=٠-٩", "bytes=²-³", "bytes=0-1,9-5", "bytes=,"),
        *("b\u0131tes=0-9", "bytes=0-\n", "bytes=0-1\n", "by tes=0-1", "bytes=" + "0-," * 1300),
    ],
)
def test_what_is_malformed_is_invalid(header: str) -> None:
    with pytest.raises(InvalidRange):
        parse_range(header, MAX_RANGES)


@pytest.mark.parametrize("header", ["items=0-9", "seconds=x", "none="])
def test_a_header_of_another_unit_is_to_be_ignored(header: str) -> None:
    assert parse_range(header, MAX_RANGES) is None


def test_as_many_ranges_as_are_allowed_are_read_and_one_more_is_not() -> None:
    specs = parse_range("bytes=" + ",".join(["0-0"] * 7), 7)
    assert specs is not None
    assert len(specs) == 7
    with pytest.raises(InvalidRange):
        parse_range("bytes=" + ",".join(["0-0"] * 8), 7)


@pytest.mark.parametrize(
    "make",
    [
        lambda length: "bytes=" + "0-1," * (length // 4),
        lambda length: "bytes=" + "," * length,
        lambda length: "bytes=" + " " * length + "-",
        lambda length: "bytes=" + "1" * length + "-",
        lambda length: "bytes=0-" + "1" * length,
        lambda length: "bytes=" + "-" * length,
        lambda length: "bytes=" + ", \t" * (length // 3) + "0-0",
    ],
    ids=["ranges", "commas", "spaces", "digits", "last", "dashes", "white space"],
)
def test_the_work_grows_no_faster_than_the_header(make: Callable[[int], str]) -> None:
    short, long = _steps(make(HEADER_BYTES_MAX // 8)), _steps(make(HEADER_BYTES_MAX))
    assert long <= 9 * short + 100
    # One step is at most one call into C that looks at each character a fixed number of times.
    assert long <= 16 * HEADER_BYTES_MAX


def _steps(header: str) -> int:
    """Lines and calls that parsing takes, calls of built-in functions included."""
    steps = 0

    def count(*_: object) -> object:
        nonlocal steps
        steps += 1
        return count

    before_trace, before_profile = sys.gettrace(), sys.getprofile()
    sys.settrace(count)  # type: ignore[arg-type]
    sys.setprofile(count)  # type: ignore[arg-type]
    try:
        parse_range(header, HEADER_BYTES_MAX)
    except InvalidRange:
        pass
    finally:
        sys.settrace(before_trace)
        sys.setprofile(before_profile)
    return steps


SPEC_VALUES = st.one_of(
    st.builds(OffsetRange, st.integers(0, 10**18)),
    st.builds(SuffixRange, st.integers(0, 10**18)),
    st.tuples(st.integers(0, 10**18), st.integers(1, 10**18)).map(lambda pair: ByteRange(pair[0], sum(pair))),
)


@NO_DEADLINE
@given(SPEC_VALUES)
def test_a_printed_range_is_read_back(spec: RangeSpec) -> None:
    assert parse_range(spec.header(), 1) == (spec,)


@NO_DEADLINE
@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 100))
def test_a_printed_content_range_is_read_back(start: int, length: int, more: int) -> None:
    span, size = ByteRange(start, start + length), start + length + more
    found = parse_content_range(span.content_range(size))
    assert found is not None
    assert (found.range, found.size) == (span, size)


@NO_DEADLINE
@given(st.integers(1, 200), st.integers(0, 199), st.integers(1, 200), st.integers(1, 64))
def test_the_blocks_of_a_range_cover_it_and_nothing_more(size: int, start: int, length: int, block_bytes: int) -> None:
    wanted = resolve(ByteRange(start, start + length), size)
    if wanted is None:
        return
    indices = block_indices(wanted, block_bytes)
    covered = [block_range(index, block_bytes, size) for index in indices]
    assert covered[0].start <= wanted.start < covered[0].end
    assert covered[-1].start < wanted.end <= covered[-1].end
    assert all(first.end == second.start for first, second in pairwise(covered))


@pytest.mark.parametrize(
    ("indices", "found"),
    [
        ([0, 2], [(0, 1), (2, 3)]),
        ([0, 1, 3, 4], [(0, 5)]),
        ([0, 2, 3, 4], [(0, 5)]),
        ([0, 1, 3, 4, 6, 7], [(0, 8)]),
        ([0, 1, 2, 4, 6], [(0, 5), (6, 7)]),
        ([0, 1, 2, 4, 6, 7], [(0, 8)]),
        ([0, 1, 2, 3, 4, 7], [(0, 5), (7, 8)]),
        ([*range(20), 21], [(0, 8), (8, 16), (16, 22)]),
        ([], []),
    ],
)
def test_gaps_are_bridged_as_long_as_little_is_wasted(indices: list[int], found: list[tuple[int, int]]) -> None:
    assert [(run.start, run.stop) for run in runs(indices, 8, 1, 0.25)] == found


@NO_DEADLINE
@given(st.sets(st.integers(0, 60)), st.integers(1, 9), st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_runs_bring_every_block_once_and_bridge_only_small_gaps(
    indices: set[int], most: int, gap: int, waste: float
) -> None:
    found = list(runs(sorted(indices), most, gap, waste))
    brought = [index for run in found for index in run]
    assert len(brought) == len(set(brought))
    assert indices <= set(brought)
    for run in found:
        wanted = [index for index in run if index in indices]
        assert len(run) <= most
        assert len(run) - len(wanted) <= waste * len(run)
        assert (run[0], run[-1]) == (wanted[0], wanted[-1])
        assert all(after - before - 1 <= gap for before, after in pairwise(wanted))


MALFORMED_ONE = "the Range header is malformed; expected bytes=first-last"
MALFORMED = "the Range header is malformed; expected bytes=first-last, first- or -length"


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("=0-1", MALFORMED_ONE),
        ("by tes=0-1", MALFORMED_ONE),
        ("bytes=0-0,\x0b1-1", MALFORMED),
        ("bytes=0-0,X1-1", MALFORMED),
        ("bytes=0-0,1-1X", MALFORMED),
        ("bytes=,", MALFORMED),
        ("bytes=-", MALFORMED),
        ("bytes=a", MALFORMED),
        ("bytes=5-4", "the Range header asks for a range that ends before it starts"),
        ("bytes=0-0,5-4", "the Range header asks for a range that ends before it starts"),
        ("bytes=0-0,1-1,2-2,3-3", "the Range header asks for more than 3 ranges"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(header: str, sentence: str) -> None:
    with pytest.raises(InvalidRange) as caught:
        parse_range(header, 3)
    assert caught.value.message == sentence


def test_a_unit_ends_at_the_first_equals_sign() -> None:
    assert parse_range("items=a=b", 9) is None


def test_numbers_are_exact_up_to_nineteen_digits_whatever_zeros_stand_before_them() -> None:
    assert parse_range(f"bytes=0{10**19 - 1}-", 9) == (OffsetRange(10**19 - 1),)
    assert parse_range(f"bytes={10**19 - 1}-", 9) == (OffsetRange(10**19 - 1),)
    assert parse_range(f"bytes=0{10**19 + 1}-", 9) == (OffsetRange(10**19),)


def test_a_range_is_cut_at_the_end_of_its_object() -> None:
    assert ByteRange(3, 9).clamp(20) == ByteRange(3, 9)
    assert ByteRange(3, 9).clamp(5) == ByteRange(3, 5)
    assert ByteRange(3, 9).clamp(2) == ByteRange(2, 2)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes 0-9/10", ContentRange(ByteRange(0, 10), 10)),
        ("bytes 0-0/*", ContentRange(ByteRange(0, 1), None)),
        ("bytes 0-10/10", None),
        ("bytes 5-4/10", None),
        ("bytes 5-4/*", None),
        ("bytes 5-3/*", None),
        ("bytes */10", None),
    ],
)
def test_content_ranges(header: str, found: ContentRange | None) -> None:
    assert parse_content_range(header) == found


@pytest.mark.parametrize(("header", "size"), [("bytes */0", 0), ("bytes */1234", 1234), ("bytes 0-1/2", None)])
def test_the_length_that_a_refusal_tells(header: str, size: int | None) -> None:
    assert parse_unsatisfied(header) == size


@pytest.mark.parametrize(
    ("indices", "most", "gap", "found"),
    [
        ([], 8, 0, []),
        ([0], 8, 0, [range(1)]),
        ([0, 1, 2], 8, 0, [range(3)]),
        ([1, 2, 4], 8, 0, [range(1, 3), range(4, 5)]),
        ([1, 2, 4], 8, 1, [range(1, 5)]),
        ([1, 4], 8, 1, [range(1, 2), range(4, 5)]),
        ([0, 1, 2, 3, 4], 2, 0, [range(2), range(2, 4), range(4, 5)]),
        ([10, 12], 2, 1, [range(10, 11), range(12, 13)]),
        ([10, 12], 3, 1, [range(10, 13)]),
    ],
)
def test_neighbours_share_a_run(indices: list[int], most: int, gap: int, found: list[range]) -> None:
    assert list(runs(indices, most, gap)) == found
    if not gap:
        assert list(runs(indices, most)) == found
