"""`rangecache purge`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.cli.admin_client import AdminError, admin_option
from rangecache.cli.readable import count, printable, size

if TYPE_CHECKING:
    from rangecache.cli.admin_client import AdminClient

_TIMEOUT_S: Final = 3600.0
"""A purge of everything, from a slow disk that has to be looked through first."""
_EXIT_FAILED: Final = 1
_INCOMPLETE: Final = "urn:rangecache:problem:purge-incomplete"


@click.command()
@click.argument("prefix", required=False)
@click.option("--object", "one", is_flag=True, help="The one object of exactly this name, in all its versions.")
@click.option("--all", "everything", is_flag=True, help="Everything; in place of PREFIX.")
@click.option("-n", "--dry-run", is_flag=True, help="Count, and purge nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The counts as a JSON document; nothing is asked.")
@admin_option
def purge(
    prefix: str | None,
    one: bool,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    admin: AdminClient,
) -> int:
    """Take objects out of the cache of a running instance: from memory, from disk, and from all that it knows of them.

    PREFIX is as in s3, s3/bucket or s3/bucket/beginning-of-key: half the name of a bucket is another bucket. With
    --object, or as an address (http://127.0.0.1:8080/s3/bucket/key, s3://bucket/key) that does not end in /, it is one
    object. What is being fetched for somebody at this moment reaches him and is not kept.

    On a terminal it shows what would go and asks; without one it does not ask. Exit code 1: not everything could be
    purged; what is left may come back. 130: you said no.
    """
    if everything is (prefix is not None):
        raise click.UsageError("Say what to purge: PREFIX, or --all for everything.")
    if one and everything:
        raise click.UsageError("--object goes with a name.")
    if prefix == "":
        raise click.UsageError("An empty prefix means everything; say so with --all.")
    name = prefix or ""
    asked: dict[str, object] = {"object" if one or _is_address(name) else "prefix": name}
    if dry_run or (not (yes or as_json) and sys.stdin.isatty()):
        counted = admin.post("purge", {**asked, "dry_run": True}, timeout_s=_TIMEOUT_S).document
        if dry_run:
            _tell(counted, "would be purged", as_json=as_json)
            return 0
        _tell(counted, "would be purged", as_json=False)
        click.confirm("Purge it?", abort=True, err=True)
    try:
        purged = admin.post("purge", asked, timeout_s=_TIMEOUT_S).document
    except AdminError as error:
        if error.document.get("type") != _INCOMPLETE:
            raise
        _tell(dict(error.document), "purged", as_json=as_json)
        click.echo(f"rangecache: {error.message}", err=True)
        return _EXIT_FAILED
    _tell(purged, "purged", as_json=as_json)
    return 0


def _is_address(name: str) -> bool:
    return ("://" in name or name.startswith("/")) and not name.endswith("/")


def _tell(document: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document))
        return
    name = document.get("object") or document.get("prefix") or "everything"
    click.echo(f"{printable(name)}: {count(document['objects'], 'object')} {what}")
    for tier, held in document["tiers"].items():
        click.echo(f"  {tier:<8}  {count(held['blocks'], 'block')}, {size(held['bytes'])}")
    if document["negative"]:
        click.echo(f"  absent    {count(document['negative'], 'name')} known not to be there")
    if document["flights"]:
        click.echo(f"  fetches   {document['flights']:,} under way")
    for where, why in document["failures"].items():
        click.echo(f"  {where:<8}  not reached: {why}")
