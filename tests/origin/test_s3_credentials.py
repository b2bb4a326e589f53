"""Credentials: fetched once however many ask, off the event loop, an outage remembered, nothing shown."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import Unauthenticated
from rangecache.origin.providers.s3_credentials import (
    FAILURE_MEMORY_S,
    FETCH_TIMEOUT_S,
    NOTHING_FOUND_S,
    RECHECK_S,
    Anonymous,
    CredentialsUnavailable,
    FetchedCredentials,
    S3Credentials,
    StaticCredentials,
    from_files,
    from_sdk,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rangecache.testing.clock import ManualClock

FIRST = S3Credentials("AKIA1", "canary-1")
SECOND = S3Credentials("AKIA2", "canary-2", "canary-token")


class Source:
    """A blocking source that a test holds, fails and counts."""

    def __init__(self, *answers: S3Credentials | Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[bool] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def fetch(self, renew: bool) -> S3Credentials | None:
        self.calls.append(renew)
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.go.wait(10)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def made(clock: ManualClock) -> AsyncIterator:
    sources: list[FetchedCredentials] = []

    def make(source: Source, *, may_go_unsigned: bool = True) -> FetchedCredentials:
        sources.append(
            FetchedCredentials(
                source.fetch, description="the test's keys", may_go_unsigned=may_go_unsigned, clock=clock
            )
        )
        return sources[-1]

    yield make
    for each in sources:
        await each.aclose()


async def entered(source: Source) -> None:
    assert await asyncio.to_thread(source.entered.wait, 10)


async def test_many_who_ask_at_once_cost_one_fetch_on_another_thread(made) -> None:
    source = Source(FIRST)
    credentials = made(source)
    found = await asyncio.gather(*(credentials.get() for _ in range(50)))
    assert set(found) == {FIRST}
    assert source.calls == [False]
    assert source.threads == {"s3-credentials"}


async def test_the_loop_runs_on_while_a_fetch_blocks(made) -> None:
    source = Source(FIRST)
    source.go.clear()
    asking = asyncio.create_task(made(source).get())
    await entered(source)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    source.go.set()
    assert await asking == FIRST


async def test_one_who_gives_up_takes_nothing_from_the_others(made) -> None:
    source = Source(FIRST)
    source.go.clear()
    credentials = made(source)
    first = asyncio.create_task(credentials.get())
    await entered(source)
    second = asyncio.create_task(credentials.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.go.set()
    assert await second == FIRST
    assert source.calls == [False]


async def test_what_was_found_is_asked_for_again_in_the_background(made, clock: ManualClock) -> None:
    source = Source(FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S - 1)
    assert await credentials.get() == FIRST
    assert len(source.calls) == 1
    clock.shift(1)
    source.go.clear()
    assert await credentials.get() == FIRST, "a request waited though there were credentials"
    source.go.set()
    while await credentials.get() != SECOND:
        await asyncio.sleep(0)
    assert source.calls == [False, False]


async def test_a_failing_source_is_asked_every_ten_seconds_and_not_for_every_request(made, clock: ManualClock) -> None:
    source = Source(OSError("canary"), FIRST)
    credentials = made(source)
    for _ in range(20):
        assert await credentials.get() is None
        clock.shift(FAILURE_MEMORY_S / 20 - 0.01)
    assert len(source.calls) == 1
    clock.shift(1)
    assert await credentials.get() == FIRST


async def test_a_source_that_fails_later_leaves_the_credentials_that_were_found(made, clock: ManualClock) -> None:
    source = Source(FIRST, OSError("canary"))
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S)
    await credentials.get()
    while len(source.calls) < 2 or credentials._flight is not None:
        await asyncio.sleep(0)
    assert await credentials.get() == FIRST


async def test_nothing_found_is_remembered_for_a_minute(made, clock: ManualClock) -> None:
    source = Source(None, FIRST)
    credentials = made(source)
    assert await credentials.get() is None
    clock.shift(NOTHING_FOUND_S - 1)
    assert await credentials.get() is None
    assert len(source.calls) == 1
    clock.shift(1)
    assert await credentials.get() == FIRST


@pytest.mark.parametrize("answer", [None, OSError("canary"), CredentialsUnavailable("the file x is empty")])
async def test_credentials_asked_for_by_name_must_be_there(answer, made) -> None:
    credentials = made(Source(answer), may_go_unsigned=False)
    with pytest.raises(Unauthenticated, match="the test's keys cannot be used") as caught:
        await credentials.get()
    assert "canary" not in str(caught.value)


async def test_a_source_that_hangs_is_given_up_and_not_started_twice(made, clock: ManualClock) -> None:
    source = Source(FIRST)
    source.go.clear()
    credentials = made(source)
    asking = asyncio.create_task(credentials.get())
    await entered(source)
    await clock.advance(FETCH_TIMEOUT_S)
    assert await asking is None
    assert "nothing came within 30 s" in credentials.describe()
    clock.shift(FAILURE_MEMORY_S)
    again = asyncio.create_task(credentials.get())
    await clock.wait_for_sleepers()
    source.go.set()
    assert await again == FIRST
    assert source.calls == [False]


async def test_a_rejection_fetches_anew_once_for_all_who_were_rejected(made) -> None:
    source = Source(FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    assert await asyncio.gather(*(credentials.renew() for _ in range(20))) == [True] * 20
    assert await credentials.get() == SECOND
    assert source.calls == [False, True]


async def test_a_renewal_that_brings_the_same_is_none_and_is_not_repeated_at_once(made, clock: ManualClock) -> None:
    source = Source(FIRST, FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    assert [await credentials.renew() for _ in range(5)] == [False] * 5
    assert source.calls == [False, True]
    clock.shift(FAILURE_MEMORY_S)
    assert await credentials.renew()
    assert source.calls == [False, True, True]


async def test_a_renewal_does_not_trust_a_fetch_that_began_before_the_rejection(made, clock: ManualClock) -> None:
    source = Source(FIRST, FIRST, SECOND)
    credentials = made(source)
    await credentials.get()
    clock.shift(RECHECK_S)
    source.go.clear()
    source.entered.clear()
    await credentials.get()
    await entered(source)
    renewals = [asyncio.create_task(credentials.renew()) for _ in range(2)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*renewals) == [True, True]
    assert source.calls == [False, False, True]


async def test_a_failure_names_its_kind_and_nothing_of_its_text(made, caplog: pytest.LogCaptureFixture) -> None:
    credentials = made(Source(RuntimeError("stderr of the process: canary")))
    with caplog.at_level(logging.DEBUG):
        assert await credentials.get() is None
    assert "RuntimeError" in credentials.describe()
    assert "RuntimeError" in caplog.text
    assert "canary" not in credentials.describe() + caplog.text + repr(credentials)


async def test_nothing_shows_the_secrets(made, caplog: pytest.LogCaptureFixture) -> None:
    credentials = made(Source(SECOND))
    with caplog.at_level(logging.DEBUG):
        await credentials.get()
    shown = repr(credentials) + credentials.describe() + repr(StaticCredentials(SECOND)) + caplog.text
    assert "canary" not in shown
    assert "AKIA" not in shown


async def test_the_simple_sources_have_nothing_to_renew() -> None:
    assert await Anonymous().get() is None
    assert await StaticCredentials(FIRST).get() == FIRST
    assert not await Anonymous().renew()
    assert not await StaticCredentials(FIRST).renew()


# --- files --------------------------------------------------------------------------------------------------------


async def test_secret_files_are_read_again_after_a_rejection(tmp_path: Path, clock: ManualClock) -> None:
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_text("one\n")
    token.write_text("t-one\n")
    credentials = from_files("AKIA", secret, token, clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "one", "t-one")
    secret.write_text("two\n")
    token.write_text("t-two\n")
    assert await credentials.get() == S3Credentials("AKIA", "one", "t-one")
    assert await credentials.renew()
    assert await credentials.get() == S3Credentials("AKIA", "two", "t-two")
    await credentials.aclose()


async def test_a_value_and_a_file_may_be_mixed(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "token").write_text("token")
    credentials = from_files("AKIA", "value", tmp_path / "token", clock=clock)
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
    credentials = from_files("AKIA", path, clock=clock)
    with pytest.raises(Unauthenticated) as caught:
        await credentials.get()
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    await credentials.aclose()


# --- the SDK's chain ----------------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without AWS credentials and without ways to find some."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


async def test_the_chain_finds_nothing_where_there_is_nothing(aws, clock: ManualClock) -> None:
    credentials = from_sdk(clock=clock)
    assert await credentials.get() is None
    assert "none were found" in credentials.describe()
    await credentials.aclose()


async def test_the_chain_reads_the_environment(aws, clock: ManualClock) -> None:
    aws.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    aws.setenv("AWS_SESSION_TOKEN", "token")
    credentials = from_sdk(clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "canary", "token")
    assert credentials.may_go_unsigned
    await credentials.aclose()


async def test_a_profile_is_read_and_read_again_after_a_rejection(aws, tmp_path: Path, clock: ManualClock) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[dev]\naws_access_key_id = AKIA\naws_secret_access_key = one\n")
    credentials = from_sdk("dev", clock=clock)
    assert await credentials.get() == S3Credentials("AKIA", "one")
    shared.write_text("[dev]\naws_access_key_id = AKIA\naws_secret_access_key = two\n")
    assert await credentials.renew()
    assert await credentials.get() == S3Credentials("AKIA", "two")
    assert not credentials.may_go_unsigned
    await credentials.aclose()


async def test_a_profile_that_is_not_there_is_named(aws, clock: ManualClock) -> None:
    credentials = from_sdk("nobody", clock=clock)
    with pytest.raises(Unauthenticated, match="no profile nobody"):
        await credentials.get()
    await credentials.aclose()


async def test_a_credential_process_that_fails_is_a_failure_without_its_output(
    aws, tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sh -c 'echo canary >&2; exit 3'\n")
    credentials = from_sdk(clock=clock)
    assert await credentials.get() is None
    assert "CredentialRetrievalError" in credentials.describe()
    assert "canary" not in credentials.describe()
    await credentials.aclose()
