"""The configured rates, measured at the origin. What is at stake is a minimum of time, so no slow machine fails it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from rangecache.aio.permits import Ticket
from rangecache.model import ObjectRef
from rangecache.testing.clock import ManualClock
from rangecache.testing.faults import Status
from rangecache.testing.objects import check_stamped, stamped
from tests.edge.rig import BLOCK, running

if TYPE_CHECKING:
    from rangecache.origin.base import Purpose
    from tests.proving import Proof

KIB: Final = 1024
MIB: Final = KIB * KIB


async def test_requests_and_bytes_are_no_faster_than_allowed_and_waiting_is_counted() -> None:
    throttle = {"requests_per_second": 40, "bandwidth": "256KiB"}
    async with running(throttle=throttle) as rig:
        rig.origin.put("b/large", stamped("large", 1, 192 * KIB))
        for number in range(24):
            rig.origin.put(f"b/{number}", stamped(str(number), 1, 100))
        began_at = time.perf_counter()
        answers = await asyncio.gather(*(rig.get(str(number)) for number in range(24)))
        assert time.perf_counter() - began_at >= (24 - 8) / 40 * 0.95  # a fifth of a second's worth passes at once
        assert {answer.status for answer in answers} == {200}
        began_at = time.perf_counter()
        assert check_stamped((await rig.get("large")).body, 0, "large") == 1
        assert time.perf_counter() - began_at >= (192 - 0.2 * 256) / 256 * 0.9
        assert rig.program.metrics.throttle_wait.total() > 0


@pytest.mark.parametrize("which", ["own", "common"])
async def test_the_rate_of_one_provider_binds_no_other(which: str) -> None:
    slow = {"requests_per_second": 1}
    async with running() as plain:
        web = {"kind": "http", "buckets": {"b": {"url": f"{plain.origin.url}b/"}}}
        plain.origin.put("b/k", stamped("k", 1, BLOCK))
        providers = {"web": web, "slow": {**web, "throttle": slow}}
        sections = {"providers": providers} if which == "own" else {"providers": providers, "throttle": slow}
        async with running(**sections) as rig:
            began_at = time.perf_counter()
            for number in range(3):
                assert (await rig.get(f"absent{number}")).status == 404
            took_s = time.perf_counter() - began_at
            assert (took_s >= 1.9) is (which == "common") or which == "own"
            assert (rig.program.metrics.throttle_wait.total() > 1) is (which == "common")
            if which == "own":
                for _ in range(2):
                    await rig.program.origins.stores["slow"].head(ObjectRef("slow", "b", "k"))
                assert rig.program.metrics.throttle_wait.total() > 0.9


async def test_what_nobody_waits_for_holds_no_place_that_a_reader_waits_for_while_others_take_all_the_rate() -> None:
    async with running() as plain:
        folders = {folder: {"url": f"{plain.origin.url}{folder}/"} for folder in ("b", "busy")}
        for folder in folders:
            plain.origin.put(f"{folder}/k", bytes(BLOCK))
        web = {"kind": "http", "buckets": folders}
        async with running(throttle={"requests_per_second": 100}, providers={"web": web}) as rig:
            origins = rig.program.origins
            one, busy = ObjectRef("web", "b", "k"), ObjectRef("web", "busy", "k")

            async def read(ref: ObjectRef, purpose: Purpose, times: int = 1) -> None:
                for _ in range(times):
                    async with origins.stores["web"].get(ref, purpose=purpose):
                        pass

            window = origins.strain.window(one)
            while window.size > 1:
                window.halve(0.0, 0.0)
            origins.strain.pause(one)
            crowd = [asyncio.create_task(read(busy, "demand", 1_000_000)) for _ in range(40)]
            await asyncio.sleep(0.5)
            warm = asyncio.create_task(read(one, "warm"))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                await read(one, "demand")
                await warm
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)


async def test_the_bytes_of_listings_are_no_faster_than_allowed_either() -> None:
    page = "".join(f"<Contents><Key>{number:0999}</Key><Size>1</Size></Contents>" for number in range(300))
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{page}</ListBucketResult>".encode()

    def s3(url: str) -> dict[str, object]:
        return {"kind": "s3", "endpoint": url, "region": "us-east-1", "credentials": {"anonymous": True}}

    async with running(provider=s3, throttle={"bandwidth": "512KiB"}) as rig:
        rig.origin.fail(None, Status(200, {"Content-Type": "application/xml"}, body))
        began_at = time.perf_counter()
        found = await rig.program.origins.stores["web"].list_page(ObjectRef("web", "bucket", ""))
        assert time.perf_counter() - began_at >= (len(body) / KIB - 0.2 * 512) / 512 * 0.9
        assert len(found.objects) == 300
        assert rig.program.metrics.origin_bytes.total(purpose="list") == len(body)


async def test_how_quick_an_endpoint_is_does_not_count_what_was_waited_for_here() -> None:
    clock = ManualClock()
    async with running(clock=clock, fetch={"first_byte_timeout": "1h"}) as rig:
        rig.origin.put("b/k", bytes(BLOCK))
        origins, ref, ticket = rig.program.origins, ObjectRef("web", "b", "k"), Ticket(urgent=True)
        window = origins.strain.window(ref)
        while window.size > 1:
            window.halve(0.0, 0.0)
        await window.acquire(ticket)
        gate = rig.origin.hold()

        async def read() -> None:
            async with origins.stores["web"].get(ref):
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        clock.shift(7)
        window.release(ticket)
        await gate.reached()
        clock.shift(0.25)
        gate.release()
        await reading
        (report,) = origins.reports()
        assert [each.latency_s for each in report.endpoints] == [0.25]


@pytest.mark.prove
async def test_the_achieved_bandwidth_is_within_a_twentieth_of_the_limit(proof: Proof) -> None:
    rate, seconds = 4 * MIB, 10
    async with running(throttle={"bandwidth": rate}, fetch={"max_request": MIB}, cache={"block_size": 64 * KIB}) as rig:
        for number in range(8):
            rig.origin.put(f"b/{number}", bytes(64 * MIB))
        readings = [asyncio.create_task(rig.get(str(number))) for number in range(8)]
        received = rig.program.metrics.origin_bytes
        await asyncio.sleep(1)
        before, began_at = received.total(), time.perf_counter()
        await asyncio.sleep(seconds)
        achieved = (received.total() - before) / (time.perf_counter() - began_at)
        for reading in readings:
            reading.cancel()
        await asyncio.wait(readings)
        proof.row(
            "the bandwidth towards origins is kept to 5 % over 10 s",
            f"8 readers, {rate / MIB:.0f} MiB/s allowed: {achieved / MIB:.2f} MiB/s, {achieved / rate:.1%}",
        )
        assert 0.95 <= achieved / rate <= 1.05
