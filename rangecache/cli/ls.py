"""`rangecache ls`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.cli.admin_client import admin_option
from rangecache.cli.readable import duration, printable, size, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.cli.admin_client import AdminClient

_PAGE: Final = 1000
_HEADS: Final = ("SIZE", "MEMORY", "DISK", "FRESHNESS", "OBJECT")
_SIZES: Final = frozenset({0, 1, 2})


@click.command()
@click.argument("prefix", default="")
@click.option("--limit", type=click.IntRange(min=1), help="So many objects at the most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@admin_option
def ls(prefix: str, limit: int | None, as_json: bool, admin: AdminClient) -> None:
    """List what a running instance has cached, in the order of the names.

    PREFIX is as in s3, s3/bucket or s3/bucket/beginning-of-key; without it everything is listed. SIZE is the object's,
    MEMORY and DISK are what is kept of it there. Objects of which only blocks on disk are left, and no record, are not
    listed.
    """
    objects = _objects(admin, prefix, limit)
    if as_json:
        for each in objects:
            click.echo(json.dumps(each))
        return
    # A table has to be seen as a whole to be aligned; so it is shown page by page.
    rows: list[tuple[str, ...]] = []
    for each in objects:
        rows.append(_row(each))
        if len(rows) == _PAGE:
            _show(rows)
            rows.clear()
    _show(rows)


def _show(rows: list[tuple[str, ...]]) -> None:
    if rows:
        for line in table(_HEADS, rows, right=_SIZES):
            click.echo(line)


def _objects(admin: AdminClient, prefix: str, limit: int | None) -> Iterator[dict[str, Any]]:
    query: dict[str, str | int] = {"prefix": prefix, "limit": _PAGE}
    left = limit
    while left is None or left > 0:
        if left is not None:
            query["limit"] = min(_PAGE, left)
        page = admin.get("objects", query).document
        yield from page["objects"]
        left = None if left is None else left - len(page["objects"])
        if page["cursor"] is None:
            return
        query["cursor"] = page["cursor"]


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    tiers = each["tiers"]
    kept = [size(tiers[name]["bytes"]) if name in tiers else "-" for name in ("memory", "disk")]
    name = printable(each["object"]) + (f"  (version {printable(each['version'])})" if each["version"] else "")
    return ("-" if each["size"] is None else size(each["size"]), *kept, freshness(each), name)


def freshness(each: dict[str, Any]) -> str:
    """How long it is fresh, or since when it is not."""
    state, ttl_s = each["freshness"], each["ttl_s"]
    if state == "fresh":
        return "fresh for ever" if ttl_s is None else f"fresh for {duration(ttl_s)}"
    if state == "stale":
        return f"stale since {duration(-ttl_s)}"
    return "not kept" if state == "bypass" else "unknown"
