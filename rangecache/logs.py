"""How messages are written: JSON lines for machines, one line of text for people.

Nobody is to log a query, a header or a secret. `redact` is the last line of defence where somebody does: everything
that is written passes through it, messages, fields and tracebacks alike. Only fields that are listed here are written.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.settings import Telemetry

LOG_FIELDS: Final = (
    "request_id",
    "method",
    "provider",
    "bucket",
    "key_hash",
    "status",
    "sent_bytes",
    "duration_s",
    "cache",
    "purpose",
    "attempt",
    "outcome",
    "tier",
    "reason",
    "address",
)
"""The `extra` fields that are written, in this order. Others are dropped: an allow-list cannot leak what is new."""

REDACTED: Final = "[redacted]"
MESSAGE_CHARS_MAX: Final = 16_384  # a longer one is cut: a client can make a name long, not a log line

# Each expression has one repetition at a place, so that a hostile text costs no more than its length.
_SECRETS: Final = (
    # The query of a URL or path: signatures, tokens, SAS.
    (re.compile(r"(?<=\S)\?[^\s\"'<>]+"), f"?{REDACTED}"),
    # User and password of a URL.
    (re.compile(r"://[^\s/@\"'<>]{1,512}@"), f"://{REDACTED}@"),
    # Headers whose values have blanks and commas: to the end of the line.
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)\b([\"']?\s{0,4}[:=,])[^\r\n]+"),
        rf"\1\2 {REDACTED}",
    ),
    (re.compile(r"(?i)\b(x-(?:amz|goog|ms)-[a-z0-9-]{1,64})([\"']?\s{0,4}[:=,])[^\r\n&]+"), rf"\1\2 {REDACTED}"),
    (
        re.compile(r"(?i)\b(bearer|basic|negotiate)\s{1,4}(?=[^\s]{0,64}(?-i:[A-Z0-9=+/]))[\w.~+/=-]{8,}"),
        rf"\1 {REDACTED}",
    ),
    (
        re.compile(
            r"(?i)((?:sig|signature|token|secret|password|passwd|credential|api[_-]?key|account[_-]?key"
            r"|access[ _-]?key(?:[ _-]?id)?)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s&\"',;)}\]]+"
        ),
        rf"\1{REDACTED}",
    ),
    # Access key ids of AWS, and JSON web tokens, wherever they stand.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (re.compile(r"(?<![\w-])eyJ[\w-]{10,}(?:\.[\w-]*){1,4}"), REDACTED),
)
# A line break or an escape sequence in a name must not forge a line of text.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def redact(text: str) -> str:
    """`text` without what looks like a query or a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _Formatter(logging.Formatter):
    """What the two formats share: the message, its fields and its traceback, redacted and of bounded length."""

    def _message(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the arguments do not fit the text
            message = str(record.msg)
        return redact(_bounded(message))

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        for name in LOG_FIELDS:
            value = record.__dict__.get(name)
            if value is not None:
                yield name, value if isinstance(value, bool | int | float) else redact(_bounded(str(value)))

    def _traceback(self, record: logging.LogRecord) -> str:
        # `record.exc_text` is a cache that other handlers fill, unredacted: it is neither read nor written.
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return redact("\n".join(parts))


class JsonFormatter(_Formatter):
    """An object a line: ts, level, logger, message, the fields, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
            **dict(self._fields(record)),
        }
        if traceback := self._traceback(record):
            line["exception"] = traceback
        return json.dumps(line, separators=(",", ":"))


class TextFormatter(_Formatter):
    """A line for people: local time, level, message and fields; tracebacks below it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in self._fields(record))
        line = _CONTROL.sub(_escaped, f"{self._message(record)}{fields}")
        below = "".join(
            f"\n  {_CONTROL.sub(_escaped, part)}" for part in self._traceback(record).split("\n") if part.strip()
        )
        return f"{time} {record.levelname.lower():<7} {line}{below}"


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _bounded(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[:MESSAGE_CHARS_MAX]}…"


class RangecacheHandler(logging.StreamHandler[TextIO]):
    """Our one handler. A class of its own, so that `configure` finds the one that it made before."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost = 0
        """Lines that could not be written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, with what the stream's encoding lacks written as escapes.

        A line that cannot be written is lost: a full disk or a closed pipe behind the log must not stop the work. The
        standard library would print it, as it is, to another stream.
        """
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            line = self.format(record).encode(encoding, "backslashreplace").decode(encoding)
            self.stream.write(f"{line}\n")
            self.flush()
        except Exception:  # noqa: BLE001 - whatever fails in here would otherwise fail the request that is logged
            self.lost += 1


def configure(telemetry: Telemetry, stream: TextIO) -> None:
    """Write our own messages from `telemetry.log_level` up to `stream`, and those of libraries from `warning` up.

    Libraries are never written at `debug`: botocore and aiohttp put headers and signatures into such messages. Calling
    it again replaces what an earlier call set.
    """
    as_text = telemetry.log_format == "text" or (telemetry.log_format == "auto" and stream.isatty())
    handler = RangecacheHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, RangecacheHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("rangecache").setLevel(telemetry.log_level.upper())
    # One line for each request of the admin port and a traceback for each scanner that says nonsense: not ours.
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    sdk = logging.getLogger("botocore.credentials")
    if _without_traceback not in sdk.filters:
        sdk.addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Tracebacks of that logger quote what credential processes and token services printed."""
    record.exc_info = record.exc_text = None
    return True
