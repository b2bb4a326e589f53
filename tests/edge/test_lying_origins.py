"""Origins that lie. Each lie meets a cold cache, a warm one, and an answer that has begun.

Whatever the origin does, a client gets the right bytes of one version, an error, or an answer that is visibly cut. And
when the origin is honest again, every byte is right: nothing wrong was kept.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import (
    ContentEncoding,
    Cut,
    Headers,
    IgnoreRange,
    NoContentLength,
    NoValidators,
    Redirect,
    Status,
)
from rangecache.testing.objects import Stamped, check_stamped, stamped
from rangecache.testing.origin import Origin
from tests.edge.client import CutShort
from tests.edge.lies import LIES, Lie, Outcome
from tests.edge.rig import BLOCK, HurriedClock, Rig, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rangecache.testing.log import LoggedRequest

SIZE: Final = 12 * BLOCK + 100
DATA: Final = stamped("k", 1, SIZE)
FIRST, LAST = BLOCK + 900, BLOCK + 1900  # inside the second block
RUN_BYTES: Final = 2 * BLOCK
RUNS: Final = -(-SIZE // RUN_BYTES)
ATTEMPTS: Final = 3
# Every pause and timeout is this much shorter: ten seconds of dripping become a fifth of one.
HURRY: Final = 50.0


@asynccontextmanager
async def lying_rig() -> AsyncIterator[Rig]:
    """An honest origin so far, and runs of two blocks."""
    fetch = {"max_request": RUN_BYTES, "attempts": ATTEMPTS, "first_byte_timeout": "30s"}
    async with running(clock=HurriedClock(HURRY), fetch=fetch) as rig:
        rig.origin.put("b/k", DATA)
        yield rig


async def outcome(rig: Rig, first: int = 0, last: int = SIZE - 1) -> Outcome:
    """What a client gets; fails if any byte is wrong or an error shows something of the origin's answer."""
    wanted = DATA[first : last + 1]
    fields = [] if last - first == SIZE - 1 else [f"Range: bytes={first}-{last}"]
    answer = await rig.get_or_cut("k", *fields)
    if isinstance(answer, CutShort):
        assert wanted.startswith(answer.body)
        assert len(answer.body) < len(wanted)
        assert answer.status in {200, 206}
        return "cut"
    if answer.status in {200, 206}:
        assert answer.status == (206 if fields else 200)
        assert answer.body == wanted
        return "right"
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.body
    return str(answer.status)


async def assert_nothing_wrong_was_kept(rig: Rig) -> None:
    """The lying is over, and so are the requests that met it: every byte is right, twice."""
    rig.origin.heal()
    await until(lambda: not len(rig.program.fetcher))
    for _ in range(2):
        assert await outcome(rig, FIRST, LAST) == "right"
        assert await outcome(rig) == "right"


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_lie_to_a_cold_cache(lie: Lie) -> None:
    async with lying_rig() as rig:
        rig.origin.fail("b/k", *lie.faults, times=None)
        assert await outcome(rig, FIRST, LAST) == lie.cold
        assert len(rig.asked()) == lie.asked[0]
        await assert_nothing_wrong_was_kept(rig)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_lie_about_an_object_that_is_known(lie: Lie) -> None:
    async with lying_rig() as rig:
        assert await outcome(rig, 0, 99) == "right"
        rig.origin.log.clear()
        rig.origin.fail("b/k", *lie.faults, times=None)
        assert await outcome(rig, FIRST, LAST) == lie.warm
        assert len(rig.asked()) == lie.asked[1]
        # What was right before is untouched, whatever was said about the rest.
        rig.origin.heal()
        assert await outcome(rig, 0, 99) == "right"
        await assert_nothing_wrong_was_kept(rig)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_single_lie_about_an_object_that_is_known(lie: Lie) -> None:
    async with lying_rig() as rig:
        assert await outcome(rig, 0, 99) == "right"
        rig.origin.log.clear()
        rig.origin.fail("b/k", *lie.faults)
        assert await outcome(rig, FIRST, LAST) == (lie.once or lie.warm)
        assert len(rig.asked()) <= 2
        await assert_nothing_wrong_was_kept(rig)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_lie_in_the_middle_of_an_answer(lie: Lie) -> None:
    def is_later(request: LoggedRequest) -> bool:
        start = (request.range or "").removeprefix("bytes=").partition("-")[0]
        return start.isdigit() and int(start) >= RUN_BYTES

    async with lying_rig() as rig:
        rig.origin.fail("b/k", *lie.faults, times=None, when=is_later)
        assert await outcome(rig) == lie.middle
        assert len(rig.asked()) <= 1 + (RUNS - 1) * (ATTEMPTS + 1)
        await assert_nothing_wrong_was_kept(rig)


# --- lies that do not fit the table -------------------------------------------------------------------------------


async def test_a_large_skip_in_an_object_that_comes_whole_is_refused_and_not_read() -> None:
    size = 80 << 20
    async with running() as rig:
        rig.origin.put("b/k", Stamped("k", 1, size), etag='"v1"')
        rig.origin.fail("b/k", IgnoreRange(), times=None)
        assert (await rig.get("k", f"Range: bytes={size - 16}-")).status == 502
        rig.origin.drop_connections()
        assert rig.origin.log.body_bytes() < size // 2
        # The beginning is served even so.
        rig.origin.log.clear()
        assert (await rig.get("k", "Range: bytes=16-31")).body == stamped("k", 1, 32)[16:]


async def test_an_origin_that_ignores_ranges_is_read_once_for_all_blocks(rig: Rig) -> None:
    size = 32 << 20
    rig.origin.put("b/k", Stamped("k", 1, size), etag='"v1"')
    rig.origin.fail("b/k", IgnoreRange(), times=None)
    answer = await rig.get("k")
    assert check_stamped(answer.body, 0, "k") == 1
    assert len(rig.origin.requests) == 1
    for first in (0, 5 * BLOCK + 3, size - 100):
        answer = await rig.get("k", f"Range: bytes={first}-{first + 99}")
        assert (answer.status, check_stamped(answer.body, first, "k")) == (206, 1)
    assert len(rig.origin.requests) == 1


@pytest.mark.parametrize("why", ["ignores ranges", "has no validator"])
async def test_a_client_that_leaves_closes_the_answer_that_was_for_it_alone(rig: Rig, why: str) -> None:
    size = 256 << 20
    rig.origin.put("b/k", Stamped("k", 1, size), etag='"v1"')
    rig.origin.fail("b/k", IgnoreRange() if why == "ignores ranges" else NoValidators(), times=None)
    for _ in range(2):
        client = await rig.connect()
        client.send("/web/b/k", f"Range: bytes=0-{size // 2}")
        await client.head()
        assert check_stamped(await client.reader.readexactly(1 << 20), 0, "k") == 1
        client.close()
        await until(lambda: not rig.origin.connections)
    assert rig.origin.log.body_bytes() < size // 2


async def test_a_redirect_is_not_followed_to_a_server_that_was_not_named(rig: Rig) -> None:
    async with Origin() as other:
        other.put("b/k", DATA)
        rig.origin.fail("b/k", Redirect(f"{other.url}b/k"), times=None)
        assert (await rig.get("k")).status == 502
        assert not other.requests
        assert other.connections_made == 0


async def test_a_redirect_beneath_the_configured_address_is_followed_at_most_three_times(rig: Rig) -> None:
    rig.origin.put("b/there", DATA)
    rig.origin.fail("b/k", Redirect("/b/there"))
    assert (await rig.get("k", "Range: bytes=0-9")).body == DATA[:10]
    rig.origin.fail("b/loop", Redirect("/b/loop"), times=None)
    assert (await rig.get("loop")).status == 502
    assert rig.origin.log.count("b/loop") == 4


async def test_what_speaks_with_the_origins_authority_is_not_repeated(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    said = {
        "Set-Cookie": "id=1",
        "Location": "http://elsewhere/",
        "Link": "</style.css>; rel=preload",
        "Strict-Transport-Security": "max-age=1",
        "Access-Control-Allow-Origin": "*",
        "X-Powered-By": "luck",
    }
    rig.origin.fail("b/k", Headers(said), times=None)
    answer = await rig.get("k")
    assert answer.body == DATA
    assert answer.headers.keys().isdisjoint(name.lower() for name in said)


@pytest.mark.parametrize("kind", ["text/html; x=", "text html", "/", "a/b\t; =", "text/html; charset=\xe9"])
async def test_a_content_type_that_is_none_is_not_repeated(rig: Rig, kind: str) -> None:
    rig.origin.put("b/k", DATA, content_type=kind)
    answer = await rig.get("k")
    assert answer.body == DATA
    assert answer.headers["content-type"] in {"application/octet-stream", "text/html; x="}


BY_ORIGIN: Final = {"freshness": [{"match": "**", "ttl": "origin"}]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache-Control": "no-store, max-age=600"},
        {"Cache-Control": "max-age=600, private"},
        {"Cache-Control": "max-age=600", "Vary": "*"},
        {"Cache-Control": "max-age=600", "Vary": "Cookie"},
    ],
    ids=str,
)
async def test_what_may_not_be_stored_is_fetched_for_each_reader(headers: dict[str, str]) -> None:
    async with running(**BY_ORIGIN) as rig:
        rig.origin.put("b/k", DATA, headers=headers)
        for count in range(1, 4):
            answer = await rig.get("k", "Range: bytes=5-14")
            assert (answer.status, answer.body) == (206, DATA[5:15])
            assert "fwd=bypass" in answer.cache
            assert rig.origin.log.count("b/k", "GET") == count
        assert rig.program.tiers.stats().blocks == 0


@pytest.mark.parametrize(
    ("headers", "validated"),
    [
        ({"Cache-Control": "max-age=600"}, False),
        ({"Cache-Control": "max-age=600, max-age=0"}, True),
        ({"Cache-Control": "max-age=1x"}, True),
        ({"Cache-Control": "no-cache, max-age=600"}, True),
        ({"Cache-Control": "max-age=600", "Age": "99999999999"}, True),
        ({"Cache-Control": "max-age=600", "Age": "-5"}, False),
        ({"Cache-Control": "max-age=600", "Date": "Wed, 01 Jan 2020 00:00:00 GMT"}, True),
        ({"Cache-Control": "max-age=600", "Date": "Wed, 01 Jan 2120 00:00:00 GMT"}, False),
        ({"Expires": "yesterday"}, True),
        ({"Cache-Control": "max-age=600", "Vary": "Accept-Encoding"}, False),
    ],
    ids=str,
)
async def test_freshness_is_never_better_than_the_origin_says(headers: dict[str, str], validated: bool) -> None:
    async with running(**BY_ORIGIN) as rig:
        rig.origin.put("b/k", DATA)
        rig.origin.fail("b/k", Headers(headers), times=None)
        await rig.get("k", "Range: bytes=5-14")
        answer = await rig.get("k", "Range: bytes=5-14")
        assert (answer.status, answer.body) == (206, DATA[5:15])
        assert int(answer.headers["age"]) >= 0
        assert rig.origin.log.count("b/k", "GET") == (2 if validated else 1)
        assert rig.origin.log.body_bytes() == min(BLOCK, SIZE)


async def test_every_place_at_which_a_body_may_be_cut_is_seen() -> None:
    data = stamped("c", 1, 3 * BLOCK)
    async with running(fetch={"attempts": 1}) as rig:
        for cut in (*range(0, 3 * BLOCK, 97), BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1):
            key = f"cut-{cut}"
            rig.origin.put(f"b/{key}", data)
            rig.origin.fail(f"b/{key}", NoContentLength(), Cut(cut), times=None)
            with pytest.raises(CutShort) as caught:
                await rig.get(key)
            assert caught.value.status == 200
            assert caught.value.body == data[: len(caught.value.body)]
            rig.origin.heal()
            assert (await rig.get(key)).body == data


async def test_a_coding_of_the_object_itself_is_passed_through(rig: Rig) -> None:
    rig.origin.put("b/k", DATA, headers={"Content-Encoding": "gzip"})
    for _ in range(2):
        answer = await rig.get("k", f"Range: bytes={FIRST}-{LAST}")
        assert (answer.headers["content-encoding"], answer.body) == ("gzip", DATA[FIRST : LAST + 1])
    answer = await rig.get("k")
    assert (answer.headers["content-encoding"], answer.body) == ("gzip", DATA)


async def test_two_codings_never_meet_in_one_answer(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    await rig.get("k", "Range: bytes=0-99")
    rig.origin.fail("b/k", ContentEncoding(), times=None)
    answer = await rig.get("k", f"Range: bytes={FIRST}-{LAST}")
    assert (answer.headers["content-encoding"], answer.body) == ("gzip", DATA[FIRST : LAST + 1])
    rig.origin.heal()
    answer = await rig.get("k")
    assert (answer.headers.get("content-encoding"), answer.body) == (None, DATA)


async def test_an_object_whose_coding_was_corrected_is_readable_again_after_its_time() -> None:
    clock = ManualClock()
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "10s"}]) as rig:
        rig.origin.put("b/k", DATA, headers={"Content-Encoding": "gzip"})
        await rig.get("k", "Range: bytes=0-99")
        rig.origin.put("b/k", DATA)
        clock.shift(11)
        answer = await rig.get("k", f"Range: bytes={5 * BLOCK}-{5 * BLOCK + 99}")
        assert (answer.status, answer.headers.get("content-encoding")) == (206, None)
        assert answer.body == DATA[5 * BLOCK : 5 * BLOCK + 100]


async def test_403_of_one_moment_is_not_remembered(rig: Rig) -> None:
    rig.origin.put("b/k", DATA)
    rig.origin.fail("b/k", Status(403))
    assert (await rig.get("k")).status == 403
    assert (await rig.get("k")).body == DATA
