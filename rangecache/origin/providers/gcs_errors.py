"""What the error answers of Google Cloud Storage mean.

Codes are those of "HTTP status and error codes" of its XML API and the reasons of the same page of its JSON API. The
body of an error is read for one short word and is never shown: it repeats names of accounts and projects.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidAnswer, NotFound, PermissionDenied, Unauthenticated, Unavailable
from rangecache.origin import answers

if TYPE_CHECKING:
    from rangecache.errors import OriginError
    from rangecache.model import ObjectRef
    from rangecache.origin.dialect import Answer

LOGIN: Final = "gcloud auth application-default login"
_XML_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_REASON = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)

_OWN_HEADERS: Final = ("x-goog-", "x-guploader-")
_EMULATED: Final = b"Not Found"  # all that fake-gcs-server says where it has no object or bucket

_ABSENT: Final = frozenset({"NoSuchBucket", "NoSuchKey", "notFound"})
_NO_BUCKET: Final = frozenset({"NoSuchBucket"})
_UNAUTHENTICATED: Final = frozenset(
    {"AuthenticationRequired", "ExpiredToken", "InvalidSecurity", "InvalidToken", "authError", "required"}
)
_THROTTLED: Final = frozenset(
    {"SlowDown", "TooManyRequests", "quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded"}
)
_PAYER_MISSING: Final = frozenset({"UserProjectMissing", "userProjectMissing"})
_PAYER_REFUSED: Final = frozenset(
    {
        "UserProjectAccessDenied",
        "UserProjectAccountProblem",
        "UserProjectInconsistent",
        "UserProjectInvalid",
        "userProjectAccountProblem",
        "userProjectInconsistent",
        "userProjectInvalid",
    }
)


@dataclass(frozen=True, slots=True)
class Sent:
    """How the request was sent that an error answers."""

    as_whom: str
    """The kind of credentials, for a sentence."""
    signed: bool


def read_code(body: bytes) -> str:
    """The code of an error's XML, or the first reason of its JSON. Total: what is neither says nothing."""
    if (found := _XML_CODE.search(body)) is not None:
        return found[1].decode()
    with suppress(ValueError, KeyError, IndexError, TypeError, RecursionError):
        reason = json.loads(body)["error"]["errors"][0]["reason"]
        return reason if _REASON.fullmatch(reason) else ""
    return ""


def is_foreign(answer: Answer) -> bool:
    """Whether something in between has answered in place of the service: a proxy, or an ingress with nobody behind it.

    The service writes an error document, and names itself in headers. Emulators do not do the latter, so that an answer
    to a HEAD is believed unless it is a page.
    """
    if read_code(answer.body) or any(name.lower().startswith(_OWN_HEADERS) for name in answer.headers):
        return False
    if answer.head:
        return answers.is_html(answer.headers)
    return answer.body.strip() != _EMULATED and not _is_document(answer.body)


def _is_document(body: bytes) -> bool:
    """Whether it is the JSON of an error, whose reason need not be one word."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return isinstance(json.loads(body)["error"]["code"], int)
    return False


def rejects_credentials(answer: Answer) -> bool:
    """Whether another token, or none, might be answered differently."""
    return answer.status == 401 or read_code(answer.body) in _UNAUTHENTICATED


def missing(ref: ObjectRef, said: str) -> NotFound:
    """That there is no such object; `said` is what the service said."""
    named = "" if ref.version is None else f" of generation {ref.version}"
    return NotFound(f"Google Cloud Storage has no object {ref}{named} ({said})")


def unlisted_buckets(provider: str, as_whom: str, code: str) -> PermissionDenied:
    """That the buckets of the project may not be listed."""
    return PermissionDenied(
        f"Google Cloud Storage does not list the buckets of {provider} to {as_whom}; they need storage.buckets.list on"
        f" its project; buckets can be read by name without ({code})"
    )


def explain(answer: Answer, ref: ObjectRef, sent: Sent) -> OriginError:
    """The error that an answer means, with a sentence that says what to do."""
    code, status = read_code(answer.body), answer.status
    said = f"{status} {code}".strip()
    if status in (404, 410) and is_foreign(answer):
        return InvalidAnswer(
            f"what answered {status} for {ref} does not speak as Google Cloud Storage does; check the endpoint ({said})"
        )
    if code in _NO_BUCKET or (answer.listing and status == 404):
        return NotFound(f"Google Cloud Storage has no bucket {ref.provider}/{ref.bucket} ({said})")
    if code in _ABSENT or status in (404, 410):
        return missing(ref, said)
    if code in _THROTTLED or status in (429, 503):
        return Unavailable(
            f"Google Cloud Storage asks for fewer requests to {ref.provider}/{ref.bucket} ({said})",
            retry_after_s=answers.retry_after(answer.headers),
            throttled=True,
        )
    if status == 408 or 500 <= status <= 599:
        return Unavailable(f"Google Cloud Storage failed ({said})", retry_after_s=answers.retry_after(answer.headers))
    return _refusal(answer, ref, code, sent, said)


def _refusal(answer: Answer, ref: ObjectRef, code: str, sent: Sent, said: str) -> OriginError:
    bucket = f"{ref.provider}/{ref.bucket}"
    if code in _PAYER_MISSING:
        return PermissionDenied(
            f"readers of {bucket} pay for their requests; set requester_pays: true for the bucket and the project to be"
            f" billed for the provider ({said})"
        )
    if code in _PAYER_REFUSED:
        return PermissionDenied(
            f"the project of provider {ref.provider} cannot be billed for reading {bucket} by {sent.as_whom}; it takes"
            f" serviceusage.services.use on that project ({said})"
        )
    if not sent.signed and answer.status in (401, 403):
        return PermissionDenied(
            f"Google Cloud Storage refuses {_what(answer, ref)} to {sent.as_whom}; unless the bucket is public, it"
            f" takes credentials that have {_permission(answer)} (roles/storage.objectViewer) on it ({said})"
        )
    if answer.status == 401 or code in _UNAUTHENTICATED:
        return Unauthenticated(
            f"Google Cloud Storage does not accept {sent.as_whom} for {bucket}; renew them, a login of your own with"
            f" {LOGIN} ({said})"
        )
    if answer.status == 403:
        more = "" if answer.listing else ", and storage.objects.list for the service to say whether it exists at all"
        return PermissionDenied(
            f"Google Cloud Storage refuses {_what(answer, ref)} to {sent.as_whom}; they need {_permission(answer)} on"
            f" bucket {bucket} (roles/storage.objectViewer){more} ({said})"
        )
    if 300 <= answer.status <= 399:
        return InvalidAnswer(
            f"Google Cloud Storage redirects requests for {bucket} elsewhere; set its endpoint ({said})"
        )
    return InvalidAnswer(f"Google Cloud Storage answered a request for {_what(answer, ref)} unexpectedly ({said})")


def _what(answer: Answer, ref: ObjectRef) -> str:
    return f"the listing of {ref.provider}/{ref.bucket}" if answer.listing else str(ref)


def _permission(answer: Answer) -> str:
    return "storage.objects.list" if answer.listing else "storage.objects.get"
