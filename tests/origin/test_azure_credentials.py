"""Where Azure credentials come from: files, commands, connection strings, and identities from services on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import Unauthenticated
from rangecache.origin.credentials import CredentialsUnavailable
from rangecache.origin.providers.azure_credentials import (
    ConnectionString,
    from_account_key,
    from_command,
    from_connection_string,
    from_identity,
    from_sas,
)
from rangecache.origin.providers.azure_signing import AccountKey, Bearer, Sas
from rangecache.settings import AzureCredentials, Egress
from rangecache.wiring.azure import azure_credentials
from tests.origin.azure_endpoints import TokenService
from tests.origin.certificates import Authority
from tests.origin.relay import ask_through, forward_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rangecache.testing.clock import ManualClock

KEY = base64.b64encode(b"canary-key").decode()

# --- files and values ---------------------------------------------------------------------------------------------


async def test_a_sas_file_is_read_again_after_a_rejection(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "sas"
    path.write_text("?sv=1&sig=canary-one\n")
    credentials = from_sas(path, clock=clock)
    assert await credentials.get() == Sas("sv=1&sig=canary-one")
    path.write_text("sv=1&sig=canary-two\n")
    assert await credentials.renew()
    assert await credentials.get() == Sas("sv=1&sig=canary-two")
    await credentials.aclose()


async def test_an_account_key_is_a_value_or_a_file(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    for given in (KEY, tmp_path / "key"):
        credentials = from_account_key("demo", given, clock=clock)
        assert await credentials.get() == AccountKey("demo", b"canary-key")
        await credentials.aclose()


@pytest.mark.parametrize("text", ["canary", "sv=1", "sig=canary canary", "sig=canary#x"])
async def test_what_is_no_sas_token_is_refused_without_repeating_it(text: str, clock: ManualClock) -> None:
    credentials = from_sas(text, clock=clock)
    with pytest.raises(Unauthenticated, match="SAS token") as caught:
        await credentials.get()
    assert "canary" not in str(caught.value)
    await credentials.aclose()


async def test_a_key_that_is_not_base64_is_refused_without_repeating_it(clock: ManualClock) -> None:
    credentials = from_account_key("demo", "canary!", clock=clock)
    with pytest.raises(Unauthenticated, match="not Base64") as caught:
        await credentials.get()
    assert "canary" not in str(caught.value)
    await credentials.aclose()


@pytest.mark.parametrize(
    ("text", "account", "endpoint", "credential"),
    [
        (f"AccountName=demo;AccountKey={KEY}", "demo", "https://demo.blob.core.windows.net", "key"),
        (
            f"DefaultEndpointsProtocol=https;AccountName=demo;AccountKey={KEY};EndpointSuffix=core.usgovcloudapi.net",
            "demo",
            "https://demo.blob.core.usgovcloudapi.net",
            "key",
        ),
        (
            f"AccountName=demo;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:1/demo/;",
            "demo",
            "http://127.0.0.1:1/demo",
            "key",
        ),
        ("BlobEndpoint=https://x.example;SharedAccessSignature=sv=1&sig=a=", None, "https://x.example", "sas"),
        ("AccountName=demo", "demo", "https://demo.blob.core.windows.net", None),
    ],
)
def test_a_connection_string_says(text: str, account, endpoint: str, credential) -> None:
    found = ConnectionString.read(text)
    wanted = {"key": AccountKey("demo", b"canary-key"), "sas": Sas("sv=1&sig=a="), None: None}
    assert (found.account, found.endpoint, found.credential) == (account, endpoint, wanted[credential])
    assert "canary" not in repr(found)


def test_the_emulator_has_a_connection_string_of_its_own() -> None:
    found = ConnectionString.read("UseDevelopmentStorage=true")
    assert (found.account, found.endpoint) == ("devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1")


@pytest.mark.parametrize(
    "text", ["", "canary", f"AccountKey={KEY}", "AccountName=", f"BlobEndpoint=x;AccountKey={KEY}"]
)
def test_a_broken_connection_string_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(CredentialsUnavailable) as caught:
        ConnectionString.read(text)
    assert "canary" not in str(caught.value)


async def test_a_connection_string_without_a_secret_says_so(clock: ManualClock) -> None:
    credentials = from_connection_string("AccountName=demo", clock=clock)
    with pytest.raises(Unauthenticated, match="neither AccountKey nor SharedAccessSignature"):
        await credentials.get()
    await credentials.aclose()


# --- commands -----------------------------------------------------------------------------------------------------


def printing(value: object) -> list[str]:
    return [sys.executable, "-c", f"print({json.dumps(value)!r})"]


async def test_a_command_gives_a_sas_token_until_it_expires(clock: ManualClock) -> None:
    credentials = from_command(printing({"sas_token": "sv=1&se=2999-01-01T00%3A00%3A00Z&sig=canary"}), clock=clock)
    assert await credentials.get() == Sas("sv=1&se=2999-01-01T00%3A00%3A00Z&sig=canary")
    await credentials.aclose()


@pytest.mark.parametrize("expires", [32_503_680_000, "2999-12-31T23:59:59Z", "2999-12-31T23:59:59+01:00", None])
async def test_a_command_gives_a_token(expires: object, clock: ManualClock) -> None:
    credentials = from_command(printing({"token": "canary", "expires": expires}), clock=clock)
    assert await credentials.get() == Bearer("canary")
    await credentials.aclose()


async def test_a_command_is_run_again_before_what_it_printed_expires(tmp_path: Path, clock: ManualClock) -> None:
    count = tmp_path / "count"
    expires = clock.wall() + 1000
    script = f'echo x >> {count}; echo \'{{"token": "canary", "expires": {expires}}}\''
    credentials = from_command(["sh", "-c", script], clock=clock)
    await credentials.get()
    await clock.advance(499)
    await credentials.get()
    assert count.read_text() == "x\n"
    await clock.advance(302)
    await credentials.get()
    await credentials.renew()  # ends when what the last `get` began has ended
    assert count.read_text().startswith("x\nx\n")
    await credentials.aclose()


@pytest.mark.parametrize(
    "printed",
    [
        "canary",
        {},
        ["canary"],
        {"token": "canary", "sas_token": "sig=canary"},
        {"token": "canary", "expires": "canary"},
        {"token": "canary", "expires": 1},
        {"token": "canary canary"},
        {"sas_token": "canary"},
    ],
)
async def test_what_a_command_prints_wrongly_is_not_repeated(printed: object, clock: ManualClock, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = from_command(printing(printed), clock=clock)
    with pytest.raises(Unauthenticated, match="what the configured command prints") as caught:
        await credentials.get()
    assert "canary" not in str(caught.value) + caplog.text
    await credentials.aclose()


# --- identities ---------------------------------------------------------------------------------------------------


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ManualClock) -> pytest.MonkeyPatch:
    """An environment without Azure credentials and without ways to find some."""
    clock.wall_s = time.time()  # the library has a clock of its own
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.fixture
def imds(azure: pytest.MonkeyPatch) -> Iterator[TokenService]:
    """The metadata service of a machine with an identity."""
    with TokenService() as service:
        azure.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url)
        yield service


async def test_a_managed_identity_is_asked_once_for_all_who_wait(imds: TokenService, clock: ManualClock) -> None:
    credentials = from_identity("managed", client_id="one", clock=clock)
    found = await asyncio.gather(*(credentials.get() for _ in range(20)))
    assert found == [Bearer("canary-token-1")] * 20
    (asked,) = imds.asked
    assert (asked["resource"], asked["client_id"], asked["metadata"]) == ("https://storage.azure.com", "one", "true")
    assert not credentials.may_go_unsigned
    await credentials.aclose()


async def test_a_token_is_renewed_before_it_expires_and_used_while_that_fails(imds, clock: ManualClock) -> None:
    imds.lifetime_s = 1000
    credentials = from_identity("managed", clock=clock)
    assert await credentials.get() == Bearer("canary-token-1")
    imds.status = 500
    await clock.advance(850)
    assert await credentials.get() == Bearer("canary-token-1")
    assert not await credentials.renew()
    assert await credentials.get() == Bearer("canary-token-1")
    failed = len(imds.asked)
    imds.status = 200
    await clock.advance(60)
    assert await credentials.get() == Bearer("canary-token-1")
    await credentials.renew()
    assert await credentials.get() == Bearer(f"canary-token-{failed + 1}")
    await credentials.aclose()


async def test_a_metadata_service_that_fails_is_asked_once_and_not_quoted(imds: TokenService, clock, caplog) -> None:
    caplog.set_level(logging.DEBUG, "rangecache")
    imds.status = 500
    credentials = from_identity("managed", clock=clock)
    with pytest.raises(Unauthenticated, match="this machine's managed identity") as caught:
        await credentials.get()
    assert len(imds.asked) == 1
    assert "canary" not in str(caught.value) + "".join(
        each.getMessage() for each in caplog.records if each.name.startswith("rangecache")
    )
    await credentials.aclose()


async def test_no_proxy_is_told_what_metadata_services_say(imds: TokenService, azure, clock: ManualClock) -> None:
    async with forward_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        ask_through(url, azure)
        for kind in ("managed", "default"):
            credentials = from_identity(kind, proxy=url, clock=clock)
            assert isinstance(await credentials.get(), Bearer)
            await credentials.aclose()
        assert imds.asked
        assert proxy.requests == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def workload(azure: pytest.MonkeyPatch, service: TokenService, tmp_path: Path, authority: Authority, clock):
    azure.setenv("AZURE_AUTHORITY_HOST", service.url)
    (tmp_path / "federated").write_text("assertion-1")
    return from_identity(
        "workload",
        client_id="app",
        tenant_id="tenant",
        token_file=tmp_path / "federated",
        ca_file=authority.ca_file,
        clock=clock,
    )


async def test_a_workload_identity_reads_its_token_file_for_each_renewal(azure, tmp_path, authority, clock) -> None:
    with TokenService(authority.server("127.0.0.1")) as entra:
        credentials = workload(azure, entra, tmp_path, authority, clock)
        assert await credentials.get() == Bearer("canary-token-1")
        (tmp_path / "federated").write_text("assertion-2")
        assert await credentials.renew()
        assert await credentials.get() == Bearer("canary-token-2")
        assert [each["client_assertion"] for each in entra.asked] == ["assertion-1", "assertion-2"]
        assert entra.asked[0]["scope"].split()[0] == "https://storage.azure.com/.default"
        await credentials.aclose()


async def test_entra_is_reached_through_the_configured_proxy_and_not_the_environments(
    azure, tmp_path, authority, clock
) -> None:
    ask_through("http://127.0.0.1:1", azure)
    token_file = tmp_path / "federated"
    token_file.write_text("assertion")
    given = AzureCredentials(
        workload_identity=True, client_id="app", tenant_id="tenant", federated_token_file=token_file
    )
    with TokenService(authority.server("127.0.0.1")) as entra:
        azure.setenv("AZURE_AUTHORITY_HOST", entra.url)
        async with forward_proxy() as proxy:
            for url, asked in ((None, set()), (f"http://127.0.0.1:{proxy.port}", {entra.url.removeprefix("https://")})):
                egress = Egress(proxy=url, ca_file=authority.ca_file)
                credentials = azure_credentials(given, clock, egress)
                assert isinstance(await credentials.get(), Bearer)
                await credentials.aclose()
                assert {each.split()[1] for each in proxy.requests} == asked


async def test_what_entra_says_is_told_by_its_code_alone(azure, tmp_path, authority, clock) -> None:
    with TokenService(authority.server("127.0.0.1")) as entra:
        entra.status = 401
        credentials = workload(azure, entra, tmp_path, authority, clock)
        with pytest.raises(Unauthenticated, match="AADSTS700016") as caught:
            await credentials.get()
        assert "canary" not in str(caught.value)
        assert len(entra.asked) == 1
        await credentials.aclose()


async def test_a_certificate_for_another_host_is_not_taken_from_entra(azure, tmp_path, authority, clock) -> None:
    with TokenService(authority.server("wrong.example.com")) as entra:
        credentials = workload(azure, entra, tmp_path, authority, clock)
        with pytest.raises(Unauthenticated, match="azure-identity raised"):
            await credentials.get()
        assert entra.asked == []
        await credentials.aclose()
