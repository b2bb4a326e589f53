"""Each answer that a provider gives in place of an object, through the whole program: what the client is told, who and
what is named, and that no secret of anybody is anywhere."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from rangecache.errors import PermissionDenied, Unauthenticated
from rangecache.model import ObjectRef
from rangecache.origin.providers import azure_errors, gcs_errors, s3_errors
from rangecache.server.problems import problem_of
from rangecache.testing.error_table import dialects, meaning, table
from rangecache.testing.refusals import REFUSALS, Refusal
from tests.dressed import BUCKET, SECRET, Dressed
from tests.edge.rig import HurriedClock, running

if TYPE_CHECKING:
    from tests.edge.rig import Rig

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "errors.md"
CANARY: Final = "canary-of-the-provider"
HURRY: Final = 100.0
WHO: Final = {
    "s3": "the static keys of the configuration",
    "azure": "the key of account account",
    "gcs": "the token that the configured command prints",
    "http": "the bearer token of the file ",
}
# Errors that no credentials are to blame for, though they are refusals.
NOBODY: Final = re.compile(r"clock of this machine|KMS key that|archive|readers of .* pay|Archive tier")


async def ask(rig: Rig, refusal: Refusal, number: int, file: Path) -> None:
    rig.origin.heal()
    rig.origin.fail(None, refusal.answer(CANARY), times=None, when=lambda each: each.key.endswith("refused"))
    answer = await rig.get(f"{number}/refused")
    ref = ObjectRef("web", BUCKET, f"{number}/refused")
    error = meaning(refusal, dialects(f"the file {file}")[refusal.kind], ref)
    problem = problem_of(error)
    assert answer.status == problem.status, refusal
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.loads(answer.body)
    assert told["type"] == f"urn:rangecache:problem:{problem.name}", refusal
    assert told["status"] == problem.status
    # S3's clock is told from the Date of its answer, which a table has not.
    assert re.sub("; there it is [^(]*GMT", "", told["detail"]) == error.message, refusal
    assert ("retry-after" in answer.headers) == problem.retry
    assert refusal.lacks in told["detail"]
    if isinstance(error, PermissionDenied | Unauthenticated) and not NOBODY.search(error.message):
        assert WHO[refusal.kind] in told["detail"], refusal
    assert all(word not in str(answer.headers) + answer.body.decode() for word in (CANARY, SECRET))
    # What answers in between keeps the breaker closed.
    rig.origin.put(f"{rig_folder(refusal.kind)}{number}/fine", b"fine", etag='"1"', headers={"x-goog-generation": "1"})
    assert (await rig.get(f"{number}/fine")).body == b"fine"


def rig_folder(kind: str) -> str:
    return Dressed(kind, Path()).folder


@pytest.mark.parametrize("kind", REFUSALS)
async def test_each_answer_of_a_provider_becomes_what_the_table_says(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dressed = Dressed(kind, tmp_path / "token")
    pages = []
    with caplog.at_level(logging.DEBUG):
        async with running(
            clock=HurriedClock(HURRY), provider=dressed.provider, bucket_name=BUCKET, fetch={"attempts": 1}
        ) as rig:
            for number, refusal in enumerate(REFUSALS[kind]):
                await ask(rig, refusal, number, tmp_path / "token")
            async with aiohttp.ClientSession(f"http://127.0.0.1:{rig.admin_port}") as session:
                for page in ("/v1/stats", "/v1/providers", "/v1/config", "/metrics"):
                    async with session.get(page) as answer:
                        pages.append(await answer.text())
    assert SECRET in str(rig.origin.requests[0].raw_headers) or kind in ("s3", "azure")
    told = caplog.text + "".join(pages)
    assert all(word not in told for word in (CANARY, SECRET))


def test_the_page_is_that_of_the_code() -> None:
    assert DOCUMENT.read_text() == table(), "run python -m rangecache.testing.error_table > docs/errors.md"


@pytest.mark.parametrize(("kind", "module"), [("s3", s3_errors), ("azure", azure_errors), ("gcs", gcs_errors)])
def test_every_code_that_is_known_is_in_the_table(kind: str, module: object) -> None:
    tables = [each for name, each in vars(module).items() if name.isupper() and isinstance(each, frozenset | dict)]
    codes = {code for each in tables if each is not vars(module).get("_READ") for code in each}
    assert len(codes) > 10
    assert codes <= {each.code for each in REFUSALS[kind]}
