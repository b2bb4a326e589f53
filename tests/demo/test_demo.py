from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.testing.children import answers

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = (
    sys.executable,
    "-c",
    "import sys; from rangecache.cli import main; sys.exit(main())",
    "demo",
    "--quick",
    "--latency",
    "20ms",
)


@pytest.fixture
def folder(small_samples: Path) -> Path:
    """A demo folder whose samples are made already."""
    return small_samples.parent


@pytest.fixture
def running(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as it stays up, with a session of its own as on a terminal. What it starts works in `tmp_path`."""
    arguments = ["--dir", str(folder), "--json", str(tmp_path / "figures.json")]
    with subprocess.Popen(
        [*DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        if wanted in line:
            return lines
    raise AssertionError("\n".join(lines))


def programs_in(folder: Path) -> list[int]:
    """Process ids whose command line names this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if entry.name != str(os.getpid()):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has just ended
            if str(folder) in command:
                found.append(int(entry.name))
    return found


def test_the_demo_shows_what_it_promises_and_stays_up_until_ctrl_c(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    lines = lines_until(running, "/metrics")
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["equal"] is True
    assert len(document["readings"]) == 4
    for reading in document["readings"]:
        assert reading["equal"] is True
        assert reading["direct"]["origin_requests"] > 0
        assert reading["cold"]["origin_requests"] > 0
        assert reading["warm"]["origin_requests"] == reading["warm"]["origin_bytes"] == 0, reading
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")
    shown = "\n".join(lines)
    assert "have read the same" in shown
    assert document["data_url"] in shown
    assert answers(f"{document['data_url']}scene.tif")
    assert answers(f"{document['admin_url']}v1/stats")

    os.kill(running.pid, signal.SIGINT)
    assert running.wait(30) == 0
    assert not answers(f"{document['data_url']}scene.tif")
    assert not answers(f"{document['admin_url']}livez")


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("starting the proxy", signal.SIGTERM, 143),
        ("reading direct", signal.SIGINT, 130),
        ("reading cold", signal.SIGKILL, -9),
    ],
)
def test_a_signal_at_any_time_ends_everything_that_was_started(
    running: subprocess.Popen[str], tmp_path: Path, moment: str, number: signal.Signals, code: int
) -> None:
    lines_until(running, moment)
    os.kill(running.pid, number)
    assert running.wait(30) == code
    deadline = time.monotonic() + 20
    while programs_in(tmp_path):
        # One that was started in the very moment of the signal ends by itself, a little later.
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_its_libraries_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['rich'] = None; from rangecache.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "demo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install 'rangecache[demo]'" in done.stderr
