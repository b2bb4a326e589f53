"""What Azure's error answers mean.

Codes are those of "Common REST API error codes" and "Blob Storage error codes" of the Azure Storage REST reference.
They stand in a header, also of an answer to a HEAD; the body is never looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidAnswer, NotFound, PermissionDenied, Unauthenticated, Unavailable
from rangecache.origin import answers

if TYPE_CHECKING:
    from rangecache.errors import OriginError
    from rangecache.model import ObjectRef
    from rangecache.origin.dialect import Answer

_CODE = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)

ROLE: Final = "Storage Blob Data Reader"
ROLE_TO_LIST_CONTAINERS: Final = "Reader"

_ABSENT: Final = frozenset({"BlobNotFound", "ContainerNotFound", "ResourceNotFound"})
_ARCHIVED: Final = frozenset({"BlobArchived", "BlobBeingRehydrated"})
_THROTTLED: Final = frozenset({"ServerBusy", "TooManyRequests"})
_PASSING: Final = frozenset(
    {"ContainerBeingDeleted", "InternalError", "OperationTimedOut", "AccountBeingCreated", "ServerTimeout"}
)
# The credentials as such are no good, and others or none may be.
_REJECTED: Final = frozenset(
    {"AuthenticationFailed", "ExpiredAuthenticationToken", "InvalidAuthenticationInfo", "InvalidAuthenticationToken"}
)
# What a shared access signature, or the account, was made too narrow for.
_NOT_COVERED: Final = {
    "AuthorizationPermissionMismatch": f"they lack the role {ROLE} on it, or the permission to read",
    "AuthorizationProtocolMismatch": "they hold for https only, and the endpoint is http",
    "AuthorizationResourceTypeMismatch": "they do not cover blobs (resource type o)",
    "AuthorizationServiceMismatch": "they do not cover the Blob service",
    "AuthorizationSourceIPMismatch": "they do not hold for the address of this machine",
    "InsufficientAccountPermissions": f"they lack the role {ROLE} on it",
    "KeyBasedAuthenticationNotPermitted": "the account does not take account keys; use an identity or a command",
    "AccountIsDisabled": "the account is disabled",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """How the request was sent that an error answers."""

    as_whom: str
    """The kind of credentials, for a sentence."""
    signed: bool


def read_code(answer: Answer) -> str:
    """The error's code; empty where there is none, or none of the form of one."""
    code = answer.headers.get("x-ms-error-code", "")
    return code if _CODE.fullmatch(code) else ""


def rejects_credentials(answer: Answer) -> bool:
    """Whether other credentials, or none, might be answered differently."""
    return answer.status == 401 or (answer.status in (400, 403) and read_code(answer) in _REJECTED)


def missing(ref: ObjectRef, said: str = "403, by missing_403_is_404") -> NotFound:
    """That there is no such blob; `said` is what Azure said."""
    return NotFound(f"Azure has no object {ref} ({said})")


def hides_absence(answer: Answer, *, signed: bool) -> bool:
    """Whether the answer may mean that there is no such blob, but does not say so. Who asks without credentials for a
    container that is not public is told that the resource is not there. What has no code is not Azure's answer."""
    code = read_code(answer)
    if answer.status == 403:
        return code in ("AuthorizationFailure", "AuthorizationPermissionMismatch")
    return not signed and code == "ResourceNotFound"


def wants_credentials(answer: Answer) -> bool:
    """Whether an answer to a request without credentials may be another one with them."""
    return answer.status in (401, 403) or read_code(answer) in ("ResourceNotFound", "PublicAccessNotPermitted")


def explain(answer: Answer, ref: ObjectRef, sent: Sent) -> OriginError:
    """The error that an answer means, with a sentence that says what to do."""
    code, status = read_code(answer), answer.status
    said = f"{status} {code}".strip()
    bucket = f"{ref.provider}/{ref.bucket}"
    if not sent.signed and wants_credentials(answer):
        return PermissionDenied(
            f"Azure refuses {ref} to {sent.as_whom}: the container is not public, or there is none; unless it is,"
            f" reading it takes credentials that have the role {ROLE} on it ({said})"
        )
    if code == "ContainerNotFound":
        return NotFound(f"Azure has no container {bucket} ({said})")
    if code in _ABSENT:
        return missing(ref, said)
    if code in _THROTTLED or status in (429, 503):
        return Unavailable(
            f"Azure asks for fewer requests to {bucket} ({said})",
            retry_after_s=answers.retry_after(answer.headers),
            throttled=True,
        )
    if code in _PASSING or status == 408 or 500 <= status <= 599:
        return Unavailable(f"Azure failed ({said})", retry_after_s=answers.retry_after(answer.headers))
    return _refusal(answer, ref, sent, said)


def _refusal(answer: Answer, ref: ObjectRef, sent: Sent, said: str) -> OriginError:
    code, status = read_code(answer), answer.status
    bucket = f"{ref.provider}/{ref.bucket}"
    role = ROLE if ref.bucket else ROLE_TO_LIST_CONTAINERS
    on = "it" if ref.bucket else "the account"
    what = str(ref) if ref.key else f"the listing of {bucket if ref.bucket else ref.provider}"
    if code in _ARCHIVED:
        return PermissionDenied(
            f"{ref} is in the Archive tier; rehydrate it first (set its tier to Hot, Cool or Cold, which takes hours)"
            f" ({said})"
        )
    if code in _NOT_COVERED:
        return PermissionDenied(f"Azure refuses {what} to {sent.as_whom}: {_NOT_COVERED[code]} ({said})")
    if code in _REJECTED or status == 401:
        return Unauthenticated(
            f"Azure does not accept {sent.as_whom} for {bucket}; renew or correct them, and see that this machine's"
            f" clock is right ({said})"
        )
    if status == 403:
        return PermissionDenied(
            f"Azure refuses {what} to {sent.as_whom}; they need the role {role} on {on}, and the account's firewall has"
            f" to let this machine in ({said})"
        )
    if status == 400 and code in ("InvalidQueryParameterValue", "InvalidVersionId"):
        return InvalidAnswer(f"Azure does not know the version or snapshot of {ref} that was asked for ({said})")
    if 300 <= status <= 399:
        return InvalidAnswer(f"Azure redirects requests for {bucket} elsewhere; set the endpoint ({said})")
    if status == 404:
        return InvalidAnswer(f"what answered 404 for {ref} does not speak as Azure does; check the endpoint ({said})")
    return InvalidAnswer(f"Azure answered a request for {ref} unexpectedly ({said})")
