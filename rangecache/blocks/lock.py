"""One program a cache directory: `flock` on a file in it, held as long as the program lives."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import Final

LOCK_NAME: Final = "LOCK"  # of the file, in the directory
_BUSY: Final = (errno.EWOULDBLOCK, errno.EACCES)


class DirectoryLock:
    """An exclusive lock that the kernel gives back when its holder ends, however it ends.

    Nothing here waits: `flock` is asked without blocking. The methods do file work; call them off the event loop.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Whether the lock is ours now; False if another program has it. Raises `OSError` if there can be no lock."""
        if self.is_ours():
            return True
        self.release()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _BUSY:
                return False
            raise
        self._descriptor = descriptor
        with suppress(OSError):  # the number is for the other program's log line; the lock holds without it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        # The file may have been deleted between open and flock; a lock on a file without a name keeps nobody out.
        return os.path.samestat(os.fstat(descriptor), os.lstat(self._path))

    def is_ours(self) -> bool:
        """Whether we hold the lock, and on the very file that other programs find at this path."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path))
        except OSError:
            return False

    def holder(self) -> str:
        """Who has it, for a person to read: `process 123`, or `another program` if it did not say."""
        with suppress(OSError, ValueError), open(self._path, "rb") as file:
            return f"process {int(file.read(20))}"
        return "another program"

    def release(self) -> None:
        """Give it back. The file stays: deleting it would let two programs lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
