"""Partial content (RFC 9111 sections 3.3 and 3.4): what was read of an object answers what lies in it.

Names that begin with `partial-` are those of the public test suite for HTTP caches (cache-tests).
"""

from __future__ import annotations

from typing import Final

import pytest

from rangecache.testing.faults import IgnoreRange
from rangecache.testing.objects import stamped
from tests.edge.rig import BLOCK, Rig, until
from tests.edge.rules import DATA, Row, cache, put

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
