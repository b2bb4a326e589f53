"""Manifests and names, as people write them."""

from __future__ import annotations

import json
import random

import pytest

from rangecache.errors import AccessDenied, BadRequest, RequestError, UnknownName
from rangecache.jobs.manifest import LINE_BYTES_MAX, Entry, Merged, read_line, read_ranges
from rangecache.model import ObjectRef
from rangecache.ranges import ByteRange, OffsetRange, SuffixRange
from rangecache.server.request import Namespace, Router


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("s3/b/k", Entry("s3/b/k", None)),
        ("  s3/b/a key  ", Entry("s3/b/a key", None)),
        ("", None),
        ("# a remark", None),
        ('{"object": "s3/b/k"}', Entry("s3/b/k", None)),
        ('{"object": "s3/b/k", "ranges": null}', Entry("s3/b/k", None)),
        ('{"object": "é", "ranges": [[0, 5], [7, 9]]}', Entry("é", (ByteRange(0, 5), ByteRange(7, 9)))),
        (
            '{"object": "k", "ranges": "bytes=0-4, 7-, -3"}',
            Entry("k", (ByteRange(0, 5), OffsetRange(7), SuffixRange(3))),
        ),
    ],
)
def test_a_line_says_which_bytes_of_which_object(line: str, entry: Entry | None) -> None:
    assert read_line(line.encode()) == entry


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"{}",
        b'{"object": 5}',
        b'{"object": "k", "range": [[0, 1]]}',
        b'{"object": "k", "ranges": []}',
        b'{"object": "k", "ranges": [[1, 1]]}',
        b'{"object": "k", "ranges": [[-1, 1]]}',
        b'{"object": "k", "ranges": [[0, true]]}',
        b'{"object": "k", "ranges": [[0, 1.5]]}',
        b'{"object": "k", "ranges": [[0, 99999999999999999999]]}',
        b'{"object": "k", "ranges": [0, 1]}',
        b'{"object": "k", "ranges": "0-5"}',
        b'{"object": "k", "ranges": "bytes=5-1"}',
        b'{"object": "k", "ranges": "lines=0-5"}',
        b'{"object": "k", "ranges": ' + b"[" * 5000,
        b"\xff",
        b"x" * (LINE_BYTES_MAX + 1),
    ],
)
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(BadRequest):
        read_line(line)


def test_a_trace_is_told_for_what_it_is() -> None:
    with pytest.raises(BadRequest, match="--format manifest"):
        read_line(b"time_s,object,offset,length\n")


def test_reads_become_a_manifest_that_names_each_byte_once() -> None:
    chance, merged, expected = random.Random(5), Merged(), {"s3/b/x": set(), 's3/b/"y"': set()}
    for _ in range(5000):
        name = chance.choice(list(expected))
        offset, length = chance.randrange(20_000), chance.randrange(1, 30)
        merged.add(name, offset, length)
        expected[name] |= set(range(offset, offset + length))
    found: dict[str, list[int]] = {name: [] for name in expected}
    for line in merged.lines():
        assert len(line.encode()) < LINE_BYTES_MAX
        entry = read_line(line.encode())
        assert entry is not None
        for each in entry.ranges or ():
            assert isinstance(each, ByteRange)
            found[entry.name] += range(each.start, each.end)
    assert {name: sorted(bytes_) for name, bytes_ in found.items()} == {
        name: sorted(bytes_) for name, bytes_ in expected.items()
    }


def test_a_long_entry_is_split_into_lines_that_can_be_read() -> None:
    merged, name = Merged(), "s3/b/" + "\N{SNOWMAN}" * 1300
    for number in range(3000):
        merged.add(name, (1 << 60) + number * 10, 5)
    lines = list(merged.lines())
    assert len(lines) == 3
    assert sum(len(json.loads(line)["ranges"]) for line in lines) == 3000
    assert all(read_line(line.encode()) is not None for line in lines)


@pytest.fixture
def router() -> Router:
    namespaces = {"s3": Namespace({"b"}.__contains__, "versionId")}
    return Router(namespaces, lambda ref: not ref.key.startswith("secret"), lambda _: True)


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("s3/b/k", ObjectRef("s3", "b", "k")),
        ("s3/b/a key%20/ü", ObjectRef("s3", "b", "a key%20/ü")),
        ("s3/b/folder/", ObjectRef("s3", "b", "folder/")),
        ("s3/b//double", ObjectRef("s3", "b", "/double")),
        ("s3/b/what?#", ObjectRef("s3", "b", "what?#")),
        ("s3://b/a key%20", ObjectRef("s3", "b", "a key%20")),
        ("/s3/b/a%20key", ObjectRef("s3", "b", "a key")),
        ("http://127.0.0.1:8080/s3/b/a%20key", ObjectRef("s3", "b", "a key")),
        ("https://proxy.example/s3/b/k?versionId=7", ObjectRef("s3", "b", "k", "7")),
    ],
)
def test_a_name_finds_its_object(router: Router, name: str, ref: ObjectRef) -> None:
    assert router.find_name(name) == ref


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", BadRequest),
        ("s3", BadRequest),
        ("s3/b", BadRequest),
        ("s3/b/", BadRequest),
        ("/s3/b/folder/", BadRequest),
        ("http://host/", BadRequest),
        ("/s3/b/ü", BadRequest),
        ("s3/b/\ud800", BadRequest),
        ("s3/b/\n", BadRequest),
        ("gs/b/k", UnknownName),
        ("s3/other/k", UnknownName),
        ("s3/b/secret", AccessDenied),
        ("s3/b/" + "k" * 2000, BadRequest),
        ("s3/b/" + "ü" * 100_000, RequestError),
    ],
)
def test_a_name_of_nothing_is_refused(router: Router, name: str, error: type[RequestError]) -> None:
    with pytest.raises(error):
        router.find_name(name)


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("s3/b", ObjectRef("s3", "b", "")),
        ("s3/b/", ObjectRef("s3", "b", "")),
        ("s3/b/pre", ObjectRef("s3", "b", "pre")),
        ("s3/b/pre/", ObjectRef("s3", "b", "pre/")),
        ("s3/b/secret/", ObjectRef("s3", "b", "secret/")),
        ("s3://b/pre/", ObjectRef("s3", "b", "pre/")),
        ("http://host/s3/b/pre%20/", ObjectRef("s3", "b", "pre /")),
    ],
)
def test_a_prefix_is_found(router: Router, name: str, ref: ObjectRef) -> None:
    assert router.find_prefix(name) == ref


@pytest.mark.parametrize("name", ["s3", "gs/b/x", "s3/other/x", "/s3/b/x?versionId=5", ""])
def test_a_prefix_of_nothing_is_refused(router: Router, name: str) -> None:
    with pytest.raises(RequestError):
        router.find_prefix(name)


def test_ranges_are_bounded() -> None:
    with pytest.raises(BadRequest):
        read_ranges([[number, number + 1] for number in range(10_000)])
