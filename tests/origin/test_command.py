"""Commands that print secrets: no shell, bounded in time and output, nothing of them shown."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import pytest

from rangecache.origin.command import COMMAND_TIMEOUT_S, OUTPUT_BYTES_MAX, run_command, split
from rangecache.origin.credentials import CredentialsUnavailable
from rangecache.origin.fetched import FETCH_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_command_prints_is_returned() -> None:
    assert run_command(["printf", "%s", "a secret"]) == b"a secret"


def test_a_text_is_split_into_words_and_no_shell_sees_it() -> None:
    assert run_command("""printf '%s|' "a b" $HOME `id` c;d >x""") == b"a b|$HOME|`id`|c;d|>x|"


def test_a_list_is_taken_as_it_is() -> None:
    assert run_command(["printf", "%s|", "a b", "'c'", ""]) == b"a b|'c'||"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ([], "is empty"),
        ([""], "is empty"),
        ("sh -c 'canary", "not closed"),
        (["true", "can\0ary"], "zero byte"),
        ("/no/such/folder/tool canary", "the command tool cannot be run (No such file or directory)"),
        ("sh -c 'echo canary; echo canary >&2; exit 3'", "the command sh failed with status 3"),
        ("sh -c 'echo canary; kill -9 $$'", "the command sh was killed by signal 9"),
        ("sh -c 'echo canary >&2'", "the command sh printed nothing"),
        ("printf ' \\n'", "printed nothing"),
    ],
)
def test_a_command_that_fails_is_named_and_nothing_of_it_is_shown(
    command, says: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(CredentialsUnavailable) as caught:
        run_command(command)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_a_command_that_prints_without_end_is_cut() -> None:
    with pytest.raises(CredentialsUnavailable, match="printed more than 64 KiB"):
        run_command(["yes", "canary"])
    assert len(run_command(["head", "-c", str(OUTPUT_BYTES_MAX), "/dev/zero"])) == OUTPUT_BYTES_MAX


@pytest.mark.parametrize("closes", ["", "exec >&-; "])
def test_a_command_that_hangs_is_killed_with_all_that_it_started(closes: str, tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    script = f"sleep 1000 & echo $$ $! > {noted}; {closes}sleep 1000"
    with pytest.raises(CredentialsUnavailable, match=r"the command sh did not end within 0.5 s"):
        run_command(["sh", "-c", script], timeout_s=0.5)
    pids = [int(text) for text in noted.read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if _lives(pid)]


def test_a_command_is_given_up_before_those_who_wait_for_it() -> None:
    assert COMMAND_TIMEOUT_S < FETCH_TIMEOUT_S


def test_words_keep_their_quotes_meaning() -> None:
    assert split(r"""a 'b c' "d 'e'" f\ g""") == ["a", "b c", "d 'e'", "f g"]


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has been killed may take a moment to go, or wait to be reaped as a zombie."""
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read().rpartition(b") ")[2][:1] == b"Z":
                    return False
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.01)
    return True
