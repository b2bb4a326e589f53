"""Partial content (RFC 9111 sections 3.3 and 3.4): what was read of an object answers what lies in it.

Names that begin with `partial-` are those of the public test suite for HTTP caches (cache-tests).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.faults import IgnoreRange, RawAnswer
from rangecache.testing.objects import stamped
from tests.edge.rig import BLOCK, Rig, until
from tests.edge.rules import DATA, Row, cache, put

if TYPE_CHECKING:
    from pathlib import Path

FRESH: Final = Row("fresh", [("Cache-Control", "max-age=3600")], "reused")
LARGE: Final = stamped("k", 1, 6 * BLOCK + 1000)


async def get_part(rig: Rig, asked: str | None) -> bytes:
    """The bytes of a range, None for all."""
    answer = await rig.get("k", *([] if asked is None else [f"Range: bytes={asked}"]))
    assert answer.status == (200 if asked is None else 206)
    return answer.body


# First what is read, then what is read of it again without the origin being asked.
PARTS: Final[dict[str, tuple[list[str | None], str | None, bytes]]] = {
    "partial-store-partial-reuse-partial": (["-5"], "-5", DATA[-5:]),
    "partial-store-complete-reuse-partial": ([None], "0-1", DATA[:2]),
    "partial-store-complete-reuse-partial-no-last": ([None], "1-", DATA[1:]),
    "partial-store-complete-reuse-partial-suffix": ([None], "-1", DATA[-1:]),
    "partial-store-partial-reuse-partial-byterange": (["-50"], "60-80", DATA[60:81]),
    "partial-store-partial-reuse-partial-absent": (["-50"], "60-", DATA[60:]),
    "partial-store-partial-reuse-partial-suffix": (["-50"], "-1", DATA[-1:]),
    "parts that overlap answer what lies across them": (["0-59", "40-99"], "20-80", DATA[20:81]),
    "parts together answer the whole": (["0-49", "50-99"], None, DATA),
    "the whole answers the whole": ([None], None, DATA),
}


@pytest.mark.parametrize("name", PARTS)
async def test_what_was_read_answers_what_lies_in_it(name: str) -> None:
    before, again, expected = PARTS[name]
    async with cache() as rig:
        put(rig, "k", FRESH)
        for asked in before:
            await get_part(rig, asked)
        rig.origin.log.clear()
        assert await get_part(rig, again) == expected
        assert not rig.origin.log.requests


async def test_what_was_read_of_a_large_object_answers_what_lies_in_it() -> None:
    """The same across blocks: each block comes from the origin once, in whatever pieces it is read."""
    async with cache() as rig:
        put(rig, "k", FRESH, LARGE)
        await get_part(rig, f"{BLOCK - 1}-{BLOCK}")
        await get_part(rig, f"{4 * BLOCK}-")
        rig.origin.log.clear()
        assert await get_part(rig, f"0-{2 * BLOCK - 1}") == LARGE[: 2 * BLOCK]
        assert await get_part(rig, "-2000") == LARGE[-2000:]
        assert not rig.origin.log.requests


async def test_partial_store_partial_complete() -> None:
    """What is missing is asked for, and nothing else; it is pinned to the version that is stored."""
    async with cache() as rig:
        put(rig, "k", FRESH, LARGE)
        await get_part(rig, f"0-{2 * BLOCK - 1}")
        rig.origin.log.clear()
        assert await get_part(rig, None) == LARGE
        (request,) = rig.origin.log.requests
        assert request.range == f"bytes={2 * BLOCK}-{len(LARGE) - 1}"
        assert request.headers["if-match"] == '"v1"'
        rig.origin.log.clear()
        assert await get_part(rig, None) == LARGE
        assert not rig.origin.log.requests


async def test_partial_use_headers_and_partial_use_stored_headers() -> None:
    """The fields of a later part take the place of the stored ones; fields that it does not carry stay."""
    async with cache() as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=3600"), ("X-Changed", "1"), ("X-Stays", "1")], ""), LARGE)
        await get_part(rig, "0-9")
        rig.origin.heal()
        put(rig, "k", Row("", [("Cache-Control", "max-age=3600"), ("X-Changed", "2")], ""), LARGE)
        await get_part(rig, f"{4 * BLOCK}-")
        answer = await rig.get("k", "Range: bytes=0-9")
        assert (answer.headers["x-changed"], answer.headers["x-stays"]) == ("2", "1")


@pytest.mark.parametrize("change", ["another tag", "a weak tag", "no tag"])
async def test_parts_without_one_strong_validator_are_never_put_together(change: str) -> None:
    newer = stamped("k", 2, len(LARGE))
    async with cache() as rig:
        put(rig, "k", FRESH, LARGE)
        await get_part(rig, "0-9")
        rig.origin.heal()
        tag = {"another tag": '"v2"', "a weak tag": 'W/"v1"', "no tag": None}[change]
        put(rig, "k", Row("", [("Cache-Control", "max-age=3600")], "", e_tag=tag), newer)
        assert await get_part(rig, None) == newer
        assert await get_part(rig, "0-9") == newer[:10]


async def test_an_answer_with_all_bytes_to_a_request_for_some_is_stored_whole() -> None:
    async with cache() as rig:
        rig.origin.put("b/k", LARGE, etag='"v1"', headers={"Cache-Control": "max-age=3600"})
        rig.origin.fail("b/k", IgnoreRange(), times=None)
        assert await get_part(rig, "10-19") == LARGE[10:20]
        await until(lambda: all(request.answered_whole for request in rig.origin.log.requests))
        rig.origin.log.clear()
        assert await get_part(rig, None) == LARGE
        assert not rig.origin.log.requests


async def test_trailer_fields_are_not_taken_for_header_fields() -> None:
    body = DATA[:10]
    answer = (
        b"HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nCache-Control: max-age=3600\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Range: bytes 0-9/10\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\nTrailer: Cache-Control, X-Late\r\n\r\n"
        b"a\r\n" + body + b"\r\n0\r\nCache-Control: no-store\r\nX-Late: 1\r\n\r\n"
    )  # fmt: skip
    async with cache() as rig:
        put(rig, "k", FRESH, body)
        rig.origin.heal()
        rig.origin.fail("b/k", RawAnswer(answer), times=None)
        await get_part(rig, "0-9")
        rig.origin.log.clear()
        again = await rig.get("k", "Range: bytes=0-9")
        assert (again.body, "x-late" in again.headers, "trailer" in again.headers) == (body, False, False)
        assert again.headers["cache-control"] == "max-age=3600"
        assert not rig.origin.log.requests


@pytest.mark.parametrize("header", ["no-store", "private", "max-age=60, private, public"])
async def test_of_what_must_not_be_stored_nothing_is_left(header: str, tmp_path: Path) -> None:
    disk = {"memory": {"size": 64 << 20}, "disk": {"path": str(tmp_path), "size": 64 << 20, "min_free": 0}}
    async with cache(cache={"block_size": BLOCK, **disk}) as rig:
        put(rig, "k", Row("", [("Cache-Control", header)], ""), LARGE)
        for asked in ("0-9", None, f"{BLOCK}-{3 * BLOCK}"):
            await get_part(rig, asked)
        assert sum(tier.blocks for tier in rig.program.tiers.tier_stats()) == 0
    stamp = LARGE[BLOCK : BLOCK + 64]
    assert not any(stamp in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
