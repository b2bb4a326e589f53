"""`rangecache check-config`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rangecache.settings import CONFIG_VARIABLE, Settings, format_size, load


@click.command("check-config")
@click.argument("file", required=False, envvar=CONFIG_VARIABLE)
def check_config(file: str | None) -> None:
    """Say everything that is wrong with a configuration, or that nothing is.

    FILE is read together with the environment, as `serve` does. Nothing is connected to. Exit code 2 means faults.
    """
    settings = load(Path(file) if file else None, os.environ)
    if settings.providers != Settings().providers:
        # What the clouds make of names and addresses is known to what serves, which takes a while to import.
        from rangecache.aio.clock import SystemClock
        from rangecache.wiring.plan import plan

        plan(settings, SystemClock())
    click.echo(f"{file or 'the configuration without a file'} is right: {summary(settings)}")


def summary(settings: Settings) -> str:
    """What `serve` would do, in a line."""
    disk = settings.cache.disk
    kept = f"{format_size(disk.size)} in {disk.path}" if disk.enabled else "none"
    providers = ", ".join(settings.providers)
    tiers = f"memory {format_size(settings.cache.memory.size)}, disk {kept}"
    return f"{providers} on {settings.server.listen}, {tiers}"
