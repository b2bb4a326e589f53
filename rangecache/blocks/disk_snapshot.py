"""The disk tier's index as a file: names, sizes and ranks in the order of departure.

    magic 8 · version 2 · number of the first journal after it 8          little-endian
    records as in the journal, the first to go first
    count 8 · sum of the sizes 8 · blake3 of everything before, 32

A hint and nothing more: a block that it names is served only if its own file proves it. One that is cut, damaged or of
another format is worth nothing, and the directory is listed instead. Blocking file work, without state.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
from contextlib import suppress
from typing import Final, NamedTuple

from blake3 import blake3

from rangecache.blocks.disk_journal import RECORD

INDEX_VERSION: Final = 1
"""Part of the folder's name too. It covers the journal's format."""
_MAGIC: Final = b"rc-index"
_HEADER: Final = struct.Struct("<8sHQ")
_SUMS: Final = struct.Struct("<QQ")
_DIGEST_BYTES: Final = 32
_TRAILER_BYTES: Final = _SUMS.size + _DIGEST_BYTES


class SnapshotError(ValueError):
    """The file is not a whole snapshot of this format."""


class Snapshot(NamedTuple):
    """A snapshot as it was read."""

    journal: int
    """Journals from this number on tell what came after."""
    records: memoryview
    """To be unpacked with `RECORD`."""
    blocks: int
    bytes: int
    """The sizes of all blocks together."""


def read_snapshot(path: str) -> Snapshot:
    """The snapshot. Raises `SnapshotError`, or `OSError` (`FileNotFoundError` where there is none)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise SnapshotError("there is no regular file") from error
        raise
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size < _HEADER.size + _TRAILER_BYTES:
        os.close(descriptor)
        raise SnapshotError("it is no regular file, or too short")
    with open(descriptor, "rb") as file:
        header = file.read(_HEADER.size)
        magic, version, journal = _HEADER.unpack(header)
        if magic != _MAGIC or version != INDEX_VERSION:
            raise SnapshotError("it is of another format")
        file.seek(-_TRAILER_BYTES, os.SEEK_END)
        sums, digest = file.read(_SUMS.size), file.read(_DIGEST_BYTES)
        blocks, size_bytes = _SUMS.unpack(sums)
        length = blocks * RECORD.size
        if about.st_size != _HEADER.size + length + _TRAILER_BYTES:
            raise SnapshotError("it is cut")
        file.seek(_HEADER.size)
        records = file.read(length)
    if blake3(header).update(records).update(sums).digest() != digest:
        raise SnapshotError("it is damaged")
    return Snapshot(journal, memoryview(records), blocks, size_bytes)


class SnapshotWriter:
    """Writes one snapshot: `begin`, `add` …, then `finish`, or `abort` at any time. All but `abort` raise `OSError`."""

    def __init__(self, path: str, journal: int) -> None:
        self._path = path
        self._temporary = f"{path}.tmp"
        self._journal = journal
        self._lock = threading.Lock()  # who gives up need not know what is still being done
        self._descriptor: int | None = None
        self._aborted = False
        self._digest = blake3()
        self._blocks = self._bytes = 0

    def begin(self) -> None:
        """Open a new file beside the snapshot."""
        with self._lock:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)
            if not self._aborted:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._temporary, flags, 0o600)
                self._write(_HEADER.pack(_MAGIC, INDEX_VERSION, self._journal))

    def add(self, records: bytes, size_bytes: int) -> None:
        """Append records of blocks that have so many bytes together."""
        with self._lock:
            self._blocks += len(records) // RECORD.size
            self._bytes += size_bytes
            self._write(records)

    def finish(self) -> None:
        """Put the whole in the place of the snapshot before it."""
        with self._lock:
            self._write(_SUMS.pack(self._blocks, self._bytes))
            self._write(self._digest.digest())
            if self._close():
                os.rename(self._temporary, self._path)

    def abort(self) -> None:
        """Leave the snapshot before it where it is."""
        with self._lock, suppress(OSError):
            self._aborted = True
            if self._close():
                os.unlink(self._temporary)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        if self._descriptor is not None and os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._temporary)

    def _close(self) -> bool:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None
