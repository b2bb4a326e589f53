"""`rangecache stat`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.cli.admin_client import admin_option, quoted
from rangecache.cli.ls import freshness
from rangecache.cli.readable import count, printable, size
from rangecache.errors import BadRequest
from rangecache.server.naming import name_of

if TYPE_CHECKING:
    from rangecache.cli.admin_client import AdminClient

_RANGES_SHOWN: Final = 8
_FIELDS: Final = {
    "e_tag": "ETag",
    "last_modified": "last modified",
    "content_type": "type",
    "content_encoding": "coding",
    "generation": "generation",
}


@click.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="The whole JSON document.")
@admin_option
def stat(url: str, as_json: bool, admin: AdminClient) -> None:
    """Say all there is to say of one object in the cache of a running instance.

    URL is an object's address on the data port, s3://bucket/key, or s3/bucket/key. Exit code 1: nothing is known of it.
    """
    try:
        name = name_of(url)
    except BadRequest as error:
        raise click.BadParameter(error.message, param_hint="URL") from None
    document = admin.get(f"objects/{quoted(name)}").document
    if as_json:
        click.echo(json.dumps(document))
        return
    for each in document["versions"]:
        for line in _lines(each):
            click.echo(line)


def _lines(each: dict[str, Any]) -> list[str]:
    rows = [("object", printable(each["object"]))]
    if each["version"]:
        rows.append(("version", printable(each["version"])))
    if each["size"] is not None:
        rows.append(("size", f"{size(each['size'])} ({each['size']:,} bytes)"))
        rows.append(("blocks", f"{each['block_count']:,} of {size(each['block_bytes'])}"))
    rows += [(shown, printable(str(each[name]))) for name, shown in _FIELDS.items() if each[name]]
    rows.append(("freshness", freshness(each)))
    if each["validated"]:
        rows.append(("validated", each["validated"]))
    for name, tier in each["tiers"].items():
        rows.append((name, _tier(tier)))
        if tier["leaves"]:
            leaves = tier["leaves"]
            first, last = f"{leaves['after']:,}", f"{leaves['last_after']:,}"
            rows.append(("", f"leaves after {first} to {last} of {leaves['of']:,} blocks"))
    if not each["tiers"]:
        rows.append(("kept", "none of its bytes"))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]


def _tier(tier: dict[str, Any]) -> str:
    ranges = [str(start) if stop - start == 1 else f"{start}-{stop - 1}" for start, stop in tier["map"]]
    shown = ", ".join(ranges[:_RANGES_SHOWN])
    if len(ranges) > _RANGES_SHOWN:
        shown += f" and {count(len(ranges) - _RANGES_SHOWN, 'range')} more"
    text = f"{count(tier['blocks'], 'block')}, {size(tier['bytes'])}"
    if shown:
        text += f": {shown}"
    if tier["blocks_of_other_versions"]:
        text += f"; {tier['blocks_of_other_versions']:,} of other versions"
    return text
