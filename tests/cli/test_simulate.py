"""`rangecache simulate` as a person types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rangecache.cli import main

HEADER = "time_s,object,offset,length\n"


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """Two objects of four blocks each, read in turn, three times over."""
    path = tmp_path / "trace.csv"
    reads = [f"{number}.0,s3/b/{'ab'[number % 2]},0,1048576\n" for number in range(6)]
    path.write_text(HEADER + "".join(reads))
    return str(path)


def test_a_recorded_trace_is_a_table(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", recorded, "--size", "100%", "--policy", "lru", "--policy", "belady"]) == 0
    about, empty, heads, *rows = capsys.readouterr().out.splitlines()
    assert about == "6 reads of 2 objects, 6.0 MiB in all, 2.0 MiB in different blocks"
    assert not empty
    assert heads.split()[:2] == ["cache", "policy"]
    assert [row.split()[:1] for row in rows] == [["no"], ["2.0"], ["2.0"]]
    assert all("66.7%" in row for row in rows[1:])


def test_a_trace_may_come_from_a_pipe(
    recorded: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--size", "100%", "--policy", "lru", "--json"]
    assert main(["simulate", recorded, *arguments]) == 0
    from_a_file = capsys.readouterr().out
    with Path(recorded).open(encoding="utf-8") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert main(["simulate", "-", *arguments]) == 0
    assert capsys.readouterr().out == from_a_file


def test_as_json_each_row_is_a_line(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    prices = ["--price-per-1000-requests", "500", "--price-per-gb", "0"]
    assert main(["simulate", recorded, "--size", "10MiB", "--policy", "rangecache", "--json", *prices]) == 0
    baseline, ours = map(json.loads, capsys.readouterr().out.splitlines())
    assert (baseline["policy"], baseline["origin_requests"], baseline["cost"]) == ("no cache", 6, 3.0)
    assert (ours["policy"], ours["cache_bytes"], ours["hits"]) == ("rangecache", 10 << 20, 4)
    assert (ours["origin_requests"], ours["origin_bytes"], ours["cost"]) == (2, 2 << 20, 1.0)


def test_a_trace_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--generate", "loop", "--reads", "3000", "--size", "1%", "--policy", "lru"]) == 0
    assert "3,000 reads" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say which trace to replay"),
        (["--generate", "zipf", "TRACE"], "Say which trace to replay"),
        (["TRACE", "--size", "0%"], "expected a share such as 10%"),
        (["TRACE", "--size", "lots"], "expected a size such as 256KiB"),
        (["TRACE", "--block-size", "0"], "expected more than nothing"),
        (["TRACE", "--policy", "mru"], "'mru' is not one of"),
        (["nowhere.csv"], "does not exist"),
    ],
)
def test_a_wrong_command_line_is_told(
    recorded: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["simulate", *(recorded if each == "TRACE" else each for each in arguments)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), (HEADER, "has no reads"), (HEADER + "1.0,s3/b/k,0,-5\n", "trace.csv:2: length: expected")],
)
def test_a_faulty_trace_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    assert main(["simulate", str(path)]) == 1
    assert said in capsys.readouterr().err
