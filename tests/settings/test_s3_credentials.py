"""`credentials` of an s3 provider: one way to sign, each with what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.s3_sdk import Sdk
from rangecache.settings import S3Provider
from rangecache.wiring.s3 import s3_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Configuration, Faults

ROLE = "arn:aws:iam::123456789012:role/reader"


def given(configuration: Configuration, text: str) -> S3Provider:
    provider = configuration(f"providers: {{p: {{kind: s3, credentials: {text}}}}}").providers["p"]
    assert isinstance(provider, S3Provider)
    return provider


@pytest.mark.parametrize(
    ("text", "description", "unsigned"),
    [
        ("null", "this machine's environment", True),
        ("{web_identity: false, imds: no, command: null}", "this machine's environment", True),
        ("{profile: dev}", "profile dev", False),
        ("{access_key_id: a, secret_access_key: b}", "static keys", False),
        ("{web_identity: true}", "role of AWS_ROLE_ARN", False),
        (f"{{web_identity: {{role_arn: '{ROLE}', token_file: t}}}}", f"role {ROLE}", False),
        ("{imds: true}", "role of this instance", False),
        ("{command: 'tool --x y'}", "configured command", False),
        ("{command: [tool, --x, y]}", "configured command", False),
        ("{url: 'http://169.254.170.2/creds', url_token_file: t}", "http://169.254.170.2/creds", False),
        (f"{{assume_role: {{arn: '{ROLE}'}}}}", f"{ROLE}, assumed with the credentials of this machine's", False),
        (
            f"{{profile: dev, assume_role: {{arn: '{ROLE}'}}}}",
            f"{ROLE}, assumed with the credentials of profile",
            False,
        ),
        (f"{{imds: true, assume_role: {{arn: '{ROLE}'}}}}", f"{ROLE}, assumed with the role of this instance", False),
    ],
)
def test_each_way_to_sign_is_built(configuration, text: str, description: str, unsigned: bool) -> None:
    credentials = s3_credentials(given(configuration, text).credentials, SystemClock(), Sdk())
    assert description in repr(credentials)
    assert credentials.may_go_unsigned is unsigned


def test_anonymous_never_signs(configuration: Configuration) -> None:
    credentials = s3_credentials(given(configuration, "{anonymous: true}").credentials, SystemClock(), Sdk())
    assert isinstance(credentials, Anonymous)


def test_a_token_file_is_found_from_the_folder_of_the_configuration(configuration, tmp_path: Path) -> None:
    identity = given(configuration, "{web_identity: {token_file: t}}").credentials.web_identity
    assert identity is not None
    assert identity.token_file == tmp_path / "t"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{profile: a, imds: true}", "one way to sign"),
        ("{command: x, url: 'https://x'}", "one way to sign"),
        ("{web_identity: true, anonymous: true}", "one way to sign"),
        ("{access_key_id: a, secret_access_key: b, command: x}", "one way to sign"),
        (f"{{anonymous: true, assume_role: {{arn: '{ROLE}'}}}}", "cannot be assumed without keys"),
        ("{url_token_file: x}", "url_token_file is for url"),
        ("{assume_role: {arn: reader}}", "assume_role.arn"),
        ("{assume_role: {}}", "assume_role.arn"),
        (f"{{assume_role: {{arn: '{ROLE}', session_name: 'a b'}}}}", "session_name"),
        (f"{{assume_role: {{arn: '{ROLE}', external_id: 'x'}}}}", "external_id"),
        ("{command: ''}", "command"),
        ("{url: 'ftp://x'}", "url"),
    ],
)
def test_what_contradicts_itself_is_a_fault(faults: Faults, text: str, says: str) -> None:
    found = faults(f"providers: {{p: {{kind: s3, credentials: {text}}}}}")
    assert any(says in fault for fault in found), found
