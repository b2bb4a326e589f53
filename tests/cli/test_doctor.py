"""`rangecache doctor`, as a person types it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.testing.children import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-c0ffee-of-a-secret"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "object.bin").write_bytes(bytes(5000))
    file = tmp_path / "config.yaml"
    file.write_text(
        "server: {listen: '127.0.0.1:0', admin_listen: '127.0.0.1:0'}\n"
        "cache: {memory: {size: 1MiB}, disk: {path: ./blocks, size: 1MiB, min_free: 0}}\n"
        "providers:\n"
        "  local: {kind: file, buckets: {d: ./data}}\n"
        "  dead: {kind: s3, endpoint: 'http://127.0.0.1:9', region: us-east-1, buckets: {box: {}},\n"
        f"         credentials: {{access_key_id: ID, secret_access_key: {CANARY}}}}}\n"
    )
    return file


def run(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rangecache", "doctor", str(config), *arguments],
        env={**clean_environment(os.environ), "HOME": str(config.parent), **environment},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_is_right(config: Path):
    done = run(config, "--provider", "local")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok +local \(file\): read d: local/d/object.bin, 5,000 bytes", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +this machine: cache directory: ", done.stdout, re.MULTILINE)
    assert not (config.parent / "blocks").exists()


def test_what_sdks_log_is_not_told(config: Path):
    config.write_text("cache: {disk: {enabled: false}}\nproviders: {az: {kind: azure}}\n")
    done = run(config, AZURE_TOKEN_CREDENTIALS="EnvironmentCredential")
    assert "az (azure): credentials: requests without credentials" in done.stdout
    assert done.stderr == ""


def test_something_is_wrong_and_no_secret_is_told(config: Path):
    done = run(config)
    assert done.returncode == 1
    assert re.search(r"^failed +dead \(s3\): connect 127.0.0.1:9: .* refused", done.stdout, re.MULTILINE)
    assert re.search(r"^failed +dead \(s3\): list box: no connection", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +local \(file\): absent key d", done.stdout, re.MULTILINE)
    assert CANARY not in done.stdout + done.stderr


def test_json_for_machines(config: Path):
    done = run(config, "--json", "--object", "local/d/object.bin")
    document: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, document["result"]) == (1, "failed")
    assert [(each["name"], each["result"]) for each in document["providers"]] == [("local", "ok"), ("dead", "failed")]
    (read,) = (each for each in document["providers"][0]["steps"] if each["name"] == "read")
    assert read["figures"]["object"] == "local/d/object.bin"
    assert CANARY not in done.stdout + done.stderr


def test_faults_of_the_configuration_all_at_once(config: Path):
    config.write_text("cache: {blok_size: 1}\nproviders: {x: {kind: nothing}}\n")
    done = run(config)
    assert done.returncode == 2
    assert "blok_size" in done.stderr
    assert "providers.x" in done.stderr


@pytest.mark.parametrize("arguments", [["--provider", "nobody"], ["--object", "nobody/b/k"], ["--object", "local"]])
def test_names_that_mean_nothing(config: Path, arguments: list[str]):
    done = run(config, *arguments)
    assert (done.returncode, arguments[0] in done.stderr) == (2, True)


def test_the_table_on_a_terminal(config: Path):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rangecache", "doctor", str(config)],
        env={**clean_environment(os.environ), "COLUMNS": "80", "HOME": str(config.parent), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 65536):
            shown += piece
    except OSError:  # how a terminal whose other end is closed ends
        pass
    finally:
        os.close(controller)
    assert process.wait(60) == 1
    assert b"\x1b[31m" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= 80
    assert "local (file)" in lines
    assert CANARY not in shown.decode()
