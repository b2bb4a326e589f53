"""Programs that a demonstration or a test starts, and surely ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_END_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.05
_PROBE_TIMEOUT_S: Final = 2.0
_LOG_TAIL_CHARS: Final = 2000
# What a person has set for other work would change what is measured here, or send loopback traffic elsewhere.
_LEFT_OUT: Final = ("RANGECACHE_", "GDAL_", "CPL_", "VSI_", "AWS_")


class ChildFailed(Exception):
    """A program ended by itself, or did not come up in time. The message holds the end of what it wrote."""


class Child:
    """A Python program in a process of its own. Use as a context manager: leaving it ends the program.

    It gets a session of its own, so that Ctrl-C on the terminal reaches only us, and we end things in order.
    """

    def __init__(self, name: str, *arguments: str, log: Path) -> None:
        """`arguments` follow the name of the interpreter; `log` takes what it writes to standard error; `name` is for
        messages."""
        self._name, self._arguments, self._log_path = name, arguments, log
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        self._log = self._log_path.open("w")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules, no shell
            [sys.executable, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            env=clean_environment(os.environ),
        )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._running()
        process.terminate()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            for pipe in (process.stdin, process.stdout, self._log):
                if pipe is not None:
                    pipe.close()

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        pipe = self._running().stdin
        if pipe is None:
            raise RuntimeError("it was started without a pipe")
        pipe.write(f"{line}\n")
        pipe.flush()

    def hear(self) -> str:
        """Wait for a line from its standard output. Raises `ChildFailed` if it ends instead."""
        pipe = self._running().stdout
        line = "" if pipe is None else pipe.readline()
        if not line:
            raise ChildFailed(f"{self._name} ended too early: {self._tail()}")
        return line.rstrip("\n")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._running().poll() is not None

    def wait_for(self, url: str, timeout_s: float) -> None:
        """Wait until `url` answers with 200. Raises `ChildFailed` if it ends first, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not answers(url):
            if self.ended:
                raise ChildFailed(f"{self._name} did not start: {self._tail()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self._name} was not ready within {timeout_s:g} s: {self._tail()}")
            time.sleep(_POLL_S)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the program has not been started")
        return self._process

    def _tail(self) -> str:
        text = self._log_path.read_text(errors="replace").strip()
        return text[-_LOG_TAIL_CHARS:] or "it wrote nothing"


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without HTTP proxies and without settings of GDAL, AWS and rangecache."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(_LEFT_OUT) and not name.lower().endswith("_proxy")
    }


def answers(url: str) -> bool:
    """Whether a GET of this http address on this machine gives 200 within 2 s."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PROBE_TIMEOUT_S) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
