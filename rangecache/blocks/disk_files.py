"""The files of the disk tier: one a block, named by digests, complete or absent.

Blocking file work without state or threads; the tier calls it on its own pool. A block is written to a temporary name
and renamed, without fsync: a kill at any point leaves a leftover `tmp-…` or a file that fails its check, which is a
miss, never wrong bytes.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
import struct
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.blocks.disk_bounds import Free
from rangecache.blocks.disk_verified import READ_FLAGS, open_verified
from rangecache.blocks.framing import (
    FORMAT_VERSION,
    HEADER_BYTES_MAX,
    FrameError,
    encode_header,
    header_bytes,
    read_identity,
)
from rangecache.model import identity_digest, length_prefixed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rangecache.blocks.disk_verified import Opened
    from rangecache.model import BlockKey, ObjectRef

_PAGE_BYTES: Final = 4096  # what file systems give out at least; a file is counted in whole ones
_SHELF: Final = re.compile(r"[0-9a-f]{2}", re.ASCII)
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
PREFIX_BYTES: Final = 16
VERSIONS_REMEMBERED: Final = 1024  # whose blocks are named faster; about 1 KB each, and what their names take
_DIGEST_HEX: Final = 2 * PREFIX_BYTES
_OVERWRITE_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE_FLAGS: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The largest block there can be (`cache.block_size` goes up to 16 MiB) and a header with the longest of keys.
FILE_BYTES_MAX: Final = 17 * 1024 * 1024
# As large as a usual block, so that a file system with a last free page does not pass for a healthy one.
PROBE_BYTES: Final = 256 * 1024


STORED: Final = struct.Struct(">Q32sI")
"""A block file as a listing tells it: time of change in ns, name, size on disk. Its tuples sort by age."""


def block_name(key: BlockKey) -> bytes:
    """32 bytes that name a block on disk. The first 16 stand for the object: all its blocks begin with them; the others
    are the `identity_digest` of all fields."""
    ref, generation, block_index, block_bytes = key
    prefix, begun = _version(ref, generation)
    digest = begun.copy()
    digest.update(length_prefixed(str(block_index), str(block_bytes)))
    return prefix + digest.digest()[:PREFIX_BYTES]


@lru_cache(VERSIONS_REMEMBERED)
def _version(ref: ObjectRef, generation: str) -> tuple[bytes, hashlib._Hash]:
    """What the names of all blocks of a version have in common: a block is named several times on its way."""
    return object_prefix(ref), hashlib.sha256(length_prefixed(*ref, generation))


def object_prefix(ref: ObjectRef) -> bytes:
    """What the names of all blocks of an object begin with: 16 bytes."""
    return identity_digest(*ref)


def disk_bytes(key: BlockKey, data_bytes: int) -> int:
    """What the file of a block of `data_bytes` takes on disk, in whole pages."""
    return _whole_pages(header_bytes(key.identity()) + data_bytes)


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


class Stuck(NamedTuple):
    """Blocks whose files could not be deleted, and the last reason."""

    blocks: list[tuple[bytes, int]]
    """Name and size on disk."""
    error: OSError | None


class BlockFiles:
    """The folder `blocks-<format version>` of a cache directory, with 256 shelves (`00` to `ff`) of files in it."""

    def __init__(self, directory: str) -> None:
        self.root = os.path.join(directory, f"blocks-{FORMAT_VERSION}")
        self._temporary = f"tmp-{secrets.token_hex(8)}-"  # of this program; others with `tmp-` are leftovers
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folder. Raises `OSError`."""
        with suppress(FileExistsError):
            os.mkdir(self.root, 0o700)

    def path(self, name: bytes) -> str:
        """Where the block of this name lies. Shelves go by the block's digest, so that one huge object fills all."""
        text = name.hex()
        return f"{self.root}/{text[_DIGEST_HEX : _DIGEST_HEX + 2]}/{text}"

    def write(self, name: bytes, key: BlockKey, data: memoryview, spare: bytes | None = None) -> None:
        """Put the block at its path, whole or not at all. Raises `OSError`.

        `spare` is a block that nobody will ask for again: its file is written over if it is large enough, which saves
        the file system giving back one file's inode, blocks and pages and giving out another's.
        """
        header = encode_header(key, data)
        length = len(header) + len(data)
        path = self.path(name)
        temporary = os.path.join(os.path.dirname(path), f"{self._temporary}{next(self._numbers)}")
        descriptor = None if spare is None else _take_over(self.path(spare), temporary, length)
        if descriptor is None:
            descriptor = _create(temporary)
        try:
            try:
                if os.writev(descriptor, (header, data)) != length:
                    # A regular file takes all or, where space or a quota ends, less.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), temporary)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):  # what stays is removed by the next scan
                os.unlink(temporary)
            raise

    def read(self, name: bytes, key: BlockKey) -> Opened:
        """The block, verified, and its file, which the caller has to close. Raises `FileNotFoundError`, `FrameError`
        (the file has been removed), `OSError`."""
        path = self.path(name)
        with suppress(FrameError):  # then once more, in case the fault was on the way and not on the disk
            return open_verified(path, name, key)
        try:
            return open_verified(path, name, key)
        except FrameError:
            self.discard(path)
            raise

    def remove(self, names: Iterable[bytes]) -> Stuck:
        """Delete these blocks' files. One that has gone is no news to the cache; those that stay are returned."""
        stuck: list[tuple[bytes, int]] = []
        why: OSError | None = None
        for name in names:
            path = self.path(name)
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except IsADirectoryError:
                self.discard(path)
            except OSError as error:
                stuck.append((name, _size_of(path)))
                why = error
        return Stuck(stuck, why)

    def ref(self, name: bytes) -> ObjectRef | None:
        """Whose block this is, as its header says; None where it cannot be read or says something else."""
        with suppress(OSError, FrameError), open(os.open(self.path(name), READ_FLAGS), "rb", buffering=0) as file:
            ref = read_identity(file.read(HEADER_BYTES_MAX)).ref
            if object_prefix(ref) == name[:PREFIX_BYTES]:
                return ref
        return None

    def discard(self, path: str) -> None:
        """Delete what is at `path` and is no block. A folder goes only if it is empty: its content is not ours."""
        with suppress(OSError):
            try:
                os.unlink(path)
            except (IsADirectoryError, PermissionError):
                os.rmdir(path)

    def shelves(self) -> list[str]:
        """Names of the shelves that there are. Whatever else lies in the folder is removed. Raises `OSError`."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if _SHELF.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    found.append(entry.name)
                elif not entry.name.startswith(self._temporary):
                    self.discard(entry.path)
        return sorted(found)

    def names(self, shelf: str) -> list[bytes]:
        """Names of the blocks on one shelf, without a look at the files. Leftovers and whatever is no block go.

        Raises `OSError`.
        """
        found = []
        with os.scandir(f"{self.root}/{shelf}") as entries:
            for entry in entries:
                if _is_named(entry.name, shelf) and entry.is_file(follow_symlinks=False):
                    found.append(bytes.fromhex(entry.name))
                elif not entry.name.startswith(self._temporary):
                    self.discard(entry.path)
        return found

    def listing(self, names: Iterable[bytes]) -> bytes:
        """What there is of these blocks as `STORED` records, oldest first. Names and sizes only: content is checked
        when it is read. Raises `OSError`."""
        found = []
        for name in names:
            path = self.path(name)
            try:
                about = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(about.st_mode) and about.st_size <= FILE_BYTES_MAX:
                found.append(STORED.pack(max(0, about.st_mtime_ns), name, _whole_pages(about.st_size)))
            else:
                self.discard(path)
        found.sort()
        return b"".join(found)

    def missing(self, names: Iterable[bytes]) -> list[bytes]:
        """Those that have no file."""
        return [name for name in names if not os.path.lexists(self.path(name))]

    def free(self) -> Free:
        """What an ordinary user may still use of this file system. Raises `OSError`."""
        about = os.statvfs(self.root)
        return Free(about.f_bavail * about.f_frsize, about.f_favail, about.f_files)

    def probe(self) -> None:
        """Write, read and delete a file as large as a block. Raises `OSError`."""
        path = os.path.join(self.root, f"{self._temporary}probe")
        content = os.urandom(PROBE_BYTES)
        try:
            with open(os.open(path, _CREATE_FLAGS | os.O_RDWR, 0o600), "r+b", buffering=0) as file:
                if file.write(content) != PROBE_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                file.seek(0)
                if file.read(PROBE_BYTES) != content:
                    raise OSError(errno.EIO, "what was written is not what is read", path)
        finally:
            with suppress(OSError):
                os.unlink(path)


def _create(path: str) -> int:
    try:
        return os.open(path, _CREATE_FLAGS | os.O_WRONLY, 0o600)
    except FileNotFoundError:
        # The shelf is made when it is first needed. If the root has gone too, this says so.
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o700)
        return os.open(path, _CREATE_FLAGS | os.O_WRONLY, 0o600)


def _take_over(old: str, temporary: str, length: int) -> int | None:
    """A descriptor to write `length` bytes over the file at `old`, which is at `temporary` now; None if it stays where
    it is: it is no regular file, has another name too, is smaller (the tier would grow), or cannot be had."""
    try:
        descriptor = os.open(old, _OVERWRITE_FLAGS)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and _whole_pages(about.st_size) >= length:
            os.rename(old, temporary)
            if os.lstat(temporary).st_ino != about.st_ino:
                # The block of this name has come back meanwhile, by another thread.
                os.rename(temporary, old)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), old)
            # The last page, if it is not a whole one, would have to be read from the disk to be changed.
            os.ftruncate(descriptor, length // _PAGE_BYTES * _PAGE_BYTES)
            return descriptor
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
    os.close(descriptor)
    return None


def _size_of(path: str) -> int:
    try:
        return _whole_pages(os.lstat(path).st_size)
    except OSError:
        return FILE_BYTES_MAX


def _is_named(text: str, shelf: str) -> bool:
    return _NAME.fullmatch(text) is not None and text.startswith(shelf, _DIGEST_HEX)
