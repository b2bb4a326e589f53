"""What is counted and logged."""

from __future__ import annotations

import logging

import pytest

from rangecache.model import ObjectRef
from rangecache.server.accounts import SAMPLE_EVERY, SLOW_S, AccessLog, Accounts
from rangecache.telemetry import Metrics

REF = ObjectRef("s3", "b", "k")


def lines_written(
    caplog: pytest.LogCaptureFixture,
    access_log: AccessLog,
    number: int,
    *,
    status: int = 206,
    duration_s: float = 0.001,
) -> int:
    """How many lines so many equal answers are worth."""
    accounts = Accounts(Metrics(), access_log)
    with caplog.at_level(logging.INFO, logger="rangecache.access"):
        for _ in range(number):
            accounts.answered(b"GET", REF, status, "hit", duration_s, duration_s, 10)
    return sum(record.name == "rangecache.access" for record in caplog.records)


def test_the_log_may_be_off(caplog: pytest.LogCaptureFixture) -> None:
    assert lines_written(caplog, "off", 200, status=502) == 0


def test_the_log_may_have_everything(caplog: pytest.LogCaptureFixture) -> None:
    assert lines_written(caplog, "all", 7) == 7


def test_a_sample_has_one_in_so_many(caplog: pytest.LogCaptureFixture) -> None:
    assert lines_written(caplog, "sampled", 3 * SAMPLE_EVERY + 5) == 3


@pytest.mark.parametrize(("status", "duration_s"), [(502, 0.001), (206, SLOW_S)])
def test_a_sample_has_all_that_failed_or_was_slow(
    caplog: pytest.LogCaptureFixture, status: int, duration_s: float
) -> None:
    assert lines_written(caplog, "sampled", 5, status=status, duration_s=duration_s) == 5


def test_methods_that_clients_make_up_take_no_room() -> None:
    metrics = Metrics()
    accounts = Accounts(metrics, "off")
    for number in range(1000):
        accounts.answered(b"M%d" % number, None, 405, "none", 0.0, 0.0, 0)
    assert len(accounts._cells) == 0
    assert metrics.requests.total(method="other", code="405") == 1000


def test_first_byte_and_duration_are_told_apart() -> None:
    metrics = Metrics()
    Accounts(metrics, "off").answered(b"GET", REF, 200, "miss", 0.25, 2.0, 10)
    assert metrics.first_byte.cell("s3", "miss").sum == 0.25
    assert metrics.request_duration.cell("s3", "miss").sum == 2.0
