"""What has come and gone since the last snapshot of the disk tier's index, appended before files are written.

    journal-<number>: frames of  length 4 · crc32 4 · records        little-endian
    record (`RECORD`): name 32 · size on disk 4, 0 if the block has gone · rank 1

Nothing is synced: a killed program's appends are in the page cache and so are its files; after a power failure both may
be lost, and the scan of the directory finds what is true. A frame that is cut or damaged ends its file; what follows in
the next number is read on. Blocking file work: threads of the tier call it, one at a time.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORD: Final = struct.Struct("<32sIB")
_FRAME: Final = struct.Struct("<II")
_FRAME_BYTES_MAX: Final = 16 * 1024 * 1024  # far more than a batch has; a larger length is damage
_NAME: Final = re.compile(r"journal-(\d{1,18})", re.ASCII)


class Journal:
    """The journals of one folder. It is opened at the first append, and after a failed one anew under another name."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # two writers append
        self._descriptor: int | None = None
        self._number = 0

    def append(self, gone: Iterable[bytes], come: Iterable[tuple[bytes, int]]) -> None:
        """Note names that have gone, then names with sizes that are about to come. Raises `OSError`."""
        records = b"".join(
            [*(RECORD.pack(name, 0, 0) for name in gone), *(RECORD.pack(name, size, 0) for name, size in come)]
        )
        if not records:
            return
        frame = _FRAME.pack(len(records), zlib.crc32(records)) + records
        with self._lock:
            try:
                if self._descriptor is None:
                    self._descriptor = self._open()
                if os.write(self._descriptor, frame) != len(frame):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path(self._number))
            except OSError:
                self._begin_next()  # what follows a frame that is cut would not be read
                raise

    def rotate(self) -> int:
        """Begin a new file with the next append; its number. All before it is in lower ones."""
        with self._lock:
            self._begin_next()
            return self._number

    def forget_before(self, number: int) -> None:
        """Delete the files that a snapshot has made superfluous."""
        for each in self._numbers():
            if each < number:
                with suppress(OSError):
                    os.unlink(self._path(each))

    def read_from(self, number: int) -> list[bytes]:
        """The records of all files from this number on, in order, frame by frame. Later appends go to a new file.

        Raises `OSError`.
        """
        with self._lock:
            numbers = sorted(each for each in self._numbers() if each >= number)
            self._begin_next(max([number, *numbers]))
        return [frame for each in numbers for frame in _frames(self._path(each))]

    def close(self) -> None:
        """The next append opens a new file."""
        self.rotate()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path(self._number), flags, 0o600)
        except FileExistsError:  # of an earlier program, and nobody has read it yet
            self._begin_next(max(self._numbers()))
            return os.open(self._path(self._number), flags, 0o600)

    def _begin_next(self, after: int = 0) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._number = max(self._number, after) + 1

    def _numbers(self) -> list[int]:
        return [int(match[1]) for match in map(_NAME.fullmatch, os.listdir(self._folder)) if match]

    def _path(self, number: int) -> str:
        return f"{self._folder}/journal-{number}"


def _frames(path: str) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            length, checksum = _FRAME.unpack(head)
            if length > _FRAME_BYTES_MAX or length % RECORD.size:
                return
            records = file.read(length)
            if len(records) != length or zlib.crc32(records) != checksum:
                return
            yield records
