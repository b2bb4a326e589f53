"""The admin port and the health port: small aiohttp applications beside the data port.

Everything that a person or a machine asks *about* the program. Errors are problem documents (RFC 9457) of constant
text: nothing that a request carried is ever sent back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger

from rangecache.server.api.answers import LINES_TYPE, PROBLEM_TYPE, TAKES_LINES, answered, explaining, refusal, refused
from rangecache.server.problems import WRONG_HOST, Problem
from rangecache.settings.units import Address, TcpAddress, UnixAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Handler, Middleware

    from rangecache.server.health import ServerState
    from rangecache.server.hosts import HostGuard

logger = logging.getLogger(__name__)

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# An admin request is a few hundred bytes of JSON at most.
_REQUEST_BYTES_MAX: Final = 64 * 1024
_KEEPALIVE_TIMEOUT_S: Final = 75.0
# Whoever sends no whole request for so long after connecting is cut off.
_FIRST_REQUEST_TIMEOUT_S: Final = 15.0
# Probes, scrapers and a few people. More are refused at once, so that nobody can take the data port's descriptors.
_CONNECTIONS_MAX: Final = 256
# The whole drain is bounded by `server.shutdown_grace`; nobody needs an admin answer longer than this.
_CLOSE_TIMEOUT_S: Final = 2.0
_WRITING_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_HOST_DETAIL: Final = "Use localhost or the address it listens on, or add this name to server.hosts."
_FOREIGN_ORIGIN: Final = Problem(403, "foreign-origin", "Another page's request")
_ORIGIN_DETAIL: Final = "Requests that change something are taken from this port's own pages only."


def admin_app(state: ServerState, guard: HostGuard, routes: Iterable[web.RouteDef] = ()) -> web.Application:
    """The admin port: health, metrics, `/v1/stats`, `/v1/config` and `routes` (see `server/api`); every request passes
    `guard`."""

    async def show_stats(_request: web.Request) -> web.StreamResponse:
        return answered(state.stats())

    async def show_config(_request: web.Request) -> web.StreamResponse:
        return answered(state.settings())

    app = web.Application(middlewares=[guarding(guard), explaining], client_max_size=_REQUEST_BYTES_MAX, logger=logger)
    app.add_routes(_health_routes(state))
    app.add_routes([web.get("/v1/stats", show_stats), web.get("/v1/config", show_config), *routes])
    return app


def health_app(state: ServerState) -> web.Application:
    """The health port: `/livez`, `/readyz`, `/metrics` and nothing else.

    No `Host` is checked here: kubelet and Prometheus address a pod by an IP that nobody can know beforehand, and a page
    that reached this port would learn only counts, never a key, a name of a bucket or a setting.
    """
    app = web.Application(client_max_size=_REQUEST_BYTES_MAX, logger=logger)
    app.add_routes(_health_routes(state))
    return app


def _health_routes(state: ServerState) -> list[web.RouteDef]:
    async def livez(_request: web.Request) -> web.StreamResponse:
        # That this runs at all is the answer: a stuck event loop would not get here.
        return web.Response(text="alive\n")

    async def readyz(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="ready\n") if state.phase == "ready" else refusal(503)

    async def metrics(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=state.metrics.exposition(), headers={hdrs.CONTENT_TYPE: _METRICS_TYPE})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def guarding(guard: HostGuard) -> Middleware:
    """Refuse what a web page could have sent, before any handler runs.

    Reading is guarded by `Host` (DNS rebinding). Writing, on top, needs JSON as its content type, which makes a browser
    ask first by a preflight that is never answered, and an `Origin`, where there is one, that is this very port.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get(hdrs.HOST)
        if host is None:
            return refusal(400)
        if not guard.accepts(host):
            return refused(WRONG_HOST, _HOST_DETAIL)
        if request.method in _WRITING_METHODS and request.match_info.http_exception is None:
            lines = request.content_type == LINES_TYPE and request.path in TAKES_LINES
            if not lines and request.content_type != "application/json":
                return refusal(415)
            origin = request.headers.get(hdrs.ORIGIN)
            if origin is not None and origin.lower() not in {f"http://{host.lower()}", f"https://{host.lower()}"}:
                return refused(_FOREIGN_ORIGIN, _ORIGIN_DETAIL)
            if not lines:
                await request.read()  # at most _REQUEST_BYTES_MAX; kept for the handler
        if isinstance(request.protocol, _Connection):
            request.protocol.request_is_whole()
        return await handler(request)

    return guarded


class AdminServer:
    """One of the applications, listening."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=_CLOSE_TIMEOUT_S)
        self._listener: asyncio.Server | None = None

    async def start(self, address: Address) -> None:
        """Listen; port 0 takes a free one. Raises OSError where the address cannot be had."""
        await self._runner.setup()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("aiohttp's runner made no server")

        def connection() -> asyncio.Protocol:
            if len(manager.connections) >= _CONNECTIONS_MAX:
                return _Refused()
            return _Connection(
                manager,
                loop=loop,
                keepalive_timeout=_KEEPALIVE_TIMEOUT_S,
                access_log_class=_NoAccessLog,
                logger=logger,
            )

        loop = asyncio.get_running_loop()
        try:
            if isinstance(address, UnixAddress):
                self._listener = await loop.create_unix_server(connection, address.path)
            else:
                self._listener = await loop.create_server(connection, address.host, address.port)
        except OSError:
            await self._runner.cleanup()
            raise

    @property
    def address(self) -> Address:
        """Where it listens, with the port it was given."""
        if self._listener is None:
            raise RuntimeError("the server has not been started")
        name = self._listener.sockets[0].getsockname()
        return UnixAddress(name) if isinstance(name, str) else TcpAddress(*name[:2])

    async def aclose(self) -> None:
        """Stop listening, let answers under way finish for 2 s, close every connection."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


class _NoAccessLog(AbstractAccessLogger):
    """A scrape every few seconds is nothing to tell."""

    @property
    def enabled(self) -> bool:
        """Nothing is logged."""
        return False

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Never called, as this log is not enabled."""


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Connection(web.RequestHandler):
    """aiohttp's connection with a timer for its first request, and with every answer passing one last gate.

    aiohttp makes some answers itself, before any application code runs: to bytes that are not HTTP, to an unknown path
    or expectation. Those quote the request, so here they are replaced by our own words.
    """

    __slots__ = ("_first_request_timer",)
    _first_request_timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._first_request_timer = loop.call_later(_FIRST_REQUEST_TIMEOUT_S, transport.close)

    def request_is_whole(self) -> None:
        """A request is here with its body. Its answer may take as long as it takes."""
        self._first_request_timer.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._first_request_timer.cancel()
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp's answer to what is not HTTP (400) and to an exception that left a handler (500)."""
        if status >= 500:
            logger.error("an admin request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun, it can only be cut off")
        answer = refusal(status)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """The gate: aiohttp calls this with every answer, whoever made it."""
        self._first_request_timer.cancel()
        if not resp.prepared:
            if resp.status >= 400 and resp.content_type != PROBLEM_TYPE:
                resp = _reworded(resp)
            resp.headers[hdrs.SERVER] = "rangecache"
            resp.headers[hdrs.CACHE_CONTROL] = "no-store"
            resp.headers["X-Content-Type-Options"] = "nosniff"
        return await super().finish_response(request, resp, start_time)


def _reworded(answer: web.StreamResponse) -> web.Response:
    reworded = refusal(answer.status)
    if hdrs.ALLOW in answer.headers:
        reworded.headers[hdrs.ALLOW] = answer.headers[hdrs.ALLOW]
    if answer.keep_alive is False:
        reworded.force_close()
    return reworded
