"""`rangecache doctor`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rangecache.cli.admin_client import AdminClient, AdminError
from rangecache.cli.readable import count, printable
from rangecache.errors import BadRequest
from rangecache.model import ObjectRef
from rangecache.server.naming import name_of
from rangecache.settings import CONFIG_VARIABLE, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rangecache.checkup.step import Step
    from rangecache.settings import Settings

_EXIT_FAILED: Final = 1
_COLOURS: Final = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
_WIDTH: Final = max(map(len, _COLOURS))
_SAID_WIDTH_MIN: Final = 40
_MACHINE: Final = "this machine"


@click.command()
@click.argument("file", required=False, envvar=CONFIG_VARIABLE)
@click.option("--provider", "names", metavar="NAME", multiple=True, help="Only this one; may be given again.")
@click.option(
    "--object", "named", metavar="P/B/K", help="Read from this object, and not from the first that is listed."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(file: str | None, names: tuple[str, ...], named: str | None, as_json: bool) -> int:
    """Try each provider of a configuration, and this machine, and say what to fix.

    FILE is read together with the environment, as `serve` does; no instance has to run. Each provider is asked for a
    listing, a part of an object and an object that is not there, once each. Exit code 1: something failed; 2: the
    configuration has faults.
    """
    settings = load(Path(file) if file else None, os.environ)
    for name in names:
        if name not in settings.providers:
            known = ", ".join(settings.providers)
            raise click.BadParameter(f"there is no provider {name}; there are {known}", param_hint="--provider")
    wanted = None if named is None else _object(named, settings)
    # What goes wrong is told as a step. Without any handler Python prints what SDKs log, secrets in it and all.
    logging.getLogger().addHandler(logging.NullHandler())

    from rangecache.wiring.checkup import look_around, look_into  # a wrong configuration is told without waiting

    if not as_json and sys.stderr.isatty():
        click.echo("looking; what does not answer takes some seconds …", err=True)
    machine = look_around(settings, is_running=_is_running(settings))
    reports = asyncio.run(look_into(settings, names or tuple(settings.providers), wanted))
    everything = [*machine, *(step for report in reports for step in report.steps)]
    failed = any(each.result == "failed" for each in everything)
    if as_json:
        document = {
            "result": "failed" if failed else "ok",
            "machine": [each.document() for each in machine],
            "providers": [each.document() for each in reports],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _show(_MACHINE, machine)
        for report in reports:
            _show(f"{report.name} ({report.kind})", report.steps)
        click.echo(_total(everything))
    return _EXIT_FAILED if failed else 0


def _object(named: str, settings: Settings) -> ObjectRef:
    try:
        provider, bucket, key = name_of(named).split("/", 2)
    except (BadRequest, ValueError):
        raise click.BadParameter("write provider/bucket/key", param_hint="--object") from None
    if provider not in settings.providers:
        known = ", ".join(settings.providers)
        raise click.BadParameter(f"there is no provider {provider}; there are {known}", param_hint="--object")
    return ObjectRef(provider, bucket, key)


def _is_running(settings: Settings) -> bool:
    """Whether an instance answers at the admin port of this configuration."""
    try:
        AdminClient(str(settings.server.admin_listen)).get("stats")
    except (AdminError, ValueError):
        return False
    return True


def _show(title: str, steps: Sequence[Step]) -> None:
    if not sys.stdout.isatty():
        for each in steps:
            of = f" {printable(each.of)}" if each.of else ""
            click.echo(f"{each.result:<{_WIDTH}}  {title}: {each.name}{of}: {printable(each.said)}")
        return
    click.secho(title, bold=True)
    for line in _lines(steps, shutil.get_terminal_size().columns):
        click.echo(line)
    click.echo()


def _lines(steps: Sequence[Step], width: int) -> Iterator[str]:
    """A table in which what was said is wrapped in its column. What the steps are about is told where it changes."""
    names = max((len(each.name) for each in steps), default=0)
    margin = 2 + _WIDTH + 2 + names + 2
    about = ""
    for each in steps:
        if each.of and each.of != about:
            about = each.of
            yield f"  {click.style(printable(each.of), fg='cyan')}"
        said = printable(each.said)
        first, *rest = textwrap.wrap(said, max(_SAID_WIDTH_MIN, width - margin)) or [""]
        result = click.style(f"{each.result:<{_WIDTH}}", fg=_COLOURS[each.result], bold=each.result == "failed")
        yield f"  {result}  {each.name:<{names}}  {first}"
        yield from (" " * margin + line for line in rest)


def _total(steps: Sequence[Step]) -> str:
    counted = Counter(each.result for each in steps)
    if not counted["failed"] and not counted["warning"]:
        return f"{count(counted['ok'], 'step')} went well"
    return f"{counted['failed']} failed, {count(counted['warning'], 'warning')}, {counted['ok']} ok"
