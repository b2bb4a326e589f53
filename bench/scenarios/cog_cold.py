"""A COG opened by GDAL and a hundred of its tiles, in several orders: tiles of 570 KB and of 50 KB.

The goals are about tiles in no order, as people browse: by rows GDAL itself asks for several tiles at once, and reads a
hundred of them with 9 or 28 requests.
"""

from __future__ import annotations

from bench.figures import DIRECT, Goal
from bench.reading import AGAIN, COLD, Reading

_LATENCY_MS = 30
_READERS = {
    "deflate-rows": "COG (Deflate), 100 tiles by rows",
    "deflate-snake": "COG (Deflate), 100 tiles in a snake",
    "deflate-scattered": "COG (Deflate), 100 tiles scattered",
    "jpeg-rows": "COG (JPEG), 100 tiles by rows",
    "jpeg-scattered": "COG (JPEG), 100 tiles scattered",
}
_GOALS = [
    goal
    for name in ("deflate-scattered", "jpeg-scattered")
    for case in [f"{_READERS[name]}, {_LATENCY_MS} ms"]
    for goal in (
        Goal(f"{case}, {COLD}", "seconds", 0.5, against=DIRECT, title=f"{case}, {COLD}"),
        Goal(f"{case}, {COLD}", "origin_requests", 0.3, against=DIRECT, title=f"{case}, {COLD}"),
        Goal(f"{case}, {COLD}", "origin_of_distinct", 1.5, title=f"{case}, {COLD}"),
        Goal(f"{case}, {AGAIN}", "seconds", 0.15, against=DIRECT, title=f"{case}, {AGAIN}"),
        Goal(f"{case}, {AGAIN}", "origin_requests", 0, title=f"{case}, {AGAIN}"),
    )
]

SCENARIO = Reading(
    title="COG opened by GDAL with 100 tiles, origin 30 ms away",
    order=30,
    readers=_READERS,
    latencies_ms=(_LATENCY_MS,),
    goals=_GOALS,
    own_caches=False,
)
