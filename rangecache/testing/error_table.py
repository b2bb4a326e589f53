"""`docs/errors.md`, written from the code: what each answer of a provider becomes, and what our own errors are answered
with. `python -m rangecache.testing.error_table` prints it."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict

from rangecache import errors
from rangecache.aio.clock import SystemClock
from rangecache.model import ObjectRef
from rangecache.origin.credentials import Static
from rangecache.origin.dialect import Answer
from rangecache.origin.providers.azure import AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.providers.azure_signing import AccountKey
from rangecache.origin.providers.gcs import GcsDialect
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.providers.http_credentials import HttpFields
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.server.problems import Problem, problem_of
from rangecache.testing.refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.origin.dialect import Dialect
    from rangecache.origin.providers.azure_signing import AzureCredential

_NAMES: Final = {"s3": "S3", "azure": "Azure Blob Storage", "gcs": "Google Cloud Storage", "http": "Web servers"}
_REFS: Final = {
    "s3": ObjectRef("s3", "data", "key"),
    "azure": ObjectRef("az", "account.data", "key"),
    "gcs": ObjectRef("gs", "data", "key"),
    "http": ObjectRef("web", "data", "key"),
}
# What differs between two errors of one class, and has an answer of its own.
_THROTTLED: Final = errors.Unavailable("", throttled=True)
_ROOTS: Final = (errors.RangecacheError, errors.RequestError, errors.OriginError, errors.TransientError)
_OWN_HEAD: Final = """## Every error

What is no status of the origin's, and whatever a provider adds to its codes, ends here. A certificate that is not
accepted is an InvalidAnswer: asking again would not help.

| error | answered | what it is |
|---|---|---|
"""
_HEAD: Final = """# Errors

What an origin answers becomes one of our errors, and that one HTTP answer: `application/problem+json` (RFC 9457), whose
`type` is `urn:rangecache:problem:` and the name in these tables, whose `detail` is the sentence beside it. The sentence
says who was refused (which credentials, never a secret), what is missing on what, what to do, and in brackets what the
origin said. Nothing else of the origin's answer is shown.

404 is said where the origin said so and nowhere else: readers of Zarr take it for "no data here". `missing_403_is_404`
makes it of refusals, for a bucket whose operator knows that they mean it. A refusal of *our* credentials is 502 and not
401, which would ask the client for his.

This page is written by `python -m rangecache.testing.error_table`; a test sends every answer below through the program.

"""


def rows(kind: str) -> Iterator[tuple[Refusal, errors.OriginError, Problem]]:
    """What each answer of this kind of provider becomes."""
    dialect = dialects()[kind]
    for refusal in REFUSALS[kind]:
        error = meaning(refusal, dialect, _REFS[kind])
        yield refusal, error, problem_of(error)


def meaning(refusal: Refusal, dialect: Dialect, ref: ObjectRef) -> errors.OriginError:
    """What the dialect makes of an answer."""
    answer = refusal.answer()
    return dialect.error(Answer(answer.code, CIMultiDict(answer.headers), answer.body), ref)


def table() -> str:
    """The page."""
    return _HEAD + "".join(_provider(kind) for kind in REFUSALS) + _own()


def dialects(bearer_file: str = "the file token") -> dict[str, Dialect]:
    """One of each kind, with credentials that can prove nothing."""
    clock = SystemClock()
    web = HttpDialect()
    fields = Static(HttpFields({}), f"the bearer token of {bearer_file}")
    web.add_bucket("data", "https://example.org/data/", credentials=fields)
    key: Static[AzureCredential] = Static(AccountKey("account", b""), "the key of account account")
    return {
        "s3": S3Dialect(credentials=Static(S3Credentials("", ""), STATIC), clock=clock, region="us-east-1"),
        "azure": AzureDialect(endpoint=Endpoint.parse(None), credentials=key, clock=clock),
        "gcs": GcsDialect(credentials=Static("", "the token that the configured command prints"), clock=clock),
        "http": web,
    }


def _provider(kind: str) -> str:
    lines = [f"## {_NAMES[kind]}\n\n| the origin says | error | answered | detail |\n|---|---|---|---|\n"]
    for refusal, error, problem in rows(kind):
        lines.append(f"| `{refusal.said}` | {type(error).__name__} | {_answered(problem)} | {error.message} |\n")
    return "".join(lines) + "\n"


def _own() -> str:
    """Our errors, with what is said of each where it is defined."""
    lines = [_OWN_HEAD]
    for kind in _classes():
        what = " ".join((inspect.getdoc(kind) or "").split())
        lines.append(f"| {kind.__name__} | {_answered(problem_of(_made(kind)))} | {what} |\n")
        if kind is errors.Unavailable:
            lines.append(f"| … that asks for less | {_answered(problem_of(_THROTTLED))} | 429, 503 and their kin |\n")
    return "".join(lines)


def _classes() -> Iterator[type[errors.RangecacheError]]:
    """The tree of `errors.py` without its roots, in the order in which it is written down."""
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, errors.RangecacheError) and each not in _ROOTS:
            yield each


def _made(kind: type[errors.RangecacheError]) -> errors.RangecacheError:
    return errors.RangeNotSatisfiable("", None) if kind is errors.RangeNotSatisfiable else kind("")


def _answered(problem: Problem) -> str:
    return f"{problem.status} `{problem.name}`" + (", with Retry-After" if problem.retry else "")


if __name__ == "__main__":
    sys.stdout.write(table())
