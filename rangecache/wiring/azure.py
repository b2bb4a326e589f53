"""From the settings of `kind: azure` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import ConfigurationError
from rangecache.origin.credentials import Anonymous, CredentialsUnavailable, read_secret
from rangecache.origin.providers.azure import AzureBucket, AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.providers.azure_credentials import (
    ConnectionString,
    from_account_key,
    from_command,
    from_connection_string,
    from_identity,
    from_sas,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.providers.azure_signing import AzureCredential
    from rangecache.settings import AzureCredentials, AzureProvider, Egress


def azure_dialect(provider: AzureProvider, clock: Clock, egress: Egress) -> AzureDialect:
    """A dialect with the provider's credentials, its endpoint and what is particular about its buckets. Raises
    `ConfigurationError`."""
    endpoint = azure_endpoint(provider)
    own = {alias: each.credentials for alias, each in provider.buckets.items() if each.credentials is not None}
    for alias, given in own.items():
        _check_account(alias, given, endpoint, provider.buckets[alias].bucket or alias)
    return AzureDialect(
        endpoint=endpoint,
        credentials=azure_credentials(provider.credentials, clock, egress),
        clock=clock,
        buckets={
            alias: AzureBucket(
                bucket.bucket or alias,
                anonymous=bool(bucket.anonymous),
                missing_403_is_404=bucket.missing_403_is_404,
                credentials=azure_credentials(own[alias], clock, egress) if alias in own else None,
            )
            for alias, bucket in provider.buckets.items()
        },
    )


def azure_endpoint(provider: AzureProvider) -> Endpoint:
    """Where the provider's buckets are. Reads the connection string once, as that may say it. Raises
    `ConfigurationError`."""
    given = provider.credentials
    said = _connection_string(given)
    if said is None:
        return Endpoint.parse(provider.endpoint, given.account)
    return Endpoint.parse(provider.endpoint or said.endpoint, given.account or said.account)


def _check_account(alias: str, given: AzureCredentials, endpoint: Endpoint, bucket: str) -> None:
    """A bucket's own credentials do not say where it is, and those of another account would be rejected there."""
    said = _connection_string(given)
    account = given.account or (None if said is None else said.account)
    if account is None or endpoint.bucket_fault(bucket):
        return
    if (its := endpoint.place(bucket).account) != account:
        raise ConfigurationError(
            f"bucket {alias}: its credentials are of account {account}, and it is in account {its};"
            " give each account a provider of its own, or name buckets as <account>.<container>"
        )


def _connection_string(given: AzureCredentials) -> ConnectionString | None:
    text = given.connection_string_file or _revealed(given.connection_string)
    if text is None:
        return None
    try:
        return ConnectionString.read(read_secret(text))
    except CredentialsUnavailable as error:
        raise ConfigurationError(f"providers: {error}") from error


def azure_credentials(given: AzureCredentials, clock: Clock, egress: Egress) -> Credentials[AzureCredential]:
    """The one way to prove who asks that the settings name; what this machine has where they name none."""
    if given.anonymous:
        return Anonymous()
    key = given.account_key_file or _revealed(given.account_key)
    if key is not None and given.account is not None:
        return from_account_key(given.account, key, clock=clock)
    if (sas := given.sas_token_file or _revealed(given.sas_token)) is not None:
        return from_sas(sas, clock=clock)
    if (text := given.connection_string_file or _revealed(given.connection_string)) is not None:
        return from_connection_string(text, clock=clock)
    if given.command is not None:
        return from_command(given.command, clock=clock)
    return from_identity(
        "managed" if given.managed_identity else "workload" if given.workload_identity else "default",
        client_id=given.client_id,
        tenant_id=given.tenant_id,
        token_file=given.federated_token_file,
        proxy=egress.proxy,
        ca_file=egress.ca_file,
        clock=clock,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
