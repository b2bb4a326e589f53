"""The table of errors."""

from __future__ import annotations

import json

import pytest

from rangecache import errors
from rangecache.server import problems
from rangecache.server.problems import ProtocolError, document, problem_of, retry_after_s

STATUSES = {
    errors.BadRequest: 400,
    errors.UnknownName: 400,
    errors.AccessDenied: 403,
    errors.InvalidRange: 416,
    errors.NotCached: 504,
    errors.NotFound: 404,
    errors.PermissionDenied: 403,
    errors.Unauthenticated: 502,
    errors.GenerationGone: 503,
    errors.InvalidAnswer: 502,
    errors.Unavailable: 502,
    errors.CircuitOpen: 503,
    errors.BodyCut: 502,
    errors.StaleConnection: 502,
    errors.OriginTimeout: 504,
    errors.BudgetExhausted: 503,
    errors.Overloaded: 503,
    errors.TierError: 500,
    errors.ConfigurationError: 500,
}


def every_error(root: type[errors.RangecacheError] = errors.RangecacheError) -> set[type[errors.RangecacheError]]:
    """The whole tree."""
    return {root}.union(*(every_error(kind) for kind in root.__subclasses__()))


@pytest.mark.parametrize("kind", STATUSES)
def test_each_error_has_its_status(kind: type[errors.RangecacheError]) -> None:
    assert problem_of(kind("x")).status == STATUSES[kind]


def test_404_is_said_for_nothing_but_what_the_origin_says_is_absent() -> None:
    admin_only = {errors.NoSuchJob}  # no reader of objects ever meets it
    for kind in every_error() - {errors.RangeNotSatisfiable, ProtocolError} - admin_only:
        assert (problem_of(kind("x")).status == 404) == (kind is errors.NotFound), kind
    assert problem_of(errors.RangeNotSatisfiable("x", 5)).status == 416


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.Unavailable("x", throttled=True), 1),
        (errors.Unavailable("x", throttled=True, retry_after_s=2.2), 3),
        (errors.Unavailable("x", throttled=True, retry_after_s=3600), 60),
        (errors.Unavailable("x", throttled=True, retry_after_s=0), 1),
        (errors.Unavailable("x", retry_after_s=5), None),
        (errors.Overloaded("x"), 1),
        (errors.BudgetExhausted("x"), 1),
        (errors.NotFound("x"), None),
    ],
)
def test_only_answers_that_may_change_soon_say_when_to_ask_again(
    error: errors.RangecacheError, seconds: int | None
) -> None:
    problem = problem_of(error)
    assert retry_after_s(problem, error) == seconds
    assert (problem.status == 503) == (seconds is not None)


def test_a_document_is_the_problem_and_its_sentence() -> None:
    assert json.loads(document(problems.NOT_FOUND, 'There is no "k".')) == {
        "type": "urn:rangecache:problem:not-found",
        "title": "No such object",
        "status": 404,
        "detail": 'There is no "k".',
    }


def test_names_and_statuses_are_unique_and_known() -> None:
    known = [value for value in vars(problems).values() if isinstance(value, problems.Problem)]
    assert len({problem.name for problem in known}) == len(known)
    interface = {400, 403, 404, 405, 412, 414, 416, 417, 431, 502, 503, 504, 505}
    assert {problem.status for problem in known} == interface | {500}
