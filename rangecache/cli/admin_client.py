"""Talks to the admin port of a running instance, from a command: synchronous, standard library only, no proxies."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

import click

from rangecache.errors import RangecacheError
from rangecache.settings.units import TcpAddress, UnixAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rangecache.settings.units import Address

ADMIN_VARIABLE: Final = "RANGECACHE_SERVER__ADMIN_LISTEN"
"""The setting's own variable: whoever starts `serve` and a command in one environment need not say it twice."""
ADMIN_DEFAULT: Final = "http://127.0.0.1:8081"
TIMEOUT_S: Final = 60.0
"""How long the instance may be silent."""
_ANSWER_BYTES_MAX: Final = 64 << 20
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not to listen there: to find who does


class AdminError(RangecacheError):
    """The instance cannot be reached, or refuses. The message is for the terminal."""

    def __init__(self, message: str, status: int | None = None, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        """What it answered; None if nobody did."""
        self.document: Mapping[str, Any] = document or {}
        """The problem document."""


def admin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--admin URL` of a command, which gets an `AdminClient` as `admin`."""
    return click.option(
        "--admin",
        metavar="URL",
        envvar=ADMIN_VARIABLE,
        default=ADMIN_DEFAULT,
        show_default=True,
        callback=lambda _context, _option, text: _client(text),
        help=f"The admin port of the instance, or unix:/path.sock; also {ADMIN_VARIABLE}.",
    )(command)


def _client(text: str) -> AdminClient:
    try:
        return AdminClient(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer below 400."""

    status: int
    document: Any
    """Its JSON; None where the answer has no body."""


class AdminClient:
    """One instance. Each call is one request on a connection of its own, and raises `AdminError`."""

    def __init__(self, where: str) -> None:
        """`where` is `http://127.0.0.1:8081`, `127.0.0.1:8081` or `unix:/path.sock`. Raises ValueError."""
        self.address = _parse(where)

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Answer:
        """GET. `path` is below `/v1/`, its parts quoted with `quoted` where they come from a person."""
        return self._ask("GET", path, query)

    def post(self, path: str, document: Mapping[str, object], *, timeout_s: float = TIMEOUT_S) -> Answer:
        """POST a JSON document."""
        return self._ask("POST", path, body=json.dumps(document).encode(), timeout_s=timeout_s)

    def post_lines(self, path: str, lines: bytes, *, timeout_s: float = TIMEOUT_S) -> Answer:
        """POST a body of lines, where one is taken."""
        return self._ask("POST", path, body=lines, timeout_s=timeout_s, content_type="application/x-ndjson")

    def delete(self, path: str) -> Answer:
        """DELETE."""
        return self._ask("DELETE", path, body=b"")

    def lines(self, path: str) -> Iterator[str]:
        """The lines of an answer that goes on for as long as it likes, such as server-sent events, without their
        ends."""
        with self._answer("GET", path, None, None, TIMEOUT_S, "") as answer:
            _read_problem(answer)
            for line in answer:
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
        content_type: str = "application/json",
    ) -> Answer:
        with self._answer(method, path, query, body, timeout_s, content_type) as answer:
            _read_problem(answer)
            text = answer.read(_ANSWER_BYTES_MAX)
            if answer.length:
                raise http.client.IncompleteRead(text, answer.length)
            try:
                return Answer(answer.status, json.loads(text) if text else None)
            except ValueError:
                raise AdminError(f"what answers at {self.address} is not rangecache's admin port") from None

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        body: bytes | None,
        timeout_s: float,
        content_type: str,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _connect(self.address, timeout_s)
        target = f"/v1/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, target, body, headers)
            yield connection.getresponse()
        except (ConnectionRefusedError, FileNotFoundError, socket.gaierror):
            raise AdminError(
                f"no rangecache at {self.address}; is it running? Start it with `rangecache serve`, or say where it is"
                " with --admin"
            ) from None
        except TimeoutError:
            raise AdminError(f"the rangecache at {self.address} has not answered for {timeout_s:g} s") from None
        except OSError as error:
            raise AdminError(f"the connection to {self.address} failed: {error.strerror or error}") from error
        except http.client.HTTPException as error:
            raise AdminError(f"the answer of {self.address} cannot be read: it ended early or is no HTTP") from error
        finally:
            connection.close()


def quoted(name: str) -> str:
    """`provider/bucket/key` as a path: everything but `/` percent-encoded where a path needs it."""
    return quote(name, safe="/")


def _read_problem(answer: http.client.HTTPResponse) -> None:
    """Raise what an answer of 400 and above says."""
    if answer.status < 400:
        return
    try:
        document = json.loads(answer.read(_ANSWER_BYTES_MAX))
        message = f"{document['title']}: {document['detail']}"
    except (ValueError, TypeError, KeyError):
        message, document = f"the instance answered {answer.status} {answer.reason}", {}
    raise AdminError(message, answer.status, document)


def _parse(where: str) -> Address:
    if where.startswith("https://"):
        raise ValueError("the admin port speaks http, not https")
    if not where.startswith("http://"):
        address = parse_address(where)
    else:
        parts = urlsplit(where)
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"expected nothing behind host and port, as in {ADMIN_DEFAULT}")
        address = parse_address(parts.netloc if parts.port is not None else f"{parts.netloc}:80")
    if isinstance(address, TcpAddress):
        return TcpAddress(_ANY_ADDRESS.get(address.host, address.host), address.port)
    return address


def _connect(address: Address, timeout_s: float) -> http.client.HTTPConnection:
    if isinstance(address, UnixAddress):
        return _UnixConnection(address.path, timeout_s)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """As `HTTPConnection.connect`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
