"""`rangecache record`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import click

from rangecache.cli.admin_client import AdminError, admin_option
from rangecache.cli.interrupt import Interrupt
from rangecache.cli.readable import count
from rangecache.jobs.manifest import Merged
from rangecache.settings.units import parse_duration
from rangecache.trace import TracedRead, TraceWriter, read_trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from rangecache.cli.admin_client import AdminClient

_EXIT_FAILED: Final = 1


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["trace", "manifest"]),
    default="trace",
    show_default=True,
    help="Every read with its time, for `simulate`; or what was read of each object, for `warm`.",
)
@click.option("--for", "duration", metavar="DURATION", help="Stop after this long, as in 10m; else at Ctrl-C.")
@admin_option
def record(file: str, kind: str, duration: str | None, admin: AdminClient) -> int:
    """Write down what clients ask of a running instance, until Ctrl-C.

    FILE may be - for standard output. What was counted is told on stderr; reads that came faster than they could be
    written are counted as lost.
    """
    if duration is not None:
        try:
            parse_duration(duration)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--for") from None
    with click.open_file(file, "w", encoding="utf-8") as stream:
        job = admin.post("record", {} if duration is None else {"for": duration}).document
        path = f"jobs/{job['id']}"
        tape = _Tape(stream, as_manifest=kind == "manifest")
        # Reading goes on: what the instance has noted until it hears of the end still comes.
        with Interrupt(lambda: threading.Thread(target=_end, args=(admin, path), daemon=True).start()):
            for read in read_trace(_lines(admin, path), "the trace"):
                tape.take(read)
        tape.end()
        job = admin.get(path).document
    lost = job["progress"]["lost"]
    click.echo(
        f"recorded {count(tape.reads, 'read')} of {count(len(tape.objects), 'object')}, {tape.bytes} bytes;"
        f" {count(lost, 'read')} {'was' if lost == 1 else 'were'} lost",
        err=True,
    )
    if job["state"] != "done":
        click.echo(f"{job['state']}: {job['error'] or 'the instance was stopped'}", err=True)
        return _EXIT_FAILED
    return 0


class _Tape:
    """Writes reads in one of the two formats, and counts them."""

    def __init__(self, out: IO[str], *, as_manifest: bool) -> None:
        self._out = out
        self._writer = None if as_manifest else TraceWriter(out)
        self._merged = Merged()
        self.objects: set[str] = set()
        self.reads = 0
        self.bytes = 0

    def take(self, read: TracedRead) -> None:
        """One more."""
        self.objects.add(read.object)
        self.reads += 1
        self.bytes += read.length
        if self._writer is None:
            self._merged.add(read.object, read.offset, read.length)
        else:
            self._writer.write(read)

    def end(self) -> None:
        """Write what is written last."""
        for line in self._merged.lines():
            self._out.write(line + "\n")


def _lines(admin: AdminClient, path: str) -> Iterator[str]:
    """The trace as it comes, without the empty lines by which the instance shows that it is still there."""
    return (line for line in admin.lines(f"{path}/trace") if line)


def _end(admin: AdminClient, path: str) -> None:
    try:
        admin.delete(path)
    except AdminError as error:
        click.echo(f"rangecache: {error.message}; Ctrl-C once more ends this at once", err=True)
