"""Runs a command that prints a secret, such as a `credential_process`: bounded in time and output, and silent.

What it prints is returned and goes nowhere else; what it writes to its standard error is thrown away, since commands
like to repeat there what they were given.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, cast

from rangecache.origin.credentials import CredentialsUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_TIMEOUT_S: Final = 25.0  # below `FETCH_TIMEOUT_S`, so that it is the command that is given up, and killed
OUTPUT_BYTES_MAX: Final = 64 * 1024
_CHUNK_BYTES: Final = 16 * 1024


def run_command(command: str | Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
    """What the command prints. Blocks, to be called on a thread (`OnThread`).

    No shell is asked: a text is split into words as a POSIX shell would (quotes, backslashes), and nothing in it is
    expanded; a sequence is taken as it is. Who wants a shell names one. It gets the environment of this process and
    nothing to read. When it is given up, it is killed with all that it has started.

    Raises `CredentialsUnavailable`, which names the program and nothing of its arguments or its output.
    """
    words = split(command)
    name = os.path.basename(words[0])
    try:
        process = subprocess.Popen(  # noqa: S603  # the operator's own command, by the words that he wrote
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise CredentialsUnavailable(f"the command {name} cannot be run ({error.strerror})") from error
    try:
        output = _read(process, name, timeout_s)
    finally:
        if process.returncode is None:  # it was not waited for, so that its number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise CredentialsUnavailable(f"the command {name} {_ended(process.returncode)}")
    if not output.strip():
        raise CredentialsUnavailable(f"the command {name} printed nothing")
    return output


def split(command: str | Sequence[str]) -> list[str]:
    """The words of a command. Raises `CredentialsUnavailable` if there are none."""
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError:
        raise CredentialsUnavailable("the command has a quote that is not closed") from None
    if not words or not words[0]:
        raise CredentialsUnavailable("the command is empty")
    if any("\0" in word for word in words):
        raise CredentialsUnavailable("the command has a zero byte in it")
    return words


def _read(process: subprocess.Popen[bytes], name: str, timeout_s: float) -> bytes:
    """All that it prints, until it has closed its output and ended."""
    deadline_s = time.monotonic() + timeout_s
    output = bytearray()
    with cast(IO[bytes], process.stdout) as stdout, selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not selector.select(left_s):
                raise CredentialsUnavailable(f"the command {name} did not end within {timeout_s:g} s")
            chunk = os.read(stdout.fileno(), _CHUNK_BYTES)
            if not chunk:
                break
            output += chunk
            if len(output) > OUTPUT_BYTES_MAX:
                raise CredentialsUnavailable(f"the command {name} printed more than {OUTPUT_BYTES_MAX // 1024} KiB")
    try:
        process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise CredentialsUnavailable(f"the command {name} did not end within {timeout_s:g} s") from None
    return bytes(output)


def _ended(status: int) -> str:
    return f"failed with status {status}" if status > 0 else f"was killed by signal {-status}"
