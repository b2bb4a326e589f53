"""Objects that change while they are read: whole old bytes, whole new bytes or a cut, never a mixture."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.model import ObjectRef
from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Cut, OtherETag, Stall, Status
from rangecache.testing.objects import check_stamped, stamped
from tests.edge.client import Answer, CutShort
from tests.edge.rig import BLOCK, HurriedClock, Rig, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.testing.log import LoggedRequest

SIZE: Final = 12 * BLOCK
RUN_BYTES: Final = 2 * BLOCK
RUNS_OF_TWO: Final = {"fetch": {"max_request": RUN_BYTES}}
LONG_AGO: Final = datetime.now(UTC) - timedelta(days=3)


def put(rig: Rig, version: int, size: int = SIZE, **fields: object) -> bytes:
    """Write that version; its tag names it."""
    data = stamped("k", version, size)
    rig.origin.put("b/k", data, **{"etag": f'"v{version}"', "last_modified": LONG_AGO, **fields})
    return data


def version_of(answer: Answer, offset: int = 0) -> int:
    """The one version that all bytes and the tag of an answer are of."""
    assert answer.status in {200, 206}
    version = check_stamped(answer.body, offset, "k")
    if "etag" in answer.headers:
        assert answer.headers["etag"] == f'"v{version}"'
    return version


CHANGES: Final[dict[str, Callable[[Rig], object]]] = {
    "overwritten": lambda rig: put(rig, 2),
    "grown": lambda rig: put(rig, 2, SIZE + 3 * BLOCK),
    "shrunk": lambda rig: put(rig, 2, BLOCK + 100),
    "shrunk to nothing": lambda rig: put(rig, 2, 0),
    "deleted": lambda rig: rig.origin.delete("b/k"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_between_two_block_fetches_of_one_answer_cuts_it(change: str) -> None:
    async with running(**RUNS_OF_TWO) as rig:
        old = put(rig, 1)
        gate = rig.origin.hold("b/k", skip=1, times=None)
        client = await rig.connect()
        client.send("/web/b/k")
        status, headers = await client.head()
        assert (status, headers["etag"], headers["content-length"]) == (200, '"v1"', str(SIZE))
        await gate.reached()
        CHANGES[change](rig)
        gate.release()
        body = await client.reader.read(-1)
        assert body == old[: len(body)]
        assert len(body) <= RUN_BYTES


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_between_two_requests_is_seen_by_the_first_missing_block(change: str) -> None:
    async with running(**RUNS_OF_TWO) as rig:
        put(rig, 1)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1
        CHANGES[change](rig)
        # The old bytes are still fresh; block 3 is not here, and is gone at the origin.
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1
        answer = await rig.get("k", f"Range: bytes={3 * BLOCK}-{3 * BLOCK + 99}")
        if change in {"overwritten", "grown"}:
            assert version_of(answer, 3 * BLOCK) == 2
            assert version_of(await rig.get("k", "Range: bytes=0-99")) == 2
        elif change == "deleted":
            assert answer.status == 404
        else:
            assert answer.status == 416
            assert answer.headers["content-range"] == f"bytes */{0 if 'nothing' in change else BLOCK + 100}"


async def test_ranges_of_one_answer_are_of_one_version(rig: Rig) -> None:
    put(rig, 1)
    await rig.get("k", "Range: bytes=0-99")
    put(rig, 2)
    answer = await rig.get("k", f"Range: bytes=0-99,{3 * BLOCK}-{3 * BLOCK + 99}")
    assert {check_stamped(data, first, "k") for first, _, _, data in answer.parts()} == {2}
    assert answer.headers["etag"] == '"v2"'


async def test_a_404_to_a_pinned_request_is_never_handed_on(rig: Rig) -> None:
    def is_pinned(request: LoggedRequest) -> bool:
        return "if-match" in request.headers

    put(rig, 1)
    await rig.get("k", "Range: bytes=0-99")
    rig.origin.fail("b/k", Status(404), times=None, when=is_pinned)
    answer = await rig.get("k", f"Range: bytes={3 * BLOCK}-{3 * BLOCK + 99}")
    assert version_of(answer, 3 * BLOCK) == 1
    assert not rig.program.catalog.is_absent(ObjectRef("web", "b", "k"))


async def test_a_body_is_not_resumed_in_another_version() -> None:
    async with running(clock=HurriedClock(50)) as rig:
        old = put(rig, 1)
        cut_at = BLOCK + 500
        gate = rig.origin.hold("b/k", after_bytes=cut_at)
        rig.origin.fail("b/k", Cut(cut_at))
        client = await rig.connect()
        client.send("/web/b/k")
        assert (await client.head())[1]["etag"] == '"v1"'
        await gate.reached()
        put(rig, 2)
        gate.release()
        body = await client.reader.read(-1)
        assert body == old[:cut_at]
        resumed = rig.origin.requests[1]
        assert (resumed.range, resumed.headers["if-match"], resumed.status) == (
            f"bytes={cut_at}-{SIZE - 1}",
            '"v1"',
            412,
        )
        assert version_of(await rig.get("k")) == 2


async def test_a_body_is_resumed_in_its_own_version() -> None:
    async with running(clock=HurriedClock(50)) as rig:
        data = put(rig, 1)
        rig.origin.fail("b/k", Cut(BLOCK + 500))
        assert (await rig.get("k")).body == data
        assert [request.body_bytes_sent for request in rig.origin.requests] == [BLOCK + 500, SIZE - BLOCK - 500]


async def test_an_object_is_passed_through_when_its_back_ends_disagree(rig: Rig) -> None:
    """Each answer has the other of two tags: after three conflicts nothing is combined any more."""
    turns = {"n": 0}

    async def flap(request: LoggedRequest) -> None:
        turns["n"] += 1
        rig.origin.put("b/k", data, etag=f'"back-end-{turns["n"] % 2}"', last_modified=LONG_AGO)

    data = put(rig, 1)
    rig.origin.on_request = flap
    statuses = []
    for index in range(8):
        offset = index * BLOCK
        answer = await rig.get("k", f"Range: bytes={offset}-{offset + 99}")
        statuses.append(answer.status)
        if answer.status == 206:
            assert answer.body == data[offset : offset + 100]
    assert set(statuses) <= {206, 503}
    assert statuses[-3:] == [206] * 3
    rig.origin.log.clear()
    answer = await rig.get("k")
    assert answer.body == data
    assert answer.cache == "rangecache; fwd=bypass; fwd-status=200"
    assert len(rig.origin.log) == 1


@pytest.mark.parametrize("validators", ["weak", "none", "date of just now"])
async def test_without_a_strong_validator_every_answer_is_one_answer_of_the_origin(rig: Rig, validators: str) -> None:
    fields = {
        "weak": {"etag": 'W/"v1"', "last_modified": None},
        "none": {"etag": None, "last_modified": None},
        "date of just now": {"etag": None, "last_modified": "now"},
    }[validators]
    for version in (1, 2, 3):
        data = put(rig, version, **fields)
        rig.origin.log.clear()
        for count, (first, last) in enumerate([(0, SIZE - 1), (100, 2 * BLOCK), (0, 99)], 1):
            answer = await rig.get("k", f"Range: bytes={first}-{last}")
            assert answer.body == data[first : last + 1]
            assert "bypass" in answer.cache
            assert rig.origin.log.count(method="GET") == count
            # Once this is known of the object, nothing is asked for but what the client wants.
            assert (version, count) == (1, 1) or rig.origin.requests[-1].range == f"bytes={first}-{last}"
        # Several ranges would be several answers: the whole object comes instead.
        assert (await rig.get("k", "Range: bytes=0-9,20-29")).body == data
    assert rig.program.tiers.stats().blocks == 0


async def test_a_range_beyond_an_object_that_is_passed_through_is_416_with_its_size(rig: Rig) -> None:
    put(rig, 1, etag=None, last_modified=None)
    for _ in range(2):
        answer = await rig.get("k", f"Range: bytes={SIZE}-")
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
        assert (await rig.get("k", "Range: bytes=0-9")).status == 206


async def test_without_a_strong_validator_a_change_in_the_middle_of_an_answer_cuts_nothing(rig: Rig) -> None:
    data = put(rig, 1, etag=None, last_modified=None)
    gate = rig.origin.hold("b/k", after_bytes=BLOCK)
    reading = asyncio.ensure_future(rig.get("k"))
    await gate.reached()
    put(rig, 2, etag=None, last_modified=None)
    gate.release()
    assert (await reading).body == data


async def test_a_broken_answer_without_a_strong_validator_is_not_resumed(rig: Rig) -> None:
    data = put(rig, 1, etag='W/"v1"', last_modified=None)
    rig.origin.fail("b/k", Cut(BLOCK))
    answer = await rig.get_or_cut("k")
    assert isinstance(answer, CutShort)
    assert answer.body == data[: len(answer.body)]
    assert len(rig.origin.requests) == 1


async def test_a_strong_date_identifies_a_version_and_is_sent_as_the_pin(rig: Rig) -> None:
    put(rig, 1, etag=None)
    assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1
    assert version_of(await rig.get("k", f"Range: bytes={2 * BLOCK}-{2 * BLOCK + 99}"), 2 * BLOCK) == 1
    assert "if-unmodified-since" in rig.origin.requests[-1].headers
    rig.origin.log.clear()
    assert version_of(await rig.get("k", f"Range: bytes={2 * BLOCK}-{2 * BLOCK + 99}"), 2 * BLOCK) == 1
    assert not rig.origin.requests
    put(rig, 2, etag=None, last_modified=LONG_AGO + timedelta(hours=1))
    assert version_of(await rig.get("k", f"Range: bytes={5 * BLOCK}-{5 * BLOCK + 99}"), 5 * BLOCK) == 2


async def test_a_roll_back_to_an_older_date_is_seen_although_the_origin_says_not_modified() -> None:
    """A server that compares dates with "not newer than" confirms a version that an older one has replaced."""
    clock = ManualClock()
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "10s"}]) as rig:
        put(rig, 2, etag=None)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 2
        put(rig, 1, etag=None, last_modified=LONG_AGO - timedelta(days=1))
        clock.shift(11)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1


async def test_what_was_validated_is_kept_and_what_changed_is_fetched_anew() -> None:
    clock = ManualClock()
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "10s"}]) as rig:
        put(rig, 1)
        await rig.get("k", "Range: bytes=0-99")
        clock.shift(9)
        put(rig, 2)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1
        clock.shift(2)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 2
        clock.shift(11)
        rig.origin.log.clear()
        answer = await rig.get("k", "Range: bytes=0-99")
        assert version_of(answer) == 2
        assert answer.cache.startswith("rangecache; fwd=stale; fwd-status=304")
        assert [(each.status, each.body_bytes_sent) for each in rig.origin.requests] == [(304, 0)]


async def test_back_to_an_earlier_version_its_blocks_are_used_again() -> None:
    clock = ManualClock()
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "10s"}]) as rig:
        for version in (1, 2, 1):
            put(rig, version)
            assert version_of(await rig.get("k")) == version
            clock.shift(11)
        rig.origin.log.clear()
        assert version_of(await rig.get("k")) == 1
        assert rig.origin.log.body_bytes() == 0


async def test_another_tag_on_the_same_bytes_is_another_version(rig: Rig) -> None:
    data = put(rig, 1)
    await rig.get("k", "Range: bytes=0-99")
    rig.origin.fail("b/k", OtherETag('"v2"'), times=None)
    answer = await rig.get("k", f"Range: bytes={3 * BLOCK}-{3 * BLOCK + 99}")
    assert (answer.headers["etag"], answer.body) == ('"v2"', data[3 * BLOCK : 3 * BLOCK + 100])


async def test_a_304_for_a_client_is_only_said_of_what_is_current(rig: Rig) -> None:
    put(rig, 1)
    await rig.get("k")
    assert (await rig.get("k", 'If-None-Match: "v1"')).status == 304
    put(rig, 2)
    # Fresh by rule: the old tag still matches. A refusal is not given without asking.
    assert (await rig.get("k", 'If-None-Match: "v1"')).status == 304
    assert (await rig.get("k", 'If-Match: "v2"')).status == 200
    assert (await rig.get("k", 'If-Match: "v1"')).status == 412
    answer = await rig.get("k", 'If-Range: "v1"', "Range: bytes=0-99")
    assert (answer.status, version_of(answer)) == (200, 2)


@pytest.mark.parametrize("down", ["refuses connections", "answers 503", "does not answer"])
async def test_what_is_stale_is_served_for_a_while_when_the_origin_is_down_and_says_so(down: str) -> None:
    clock = HurriedClock(50)
    defaults = {"stale_if_error": "1h", "stale_while_revalidate": "0s", "negative_ttl": "0s"}
    rules = [{"match": "**", "ttl": "0s"}]
    async with running(clock=clock, freshness=rules, defaults=defaults) as rig:
        data = put(rig, 1)
        assert version_of(await rig.get("k", "Range: bytes=0-99")) == 1
        if down == "refuses connections":
            await rig.origin.stop()
        else:
            rig.origin.fail("b/k", Status(503) if down == "answers 503" else Stall(), times=None)
        answer = await rig.get("k", "Range: bytes=0-99")
        assert (answer.body, version_of(answer)) == (data[:100], 1)
        assert answer.cache.startswith("rangecache; hit; ttl=-")
        # What was never here cannot be served.
        assert (await rig.get("k", f"Range: bytes={5 * BLOCK}-{5 * BLOCK + 9}")).status in {502, 503, 504}
        if down == "refuses connections":
            await rig.origin.start()
            await clock.sleep(34)  # so long nobody asks it
        rig.origin.heal()
        assert version_of(await rig.get("k")) == 1


async def test_what_is_stale_is_not_served_beyond_its_bound() -> None:
    clock = ManualClock()
    defaults = {"stale_if_error": "60s", "stale_while_revalidate": "0s", "negative_ttl": "0s"}
    rules = [{"match": "**", "ttl": "10s"}]
    async with running(clock=clock, freshness=rules, defaults=defaults, fetch={"attempts": 1}) as rig:
        put(rig, 1)
        await rig.get("k", "Range: bytes=0-99")
        rig.origin.fail("b/k", Status(500), times=None)
        clock.shift(69)
        answer = await rig.get("k", "Range: bytes=0-99")
        assert (answer.status, answer.headers["age"]) == (206, "69")
        clock.shift(2)
        assert (await rig.get("k", "Range: bytes=0-99")).status == 502


@pytest.mark.parametrize("gone", [404, 403])
async def test_an_answer_of_the_origin_is_no_reason_to_serve_what_is_stale(gone: int) -> None:
    clock = ManualClock()
    defaults = {"stale_if_error": "1h", "stale_while_revalidate": "0s", "negative_ttl": "0s"}
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "10s"}], defaults=defaults) as rig:
        put(rig, 1)
        await rig.get("k", "Range: bytes=0-99")
        rig.origin.fail("b/k", Status(gone), times=None)
        clock.shift(11)
        assert (await rig.get("k", "Range: bytes=0-99")).status == gone
