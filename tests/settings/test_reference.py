"""The configuration page is written from the settings, and every setting is explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from rangecache.settings import load
from rangecache.settings.fields import Section
from rangecache.settings.reference import docstrings, reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python -m rangecache.settings > docs/configuration.md"


def _all_sections(section: type[Section] = Section) -> list[type[Section]]:
    found = [one for one in section.__subclasses__() if one.__module__.startswith("rangecache.")]
    return found + [below for one in found for below in _all_sections(one)]


@pytest.mark.parametrize("section", _all_sections(), ids=lambda section: section.__name__)
def test_every_setting_has_a_sentence_under_it(section: type[Section]) -> None:
    groups = {name for name, field in section.model_fields.items() if _is_section(field.annotation)}
    assert section.model_fields.keys() - groups - docstrings(section).keys() == set()


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def test_the_page_says_what_null_does_wherever_null_is_the_default() -> None:
    rows = [line for line in reference().splitlines() if "| `null` |" in line]
    assert rows
    assert [
        row for row in rows if "null:" not in row.split("|")[3] and "file" not in row and "Never printed" not in row
    ] == []


def test_the_example_of_the_page_is_a_configuration(tmp_path: Path) -> None:
    example = reference().split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(example)
    path = tmp_path / "config.yaml"
    path.write_text(example)
    assert set(load(path).providers) == {"s3", "noaa", "local"}


def test_the_page_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    sys.modules.pop("rangecache.settings.__main__", None)
    runpy.run_module("rangecache.settings", run_name="__main__")
    assert capsys.readouterr().out == reference()
