"""A response is bytes of exactly one version, whatever is written, evicted, killed and restarted meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.origin import Origin
from tests.edge.overwriting import NEGATIVE_TTL_S, STALE_S, TTL_S, History, Killer, Reading, Writer
from tests.edge.process import Proxy
from tests.edge.rig import BLOCK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proving import Proof

READS: Final = 20_000
READS_OF_A_PROOF: Final = 1_000_000
ERRORS_SHARE_MAX: Final = 0.02


@pytest.mark.timeout(300)
async def test_no_answer_mixes_versions_while_objects_are_overwritten_and_the_proxy_is_killed(
    tmp_path: Path, proof: Proof
) -> None:
    await overwrite(tmp_path, READS, 1, proof)


@pytest.mark.prove
@pytest.mark.timeout(3600)
async def test_a_million_reads_do_not_mix_versions(tmp_path: Path, proof: Proof) -> None:
    await overwrite(tmp_path, READS_OF_A_PROOF, int(time.time()), proof)


async def overwrite(folder: Path, reads: int, seed: int, proof: Proof) -> None:
    """Run until so many answers have been checked, and judge."""
    disk = {"path": str(folder / "cache"), "size": "4MiB", "min_free": "1MiB"}
    sections = {
        "cache": {"block_size": BLOCK, "memory": {"size": "256KiB"}, "disk": disk},
        "freshness": [{"match": "**", "ttl": f"{TTL_S}s"}],
        "defaults": {
            "stale_while_revalidate": f"{STALE_S}s",
            "stale_if_error": "0s",
            "negative_ttl": f"{NEGATIVE_TTL_S}s",
        },
        "fetch": {"max_request": "16KiB"},
    }
    async with Origin() as origin:
        writer = Writer(origin, seed)
        async with Proxy(folder, origin, **sections) as proxy:
            killer = Killer(proxy)
            reading = Reading(writer, killer, reads, seed)
            started = time.monotonic()
            others = [asyncio.ensure_future(each.run()) for each in (writer, killer)]
            try:
                await reading.run()
            finally:
                for other in others:
                    other.cancel()
                    with suppress(asyncio.CancelledError):
                        await other
                print(_figures(writer, killer, reading, time.monotonic() - started, seed))
    proof.row(
        "an answer is bytes of exactly one version, current within the rules, while objects change and the proxy dies",
        f"{reading.reads} answers, {writer.changes} writes, {killer.kills} kills -9, {reading.errors} errors,"
        f" {len(reading.violations)} wrong; seed {seed}",
    )
    errors = reading.errors
    assert not reading.violations, reading.violations
    assert errors <= ERRORS_SHARE_MAX * reads
    assert reading.reads + reading.cuts >= reads
    # It was a test of everything: each tier was used, objects changed, the proxy died.
    assert killer.kills >= 2
    assert writer.changes > reads / 100
    for source in ("memory", "disk", "miss", "partial", "revalidated", "stale"):
        assert reading.sources[source] > reads / 1000, source


def _figures(writer: Writer, killer: Killer, reading: Reading, seconds: float, seed: int) -> str:
    """In one line, also of a run that is broken off."""
    return (
        f"\n{reading.reads} reads in {seconds:.0f} s, {reading.bytes >> 20} MiB, {writer.changes} changes,"
        f" {killer.kills} kills, {reading.errors} errors ({reading.cuts} cuts), {reading.killed} lost to kills,"
        f" seed {seed}; {dict(reading.sources.most_common())}; {dict(reading.statuses.most_common())};"
        f" {writer.asked} origin requests; {len(reading.violations)} violations"
    )


def test_a_history_knows_what_could_be_seen() -> None:
    history = History()
    history._since, history._versions = [1.0, 2.0, 3.0], [1, None, 2]
    assert history.between(1.5, 1.6) == {1}
    assert history.between(1.5, 2.0) == {1, None}
    assert history.between(2.5, 9.0) == {None, 2}
    assert history.between(0.0, 0.5) == set()
