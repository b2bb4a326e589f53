"""One set of files, and what the clients read from it when it lies on the local disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from tests.clients.data import REAL_FILES, make_data
from tests.clients.readers import READERS, REAL, Arrays, Reader
from tests.clients.stack import origin_on_a_thread
from tests.emulators import seaweedfs  # noqa: F401 - a fixture is found by its name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rangecache.testing.origin import Origin


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds all files."""
    return make_data(tmp_path_factory.mktemp("data"))


# The real files are not part of the project: where they are missing, the readers of them are too.
HERE: Final = tuple(reader for reader in READERS if REAL_FILES.is_dir() or not reader.needs.startswith(REAL))


@pytest.fixture(params=HERE, ids=str)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each reader."""
    chosen: Reader = request.param
    return chosen


@pytest.fixture(scope="session")
def local(data: Path) -> Callable[[Reader], Arrays]:
    """What a reader gets from the local folder."""
    known: dict[str, Arrays] = {}

    def read(reader: Reader) -> Arrays:
        if reader.name not in known:
            known[reader.name] = reader.read(f"{data}/")
        return known[reader.name]

    return read


@pytest.fixture(scope="session")
def origin(data: Path) -> Iterator[Origin]:
    """An origin that serves the files, on a thread."""
    with origin_on_a_thread() as running:
        running.serve_directory(data)
        yield running


def assert_same(found: Arrays, expected: Arrays) -> None:
    """Array by array, value by value."""
    assert len(found) == len(expected) > 0
    for each, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, right)
