"""One file, opened below a folder and nowhere else, and what identifies its bytes.

The path is resolved first, symbolic links included, and must lie below the folder; then it is opened part by part
without following links, so that a link put there meanwhile is refused and not followed. Everything here blocks and is
called on worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import NotFound, OriginError, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.model import ObjectRef

_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENXIO}
)
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})


class Stat(NamedTuple):
    """What identifies a file's bytes. The change time is part of it since programs can set the modification time back,
    and rsync and cp -p do; changed permissions give a new identity too, which costs a read and nothing else."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stat:
        """From `fstat`."""
        return cls(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

    @property
    def modified(self) -> datetime | None:
        """As a date; a file system may hold any number, and None is for those that are none."""
        try:
            return datetime.fromtimestamp(self.modified_ns // 1_000_000_000, UTC)
        except (OverflowError, ValueError, OSError):
            return None

    def tag(self) -> str:
        """As text, the same for the same stat only."""
        return "-".join(f"{each:x}" for each in self)


class OpenFile:
    """A descriptor that is closed once, and never under a read: a closed number may soon be another file."""

    def __init__(self, descriptor: int, found: os.stat_result) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._closed = False
        self.stat = Stat.of(found)

    def look_again(self) -> None:
        """Take a new stat."""
        with self._lock:
            if not self._closed:
                self.stat = Stat.of(os.fstat(self._descriptor))

    def read(self, offset: int, length: int) -> tuple[bytes, Stat]:
        """Bytes, fewer than asked near the end, and the stat after reading them. Raises `OriginError`."""
        with self._lock:
            if self._closed:
                return b"", self.stat
            try:
                return os.pread(self._descriptor, length, offset), Stat.of(os.fstat(self._descriptor))
            except OSError as error:
                raise Unavailable(f"a file could not be read: {error.strerror}") from error

    def close_if_idle(self) -> bool:
        """Close at once unless a read is going on; False then."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._close()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Close after the read that is going on."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def open_below(root: Path, ref: ObjectRef) -> OpenFile:
    """Open the regular file that `ref.key` names below `root`.

    Raises `NotFound` for everything that is not a regular file there, `PermissionDenied`, and `Unavailable` where the
    folder itself is missing or the file system fails.
    """
    parts = _parts(ref)
    try:
        folder = os.fsencode(os.path.realpath(root, strict=True))
        descriptor = os.open(folder, _folder_flags())
    except OSError as error:
        raise Unavailable(f"the folder of bucket {ref.bucket} cannot be opened: {error.strerror}") from error
    try:
        real = os.path.realpath(os.path.join(folder, *parts), strict=True)
        below = os.path.relpath(real, folder).split(b"/")
        if below[0] in (b"..", b"."):
            raise NotFound(f"{ref} leads out of the folder of its bucket")
        for part in below[:-1]:
            inner = os.open(part, _folder_flags(), dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        return _open_regular(below[-1], descriptor, ref)
    except OSError as error:
        raise _translated(error, ref) from error
    finally:
        os.close(descriptor)


def _parts(ref: ObjectRef) -> list[bytes]:
    try:
        parts = ref.key.encode().split(b"/")
    except UnicodeEncodeError as error:
        raise NotFound(f"no file can have the name {ref!s:.100}") from error
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise NotFound(f"there is no file {ref}: its name has an empty part, a dot segment or a NUL")
    return parts


def _folder_flags() -> int:
    # With O_PATH, where there is one, a folder that may be entered but not listed will do.
    return os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)


def _open_regular(name: bytes, folder: int, ref: ObjectRef) -> OpenFile:
    # Looked at before it is opened, since opening a device can do things; and after, since it may have been exchanged.
    # Without O_NONBLOCK a pipe put there in between would hold this thread until somebody writes to it.
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise NotFound(f"{ref} is not a file")
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(f"{ref} is not a file")
    except BaseException:
        os.close(descriptor)
        raise
    return OpenFile(descriptor, found)


def _translated(error: OSError, ref: ObjectRef) -> OriginError:
    if error.errno in _ABSENT:
        return NotFound(f"there is no file {ref}")
    if error.errno in _FORBIDDEN:
        return PermissionDenied(f"the file {ref} may not be read by this user; change its permissions")
    return Unavailable(f"the file {ref} could not be opened: {error.strerror}")
