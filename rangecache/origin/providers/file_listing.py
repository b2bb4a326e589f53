"""The files below a folder, in the order of their keys, one page at a time. Blocks; called on worker threads.

What is listed is what can be read: regular files, and symbolic links to such that stay in the folder. Links to folders
are not entered: what lies there has a name of its own, or lies outside. A page costs as much as the folders on the way
to it, however far it lies in the listing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import InvalidAnswer, NotListable, PermissionDenied, Unavailable
from rangecache.model import ETag
from rangecache.origin.base import Listed, ListPage
from rangecache.origin.providers.open_file import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rangecache.model import ObjectRef

PAGE_ENTRIES: Final = 1000
FOLDERS_DEEP_MAX: Final = 128  # each level holds a descriptor while it is walked through
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def list_folder(root: Path, below: ObjectRef, delimiter: str, at: str | None) -> ListPage:
    """One page of the files below `root` whose keys begin with `below.key`, from behind the key `at`.

    Raises `NotListable` for a delimiter other than `/`, `PermissionDenied` for a folder that may not be listed, and
    `Unavailable` where the folder itself is missing or the file system fails.
    """
    if delimiter not in ("", "/"):
        raise NotListable("folders are listed with / as the delimiter, or with none")
    walk = _Walk(os.path.realpath(root), below.key, bool(delimiter), at)
    try:
        with _opened(walk.root) as folder:
            found = list(islice(walk.folder(folder, ""), PAGE_ENTRIES + 1))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionDenied(f"a folder of bucket {below.bucket} may not be listed by this user") from error
        raise Unavailable(f"the folder of bucket {below.bucket} could not be listed: {error.strerror}") from error
    page = found[:PAGE_ENTRIES]
    last = page[-1] if len(found) > len(page) else None
    return ListPage(
        [each for each in page if isinstance(each, Listed)],
        [each for each in page if isinstance(each, str)],
        last.key if isinstance(last, Listed) else last,
    )


class _Entry(NamedTuple):
    key: str
    """With a final slash for a folder, so that entries are in the order of what is below them."""
    name: str
    is_folder: bool


class _Walk:
    """The way through the folders of one page."""

    def __init__(self, root: str, prefix: str, one_level: bool, at: str | None) -> None:
        self.root = root
        self._prefix = prefix
        self._one_level = one_level
        self._at = b"" if at is None else at.encode()

    def folder(self, descriptor: int, path: str, depth: int = 0) -> Iterator[Listed | str]:
        """What a folder holds, from behind `at`: objects, or with a delimiter the names of folders too."""
        if depth > FOLDERS_DEEP_MAX:
            raise InvalidAnswer(f"folders are nested more than {FOLDERS_DEEP_MAX} deep")
        for entry in self._entries(descriptor, path):
            if not entry.is_folder:
                listed = self._file(descriptor, entry)
                if listed is not None:
                    yield listed
            elif self._one_level and entry.key.startswith(self._prefix) and entry.key != self._prefix:
                yield entry.key
            else:
                try:
                    with _opened(entry.name, descriptor) as inner:
                        yield from self.folder(inner, entry.key, depth + 1)
                except OSError as error:
                    if error.errno not in _GONE:  # it was removed while it was being listed
                        raise

    def _entries(self, descriptor: int, path: str) -> list[_Entry]:
        entries = []
        with os.scandir(descriptor) as found:
            for each in found:
                is_folder = each.is_dir(follow_symlinks=False)
                key = f"{path}{each.name}/" if is_folder else path + each.name
                if self._wants(key, is_folder):
                    entries.append(_Entry(key, each.name, is_folder))
        return sorted(entries, key=lambda entry: entry.key.encode())

    def _wants(self, key: str, is_folder: bool) -> bool:
        """Whether a part of this page can be there."""
        try:
            name = key.encode()
        except UnicodeEncodeError:  # no key can name it
            return False
        if is_folder and self._prefix.startswith(key):
            return True
        # A folder that `at` lies in is behind `at` in part.
        behind = name > self._at or (is_folder and not self._one_level and self._at.startswith(name))
        return behind and key.startswith(self._prefix)

    def _file(self, descriptor: int, entry: _Entry) -> Listed | None:
        try:
            found = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                real = os.path.realpath(os.path.join(self.root, entry.key), strict=True)
                if not real.startswith(os.path.join(self.root, "")):
                    return None
                found = os.stat(real)
        except OSError:  # gone meanwhile, or a link to nowhere
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        now = Stat.of(found)
        return Listed(entry.key, now.size, ETag(now.tag()), now.modified)


@contextmanager
def _opened(path: str, folder: int | None = None) -> Iterator[int]:
    follow = os.O_NOFOLLOW if folder is not None else 0
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
