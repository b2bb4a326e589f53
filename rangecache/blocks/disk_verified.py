"""Files of blocks that have been read whole and compared with their digest, and are still open: parts of them can be
had again without a thread and without reading the rest, as long as the page cache has the bytes.

`RWF_NOWAIT` (Linux, preadv2(2)) makes a read give up instead of waiting for the disk, so it may be made on the event
loop. A file system either knows it (ext4, xfs, btrfs) or refuses it at the first call (overlayfs, tmpfs).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.framing import FrameError, check, header_bytes

if TYPE_CHECKING:
    from rangecache.model import BlockKey

# Open flags of a read: nothing that somebody put at a block's path (link, pipe, device) is followed or waited for.
READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What `open` says to a link (O_NOFOLLOW) and to a socket: there is something, and it is no block.
_NO_REGULAR_FILE: Final = (errno.ELOOP, errno.EMLINK, errno.ENXIO)
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
# What a kernel or a file system says that does not know the flag.
_UNKNOWN_FLAG: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class VerifiedFile:
    """A block's file as it was when its bytes were verified. Closed by whoever owns it."""

    __slots__ = ("_changed_ns", "_data_at", "_descriptor", "data_bytes", "key", "name", "reads", "reads_seen")

    def __init__(self, descriptor: int, name: bytes, key: BlockKey, about: os.stat_result, data_at: int) -> None:
        """`about` is what `fstat` said before the file was read; `data_at` is where the block begins in it."""
        self._descriptor = descriptor
        self._changed_ns = about.st_ctime_ns
        self._data_at = data_at
        self.data_bytes = about.st_size - data_at
        self.name = name
        self.key = key
        self.reads = 0
        """Parts that were read since it was opened."""
        self.reads_seen = 0
        """How many there were when somebody looked for files to be closed."""

    def read(self, start: int, end: int) -> memoryview | None:
        """The bytes [start, end) of the block, at once. None if they are not in the page cache, the disk fails, or
        somebody has changed the file in any way: deleted, cut or renamed it too (its time of change tells)."""
        part = bytearray(end - start)
        try:
            count = os.preadv(self._descriptor, (part,), self._data_at + start, _NOWAIT)
            unchanged = os.fstat(self._descriptor).st_ctime_ns == self._changed_ns
        except OSError:
            return None
        if not unchanged or count != end - start:
            return None
        self.reads += 1
        return memoryview(part).toreadonly()

    def knows_nowait(self) -> bool:
        """Whether the file system has such reads at all."""
        if not _NOWAIT:
            return False
        try:
            os.preadv(self._descriptor, (bytearray(1),), 0, _NOWAIT)
        except OSError as error:
            return error.errno not in _UNKNOWN_FLAG
        return True

    def close(self) -> None:
        """Give the descriptor back. Once."""
        os.close(self._descriptor)


class Opened(NamedTuple):
    """A block that has been read from its file."""

    data: memoryview
    file: VerifiedFile


def open_verified(path: str, name: bytes, key: BlockKey) -> Opened:
    """Read the block at `path` and verify it. Raises `FileNotFoundError`, `FrameError`, `OSError`."""
    data_at = header_bytes(key.identity())
    try:
        descriptor = os.open(path, READ_FLAGS)
    except OSError as error:
        if error.errno in _NO_REGULAR_FILE:
            raise FrameError("there is no regular file") from error
        raise
    try:
        about = os.fstat(descriptor)
        data_bytes = about.st_size - data_at
        if not stat.S_ISREG(about.st_mode):
            raise FrameError("there is no regular file")
        if not 0 <= data_bytes <= key.block_bytes:
            raise FrameError(f"the file's length of {about.st_size} bytes cannot be that of the block")
        header, data = os.read(descriptor, data_at), os.read(descriptor, data_bytes)
        check(header, data, key)
    except BaseException:
        os.close(descriptor)
        raise
    return Opened(memoryview(data), VerifiedFile(descriptor, name, key, about, data_at))
