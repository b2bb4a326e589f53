"""Ctrl-C for commands that have something to bring to an end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Interrupt:
    """Within its block the first Ctrl-C is only noted, and calls `then`; the second is a KeyboardInterrupt as ever."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        """`then` is called between any two instructions of the main thread: it must not wait."""
        self._then = then
        self._noted = threading.Event()

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._noted.is_set():
            raise KeyboardInterrupt
        self._noted.set()
        if self._then is not None:
            self._then()

    @property
    def noted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._noted.is_set()

    def wait(self, delay_s: float) -> bool:
        """Wait for it, not longer than this; as `noted`."""
        return self._noted.wait(delay_s)
