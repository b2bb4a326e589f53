"""Where S3 credentials come from: files, the SDK's chain, a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.errors import Unauthenticated
from rangecache.origin.providers.s3_credentials import KeyFiles, S3Credentials, fetched
from rangecache.origin.providers.s3_sdk import from_sdk

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.testing.clock import ManualClock

# --- files --------------------------------------------------------------------------------------------------------


async def test_secret_files_are_read_again_after_a_rejection(tmp_path: Path, clock: ManualClock) -> None:
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_text("one\n")
    token.write_text("t-one\n")
    credentials = fetched(KeyFiles("AKIA", secret, token), clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "one", "t-one")
    secret.write_text("two\n")
    token.write_text("t-two\n")
    assert await credentials.get() == S3Credentials("AKIA", "one", "t-one")
    assert await credentials.renew()
    assert await credentials.get() == S3Credentials("AKIA", "two", "t-two")
    await credentials.aclose()


async def test_a_value_and_a_file_may_be_mixed(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "token").write_text("token")
    credentials = fetched(KeyFiles("AKIA", "value", tmp_path / "token"), clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "value", "token")
    await credentials.aclose()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"", "is empty"), (b" \n", "is empty"), (b"\xffcanary", "not text")]
)
async def test_a_secret_file_that_cannot_be_used_is_named(
    content: bytes | None, says: str, tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    credentials = fetched(KeyFiles("AKIA", path), clock=clock)
    with pytest.raises(Unauthenticated) as caught:
        await credentials.get()
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    await credentials.aclose()


# --- the SDK's chain ----------------------------------------------------------------------------------------------


async def test_the_chain_finds_nothing_where_there_is_nothing(aws_free, clock: ManualClock) -> None:
    credentials = from_sdk(clock=clock)
    assert await credentials.get() is None
    assert "none were found" in credentials.describe()
    await credentials.aclose()


async def test_the_chain_reads_the_environment(aws_free, clock: ManualClock) -> None:
    aws_free.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    aws_free.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    aws_free.setenv("AWS_SESSION_TOKEN", "token")
    credentials = from_sdk(clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "canary", "token")
    assert credentials.may_go_unsigned
    await credentials.aclose()


async def test_a_profile_is_read_and_read_again_after_a_rejection(aws_free, tmp_path: Path, clock: ManualClock) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[dev]\naws_access_key_id = AKIA\naws_secret_access_key = one\n")
    credentials = from_sdk("dev", clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "one")
    shared.write_text("[dev]\naws_access_key_id = AKIA\naws_secret_access_key = two\n")
    assert await credentials.renew()
    assert await credentials.get() == S3Credentials("AKIA", "two")
    assert not credentials.may_go_unsigned
    await credentials.aclose()


async def test_a_profile_that_is_not_there_is_named(aws_free, clock: ManualClock) -> None:
    credentials = from_sdk("nobody", clock=clock)
    with pytest.raises(Unauthenticated, match="no profile nobody"):
        await credentials.get()
    await credentials.aclose()


async def test_a_credential_process_that_fails_is_a_failure_without_its_output(
    aws_free, tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sh -c 'echo canary >&2; exit 3'\n")
    credentials = from_sdk(clock=clock)
    assert await credentials.get() is None
    assert "CredentialRetrievalError" in credentials.describe()
    assert "canary" not in credentials.describe()
    await credentials.aclose()
