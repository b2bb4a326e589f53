"""Preconditions and ranges as a table: RFC 9110 sections 13 and 14."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rangecache.errors import BadRequest
from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.ranges import ByteRange
from rangecache.read.conditions import Decision, decide, parse_tags
from rangecache.read.messages import ReadRequest

REF = ObjectRef("s3", "b", "k")
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
META = ObjectMeta(
    ref=REF,
    size=100,
    e_tag=ETag("v1"),
    last_modified=datetime(2025, 1, 1, tzinfo=UTC),
    validator='etag "v1"',
    source="test",
    headers={"date": "Thu, 02 Jan 2025 00:00:00 GMT"},
)
JUST_WRITTEN = replace(META, headers={"date": MODIFIED})


UNDATED = replace(META, last_modified=None)


def _decide(meta: ObjectMeta = META, **fields: str | bool) -> Decision:
    return decide(ReadRequest(REF, **fields), meta, 256)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"range": "bytes=0-9"}, 206),
        ({"if_none_match": '"v1"', "range": "bytes=0-9"}, 304),
        ({"if_none_match": 'W/"v1"'}, 304),
        ({"if_none_match": '"v0", "v1"'}, 304),
        ({"if_none_match": '"a,b" , "v1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"v0"'}, 200),
        ({"if_none_match": ", ".join(f'"{i}"' for i in range(500))}, 200),
        ({"if_match": '"v0"'}, 412),
        ({"if_match": '"v1"'}, 200),
        ({"if_match": 'W/"v1"'}, 412),
        ({"if_match": "*", "range": "bytes=0-9"}, 206),
        ({"if_match": '"v0"', "if_none_match": '"v1"'}, 412),
        ({"if_match": '"v1"', "if_unmodified_since": "Tue, 31 Dec 2024 00:00:00 GMT"}, 200),
        ({"if_unmodified_since": MODIFIED}, 200),
        ({"if_unmodified_since": "Tue, 31 Dec 2024 00:00:00 GMT"}, 412),
        ({"if_unmodified_since": "garbage"}, 200),
        ({"if_modified_since": MODIFIED}, 304),
        ({"if_modified_since": "Tue, 31 Dec 2024 00:00:00 GMT"}, 200),
        ({"if_modified_since": "garbage"}, 200),
        ({"if_none_match": '"v0"', "if_modified_since": MODIFIED}, 200),
        ({"if_range": '"v1"', "range": "bytes=0-9"}, 206),
        ({"if_range": '"v0"', "range": "bytes=0-9"}, 200),
        ({"if_range": 'W/"v1"', "range": "bytes=0-9"}, 200),
        ({"if_range": MODIFIED, "range": "bytes=0-9"}, 206),
        ({"if_range": "Wed, 01 Jan 2025 00:00:01 GMT", "range": "bytes=0-9"}, 200),
        ({"if_range": "garbage", "range": "bytes=0-9"}, 200),
        ({"if_range": '"v0"'}, 200),
        ({"head": True, "range": "bytes=0-9"}, 200),
        ({"head": True, "if_none_match": '"v1"'}, 304),
        ({"range": "items=0-9"}, 200),
        ({"range": "bytes=9-5"}, 416),
        ({"range": "bytes=-0"}, 416),
        ({"range": "bytes=100-"}, 416),
        ({"range": "bytes=0-0,-1"}, 206),
        ({"range": "bytes=0-79,10-99"}, 200),
        ({"range": "bytes=" + "0-,0-," * 650}, 416),
    ],
)
def test_status(fields: dict[str, str | bool], status: int) -> None:
    assert _decide(**fields).status == status


def test_a_date_can_stand_for_the_bytes_only_if_it_is_older_than_the_answer() -> None:
    assert _decide(JUST_WRITTEN, if_range=MODIFIED, range="bytes=0-9").status == 200


@pytest.mark.parametrize(
    ("fields", "doubtful"),
    [
        ({"if_match": '"v0"'}, True),
        ({"if_unmodified_since": "Tue, 31 Dec 2024 00:00:00 GMT"}, True),
        ({"if_range": '"v0"', "range": "bytes=0-9"}, True),
        ({"range": "bytes=100-"}, True),
        ({"range": "bytes=9-5"}, False),
        ({"if_none_match": '"v1"'}, False),
        ({"range": "bytes=0-9"}, False),
    ],
)
def test_refusals_that_rest_on_what_is_remembered_are_doubtful(fields: dict[str, str], doubtful: bool) -> None:
    assert _decide(**fields).doubtful == doubtful


def test_an_object_without_a_tag_matches_nothing_but_a_star() -> None:
    bare = replace(META, e_tag=None)
    assert _decide(bare, if_match='"v1"').status == 412
    assert _decide(bare, if_none_match='"v1"').status == 200
    assert _decide(bare, if_none_match="*").status == 304


def test_the_last_bytes_of_an_empty_object_are_all_of_it() -> None:
    empty = replace(META, size=0)
    assert _decide(empty, range="bytes=-5").status == 200
    assert _decide(empty, range="bytes=-0").status == 416
    assert _decide(empty, range="bytes=0-").status == 416
    assert _decide(empty).status == 200


@pytest.mark.parametrize("header", ['"v1", "v1', "v1", '"v1""v2"', 'w/"v1"', '"a\tb"', '"' * 3, '"' + "x" * 300 + '"'])
def test_malformed_lists_of_tags_are_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        parse_tags(header)


@pytest.mark.parametrize(("header", "count"), [("", 0), (",", 0), ('"a"', 1), ('"a",,W/"b" ,', 2), ('"a,b"', 1)])
def test_lists_of_tags(header: str, count: int) -> None:
    assert len(parse_tags(header)) == count


@pytest.mark.parametrize(
    ("since", "meta", "status"),
    [
        ("Thu, 02 Jan 2025 00:00:00 GMT", UNDATED, 304),
        ("Thu, 02 Jan 2025 00:00:01 GMT", UNDATED, 304),
        ("Wed, 01 Jan 2025 23:59:59 GMT", UNDATED, 200),
        ("garbage", UNDATED, 200),
        ("Thu, 02 Jan 2025 00:00:00 GMT", replace(UNDATED, headers={}), 200),
    ],
)
def test_an_object_without_a_date_is_as_old_as_its_origin_s_answer(since: str, meta: ObjectMeta, status: int) -> None:
    assert _decide(meta, if_modified_since=since).status == status


WHOLE = (ByteRange(0, 100),)


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        ({}, Decision(200, WHOLE)),
        ({"head": True}, Decision(200, WHOLE)),
        ({"range": "bytes=3-9"}, Decision(206, (ByteRange(3, 10),))),
        ({"range": "bytes=3-999"}, Decision(206, (ByteRange(3, 100),))),
        ({"range": "bytes=0-99"}, Decision(206, WHOLE)),
        ({"range": "bytes=0-0,-1"}, Decision(206, (ByteRange(0, 1), ByteRange(99, 100)))),
        ({"range": "bytes=0-0,100-"}, Decision(206, (ByteRange(0, 1),))),
        ({"range": "bytes=0-,100-"}, Decision(206, WHOLE)),
        ({"range": "bytes=0-49,50-99"}, Decision(206, (ByteRange(0, 50), ByteRange(50, 100)))),
        ({"range": "bytes=0-49,49-99"}, Decision(200, WHOLE)),
        ({"range": "items=0-9"}, Decision(200, WHOLE)),
        ({"range": "bytes=100-"}, Decision(416, doubtful=True)),
        ({"range": "bytes=9-5"}, Decision(416)),
        ({"range": "bytes=3-9", "if_range": '"v0"'}, Decision(200, WHOLE, doubtful=True)),
        ({"if_match": '"v0"'}, Decision(412, doubtful=True)),
        ({"if_none_match": '"v1"'}, Decision(304)),
        ({"if_none_match": " \t*\t "}, Decision(304)),
    ],
)
def test_which_bytes(fields: dict[str, str | bool], decision: Decision) -> None:
    assert _decide(**fields) == decision


def test_all_there_is_of_an_empty_object() -> None:
    empty = replace(META, size=0)
    assert _decide(empty, range="bytes=-5") == Decision(200, (ByteRange(0, 0),))


@pytest.mark.parametrize("value", ["X*", "*X", "\x0b*"])
def test_a_star_stands_alone(value: str) -> None:
    with pytest.raises(BadRequest):
        _decide(if_none_match=value)


@pytest.mark.parametrize("header", ['X"a"', '"a"X', '"a"X"b"', '"a" X "b"', '"', 'x""', '"a", W/'])
def test_a_malformed_list_of_tags_is_refused_in_a_sentence(header: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_tags(header)
    assert caught.value.message == (
        "a list of entity tags is malformed; each is quoted, and they are separated by commas"
    )


def test_an_empty_tag_is_a_tag() -> None:
    assert parse_tags('"","a"') == [ETag(""), ETag("a")]
