"""What the tests of the settings share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from rangecache.errors import ConfigurationError
from rangecache.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Configuration(Protocol):
    """Loads a configuration file that holds `text`."""

    def __call__(
        self, text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> Settings: ...


class Faults(Protocol):
    """The faults of a configuration, without the folder that its file lies in."""

    def __call__(
        self, text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> list[str]: ...


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    def read(text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ, flags)

    return read


@pytest.fixture
def faults(configuration: Configuration, tmp_path: Path) -> Faults:
    def read(text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            configuration(text, environ, flags)
        return caught.value.message.replace(f"{tmp_path}/", "").splitlines()

    return read
