"""`GET /v1/providers`: how the origins do, as far as it shows in what they were asked lately;
`POST /v1/providers/<name>/check`: how one does when it is tried; `GET /v1/providers/<name>/buckets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from aiohttp import web

from rangecache.aio.slots import Slots
from rangecache.errors import BadRequest, NotListable, Overloaded
from rangecache.server.api.answers import Member, answered, json_body, refused
from rangecache.server.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rangecache.checkup.step import Report
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.breaking import EndpointHealth

Health = Literal["unknown", "up", "degraded", "down"]

CHECKS_MAX: Final = 1  # at a time: each asks an origin past the limits that keep it from being asked too much
_UNKNOWN: Final = Problem(404, "no-such-provider", "No such provider")
_CHECK: Final = {"object": Member(str, 'text, as in "s3/bucket/key"')}


class ProviderReport(NamedTuple):
    """What is known of one provider."""

    name: str
    kind: str
    endpoints: Sequence[EndpointHealth]


class Checkups(Protocol):
    """Looks into providers."""

    async def run(self, name: str, wanted: ObjectRef | None = None) -> Report: ...


class ProviderRooms(NamedTuple):
    """What these routes speak to."""

    reports: Callable[[], Iterable[ProviderReport]]
    checkups: Checkups
    stores: Mapping[str, ObjectStore]
    bucket_names: Mapping[str, Iterable[str]]
    find_object: Callable[[str], ObjectRef]
    """Raises `RequestError` for what is no object that may be read."""


def provider_routes(rooms: ProviderRooms) -> list[web.RouteDef]:
    """The routes of this file."""
    api = _ProvidersApi(rooms)
    return [
        web.get("/v1/providers", api.show_all),
        web.get("/v1/providers/{name}/buckets", api.buckets),
        web.post("/v1/providers/{name}/check", api.check),
    ]


class _ProvidersApi:
    def __init__(self, rooms: ProviderRooms) -> None:
        self._rooms = rooms
        self._checks = Slots(CHECKS_MAX)

    async def show_all(self, _request: web.Request) -> web.StreamResponse:
        """How each does."""
        return answered({"providers": [_document(each) for each in self._rooms.reports()]})

    async def check(self, request: web.Request) -> web.StreamResponse:
        """Try one, step by step. That a step failed is no error of this request."""
        name = request.match_info["name"]
        if name not in self._rooms.stores:
            return self._unknown()
        wanted: ObjectRef | None = None
        if await request.read():
            body = await json_body(request, _CHECK)
            if "object" in body:
                wanted = self._rooms.find_object(body["object"])
                if wanted.provider != name:
                    raise BadRequest(f"The object has to be one of {name}.")
        if not self._checks.take_now(1):
            raise Overloaded("A provider is being checked already; try again when that has ended.")
        try:
            return answered((await self._rooms.checkups.run(name, wanted)).document())
        finally:
            self._checks.give_back(1)

    async def buckets(self, request: web.Request) -> web.StreamResponse:
        """Those that are configured, and a page of those that the origin lists."""
        name = request.match_info["name"]
        store = self._rooms.stores.get(name)
        if store is None:
            return self._unknown()
        configured = sorted(self._rooms.bucket_names[name])
        try:
            page = await store.bucket_page(name, at=request.query.get("cursor"))
        except NotListable as error:
            return answered({"configured": configured, "listed": None, "why": error.message, "next": None})
        return answered({"configured": configured, "listed": list(page.names), "why": None, "next": page.next})

    def _unknown(self) -> web.StreamResponse:
        return refused(_UNKNOWN, f"The providers are {', '.join(self._rooms.stores)}.")


def health(endpoints: Sequence[EndpointHealth]) -> Health:
    """`down`: no endpoint is asked; `degraded`: one at the least is not; `unknown`: none was asked yet."""
    if not endpoints:
        return "unknown"
    paused = sum(each.breaker != "closed" for each in endpoints)
    if not paused:
        return "up"
    return "down" if paused == len(endpoints) else "degraded"


def _document(report: ProviderReport) -> dict[str, object]:
    return {
        "name": report.name,
        "kind": report.kind,
        "health": health(report.endpoints),
        "endpoints": [
            {
                "endpoint": each.endpoint,
                "breaker": each.breaker,
                "reason": each.reason or None,
                "retry_after_s": round(each.retry_after_s, 1),
                "latency_s": round(each.latency_s, 4) or None,
            }
            for each in report.endpoints
        ],
    }
