"""`rangecache demo`: see what a cache near the reader is worth, with nothing but this machine.

Sample data, an origin that is far away, the proxy, and readers that people use, side by side. It is also the first test
of an installation: the passes must read the same pixels.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import yaml

from rangecache.settings.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.cli.demo_screen import Screen
    from rangecache.testing.children import Child
    from rangecache.testing.comparison import Row

PROVIDER: Final = "web"
BUCKET: Final = "demo"
_HOST: Final = "127.0.0.1"
# Those of the documentation, where they are free, so that its examples can be pasted.
DEFAULT_PORT: Final = 8080
_START_TIMEOUT_S: Final = 30.0
_WATCH_S: Final = 1.0
_SERVE: Final = ("-m", "rangecache.cli.leashed", "serve", "--config")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    folder: Path
    latency_s: float
    quick: bool
    port: int
    leave: bool
    """Stop after the picture."""
    json_path: Path | None


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy under show."""

    child: Child
    data_url: str
    """Stands for the sample folder; with a final slash."""
    admin_url: str
    """With a final slash."""


def _duration(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where sample data and the picture are kept.  [default: rangecache-demo in your cache folder]",
)
@click.option("--latency", "latency_s", default="50ms", show_default=True, callback=_duration, help="Of the origin.")
@click.option("--quick", is_flag=True, help="Take samples of a tenth of the size.")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65534),
    help="Of the proxy; the next one is its admin port. Where one is taken, and for 0, a free one is chosen.",
)
@click.option("--exit", "leave", is_flag=True, help="Stop after the picture instead of staying up.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too."
)
def demo(folder: Path | None, latency_s: float, quick: bool, port: int, leave: bool, json_path: Path | None) -> None:
    """Read a COG and two Zarr arrays from a distant origin: directly, through the cold proxy, through the warm one."""
    try:
        from rangecache.cli.demo_screen import Screen
        from rangecache.testing.children import ChildFailed
    except ImportError as error:
        missing = (error.name or "a library").partition(".")[0]
        raise click.ClickException(f"{missing} is missing. Install: pip install 'rangecache[demo]'") from error

    screen = Screen()
    wishes = Wishes(folder or _default_folder(), latency_s, quick, port, leave, json_path)
    signal.signal(signal.SIGTERM, _end)
    try:
        with ExitStack() as stack:
            equal = _show(stack, screen, wishes)
    except KeyboardInterrupt:
        # Everything that was started has been ended by now: the stack is closed.
        screen.say("interrupted")
        raise SystemExit(130) from None
    except ChildFailed as error:
        raise click.ClickException(str(error)) from error
    if not equal:
        raise SystemExit(1)


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rangecache-demo"


def _show(stack: ExitStack, screen: Screen, wishes: Wishes) -> bool:
    """The whole show; says whether all passes have read the same. What is started is ended by `stack`."""
    from rangecache.testing.comparison import PASSES, OriginThread, compare
    from rangecache.testing.picture import draw
    from rangecache.testing.readings import READINGS
    from rangecache.testing.samples import FULL, SMALL, make_samples

    picture = wishes.folder / "demo.png"
    with screen.progress(steps=3) as step:
        samples = make_samples(wishes.folder, SMALL if wishes.quick else FULL, step)
    with screen.progress(steps=1 + len(PASSES) * len(READINGS) + 1) as step:
        work = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="rangecache-demo-", ignore_cleanup_errors=True))
        )
        origin = stack.enter_context(OriginThread(samples, wishes.latency_s))
        step("starting the proxy")
        proxy = stack.enter_context(running_proxy(origin.url, work, wishes.port))
        rows = compare(origin, proxy.data_url, work, lambda name, reading: step(f"reading {name}: {reading.title}"))
        step("drawing the picture")
        draw(rows, wishes.latency_s, picture)
    equal = all(row.equal for row in rows)
    screen.table(rows, wishes.latency_s)
    screen.say(f"picture: {picture}")
    if wishes.json_path is not None:
        wishes.json_path.write_text(json.dumps(_figures(rows, wishes.latency_s, proxy, picture), indent=2) + "\n")
    if not equal:
        screen.say("The passes have read different pixels: this must never happen. Please report it.")
    elif not wishes.leave:
        screen.addresses(proxy.data_url, proxy.admin_url, origin.url)
        _stay_up(screen, proxy.child)
    return equal


@contextmanager
def running_proxy(origin_url: str, work: Path, port: int = 0) -> Iterator[Proxy]:
    """A proxy with `origin_url` behind it; configuration, cache and log are in `work`. Raises `ChildFailed`."""
    from rangecache.testing.children import Child

    data_port, admin_port = _free_ports(port)
    configuration = work / "rangecache.yaml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "server": {"listen": f"{_HOST}:{data_port}", "admin_listen": f"{_HOST}:{admin_port}"},
                "cache": {"disk": {"path": str(work / "cache"), "size": "1GiB"}},
                # An archive that is not written to, and says so: without the rule it would be asked now and then
                # whether anything has changed, as its files are a few seconds old.
                "freshness": [{"match": f"{PROVIDER}/{BUCKET}/**", "ttl": "1h"}],
                "providers": {PROVIDER: {"kind": "http", "buckets": {BUCKET: {"url": origin_url}}}},
            }
        )
    )
    with Child("the proxy", *_SERVE, str(configuration), log=work / "proxy.log") as child:
        admin_url = f"http://{_HOST}:{admin_port}/"
        child.wait_for(f"{admin_url}readyz", _START_TIMEOUT_S)
        yield Proxy(child, f"http://{_HOST}:{data_port}/{PROVIDER}/{BUCKET}/", admin_url)


def _free_ports(first: int) -> tuple[int, int]:
    """`first` and the next one, each replaced by a free one where somebody has it; any two for 0."""
    with closing(socket.socket()) as data, closing(socket.socket()) as admin:
        return _bound(data, first), _bound(admin, first + 1 if first else 0)


def _bound(listener: socket.socket, wanted: int) -> int:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, wanted))
    except OSError:
        listener.bind((_HOST, 0))
    return int(listener.getsockname()[1])


def _stay_up(screen: Screen, child: Child) -> None:
    from rangecache.testing.children import ChildFailed

    try:
        while not child.ended:
            threading.Event().wait(_WATCH_S)
    except KeyboardInterrupt:
        screen.say("stopped")
        return
    raise ChildFailed("the proxy has ended by itself")


def _figures(rows: list[Row], latency_s: float, proxy: Proxy, picture: Path) -> dict[str, Any]:
    return {
        "origin_latency_s": latency_s,
        "equal": all(row.equal for row in rows),
        "data_url": proxy.data_url,
        "admin_url": proxy.admin_url,
        "picture": str(picture),
        "readings": [
            {
                "name": row.reading.name,
                "title": row.reading.title,
                "equal": row.equal,
                **{
                    name: {
                        "seconds": cost.seconds,
                        "origin_requests": cost.origin_requests,
                        "origin_bytes": cost.origin_bytes,
                    }
                    for name, cost in row.costs.items()
                },
            }
            for row in rows
        ],
    }
