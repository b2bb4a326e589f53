"""The shape of requests to services other than AWS, and to buckets with particulars, from their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from rangecache.errors import BadRequest, ConfigurationError
from rangecache.model import ObjectRef
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_signing import sign
from rangecache.settings import Egress, S3Provider
from rangecache.settings.providers.s3_presets import PRESETS
from rangecache.wiring.s3 import s3_dialect

if TYPE_CHECKING:
    from rangecache.origin.dialect import Target
    from rangecache.testing.clock import ManualClock

OWN: dict[str, Any] = {"access_key_id": "AKID", "secret_access_key": "canary"}


def provider(**given: Any) -> S3Provider:
    return S3Provider.model_validate({"kind": "s3", "credentials": OWN} | given)


async def ask(clock: ManualClock, bucket: str = "data", version: str | None = None, **given: Any) -> Target:
    dialect = s3_dialect(provider(**given), clock, Egress())
    try:
        return await dialect.target("GET", ObjectRef("p", bucket, "a/b c", version), {"Range": "bytes=0-9"})
    finally:
        await dialect.aclose()


def scope(target: Target) -> str:
    return target.headers["Authorization"].partition("/s3/aws4_request")[0].rpartition("/")[2]


def signed(target: Target) -> str:
    return target.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]


SHAPES: dict[str, tuple[dict[str, Any], str, str]] = {
    "minio": ({"endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/data/a/b%20c", "us-east-1"),
    "r2": ({"account": "0a1b"}, "https://0a1b.r2.cloudflarestorage.com/data/a/b%20c", "auto"),
    "b2": ({"region": "us-west-004"}, "https://s3.us-west-004.backblazeb2.com/data/a/b%20c", "us-west-004"),
    "wasabi": ({"region": "eu-central-1"}, "https://s3.eu-central-1.wasabisys.com/data/a/b%20c", "eu-central-1"),
    "spaces": ({"region": "fra1"}, "https://data.fra1.digitaloceanspaces.com/a/b%20c", "fra1"),
    "oci": (
        {"region": "eu-frankfurt-1", "namespace": "ns1"},
        "https://ns1.compat.objectstorage.eu-frankfurt-1.oraclecloud.com/data/a/b%20c",
        "eu-frankfurt-1",
    ),
    "ceph": ({"endpoint": "https://rgw.example.org"}, "https://rgw.example.org/data/a/b%20c", "us-east-1"),
    "gcs-interop": ({}, "https://storage.googleapis.com/data/a/b%20c", "auto"),
}


def test_every_preset_has_a_shape() -> None:
    assert SHAPES.keys() == PRESETS.keys()


@pytest.mark.parametrize("preset", SHAPES)
async def test_a_request_has_the_shape_of_its_service(preset: str, clock: ManualClock) -> None:
    given, url, region = SHAPES[preset]
    target = await ask(clock, preset=preset, **given)
    assert str(target.url) == url
    assert scope(target) == region
    assert signed(target) == "host;range;x-amz-content-sha256;x-amz-date"
    assert not [name for name in target.headers if "checksum" in name.lower()]
    again = sign("GET", url, {"Range": "bytes=0-9"}, _keys(), region=region, now_s=clock.wall())
    assert target.headers["Authorization"] == again["Authorization"]


def _keys() -> Any:
    from rangecache.origin.providers.s3_credentials import S3Credentials

    return S3Credentials("AKID", "canary")


@pytest.mark.parametrize(
    ("given", "url", "region"),
    [
        ({"preset": "wasabi"}, "https://s3.us-east-1.wasabisys.com/data/", "us-east-1"),
        (
            {"preset": "r2", "endpoint": "https://0a.eu.r2.cloudflarestorage.com"},
            "https://0a.eu.r2.cloudflarestorage.com/data/",
            "auto",
        ),
        (
            {"preset": "b2", "region": "us-west-004", "buckets": {"data": {"region": "eu-central-003"}}},
            "https://s3.eu-central-003.backblazeb2.com/data/",
            "eu-central-003",
        ),
        (
            {"preset": "spaces", "region": "fra1", "buckets": {"data": {"bucket": "with.dots"}}},
            "https://fra1.digitaloceanspaces.com/with.dots/",
            "fra1",
        ),
        (
            {"preset": "minio", "endpoint": "http://m:9000", "region": "eu-1", "buckets": {"data": {"region": "auto"}}},
            "http://m:9000/data/",
            "eu-1",
        ),
    ],
)
async def test_what_a_preset_says_can_be_set_over_it(given, url: str, region: str, clock: ManualClock) -> None:
    target = await ask(clock, **given)
    assert str(target.url).startswith(url)
    assert scope(target) == region


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"preset": "minio"}, "preset minio needs endpoint, such as http://127.0.0.1:9000"),
        ({"preset": "ceph"}, "preset ceph needs endpoint"),
        ({"preset": "b2"}, "preset b2 needs region, such as us-west-004"),
        ({"preset": "b2", "region": "r", "endpoint": "http://s3.r.backblazeb2.com"}, "preset b2 is read over https"),
        ({"preset": "spaces"}, "preset spaces needs region, such as fra1"),
        ({"preset": "oci", "region": "r"}, "preset oci needs namespace, or the whole endpoint"),
        ({"preset": "oci", "namespace": "n"}, "preset oci needs region"),
        ({"preset": "r2"}, "preset r2 needs account"),
        ({"preset": "wasabi", "account": "a"}, "account has no place in the endpoint of preset wasabi"),
        ({"account": "a"}, "there is no preset"),
        ({"preset": "r2", "account": "evil.org/"}, "account"),
        ({"preset": "swift"}, "preset"),
        ({"buckets": {"b": {"requester_pays": True, "anonymous": True}}}, "who pays has to sign"),
        ({"credentials": {"anonymous": True}, "buckets": {"b": {"requester_pays": True}}}, "who pays has to sign"),
        ({"buckets": {"b": {"anonymous": True, "credentials": {"imds": True}}}}, "not both"),
        ({"buckets": {"b": {"expected_owner": "me"}}}, "expected_owner"),
    ],
)
def test_what_is_missing_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        provider(**given)
    assert says in str(caught.value)


@pytest.mark.parametrize("preset", ["r2", "gcs-interop"])
async def test_a_version_is_refused_where_the_service_would_ignore_it(preset: str, clock: ManualClock) -> None:
    given, _, _ = SHAPES[preset]
    with pytest.raises(BadRequest, match="does not know versionId"):
        await ask(clock, version="v1", preset=preset, **given)


async def test_gcs_is_not_to_decode_what_is_stored_as_gzip(clock: ManualClock) -> None:
    target = await ask(clock, preset="gcs-interop")
    assert target.headers["Accept-Encoding"] == "gzip"
    assert "accept-encoding" not in signed(target)


# --- particulars of buckets ---------------------------------------------------------------------------------------


async def test_who_pays_and_who_owns_are_sent_and_signed(clock: ManualClock) -> None:
    buckets = {"data": {"requester_pays": True, "expected_owner": "123456789012"}}
    dialect = s3_dialect(provider(buckets=buckets), clock, Egress())
    ref = ObjectRef("p", "data", "k")
    for target in (await dialect.target("GET", ref, {}), await dialect.listing(ref, "/", None)):
        assert target.headers["x-amz-request-payer"] == "requester"
        assert target.headers["x-amz-expected-bucket-owner"] == "123456789012"
        assert "x-amz-expected-bucket-owner;x-amz-request-payer" in signed(target)
    plain = await dialect.target("GET", ObjectRef("p", "other", "k"), {})
    assert "payer" not in signed(plain)
    await dialect.aclose()


async def test_a_public_bucket_may_be_held_to_its_owner(clock: ManualClock) -> None:
    target = await ask(clock, buckets={"data": {"anonymous": True, "expected_owner": "123456789012"}})
    assert target.headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert "Authorization" not in target.headers


async def test_a_bucket_may_have_credentials_of_its_own(clock: ManualClock) -> None:
    own = {"access_key_id": "OTHER", "secret_access_key": "canary-2"}
    given = {"buckets": {"theirs": {"credentials": own}}}
    assert "Credential=OTHER/" in (await ask(clock, "theirs", **given)).headers["Authorization"]
    assert "Credential=AKID/" in (await ask(clock, "ours", **given)).headers["Authorization"]


ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reader"


@pytest.mark.parametrize(
    ("arn", "host", "region"),
    [
        (ARN, "reader-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "eu-west-1"),
        (ARN.replace("point/", "point:"), "reader-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "eu-west-1"),
        (
            "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/reader",
            "reader-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
    ],
)
async def test_an_access_point_is_asked_in_its_own_region(arn: str, host: str, region: str, clock) -> None:
    target = await ask(clock, "alias", region="us-west-2", buckets={"alias": {"bucket": arn}})
    assert str(target.url) == f"https://{host}/a/b%20c"
    assert scope(target) == region


async def test_an_access_point_is_listed_and_never_left_by_a_redirect(clock: ManualClock) -> None:
    dialect = s3_dialect(provider(buckets={"alias": {"bucket": ARN}}), clock, Egress())
    ref = ObjectRef("p", "alias", "")
    listing = await dialect.listing(ref, "/", None)
    host = "reader-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"
    assert str(listing.url).startswith(f"https://{host}/?delimiter=")
    assert dialect.may_redirect(ref, listing.url.with_path("/x"))
    assert not dialect.may_redirect(ref, listing.url.with_host("evil.org"))
    assert dialect.source(ref) == f"s3 aws {ARN}"
    await dialect.aclose()


@pytest.mark.parametrize(
    ("bucket", "says"),
    [
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "multi-Region access point.*Version 4A"),
        ("mfzwi23gnjvgw.mrap", "multi-Region access point"),
        ("logs--use1-az4--x-s3", r"directory bucket \(S3 Express One Zone\)"),
        ("arn:aws:s3-outposts:eu-west-1:123456789012:outpost/o/accesspoint/a", "of the service 's3-outposts'"),
        ("arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/a", "of the service 's3-object-lambda'"),
        ("arn:aws:s3:::data", "is no access point"),
        ("arn:", "of the service ''"),
        ("arn:aws:s3:evil.org/:123456789012:accesspoint/reader", "is no access point"),
    ],
)
def test_a_bucket_that_cannot_be_read_says_why(bucket: str, says: str, clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match=f"bucket alias: .*{says}"):
        s3_dialect(provider(buckets={"alias": {"bucket": bucket}}), clock, Egress())


@pytest.mark.parametrize("bucket", ["logs--use1-az4--x-s3", "mfzwi23gnjvgw.mrap"])
async def test_such_a_bucket_in_an_address_says_why_too(bucket: str, clock: ManualClock) -> None:
    with pytest.raises(BadRequest, match="not built"):
        await ask(clock, bucket)
    elsewhere = await ask(clock, bucket, preset="minio", endpoint="http://127.0.0.1:9000")
    assert bucket in str(elsewhere.url)


def test_an_access_point_of_another_service_is_a_contradiction(clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match="access points are Amazon's"):
        s3_dialect(provider(endpoint="http://127.0.0.1:9000", buckets={"alias": {"bucket": ARN}}), clock, Egress())


def test_a_dialect_is_shown_without_its_secrets(clock: ManualClock) -> None:
    dialect = s3_dialect(provider(preset="wasabi"), clock, Egress())
    assert isinstance(dialect, S3Dialect)
    assert repr(dialect) == "<S3Dialect https://s3.{region}.wasabisys.com>"
