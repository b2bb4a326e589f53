"""What the commands print, where, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rangecache import __version__, cli, wiring
from rangecache.cli import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_INTERRUPTED, main
from rangecache.errors import RangecacheError
from rangecache.settings import Settings, TcpAddress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("RANGECACHE_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` would have run with."""
    seen: list[Settings] = []
    monkeypatch.setattr(wiring, "run", seen.append)
    monkeypatch.setattr("rangecache.logs.configure", lambda telemetry, stream: None)
    return seen


def _failing_with(error: BaseException) -> Callable[[Settings], None]:
    def run(settings: Settings) -> None:
        raise error

    return run


def test_the_version_names_python_the_parser_and_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"rangecache {__version__} (CPython {sys.version.split()[0]}, httptools ")
    assert "uvloop" in line or "asyncio" in line


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.index("  serve ") < out.index("  check-config ")


@pytest.mark.parametrize("name", ["serve", "check-config", "demo"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: rangecache {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["srve"], "No such command 'srve'"),
        (["serve", "--lisen", "x"], "No such option"),
        (["serve", "--listen"], "requires an argument"),
        (["check-config", "a", "b"], "unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_CONFIGURATION
    err = capsys.readouterr().err
    assert err.startswith("rangecache: ")
    assert says in err
    assert "--help" in err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == EXIT_CONFIGURATION
    assert "Commands:" in capsys.readouterr().err


def test_serve_runs_with_what_flags_and_file_say(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "etc" / "config.yaml"
    file.parent.mkdir()
    file.write_text("server: {listen: '127.0.0.1:1'}\ncache: {memory: {size: 1MiB}, block_size: 64KiB}\n")
    monkeypatch.chdir(tmp_path)
    flags = ["--listen", "127.0.0.1:0", "--admin-listen", "[::1]:0", "--cache-dir", "blocks"]
    assert main(["serve", "--config", str(file), *flags, "--memory-size", "2MiB", "--disk-size", "3GiB"]) == 0
    (settings,) = served
    assert settings.server.listen == TcpAddress("127.0.0.1", 0)
    assert settings.server.admin_listen == TcpAddress("::1", 0)
    assert settings.cache.disk.path == tmp_path / "blocks"
    assert (settings.cache.block_size, settings.cache.memory.size, settings.cache.disk.size) == (
        64 << 10,
        2 << 20,
        3 << 30,
    )


def test_serve_without_anything_runs_on_loopback(served: list[Settings]) -> None:
    assert main(["serve"]) == 0
    assert served == [Settings()]


def test_the_file_may_be_named_in_the_environment(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {max_ranges: 3}")
    monkeypatch.setenv("RANGECACHE_CONFIG", str(file))
    assert main(["serve"]) == 0
    assert served[0].server.max_ranges == 3
    assert main(["check-config"]) == 0


@pytest.mark.parametrize("command", [["serve", "--config"], ["check-config"]])
def test_faults_are_told_one_a_line_and_nothing_runs(
    command: list[str], served: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {listen: x}\ncache:\n  blok_size: 1\n")
    assert main([*command, str(file)]) == EXIT_CONFIGURATION
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "rangecache: the configuration has 2 faults:",
        f"{file}:1: server.listen: expected host:port, [IPv6]:port or unix:/path.sock, got x",
        f"{file}:3: cache.blok_size: unknown key; did you mean block_size?",
    ]
    assert served == []


@pytest.mark.parametrize("command", [["serve", "--config"], ["check-config"], ["doctor"]])
def test_what_no_cloud_would_take_is_told_all_at_once_whoever_asks(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "cache: {disk: {enabled: false}}\n"
        "providers:\n"
        "  az: {kind: azure, buckets: {X_: {}}}\n"
        "  s3: {kind: s3, buckets: {d: {}}}\n"
        "  gs: {kind: gcs}\n"
        "  gs2: {kind: gcs, buckets: {D: {}}}\n"
        "  some: {kind: http, buckets: {a: 'http://127.0.0.1:1/'}}\n"
        "  set: {kind: failover, replicas: [gs, {provider: some, buckets: {x: c}}]}\n"
    )
    done = _python("-m", "rangecache", *command, str(file))
    assert done.returncode == EXIT_CONFIGURATION
    told = done.stderr.splitlines()
    assert told[0] == "rangecache: the configuration has 4 faults:"
    assert [line.split(":")[0] for line in told[1:]] == [
        "providers.az",
        "providers.s3",
        "providers.gs2",
        "providers.set.replicas",
    ]


def test_a_right_configuration_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("providers: {s3: {kind: s3}, web: {kind: http}}\ncache: {disk: {enabled: false}}\n")
    assert main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out == f"{file} is right: s3, web on 127.0.0.1:8080, memory 256MiB, disk none\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (RangecacheError("the folder is gone"), EXIT_FAILED, "rangecache: the folder is gone\n"),
        (OSError(5, "Input/output error"), EXIT_FAILED, "rangecache: Input/output error\n"),
        (PermissionError(13, "Permission denied", "/x"), EXIT_FAILED, "rangecache: Permission denied: /x\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "\n"),  # after the terminal's ^C
        (BrokenPipeError(), EXIT_FAILED, ""),
    ],
)
def test_what_is_expected_to_fail_shows_no_traceback(
    error: BaseException,
    code: int,
    says: str,
    served: list[Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(wiring, "run", _failing_with(error))
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back: a broken pipe takes it away
    assert main(["serve"]) == code
    assert capsys.readouterr().err == says


def test_a_fault_of_our_own_is_not_hidden(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "run", _failing_with(AssertionError("impossible")))
    with pytest.raises(AssertionError):
        main(["serve"])


def test_a_command_that_is_not_installed_is_not_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "absent", "rangecache.cli.absent:absent")
    assert main(["--help"]) == 0
    assert "absent" not in capsys.readouterr().out
    assert main(["absent"]) == EXIT_CONFIGURATION


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RANGECACHE_")}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environ, check=False
    )


def test_it_runs_as_a_module_and_exits_with_its_code() -> None:
    assert _python("-m", "rangecache", "--version").stdout.startswith("rangecache ")
    assert _python("-m", "rangecache", "check-config", "/absent.yaml").returncode == EXIT_CONFIGURATION


def test_checking_a_configuration_imports_nothing_that_serves() -> None:
    script = (
        "import sys; from rangecache.cli import main; code = main(['check-config']);"
        "print(code, *(name for name in ('aiohttp', 'botocore', 'httptools', 'asyncio') if name in sys.modules))"
    )
    assert _python("-c", script).stdout.splitlines()[-1] == "0"


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    script = f"{sys.executable} -m rangecache serve --help | true"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
