"""`POST /v1/providers/<name>/check` and `GET /v1/providers/<name>/buckets` of a running program."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.edge.admin import admin_of
from tests.edge.rig import running

if TYPE_CHECKING:
    from tests.edge.rig import Rig


async def check(rig: Rig, provider: str, **body: str) -> tuple[int, dict]:
    async with admin_of(rig.admin_port) as admin:
        return await admin.ask("POST", f"providers/{provider}/check", json.dumps(body).encode() if body else b"")


async def test_a_provider_is_tried_with_an_object():
    async with running() as rig:
        rig.origin.put("b/key", b"0123456789")
        status, document = await check(rig, "web", object="web/b/key")
    assert (status, document["name"], document["kind"], document["result"]) == (200, "web", "http", "ok")
    (read,) = (each for each in document["steps"] if each["name"] == "read")
    assert (read["result"], read["of"], read["figures"]["size_bytes"]) == ("ok", "b", 10)


async def test_what_cannot_be_checked_is_refused_and_nothing_is_asked():
    async with running(access={"allow": ["web/b/open/**"]}) as rig:
        answers = [
            await check(rig, "nobody"),
            await check(rig, "web", object="web/other/key"),
            await check(rig, "web", object="web/b/shut/key"),
            await check(rig, "web", subject="web/b/open/key"),
        ]
        assert [status for status, _ in answers] == [404, 400, 403, 400]
        assert not rig.origin.requests


async def test_one_check_runs_at_a_time():
    async with running() as rig:
        rig.origin.put("b/key", b"0123456789")
        gate = rig.origin.hold("b/key")
        first = asyncio.ensure_future(check(rig, "web", object="web/b/key"))
        await gate.reached()
        assert (await check(rig, "web"))[0] == 503
        gate.release()
        assert (await first)[0] == 200
        assert (await check(rig, "web"))[0] == 200


async def test_a_failed_check_is_an_answer_and_leaves_the_breaker_alone():
    async with running() as rig:
        await rig.origin.stop()
        for _ in range(6):
            status, document = await check(rig, "web")
            assert (status, document["result"]) == (200, "failed")
        async with admin_of(rig.admin_port) as admin:
            assert (await admin.get("providers"))["providers"][0]["health"] == "unknown"
        await rig.origin.start()


async def test_the_buckets_of_a_provider_that_lists_none():
    async with running() as rig, admin_of(rig.admin_port) as admin:
        document = await admin.get("providers/web/buckets")
        assert (document["configured"], document["listed"], document["next"]) == (["b"], None, None)
        assert "configured" in document["why"]
        assert (await admin.ask("GET", "providers/nobody/buckets"))[0] == 404


async def test_the_buckets_of_a_provider_that_lists_them(seaweedfs):
    provider = {
        "kind": "s3",
        "region": "us-east-1",
        "endpoint": seaweedfs.endpoint,
        "credentials": {"access_key_id": seaweedfs.access_key, "secret_access_key": seaweedfs.secret_key},
        "buckets": {"alias": {"bucket": "private"}},
    }
    async with running(providers={"s3": provider}) as rig, admin_of(rig.admin_port) as admin:
        document = await admin.get("providers/s3/buckets")
    assert document["configured"] == ["alias"]
    assert {"private", "public"} <= set(document["listed"])
