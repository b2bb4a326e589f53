"""Every form of range, every critical size, over the wire: equal to an oracle on the real bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.faults import Headers, Status
from rangecache.testing.objects import Stamped, stamped
from tests.edge.oracle import MALFORMED, Expected, expected, headers
from tests.edge.rig import BLOCK, running

if TYPE_CHECKING:
    from tests.edge.client import Answer
    from tests.edge.rig import Rig

SIZES: Final = (0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7)
CASES_LEAST: Final = 20_000
PIPELINED: Final = 50
# Cold requests cost an origin round trip each; this many forms, spread over the whole list, are enough of them.
COLD_FORMS: Final = 90


def check(answer: Answer, wanted: Expected, data: bytes, method: str) -> None:
    """Compare one answer with the right one, byte for byte."""
    size, headers = len(data), answer.headers
    assert answer.status == wanted.status
    if wanted.status == 416:
        assert headers["content-range"] == f"bytes */{size}"
        return
    assert headers["accept-ranges"] == "bytes"
    assert headers["etag"]
    if method == "HEAD" or wanted.status == 200:
        assert "content-range" not in headers
        assert headers["content-length"] == str(size)
        assert answer.body == (b"" if method == "HEAD" else data)
    elif len(wanted.spans) == 1:
        ((first, last),) = wanted.spans
        assert headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert headers["content-length"] == str(last + 1 - first)
        assert answer.body == data[first : last + 1]
    else:
        assert "content-range" not in headers
        assert answer.parts() == [(first, last, size, data[first : last + 1]) for first, last in wanted.spans]


def right(header: str | None, size: int, method: str) -> Expected:
    """Range means nothing for HEAD (RFC 9110 section 14.2)."""
    return expected(None if method == "HEAD" else header, size)


async def test_every_range_form_of_every_critical_size_equals_the_oracle(rig: Rig) -> None:
    client = await rig.connect()
    cases = [(size, header, method) for size in SIZES for header in headers(size, BLOCK) for method in ("GET", "HEAD")]
    assert len(cases) >= CASES_LEAST
    datas = {size: stamped(f"{size}", 1, size) for size in SIZES}
    for size, data in datas.items():
        rig.origin.put(f"b/{size}", data)
        assert (await client.get(f"/web/b/{size}")).body == data
    for start in range(0, len(cases), PIPELINED):
        batch = cases[start : start + PIPELINED]
        for size, header, method in batch:
            client.send(f"/web/b/{size}", *([] if header is None else [f"Range: {header}"]), method=method)
        for size, header, method in batch:
            answer = await client.answer(method=method)
            try:
                check(answer, right(header, size, method), datas[size], method)
            except AssertionError as error:
                raise AssertionError(f"{method} of {size} bytes, Range: {(header or 'none')[:80]}: {answer}") from error


@pytest.mark.parametrize("refusal", ["with the size", "without the size"])
async def test_a_fresh_object_for_each_form_equals_the_oracle_too(refusal: str) -> None:
    async with running() as rig:
        if refusal == "without the size":
            # S3 says 416 without a Content-Range to a range of an empty object, as to any beyond the end.
            rig.origin.on_request = lambda request: _forget_size(rig, request.key)
        client = await rig.connect()
        count = 0
        for size in SIZES:
            forms = [*headers(size, BLOCK)]
            data = stamped("cold", 1, size)
            for number, header in enumerate(forms[:: max(1, len(forms) // COLD_FORMS)]):
                for method in ("GET", "HEAD") if number % 4 == 0 else ("GET",):
                    key = f"{size}-{number}-{method}"
                    rig.origin.put(f"b/{key}", data)
                    rig.origin.log.clear()
                    fields = [] if header is None else [f"Range: {header}"]
                    answer = await client.get(f"/web/b/{key}", *fields, method=method)
                    try:
                        check(answer, right(header, size, method), data, method)
                        assert len(rig.origin.log) <= 3
                    except AssertionError as error:
                        asked = rig.origin.log
                        raise AssertionError(
                            f"{method} {size}, {(header or 'none')[:80]}: {answer}, {asked}"
                        ) from error
                    count += 1
        assert count >= 500


async def _forget_size(rig: Rig, key: str) -> None:
    rig.origin.heal()
    rig.origin.fail(key, _NoSize())


class _NoSize:
    """A 416 that does not say how long the object is."""

    def apply(self, answer: object) -> object:
        return Headers({"Content-Range": None}).apply(answer) if answer.status == 416 else answer


async def test_an_empty_object_is_never_asked_for_a_range_again(rig: Rig) -> None:
    rig.origin.put("b/empty", b"")
    for method in ("HEAD", "GET", "GET"):
        answer = await rig.get("empty", method=method)
        assert (answer.status, answer.headers["content-length"]) == (200, "0")
    assert rig.asked("empty")[-1] is None
    before = len(rig.origin.log)
    assert (await rig.get("empty", "Range: bytes=-5")).status == 200
    assert len(rig.origin.log) == before


async def test_a_range_beyond_a_large_object_that_is_unknown_costs_a_block_and_not_the_object(rig: Rig) -> None:
    size = 64 << 20
    rig.origin.put("b/large", Stamped("large", 1, size), etag='"v1"')
    answer = await rig.get("large", f"Range: bytes={size}-{size + 9}")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert rig.asked("large") == [f"bytes={size}-{size + BLOCK - 1}", f"bytes=0-{BLOCK - 1}"]


async def test_two_range_headers_are_refused(rig: Rig) -> None:
    rig.origin.put("b/k", stamped("k", 1, 100))
    assert (await rig.get("k", "Range: bytes=0-1", "Range: bytes=4-5")).status == 400


@pytest.mark.parametrize("field", ["Request-Range: bytes=0-9", "Content-Range: bytes 0-9/100"])
async def test_fields_that_only_look_like_a_range_are_ignored(rig: Rig, field: str) -> None:
    data = stamped("k", 1, 100)
    rig.origin.put("b/k", data)
    assert (await rig.get("k", field)).body == data


async def test_a_malformed_range_of_an_object_that_is_not_there_is_still_404(rig: Rig) -> None:
    for header in MALFORMED[:4]:
        assert (await rig.get("absent", f"Range: {header}")).status == 404


async def test_a_refused_range_of_a_failing_origin_is_not_416(rig: Rig) -> None:
    rig.origin.fail(None, Status(403), times=None)
    assert (await rig.get("k", "Range: bytes=5-4")).status == 403
