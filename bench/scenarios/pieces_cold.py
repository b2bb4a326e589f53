"""A long object in pieces of 64 KiB, one after the other, forward and backward: what reading ahead is for."""

from __future__ import annotations

from bench.reading import Reading

SCENARIO = Reading(
    title="8 MiB in pieces of 64 KiB, origin 30 ms away",
    order=31,
    readers={"forward": "pieces forward", "backward": "pieces backward"},
    latencies_ms=(30,),
)
