"""What proves to a web server who asks: header fields, from a file or a command. Everything here blocks."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rangecache.origin.command import run_command
from rangecache.origin.credentials import CredentialsUnavailable, Grant, read_secret
from rangecache.origin.fetched import Fetched, OnThread
from rangecache.origin.printed import THE_COMMAND, read_expires, read_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rangecache.aio.clock import Clock

FIELDS_MAX: Final = 32

_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_USER_AND_PASSWORD = re.compile(r"[^:\x00-\x1f\x7f]*:[^\x00-\x1f\x7f]*")
# RFC 9110 section 5.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?", re.ASCII)
# What a request says by itself; another value would change what is asked for, or where the request ends.
_OURS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "if-match", "if-modified-since",
        "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "proxy-authorization", "proxy-connection",
        "range", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HttpFields:
    """Header fields that go with every request to the base address. Its `repr` shows nothing of them."""

    fields: Mapping[str, str] = field(repr=False)


class Source(Protocol):
    """Somewhere to get them from. Called on a thread, by one at a time."""

    description: str
    """For a sentence, such as "the web server does not accept …"."""

    def fetch(self, renew: bool) -> Grant[HttpFields]:
        """Blocks. See `rangecache.origin.fetched.Fetched`."""
        ...


def fetched(source: Source, *, clock: Clock) -> Fetched[HttpFields]:
    """What keeps and renews the fields of a source."""
    return Fetched(OnThread(source.fetch), description=source.description, may_go_unsigned=False, clock=clock)


class BearerFile:
    """A file that holds a token (RFC 6750), such as one of Earthdata Login. Files are read again every `RECHECK_S` and
    after a rejection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.description = f"the bearer token of the file {path}"

    def fetch(self, _: bool) -> Grant[HttpFields]:
        """See `Source`."""
        return Grant(_bearer(read_secret(self._path), f"the file {self._path}"))


class BasicFile:
    """A file that holds `user:password` (RFC 7617), which is sent as UTF-8."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.description = f"the user and password of the file {path}"

    def fetch(self, _: bool) -> Grant[HttpFields]:
        """See `Source`."""
        text = read_secret(self._path)
        if _USER_AND_PASSWORD.fullmatch(text) is None:
            raise CredentialsUnavailable(f"the file {self._path} must hold user:password in one line")
        return Grant(HttpFields({"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}))


class HeadersFile:
    """A file that holds header fields, `Name: value`, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.description = f"the header fields of the file {path}"

    def fetch(self, _: bool) -> Grant[HttpFields]:
        """See `Source`."""
        lines = [line for line in read_secret(self._path).splitlines() if line.strip()]
        pairs = [line.partition(":")[::2] for line in lines]
        return Grant(_checked(((name, value.strip()) for name, value in pairs), f"the file {self._path}"))


class FieldsCommand:
    """A command that prints `{"headers": {name: value}}` or `{"token": …}`, and perhaps when that `expires`. What does
    not say so is kept until it is rejected: a command may ask somebody for something."""

    def __init__(self, command: str | Sequence[str]) -> None:
        self._command = command
        self._kept: Grant[HttpFields] | None = None
        self.description = "the header fields that the configured command prints"

    def fetch(self, renew: bool) -> Grant[HttpFields]:
        """See `Source`."""
        if renew or self._kept is None or self._kept.expires_at_s is not None:
            self._kept = read_printed(run_command(self._command))
        return self._kept


def read_printed(document: bytes) -> Grant[HttpFields]:
    """Read what such a command prints. Raises `CredentialsUnavailable`, which quotes nothing of it."""
    whose = THE_COMMAND
    found = read_object(document)
    if ("headers" in found) == ("token" in found):
        raise CredentialsUnavailable(f'{whose} must print a JSON object with either "headers" or "token"')
    expires_at_s = read_expires(found)
    if "token" in found:
        token = found["token"]
        return Grant(_bearer(token if isinstance(token, str) else "", whose), expires_at_s)
    headers = found["headers"]
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise CredentialsUnavailable(f"{whose} gave headers that are no object of texts")
    return Grant(_checked(headers.items(), whose), expires_at_s)


def _bearer(token: str, whose: str) -> HttpFields:
    if _TOKEN.fullmatch(token) is None:
        raise CredentialsUnavailable(f"{whose} holds no token: one word of printable ASCII, without Bearer before it")
    return HttpFields({"Authorization": f"Bearer {token}"})


def _checked(pairs: Iterable[tuple[str, str]], whose: str) -> HttpFields:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise CredentialsUnavailable(f"{whose} holds something that is no header field; expected Name: value")
        if name.lower() in _OURS:
            raise CredentialsUnavailable(f"{whose} sets {name}, which rangecache sets itself")
        if name.lower() in (each.lower() for each in fields):
            raise CredentialsUnavailable(f"{whose} sets {name} twice")
        fields[name] = value
    if not fields or len(fields) > FIELDS_MAX:
        raise CredentialsUnavailable(f"{whose} must hold 1 to {FIELDS_MAX} header fields")
    return HttpFields(fields)
