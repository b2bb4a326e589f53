"""Every error that the providers answer with, worded as they word it: status, code, and all that they repeat around it.

The codes are those of the providers' own references: "Error responses" of the Amazon S3 API, "Common REST API error
codes" and "Blob Storage error codes" of Azure Storage, "HTTP status and error codes" of Google Cloud Storage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rangecache.testing.faults import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error answer of one kind of provider."""

    kind: str
    status: int
    code: str = ""
    """In the provider's words; empty for an answer without one."""
    lacks: str = ""
    """The permission that our message has to name, where one is missing."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further elements of the error's XML."""

    @property
    def said(self) -> str:
        """Status and code, as our message quotes them."""
        return f"{self.status} {self.code}".strip()

    def answer(self, canary: str = "canary") -> Status:
        """The answer; `canary` stands wherever the provider repeats something that is nobody else's business."""
        headers = {"x-request-id": canary, "WWW-Authenticate": f'Bearer realm="{canary}"'}
        if self.kind == "azure":
            if self.code:
                headers["x-ms-error-code"] = self.code
            return Status(self.status, headers, _xml("Error", {"Code": self.code, "Message": canary}))
        if self.kind == "s3" and self.code:
            told = {"Message": f"{canary} is not allowed", "Resource": f"/{canary}", "AWSAccessKeyId": canary}
            body = _xml("Error", {"Code": self.code, "StringToSign": canary, **told, **self.more})
            return Status(self.status, {**headers, "Content-Type": "application/xml"}, body)
        if self.kind == "gcs" and self.code:
            if self.code[0].isupper():
                return Status(self.status, headers, _xml("Error", {"Code": self.code, "Details": canary}))
            reason = {"domain": "global", "reason": self.code, "message": canary}
            document = {"error": {"code": self.status, "message": canary, "errors": [reason]}}
            return Status(self.status, headers, json.dumps(document).encode())
        return Status(self.status, headers, f"<h1>{canary}</h1>".encode())


def _xml(root: str, elements: Mapping[str, str]) -> bytes:
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'.encode()


def _rows(kind: str, *rows: tuple[int, str] | tuple[int, str, str]) -> tuple[Refusal, ...]:
    return tuple(Refusal(kind, *row) for row in rows)


_GET: Final = "s3:GetObject"
_ROLE: Final = "Storage Blob Data Reader"
_VIEW: Final = "storage.objects.get"
_BILL: Final = "serviceusage.services.use"

S3: Final = (
    *_rows(
        "s3",
        (404, "NoSuchKey"),
        (404, "NoSuchVersion"),
        (404, "NoSuchBucket"),
        (404, "NoSuchAccessPoint"),
        (404, ""),
        (403, "AccessDenied", _GET),
        (403, "", _GET),
        (403, "AllAccessDisabled"),
        (403, "AccountProblem"),
        (403, "InvalidObjectState"),
        (400, "KMS.DisabledException"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "NotSignedUp"),
        (403, "InvalidSecurity"),
        (403, "RequestTimeTooSkewed"),
        (403, "RequestExpired"),
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (400, "TokenRefreshRequired"),
        (400, "MissingSecurityHeader"),
        (400, "AuthorizationHeaderMalformed"),
        (401, ""),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (503, "RequestLimitExceeded"),
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (429, "TooManyRequests"),
        (503, ""),
        (500, "InternalError"),
        (400, "RequestTimeout"),
        (409, "OperationAborted"),
        (502, ""),
        (307, "TemporaryRedirect"),
        (400, "IllegalLocationConstraintException"),
        (400, "InvalidRequest"),
        (405, "MethodNotAllowed"),
        (600, ""),
    ),
    Refusal("s3", 403, "AccessDenied", "kms:Decrypt", {"Message": "arn is not authorized to perform: kms:Decrypt on"}),
    Refusal("s3", 301, "PermanentRedirect", more={"Region": "eu-west-3"}),
)
AZURE: Final = _rows(
    "azure",
    (404, "BlobNotFound"),
    (404, "ContainerNotFound"),
    (404, "ResourceNotFound"),
    (404, ""),
    (403, "AuthorizationFailure", _ROLE),
    (403, "AuthorizationPermissionMismatch", _ROLE),
    (403, "InsufficientAccountPermissions", _ROLE),
    (403, "AuthorizationProtocolMismatch"),
    (403, "AuthorizationResourceTypeMismatch"),
    (403, "AuthorizationServiceMismatch"),
    (403, "AuthorizationSourceIPMismatch"),
    (403, "KeyBasedAuthenticationNotPermitted"),
    (403, "AccountIsDisabled"),
    (403, ""),
    (409, "BlobArchived"),
    (409, "BlobBeingRehydrated"),
    (403, "AuthenticationFailed"),
    (401, "InvalidAuthenticationInfo"),
    (401, "InvalidAuthenticationToken"),
    (401, "ExpiredAuthenticationToken"),
    (401, ""),
    (503, "ServerBusy"),
    (429, "TooManyRequests"),
    (503, ""),
    (500, "InternalError"),
    (500, "OperationTimedOut"),
    (500, "ServerTimeout"),
    (409, "ContainerBeingDeleted"),
    (409, "AccountBeingCreated"),
    (502, ""),
    (400, "InvalidQueryParameterValue"),
    (400, "InvalidVersionId"),
    (400, "InvalidHeaderValue"),
    (302, ""),
    (600, ""),
)
GCS: Final = _rows(
    "gcs",
    (404, "NoSuchKey"),
    (404, "notFound"),
    (404, "NoSuchBucket"),
    (404, ""),
    (403, "AccessDenied", _VIEW),
    (403, "forbidden", _VIEW),
    (403, "", _VIEW),
    (400, "UserProjectMissing"),
    (400, "userProjectMissing"),
    (403, "UserProjectAccessDenied", _BILL),
    (403, "UserProjectAccountProblem", _BILL),
    (403, "userProjectAccountProblem", _BILL),
    (400, "UserProjectInconsistent", _BILL),
    (400, "userProjectInconsistent", _BILL),
    (400, "UserProjectInvalid", _BILL),
    (400, "userProjectInvalid", _BILL),
    (401, "AuthenticationRequired"),
    (401, "authError"),
    (401, "required"),
    (400, "ExpiredToken"),
    (400, "InvalidToken"),
    (403, "InvalidSecurity"),
    (401, ""),
    (503, "SlowDown"),
    (429, "TooManyRequests"),
    (429, "rateLimitExceeded"),
    (403, "userRateLimitExceeded"),
    (403, "quotaExceeded"),
    (503, ""),
    (500, "InternalError"),
    (408, ""),
    (502, "backendError"),
    (302, ""),
    (400, "InvalidArgument"),
    (600, ""),
)
HTTP: Final = _rows(
    "http",
    (404, ""),
    (410, ""),
    (401, ""),
    (403, "", "permission"),
    (429, ""),
    (503, ""),
    (408, ""),
    (500, ""),
    (502, ""),
    (504, ""),
    (302, ""),
    (400, ""),
    (405, ""),
    (451, ""),
    (600, ""),
)
REFUSALS: Final = {"s3": S3, "azure": AZURE, "gcs": GCS, "http": HTTP}
