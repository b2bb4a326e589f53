"""`GET /v1/providers`: how the origins do, as far as it shows in what they were asked lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from aiohttp import web

from rangecache.server.api.answers import answered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rangecache.origin.breaking import EndpointHealth

Health = Literal["unknown", "up", "degraded", "down"]


class ProviderReport(NamedTuple):
    """What is known of one provider."""

    name: str
    kind: str
    endpoints: Sequence[EndpointHealth]


def provider_routes(reports: Callable[[], Iterable[ProviderReport]]) -> list[web.RouteDef]:
    """The routes of this file."""

    async def show(_request: web.Request) -> web.StreamResponse:
        return answered({"providers": [_document(each) for each in reports()]})

    return [web.get("/v1/providers", show)]


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
            }
            for each in report.endpoints
        ],
    }
