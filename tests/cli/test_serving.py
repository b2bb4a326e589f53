"""`rangecache serve` as a user runs it: a process of its own, stopped by a signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "object.bin").write_bytes(CONTENT)
    file = tmp_path / "config.yaml"
    file.write_text("providers: {local: {kind: file, buckets: {d: ./data}}}\ncache: {disk: {path: ./blocks}}\n")
    return file


@contextmanager
def _serving(
    config: Path, listen: str = "127.0.0.1:0", before: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, the address that it printed, and all that it printed up to there. Modules are looked for in the
    folder `before` first."""
    command = [sys.executable, "-m", "rangecache", "serve", "--config", str(config), "--listen", listen]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RANGECACHE_")}
    if before is not None:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(before), environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [*command, "--admin-listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, env=environ
    )
    try:
        assert process.stderr is not None
        printed, address = "", ""
        for line in process.stderr:
            printed += line
            if found := re.search(r"http://(127\.0\.0\.1:\d+)/<provider>", line):
                address = found[1]
                break
        yield process, address, printed
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_with_success(config: Path, number: signal.Signals) -> None:
    with _serving(config) as (process, address, _):
        request = Request(f"http://{address}/local/d/object.bin", headers={"Range": "bytes=300000-300009"})
        with urlopen(request, timeout=10) as response:
            assert response.status == 206
            assert response.read() == CONTENT[300000:300010]
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    assert (config.parent / "blocks").is_dir()


@pytest.mark.parametrize("installed", [True, False])
def test_it_serves_on_uvloop_where_that_can_be_imported_and_else_on_the_loop_of_python(
    config: Path, tmp_path: Path, installed: bool
) -> None:
    before = tmp_path / "modules"
    before.mkdir()
    if not installed:
        (before / "uvloop.py").write_text("raise ImportError('not for this platform')\n")
    with _serving(config, before=before) as (process, address, printed):
        with urlopen(f"http://{address}/local/d/object.bin", timeout=10) as response:
            assert response.read() == CONTENT
        assert ("/uvloop/loop." in Path(f"/proc/{process.pid}/maps").read_text()) is installed
        assert "Traceback" not in printed
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def test_an_address_that_is_taken_is_told_in_a_sentence(config: Path) -> None:
    with _serving(config) as (_, address, _), _serving(config, address) as (second, no_address, printed):
        assert no_address == ""
        assert second.wait(timeout=30) == 1
        sentence = printed.splitlines()[-1]
        assert sentence.startswith("rangecache: ")
        assert "already in use; choose another with --listen or --admin-listen" in sentence
        assert "Traceback" not in printed
