"""Where the disk cache is, and what it leaves to others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rangecache.checkup.machine import DiskWanted

if TYPE_CHECKING:
    from rangecache.settings import Settings

_GIB: Final = 1024**3
_MIN_FREE_SHARE: Final = 0.05


def disk_wanted(settings: Settings) -> DiskWanted | None:
    """As configured; None where nothing is kept on disk."""
    disk = settings.cache.disk
    if not disk.enabled:
        return None
    path = Path(disk.path).expanduser()
    return DiskWanted(path, disk.size, _auto_min_free(path) if disk.min_free == "auto" else disk.min_free)


def _auto_min_free(path: Path) -> int:
    """The larger of 1 GiB and 5 % of the file system that `path` is, or will be, on."""
    for folder in (path, *path.parents):
        try:
            return max(_GIB, int(shutil.disk_usage(folder).total * _MIN_FREE_SHARE))
        except OSError:
            continue
    return _GIB
