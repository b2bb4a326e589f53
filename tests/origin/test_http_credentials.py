"""`kind: http`: what proves to a web server who asks, where it is sent, and when it is renewed."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.errors import InvalidAnswer, PermissionDenied, Unauthenticated
from rangecache.origin.credentials import CredentialsUnavailable
from rangecache.origin.fetched import RECHECK_S
from rangecache.origin.providers.http_credentials import BasicFile, BearerFile, HeadersFile, read_printed
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.settings import HttpBucket, HttpProvider
from rangecache.testing.faults import IgnoreRange, Redirect, Status
from rangecache.testing.origin import Origin
from rangecache.wiring.http import http_dialect

from .conftest import BODY, REF
from .reading import meta_of, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rangecache.origin.session import WebSession
    from rangecache.testing.clock import ManualClock

PART = ByteRange(0, 4)
FIRST, SECOND = "canary-first-7f", "canary-second-8a"


@pytest.fixture
def connect(session: WebSession, origin: Origin, clock: ManualClock) -> Callable[..., WebStore]:
    """A store for the origin, with these credentials for all buckets and these settings of the one."""

    def make(for_all: dict[str, Any], **bucket: Any) -> WebStore:
        provider = HttpProvider.model_validate(
            {"kind": "http", "credentials": for_all, "buckets": {"bucket": {"url": origin.url, **bucket}}}
        )
        dialect = http_dialect(provider, clock)
        return WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(16 * 1024, 10))

    return make


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{FIRST}\n")
    return path


def accept_only(origin: Origin, token: str) -> None:
    """Let the origin refuse (401) every request without this token."""
    origin.fail(
        None, Status(401), times=None, when=lambda request: request.headers.get("authorization") != f"Bearer {token}"
    )


def sent(origin: Origin, name: str = "authorization") -> list[str | None]:
    return [each.headers.get(name) for each in origin.requests]


# --- what is sent -------------------------------------------------------------------------------------------------


async def test_a_bearer_token_goes_with_every_request(connect, origin: Origin, token_file: Path) -> None:
    store = connect({"bearer_file": str(token_file)})
    meta = await meta_of(store, REF)
    await read(store, REF, PART, if_match=meta)
    assert sent(origin) == [f"Bearer {FIRST}"] * 2


async def test_a_user_and_password_are_sent_as_basic(connect, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "basic").write_text("ada:pass:wörd\n")
    await read(connect({"basic_file": str(tmp_path / "basic")}), REF, PART)
    assert sent(origin) == [f"Basic {base64.b64encode('ada:pass:wörd'.encode()).decode()}"]


async def test_header_fields_are_sent_as_they_stand(connect, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "fields").write_text("X-Api-Key: abc def\n\nCookie:  session=1; b=2\n")
    await read(connect({"headers_file": str(tmp_path / "fields")}), REF, PART)
    assert (sent(origin, "x-api-key"), sent(origin, "cookie")) == (["abc def"], ["session=1; b=2"])
    assert origin.requests[0].range == "bytes=0-3"


@pytest.mark.parametrize(
    ("printed", "name", "value"),
    [
        ({"token": FIRST}, "authorization", f"Bearer {FIRST}"),
        ({"headers": {"X-Key": "k"}, "expires": "2999-01-01T00:00:00Z"}, "x-key", "k"),
    ],
)
async def test_a_command_says_what_is_sent(connect, origin: Origin, printed: dict, name: str, value: str) -> None:
    command = [sys.executable, "-c", f"print({json.dumps(json.dumps(printed))})"]
    store = connect({"command": command})
    await read(store, REF, PART)
    await read(store, REF, PART)
    assert sent(origin, name) == [value, value]


async def test_a_bucket_may_have_its_own_or_none(connect, origin: Origin, token_file: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(SECOND)
    for_all = {"bearer_file": str(token_file)}
    await read(connect(for_all, credentials={"bearer_file": str(tmp_path / "own")}), REF, PART)
    await read(connect(for_all, anonymous=True), REF, PART)
    await read(connect({}), REF, PART)
    assert sent(origin) == [f"Bearer {SECOND}", None, None]


# --- when it is renewed -------------------------------------------------------------------------------------------


async def test_a_file_is_read_again_in_time(connect, origin: Origin, token_file: Path, clock: ManualClock) -> None:
    store = connect({"bearer_file": str(token_file)})
    await read(store, REF, PART)
    token_file.write_text(SECOND)
    await read(store, REF, PART)
    await clock.advance(RECHECK_S)
    for _ in range(100):  # it is read on a thread, and nobody waits for it
        await read(store, REF, PART)
        if sent(origin)[-1] == f"Bearer {SECOND}":
            break
        await asyncio.sleep(0.01)
    assert sent(origin)[:2] == [f"Bearer {FIRST}"] * 2
    assert sent(origin)[-1] == f"Bearer {SECOND}"


async def test_a_rejected_token_is_read_anew_once_and_the_request_is_repeated(
    connect, origin: Origin, token_file: Path
) -> None:
    store = connect({"bearer_file": str(token_file)})
    await read(store, REF, PART)
    token_file.write_text(SECOND)
    accept_only(origin, SECOND)
    assert (await read(store, REF, PART))[2] == BODY[:4]
    assert sent(origin)[1:] == [f"Bearer {FIRST}", f"Bearer {SECOND}"]


async def test_a_crowd_with_a_rejected_token_reads_the_file_once(connect, origin: Origin, token_file: Path) -> None:
    store = connect({"bearer_file": str(token_file)})
    await read(store, REF, PART)
    token_file.write_text(SECOND)
    accept_only(origin, SECOND)
    found = await asyncio.gather(*(read(store, REF, PART) for _ in range(20)))
    assert all(data == BODY[:4] for _, _, data in found)
    assert len(origin.requests) <= 1 + 2 * 20


async def test_a_token_that_stays_rejected_is_told_by_its_file_and_never_shown(
    connect, origin: Origin, token_file: Path
) -> None:
    store = connect({"bearer_file": str(token_file)})
    accept_only(origin, "another")
    with pytest.raises(Unauthenticated) as raised:
        await read(store, REF, PART)
    assert str(token_file) in raised.value.message
    assert FIRST not in raised.value.message
    assert len(origin.requests) == 1  # the file says the same: nothing is repeated


async def test_a_refusal_says_who_was_refused(connect, origin: Origin, token_file: Path) -> None:
    store = connect({"bearer_file": str(token_file)})
    origin.fail("object", Status(403))
    with pytest.raises(PermissionDenied, match=str(token_file)):
        await read(store, REF, PART)
    origin.fail("object", Status(403))
    with pytest.raises(PermissionDenied, match="without credentials"):
        await read(connect({}), REF, PART)


async def test_without_the_file_nothing_is_asked(connect, origin: Origin, tmp_path: Path) -> None:
    store = connect({"bearer_file": str(tmp_path / "absent")})
    with pytest.raises(Unauthenticated, match="absent cannot be read"):
        await read(store, REF, PART)
    assert not origin.requests


# --- redirects ----------------------------------------------------------------------------------------------------


async def test_a_signed_address_on_another_host_is_asked_with_its_own_query_and_nothing_of_ours(
    connect, origin: Origin, token_file: Path
) -> None:
    async with Origin() as other:
        other.put("object", BODY, etag='"v1"')
        host = other.url.removeprefix("http://").rstrip("/")
        store = connect({"bearer_file": str(token_file)}, redirect_hosts=host)
        for code in (302, 303, 307):
            origin.fail("object", Redirect(f"{other.url}object?X-Amz-Signature=ab%2Fc&A-userid=x", code))
            assert (await read(store, REF, PART))[2] == BODY[:4]
        assert sent(origin) == [f"Bearer {FIRST}"] * 3
        assert sent(other) == [None] * 3
        assert {each.target for each in other.requests} == {"/object?X-Amz-Signature=ab%2Fc&A-userid=x"}
        assert {each.range for each in other.requests} == {"bytes=0-3"}


async def test_what_was_left_behind_at_another_host_does_not_come_back(connect, origin: Origin, token_file) -> None:
    async with Origin() as other:
        host = other.url.removeprefix("http://").rstrip("/")
        origin.put("back", BODY)
        origin.fail("object", Redirect(f"{other.url}login"))
        other.fail("login", Redirect(f"{origin.url}back"))
        await read(connect({"bearer_file": str(token_file)}, redirect_hosts=host), REF, PART)
        assert sent(origin) == [f"Bearer {FIRST}", None]
        assert sent(other) == [None]


async def test_inside_the_base_address_they_stay(connect, origin: Origin, token_file: Path) -> None:
    origin.put("moved", BODY)
    origin.fail("object", Redirect("/moved"))
    await read(connect({"bearer_file": str(token_file)}), REF, PART)
    assert sent(origin) == [f"Bearer {FIRST}"] * 2


async def test_a_redirect_to_a_login_says_which_token_was_not_accepted(connect, origin: Origin, token_file) -> None:
    origin.fail("object", Redirect("https://login.invalid/oauth/authorize"))
    with pytest.raises(InvalidAnswer, match=f"login.*{token_file}"):
        await read(connect({"bearer_file": str(token_file)}), REF, PART)


async def test_the_page_of_a_login_is_never_taken_for_the_object(connect, origin: Origin, token_file: Path) -> None:
    async with Origin() as login:
        login.put("sign-in", b"<html>who are you?</html>" * 100, content_type="text/html; charset=utf-8")
        login.fail("sign-in", IgnoreRange())
        host = login.url.removeprefix("http://").rstrip("/")
        store = connect({"bearer_file": str(token_file)}, redirect_hosts=host)
        origin.fail("object", Redirect(f"{login.url}sign-in"))
        with pytest.raises(Unauthenticated, match="log in"):
            await read(store, REF, PART)


# --- what is no credential ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (BearerFile, f"Bearer {FIRST}"),
        (BearerFile, f"{FIRST}\nX: y"),
        (BasicFile, "no colon"),
        (BasicFile, "a:b\nX: y"),
        (HeadersFile, "no colon"),
        (HeadersFile, "Range: bytes=0-1"),
        (HeadersFile, "Host: elsewhere"),
        (HeadersFile, "if-match: x"),
        (HeadersFile, "X: a\nx: b"),
        (HeadersFile, "X:"),
        (HeadersFile, "X: a\x01b"),
        (HeadersFile, "X Y: a"),
        (HeadersFile, "\n".join(f"X{number}: a" for number in range(33))),
    ],
)
def test_a_file_of_another_form_is_refused_and_nothing_of_it_is_told(tmp_path: Path, source: Any, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(CredentialsUnavailable) as raised:
        source(tmp_path / "file").fetch(False)
    assert FIRST not in str(raised.value)
    assert str(tmp_path / "file") in str(raised.value)


@pytest.mark.parametrize(
    "printed",
    [
        f"{FIRST}",
        f'["{FIRST}"]',
        "{}",
        f'{{"token": "{FIRST}", "headers": {{}}}}',
        '{"token": 1}',
        f'{{"token": "{FIRST} x"}}',
        '{"headers": ["x"]}',
        '{"headers": {}}',
        f'{{"headers": {{"X": 1, "Y": "{FIRST}"}}}}',
        '{"headers": {"Range": "x"}}',
        f'{{"token": "{FIRST}", "expires": "soon"}}',
        f'{{"token": "{FIRST}", "expires": true}}',
        "[" * 100_000,
    ],
)
def test_what_a_command_prints_is_refused_if_it_is_not_what_was_asked_and_nothing_of_it_is_told(printed: str) -> None:
    with pytest.raises(CredentialsUnavailable) as raised:
        read_printed(printed.encode())
    assert FIRST not in str(raised.value)


def test_an_expiry_is_read_and_nothing_of_the_secret_is_in_a_repr() -> None:
    grant = read_printed(json.dumps({"token": FIRST, "expires": "2026-11-21T08:00:00Z"}).encode())
    assert grant.expires_at_s == 1795248000
    assert FIRST not in repr(grant)
    assert FIRST not in repr(grant.value)


def test_two_ways_at_once_are_a_fault_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="one way"):
        HttpBucket.model_validate({"url": "https://h/", "credentials": {"bearer_file": "a", "command": "b"}})
