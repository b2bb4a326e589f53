"""`python -m rangecache.cli.leashed COMMAND …` is `rangecache COMMAND …` that ends when its standard input does.

Whoever starts it holds the other end of that pipe. So it ends with him, however he ends: also by SIGKILL, and by a
signal in the very moment in which he starts it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from rangecache.cli import main

_STDIN = 0


def _watch() -> None:
    # Not `sys.stdin`: its lock, held by a thread that waits, is fatal to Python when it exits.
    while os.read(_STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch, name="leash", daemon=True).start()
    sys.exit(main())
