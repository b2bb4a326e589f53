"""A group of processes that may have so much memory, as a container has (cgroups, version 1 or 2)."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path("/sys/fs/cgroup")
_NAME: Final = "rangecache-test"


class Group:
    """A group, made and limited."""

    def __init__(self, parent: Path, limit_file: str, events_file: str, limit_bytes: int) -> None:
        self._parent = parent
        self.folder = parent / f"{_NAME}-{os.getpid()}"
        self._events = self.folder / events_file
        self.folder.mkdir()
        (self.folder / limit_file).write_text(str(limit_bytes))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Who is started meanwhile belongs to it, from its first page on."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (self._parent / "cgroup.procs").write_text(str(os.getpid()))

    def killed(self) -> int:
        """How many of its processes the kernel has killed because it had no more memory."""
        found = re.search(r"^oom_kill (\d+)$", self._events.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[Group]:
    """Raises `OSError` where groups cannot be made: without rights, or without cgroups."""
    if (_ROOT / "memory" / "memory.limit_in_bytes").exists():
        group = Group(_ROOT / "memory", "memory.limit_in_bytes", "memory.oom_control", limit_bytes)
    else:
        group = Group(_ROOT, "memory.max", "memory.events", limit_bytes)
    try:
        yield group
    finally:
        group.folder.rmdir()


def why_not() -> str:
    """Why no group can be made here; empty if one can."""
    try:
        with memory_limit(1 << 30) as group, group.entered():
            pass
    except OSError as error:
        return f"no memory cgroup can be made here: {error.strerror}"
    return ""
