"""Programs that are measured: started as plain children, watched through /proc, and surely ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from bench.guard import GUARD
from rangecache.testing.children import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT: Final = Path(__file__).parents[1]
"""Where Python finds this package and ours: programs work in folders of their own."""
START_TIMEOUT_S: Final = 30.0
_END_TIMEOUT_S: Final = 8.0
_POLL_S: Final = 0.02
_LOG_TAIL_CHARS: Final = 1500
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
NOBODY: Final = "nobody"
"""The user that programs become which refuse to be root."""
SERVER_CPU: Final = 0
"""The core that whoever is measured gets where a load generator runs beside him on the others."""


class ProgramFailed(Exception):
    """A program ended by itself or did not come up. The message has the end of what it wrote."""


class Program:
    """A program with all processes that it starts, in a session of its own; a context manager.

    It ends with us also where we are killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        cpu: int | None = None,
        talks: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` is where it works and its log is; `cpu` is the one core that it may use, None: all. One that `talks`
        answers lines with lines."""
        pinned = cpu is not None and shutil.which("taskset") is not None
        prefix = ["taskset", "--cpu-list", str(cpu)] if pinned else []
        self.name = name
        self._cpu = cpu
        self._command = [*prefix, *map(str, command)]
        self._folder = folder
        self._talks = talks
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**clean_environment(os.environ), "PYTHONPATH": path, **(environment or {})}
        self._process: subprocess.Popen[str]
        self._log: IO[str]

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = (self._folder / f"{self.name.replace(' ', '-')}.log").open("w")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE if self._talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._talks else self._log,
            stderr=self._log,
            cwd=self._folder,
            text=True,
            start_new_session=True,
            env=self._environment,
        )
        GUARD.watch(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        members = self._members()
        self._process.terminate()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            for pid, began in (members | self._members()).items():
                _kill(pid, began)
            GUARD.forget(self._process.pid)
            for pipe in (self._process.stdin, self._process.stdout, self._log):
                if pipe is not None:
                    pipe.close()

    def ask(self, line: str) -> str:
        """Write a line to its standard input, and wait for one from its standard output."""
        pipe = self._process.stdin
        if pipe is None:
            raise RuntimeError("it was started without a pipe")
        pipe.write(f"{line}\n")
        pipe.flush()
        return self.hear()

    def hear(self) -> str:
        """Wait for a line from its standard output. Raises `ProgramFailed` if it ends instead."""
        pipe = self._process.stdout
        line = "" if pipe is None else pipe.readline()
        if not line:
            raise ProgramFailed(f"{self.name} ended too early: {self.tail()}")
        return line.rstrip("\n")

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self._process.pid

    def pids(self) -> set[int]:
        """All its processes: those of its session and the descendants of those."""
        processes = dict(_processes())
        found = {pid for pid, (_, session) in processes.items() if session == self._process.pid or pid == self.pid}
        grew = True
        while grew:
            more = {pid for pid, (parent, _) in processes.items() if parent in found} - found
            found |= more
            grew = bool(more)
        return found

    def _members(self) -> dict[int, str]:
        """All its processes, each with the moment in which it began: a number may be given to somebody else later."""
        return {pid: began for pid in self.pids() if (began := _began(pid)) is not None}

    def cpu_s(self) -> float:
        """User and system time of all of them so far, children that have ended included (proc(5), fields 14–17)."""
        ticks = 0
        for pid in self.pids():
            if (fields := _stat(pid)) is not None:
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS_PER_S

    def rss_bytes(self) -> int:
        """Resident memory of all of them, summed: shared pages count in each."""
        total = 0
        for pid in self.pids():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
            except OSError:
                continue  # it has ended meanwhile
        return total

    def peak_rss_bytes(self) -> int:
        """The most that each of them has had resident, summed (proc(5), VmHWM)."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        return total

    def wait_for(self, port: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until somebody listens on this port of loopback. Raises `ProgramFailed`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if self._process.poll() is not None:
                    raise ProgramFailed(f"{self.name} did not start: {self.tail()}") from None
                if time.monotonic() > deadline:
                    raise ProgramFailed(f"{self.name} does not listen after {timeout_s:g} s: {self.tail()}") from None
                time.sleep(_POLL_S)
        if self._cpu is not None:
            self._pin({self._cpu})

    def _pin(self, cpus: set[int]) -> None:
        """Bind every thread: some programs (Traffic Server) bind theirs to the whole machine when they start."""
        for pid in self.pids():
            with suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), cpus)

    def tail(self) -> str:
        """The end of its log."""
        self._log.flush()
        text = Path(self._log.name).read_text(errors="replace").strip()
        return text[-_LOG_TAIL_CHARS:] or "it wrote nothing"


def give_to_nobody(folder: Path) -> None:
    """For programs that will not be root. Raises `ProgramFailed`."""
    try:
        shutil.chown(folder, NOBODY)
    except LookupError as error:
        raise ProgramFailed(str(error)) from error


def free_port() -> int:
    """One of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _processes() -> list[tuple[int, tuple[int, int]]]:
    """Of each process its parent and its session."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [(pid, (int(fields[1]), int(fields[3]))) for pid in numbers if (fields := _stat(pid)) is not None]


def _stat(pid: int) -> list[str] | None:
    """The fields of proc(5) from the third on; None where there is no such process any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _began(pid: int) -> str | None:
    """When a process began, in ticks since the machine did."""
    fields = _stat(pid)
    return None if fields is None else fields[19]


def _kill(pid: int, began: str) -> None:
    """A process that was left behind, if it is still the one that is meant."""
    if _began(pid) == began:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
