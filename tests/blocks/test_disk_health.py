from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk_health import PROBE_INTERVAL_S, READ_ERRORS_MAX, READ_ERRORS_WINDOW_S, DiskHealth

if TYPE_CHECKING:
    from rangecache.testing.clock import ManualClock


def os_error(number: int = errno.EIO) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def health(clock: ManualClock) -> DiskHealth:
    health = DiskHealth("/cache", clock)
    health.recovered()
    return health


def test_it_is_off_until_it_was_opened(clock: ManualClock) -> None:
    health = DiskHealth("/cache", clock)
    assert (health.state, health.readable) == ("off", False)


def test_a_failed_write_leaves_it_readable_and_says_why(health: DiskHealth) -> None:
    health.write_failed(os_error(errno.ENOSPC))
    assert (health.state, health.readable) == ("ro", True)
    assert "No space left on device" in health.reason


def test_five_failed_reads_within_a_minute_turn_it_off(health: DiskHealth) -> None:
    for _ in range(READ_ERRORS_MAX - 1):
        health.read_failed(os_error())
    assert health.state == "rw"
    health.read_failed(os_error())
    assert health.state == "off"


def test_failed_reads_over_more_than_a_minute_do_not(health: DiskHealth, clock: ManualClock) -> None:
    for _ in range(3 * READ_ERRORS_MAX):
        health.read_failed(os_error())
        clock.shift(READ_ERRORS_WINDOW_S / (READ_ERRORS_MAX - 1) + 1)
    assert health.state == "rw"


def test_a_write_that_fails_late_does_not_turn_on_what_is_off(health: DiskHealth) -> None:
    health.off("gone")
    health.write_failed(os_error())
    assert (health.state, health.reason) == ("off", "gone")


def test_one_probe_is_due_each_minute_while_it_is_not_rw(health: DiskHealth, clock: ManualClock) -> None:
    assert not health.probe_due()
    health.write_failed(os_error())
    assert not health.probe_due()
    clock.shift(PROBE_INTERVAL_S)
    assert health.probe_due()
    assert not health.probe_due()
    clock.shift(PROBE_INTERVAL_S)
    assert health.probe_due()
    health.recovered()
    assert (health.state, health.reason) == ("rw", "")
    clock.shift(PROBE_INTERVAL_S)
    assert not health.probe_due()


def test_each_change_is_logged_once(health: DiskHealth, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        health.write_failed(os_error())
    health.recovered()
    health.recovered()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_shortage_of_our_own_says_nothing_about_the_disk(health: DiskHealth, number: int) -> None:
    health.write_failed(os_error(number))
    for _ in range(READ_ERRORS_MAX):
        health.read_failed(os_error(number))
    assert health.state == "rw"
