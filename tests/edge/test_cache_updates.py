"""What stale answers are used for, and what later answers do to those that are stored: RFC 9111 sections 4.2.4 and 4.3,
RFC 5861. Names are those of the public test suite for HTTP caches (cache-tests) where it has them.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import CloseWithoutAnswer, Headers, Status
from rangecache.testing.objects import stamped
from tests.edge.rig import BLOCK, running, until
from tests.edge.rules import DATA, DAY_S, IN_A_MONTH, REF, Row, became, cache, is_fresh, put


async def test_stale_while_revalidate() -> None:
    """A stale answer at once, and the origin's new one to whoever comes after it has been asked."""
    clock = ManualClock()
    async with cache(clock) as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=0, stale-while-revalidate=3600")], ""))
        await rig.get("k")
        rig.origin.heal()
        newer = stamped("k", 2, 100)
        put(rig, "k", Row("", [("Cache-Control", "max-age=3600")], "", e_tag='"v2"'), newer)
        gate = rig.origin.hold("b/k", times=None)
        clock.shift(10)
        for _ in range(3):
            answer = await rig.get("k")  # the origin stands still, and nobody waits for it
            assert answer.body == DATA
            assert int(answer.headers["age"]) >= 10
            assert "hit; ttl=-1" in answer.cache
        await gate.reached()
        gate.release()
        await until(lambda: is_fresh(rig))
        answer = await rig.get("k")
        assert (answer.body, answer.headers["etag"]) == (newer, '"v2"')
        assert [request.headers.get("if-none-match") for request in rig.origin.log.requests] == [None, '"v1"']


DOWN: Final[dict[str, Any]] = {
    "close": CloseWithoutAnswer(),
    **{str(status): Status(status) for status in (500, 502, 503, 504)},
}


@pytest.mark.parametrize("how", DOWN)
async def test_stale_sie(how: str) -> None:
    """stale-sie-close, stale-sie-503 and the others; stale-if-error-cc-response-expired."""
    clock = ManualClock()
    async with cache(clock, stale_if_error="0s") as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=2, stale-if-error=60")], ""))
        await rig.get("k")
        rig.origin.heal()
        rig.origin.fail("b/k", DOWN[how], times=None)
        clock.shift(61)
        answer = await rig.get("k")
        assert (answer.status, answer.body) == (200, DATA)
        assert "hit; ttl=-" in answer.cache
        clock.shift(2)
        assert (await rig.get("k")).status in {502, 503}


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"])
async def test_stale_close(directive: str) -> None:
    """stale-close-must-revalidate and the others: forbidden, whatever the operator or the client would take."""
    clock = ManualClock()
    async with cache(clock, stale_if_error="1h", stale_while_revalidate="1h") as rig:
        put(rig, "k", Row("", [("Cache-Control", f"max-age=2, {directive}")], ""))
        await rig.get("k")
        clock.shift(3)
        await rig.origin.stop()
        assert (await rig.get("k")).status == 502
        assert (await rig.get("k", "Cache-Control: max-stale")).status == 502
        await rig.origin.start()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 414, 451])
async def test_an_answer_that_is_no_failure_is_never_replaced_by_a_stale_one(status: int) -> None:
    clock = ManualClock()
    async with cache(clock, stale_if_error="1h") as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=2")], ""))
        await rig.get("k")
        rig.origin.heal()
        rig.origin.fail("b/k", Status(status), times=None)
        clock.shift(3)
        assert (await rig.get("k")).status >= 400


async def test_stale_if_error_cc_request() -> None:
    clock = ManualClock()
    async with cache(clock, stale_if_error="0s") as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=0")], ""))
        await rig.get("k")
        rig.origin.heal()
        rig.origin.fail("b/k", Status(500), times=None)
        clock.shift(3)
        assert (await rig.get("k")).status == 502
        assert (await rig.get("k", "Cache-Control: stale-if-error=3600")).status == 200
        assert (await rig.get("k", "Cache-Control: stale-if-error=1")).status == 502


async def test_ccreq_oic() -> None:
    """only-if-cached: 504 where the origin would have to be asked, and never a request to it."""
    clock = ManualClock()
    async with cache(clock) as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=10")], ""), stamped("k", 1, 3 * BLOCK))
        assert (await rig.get("k", "Cache-Control: only-if-cached")).status == 504
        assert not rig.origin.log.requests
        await rig.get("k", "Range: bytes=0-9")
        rig.origin.log.clear()
        assert (await rig.get("k", "Range: bytes=0-9", "Cache-Control: only-if-cached")).status == 206
        assert (await rig.get("k", "Cache-Control: only-if-cached")).status == 504
        clock.shift(11)
        assert (await rig.get("k", "Range: bytes=0-9", "Cache-Control: only-if-cached")).status == 504
        assert not rig.origin.log.requests


# --- what later answers change ---------------------------------------------------------------------------------------

CHANGED: Final = [
    ("X-Test-Header", "1", "2"),
    ("Content-Foo", "1", "2"),
    ("Content-Type", "text/plain", "text/plain;charset=utf-8"),
    ("Content-Language", "en", "de"),
    ("X-Frame-Options", "deny", "sameorigin"),
    ("Expires", "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"),
]


@pytest.mark.parametrize("validator", ["etag", "lm"])
async def test_304_update(validator: str) -> None:
    """304-etag-update-… and 304-lm-update-…: in the answer that it leads to, and in those after it."""
    kind: dict[str, Any] = {"e_tag": '"v1"'} if validator == "etag" else {"e_tag": None, "modified_s": -DAY_S}
    clock = ManualClock()
    async with cache(clock) as rig:
        first = [(name, value) for name, value, _ in CHANGED if name != "Content-Type"]
        put(rig, "k", Row("", [("Cache-Control", "max-age=1"), ("X-Kept", "1"), *first], "", **kind))
        await rig.get("k")
        clock.shift(3)
        rig.origin.heal()
        changes = {"Cache-Control": "max-age=3600", **{name: value for name, _, value in CHANGED}}
        rig.origin.fail("b/k", Headers({**changes, "Content-Length": None}), times=None)
        rig.origin.log.clear()
        for _ in range(2):
            answer = await rig.get("k")
            assert {name: answer.headers[name.lower()] for name, _, _ in CHANGED} == {n: v for n, _, v in CHANGED}
            assert (answer.headers["x-kept"], answer.headers["cache-control"]) == ("1", "max-age=3600")
            assert (answer.status, answer.body) == (200, DATA)
        assert [request.status for request in rig.origin.log.requests] == [304]


async def test_head_200_update() -> None:
    """head-200-freshness-update, head-200-update, head-200-retain: a HEAD of what is stale freshens what is stored."""
    clock = ManualClock()
    async with cache(clock) as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=1"), ("Template-A", "1"), ("Template-B", "1")], ""))
        await rig.get("k")
        clock.shift(3)
        rig.origin.heal()
        rig.origin.fail("b/k", Headers({"Cache-Control": "max-age=1000", "Template-A": "2"}), times=None)
        rig.origin.log.clear()
        head = await rig.get("k", method="HEAD")
        assert (head.status, head.headers["template-a"], head.headers["template-b"]) == (200, "2", "1")
        assert became(rig, "k") == "validated"
        rig.origin.log.clear()
        answer = await rig.get("k")
        assert (answer.body, answer.headers["template-a"]) == (DATA, "2")
        assert not rig.origin.log.requests


async def test_head_410_update() -> None:
    clock = ManualClock()
    async with cache(clock) as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=1")], ""))
        await rig.get("k")
        clock.shift(3)
        rig.origin.heal()
        rig.origin.fail("b/k", Status(410), times=None)
        assert (await rig.get("k", method="HEAD")).status == 404
        assert (await rig.get("k")).status == 404


async def test_other_age() -> None:
    """other-age-gen, other-age-update-expires, other-age-update-max-age."""
    clock = ManualClock()
    async with cache(clock) as rig:
        for key, header in [("a", IN_A_MONTH), ("b", ("Cache-Control", "max-age=600"))]:
            put(rig, key, Row("", [header, ("Age", "30")], ""))
            assert int((await rig.get(key)).headers["age"]) >= 30
            clock.shift(3)
            assert int((await rig.get(key)).headers["age"]) >= 33


async def test_what_passes_through_is_as_old_as_it_says() -> None:
    async with cache() as rig:
        put(rig, "k", Row("", [("Cache-Control", "no-store"), ("Age", "30")], ""))
        for _ in range(2):  # the first is handed on from the opening, the second asked for by itself
            assert (await rig.get("k")).headers["age"] == "30"


async def test_headers_listed_in_cache_control_are_not_kept() -> None:
    """headers-omit-headers-listed-in-Cache-Control-no-cache, and the same for private."""
    listed = 'no-cache="A, b", private="d", max-age=3600'
    async with cache() as rig:
        put(rig, "k", Row("", [("Cache-Control", listed), *((name, "1") for name in "abcd")], ""))
        await rig.get("k")
        answer = await rig.get("k")
        assert {name for name in "abcd" if name in answer.headers} == {"c"}
        assert answer.cache == "rangecache; hit; detail=memory"


async def test_fields_that_are_no_part_of_an_object_are_not_stored() -> None:
    """Not even where every end-to-end field is passed on."""
    said = {
        "Set-Cookie": "id=1",
        "Location": "http://elsewhere/",
        "Link": "</style.css>; rel=preload",
        "Alt-Svc": "clear",
        "Proxy-Authenticate": "Basic",
        "Proxy-Authentication-Info": "x=y",
        "Proxy-Connection": "keep-alive",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
    }
    async with cache() as rig:
        put(rig, "k", Row("", [("Cache-Control", "max-age=60"), ("X-Stays", "1"), *said.items()], ""))
        for _ in range(2):
            answer = await rig.get("k")
            assert answer.headers["x-stays"] == "1"
            assert answer.headers.keys().isdisjoint(name.lower() for name in said)
        known = rig.program.catalog.peek(REF)
        assert known is not None
        assert known.meta.headers.keys().isdisjoint(name.lower() for name in said)


# --- other answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "shown", "after_s", "asked"),
    [
        (404, 404, 10, 1),
        (410, 404, 10, 1),
        (404, 404, 61, 2),
        (400, 502, 0, 2),
        (401, 502, 0, 2),
        (403, 403, 0, 2),
        (405, 502, 0, 2),
        (414, 502, 0, 2),
        (429, 503, 0, 2),
        (500, 502, 0, 2),
        (501, 502, 0, 2),
        (503, 503, 0, 2),
        (203, 502, 0, 2),
        (204, 502, 0, 2),
        (300, 502, 0, 2),
    ],
)
async def test_which_other_answers_are_kept(status: int, shown: int, after_s: float, asked: int) -> None:
    """404 and 410 for as long as the origin says, up to a minute; nothing else, whatever it says."""
    clock = ManualClock()
    async with cache(clock, negative_ttl="2s") as rig:
        rig.origin.fail("b/k", Status(status, {"Cache-Control": "public, max-age=3600"}), times=None)
        assert (await rig.get("k")).status == shown
        clock.shift(after_s)
        assert (await rig.get("k")).status == shown
        assert rig.origin.log.count("b/k") == asked


async def test_a_404_to_a_head_is_kept_as_one_to_a_get() -> None:
    clock = ManualClock()
    async with cache(clock, negative_ttl="2s") as rig:
        put(rig, "k", Row("", [("Cache-Control", "no-store")], ""))
        await rig.get("k")  # it passes through, so that a HEAD of it is a HEAD at the origin
        rig.origin.heal()
        rig.origin.fail("b/k", Status(404, {"Cache-Control": "max-age=30"}), times=None)
        rig.origin.log.clear()
        for _ in range(2):
            assert (await rig.get("k", method="HEAD")).status == 404
            clock.shift(10)
        assert [request.method for request in rig.origin.log.requests] == ["HEAD"]


async def test_a_404_that_says_nothing_is_kept_for_the_time_of_the_configuration() -> None:
    clock = ManualClock()
    async with cache(clock, negative_ttl="2s") as rig:
        for after_s, asked in [(0, 1), (1.9, 1), (0.2, 2)]:
            clock.shift(after_s)
            assert (await rig.get("k")).status == 404
            assert rig.origin.log.count("b/k") == asked


async def test_the_operators_rule_overrules_the_origin() -> None:
    clock = ManualClock()
    async with running(clock=clock, freshness=[{"match": "**", "ttl": "1h"}]) as rig:
        put(rig, "k", Row("", [("Cache-Control", "no-store, must-revalidate"), ("Vary", "*"), ("Expires", "0")], ""))
        await rig.get("k")
        clock.shift(3500)
        rig.origin.log.clear()
        assert (await rig.get("k")).body == DATA
        assert not rig.origin.log.requests
