"""Before anything is measured: does a peer answer ranges with the right bytes? Speed of wrong answers is of no use."""

from __future__ import annotations

import http.client
import random
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S: Final = 120.0
_RANGES: Final = 24


class WrongAnswer(Exception):
    """A peer's answer is not what HTTP and the object say."""


class Client:
    """One keep-alive connection; a context manager."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._path = target.path
        self._connection = http.client.HTTPConnection(target.netloc, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def read(self, name: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)` of an object. Raises `WrongAnswer`."""
        wanted = f"bytes={start}-{end - 1}"
        self._connection.request("GET", self._path + name, headers={"Range": wanted})
        answer = self._connection.getresponse()
        body = answer.read()
        said = answer.headers["Content-Range"]
        if answer.status != 206 or not (said or "").startswith(f"bytes {start}-{end - 1}/"):
            raise WrongAnswer(f"{answer.status} with Content-Range {said!r} to {wanted}")
        if len(body) != end - start:
            raise WrongAnswer(f"{len(body)} bytes to {wanted}")
        return body

    def read_all(self, name: str) -> int:
        """The whole object, thrown away; its length."""
        self._connection.request("GET", self._path + name)
        answer = self._connection.getresponse()
        length = 0
        while piece := answer.read(1 << 20):
            length += len(piece)
        if answer.status != 200:
            raise WrongAnswer(f"{answer.status} to a GET without a range")
        return length


def warm_up(url: str, file: Path) -> None:
    """Have a peer take in a whole object: as a whole, and its slices too where it keeps only what was asked as such."""
    size = file.stat().st_size
    with Client(url) as client:
        if (length := client.read_all(file.name)) != size:
            raise WrongAnswer(f"{length} bytes of an object of {size}")
        step = 1 << 20
        for start in range(0, size, step):
            client.read(file.name, start, min(start + step, size))


def check_ranges(url: str, file: Path, range_bytes: int, seed: int = 1) -> None:
    """Some random ranges, their bytes compared with the file's. Raises `WrongAnswer`."""
    choice, size = random.Random(seed), file.stat().st_size
    with Client(url) as client, file.open("rb") as truth:
        for _ in range(_RANGES):
            start = choice.randint(0, size - range_bytes)
            truth.seek(start)
            if client.read(file.name, start, start + range_bytes) != truth.read(range_bytes):
                raise WrongAnswer(f"wrong bytes from {start} on")
