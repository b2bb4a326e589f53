"""Open files of blocks whose bytes this process has verified, at most so many: what is read of them again, and is in
the page cache, needs no thread.

Why nothing else than the verified bytes comes out of them is in docs/disk.md. What it asks of this file: a descriptor
is here only while its block is held by the policy, and is neither being read by a thread nor written over. All of it
runs on the event loop, so there is nothing between a look at this table and the read that follows.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.blocks.disk_verified import VerifiedFile
    from rangecache.model import BlockKey

logger = logging.getLogger(__name__)

DESCRIPTORS_MAX: Final = 4096
"""Of blocks of 256 KiB: a GiB that can be read without a thread. Each takes half a KiB here."""
SHARE_MAX: Final = 8
"""And no more than one in so many of the files that the system lets this process open."""


def descriptor_limit() -> int:
    """How many blocks may be kept open. The listener raises the soft limit of open files towards the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_MAX, hard // SHARE_MAX)


class Descriptors:
    """The files, by block. Who was not read since somebody last looked for room goes first (CLOCK)."""

    def __init__(self, directory: str, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._files: dict[BlockKey, VerifiedFile] = {}
        self._row: dict[bytes, VerifiedFile] = {}
        """The same by name, in the order in which somebody looks for room."""
        self.find: Callable[[BlockKey], VerifiedFile | None] = self._files.get
        """The open file of a block. On the hot path: an attribute, so that a C method can stand here."""
        self.supported: bool | None = None
        """Whether the directory's file system can read without waiting; None until the first block has been read."""

    def __len__(self) -> int:
        return len(self._files)

    def keep(self, file: VerifiedFile) -> None:
        """Take the file over, or close it."""
        if self.supported is None:
            self.supported = file.knows_nowait()
            if not self.supported:
                logger.info(
                    "disk cache %s is on a file system that cannot read without waiting (RWF_NOWAIT): "
                    "all that is read from it takes a thread, also what the page cache has",
                    self._directory,
                )
        if not self.supported or self._limit <= 0:
            file.close()
            return
        self.drop(file.name)
        while len(self._files) >= self._limit:
            self._make_room()
        self._files[file.key] = self._row[file.name] = file

    def _make_room(self) -> None:
        """Close the first in the row or, if it has been read since it was put there, put it at the end."""
        name, file = next(iter(self._row.items()))
        if file.reads == file.reads_seen:
            self.drop(name)
        else:
            file.reads_seen = file.reads
            self._row[name] = self._row.pop(name)

    def drop(self, name: bytes) -> None:
        """Close the file of this block, if it is here: from now on it may be changed."""
        file = self._row.pop(name, None)
        if file is not None:
            del self._files[file.key]
            file.close()

    def clear(self) -> None:
        """Close all."""
        files = list(self._row.values())
        self._files.clear()
        self._row.clear()
        for file in files:
            file.close()
