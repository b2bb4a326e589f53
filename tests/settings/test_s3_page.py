"""What docs/s3.md proposes is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.settings import Egress, S3Provider
from rangecache.settings.providers.s3_presets import PRESETS
from rangecache.wiring.s3 import s3_dialect

if TYPE_CHECKING:
    from .conftest import Configuration

PAGE = (Path(__file__).parents[2] / "docs" / "s3.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CREDENTIALS = [text for text in re.findall(r"^\| .* `(\{.*?\})`", PAGE, re.MULTILINE) if "{" in text]


@pytest.mark.parametrize("text", FILES)
async def test_its_files_are_taken_and_built(configuration: Configuration, text: str) -> None:
    for provider in configuration(text).providers.values():
        assert isinstance(provider, S3Provider)
        await s3_dialect(provider, SystemClock(), Egress()).aclose()


@pytest.mark.parametrize("text", CREDENTIALS)
async def test_its_credentials_are_taken_and_built(configuration: Configuration, text: str) -> None:
    given = text.replace("…", "x")
    provider = configuration(f"providers: {{p: {{kind: s3, credentials: {given}}}}}").providers["p"]
    assert isinstance(provider, S3Provider)
    await s3_dialect(provider, SystemClock(), Egress()).aclose()


def test_it_has_a_row_for_each_preset() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| ", PAGE, re.MULTILINE)) == {"preset", *PRESETS}
    assert len(FILES) == 2
    assert len(CREDENTIALS) == 7
