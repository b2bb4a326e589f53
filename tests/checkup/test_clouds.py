"""What a check-up finds at real servers of the clouds' protocols, with right keys, wrong ones and none."""

from __future__ import annotations

from typing import Any

import pytest

from rangecache.model import ObjectRef
from tests.azurite_server import AZURE_KEY, Azurite
from tests.checkup.looking import Found, Skewed, look, looking
from tests.emulators import ACCESS_KEY, PRIVATE, PUBLIC, SECRET_KEY, FakeGcs, SeaweedFS

pytestmark = pytest.mark.emulator

CANARY = "canary-c0ffee-not-a-key"


def s3(seaweedfs: SeaweedFS, *buckets: str, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> dict[str, Any]:
    credentials = {"access_key_id": key, "secret_access_key": secret}
    return {
        "kind": "s3",
        "region": "us-east-1",
        "endpoint": seaweedfs.endpoint,
        "credentials": credentials,
        "buckets": {bucket: {} for bucket in buckets},
    }


async def test_s3_with_the_right_keys(seaweedfs: SeaweedFS):
    seaweedfs.put(PRIVATE, "doctor/a", b"0123456789" * 100)
    found = await look(s3(seaweedfs, PRIVATE))
    assert found.results == {
        "name": "ok",
        "connect": "ok",
        "tls": "skipped",
        "credentials": "ok",
        "clock": "ok",
        "list": "ok",
        "read": "ok",
        "ranges": "ok",
        "validator": "ok",
        "absent key": "ok",
    }
    assert SECRET_KEY not in found.text


async def test_s3_without_a_configured_bucket_takes_the_first_that_is_listed(seaweedfs: SeaweedFS):
    seaweedfs.put(PRIVATE, "doctor/a", b"0123456789" * 100)
    found = await look(s3(seaweedfs))
    assert found.step("buckets").figures["buckets_count"] >= 2
    assert found.step("list").of == PRIVATE


async def test_s3_with_a_wrong_secret(seaweedfs: SeaweedFS):
    found = await look(s3(seaweedfs, PRIVATE, secret=CANARY))
    assert found.step("credentials").result == "ok"  # they are there
    for name in ("list", "absent key"):
        assert found.step(name).result == "failed"
        assert "does not accept" in found.step(name).said
    assert CANARY not in found.text


async def test_s3_with_a_wrong_secret_and_no_bucket_to_try(seaweedfs: SeaweedFS):
    found = await look(s3(seaweedfs, secret=CANARY))
    step = found.step("buckets")
    assert (step.result, "does not accept" in step.said) == ("failed", True)
    assert CANARY not in found.text


async def test_s3_without_credentials_for_a_private_bucket_and_for_a_public_one(seaweedfs: SeaweedFS):
    seaweedfs.put(PUBLIC, "doctor/a", b"0123456789" * 100)
    provider = s3(seaweedfs, PRIVATE, PUBLIC) | {"credentials": {"anonymous": True}}
    found = await look(provider)
    assert found.step("credentials").said == "none are used: requests are anonymous, as configured"
    assert (found.step("list", PRIVATE).result, found.step("read", PRIVATE).result) == ("warning", "failed")
    assert (found.step("list", PUBLIC).result, found.step("read", PUBLIC).result) == ("ok", "ok")


async def test_s3_with_a_bucket_that_is_not_there(seaweedfs: SeaweedFS):
    step = (await look(s3(seaweedfs, "nowhere-at-all"))).step("list")
    assert (step.result, "has no bucket p/nowhere-at-all" in step.said) == ("failed", True)


async def test_s3_with_a_clock_that_is_wrong_by_an_hour(seaweedfs: SeaweedFS):
    found = await look(s3(seaweedfs, PRIVATE), clock=Skewed(3600))
    step = found.step("clock")
    assert (step.result, "60 min ahead" in step.said) == ("failed", True)
    assert found.step("list").result == "failed"


async def test_s3_with_a_file_of_keys_that_is_missing(seaweedfs: SeaweedFS, tmp_path: Any):
    provider = s3(seaweedfs, PRIVATE)
    provider["credentials"] = {"access_key_id": ACCESS_KEY, "secret_access_key_file": str(tmp_path / "none")}
    found = await look(provider)
    assert (found.step("credentials").result, found.step("connect").result) == ("failed", "ok")
    assert str(tmp_path / "none") in found.step("credentials").said


async def test_azure_with_the_right_key_and_a_wrong_one(azurite: Azurite):
    azurite.put("private", "doctor-a", b"0123456789" * 100)

    def provider(key: str) -> dict[str, Any]:
        credentials = {"account": azurite.account, "account_key": key}
        return {"kind": "azure", "endpoint": azurite.endpoint, "credentials": credentials, "buckets": {"private": {}}}

    found = await look(provider(AZURE_KEY))
    assert found.document["result"] == "ok", found.document
    assert AZURE_KEY not in found.text
    wrong = AZURE_KEY[::-1].replace("==", "") + "=="
    found = await look(provider(wrong))
    assert (found.step("credentials").result, found.step("read").result) == ("ok", "failed")
    assert wrong not in found.text


async def test_google_by_its_generation(fake_gcs: FakeGcs):
    fake_gcs.put(PRIVATE, "doctor/a", b"0123456789" * 100)
    endpoint, credentials = fake_gcs.tap.endpoint, {"anonymous": True}
    found = await look({"kind": "gcs", "endpoint": endpoint, "credentials": credentials, "buckets": {PRIVATE: {}}})
    assert found.document["result"] == "ok", found.document
    assert found.step("validator").figures == {"pins": "generation"}


async def test_the_replicas_of_two_services_with_a_common_checksum(seaweedfs: SeaweedFS, azurite: Azurite):
    body = b"the same at both"
    seaweedfs.put(PRIVATE, "twins/a", body)
    azurite.put("private", "twins/a", body)
    azure = {"account": azurite.account, "account_key": AZURE_KEY}
    providers = {
        "s3": s3(seaweedfs),
        "az": {"kind": "azure", "endpoint": azurite.endpoint, "credentials": azure},
        "both": {"kind": "failover", "replicas": ["s3", "az"]},
    }
    async with looking(providers) as (checkups, _):
        found = Found(await checkups.run("both", ObjectRef("both", PRIVATE, "twins/a")))
    assert found.step("identity").result == "ok", found.document


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ({"kind": "s3"}, "s3.us-east-1.amazonaws.com:443"),
        (
            {"kind": "s3", "region": "eu-west-1", "buckets": {"a": {"bucket": "b-c"}}},
            "b-c.s3.eu-west-1.amazonaws.com:443",
        ),
        ({"kind": "s3", "preset": "wasabi", "region": "eu-central-1"}, "s3.eu-central-1.wasabisys.com:443"),
        ({"kind": "gcs"}, "storage.googleapis.com:443"),
        ({"kind": "azure", "buckets": {"a": {"bucket": "account.box"}}}, "account.blob.core.windows.net:443"),
        ({"kind": "azure", "credentials": {"account": "mine", "anonymous": True}}, "mine.blob.core.windows.net:443"),
        ({"kind": "http", "buckets": {"a": {"url": "https://[2001:db8::1]/x/"}}}, "[2001:db8::1]:443"),
        ({"kind": "azure"}, None),
        ({"kind": "file"}, None),
    ],
)
async def test_which_host_is_looked_at(provider: dict[str, Any], host: str | None):
    async with looking({"p": provider}) as (checkups, _):
        found = checkups.hosts("p", next(iter(provider.get("buckets", {})), ""))
    assert [str(each) for each, _ in found] == ([] if host is None else [host])
