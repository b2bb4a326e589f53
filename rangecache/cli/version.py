"""`rangecache --version`: what somebody who helps will ask for first."""

from __future__ import annotations

import platform
from importlib.metadata import version
from importlib.util import find_spec

from rangecache import __version__


def version_line() -> str:
    """Our version, Python, the HTTP parser and the event loop that `serve` uses here."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    loop = f"uvloop {version('uvloop')}" if find_spec("uvloop") else "asyncio"
    return f"rangecache {__version__} ({python}, httptools {version('httptools')}, {loop})"
