"""`POST /v1/purge`: takes objects out of the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from rangecache.errors import BadRequest
from rangecache.read.selection import Selection
from rangecache.server.api.answers import Member, answered, json_body, refused
from rangecache.server.naming import name_of
from rangecache.server.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rangecache.read.purging import Purger, PurgeReport

_MEMBERS: Final = {
    "prefix": Member(str, 'text, as in "s3/bucket/data/"; "" for everything'),
    "object": Member(str, 'text, as in "s3/bucket/data/a.tif"'),
    "dry_run": Member(bool, "true or false"),
}
# Not a success with a remark: a script that looks at nothing but the status must not believe that it is done.
_INCOMPLETE: Final = Problem(503, "purge-incomplete", "Not everything could be purged")


def purge_routes(purger: Purger) -> list[web.RouteDef]:
    """The routes of this file."""

    async def purge(request: web.Request) -> web.StreamResponse:
        body = await json_body(request, _MEMBERS)
        report = await purger.purge(_selection(body), dry_run=body.get("dry_run", False))
        if report.complete or report.dry_run:
            return answered(_document(report))
        why = "; ".join(f"{where}: {reason}" for where, reason in report.failures.items())
        detail = f"What is left may come back. Put that right, and purge again. {why}."
        return refused(_INCOMPLETE, detail, _document(report))

    return [web.post("/v1/purge", purge)]


def _selection(body: Mapping[str, Any]) -> Selection:
    if ("prefix" in body) is ("object" in body):
        raise BadRequest('Name what to purge by either `prefix` or `object`; "prefix": "" is everything.')
    try:
        if "object" in body:
            return Selection.an_object(name_of(body["object"]))
        name = name_of(body["prefix"])
        if not name and body["prefix"]:
            raise BadRequest('This is a prefix of everything. If that is meant, write "prefix": "".')
        return Selection.prefix(name)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _document(report: PurgeReport) -> dict[str, object]:
    return {
        "object" if report.selection.whole else "prefix": report.selection.name,
        "dry_run": report.dry_run,
        "complete": report.complete,
        "objects": report.objects,
        "negative": report.negative,
        "flights": report.flights,
        "tiers": {name: held._asdict() for name, held in sorted(report.tiers.items(), reverse=True)},
        "failures": report.failures,
    }
