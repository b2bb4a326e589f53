"""`/v1/objects`: what is cached, and all there is to say of one object."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from rangecache.errors import BadRequest
from rangecache.read.selection import Selection
from rangecache.server.api.answers import answered, refused
from rangecache.server.naming import name_of
from rangecache.server.problems import Problem

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.inventory import Described, Inventory, Listed, TierView
    from rangecache.read.known import Known

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000
_PATH: Final = "/v1/objects"
_UNKNOWN: Final = Problem(404, "not-cached", "Nothing is known of this object")
_UNKNOWN_DETAIL: Final = "It is not in the cache; whether the origin has it, only a read finds out."
_KNOWN_QUERY: Final = frozenset({"prefix", "limit", "cursor"})


def object_routes(inventory: Inventory, clock: Clock) -> list[web.RouteDef]:
    """The routes of this file."""

    async def show_all(request: web.Request) -> web.StreamResponse:
        query = request.query
        if not query.keys() <= _KNOWN_QUERY or len(query) != len(set(query)):
            raise BadRequest("The query has `prefix`, `limit` and `cursor`, each at most once.")
        try:
            selection = Selection.prefix(name_of(query.get("prefix", "")))
        except ValueError as error:
            raise BadRequest(str(error)) from None
        found = await inventory.page(selection, _read_cursor(query.get("cursor")), _read_limit(query.get("limit")))
        cursor = None if found.after is None else _cursor(found.after)
        return answered({"objects": [_listed(each, clock) for each in found.objects], "cursor": cursor})

    async def show(request: web.Request) -> web.StreamResponse:
        path, question_mark, _ = request.raw_path.partition("?")
        if question_mark:
            raise BadRequest("A query is not accepted here: an object is shown in all its versions.")
        try:
            name = Selection.an_object(name_of(path.removeprefix(_PATH)))
        except ValueError as error:
            raise BadRequest(str(error)) from None
        versions = [_described(each, clock) for each in await inventory.describe(name)]
        if not versions:
            return refused(_UNKNOWN, _UNKNOWN_DETAIL)
        return answered({"object": name.name, "versions": versions})

    return [web.get(_PATH, show_all), web.get(_PATH + "/{name:.+}", show)]


def _read_limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX):
        raise BadRequest(f"`limit` is a number from 1 to {LIMIT_MAX}.")
    return int(text)


def _cursor(row: str) -> str:
    return base64.urlsafe_b64encode(row.encode()).decode().rstrip("=")


def _read_cursor(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadRequest("`cursor` is to be given back as it came.") from None


def _listed(each: Listed, clock: Clock) -> dict[str, object]:
    return {
        **_named(each.ref),
        **_known(each.known, clock),
        "tiers": {name: held._asdict() for name, held in each.held.items()},
    }


def _described(each: Described, clock: Clock) -> dict[str, object]:
    known = each.known
    return {
        **_named(each.ref),
        **_known(known, clock),
        "last_modified": known.meta.last_modified.isoformat() if known and known.meta.last_modified else None,
        "content_type": known.meta.headers.get("content-type") if known else None,
        "content_encoding": known.meta.content_encoding or None if known else None,
        "block_bytes": known.block_bytes if known else None,
        "block_count": -(-known.meta.size // known.block_bytes) if known else None,
        "tiers": {name: _tier(view) for name, view in each.tiers.items()},
    }


def _tier(view: TierView) -> dict[str, object]:
    here = sum(map(len, view.blocks))
    outlook = view.outlook
    return {
        **view.held._asdict(),
        "map": [[blocks.start, blocks.stop] for blocks in view.blocks],
        "blocks_of_other_versions": max(0, view.held.blocks - here),
        "leaves": None
        if outlook is None
        else {"after": outlook.first, "last_after": outlook.last, "of": outlook.of, "ranks": list(outlook.ranks)},
    }


def _named(ref: ObjectRef) -> dict[str, object]:
    return {"object": str(ref), "version": ref.version}


def _known(known: Known | None, clock: Clock) -> dict[str, object]:
    """`ttl_s` is as in Cache-Status: how long it is fresh, negative since it is not, null where it never ends."""
    if known is None:
        nothing = dict.fromkeys(("size", "e_tag", "generation", "freshness", "ttl_s", "validated"))
        return {**nothing, "freshness": "unknown"}
    now = clock.monotonic()
    ttl_s = known.fresh_until - now
    state = "bypass" if known.bypass else "fresh" if ttl_s > 0 else "stale"
    validated = datetime.fromtimestamp(clock.wall() - (now - known.validated_at), UTC)
    return {
        "size": known.meta.size,
        "e_tag": str(known.meta.e_tag) if known.meta.e_tag else None,
        "generation": known.meta.generation or None,
        "freshness": state,
        "ttl_s": None if math.isinf(ttl_s) else round(ttl_s, 3),
        "validated": validated.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
