"""Keys from a command and from an address: what they may look like, and that nothing of them is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rangecache.origin.credentials import CredentialsUnavailable
from rangecache.origin.providers.s3_credentials import KeysCommand, KeysUrl, S3Credentials, read_keys
from rangecache.origin.providers.s3_metadata import DOCUMENT_BYTES_MAX, fetch_document, may_be_asked_in_clear

from .aws_endpoints import AwsEndpoints
from .certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

FULL = {
    "Version": 1,
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "canary-secret",
    "SessionToken": "canary-token",
    "Expiration": "2026-01-01T00:00:00Z",
}
AT_S = 1_767_225_600.0


@pytest.mark.parametrize(
    ("change", "token", "expires_at_s"),
    [
        ({}, "canary-token", AT_S),
        ({"Expiration": "2026-01-01T01:00:00+01:00"}, "canary-token", AT_S),
        ({"Expiration": "2026-01-01T00:00:00"}, "canary-token", AT_S),
        ({"Expiration": None}, "canary-token", None),
        ({"SessionToken": None, "Expiration": ""}, None, None),
        ({"SessionToken": "", "Token": "t", "Version": 1}, "t", AT_S),
    ],
)
def test_a_document_of_keys_is_read(change: dict[str, object], token: str | None, expires_at_s: float | None) -> None:
    grant = read_keys(json.dumps(FULL | change).encode(), "the command")
    assert grant.value == S3Credentials("ASIA", "canary-secret", token)
    assert grant.expires_at_s == expires_at_s
    assert "canary" not in repr(grant)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"canary", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'["canary"]', "no JSON object"),
        (b"{}", "no usable AccessKeyId"),
        (json.dumps(FULL | {"Version": 2}), "Version must be 1"),
        (json.dumps(FULL | {"AccessKeyId": 7}), "no usable AccessKeyId"),
        (json.dumps(FULL | {"SecretAccessKey": ""}), "no usable SecretAccessKey"),
        (json.dumps(FULL | {"SecretAccessKey": "canary\r\nX: y"}), "no usable SecretAccessKey"),
        (json.dumps(FULL | {"SessionToken": ["canary"]}), "no usable SessionToken"),
        (json.dumps(FULL | {"Expiration": "canary"}), "no ISO 8601 time"),
        (json.dumps(FULL | {"Expiration": 7}), "no ISO 8601 time"),
    ],
)
def test_a_document_that_is_none_says_why_and_quotes_nothing(document: bytes | str, says: str) -> None:
    with pytest.raises(CredentialsUnavailable, match=says) as caught:
        read_keys(document if isinstance(document, bytes) else document.encode(), "the command")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- commands -----------------------------------------------------------------------------------------------------


def counting(folder: Path, document: dict[str, object]) -> list[str]:
    """A command that prints a document and notes that it ran."""
    (folder / "keys.json").write_text(json.dumps(document))
    return ["sh", "-c", f"echo run >> {folder / 'runs'}; cat {folder / 'keys.json'}"]


def test_a_command_is_run_for_each_renewal_where_its_keys_expire(tmp_path: Path) -> None:
    source = KeysCommand(counting(tmp_path, FULL))
    assert [source.fetch(False).expires_at_s for _ in range(3)] == [AT_S] * 3
    assert (tmp_path / "runs").read_text() == "run\n" * 3


def test_keys_of_a_command_that_do_not_expire_are_kept_until_they_are_rejected(tmp_path: Path) -> None:
    source = KeysCommand(counting(tmp_path, FULL | {"Expiration": None}))
    assert {source.fetch(False).value.access_key_id for _ in range(3)} == {"ASIA"}
    assert (tmp_path / "runs").read_text() == "run\n"
    (tmp_path / "keys.json").write_text(json.dumps(FULL | {"Expiration": None, "AccessKeyId": "NEWER"}))
    assert source.fetch(True).value.access_key_id == "NEWER"


# --- addresses ----------------------------------------------------------------------------------------------------


def test_an_address_is_asked_with_the_token_that_its_file_holds_now(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with AwsEndpoints() as endpoints:
        source = KeysUrl(f"{endpoints.url}/creds", token)
        for text in ("canary-1", "canary-2\n"):
            token.write_text(text)
            assert source.fetch(False).value.secret_access_key.startswith("canary-secret-")
        assert [(each.path, each.headers["authorization"]) for each in endpoints.asked] == [
            ("/creds", "canary-1"),
            ("/creds", "canary-2"),
        ]


def test_an_address_is_asked_once_and_without_a_token_where_there_is_none() -> None:
    with AwsEndpoints() as endpoints:
        endpoints.refuse["GET /creds"] = (500, "canary")
        with pytest.raises(CredentialsUnavailable, match=r"/creds answered 500$"):
            KeysUrl(f"{endpoints.url}/creds").fetch(False)
        assert ["authorization" in each.headers for each in endpoints.asked] == [False]


def test_an_address_that_redirects_is_not_followed() -> None:
    with AwsEndpoints() as endpoints:
        endpoints.refuse["GET /creds"] = (302, "canary")
        with pytest.raises(CredentialsUnavailable, match=r"/creds answered 302$"):
            KeysUrl(f"{endpoints.url}/creds").fetch(False)


def test_an_address_that_sends_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsEndpoints() as endpoints:
        monkeypatch.setattr(endpoints, "_content", lambda *_: "x" * (DOCUMENT_BYTES_MAX + 1))
        with pytest.raises(CredentialsUnavailable, match="too long"):
            fetch_document(f"{endpoints.url}/creds", None)


@pytest.mark.parametrize("url", ["http://10.0.0.1/creds", "http://example.org/creds", "http://127.0.0.1.example.org/"])
def test_keys_do_not_go_over_a_network_in_clear(url: str) -> None:
    with pytest.raises(CredentialsUnavailable, match="use https"):
        fetch_document(url, "canary")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "fe80::1"]
)
def test_this_machine_and_its_link_may_be_asked_in_clear(host: str) -> None:
    assert may_be_asked_in_clear(host)


def test_nobody_there_is_said() -> None:
    with pytest.raises(CredentialsUnavailable, match=r"http://127.0.0.1:1/creds does not answer"):
        fetch_document("http://127.0.0.1:1/creds", None)


def test_a_token_of_several_lines_is_refused_before_it_is_sent() -> None:
    with AwsEndpoints() as endpoints:
        with pytest.raises(CredentialsUnavailable, match="one line"):
            fetch_document(f"{endpoints.url}/creds", "canary\r\nX: y")
        assert endpoints.asked == []


@pytest.mark.parametrize(("certified", "works"), [("127.0.0.1", True), ("example.org", False)])
def test_the_certificate_of_an_address_has_to_be_its_own(certified: str, works: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with AwsEndpoints(context=authority.server(certified)) as endpoints:
        if works:
            assert fetch_document(endpoints.url, "canary", ca_file=authority.ca_file)
        else:
            with pytest.raises(CredentialsUnavailable, match="certificate"):
                fetch_document(endpoints.url, "canary", ca_file=authority.ca_file)
            assert endpoints.asked == []
