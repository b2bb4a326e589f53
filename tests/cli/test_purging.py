"""`ls`, `stat` and `purge` against a running instance, as a person types them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rangecache.cli.readable import count, duration, printable, size, table
from rangecache.testing.children import clean_environment
from rangecache.testing.objects import stamped
from rangecache.testing.origin import Origin
from tests.edge.process import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BLOCK = 4096
KEYS = ["a/1", "a/2", "b"]


def environment(proxy: Proxy) -> dict[str, str]:
    """Where the instance is, said as whoever starts one in the same environment says it."""
    return {**clean_environment(os.environ), "RANGECACHE_SERVER__ADMIN_LISTEN": f"127.0.0.1:{proxy.admin_port}"}


def run(proxy: Proxy, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "rangecache", *arguments],
        env=environment(proxy),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )


def run_on_a_terminal(proxy: Proxy, typed: str, *arguments: str) -> tuple[int, str]:
    """A command whose input is a terminal, where `typed` is typed."""
    controller, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "rangecache", *arguments],
            env=environment(proxy),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.write(controller, typed.encode())
        output, _ = process.communicate(timeout=60)
        return process.returncode, output
    finally:
        os.close(controller)
        os.close(terminal)


def lines(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """An instance that has read three objects of two blocks each."""
    async with Origin() as origin, Proxy(tmp_path, origin) as proxy:
        for key in KEYS:
            origin.put(f"b/{key}", stamped(key, 1, BLOCK + 100))
            assert (await proxy.get(key)).status == 200
        yield proxy


async def test_ls_shows_a_table_or_json_lines(proxy: Proxy) -> None:
    shown = run(proxy, "ls")
    assert shown.returncode == 0
    heads, *rows = shown.stdout.splitlines()
    assert heads.split() == ["SIZE", "MEMORY", "DISK", "FRESHNESS", "OBJECT"]
    assert [row.split()[-1] for row in rows] == [f"web/b/{key}" for key in KEYS]
    assert rows[0].lstrip().startswith("4.1 KiB  5.9 KiB  ")
    assert "fresh for 59m" in rows[0]
    assert [each["object"] for each in lines(run(proxy, "ls", "--json", "web/b/a/"))] == ["web/b/a/1", "web/b/a/2"]
    assert [each["object"] for each in lines(run(proxy, "ls", "--json", "--limit", "2"))] == ["web/b/a/1", "web/b/a/2"]
    assert run(proxy, "ls", "nothing").stdout == ""


async def test_stat_says_all_there_is_to_say_of_an_object(proxy: Proxy) -> None:
    for name in ("web/b/a/1", f"http://127.0.0.1:{proxy.port}/web/b/a/1", "web://b/a/1"):
        shown = run(proxy, "stat", name)
        assert shown.returncode == 0, shown.stderr
        fields = dict(line.split("  ", 1) for line in shown.stdout.splitlines() if not line.startswith(" "))
        assert fields["object"].strip() == "web/b/a/1"
        assert fields["size"].strip() == "4.1 KiB (4,196 bytes)"
        assert fields["memory"].strip() == "2 blocks, 5.9 KiB: 0-1"
    (document,) = lines(run(proxy, "stat", "--json", "web/b/a/1"))
    assert document["versions"][0]["tiers"]["memory"]["map"] == [[0, 2]]
    unknown = run(proxy, "stat", "web/b/none")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("rangecache: Nothing is known of this object")


async def test_purge_takes_a_prefix_and_says_how_much(proxy: Proxy) -> None:
    counted = run(proxy, "purge", "--dry-run", "web/b/a")
    assert counted.returncode == 0
    assert counted.stdout.splitlines()[0] == "web/b/a: 2 objects would be purged"
    purged = run(proxy, "purge", "web/b/a")
    assert (purged.returncode, purged.stderr) == (0, "")
    assert purged.stdout.splitlines()[:2] == ["web/b/a: 2 objects purged", "  memory    4 blocks, 11.7 KiB"]
    assert [each["object"] for each in lines(run(proxy, "ls", "--json"))] == ["web/b/b"]
    (document,) = lines(run(proxy, "purge", "--json", "--all"))
    assert (document["objects"], document["complete"]) == (1, True)
    assert run(proxy, "ls").stdout == ""


async def test_an_address_or_object_is_one_object(proxy: Proxy) -> None:
    (one,) = lines(run(proxy, "purge", "--json", "--dry-run", f"http://127.0.0.1:{proxy.port}/web/b/a/1"))
    (same,) = lines(run(proxy, "purge", "--json", "--dry-run", "--object", "web/b/a/1"))
    (many,) = lines(run(proxy, "purge", "--json", "--dry-run", f"http://127.0.0.1:{proxy.port}/web/b/a/"))
    assert one == same
    assert (one["object"], one["objects"]) == ("web/b/a/1", 1)
    assert (many["prefix"], many["objects"]) == ("web/b/a/", 2)


async def test_on_a_terminal_it_asks(proxy: Proxy) -> None:
    status, output = run_on_a_terminal(proxy, "n\n", "purge", "web/b/a")
    assert status == 130
    assert "2 objects would be purged" in output
    assert "Purge it? [y/N]" in output
    assert len(lines(run(proxy, "ls", "--json"))) == 3
    status, output = run_on_a_terminal(proxy, "y\n", "purge", "web/b/a")
    assert status == 0
    assert "2 objects purged" in output
    assert len(lines(run(proxy, "ls", "--json"))) == 1
    status, output = run_on_a_terminal(proxy, "", "purge", "--yes", "web/b")
    assert (status, "Purge it?" in output) == (0, False)


@pytest.mark.parametrize(
    "arguments",
    [["purge"], ["purge", ""], ["purge", "--all", "web"], ["purge", "--all", "--object"], ["stat"], ["ls", "a", "b"]],
)
async def test_a_command_that_says_too_little_or_too_much_is_refused(proxy: Proxy, arguments: list[str]) -> None:
    refused = run(proxy, *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(lines(run(proxy, "ls", "--json"))) == 3


async def test_a_purge_that_is_not_complete_fails(tmp_path: Path, proxy: Proxy) -> None:
    async with Origin() as origin, Proxy(tmp_path, origin) as second:
        failed = run(second, "purge", "web/b")
        assert failed.returncode == 1
        assert "not reached: process" in failed.stdout
        assert "Not everything could be purged" in failed.stderr


@pytest.mark.parametrize("arguments", [["ls"], ["stat", "web/b/k"], ["purge", "web"]])
def test_without_an_instance_they_say_what_to_do(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "rangecache", *arguments, "--admin", "127.0.0.1:1"],
        env=clean_environment(os.environ),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rangecache: no rangecache at 127.0.0.1:1; is it running?")


def test_figures_are_readable() -> None:
    sizes = (0, 1023, 1024, 1536, 1024**2 - 1, 5 * 1024**4)
    assert [size(each) for each in sizes] == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 TiB"]
    assert [duration(each) for each in (0.4, 61, 3600, 100_000)] == ["0s", "1m 1s", "1h", "1d 3h"]
    assert [count(each, "block") for each in (1, 0, 1234)] == ["1 block", "0 blocks", "1,234 blocks"]
    assert printable("a\x1b[2Jä\n") == "a\\x1b[2Jä\\n"
    assert table(["A", "BB"], [["123", "x"], ["4", ""]], right=frozenset({0})) == ["  A  BB", "123  x", "  4"]
