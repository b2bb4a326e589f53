from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.errors import InvalidTrace
from rangecache.trace import TracedRead, TraceWriter, read_trace

HEADER = "time_s,object,offset,length\n"


def parsed(text: str) -> list[TracedRead]:
    return list(read_trace(io.StringIO(text, newline=""), "a.csv"))


def test_a_trace_as_a_person_would_write_it() -> None:
    text = HEADER + '0,s3/archive/scene.tif,0,16384\n1.5,"s3/archive/a ""b"", c.tif",1048576,1\n\n2e-3,web/x/y/z,9,9\n'
    assert parsed(text) == [
        TracedRead(0.0, "s3/archive/scene.tif", 0, 16384),
        TracedRead(1.5, 's3/archive/a "b", c.tif', 1048576, 1),
        TracedRead(0.002, "web/x/y/z", 9, 9),
    ]


def test_it_is_read_as_it_is_asked_for() -> None:
    reads = read_trace(iter([HEADER, "0,s3/b/k,0,1\n", "broken"]), "a.csv")
    assert next(reads).object == "s3/b/k"


names = st.builds(
    "/".join, st.tuples(*[st.text("ab", min_size=1)] * 2, st.text(st.characters(codec="utf-8"), min_size=1))
)
reads = st.builds(
    TracedRead,
    st.integers(0, 10**12).map(lambda microseconds: microseconds / 10**6),
    names,
    st.integers(0, 10**18 - 1),
    st.integers(1, 10**18 - 1),
)


@given(st.lists(reads, max_size=5))
def test_what_was_written_is_read_again(reads: list[TracedRead]) -> None:
    out = io.StringIO(newline="")
    writer = TraceWriter(out)
    for read in reads:
        writer.write(read)
    assert parsed(out.getvalue()) == reads


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a.csv is empty; expected the header time_s,object,offset,length"),
        ("0,s3/b/k,0,1\n", "a.csv:1: expected the header time_s,object,offset,length, got 0,s3/b/k,0,1"),
        (HEADER + "0,s3/b/k,0\n", "a.csv:2: expected 4 fields (time_s,object,offset,length), got 3"),
        (HEADER + "0,s3/b/k,0,1\n\n-1,s3/b/k,0,1\n", "a.csv:4: time_s: expected seconds ≥ 0, got -1"),
        (HEADER + "nan,s3/b/k,0,1\n", "a.csv:2: time_s: expected seconds ≥ 0, got nan"),
        (HEADER + "0,s3/b,0,1\n", "a.csv:2: object: expected provider/bucket/key, got s3/b"),
        (HEADER + "0,s3/b/,0,1\n", "a.csv:2: object: expected provider/bucket/key, got s3/b/"),
        (HEADER + "0,s3/b/k,1_0,1\n", "a.csv:2: offset: expected a whole number ≥ 0, got 1_0"),
        (HEADER + "0,s3/b/k,٣,1\n", "a.csv:2: offset: expected a whole number ≥ 0, got ٣"),
        (HEADER + "0,s3/b/k,0,0\n", "a.csv:2: length: expected a whole number ≥ 1, got 0"),
        (HEADER + "0,s3/b/k,0, \n", "a.csv:2: length: expected a whole number ≥ 1, got nothing"),
        (HEADER + f"0,{'x' * 70},0,1\n", f"a.csv:2: object: expected provider/bucket/key, got {'x' * 60}…"),
        (HEADER + '0,"s3/b/k,0,1\n', "a.csv:2: this is no CSV (unexpected end of data)"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, says: str) -> None:
    with pytest.raises(InvalidTrace) as caught:
        parsed(text)
    assert caught.value.message == says


def test_bytes_that_are_no_text_are_a_fault_too() -> None:
    lines = io.TextIOWrapper(io.BytesIO(HEADER.encode() + b"0,s3/b/\xff,0,1\n"), encoding="utf-8", newline="")
    with pytest.raises(InvalidTrace, match=r"a\.csv: after line \d: this is no UTF-8 text"):
        list(read_trace(lines, "a.csv"))
