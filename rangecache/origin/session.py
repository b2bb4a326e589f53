"""The wire towards origins: one aiohttp client session, with everything turned off that it would do unasked.

The only module that imports aiohttp's client. It sends exactly one request for each call and hands back the answer as
it stands: no redirects, no cookies, no decoding, no second try. Errors of aiohttp end here.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import aiohttp.http_parser

import rangecache
from rangecache.errors import (
    BodyCut,
    ConfigurationError,
    InvalidAnswer,
    OriginTimeout,
    StaleConnection,
    Unavailable,
)
from rangecache.origin.exchanges import note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import SimpleNamespace

    from yarl import URL

    from rangecache.errors import RangecacheError, TransientError

CONNECTIONS_MAX: Final = 1024  # towards all origins together; permits (origin/limit) bound those of each provider
CONNECTIONS_PER_HOST_MAX: Final = 128
KEEP_ALIVE_S: Final = 15.0  # shorter than the idle limits of the clouds' front ends, so that few connections are stale
DNS_TTL_S: Final = 30
READ_BUFFER_BYTES: Final = 64 * 1024  # aiohttp stops reading at twice that and what the last read brought
CHUNK_BYTES: Final = 128 * 1024  # taken of it at once; more is there only where the reader is slow
BUFFERED_BYTES: Final = 2 * READ_BUFFER_BYTES + 256 * 1024  # of one answer at most
HEADER_LINE_BYTES_MAX: Final = 8190
HEADERS_MAX: Final = 128


@dataclass(slots=True)
class _Attempt:
    """What is learned about a request's connection while the request is sent."""

    reused: bool = False


class WireAnswer:
    """An open answer: its head is here, its body is read piece by piece."""

    def __init__(self, response: aiohttp.ClientResponse, open_answers: set[WireAnswer]) -> None:
        """It is in `open_answers` until it is closed."""
        self._response = response
        self._content = response.content
        self.taken_bytes = 0
        """Of the body, so far."""
        self._open = open_answers
        open_answers.add(self)
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        """Case-insensitive; a repeated header is listed repeatedly by `items`."""

    def read_ready(self) -> bytes:
        """Bytes that have arrived already, b"" if none have. Raises `BodyCut`."""
        try:
            chunk = self._content.read_nowait(CHUNK_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise BodyCut("the origin's answer broke off") from error
        self.taken_bytes += len(chunk)
        return chunk

    async def read(self) -> bytes:
        """The next bytes, b"" at the end of the body. Raises `BodyCut`, or what `fail` was given."""
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise BodyCut("the origin's answer broke off") from error
        self.taken_bytes += len(chunk)
        return chunk

    def fail(self, error: TransientError) -> None:
        """Wake a reader that waits, with this error."""
        self._content.set_exception(error)

    @property
    def buffered_bytes(self) -> int:
        """What has arrived and has not been read."""
        return self._content.total_bytes - self.taken_bytes

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._open.discard(self)
        if self._content.is_eof() and self._content.exception() is None:
            self._response.release()
        else:
            self._response.close()


class WebSession:
    """Connections towards origins, shared by all stores. To be made and used inside one running event loop.

    `proxy` is the address of a forward proxy that everything goes through; `ca_file` holds certificates that are
    trusted besides those of the system. Certificates and host names are always checked.
    """

    def __init__(self, *, connect_timeout_s: float, proxy: str | None = None, ca_file: Path | None = None) -> None:
        require_c_parser()
        self._open: set[WireAnswer] = set()
        self._connect_timeout_s = connect_timeout_s
        self._proxy = proxy
        self._tls = tls_context(ca_file)
        self._session = self._make()
        self._fresh: aiohttp.ClientSession | None = None

    def _make(self, *, force_close: bool = False) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                limit_per_host=CONNECTIONS_PER_HOST_MAX,
                keepalive_timeout=None if force_close else KEEP_ALIVE_S,
                ttl_dns_cache=DNS_TTL_S,
                ssl=self._tls,
                force_close=force_close,
            ),
            # Ranges count encoded bytes (RFC 9110 section 14.1.2): what is stored is what is read.
            headers={"Accept-Encoding": "identity", "User-Agent": f"rangecache/{rangecache.__version__}"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
            trace_configs=[trace],
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
        disable_hidden_retry(session)
        return session

    async def send(self, method: str, url: URL, headers: Mapping[str, str], *, fresh: bool = False) -> WireAnswer:
        """Put one request on the wire and wait for the head of its answer; `fresh`: on a connection of its own.

        Raises `Unavailable`, `StaleConnection`, `InvalidAnswer`, or `OriginTimeout` while connecting. There is no
        time limit on the answer here.
        """
        attempt = _Attempt()
        session = self._session
        if fresh:
            session = self._fresh = self._fresh or self._make(force_close=True)
        try:
            response = await session.request(
                method, url, headers=headers, allow_redirects=False, trace_request_ctx=attempt
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, url, reused=attempt.reused) from error
        note(response.status, response.headers)
        return WireAnswer(response, self._open)

    @property
    def buffered_bytes(self) -> int:
        """What has arrived from origins and has not been read, all open answers together."""
        return sum(answer.buffered_bytes for answer in self._open)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()
        if self._fresh is not None:
            await self._fresh.close()


def token_session(*, proxy: str | None = None, ca_file: Path | None = None) -> aiohttp.ClientSession:
    """A session to hand to an SDK that fetches a token, under the rules of `WebSession`: certificates and host names
    are checked, nothing is taken from the environment, a request is sent once. The caller closes it."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls_context(ca_file), force_close=True),
        headers={"Accept-Encoding": "identity", "User-Agent": f"rangecache/{rangecache.__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        proxy=proxy,
    )
    disable_hidden_retry(session)
    return session


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx.reused = True


def require_c_parser() -> None:
    """Refuse to run on aiohttp's parser in pure Python, whose leniency has been the cause of most of its advisories."""
    if aiohttp.http_parser.HttpResponseParser is aiohttp.http_parser.HttpResponseParserPy:
        raise ConfigurationError(
            "aiohttp runs without its compiled parser: install a wheel of it and unset AIOHTTP_NO_EXTENSIONS"
        )


def disable_hidden_retry(session: aiohttp.ClientSession) -> None:
    """Make aiohttp send each request once.

    It repeats a GET by itself when a connection dies before the answer, on a fresh connection too. That repeat is in no
    budget and would double every retry. There is no public switch for it; aiohttp's own test client sets this one.
    """
    if not hasattr(session, "_retry_connection"):
        raise ConfigurationError(
            "this release of aiohttp cannot be told to send a request only once; install the pinned release"
        )
    session._retry_connection = False


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """What a server has to prove: a name, and an authority of the system or of this file. Raises
    `ConfigurationError`."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"egress.ca_file {ca_file} cannot be read as PEM certificates") from error
    return context


def _translated(error: Exception, url: URL, *, reused: bool) -> RangecacheError:
    """The error of ours that an exception of `ClientSession.request` means."""
    host = url.host
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as cause):
            return InvalidAnswer(
                f"{host} does not prove who it is (TLS: {cause.verify_message.rstrip('.')});"
                " if a private authority vouches for it, set egress.ca_file",
                unproven=True,
            )
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return InvalidAnswer(f"{host} does not speak TLS as we do; look at the scheme and the port", unproven=True)
        case aiohttp.ClientHttpProxyError():
            message = f"the proxy in egress.proxy refuses to connect to {host} ({error.status})"
            return Unavailable(message) if error.status >= 500 else InvalidAnswer(message)
        case aiohttp.ClientProxyConnectionError():
            return Unavailable("the proxy in egress.proxy cannot be reached", unreached=True)
        case aiohttp.ClientConnectorDNSError():
            return Unavailable(f"the name {host} cannot be resolved", unreached=True)
        case aiohttp.ClientConnectorError():
            return Unavailable(f"no connection to {host}:{url.port}", unreached=True)
        case TimeoutError():
            return OriginTimeout(f"no connection to {host}:{url.port} within the connect timeout", unreached=True)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() if reused and not _began(error):
            return StaleConnection(f"a kept connection to {host} was closed by the origin")
        case aiohttp.ClientConnectionError() | OSError():
            return Unavailable(f"{host} closed the connection without a complete answer")
        case aiohttp.InvalidURL():
            return InvalidAnswer(f"the origin's address at {host} cannot be asked for")
        case _:
            return InvalidAnswer(f"{host} sent something that is not an HTTP answer")


def _began(error: Exception) -> bool:
    """Whether a part of the answer's head had arrived: aiohttp then hangs it on the exception."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
