"""Who asks at Azure: account keys, shared access signatures, commands, and identities through azure-identity."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl

from rangecache.origin.command import run_command
from rangecache.origin.credentials import CredentialsUnavailable, Grant, read_secret
from rangecache.origin.fetched import Fetched, OnThread
from rangecache.origin.printed import read_expires, read_object, read_time
from rangecache.origin.providers.azure_signing import AccountKey, AzureCredential, Bearer, Sas

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rangecache.aio.clock import Clock

Identity = Literal["default", "managed", "workload"]

SCOPE: Final = "https://storage.azure.com/.default"  # of every cloud and account
CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 10.0

_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_AAD_CODE = re.compile(r"AADSTS[0-9]{4,8}", re.ASCII)
# The account of every emulator, "Use the Azurite emulator" of the Azure Storage documentation.
_DEVELOPMENT: Final = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """What a connection string says of the Blob service. Its `repr` shows no secret."""

    account: str | None
    endpoint: str | None
    credential: AzureCredential | None = field(repr=False)

    @classmethod
    def read(cls, text: str) -> ConnectionString:
        """Read `Name=value;…`. Raises `CredentialsUnavailable`, which repeats nothing of it."""
        fields: dict[str, str] = {}
        for part in filter(None, (each.strip() for each in text.strip().split(";"))):
            name, equals, value = part.partition("=")
            if not equals or not value:
                raise CredentialsUnavailable("a connection string looks like AccountName=…;AccountKey=…")
            fields[name] = value
        if fields.get("UseDevelopmentStorage") == "true":
            fields = {**_DEVELOPMENT, **fields}
        account = fields.get("AccountName")
        endpoint = fields.get("BlobEndpoint")
        if endpoint is None and account is not None:
            scheme = fields.get("DefaultEndpointsProtocol", "https")
            endpoint = f"{scheme}://{account}.blob.{fields.get('EndpointSuffix', 'core.windows.net')}"
        if endpoint is None:
            raise CredentialsUnavailable("the connection string names neither AccountName nor BlobEndpoint")
        return cls(account, endpoint.rstrip("/"), _credential_in(fields))


def _credential_in(fields: dict[str, str]) -> AzureCredential | None:
    if "SharedAccessSignature" in fields:
        return _sas(fields["SharedAccessSignature"])
    if "AccountKey" not in fields:
        return None
    if "AccountName" not in fields:
        raise CredentialsUnavailable("the connection string has an AccountKey without its AccountName")
    return _account_key(fields["AccountName"], fields["AccountKey"])


def from_account_key(account: str, given: str | Path, *, clock: Clock) -> Fetched[AzureCredential]:
    """One of the account's keys, as a value or in a file. Files are read again every `RECHECK_S` and after a
    rejection, as all files are here."""

    def fetch(_: bool) -> Grant[AzureCredential]:
        return Grant(_account_key(account, read_secret(given)))

    return _named(fetch, f"the key of account {account}", clock)


def from_sas(given: str | Path, *, clock: Clock) -> Fetched[AzureCredential]:
    """A shared access signature, as a value or in a file."""

    def fetch(_: bool) -> Grant[AzureCredential]:
        return Grant(_sas(read_secret(given)))

    return _named(fetch, "the SAS token of the configuration", clock)


def from_connection_string(given: str | Path, *, clock: Clock) -> Fetched[AzureCredential]:
    """The key or the signature of a connection string, as a value or in a file."""

    def fetch(_: bool) -> Grant[AzureCredential]:
        found = ConnectionString.read(read_secret(given)).credential
        if found is None:
            raise CredentialsUnavailable("the connection string has neither AccountKey nor SharedAccessSignature")
        return Grant(found)

    return _named(fetch, "the connection string of the configuration", clock)


def from_command(command: str | Sequence[str], *, clock: Clock) -> Fetched[AzureCredential]:
    """What a program prints: `{"sas_token": …}` or `{"token": …}`, with `"expires"` in either.

    Where a SAS token comes without, its own `se` says it; where nothing does, the program is asked every `RECHECK_S`.
    """

    def fetch(_: bool) -> Grant[AzureCredential]:
        found = read_object(run_command(command))
        sas, token = found.get("sas_token"), found.get("token")
        if isinstance(sas, str) == isinstance(token, str):
            raise CredentialsUnavailable('the command gave neither {"sas_token": …} nor {"token": …}, or both')
        expires_at_s = read_expires(found)
        credential: AzureCredential
        if isinstance(sas, str):
            credential = _sas(sas)
            if expires_at_s is None:
                expires_at_s = read_time(dict(parse_qsl(credential.query)).get("se"), name="se")
        else:
            credential = Bearer(_printable(str(token), "a token"))
        return Grant(credential, expires_at_s)

    return _named(fetch, "what the configured command prints", clock)


def from_identity(
    kind: Identity = "default",
    *,
    client_id: str | None = None,
    tenant_id: str | None = None,
    token_file: Path | None = None,
    proxy: str | None = None,
    ca_file: Path | None = None,
    clock: Clock,
) -> Fetched[AzureCredential]:
    """Tokens through azure-identity: a managed identity, a workload identity, or, with no going unsigned for the
    former two, whatever `DefaultAzureCredential` finds on this machine.

    `proxy` is what Entra is reached through; metadata services are this machine's and are asked directly. `ca_file` is
    whom to trust besides the usual authorities where tokens are had over https.
    """
    descriptions = {
        "default": "the Azure credentials of this machine's environment",
        "managed": "this machine's managed identity",
        "workload": "this pod's workload identity",
    }
    source = _Identity(kind, client_id, tenant_id, token_file, proxy, ca_file)
    who = descriptions[kind] + (f" (client id {client_id})" if client_id else "")
    return Fetched(OnThread(source.fetch), description=who, may_go_unsigned=kind == "default", clock=clock)


class _Identity:
    """azure-identity's own credentials. The plain ones on a thread and not `azure.identity.aio`: those make contexts
    for TLS, and are imported, where they are called, which stops the event loop for a tenth of a second and more.

    Each fetch begins anew: the library keeps a token until five minutes before its end, and the file of a workload
    identity for ten minutes; when to renew is said in one place, by `Fetched`. Nothing is repeated in here.
    """

    def __init__(
        self,
        kind: Identity,
        client_id: str | None,
        tenant_id: str | None,
        token_file: Path | None,
        proxy: str | None,
        ca_file: Path | None,
    ) -> None:
        self._kind = kind
        self._client_id = client_id
        self._tenant_id = tenant_id
        self._token_file = token_file
        self._proxy = proxy
        self._ca_file = ca_file

    def fetch(self, _: bool) -> Grant[AzureCredential] | None:
        """Blocks."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # half a second, where it is needed

        try:
            with self._credential() as credential:
                token = credential.get_token(SCOPE)
        except ClientAuthenticationError as error:
            if self._kind == "default" and error.response is None:
                return None
            raise CredentialsUnavailable(_why(error)) from error
        except (AzureError, ValueError) as error:
            raise CredentialsUnavailable(_why(error)) from error
        return Grant(Bearer(_printable(token.token, "a token")), float(token.expires_on))

    def _credential(self) -> Any:
        from azure import identity

        options: dict[str, Any] = {
            "retry_total": 0,  # repeats are `Fetched`'s, with its pauses
            "connection_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "use_env_settings": False,  # a proxy of the environment would be told the tokens of metadata services
            # Entra speaks https alone, and metadata services http, but for Service Fabric's, which knows no proxy.
            "proxies": {} if self._proxy is None else {"https": self._proxy},
        }
        if self._ca_file is not None:
            options["connection_verify"] = str(self._ca_file)
        if self._kind == "managed":
            return identity.ManagedIdentityCredential(client_id=self._client_id, **options)
        # An authority that the operator named is not to be asked for at another one first.
        options["disable_instance_discovery"] = bool(os.environ.get("AZURE_AUTHORITY_HOST"))
        if self._kind == "workload":
            return identity.WorkloadIdentityCredential(
                client_id=self._client_id,
                tenant_id=self._tenant_id,
                token_file_path=None if self._token_file is None else str(self._token_file),
                **options,
            )
        return identity.DefaultAzureCredential(**options)


def _why(error: Exception) -> str:
    """The end of a sentence. The library's own text repeats what a service or a command has said."""
    code = _AAD_CODE.search(str(error))
    return f"azure-identity raised {type(error).__name__}" + (f" ({code[0]})" if code else "")


def _named(fetch: Any, description: str, clock: Clock) -> Fetched[AzureCredential]:
    return Fetched(OnThread(fetch), description=description, may_go_unsigned=False, clock=clock)


def _account_key(account: str, text: str) -> AccountKey:
    try:
        return AccountKey.read(account, text)
    except ValueError as error:
        raise CredentialsUnavailable(str(error)) from None


def _sas(text: str) -> Sas:
    query = _printable(text.strip().removeprefix("?"), "a SAS token")
    if "sig=" not in query or "#" in query:
        raise CredentialsUnavailable("what is there is no SAS token: it looks like sv=…&sig=…")
    return Sas(query)


def _printable(text: str, what: str) -> str:
    """A text that can stand in a header or an address."""
    if _PRINTABLE.fullmatch(text) is None:
        raise CredentialsUnavailable(f"what is there is not {what}")
    return text
