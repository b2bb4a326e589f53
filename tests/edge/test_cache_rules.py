"""The rules of a shared cache, as an origin and a client see them: through the data port, judged by the origin's log.

Many rows carry the name under which the public test suite for HTTP caches (cache-tests) knows the same behaviour. A row
says what the origin sends, how long afterwards the same is read again, and what becomes of that second read:

* `reused`: the origin is not asked;
* `validated`: it is asked whether what is stored still holds (304);
* `fetched`: it sends the bytes once more.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from rangecache.testing.clock import ManualClock
from tests.edge.rules import DATA, DAY_S, IN_A_MONTH, Row, became, cache, put


def _cc(name: str, value: str, becomes: str, **more: Any) -> Row:
    return Row(name, [("Cache-Control", value)], becomes, **more)


def _cdn(name: str, targeted: str, becomes: str, *more: tuple[str, str | int], after_s: float = 3) -> Row:
    return Row(name, [("CDN-Cache-Control", targeted), *more], becomes, after_s)


LONG: Final = "Thu, 18 Aug 2050 02:01:18 GMT"

FRESHNESS: Final = [
    Row("freshness-none", [], "validated"),
    _cc("freshness-max-age", "max-age=3600", "reused"),
    _cc("freshness-max-age-stale", "max-age=2", "validated"),
    _cc("freshness-max-age-0", "max-age=0", "validated"),
    _cc("freshness-max-age-max", "max-age=2147483648", "reused"),
    _cc("freshness-max-age-max-plus", "max-age=99999999999", "reused"),
    Row("freshness-max-age-age", [("Cache-Control", "max-age=3600"), ("Age", "7200")], "validated"),
    Row("freshness-max-age-date", [("Cache-Control", "max-age=3600")], "reused", date=3600),
    Row("an old Date", [("Cache-Control", "max-age=3600")], "validated", date=-3600),
    Row("freshness-max-age-expires", [("Cache-Control", "max-age=3600"), ("Expires", -7200)], "reused"),
    Row("freshness-max-age-expires-invalid", [("Cache-Control", "max-age=3600"), ("Expires", "0")], "reused"),
    Row("freshness-max-age-0-expires", [("Cache-Control", "max-age=0"), ("Expires", 3600)], "validated"),
    _cc("freshness-max-age-extension", "foobar, max-age=3600", "reused"),
    _cc("freshness-max-age-case-insenstive", "MaX-aGe=3600", "reused"),
    _cc("freshness-max-age-negative", "max-age=-3600", "validated"),
    _cc("freshness-s-maxage-shared", "s-maxage=3600", "reused"),
    _cc("freshness-max-age-s-maxage-shared-longer", "max-age=3600, s-maxage=1", "validated"),
    _cc("freshness-max-age-s-maxage-shared-longer-reversed", "s-maxage=1, max-age=3600", "validated"),
    Row(
        "freshness-max-age-s-maxage-shared-longer-multiple",
        [("Cache-Control", "max-age=3600"), ("Cache-Control", "s-maxage=1")],
        "validated",
    ),
    _cc("freshness-max-age-s-maxage-shared-shorter", "max-age=1, s-maxage=3600", "reused"),
    Row("freshness-max-age-s-maxage-shared-shorter-expires",
        [("Cache-Control", "max-age=3600, s-maxage=1"), IN_A_MONTH], "validated"),
]  # fmt: skip

PARSING: Final = [
    _cc("freshness-max-age-ignore-quoted", 'extension="max-age=3600", max-age=1', "validated"),
    _cc("freshness-max-age-ignore-quoted-rev", 'max-age=1, extension="max-age=3600"', "validated"),
    _cc("freshness-max-age-quoted", 'max-age="3600"', "reused"),
    _cc("freshness-max-age-single-quoted", "max-age='3600'", "validated"),
    _cc("freshness-max-age-space-before-equals", "max-age =3600", "validated"),
    _cc("freshness-max-age-space-after-equals", "max-age= 3600", "validated"),
    _cc("freshness-max-age-leading-zero", "max-age=003600", "reused"),
    _cc("freshness-max-age-decimal-zero", "max-age=3600.0", "validated"),
    _cc("freshness-max-age-decimal-five", "max-age=3600.5", "validated"),
    _cc("freshness-max-age-a100", "max-age=a3600", "validated"),
    _cc("freshness-max-age-100a", "max-age=3600a", "validated"),
    _cc("freshness-max-age-two-fresh-stale-sameline", "max-age=1800, max-age=1", "validated"),
    _cc("freshness-max-age-two-stale-fresh-sameline", "max-age=1, max-age=1800", "validated"),
    Row(
        "freshness-max-age-two-fresh-stale-sepline",
        [("Cache-Control", "max-age=1800"), ("Cache-Control", "max-age=1")],
        "validated",
    ),
    *(
        Row(f"age-parse-{name}", [("Cache-Control", "max-age=3600"), *(("Age", value) for value in values)], becomes)
        for name, values, becomes in [
            ("nonnumeric", ["abc"], "reused"),
            ("negative", ["-7200"], "reused"),
            ("float", ["7200.0"], "reused"),
            ("suffix", ["7200,0"], "validated"),
            ("suffix-twoline", ["7200", "0"], "validated"),
            ("prefix", ["0,7200"], "reused"),
            ("prefix-twoline", ["0", "7200"], "reused"),
            ("dup-0", ["0, 0"], "reused"),
            ("dup-0-twoline", ["0", "0"], "reused"),
            ("dup-old", ["7200, 7200"], "validated"),
            ("dup-old-twoline", ["7200", "7200"], "validated"),
            ("larger", ["9" * 30], "validated"),
        ]
    ),
]

EXPIRES: Final = [
    Row("freshness-expires-future", [IN_A_MONTH], "reused"),
    Row("freshness-expires-past", [("Expires", -30 * DAY_S)], "validated"),
    Row("freshness-expires-present", [("Expires", 0)], "validated", after_s=0),
    Row("freshness-expires-old-date", [("Expires", 300)], "validated", date=400),
    Row("freshness-expires-invalid", [("Expires", "0")], "validated"),
    Row("freshness-expires-invalid-multiple-lines", [IN_A_MONTH, ("Expires", "0")], "validated"),
    Row("freshness-expires-invalid-date", [("Expires", 10)], "reused", date="foo"),
    Row("freshness-expires-age-slow-date", [("Expires", 10), ("Age", "25")], "validated", date=-10, after_s=0),
    Row("freshness-expires-age-fast-date", [("Expires", 20), ("Age", "15")], "validated", date=10, after_s=0),
    *(
        Row(f"freshness-expires-{name}", [("Expires", value)], becomes)
        for name, value, becomes in [
            ("wrong-case-weekday", LONG.replace("Thu", "THU"), "reused"),
            ("wrong-case-month", LONG.replace("Aug", "AUG"), "reused"),
            ("wrong-case-tz", LONG.replace("GMT", "gMT"), "reused"),
            ("rfc850", "Thursday, 18-Aug-50 02:01:18 GMT", "reused"),
            ("ansi-c", "Thu Aug 18 02:01:18 2050", "reused"),
            ("invalid-utc", LONG.replace("GMT", "UTC"), "validated"),
            ("invalid-aest", LONG.replace("GMT", "AEST"), "validated"),
            ("invalid-2-digit-year", LONG.replace("2050", "50"), "validated"),
            ("invalid-no-comma", LONG.replace(",", ""), "validated"),
            ("invalid-multiple-spaces", LONG.replace(" Aug ", "  Aug  "), "validated"),
            ("invalid-date-dashes", LONG.replace("18 Aug 2050", "18-Aug-2050"), "validated"),
            ("invalid-time-periods", LONG.replace(":", "."), "validated"),
            ("invalid-1-digit-hour", LONG.replace(" 02:", " 2:"), "validated"),
        ]
    ),
    Row("heuristic-200-cached", [], "reused", modified_s=-DAY_S),
    Row("heuristic-delta-5", [], "validated", modified_s=-5),
    Row("heuristic-delta-60", [], "reused", modified_s=-60),
    Row("a minute at the most", [], "validated", modified_s=-365 * DAY_S, after_s=61),
    Row("no heuristic beside an explicit time", [("Expires", "0")], "validated", modified_s=-365 * DAY_S),
]

DIRECTIVES: Final = [
    _cc("cc-resp-private-shared", "private, max-age=3600", "fetched"),
    _cc("cc-resp-no-store", "no-store", "fetched"),
    _cc("cc-resp-no-store-case-insensitive", "No-StOrE", "fetched"),
    Row("cc-resp-no-store-fresh", [("Cache-Control", "max-age=10000, no-store"), IN_A_MONTH], "fetched"),
    _cc("must-understand goes before no-store", "must-understand, no-store, max-age=3600", "reused"),
    Row("cc-resp-no-cache", [("Cache-Control", "max-age=10000, no-cache"), IN_A_MONTH], "validated"),
    _cc("cc-resp-no-cache-case-insensitive", "max-age=10000, No-CaChE", "validated"),
    _cc("cc-resp-no-cache-revalidate", "no-cache", "validated"),
    _cc("cc-resp-must-revalidate-fresh", "max-age=10000, must-revalidate", "reused"),
    _cc("cc-resp-must-revalidate-stale", "max-age=2, must-revalidate", "validated"),
    _cc("immutable is for browsers", "max-age=2, immutable", "validated"),
    Row("pragma-response-no-cache", [("Cache-Control", "max-age=3600"), ("Pragma", "no-cache")], "reused"),
    Row("vary-syntax-star", [("Cache-Control", "max-age=3600"), ("Vary", "*")], "fetched"),
    Row("vary-syntax-star-star", [("Cache-Control", "max-age=3600"), ("Vary", "*, *")], "fetched"),
    Row("vary-syntax-empty-star", [("Cache-Control", "max-age=3600"), ("Vary", ", *")], "fetched"),
    Row("vary-syntax-star-foo", [("Cache-Control", "max-age=3600"), ("Vary", "*, Foo")], "fetched"),
    Row("vary-syntax-foo-star", [("Cache-Control", "max-age=3600"), ("Vary", "Foo, *")], "fetched"),
    Row("vary-match", [("Cache-Control", "max-age=3600"), ("Vary", "Foo")], "fetched"),
    Row("vary on Accept-Encoding", [("Cache-Control", "max-age=3600"), ("Vary", "Accept-Encoding")], "reused"),
    Row("other-set-cookie", [("Cache-Control", "max-age=3600"), ("Set-Cookie", "a=b")], "reused"),
    _cc("other-cookie", "max-age=3600", "reused", wish=("Cookie: a=b",)),
    _cc("other-authorization", "max-age=3600", "reused", wish=("Authorization: Basic YTpi",)),
    Row("other-fresh-content-disposition-attachment",
        [("Cache-Control", "max-age=3600"), ("Content-Disposition", "attachment")], "reused"),
]  # fmt: skip

TARGETED: Final = [
    _cdn("cdn-max-age", "max-age=3600", "reused"),
    _cdn("cdn-max-age-max", "max-age=2147483648", "reused"),
    _cdn("cdn-max-age-max-plus", "max-age=99999999999", "reused"),
    _cdn("cdn-max-age-age", "max-age=3600", "validated", ("Age", "7200")),
    _cdn("cdn-max-age-space-before-equals", "max-age =100", "validated", ("Cache-Control", "max-age=1")),
    _cdn("cdn-max-age-space-after-equals", "max-age= 100", "validated", ("Cache-Control", "max-age=1")),
    _cdn("cdn-max-age-0", "max-age=0", "validated"),
    _cdn("cdn-max-age-extension", "foobar, max-age=3600", "reused"),
    _cdn("cdn-max-age-case-insensitive", "MaX-aGe=3600", "validated"),
    _cdn("cdn-max-age-expires", "max-age=3600", "reused", ("Expires", -10_000)),
    _cdn("cdn-max-age-cc-max-age-invalid-expires", "max-age=3600", "reused", ("Expires", "0")),
    _cdn("cdn-max-age-0-expires", "max-age=0", "validated", ("Expires", 10_000)),
    _cdn("cdn-max-age-short-cc-max-age", "max-age=3600", "reused", ("Cache-Control", "max-age=1")),
    _cdn("cdn-max-age-long-cc-max-age", "max-age=1", "validated", ("Cache-Control", "max-age=3600")),
    _cdn("cdn-private", "private", "fetched", ("Cache-Control", "max-age=10000"), ("Expires", 10_000)),
    _cdn("cdn-no-cache", "no-cache", "validated", ("Cache-Control", "max-age=10000"), ("Expires", 10_000)),
    _cdn("cdn-no-store-cc-fresh", "no-store", "fetched", ("Cache-Control", "max-age=10000"), ("Expires", 10_000)),
    _cdn("cdn-fresh-cc-nostore", "max-age=10000", "reused", ("Cache-Control", "no-store")),
    _cdn("cdn-cc-invalid-sh-type-unknown", "max-age=10000, &&&&&", "fetched", ("Cache-Control", "no-store")),
    _cdn("cdn-cc-invalid-sh-type-wrong", 'max-age="10000"', "fetched", ("Cache-Control", "no-store")),
    Row(
        "cdn-remove-header",
        [("Cache-Control", "max-age=10000"), ("CDN-Cache-Control", "foo, max-age=9")],
        "reused",
        shows={"cdn-cache-control": "foo, max-age=9"},
    ),
    Row("a targeted field that is not ours", [("Other-Cache-Control", "max-age=3600")], "validated"),
]

WISHES: Final = [
    _cc("ccreq-ma0", "max-age=3600", "validated", wish=("Cache-Control: max-age=0",)),
    _cc("ccreq-ma1", "max-age=3600", "validated", wish=("Cache-Control: max-age=1",)),
    _cc("ccreq-ma1 of one that is young enough", "max-age=3600", "reused", wish=("Cache-Control: max-age=3",)),
    Row("ccreq-magreaterage", [("Cache-Control", "max-age=3600"), ("Age", "1800")], "validated",
        wish=("Cache-Control: max-age=600",)),
    _cc("ccreq-max-stale", "max-age=1", "reused", wish=("Cache-Control: max-stale=1000",)),
    Row("ccreq-max-stale-age", [("Cache-Control", "max-age=1500"), ("Age", "2000")], "reused",
        wish=("Cache-Control: max-stale=1000",)),
    Row("ccreq-max-stale-age, too old", [("Cache-Control", "max-age=1500"), ("Age", "2500")], "validated",
        wish=("Cache-Control: max-stale=1000",)),
    _cc("ccreq-min-fresh", "max-age=1500", "validated", wish=("Cache-Control: min-fresh=2000",)),
    Row("ccreq-min-fresh-age", [("Cache-Control", "max-age=1500"), ("Age", "1000")], "validated",
        wish=("Cache-Control: min-fresh=1000",)),
    _cc("ccreq-no-cache", "max-age=3600", "validated", wish=("Cache-Control: no-cache",)),
    _cc("ccreq-no-cache-etag", "max-age=3600", "validated", wish=("Cache-Control: no-cache",)),
    _cc("ccreq-no-cache-lm", "max-age=3600", "validated", wish=("Cache-Control: no-cache",),
        e_tag=None, modified_s=-10_000),
    _cc("ccreq-no-store", "max-age=3600", "validated", wish=("Cache-Control: no-store",)),
    _cc("pragma-request-no-cache", "max-age=3600", "validated", wish=("Pragma: no-cache",)),
    _cc("pragma beside Cache-Control", "max-age=3600", "reused",
        wish=("Pragma: no-cache", "Cache-Control: max-age=3600")),
    _cc("pragma-request-extension", "max-age=3600", "reused", wish=("Pragma: unrecognised-extension",)),
]  # fmt: skip

CONDITIONAL: Final = [
    _cc("conditional-etag-strong-respond", "max-age=3600", "reused", status=304,
        wish=('If-None-Match: "v1"',), shows={"etag": '"v1"'}),
    _cc("conditional-etag-strong-respond-multiple-second", "max-age=3600", "reused", status=304,
        wish=('If-None-Match: "1234", "v1", "5678"',)),
    _cc("conditional-etag-weak-respond", "max-age=3600", "fetched", status=304,
        wish=('If-None-Match: W/"v1"',), e_tag='W/"v1"'),
    _cc("conditional-etag-precedence", "max-age=3600", "reused", status=304, modified_s=-5000,
        wish=('If-None-Match: "v1"', "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT")),
    _cc("conditional-lm-fresh", "max-age=3600", "reused", status=304, modified_s=-5000,
        wish=("If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT",)),
    _cc("conditional-lm-fresh-earlier", "max-age=3600", "reused", status=206, modified_s=-5000,
        wish=("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT",)),
    _cc("conditional-lm-fresh-no-lm", "max-age=3600", "reused", status=304,
        wish=("If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT",)),
    _cc("conditional-lm-stale", "max-age=1", "validated", e_tag=None, modified_s=-5000),
    _cc("conditional-etag-strong-generate", "max-age=1", "validated"),
    _cc("no strong validator, nothing stored", "max-age=3600", "fetched", e_tag=None, modified_s=0),
    _cc("no validator at all, nothing stored", "max-age=3600", "fetched", e_tag=None),
]  # fmt: skip

GROUPS: Final = {
    "freshness": FRESHNESS,
    "parsing": PARSING,
    "expires": EXPIRES,
    "directives": DIRECTIVES,
    "targeted": TARGETED,
    "wishes": WISHES,
    "conditional": CONDITIONAL,
}


@pytest.mark.parametrize("group", GROUPS)
async def test_what_an_origin_and_a_client_say_of_freshness(group: str) -> None:
    found, wanted = {}, {}
    clock = ManualClock()
    async with cache(clock) as rig:
        for number, row in enumerate(GROUPS[group]):
            key = f"k{number}"
            put(rig, key, row)
            first = await rig.get(key, "Range: bytes=10-19")
            assert first.body == DATA[10:20], row.name
            clock.shift(row.after_s)
            rig.origin.log.clear()
            again = await rig.get(key, "Range: bytes=10-19", *row.wish)
            assert again.body in (DATA[10:20], b""), row.name
            shown = {name: again.headers.get(name) for name in row.shows}
            found[row.name] = (again.status, became(rig, key), shown)
            wanted[row.name] = (row.status, row.becomes, row.shows)
    assert found == wanted
