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
_PORTS: Final = (8080, 8081)
_START_TIMEOUT_S: Final = 30.0
_WATCH_S: Final = 1.0
_SERVE: Final = ("-c", "from rangecache.cli import main; main()", "serve", "--config")


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
@click.option("--exit", "leave", is_flag=True, help="Stop after the picture instead of staying up.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too."
)
def demo(folder: Path | None, latency_s: float, quick: bool, leave: bool, json_path: Path | None) -> None:
    """Read a COG and two Zarr arrays from a distant origin: directly, through the cold proxy, through the warm one."""
    try:
        from rangecache.cli.demo_screen import Screen
        from rangecache.testing.children import ChildFailed
    except ImportError as error:
        raise click.ClickException(f"{error.name} is missing. Install: pip install 'rangecache[demo]'") from error

    screen = Screen()
    signal.signal(signal.SIGTERM, _end)
    try:
        with ExitStack() as stack:
            equal = _show(stack, screen, folder or _default_folder(), latency_s, quick, leave, json_path)
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


def _show(
    stack: ExitStack,
    screen: Screen,
    folder: Path,
    latency_s: float,
    quick: bool,
    leave: bool,
    json_path: Path | None,
) -> bool:
    """The whole show; says whether all passes have read the same. What is started is ended by `stack`."""
    from rangecache.testing.comparison import PASSES, OriginThread, compare
    from rangecache.testing.picture import draw
    from rangecache.testing.readings import READINGS
    from rangecache.testing.samples import FULL, SMALL, make_samples

    picture = folder / "demo.png"
    with screen.progress(steps=3) as step:
        samples = make_samples(folder, SMALL if quick else FULL, step)
    with screen.progress(steps=1 + len(PASSES) * len(READINGS) + 1) as step:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rangecache-demo-")))
        origin = stack.enter_context(OriginThread(samples, latency_s))
        step("starting the proxy")
        proxy = stack.enter_context(_running_proxy(origin.url, work))
        rows = compare(origin, proxy.data_url, work, lambda name, reading: step(f"reading {name}: {reading.title}"))
        step("drawing the picture")
        draw(rows, latency_s, picture)
    equal = all(row.equal for row in rows)
    screen.table(rows, latency_s)
    screen.say(f"picture: {picture}")
    if json_path is not None:
        json_path.write_text(json.dumps(_figures(rows, latency_s, proxy, picture), indent=2) + "\n")
    if not equal:
        screen.say("The passes have read different pixels: this must never happen. Please report it.")
    elif not leave:
        screen.addresses(proxy.data_url, proxy.admin_url, origin.url)
        _stay_up(screen, proxy.child)
    return equal


@contextmanager
def _running_proxy(origin_url: str, work: Path) -> Iterator[Proxy]:
    from rangecache.testing.children import Child

    port, admin_port = _free_ports()
    configuration = work / "rangecache.yaml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "server": {"listen": f"{_HOST}:{port}", "admin_listen": f"{_HOST}:{admin_port}"},
                "cache": {"disk": {"path": str(work / "cache"), "size": "1GiB"}},
                "providers": {PROVIDER: {"kind": "http", "buckets": {BUCKET: {"url": origin_url}}}},
            }
        )
    )
    with Child("the proxy", *_SERVE, str(configuration), log=work / "proxy.log") as child:
        admin_url = f"http://{_HOST}:{admin_port}/"
        child.wait_for(f"{admin_url}readyz", _START_TIMEOUT_S)
        yield Proxy(child, f"http://{_HOST}:{port}/{PROVIDER}/{BUCKET}/", admin_url)


def _free_ports() -> list[int]:
    """The ports of the documentation, each replaced by a free one where somebody has it."""
    ports = []
    with ExitStack() as held:
        for wanted in _PORTS:
            listener = held.enter_context(closing(socket.socket()))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((_HOST, wanted))
            except OSError:
                listener.bind((_HOST, 0))
            ports.append(int(listener.getsockname()[1]))
    return ports


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
