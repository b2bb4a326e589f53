"""`rangecache warm`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.cli.admin_client import admin_option
from rangecache.cli.interrupt import Interrupt
from rangecache.cli.readable import size as readable_size

if TYPE_CHECKING:
    from rangecache.cli.admin_client import AdminClient

LOOK_EVERY_S: Final = 0.25
FAILURES_SHOWN: Final = 10
_EXIT_FAILED: Final = 1
_EXIT_INTERRUPTED: Final = 130
_ENDED: Final = frozenset({"done", "failed", "cancelled"})


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--manifest", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Objects, one a line.")
@click.option("--prefix", metavar="P", help="Every object whose key begins so, as in s3/bucket/data/.")
@click.option("--ranges", metavar="RANGES", help="Parts of each, as in bytes=0-65535,-65536; all of it otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Progress as JSON lines, on a terminal too.")
@admin_option
def warm(
    urls: tuple[str, ...],
    manifest: str | None,
    prefix: str | None,
    ranges: str | None,
    as_json: bool,
    admin: AdminClient,
) -> int:
    """Fill the cache of a running instance.

    A URL is an object's address on the data port, s3://bucket/key, or s3/bucket/key. A manifest has one a line, or JSON
    such as {"object": "s3/bucket/key", "ranges": [[0, 65536]]}. Ctrl-C cancels. Exit code 1: something could not be
    warmed.
    """
    if (bool(urls), manifest is not None, prefix is not None).count(True) != 1:
        raise click.UsageError("Say what to warm: URLs, or --manifest FILE, or --prefix P.")
    if manifest is not None and ranges is not None:
        raise click.UsageError("Ranges stand in the manifest's lines.")
    screen = _Screen(as_json=as_json or not sys.stdout.isatty())
    with Interrupt() as interrupt:
        if manifest is not None:
            job = admin.post_lines("warm", Path(manifest).read_bytes()).document
        else:
            asked: dict[str, object] = {"objects": list(urls)} if urls else {"prefix": prefix}
            if ranges is not None:
                asked["ranges"] = ranges if "=" in ranges else f"bytes={ranges}"
            job = admin.post("warm", asked).document
        path = f"jobs/{job['id']}"
        while job["state"] not in _ENDED:
            screen.show(job)
            job = (admin.delete(path) if interrupt.wait(LOOK_EVERY_S) else admin.get(path)).document
    screen.end(job)
    if job["state"] == "cancelled" and interrupt.noted:
        return _EXIT_INTERRUPTED
    return 0 if job["state"] == "done" and not job["failures"]["count"] else _EXIT_FAILED


class _Screen:
    """Where progress is shown: a line that is written over, or JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._shown: Any = None
        self._width = 0
        self._started_s = time.monotonic()

    def show(self, job: dict[str, Any]) -> None:
        """Say how far it has come, if that is news."""
        if self._as_json:
            if job["progress"] != self._shown:
                self._shown = job["progress"]
                click.echo(json.dumps(job))
            return
        line = self._line(job)
        click.echo(f"\r{line:<{self._width}}", nl=False)
        self._width = len(line)

    def end(self, job: dict[str, Any]) -> None:
        """The last word, and what went wrong."""
        if self._as_json:
            click.echo(json.dumps(job))
            return
        self.show(job)
        click.echo()
        size = job["progress"]["bytes"]
        if job["state"] == "done" and size["kept"] < size["total"]:
            kept, total = readable_size(size["kept"]), readable_size(size["total"])
            click.echo(f"The cache has kept {kept} of {total}: it is too small for all.")
        if job["error"]:
            click.echo(f"{job['state']}: {job['error']}")
        first = job["failures"]["first"][:FAILURES_SHOWN]
        for each in first:
            click.echo(f"  {each['object']}: {each['reason']}")
        if (more := job["failures"]["count"] - len(first)) > 0:
            click.echo(f"  and {more} more")

    def _line(self, job: dict[str, Any]) -> str:
        objects, size = job["progress"]["objects"], job["progress"]["bytes"]
        total = f"{objects['total']}" if objects["listed"] else f"{objects['total']}+"
        elapsed_s = max(time.monotonic() - self._started_s, 0.001)
        failed = f", {objects['failed']} failed" if objects["failed"] else ""
        return (
            f"{job['state']}: {objects['done']} of {total} objects{failed}, {readable_size(size['done'])} of"
            f" {readable_size(size['total'])}, {readable_size(size['fetched'] / elapsed_s)}/s from the origin"
        )
