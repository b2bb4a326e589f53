"""`python -m bench.guard`: ends what the bench has started where the bench itself was killed.

A program that gives root up is not told by the kernel that its parent has died. So the numbers of all sessions are
written to this process, which does nothing until its standard input ends; `-` in front of one says that it is over.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Self


class Guard:
    """The process, as the bench holds it; started with the first session."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def watch(self, session: int) -> Self:
        """End this session if we do not."""
        if self._process is None:
            # A session of its own, so that what is sent to ours does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        self._tell(f"{session}")
        return self

    def forget(self, session: int) -> None:
        """It is over."""
        self._tell(f"-{session}")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


GUARD: Final = Guard()


def members(session: int) -> list[int]:
    """All processes of a session (proc(5), field 6)."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[3]) == session:
            found.append(int(name))
    return found


def main() -> None:
    """Wait, then end what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            sessions.add(number)
        else:
            sessions.discard(-number)
    for session in sessions:
        for pid in members(session):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


if __name__ == "__main__":
    main()
