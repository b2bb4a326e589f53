from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.testing.samples import SMALL, make_samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def small_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small samples, made once."""
    return make_samples(tmp_path_factory.mktemp("samples"), SMALL)
