"""What objects of no more than one block cost. Counted on the origin's own log."""

from __future__ import annotations

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Headers, IgnoreRange
from rangecache.testing.objects import stamped
from tests.edge.rig import BLOCK, running


@pytest.mark.parametrize("size", [1, 100, BLOCK - 1, BLOCK])
async def test_a_small_object_costs_one_request_and_no_range_once_its_size_is_known(size: int) -> None:
    clock, data = ManualClock(), stamped("k", 1, size)
    async with running(clock=clock) as rig:
        rig.origin.put("b/k", data)
        assert (await rig.get("k")).body == data
        assert (await rig.get("k", "Range: bytes=0-0")).body == data[:1]
        assert rig.asked() == [f"bytes=0-{8 * (1 << 20) - 1}"], "as long as nobody knows that it is small"
        await rig.program.tiers.aclose()  # its block has gone, its metadata has not
        assert (await rig.get("k")).body == data
        assert rig.asked()[1:] == [None]
        await clock.advance(3601)
        assert (await rig.get("k")).body == data
        assert rig.asked()[2:] == [None]
        assert rig.origin.log.requests[-1].status == 304
        await clock.advance(3601)
        rig.origin.put("b/k", changed := stamped("k", 2, size))
        assert (await rig.get("k")).body == changed
        assert rig.asked()[3:] == [None], "the new version comes with the answer that tells of it"


async def test_a_small_object_that_has_become_long_costs_no_more_than_what_is_read_of_it() -> None:
    clock = ManualClock()
    async with running(clock=clock) as rig:
        rig.origin.put("b/k", stamped("k", 1, 100))
        await rig.get("k")
        await clock.advance(3601)
        rig.origin.put("b/k", data := stamped("k", 2, 64 << 20))
        gate = rig.origin.hold("b/k", after_bytes=1 << 20)
        answer = await rig.get("k", "Range: bytes=10-19")
        assert answer.body == data[10:20]
        gate.release()
        assert rig.asked()[1:] == [None]
        assert rig.origin.log.body_bytes() < 4 << 20


async def test_an_empty_object_costs_two_requests_at_first_sight_and_one_later() -> None:
    clock = ManualClock()
    async with running(clock=clock) as rig:
        rig.origin.put("b/k", b"")
        assert (await rig.get("k")).body == b""
        assert len(rig.asked()) == 2, "a range of nothing is refused, with the size but without a validator"
        await rig.get("k")
        assert len(rig.asked()) == 2
        await clock.advance(3601)
        assert (await rig.get("k")).status == 200
        assert rig.asked()[2:] == [None]


async def test_an_empty_object_has_headers_of_its_own_and_not_those_of_the_answer_that_refuses_its_range() -> None:
    async with running(freshness=[{"match": "**", "ttl": "origin"}]) as rig:
        rig.origin.put("b/k", b"", etag='"empty"', content_type="image/tiff", headers={"Cache-Control": "max-age=600"})
        about_the_error = {"ETag": '"empty"', "Content-Type": "application/xml", "Cache-Control": "no-store"}
        rig.origin.fail("b/k", Headers(about_the_error), when=lambda each: each.range is not None)
        for _ in range(2):
            answer = await rig.get("k")
            assert (answer.status, answer.headers["content-type"]) == (200, "image/tiff")
            assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"empty"', "max-age=600")
        assert rig.origin.log.count("b/k", status=416) == 1
        assert len(rig.asked()) == 2, "a 416 with an ETag is not enough to do without the second request"


async def test_an_empty_object_costs_one_request_where_the_origin_answers_a_range_of_it_with_all_of_it() -> None:
    async with running() as rig:
        rig.origin.put("b/k", b"")
        rig.origin.fail("b/k", IgnoreRange(), times=None)  # as nginx does for an empty file
        for _ in range(2):
            assert (await rig.get("k")).status == 200
        assert len(rig.asked()) == 1
