"""What is written to the log, and what never is."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from rangecache.logs import LOG_FIELDS, MESSAGE_CHARS_MAX, RangecacheHandler, configure, redact
from rangecache.settings import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("rangecache.somewhere")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's own: put back what a test changes."""
    names = ("", "rangecache", "aiohttp.access", "aiohttp.server")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, RangecacheHandler)]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_holds_time_level_logger_message_and_listed_fields() -> None:
    stream = io.StringIO()
    configure(Telemetry(log_format="json"), stream)
    logger.warning("disk %s is full", "/x", extra={"status": 206, "cache": "hit", "headers": "secret", "bucket": None})
    (line,) = _lines(stream)
    assert datetime.fromisoformat(str(line.pop("ts"))).utcoffset() is not None
    assert line == {
        "level": "warning",
        "logger": "rangecache.somewhere",
        "message": "disk /x is full",
        "status": 206,
        "cache": "hit",
    }


def test_text_is_for_terminals_and_json_for_all_else() -> None:
    for stream, log_format, is_json in (
        (io.StringIO(), "auto", True),
        (Terminal(), "auto", False),
        (Terminal(), "json", True),
        (io.StringIO(), "text", False),
    ):
        configure(Telemetry.model_validate({"log_format": log_format}), stream)
        logger.info("hello", extra={"status": 200})
        assert stream.getvalue().startswith("{") is is_json
        if not is_json:
            assert re.fullmatch(r"\d\d:\d\d:\d\d info    hello status=200\n", stream.getvalue())


def test_configuring_again_replaces_what_was_there() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(Telemetry(), first)
    configure(Telemetry(), second)
    logger.info("once")
    assert first.getvalue() == ""
    assert len(_lines(second)) == 1


def test_the_level_is_ours_alone_and_libraries_are_heard_from_warning_up() -> None:
    stream = io.StringIO()
    configure(Telemetry(log_level="debug"), stream)
    logger.debug("ours")
    for name in ("botocore.auth", "aiobotocore", "aiohttp.client", "asyncio", "urllib3"):
        logging.getLogger(name).debug("StringToSign")
        logging.getLogger(name).info("GET /")
    logging.getLogger("aiohttp.access").warning("127.0.0.1 GET /")
    logging.getLogger("aiohttp.server").error("Error handling request")
    logging.getLogger("botocore.credentials").warning("expired")
    assert [line["message"] for line in _lines(stream)] == ["ours", "expired"]


def test_what_a_credential_process_printed_is_not_in_the_sdks_warnings() -> None:
    stream = io.StringIO()
    for _ in range(2):
        configure(Telemetry(), stream)
    try:
        raise ValueError("the process said CANARY")
    except ValueError:
        logging.getLogger("botocore.credentials").warning("Refreshing failed", exc_info=True)
    assert [line["message"] for line in _lines(stream)] == ["Refreshing failed"]
    assert "CANARY" not in stream.getvalue()
    assert len(logging.getLogger("botocore.credentials").filters) == 1


CANARIES = [
    "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=CANARY&X-Amz-Credential=CANARY failed",
    "GET /s3/b/k?sig=CANARY",
    "https://account.blob.core.windows.net/c/b?sv=2024&sig=CANARY%3D&se=CANARY",
    "http://user:CANARY@proxy.example.org:3128/",
    "Authorization: AWS4-HMAC-SHA256 Credential=CANARY/20251101/us-east-1/s3/aws4_request, Signature=CANARY",
    "authorization=CANARY CANARY",
    "{'Authorization': 'Bearer CANARY', 'Host': 'x'}",
    "Proxy-Authorization: Basic CANARY",
    "Cookie: a=CANARY; b=CANARY",
    "Set-Cookie: id=CANARY; Path=/",
    "X-Amz-Security-Token: CANARY",
    "x-amz-server-side-encryption-customer-key: CANARY",
    "x-goog-encryption-key: CANARY",
    "('X-Amz-Security-Token', 'CANARY')",
    "sent bearer CANARYCANARYCANARY1",
    "sig=CANARY",
    "token: CANARY",
    "session_token='CANARY'",
    '"secret_access_key": "CANARY"',
    "aws_secret_access_key = CANARY",
    "AWS_SECRET_ACCESS_KEY=CANARY",
    "password=CANARY",
    "AccountKey=CANARY==;EndpointSuffix=x",
    "SharedAccessSignature=CANARY",
    "api-key: CANARY",
]


@pytest.mark.parametrize("text", CANARIES)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_is_written_wherever_it_stands(text: str, log_format: str) -> None:
    stream = io.StringIO()
    configure(Telemetry.model_validate({"log_format": log_format}), stream)
    logger.error(text)
    logger.error("failed: %s", text)
    logger.error("failed", extra={"reason": text})
    try:
        raise OSError(text) from ValueError(text)
    except OSError as error:
        logger.exception("failed: %r", error)
    logger.error("failed", exc_info=RuntimeError(text), stack_info=True)
    written = stream.getvalue()
    assert "CANARY" not in written
    assert written.count("redacted") >= 5
    assert "Traceback" in written


def test_key_ids_and_web_tokens_are_known_by_their_looks() -> None:
    assert "AKIAIOSFODNN7EXAMPLE" not in redact("used AKIAIOSFODNN7EXAMPLE for it")
    assert "eyJhbGciOi" not in redact("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln")


@pytest.mark.parametrize(
    "text",
    [
        "Is this all? Yes.",
        "the disk tier is broken, reads go on without it: No space left on device",
        "listening on http://127.0.0.1:8080 and http://127.0.0.1:8081",
        "a basic question of authentication",
        "design: half-open ranges; retry tokens: 5",
        "s3/bucket/path/to/object.tif answered 503",
        "mail somebody@example.org",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "part",
    ["?", "?a", "://", "://a", "eyJ-", "eyJaaaaaaaaaaa", "bearer ", "x-amz-", "token", "sig=", "Cookie:", "AKIA", "a@"],
)
def test_a_hostile_text_costs_no_more_than_its_length(part: str) -> None:
    text = part * (MESSAGE_CHARS_MAX // len(part))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 0.2


def test_a_line_break_in_a_name_forges_no_line() -> None:
    stream = io.StringIO()
    configure(Telemetry(log_format="text"), stream)
    logger.info("key %s", "a\nb\r\x1b[31m\u2028\u0085", extra={"reason": "x\ny"})
    assert stream.getvalue().count("\n") == 1
    assert len(stream.getvalue().splitlines()) == 1
    assert r"a\nb\r\x1b[31m" in stream.getvalue()


def test_a_line_that_cannot_be_written_fails_nobody() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("cannot be shown")

    handler = _handler(Full())
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert handler.lost == 1
    closed = io.StringIO()
    handler = _handler(closed)
    closed.close()
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert handler.lost == 1
    stream = io.StringIO()
    handler = _handler(stream)
    handler.handle(logging.makeLogRecord({"msg": "%d %d", "args": ("a",)}))
    handler.handle(logging.makeLogRecord({"msg": "%s", "args": (Odd(),)}))
    assert [line["message"] for line in _lines(stream)] == ["%d %d"]
    assert handler.lost == 1


def _handler(stream: TextIO, **telemetry: Any) -> RangecacheHandler:
    configure(Telemetry(**telemetry), stream)
    return next(one for one in logging.getLogger().handlers if isinstance(one, RangecacheHandler))


def test_a_stream_of_another_encoding_gets_escapes() -> None:
    raw = io.BytesIO()
    handler = _handler(io.TextIOWrapper(raw, encoding="ascii", write_through=True), log_format="text")
    # Straight to the handler: what pytest captures of a logger's records must be UTF-8 where tests run in parallel.
    handler.handle(logging.makeLogRecord({"levelname": "INFO", "levelno": logging.INFO, "msg": "café \udce9"}))
    assert b"caf\\xe9 \\udce9" in raw.getvalue()


def test_long_messages_are_cut() -> None:
    stream = io.StringIO()
    configure(Telemetry(), stream)
    logger.info("x" * 10 * MESSAGE_CHARS_MAX, extra={"reason": "y" * 10 * MESSAGE_CHARS_MAX})
    assert len(stream.getvalue()) < 2 * MESSAGE_CHARS_MAX + 1000


def test_no_listed_field_is_a_name_of_logging_itself() -> None:
    assert not set(LOG_FIELDS) & set(vars(logging.makeLogRecord({})))
