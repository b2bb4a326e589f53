"""Keys from AWS's token services, by the SDK: what is asked, how often, and what is said where that fails."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.errors import Unauthenticated
from rangecache.origin.fetched import FAILURE_PAUSE_S, FETCH_TIMEOUT_S, Fetched
from rangecache.origin.providers.s3_credentials import KeyFiles, S3Credentials, Source, fetched
from rangecache.origin.providers.s3_sdk import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    AssumedRole,
    Chain,
    Instance,
    Sdk,
    WebIdentity,
    from_sdk,
)

from .aws_endpoints import AwsEndpoints
from .certificates import Authority
from .relay import ask_through, forward_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from rangecache.aio.clock import Clock
    from rangecache.testing.clock import ManualClock

ROLE = "arn:aws:iam::123456789012:role/reader"
OTHER = "arn:aws:iam::123456789012:role/first"
KEYS = KeyFiles("AKIA", "canary-own-secret")
TOKEN_SERVICES = ("STS", "SSO", "SSO_OIDC")


@pytest.fixture
def aws(aws_free: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsEndpoints]:
    """Token services on loopback, which the environment names."""
    with AwsEndpoints() as endpoints:
        point_at(aws_free, endpoints)
        yield endpoints


def point_at(environment: pytest.MonkeyPatch, endpoints: AwsEndpoints) -> None:
    for service in TOKEN_SERVICES:
        environment.setenv(f"AWS_ENDPOINT_URL_{service}", endpoints.url)
    environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoints.url)


@pytest.fixture
async def keep() -> AsyncIterator[Callable[..., Fetched[S3Credentials]]]:
    """Makes credentials of a source; they are closed at the end. By real time, as the SDK knows no other."""
    made: list[Fetched[S3Credentials]] = []

    def make(source: Source, clock: Clock | None = None, **options: bool) -> Fetched[S3Credentials]:
        made.append(fetched(source, clock=clock or SystemClock(), **options))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


def given(number: int) -> S3Credentials:
    return S3Credentials(f"ASIA{number}", f"canary-secret-{number}", f"canary-token-{number}")


def config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)


async def why(credentials: Fetched[S3Credentials]) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await credentials.get()
    assert "canary" not in str(caught.value)
    return str(caught.value)


# --- roles --------------------------------------------------------------------------------------------------------


async def test_a_role_is_assumed_under_its_session_name_and_external_id(aws: AwsEndpoints, keep) -> None:
    credentials = keep(AssumedRole(KEYS, Sdk("eu-west-1"), ROLE, "nightly", "partner-7"))
    found = await asyncio.gather(*(credentials.get() for _ in range(20)))
    assert set(found) == {given(1)}
    (asked,) = aws.asked
    assert {name: asked.form[name] for name in ("Action", "RoleArn", "RoleSessionName", "ExternalId")} == {
        "Action": "AssumeRole",
        "RoleArn": ROLE,
        "RoleSessionName": "nightly",
        "ExternalId": "partner-7",
    }
    assert "Credential=AKIA/" in asked.headers["authorization"]
    assert "/eu-west-1/sts/" in asked.headers["authorization"]
    assert credentials.describe() == f"the role {ROLE}, assumed with the static keys of the configuration"


async def test_roles_are_assumed_one_with_the_keys_of_another(aws: AwsEndpoints, keep) -> None:
    first = AssumedRole(KEYS, Sdk(), OTHER)
    assert await keep(AssumedRole(first, Sdk(), ROLE)).get() == given(2)
    assert [each.form["RoleArn"] for each in aws.asked] == [OTHER, ROLE]
    assert "Credential=ASIA1/" in aws.asked[1].headers["authorization"]
    assert aws.asked[1].headers["x-amz-security-token"] == "canary-token-1"
    assert {each.form["RoleSessionName"] for each in aws.asked} == {"rangecache"}


async def test_a_profile_may_name_a_role_and_the_profile_that_assumes_it(aws, tmp_path: Path, keep) -> None:
    config(
        tmp_path,
        "[profile base]\naws_access_key_id=AKIA\naws_secret_access_key=canary-own-secret\n"
        f"[profile first]\nrole_arn={OTHER}\nsource_profile=base\n"
        f"[profile reader]\nrole_arn={ROLE}\nsource_profile=first\nexternal_id=partner-7\nrole_session_name=nightly\n",
    )
    assert await keep(Chain("reader", Sdk())).get() == given(2)
    assert [each.form["RoleArn"] for each in aws.asked] == [OTHER, ROLE]
    assert (aws.asked[1].form["ExternalId"], aws.asked[1].form["RoleSessionName"]) == ("partner-7", "nightly")


async def test_a_role_is_renewed_at_its_true_expiry_and_nothing_else_is_made_anew(aws: AwsEndpoints, keep) -> None:
    credentials = keep(AssumedRole(KEYS, Sdk(), ROLE))
    assert await credentials.get() == given(1)
    left_s = credentials._check_at_s - SystemClock().monotonic()
    assert 0.5 * 3600 - 10 <= left_s <= 0.8 * 3600
    assert await credentials.renew()
    assert await credentials.get() == given(2)


@pytest.mark.parametrize("profile", [None, "reader"])
async def test_the_expiry_of_what_the_chain_finds_is_seen(profile, aws: AwsEndpoints, aws_free, tmp_path: Path) -> None:
    """botocore has no public word for it: this fails should it be called otherwise one day."""
    config(tmp_path, f"[profile reader]\nrole_arn={ROLE}\nweb_identity_token_file={tmp_path / 'token'}\n")
    (tmp_path / "token").write_text("canary-web-token")
    aws_free.setenv("AWS_EC2_METADATA_DISABLED", "false")
    grant = Chain(profile, Sdk()).fetch(False)
    assert grant is not None
    assert grant.expires_at_s == pytest.approx(datetime.now(UTC).timestamp() + 3600, abs=20)


async def test_a_failing_sts_is_asked_once_and_then_not_before_ten_seconds(aws, keep, clock: ManualClock) -> None:
    aws.refuse["AssumeRole"] = (500, "InternalFailure")
    aws.lives_s = 3600 + abs(clock.wall() - SystemClock().wall())
    credentials = keep(AssumedRole(KEYS, Sdk(), ROLE), clock)
    for _ in range(30):
        assert "AssumeRole was answered InternalFailure" in await why(credentials)
    assert aws.actions() == ["AssumeRole"]
    aws.refuse.clear()
    clock.shift(FAILURE_PAUSE_S)
    assert await credentials.get() == given(1)


async def test_a_role_that_may_not_be_assumed_says_who_has_to_change_what(aws: AwsEndpoints, keep) -> None:
    aws.refuse["AssumeRole"] = (403, "AccessDenied")
    said = await why(keep(AssumedRole(KEYS, Sdk(), ROLE)))
    assert "AssumeRole was answered AccessDenied: the trust policy of the role must let them" in said
    assert ROLE in said


async def test_a_role_without_keys_to_assume_it_says_so(aws: AwsEndpoints, keep) -> None:
    aws.refuse["PUT /latest/api/token"] = (404, "")
    assert "were not found, and the role needs them" in await why(keep(AssumedRole(Chain(None, Sdk()), Sdk(), ROLE)))


def test_the_calls_of_one_fetch_end_before_those_who_wait_give_up() -> None:
    assert 3 * (CONNECT_TIMEOUT_S + READ_TIMEOUT_S) < FETCH_TIMEOUT_S


# --- web identity -------------------------------------------------------------------------------------------------


async def test_the_file_of_a_web_identity_is_read_again_at_each_renewal(aws: AwsEndpoints, tmp_path, keep) -> None:
    token = tmp_path / "token"
    token.write_text("canary-web-1\n")
    credentials = keep(WebIdentity(Sdk(), ROLE, token, "nightly"))
    await credentials.get()
    token.write_text("canary-web-2\n")
    assert await credentials.renew()
    assert [each.form["WebIdentityToken"] for each in aws.asked] == ["canary-web-1", "canary-web-2"]
    assert [each.form["RoleArn"] for each in aws.asked] == [ROLE, ROLE]
    assert {each.form["RoleSessionName"] for each in aws.asked} == {"nightly"}
    assert all("authorization" not in each.headers for each in aws.asked)


@pytest.mark.parametrize("by_name", [True, False])
async def test_irsa_is_found_in_the_environment(by_name: bool, aws, aws_free, tmp_path: Path, keep) -> None:
    (tmp_path / "token").write_text("canary-web-1")
    aws_free.setenv("AWS_ROLE_ARN", ROLE)
    aws_free.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    source = WebIdentity(Sdk()) if by_name else Chain(None, Sdk())
    assert await keep(source).get() == given(1)
    assert aws.asked[0].form["WebIdentityToken"] == "canary-web-1"


async def test_a_web_identity_that_nothing_names_says_what_is_missing(aws_free, keep) -> None:
    assert "AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE" in await why(keep(WebIdentity(Sdk())))


async def test_a_web_identity_token_that_sts_refuses_is_said_to_be_it(aws: AwsEndpoints, tmp_path, keep) -> None:
    (tmp_path / "token").write_text("canary-web-1")
    aws.refuse["AssumeRoleWithWebIdentity"] = (400, "ExpiredTokenException")
    said = await why(keep(WebIdentity(Sdk(), ROLE, tmp_path / "token")))
    assert "AssumeRoleWithWebIdentity was answered ExpiredTokenException: the token has expired" in said


# --- metadata services --------------------------------------------------------------------------------------------


async def test_twenty_who_ask_cost_one_walk_through_an_instances_metadata(aws: AwsEndpoints, aws_free, keep) -> None:
    aws_free.setenv("AWS_EC2_METADATA_DISABLED", "false")
    credentials = keep(Instance(Sdk()))
    assert set(await asyncio.gather(*(credentials.get() for _ in range(20)))) == {given(1)}
    role = "/latest/meta-data/iam/security-credentials/"
    assert [(each.method, each.path) for each in aws.asked] == [
        ("PUT", "/latest/api/token"),
        ("GET", role),
        ("GET", f"{role}reader"),
    ]
    assert {each.headers.get("x-aws-ec2-metadata-token") for each in aws.asked[1:]} == {"canary-imds-token"}


@pytest.mark.parametrize("status", [403, 404, 405, 500])
@pytest.mark.parametrize("by_name", [True, False])
async def test_metadata_without_a_token_is_never_asked_for(status, by_name, aws, aws_free, keep) -> None:
    aws_free.setenv("AWS_EC2_METADATA_DISABLED", "false")
    aws.refuse["PUT /latest/api/token"] = (status, "")
    credentials = keep(Instance(Sdk()) if by_name else Chain(None, Sdk()), may_go_unsigned=True)
    assert await credentials.get() is None
    assert [each.method for each in aws.asked] == ["PUT"]


@pytest.mark.parametrize("where", ["instance", "container"])
async def test_no_proxy_is_told_what_metadata_services_say(where: str, aws: AwsEndpoints, aws_free, keep) -> None:
    async with forward_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        ask_through(url, aws_free)
        if where == "instance":
            aws_free.setenv("AWS_EC2_METADATA_DISABLED", "false")
        else:
            aws_free.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/v1/credentials")
        assert await keep(Chain(None, Sdk(proxy=url))).get() == given(1)
        assert proxy.requests == []


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_containers_address_that_fails_is_asked_once(status: int, aws: AwsEndpoints, aws_free, keep) -> None:
    aws_free.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/v1/credentials")
    aws.refuse["GET /v1/credentials"] = (status, "")
    credentials = keep(Chain(None, Sdk()), may_go_unsigned=True)
    for _ in range(20):
        assert await credentials.get() is None
    assert aws.actions() == ["/v1/credentials"]


async def test_the_token_file_of_pod_identity_is_read_again_at_each_renewal(aws, aws_free, tmp_path, keep) -> None:
    token = tmp_path / "token"
    token.write_text("canary-pod-1")
    aws_free.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/v1/credentials")
    aws_free.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    credentials = keep(Chain(None, Sdk()))
    assert await credentials.get() == given(1)
    token.write_text("canary-pod-2")
    assert await credentials.renew()
    assert [(each.path, each.headers["authorization"]) for each in aws.asked] == [
        ("/v1/credentials", "canary-pod-1"),
        ("/v1/credentials", "canary-pod-2"),
    ]


# --- profiles -----------------------------------------------------------------------------------------------------

SSO = (
    "[profile work]\nsso_session=corp\nsso_account_id=123456789012\nsso_role_name=reader\n"
    "[sso-session corp]\nsso_start_url=https://corp.example.org/start\nsso_region=eu-west-1\n"
)


@pytest.mark.parametrize("named", [True, False])
async def test_an_expired_login_says_the_command_that_renews_it(named: bool, aws_free, tmp_path: Path, keep) -> None:
    config(tmp_path, SSO)
    aws_free.setenv("HOME", str(tmp_path))
    aws_free.setenv("AWS_PROFILE", "work")
    credentials = keep(Chain("work" if named else None, Sdk()))
    assert "run aws sso login --profile work" in await why(credentials)


async def test_a_login_that_is_valid_gives_the_keys_of_its_role(aws, aws_free, tmp_path: Path, keep) -> None:
    import botocore.utils

    config(tmp_path, SSO)
    folder = tmp_path / "sso"
    folder.mkdir()
    aws_free.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", str(folder))
    until = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = botocore.utils.SSOTokenLoader()._generate_cache_key("https://corp.example.org/start", "corp")
    (folder / f"{name}.json").write_text(json.dumps({"accessToken": "canary-login", "expiresAt": until}))
    said = await why(keep(Chain("work", Sdk())))
    # The portal's own answer has a form of its own, which is not played here: that it was asked is what counts.
    assert "sso" not in said.partition("cannot be used")[0]
    (asked,) = aws.asked
    assert asked.path.startswith("/federation/credentials?")
    assert asked.headers["x-amz-sso_bearer_token"] == "canary-login"


async def test_a_profile_that_is_half_written_says_which_half(aws_free, tmp_path: Path, keep) -> None:
    config(tmp_path, "[profile half]\naws_access_key_id=AKIA\n")
    assert "aws_secret_access_key is missing" in await why(keep(Chain("half", Sdk())))


# --- the way there ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    ("certified", "trusted", "works"),
    [("127.0.0.1", True, True), ("sts.amazonaws.com", True, False), ("127.0.0.1", False, False)],
)
async def test_the_certificate_of_sts_has_to_be_its_own(
    certified: str, trusted: bool, works: bool, authority: Authority, aws_free, keep
) -> None:
    with AwsEndpoints(context=authority.server(certified)) as endpoints:
        point_at(aws_free, endpoints)
        credentials = keep(AssumedRole(KEYS, Sdk(ca_file=authority.ca_file if trusted else None), ROLE))
        if works:
            assert await credentials.get() == given(1)
        else:
            assert "the certificate of a token service is not accepted" in await why(credentials)
            assert endpoints.asked == []


async def test_the_proxy_is_the_configured_one_and_not_the_environments(aws, aws_free, keep) -> None:
    aws_free.setenv("AWS_ENDPOINT_URL_STS", f"http://sts.example.org:{aws.port}")
    aws_free.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    aws_free.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with forward_proxy() as proxy:
        credentials = keep(AssumedRole(KEYS, Sdk(proxy=f"http://127.0.0.1:{proxy.port}"), ROLE))
        assert await credentials.get() == given(1)
        assert proxy.requests == [f"POST http://sts.example.org:{aws.port}/ HTTP/1.1"]
    aws_free.setenv("AWS_ENDPOINT_URL_STS", aws.url)
    assert await keep(AssumedRole(KEYS, Sdk(), ROLE)).get() == given(2)


async def test_a_token_service_that_is_not_there_is_said_not_to_answer(aws_free, keep) -> None:
    aws_free.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    said = await why(keep(AssumedRole(KEYS, Sdk(), ROLE)))
    assert "a token service does not answer (EndpointConnectionError)" in said


@pytest.mark.parametrize(
    ("configured", "environment", "host"),
    [
        ("eu-west-1", {}, "https://sts.eu-west-1.amazonaws.com"),
        (None, {"AWS_REGION": "ap-south-1"}, "https://sts.ap-south-1.amazonaws.com"),
        (None, {"AWS_DEFAULT_REGION": "ca-central-1"}, "https://sts.ca-central-1.amazonaws.com"),
        (None, {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, "https://sts.us-east-1.amazonaws.com"),
        ("cn-north-1", {}, "https://sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_sts_is_asked_in_a_region(configured, environment: dict[str, str], host: str, aws_free) -> None:
    for name, value in environment.items():
        aws_free.setenv(name, value)
    session = Sdk(configured).session()
    client = session.create_client("sts", aws_access_key_id="A", aws_secret_access_key="B")
    assert client.meta.endpoint_url == host
    assert client.meta.config.retries["total_max_attempts"] == 1
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)


async def test_nothing_of_all_this_is_shown(aws: AwsEndpoints, tmp_path: Path, keep, caplog) -> None:
    credentials = keep(AssumedRole(KEYS, Sdk(), ROLE))
    with caplog.at_level(logging.INFO):
        await credentials.get()
        await credentials.renew()
    assert "canary" not in caplog.text + repr(credentials) + credentials.describe()


async def test_an_environment_without_keys_gives_none(aws_free, keep) -> None:
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    credentials = from_sdk(clock=SystemClock())
    assert await credentials.get() is None
    await credentials.aclose()
