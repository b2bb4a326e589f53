"""`rangecache serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rangecache.settings import CONFIG_VARIABLE, load


@click.command()
@click.option("--config", metavar="FILE", envvar=CONFIG_VARIABLE, help=f"Configuration file; also {CONFIG_VARIABLE}.")
@click.option("--listen", metavar="ADDRESS", help="Where objects are served, as 127.0.0.1:8080 or unix:/path.sock.")
@click.option("--admin-listen", metavar="ADDRESS", help="Where statistics, metrics and health are served.")
@click.option("--cache-dir", metavar="DIR", help="The folder of the disk cache.")
@click.option("--memory-size", metavar="SIZE", help="Blocks kept in memory, such as 1GiB.")
@click.option("--disk-size", metavar="SIZE", help="Blocks kept on disk, such as 100GiB.")
def serve(
    config: str | None,
    listen: str | None,
    admin_listen: str | None,
    cache_dir: str | None,
    memory_size: str | None,
    disk_size: str | None,
) -> None:
    """Run the proxy until SIGTERM or Ctrl-C.

    Without a configuration it serves `s3`, `gs` and `az` on this machine alone, with the credentials of its
    environment.
    """
    given = {
        "--listen": listen,
        "--admin-listen": admin_listen,
        # A path on a command line starts where the command is given, whatever folder the file lies in.
        "--cache-dir": None if cache_dir is None else str(Path(cache_dir).expanduser().absolute()),
        "--memory-size": memory_size,
        "--disk-size": disk_size,
    }
    flags = {flag: text for flag, text in given.items() if text is not None}
    settings = load(Path(config) if config else None, os.environ, flags)

    # A wrong configuration is told at once: what serves is imported only for a right one.
    from rangecache import logs, wiring

    logs.configure(settings.telemetry, sys.stderr)
    wiring.run(settings)
