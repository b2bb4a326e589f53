"""One contract for everything that is an `ObjectStore`: each provider against a real server, failover, each wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from rangecache.testing.suites import CUT_CHECKS, STORE_CHECKS, VERSION_CHECKS
from tests.dressed import DressedOrigin
from tests.origin.subjects import DEVIATIONS, InFiles, InMemory, OnAzure, OnGcs, OnOurOwn, OnS3, OnTheWeb, OnTwo
from tests.origin.wrappers import WRAPPERS, as_the_program_wraps

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.origin.session import WebSession

    Subjects = dict[str, tuple[Callable[..., Any], tuple[str, ...]]]

_EMULATED: Final = ("s3", "gcs", "azure")
_WEB: Final = ("origin", "session")
# What makes a subject, and of which fixtures.
_MADE: Final[Subjects] = {
    "memory": (InMemory, ()),
    "file": (InFiles, ("tmp_path",)),
    "http": (OnTheWeb, _WEB),
    "s3": (OnS3, ("seaweedfs", "session")),
    "gcs": (OnGcs, ("fake_gcs", "session")),
    "azure": (OnAzure, ("azurite", "session")),
    "failover": (lambda *given: OnTwo(OnTheWeb(*given), InMemory()), _WEB),
    "failover in memory": (lambda: OnTwo(InMemory(provider="one"), InMemory(provider="two")), ()),
    "all wrappers on http": (lambda *given: OnTheWeb(*given, as_the_program_wraps), _WEB),
    **{f"{name} in memory": (lambda wrap=wrap: InMemory(wrap), ()) for name, wrap in WRAPPERS.items()},
}
_KEEPING: Final[Subjects] = {
    "memory": _MADE["memory"],
    "s3": (OnS3.keeping, ("seaweedfs", "session")),
    "gcs": (OnGcs.keeping, ("fake_gcs", "session")),
    "azure": _MADE["azure"],
}
_UNCUT: Final = "file"  # a file that is cut while it is read is in test_file


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Any:
    make, fixtures = request.param
    return make(*map(request.getfixturevalue, fixtures))


def _cases(subjects: Subjects, checks: tuple[Callable[..., Any], ...], without: str = "") -> list[Any]:
    cases = []
    for name, made in subjects.items():
        if name == without:
            continue
        for check in checks:
            marks = [pytest.mark.emulator] if name in _EMULATED else []
            if flaw := DEVIATIONS.get((name, check.__name__)):
                marks.append(pytest.mark.xfail(reason=flaw, strict=True))
            cases.append(pytest.param(made, check, marks=marks, id=f"{name}-{check.__name__}"))
    return cases


@pytest.mark.parametrize(("subject", "check"), _cases(_MADE, STORE_CHECKS), indirect=["subject"])
async def test_a_store_keeps_the_contract(subject, check) -> None:
    await check(subject)
    assert not isinstance(subject, InFiles) or not subject.left_open()


@pytest.mark.parametrize(("subject", "check"), _cases(_KEEPING, VERSION_CHECKS), indirect=["subject"])
async def test_a_store_reads_the_version_that_is_named(subject, check) -> None:
    await check(subject)


@pytest.mark.parametrize(("subject", "check"), _cases(_MADE, CUT_CHECKS, without=_UNCUT), indirect=["subject"])
async def test_a_body_that_breaks_off_never_ends_in_order(subject, check) -> None:
    await check(subject)


@pytest.mark.parametrize(("kind", "name"), DEVIATIONS)
async def test_what_an_emulator_cannot_show_our_own_origin_does(kind: str, name: str, session: WebSession) -> None:
    (check,) = [each for each in STORE_CHECKS if each.__name__ == name]
    async with DressedOrigin(kind) as origin:
        await check(OnOurOwn(kind, origin, session))


def test_every_flaw_is_of_a_check_that_there_is() -> None:
    names = {check.__name__ for check in STORE_CHECKS}
    assert all(subject in _EMULATED and check in names for subject, check in DEVIATIONS)
