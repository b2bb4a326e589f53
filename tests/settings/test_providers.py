"""Providers: what is accepted, what is refused, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.errors import ConfigurationError
from rangecache.patterns import first_match
from rangecache.settings import Egress
from rangecache.wiring.azure import azure_dialect

if TYPE_CHECKING:
    from tests.settings.conftest import Configuration, Faults


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://example.org/data/", "https://example.org/data/"),
        ("https://example.org/data", "https://example.org/data/"),
        ("http://Example.ORG", "http://example.org/"),
        ("http://127.0.0.1:9000/a%20b/c", "http://127.0.0.1:9000/a%20b/c/"),
        ("http://[::1]:9000", "http://[::1]:9000/"),
        ("HTTP://h/A//b", "http://h/A//b/"),
    ],
)
def test_a_base_address_ends_in_a_slash(configuration: Configuration, written: str, read: str) -> None:
    web = configuration(f"providers: {{web: {{kind: http, buckets: {{b: '{written}'}}}}}}").providers["web"]
    assert web.kind == "http"
    assert web.buckets["b"].url == read


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("example.org/data/", "begins with http:// or https://"),
        ("file:///etc/", "begins with http:// or https://"),
        ("http:///data/", "names a host"),
        ("http://", "names a host"),
        ("http://user@example.org/", "a user or password in a URL"),
        ("http://user:pw@example.org/", "a user or password in a URL"),
        ("http://example.org/?a=b", "without a query"),
        ("http://example.org/#a", "without a query (?) and without a fragment"),
        ("http://example.org:0/", "a port from 1 to 65535"),
        ("http://example.org:99999/", "expected a URL such as"),
        ("http://[::1/", "expected a URL such as"),
        ("http://exämple.org/", "a host name in ASCII"),
        ("http://a b/", "a host name in ASCII"),
        ("http://example.org/a b/", "a blank is %20"),
        ("http://example.org/%zz/", "percent-encoded path"),
        ("http://example.org/ä/", "percent-encoded path"),
        ("http://example.org/a/../b/", "without the segments . and .."),
        ("http://example.org/a/%2E%2e/b/", "without the segments . and .."),
        ("http://example.org\\@evil/", "a user or password"),
    ],
)
def test_other_addresses_are_refused(faults: Faults, url: str, says: str) -> None:
    found = faults(f"providers: {{web: {{kind: http, buckets: {{b: '{url}'}}}}}}")
    assert len(found) == 1
    assert found[0].startswith("config.yaml:1: providers.web.buckets.b.url: ")
    assert says in found[0]


def test_an_endpoint_has_no_final_slash_and_a_proxy_no_path(configuration: Configuration, faults: Faults) -> None:
    loaded = configuration(
        "providers: {m: {kind: s3, endpoint: 'http://127.0.0.1:9000/'}}\negress: {proxy: 'http://p:3128/'}"
    )
    minio = loaded.providers["m"]
    assert minio.kind == "s3"
    assert minio.endpoint == "http://127.0.0.1:9000"
    assert loaded.egress.proxy == "http://p:3128"
    assert "without a path" in faults("egress: {proxy: 'http://p:3128/x'}")[0]


@pytest.mark.parametrize("name", ["S3", "a b", "-a", "a.b", "é", "x" * 64, "", "livez", "metrics", "v1", "'*'", "a/b"])
def test_a_provider_has_a_name_that_fits_a_path(faults: Faults, name: str) -> None:
    found = faults(f"providers: {{{name or repr('')}: {{kind: s3}}}}")
    assert len(found) == 1
    assert "provider" in found[0]


@pytest.mark.parametrize("name", [".", "..", "a/b", '""', '"a\\nb"', "x" * 256])
def test_a_bucket_has_a_name_that_is_one_part_of_a_path(faults: Faults, name: str) -> None:
    for bucket, kind in (
        (f"{{{name}: {{}}}}", "s3"),
        (f"{{{name}: 'http://h/'}}", "http"),
        (f"{{{name}: /x}}", "file"),
    ):
        found = faults(f"providers: {{p: {{kind: {kind}, buckets: {bucket}}}}}")
        assert len(found) == 1
        assert "one part of a URL's path" in found[0]


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ("{access_key_id: a}", "a static key has two halves"),
        ("{secret_access_key: s}", "a static key has two halves"),
        ("{session_token: t}", "a static key has two halves"),
        ("{access_key_id: a, session_token: t}", "a static key has two halves"),
        ("{access_key_id: a, secret_access_key: s, secret_access_key_file: f}", "not both"),
        ("{access_key_id: a, secret_access_key: s, session_token: t, session_token_file: f}", "not both"),
        ("{access_key_id: a, secret_access_key: s, profile: p}", "one way to sign"),
        ("{profile: p, anonymous: true}", "one way to sign"),
        ("{secret_access_key: s, anonymous: true}", "one way to sign"),
    ],
)
def test_credentials_are_of_one_kind_and_whole(faults: Faults, credentials: str, says: str) -> None:
    found = faults(f"providers: {{s3: {{kind: s3, credentials: {credentials}}}}}")
    assert len(found) == 1
    assert found[0].startswith("config.yaml:1: providers.s3.credentials: ")
    assert says in found[0]


def test_a_bucket_inherits_what_it_does_not_say(configuration: Configuration) -> None:
    s3 = configuration(
        "providers: {s3: {kind: s3, region: eu-west-1, buckets: {"
        "alias: {bucket: real-name, region: us-east-1, missing_403_is_404: yes}, plain: , odd: {anonymous: true}}}}"
    ).providers["s3"]
    assert s3.kind == "s3"
    alias = s3.bucket("alias")
    assert (alias.bucket, alias.region, alias.missing_403_is_404) == ("real-name", "us-east-1", True)
    for name in ("plain", "not-listed"):
        assert (s3.bucket(name).bucket, s3.bucket(name).region, s3.bucket(name).anonymous) == (name, "eu-west-1", None)
    assert s3.bucket("odd").anonymous is True


PROVIDERS = """
providers:
  s3: {kind: s3, buckets: {slow: {first_byte_timeout: 1m}}}
  web: {kind: http, buckets: {a: "http://h/", b: {url: "http://h/", first_byte_timeout: 1s}}}
  local: {kind: file, buckets: {d: /d}}
"""


def test_web_servers_get_more_time_for_the_first_byte_unless_it_is_set(configuration: Configuration) -> None:
    plain = configuration(PROVIDERS)
    assert plain.first_byte_timeout("s3", "any") == 10
    assert plain.first_byte_timeout("s3", "slow") == 60
    assert plain.first_byte_timeout("web", "a") == 30
    assert plain.first_byte_timeout("web", "b") == 1
    assert plain.first_byte_timeout("local", "d") == 10
    chosen = configuration(PROVIDERS + "fetch: {first_byte_timeout: 5s}")
    assert chosen.first_byte_timeout("web", "a") == 5
    assert chosen.first_byte_timeout("s3", "any") == 5


def test_the_built_in_grace_is_not_the_operators_word(configuration: Configuration) -> None:
    """RFC 9111 section 4.2.4: an origin that does not allow it is not answered for with stale bytes unless agreed."""
    plain = configuration("")
    assert plain.stale_while_revalidate("origin") == 0
    assert plain.stale_while_revalidate(60.0) == plain.defaults.stale_while_revalidate == 10
    chosen = configuration("defaults: {stale_while_revalidate: 10s}")
    assert chosen.stale_while_revalidate("origin") == 10
    other = configuration("defaults: {stale_if_error: 5s}")
    assert other.stale_while_revalidate("origin") == 0


@pytest.mark.parametrize(
    ("name", "ttl"),
    [
        ("s3/static/zarr.json", "immutable"),
        ("s3/b/zarr.json", 1.0),
        ("s3/b/a/.zarray", 1.0),
        ("s3/b/a/.zgroup", 1.0),
        ("s3/b/a/.zattrs", 1.0),
        ("s3/b/.zmetadata", 1.0),
        ("s3/b/mosaic.vrt", 1.0),
        ("web/a/catalog.json", 1.0),
        ("web/a/x.tif", "origin"),
        ("s3/b/x.tif", 60.0),
        ("local/d/x.json.gz", 60.0),
        ("s3/b/special.json", 3600.0),
    ],
)
def test_configured_rules_come_before_those_built_in(configuration: Configuration, name: str, ttl: float | str) -> None:
    rules = "freshness: [{match: 's3/static/**', ttl: immutable}, {match: '**/special.json', ttl: 1h}]"
    assert first_match(configuration(PROVIDERS + rules).freshness_rules(), name) == ttl


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("credentials: {metadata: true, anonymous: true}", "expected one of service_account_file, "),
        ("credentials: {service_account_file: a, command: b}", "expected one of service_account_file, "),
        ("buckets: {b: {requester_pays: true}}", "somebody has to pay"),
        ("project: my-project, buckets: {b: {requester_pays: true, anonymous: true}}", "somebody has to pay"),
        ("endpoint: 'http://gcs.example.org'", "a token would cross the network in clear"),
        ("endpoint: 'http://gcs.example.org', credentials: {metadata: true}", "a token would cross the network"),
        ("project: 'my project'", "should match pattern"),
    ],
)
def test_what_google_would_refuse_or_others_could_read_is_refused(faults: Faults, written: str, says: str) -> None:
    (found,) = faults(f"providers: {{g: {{kind: gcs, {written}}}}}")
    assert says in found


@pytest.mark.parametrize(
    "written",
    [
        "endpoint: 'http://127.0.0.1:4443'",
        "endpoint: 'http://gcs.example.org', credentials: {anonymous: true}",
        "endpoint: 'https://gcs.example.org'",
        "project: my-project, buckets: {b: {requester_pays: true}}",
        "credentials: {command: [gcloud, auth, print-access-token]}",
        "credentials: {workload_identity: off}",
    ],
)
def test_what_google_takes_is_accepted(configuration: Configuration, written: str) -> None:
    assert configuration(f"providers: {{g: {{kind: gcs, {written}}}}}").providers["g"].kind == "gcs"


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_a_bucket_has_credentials_or_is_anonymous(faults: Faults, kind: str) -> None:
    bucket = "{credentials: {command: print-it}, anonymous: true}"
    (fault,) = faults(f"providers: {{p: {{kind: {kind}, buckets: {{data: {bucket}}}}}}}")
    assert "bucket data: expected credentials or anonymous, not both" in fault


def test_the_token_of_a_bucket_is_not_sent_in_clear_either(faults: Faults) -> None:
    own = "buckets: {data: {credentials: {%s: true}}}"
    open_to_all = "endpoint: 'http://example.org/acc', credentials: {anonymous: true}"
    for kind, source in (("gcs", "metadata"), ("azure", "managed_identity")):
        (fault,) = faults(f"providers: {{p: {{kind: {kind}, {open_to_all}, {own % source}}}}}")
        assert "token" in fault


def test_the_key_of_another_account_than_the_containers_is_refused(configuration: Configuration) -> None:
    own = "credentials: {account: other, account_key: a2V5}"
    written = f"providers: {{az: {{kind: azure, credentials: {{account: mine}}, buckets: {{data: {{{own}}}}}}}}}"
    azure = configuration(written).providers["az"]
    assert azure.kind == "azure"
    with pytest.raises(ConfigurationError, match=r"bucket data: .* account other, and it is in account mine"):
        azure_dialect(azure, SystemClock(), Egress())
    named = f"providers: {{az: {{kind: azure, buckets: {{data: {{bucket: other.data, {own}}}}}}}}}"
    elsewhere = configuration(named).providers["az"]
    assert elsewhere.kind == "azure"
    azure_dialect(elsewhere, SystemClock(), Egress())
