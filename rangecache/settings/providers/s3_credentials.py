"""`credentials` of `kind: s3`, of the provider or of one bucket."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from rangecache.settings.fields import Command, EndpointUrl, LocalPath, Secret, Section

_YES: Final = frozenset({"true", "yes", "on"})
_NO: Final = frozenset({"false", "no", "off", "none"})


def _yes_is_a_section(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in _YES:
        return {}
    return None if isinstance(value, str) and value.lower() in _NO else value


RoleArn = Annotated[str, Field(pattern=r"^arn:[a-z-]{1,16}:iam::[0-9]{12}:role/[\x21-\x7e]{1,576}$")]
# "AssumeRole" of the AWS STS API reference.
SessionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$")]
ExternalId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$")]


class S3Role(Section):
    """A role that is assumed with the keys that the other settings give."""

    arn: RoleArn
    """The role, such as `arn:aws:iam::123456789012:role/reader`."""
    session_name: SessionName | None = None
    """What the session is called in AWS's logs. null: `rangecache`."""
    external_id: ExternalId | None = None
    """What the role's trust policy asks for, where it belongs to somebody else's account. null: nothing."""


class S3WebIdentity(Section):
    """A role for which a token in a file is enough (IRSA on EKS). `true` means that the environment says all of it."""

    role_arn: RoleArn | None = None
    """The role. null: `AWS_ROLE_ARN` of the environment."""
    token_file: LocalPath | None = None
    """The file, which is read again each time. null: `AWS_WEB_IDENTITY_TOKEN_FILE` of the environment."""
    session_name: SessionName | None = None
    """What the session is called in AWS's logs. null: `AWS_ROLE_SESSION_NAME` of the environment, or `rangecache`."""


class S3Credentials(Section):
    """Who we are towards an S3 service. Without any of these: the AWS SDK's own chain (environment, profiles, web
    identity, container, EKS Pod Identity, instance), and unsigned requests where that finds nothing."""

    access_key_id: str | None = None
    """The public half of a static key. null: no static key."""
    secret_access_key: Secret | None = None
    """The secret half, best given in the environment. Never printed. null: it is in the file, or there is none."""
    secret_access_key_file: LocalPath | None = None
    """A file that holds the secret half, such as a mounted Kubernetes secret. null: there is none."""
    session_token: Secret | None = None
    """The token that belongs to temporary static keys. Never printed. null: it is in the file, or there is none."""
    session_token_file: LocalPath | None = None
    """A file that holds the token. null: there is none."""
    profile: str | None = None
    """A profile of `~/.aws/config` and `~/.aws/credentials`: keys, a role, SSO, a process. null: none by name."""
    web_identity: Annotated[S3WebIdentity | None, BeforeValidator(_yes_is_a_section)] = None
    """A role by a web identity token: `true`, or `{role_arn, token_file, session_name}`. null: none by name."""
    imds: bool = False
    """true: the role of this EC2 instance and nothing else. Version 1 of the metadata service is never asked."""
    command: Command | None = None
    """A command that prints keys as the AWS SDKs' `credential_process` does. No shell sees it: a text is split into
    words, a list is taken as it is. null: none."""
    url: EndpointUrl | None = None
    """An address that gives out keys as that of a container does; plain http only on this machine or its link. null:
    none."""
    url_token_file: LocalPath | None = None
    """A file whose text is sent to `url` as Authorization; read again each time. null: nothing is sent."""
    assume_role: S3Role | None = None
    """`{arn, session_name, external_id}`: a role that is assumed with the keys that all this gives. null: none."""
    anonymous: bool = False
    """true: requests are not signed, as public buckets allow."""

    @model_validator(mode="after")
    def _one_way(self) -> S3Credentials:
        secret = (self.secret_access_key, self.secret_access_key_file)
        token = (self.session_token, self.session_token_file)
        static = any(value is not None for value in (self.access_key_id, *secret, *token))
        named = (self.profile, self.web_identity, self.command, self.url)
        ways = static + sum(value is not None for value in named) + self.imds + self.anonymous
        if ways > 1:
            raise ValueError(
                "expected one way to sign: access_key_id with its secret, profile, web_identity, imds, command, url or"
                " anonymous"
            )
        if self.anonymous and self.assume_role is not None:
            raise ValueError("a role cannot be assumed without keys: remove anonymous or assume_role")
        if self.url_token_file is not None and self.url is None:
            raise ValueError("url_token_file is for url, which is not set")
        if None not in secret or None not in token:
            raise ValueError("expected a secret or the file that holds it, not both")
        if static and (self.access_key_id is None or secret == (None, None)):
            raise ValueError(
                "a static key has two halves: access_key_id, and secret_access_key or secret_access_key_file"
            )
        return self
