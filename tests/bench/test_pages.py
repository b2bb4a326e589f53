"""What is made of the figures: the JSON file, tables, the page. And what the origin's log is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.chart import PANELS, bars
from bench.figures import BEST, FIGURES, US, Goal, Measured
from bench.origin import distinct_bytes
from bench.performance import FIGURES as FILE
from bench.performance import PAGE, render
from bench.results import Result, Results
from bench.scenarios import find_scenarios
from bench.tables import figure_tables, goal_table
from rangecache.testing.log import LoggedRequest

DOCS = Path(__file__).parents[2] / "docs"


def results(name: str = "warm_16k", us: float = 15.0) -> Results:
    machine = {
        "date": "2026-11-21", "cores": 2, "processor": "a processor", "memory_gib": 23.5, "kernel": "6.1",
        "python": "3.11.7", "packages": {"aiohttp": "3.14"},
    }  # fmt: skip
    measured = [
        Measured("warm", US, {"cpu_us_per_request": us, "requests_per_s": 1234.5}),
        Measured("warm", "nginx slice", {"cpu_us_per_request": 20.0}),
    ]
    goals = [Goal("warm", "cpu_us_per_request", 0.8, against=BEST)]
    result = Result("warm in memory", "2026-11-21", False, goals, measured, {"Varnish": "it did not start\nand more"})
    return Results(
        machine, {US: "0.1", "nginx slice": "1.22"}, [US, "nginx slice"], {"Squid": ["squid"]}, {name: result}
    )


def test_the_table_of_goals_has_both_figures_the_ratio_and_whether_it_is_reached() -> None:
    lines = goal_table(results()).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "warm in memory", "CPU a request ≤ 0.8 × the best peer", "15.0 µs", "nginx slice: 20.0 µs", "0.75", "yes",
    ]  # fmt: skip
    assert "**no**" in goal_table(results(us=17.0))


def test_a_figure_that_one_side_does_not_have_is_a_dash() -> None:
    lines = figure_tables(results().scenarios["warm_16k"].measured).splitlines()
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["nginx slice", "20.0 µs", "–"]


def test_figures_come_back_from_the_file_and_other_scenarios_stay_in_it(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    results("warm_64k").save(file)
    results("warm_16k", us=12.0).save(file)
    found = Results.load(file)
    assert set(found.scenarios) == {"warm_16k", "warm_64k"}
    assert found.scenarios["warm_16k"].measured[0].figures["cpu_us_per_request"] == 12.0
    assert found.verdicts("warm_64k")[0].ratio == 0.75


def test_the_page_names_machine_versions_and_who_was_left_out() -> None:
    page = render(results())
    assert "2 cores of a processor with 23.5 GiB, Linux 6.1, Python 3.11.7, aiohttp 3.14." in page
    assert "not installed (squid)" in page
    assert "Left out: Varnish: it did not start\n" in page
    assert "1 of 1 goals are reached." in page
    assert "{{" not in page


@pytest.mark.skipif(not (DOCS / FILE).exists(), reason="nothing has been measured yet")
def test_the_page_in_the_documentation_is_made_of_the_figures_beside_it() -> None:
    assert (DOCS / PAGE).read_text() == render(Results.load(DOCS / FILE))


def test_every_panel_of_the_chart_is_of_a_scenario_that_there_is() -> None:
    assert {panel.scenario for panel in PANELS} <= set(find_scenarios())
    assert {panel.figure for panel in PANELS} <= set(FIGURES)
    assert bars(results(), PANELS[0]) == [(US, 15.0), ("nginx slice", 20.0)]


def test_bytes_that_are_asked_for_twice_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(1000))
    wanted = ["bytes=0-99", "bytes=50-149", "bytes=-100", "bytes=950-", "bytes=990-2000"]
    requests = [LoggedRequest("GET", "/data/object", [("Range", each)], 1, 0.0) for each in wanted]
    assert distinct_bytes(requests, tmp_path) == 150 + 100
    assert distinct_bytes([*requests, LoggedRequest("GET", "/data/object", [], 1, 0.0)], tmp_path) == 1000
    others = [LoggedRequest("HEAD", "/data/object", [], 1, 0.0), LoggedRequest("GET", "/data/none", [], 1, 0.0)]
    assert distinct_bytes(others, tmp_path) == 0
