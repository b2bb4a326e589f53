"""What the admin and health ports say: JSON documents and problem documents, and how a body is read.

Problem documents (RFC 9457) are constant text: nothing that a request carried is ever sent back.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import hdrs, web

from rangecache.errors import BadRequest, RangecacheError
from rangecache.server.problems import (
    EXPECTATION_FAILED,
    HEAD_TOO_LARGE,
    INTERNAL,
    MALFORMED,
    Problem,
    document,
    problem_of,
    retry_after_s,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.typedefs import Handler

PROBLEM_TYPE: Final = "application/problem+json"
LINES_TYPE: Final = "application/x-ndjson"
TAKES_LINES: Final = frozenset({"/v1/warm"})
"""Where a long body of lines may come in place of a JSON document. A page of another origin cannot send that type
either without being refused first."""

PROBLEMS: Final = {
    problem.status: (problem, detail)
    for problem, detail in (
        (MALFORMED, "Send a valid HTTP/1.1 request with one Host header."),
        (Problem(403, "forbidden", "Not allowed"), "This request is not allowed here."),
        (Problem(404, "not-found", "No such path"), "There is nothing at this path."),
        (Problem(405, "method-not-allowed", "No such method here"), "The Allow header names the methods of this path."),
        (Problem(413, "content-too-large", "The body is too large"), "A body may have up to 64 KiB."),
        (Problem(415, "unsupported-media-type", "Not JSON"), "Send this with Content-Type: application/json."),
        (EXPECTATION_FAILED, "The only expectation that is understood is 100-continue."),
        (HEAD_TOO_LARGE, "Send fewer or shorter header fields."),
        (INTERNAL, "The program failed while it answered; its log says why."),
        (Problem(503, "not-ready", "Not ready"), "The program does not want traffic: it is starting or stopping."),
    )
}
"""Status → the error answer where nothing more is known than the status."""


def refusal(status: int) -> web.Response:
    """The error answer for this status."""
    return refused(*PROBLEMS.get(status, (Problem(status, "error", "Error"), "The request could not be answered.")))


def refused(problem: Problem, detail: str, more: Mapping[str, object] | None = None) -> web.Response:
    """A problem document; `more` are further members of it (RFC 9457 section 3.2)."""
    return web.Response(status=problem.status, body=document(problem, detail, more), content_type=PROBLEM_TYPE)


def answered(content: object, status: int = 200) -> web.Response:
    """A JSON document for machines and for people who look at it with curl."""
    return web.json_response(content, status=status, dumps=_dumps)


def _dumps(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


@web.middleware
async def explaining(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an error of our own tree with its problem and its sentence."""
    try:
        return await handler(request)
    except RangecacheError as error:
        problem = problem_of(error)
        answer = refused(problem, error.message)
        if (delay_s := retry_after_s(problem, error)) is not None:
            answer.headers[hdrs.RETRY_AFTER] = str(delay_s)
        return answer


class Sender:
    """Sends the pieces of an answer that goes on for a while."""

    def __init__(self, response: web.StreamResponse, request: web.Request) -> None:
        self.response = response
        self._request = request

    def check(self) -> None:
        """Raises `ConnectionError` if the client has gone. Somebody who waits long hears it in no other way."""
        if self._request.transport is None or self._request.transport.is_closing():
            raise ConnectionResetError

    async def __call__(self, text: str) -> None:
        """Send, and wait until the client has taken what was sent before. Raises `ConnectionError` if it has gone."""
        await self.response.write(text.encode())


@asynccontextmanager
async def streaming(request: web.Request, content_type: str) -> AsyncIterator[Sender]:
    """An answer that is sent piece by piece. A client that leaves ends the block, and nothing else."""
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: content_type,
            hdrs.CACHE_CONTROL: "no-store",
            hdrs.SERVER: "rangecache",
            "X-Content-Type-Options": "nosniff",
        }
    )
    await response.prepare(request)
    try:
        yield Sender(response, request)
        await response.write_eof()
    except ConnectionError:
        pass


class Member(NamedTuple):
    """One member that a body may have."""

    kind: type
    """str, bool, int, list or dict: what JSON has."""
    expected: str
    """What to write, for whoever wrote something else: `text, as in "s3/bucket/data/"`."""


async def json_body(request: web.Request, members: Mapping[str, Member]) -> dict[str, Any]:
    """The body: a JSON object that has some of `members` and nothing else. Raises `BadRequest`."""
    try:
        body = json.loads(await request.read(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    known = ", ".join(members)
    if not isinstance(body, dict):
        raise BadRequest(f"The body has to be a JSON object; its members are {known}.")
    if not body.keys() <= members.keys():
        raise BadRequest(f"The body has a member that is not known here. Known ones: {known}.")
    for name, value in body.items():
        # `true` is an int in Python, and nowhere else.
        if not isinstance(value, members[name].kind) or isinstance(value, bool) is not (members[name].kind is bool):
            raise BadRequest(f"The member `{name}` has to be {members[name].expected}.")
    return body


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not JSON")
