"""Where tokens for Google Cloud Storage come from, against token, metadata and STS servers on loopback."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rangecache.errors import Unauthenticated
from rangecache.origin.fetched import FAILURE_PAUSE_S, RECHECK_S, RENEW_TO
from rangecache.origin.providers.gcs_credentials import (
    FILE_VARIABLE,
    SCOPE,
    ApplicationDefault,
    GoogleToken,
    TokenCommand,
    fetched,
)

from .certificates import Authority
from .google import LIFE_S, Google
from .relay import ask_through, forward_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rangecache.testing.clock import ManualClock


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    async with Google() as google:
        yield google


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login of whoever runs the tests, and no metadata server of the machine they run on."""
    import gcloud.aio.auth.token

    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(gcloud.aio.auth.token, "GCE_ENDPOINT_TOKEN", "http://127.0.0.1:1/nothing")


@pytest.fixture
def metadata(google: Google, monkeypatch: pytest.MonkeyPatch) -> Google:
    import gcloud.aio.auth.token

    monkeypatch.setattr(gcloud.aio.auth.token, "GCE_ENDPOINT_TOKEN", f"{google.url}/metadata")
    return google


def key() -> tuple[str, rsa.RSAPublicKey]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, *form).decode(), private.public_key()


async def settled() -> None:
    """Let what runs on threads come back."""
    for _ in range(200):
        await asyncio.sleep(0.01)
        if all("fetch of" not in task.get_name() for task in asyncio.all_tasks()):
            return


# --- each source --------------------------------------------------------------------------------------------------


async def test_a_service_account_signs_for_reading_only(google: Google, tmp_path: Path, clock: ManualClock) -> None:
    private, public = key()
    file = google.service_account(tmp_path / "key.json", private)
    credentials = fetched(GoogleToken(file, clock=clock), clock=clock)
    assert await credentials.get() == "canary-1"
    (asked,) = google.asked
    claims = jwt.decode(asked.fields["assertion"], public, ["RS256"], audience=f"{google.url}/token")
    assert (claims["scope"], claims["iss"]) == (SCOPE, "reader@example.org")
    await credentials.aclose()


async def test_the_login_of_gcloud_is_found(google: Google, tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "gcloud").mkdir()
    google.login(tmp_path / "gcloud" / "application_default_credentials.json")
    credentials = fetched(ApplicationDefault(clock=clock), clock=clock, may_go_unsigned=True)
    assert await credentials.get() == "canary-1"
    assert google.asked[0].fields["grant_type"] == "refresh_token"
    await credentials.aclose()


async def test_the_file_that_the_environment_names_comes_first(
    google: Google, metadata: Google, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(google.login(tmp_path / "named.json")))
    credentials = fetched(ApplicationDefault(clock=clock), clock=clock, may_go_unsigned=True)
    await credentials.get()
    assert [each.path for each in google.asked] == ["/token"]
    await credentials.aclose()


@pytest.mark.parametrize("source", [ApplicationDefault, partial(GoogleToken, None)])
async def test_no_proxy_is_told_what_the_metadata_server_says(source, metadata, clock, monkeypatch) -> None:
    async with forward_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        ask_through(url, monkeypatch)
        credentials = fetched(source(clock=clock, proxy=url), clock=clock)
        assert await credentials.get() == "canary-1"
        await credentials.aclose()
        assert proxy.requests == []


async def test_the_metadata_server_is_asked_where_there_is_no_file(metadata: Google, clock: ManualClock) -> None:
    credentials = fetched(ApplicationDefault(clock=clock), clock=clock, may_go_unsigned=True)
    assert await credentials.get() == "canary-1"
    assert (metadata.asked[0].path, metadata.asked[0].headers["metadata-flavor"]) == ("/metadata", "Google")
    await credentials.aclose()


async def test_the_metadata_server_by_name_looks_at_no_file(
    metadata: Google, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "absent.json"))
    credentials = fetched(GoogleToken(None, clock=clock), clock=clock)
    assert await credentials.get() == "canary-1"
    await credentials.aclose()


async def test_a_subject_token_is_read_anew_for_each_exchange(
    google: Google, tmp_path: Path, clock: ManualClock
) -> None:
    subject = tmp_path / "subject"
    subject.write_text("canary-one\n")
    file = google.federation(tmp_path / "federation.json", {"file": str(subject)})
    credentials = fetched(GoogleToken(file, clock=clock), clock=clock)
    await credentials.get()
    subject.write_text("canary-two\n")
    assert await credentials.renew()
    assert [each.fields["subject_token"] for each in google.asked] == ["canary-one", "canary-two"]
    assert {each.fields["scope"] for each in google.asked} == {SCOPE}
    await credentials.aclose()


async def test_a_subject_token_may_come_from_an_address_or_the_environment(
    google: Google, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBJECT", "canary-of-the-environment")
    form = {"type": "json", "subject_token_field_name": "id_token"}
    for source, subject in (
        ({"url": f"{google.url}/subject", "format": form}, "canary-subject"),
        ({"type": "environment", "environment_id": "SUBJECT"}, "canary-of-the-environment"),
    ):
        file = google.federation(tmp_path / "federation.json", source)
        credentials = fetched(GoogleToken(file, clock=clock), clock=clock)
        assert await credentials.get()
        assert google.asked[-1].fields["subject_token"] == subject
        await credentials.aclose()


async def test_a_federation_may_act_as_a_service_account(google: Google, tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "subject").write_text("canary-one")
    file = google.federation(
        tmp_path / "federation.json",
        {"file": str(tmp_path / "subject")},
        service_account_impersonation_url=f"{google.url}/impersonate",
    )
    credentials = fetched(GoogleToken(file, clock=clock), clock=clock)
    assert await credentials.get() == "canary-impersonated-2"
    assert [each.path for each in google.asked] == ["/sts", "/impersonate"]
    await credentials.aclose()


@pytest.mark.parametrize("expires", ['"2001-09-09T01:46:40Z"', "1000000000", "null"])
async def test_a_command_prints_a_token_and_when_it_expires(expires: str, clock: ManualClock) -> None:
    program = f'print(\'{{"token": "canary", "expires": {expires}}}\')'
    grant = TokenCommand([sys.executable, "-c", program]).fetch(False)
    assert grant.value == "canary"
    assert grant.expires_at_s == (None if expires == "null" else 1e9)
    assert "canary" not in repr(grant)


@pytest.mark.parametrize("printed", ["canary", "[]", '{"token": 1}', '{"token": "a b"}', '{"token": "a\\nb"}'])
def test_what_is_no_token_is_refused_and_not_repeated(printed: str) -> None:
    with pytest.raises(Exception, match="the command gave") as caught:
        TokenCommand([sys.executable, "-c", f"print({printed!r})"]).fetch(False)
    assert "canary" not in str(caught.value)


# --- kept and renewed ---------------------------------------------------------------------------------------------


async def test_twenty_readers_cost_one_fetch_and_who_leaves_harms_nobody(metadata: Google, clock: ManualClock) -> None:
    credentials = fetched(GoogleToken(None, clock=clock), clock=clock)
    waiting = [asyncio.create_task(credentials.get()) for _ in range(20)]
    await asyncio.sleep(0)
    for each in waiting[::2]:
        each.cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found[::2]] == [True] * 10
    assert found[1::2] == ["canary-1"] * 10
    assert len(metadata.asked) == 1
    await credentials.aclose()


async def test_a_token_is_renewed_before_it_expires_while_the_old_one_serves(
    metadata: Google, clock: ManualClock
) -> None:
    credentials = fetched(GoogleToken(None, clock=clock), clock=clock)
    assert await credentials.get() == "canary-1"
    await clock.advance(LIFE_S * RENEW_TO)
    assert await credentials.get() == "canary-1"
    await settled()
    assert await credentials.get() == "canary-2"
    assert len(metadata.asked) == 2
    await credentials.aclose()


async def test_an_old_token_serves_while_its_renewal_fails_and_failures_are_not_repeated_for_each_reader(
    metadata: Google, clock: ManualClock
) -> None:
    credentials = fetched(GoogleToken(None, clock=clock), clock=clock)
    await credentials.get()
    metadata.status = 503
    await clock.advance(LIFE_S * RENEW_TO)
    for _ in range(20):
        assert await credentials.get() == "canary-1"
        await settled()
    assert len(metadata.asked) == 2  # one attempt, and not the five of the SDK
    await clock.advance(LIFE_S)
    with pytest.raises(Unauthenticated, match="the metadata server gave no token"):
        await credentials.get()
    asked = len(metadata.asked)
    with pytest.raises(Unauthenticated):
        await credentials.get()
    assert len(metadata.asked) == asked
    metadata.status = 200
    await clock.advance(2 * FAILURE_PAUSE_S)
    assert await credentials.get() == f"canary-{asked + 1}"
    await credentials.aclose()


# --- what goes wrong ----------------------------------------------------------------------------------------------


async def test_an_expired_login_says_what_renews_it_and_public_buckets_go_on(
    google: Google, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(google.login(tmp_path / "login.json")))
    google.status = 400
    credentials = fetched(ApplicationDefault(clock=clock), clock=clock, may_go_unsigned=True)
    assert await credentials.get() is None
    assert "renew it with gcloud auth application-default login" in credentials.describe()
    assert "canary" not in credentials.describe() + repr(credentials)
    await credentials.aclose()


async def test_nothing_around_is_no_failure(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    credentials = fetched(ApplicationDefault(clock=clock), clock=clock, may_go_unsigned=True)
    assert await credentials.get() is None
    assert "none were found" in credentials.describe()
    assert not caplog.records
    assert RECHECK_S > 0
    await credentials.aclose()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "cannot be read"),
        ("{canary", "is not JSON"),
        ('{"type": "authorized_user"}', "is not of type service_account"),
        ('{"type": "external_account", "credential_source": {"environment_id": "aws1"}}', "is not of type"),
        ('{"type": "service_account", "private_key": "canary", "client_email": "x"}', "no token could be had"),
    ],
)
async def test_a_key_file_that_cannot_be_used_is_named_and_nothing_else_is_asked_in_its_place(
    written: str | None, says: str, metadata: Google, tmp_path: Path, clock: ManualClock
) -> None:
    file = tmp_path / "key.json"
    if written is not None:
        file.write_text(written)
    source = GoogleToken(file, clock=clock, expected=frozenset({"service_account"}))
    credentials = fetched(source, clock=clock)
    with pytest.raises(Unauthenticated) as caught:
        await credentials.get()
    assert str(file) in str(caught.value)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    assert metadata.asked == []
    await credentials.aclose()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"environment_id": "aws1"}, "not supported"),
        ({"executable": {"command": "x"}}, "not supported"),
        ({"file": "/no/such/token"}, "/no/such/token cannot be read"),
    ],
)
async def test_a_federation_that_cannot_work_says_why(
    source: dict, says: str, google: Google, tmp_path: Path, clock: ManualClock
) -> None:
    credentials = fetched(GoogleToken(google.federation(tmp_path / "f.json", source), clock=clock), clock=clock)
    with pytest.raises(Unauthenticated, match=says):
        await credentials.get()
    await credentials.aclose()


async def test_a_token_service_with_a_certificate_for_another_host_gets_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    authority = Authority(tmp_path)
    for name, works in (("other.example.org", False), ("localhost", True)):
        async with Google(tls=authority.server(name)) as google:
            google.login(tmp_path / "login.json")
            source = GoogleToken(tmp_path / "login.json", clock=clock, ca_file=authority.ca_file)
            credentials = fetched(source, clock=clock)
            if works:
                assert await credentials.get() == "canary-1"
            else:
                with pytest.raises(Unauthenticated, match="does not prove who it is"):
                    await credentials.get()
                assert google.asked == []
            await credentials.aclose()


@pytest.mark.parametrize("life_s", [0, -1, 10**9])
async def test_a_token_without_a_life_is_refused(life_s: int, metadata: Google, clock: ManualClock) -> None:
    metadata.life_s = life_s
    credentials = fetched(GoogleToken(None, clock=clock), clock=clock)
    with pytest.raises(Unauthenticated, match="no usable token"):
        await credentials.get()
    await credentials.aclose()


async def test_an_sdk_that_was_not_asked_for_is_not_imported() -> None:
    program = (
        "import sys, json, rangecache.wiring.origins; print(json.dumps([m for m in sys.modules if 'gcloud' in m]))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert json.loads(printed) == []
