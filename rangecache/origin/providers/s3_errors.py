"""What S3's error answers mean.

Codes are those of the "Error responses" page of the Amazon S3 API reference; services that speak its protocol use the
same. The body of an error is read for a few short words and is never shown: it repeats keys, ids and canonical
requests.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from rangecache.errors import InvalidAnswer, NotFound, PermissionDenied, Unauthenticated, Unavailable
from rangecache.httpdate import parse_http_date
from rangecache.origin import answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.errors import OriginError
    from rangecache.model import ObjectRef
    from rangecache.origin.dialect import Answer

_CODE = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_CLASS = re.compile(r"[A-Z_]{1,32}", re.ASCII)
# The message of AccessDenied names somebody, then what he lacks on which resource, then which policy is the reason.
_ACTION = re.compile(r"not authorized to perform:? ((?:s3|kms)(?:-[a-z-]{1,24})?:[A-Za-z]{1,64})", re.ASCII)
_TEXT_MAX: Final = 64
_MESSAGE_MAX: Final = 4096
_READ: Final = {"Code": _TEXT_MAX, "Region": _TEXT_MAX, "StorageClass": _TEXT_MAX, "Message": _MESSAGE_MAX}
_REGION_HEADER: Final = "x-amz-bucket-region"

# The credentials as such are no good, and others or none may be.
REJECTED: Final = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"})
_UNAUTHENTICATED: Final = REJECTED | {
    "AuthorizationHeaderMalformed",
    "InvalidSecurity",
    "MissingSecurityHeader",
    "NotSignedUp",
    "SignatureDoesNotMatch",
}
_ABSENT: Final = frozenset({"NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_NO_BUCKET: Final = frozenset({"NoSuchAccessPoint", "NoSuchBucket"})
_CLOCK: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_CLOSED: Final = frozenset({"AccountProblem", "AllAccessDisabled"})
_THROTTLED: Final = frozenset(
    {"RequestLimitExceeded", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"}
)
_PASSING: Final = frozenset({"InternalError", "OperationAborted", "RequestTimeout"})
_WRONG_REGION: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The words of an error's XML that are used; empty where absent or not of the form of such a word."""

    code: str = ""
    region: str = ""
    storage_class: str = ""
    action: str = ""
    """The permission that is missing, such as `kms:Decrypt`, where the message names it."""
    denied: bool = False
    """A policy forbids it in so many words; that it were allowed elsewhere would change nothing."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How the request was sent that an error answers."""

    as_whom: str
    """The kind of credentials, for a sentence."""
    signed: bool
    region: str
    """What it was signed for."""
    expected_owner: str | None = None
    requester_pays: bool = False


def read_error(body: bytes) -> ErrorBody:
    """Read the beginning of an error's XML, `<Error><Code>…</Code>…`. Total: what is no such XML says nothing."""
    open_elements: list[str] = []
    found: dict[str, str] = {}

    def start(name: str, _: Mapping[str, str]) -> None:
        open_elements.append(name)

    def text(part: str) -> None:
        if len(open_elements) == 2 and open_elements[0] == "Error" and (most := _READ.get(open_elements[1])):
            found[open_elements[1]] = (found.get(open_elements[1], "") + part)[: most + 1]

    def refuse(*_: object) -> None:
        raise ValueError("an error of S3 has no document type, and entities are not read")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    with suppress(expat.ExpatError, ValueError):  # cut short or not XML: what came before counts
        parser.Parse(body, True)
    code, region, stored = found.get("Code", ""), found.get("Region", ""), found.get("StorageClass", "")
    message = found.get("Message", "")
    action = _ACTION.search(message)
    return ErrorBody(
        code if _CODE.fullmatch(code) else "",
        region if _REGION.fullmatch(region) else "",
        stored if _CLASS.fullmatch(stored) else "",
        action[1] if action else "",
        "with an explicit deny" in message,
    )


def region_told(answer: Answer) -> str:
    """The region of the bucket, where the answer tells it; empty otherwise."""
    told = answer.headers.get(_REGION_HEADER, "")
    return told if _REGION.fullmatch(told) else read_error(answer.body).region


def is_foreign(answer: Answer) -> bool:
    """Whether something in between has answered in place of S3: a proxy, or an ingress with nobody behind it.

    S3 writes an error document, and names itself in headers. Others that speak its protocol do not all do the latter,
    so that an answer to a HEAD is believed unless it is a page.
    """
    if read_error(answer.body).code or any(name.lower().startswith("x-amz-") for name in answer.headers):
        return False
    return not answer.head or answers.is_html(answer.headers)


def rejects_credentials(answer: Answer) -> bool:
    """Whether other credentials, or none, might be answered differently. An answer to a HEAD has no body to say so; a
    400 to one is as a rule an expired token."""
    return read_error(answer.body).code in REJECTED or (answer.status == 400 and not answer.body)


def missing(ref: ObjectRef, said: str = "403, by missing_403_is_404") -> NotFound:
    """That there is no such object; `said` is what S3 said."""
    return NotFound(f"S3 has no object {ref} ({said})")


def unlisted_buckets(provider: str, as_whom: str, code: str) -> PermissionDenied:
    """That S3 does not say which buckets there are."""
    return PermissionDenied(
        f"S3 does not list the buckets of {provider} to {as_whom}; they need s3:ListAllMyBuckets, or name the bucket"
        f" ({f'403 {code}'.strip()})"
    )


def explain(answer: Answer, ref: ObjectRef, sent: Sent) -> OriginError:
    """The error that an answer means, with a sentence that says what to do."""
    code, status = read_error(answer.body).code, answer.status
    said = f"{status} {code}".strip()
    if code in _NO_BUCKET:
        return NotFound(f"S3 has no bucket {ref.provider}/{ref.bucket} ({said})")
    if status in (404, 410) and is_foreign(answer):
        return InvalidAnswer(f"what answered {status} for {ref} does not speak as S3 does; check the endpoint ({said})")
    if code in _ABSENT or status in (404, 410) or answer.headers.get("x-amz-delete-marker") == "true":
        return missing(ref, said)
    if code in _THROTTLED or status in (429, 503):
        return Unavailable(
            f"S3 asks for fewer requests to {ref.provider}/{ref.bucket} ({said})",
            retry_after_s=answers.retry_after(answer.headers),
            throttled=True,
        )
    if code in _PASSING or 500 <= status <= 599:
        return Unavailable(f"S3 failed ({said})", retry_after_s=answers.retry_after(answer.headers))
    return _refusal(answer, ref, code, sent, said)


def _refusal(answer: Answer, ref: ObjectRef, code: str, sent: Sent, said: str) -> OriginError:
    bucket = f"{ref.provider}/{ref.bucket}"
    told = region_told(answer)
    if told and told != sent.region and (code in _WRONG_REGION or answer.status in (301, 307, 400)):
        return InvalidAnswer(
            f"the bucket {bucket} is in region {told}, but requests are signed for {sent.region};"
            f" set its region to {told} or to auto ({said})"
        )
    if code in _CLOCK:
        theirs = answer.headers.get("date", "")
        theirs = f"; there it is {theirs}" if parse_http_date(theirs) is not None else ""
        return Unauthenticated(
            f"the clock of this machine is wrong by minutes; set it, S3 refuses requests{theirs} ({said})"
        )
    if code == "InvalidObjectState":
        return PermissionDenied(_archived(answer, ref, said))
    if code.startswith("KMS."):
        return PermissionDenied(
            f"the KMS key that {ref} is encrypted with cannot be used: it is disabled, being deleted or of a wrong"
            f" kind; see to the key ({said})"
        )
    if code == "SignatureDoesNotMatch":
        return Unauthenticated(
            f"S3 does not accept the signature of {sent.as_whom} for {bucket}: the secret is not that of the"
            f" access key, or something on the way changes requests; correct them ({said})"
        )
    if code in _UNAUTHENTICATED or answer.status == 401:
        return Unauthenticated(f"S3 does not accept {sent.as_whom} for {bucket}; renew or correct them ({said})")
    if answer.status == 403:
        return PermissionDenied(_forbidden(answer, ref, code, sent, said))
    if 300 <= answer.status <= 399:
        return InvalidAnswer(f"S3 redirects requests for {bucket} elsewhere; set its region or endpoint ({said})")
    if code == "InvalidArgument" and ref.version is not None:
        return InvalidAnswer(f"S3 does not take the versionId of {ref} for one of its own ({said})")
    return InvalidAnswer(f"S3 answered a request for {ref} unexpectedly ({said})")


def _archived(answer: Answer, ref: ObjectRef, said: str) -> str:
    """GLACIER and DEEP_ARCHIVE, and the archive tiers of INTELLIGENT_TIERING, which does not name its tier in a GET."""
    stored = read_error(answer.body).storage_class or answer.headers.get("x-amz-storage-class", "")
    stored = stored if _CLASS.fullmatch(stored) else "an archive class"
    if answer.headers.get("x-amz-restore", "").startswith('ongoing-request="true"'):
        return f"{ref} is in {stored} and being restored; it can be read when that has ended ({said})"
    return (
        f"{ref} is in {stored} and cannot be read; restore it first (aws s3api restore-object), then wait for minutes"
        f" to two days, by class and tier ({said})"
    )


def _forbidden(answer: Answer, ref: ObjectRef, code: str, sent: Sent, said: str) -> str:
    """Who lacks which permission on what, as far as S3 says, else what is most often missing."""
    body = read_error(answer.body)
    who = f"S3 refuses {ref} to {sent.as_whom}"
    if code in _CLOSED:
        return f"{who}: the bucket or its account is closed; ask AWS ({said})"
    if not sent.signed:
        return f"{who}; unless the bucket is public, reading it takes credentials that have s3:GetObject on it ({said})"
    if body.action:
        what = "the KMS key of the object" if body.action.startswith("kms:") else "it"
        how = "a policy denies them" if body.denied else "they need"
        return f"{who}; {how} {body.action} on {what} ({said})"
    read = "s3:GetObjectVersion" if ref.version is not None else "s3:GetObject"
    more = "" if sent.expected_owner is None else f"; or the bucket is not one of account {sent.expected_owner}"
    if not sent.requester_pays:
        more += "; where its readers pay, set requester_pays: true"
    return (
        f"{who}; they need {read} on it, kms:Decrypt on its key if it has one, and s3:ListBucket on the bucket for S3"
        f" to say whether it exists at all; where the bucket is public, set anonymous: true for it{more} ({said})"
    )
