"""Contradictions between settings, and keys of the full configuration that this version does not build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.settings import Settings

if TYPE_CHECKING:
    from tests.settings.conftest import Configuration, Faults

_WORDS = "server.auth.mode: external", "access.allow"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("server: {listen: 0.0.0.0:8080}", _WORDS),
        ("server: {listen: '[::]:8080'}", _WORDS),
        ("server: {listen: 192.168.1.2:8080, auth: {mode: external}}", _WORDS[1:]),
        ("server: {listen: host.example.org:8080, auth: {mode: external}}\naccess:", _WORDS[1:]),
        ("server: {listen: 0.0.0.0:8080}\naccess: {allow: ['s3/b/**']}", _WORDS[:1]),
        ("server: {admin_listen: 0.0.0.0:8081}", _WORDS[:1]),
    ],
)
def test_an_address_that_others_reach_needs_two_explicit_words(
    faults: Faults, text: str, missing: tuple[str, ...]
) -> None:
    found = faults(text)
    assert len(found) == 1
    assert "can be reached from other machines" in found[0]
    assert [word for word in _WORDS if word in found[0]] == list(missing)


@pytest.mark.parametrize(
    "text",
    [
        "server: {listen: '0.0.0.0:8080', auth: {mode: external}}\naccess: {allow: ['s3/b/**']}",
        "server: {listen: '0.0.0.0:8080', auth: {mode: external}}\naccess: {allow: ['**']}",
        "server: {listen: '127.9.9.9:8080'}",
        "server: {listen: unix:/run/x.sock}",
        "server: {listen: '127.0.0.1:0', admin_listen: '127.0.0.1:0'}",
        "server: {health_listen: '0.0.0.0:9464'}",
        "cache: {disk: {enabled: false, size: 0}}",
        "cache: {memory: {size: 256KiB}}",
        "fetch: {max_request: 256KiB, prefetch: {memory: 256KiB}}",
        "freshness: [{match: '*/b/**', ttl: 1s}]",
    ],
)
def test_what_fits_together_is_accepted(configuration: Configuration, text: str) -> None:
    assert isinstance(configuration(text), Settings)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("server: {listen: '127.0.0.1:8081'}", "server.admin_listen", "is taken by server.listen: choose another port"),
        ("server: {health_listen: '0.0.0.0:8080'}", "server.health_listen", "is taken by server.listen"),
        ("server: {listen: unix:/a, admin_listen: unix:/a}", "server.admin_listen", "is taken by server.listen"),
        ("fetch: {max_request: 128KiB}", "fetch.max_request", "expected a multiple of cache.block_size"),
        ("fetch: {max_request: 300KiB}", "fetch.max_request", "expected a multiple of cache.block_size"),
        ("cache: {block_size: 16MiB}", "fetch.max_request", "which is 16MiB, got 8MiB"),
        ("fetch: {prefetch: {memory: 4MiB}}", "fetch.prefetch.memory", "at least fetch.max_request, which is 8MiB"),
        ("cache: {memory: {size: 255KiB}}", "cache.memory.size", "at least one block, which is 256KiB, got 255KiB"),
        ("cache: {disk: {size: 1KiB}}", "cache.disk.size", "at least one block, which is 256KiB, got 1KiB"),
        ("access: {allow: ['s4/**']}", "access.allow[0]", "there is no provider s4; configured: s3"),
        ("freshness: [{match: 'web/**', ttl: 1s}]", "freshness[0].match", "there is no provider web; configured: s3"),
    ],
)
def test_what_does_not_fit_together_says_what_to_change(faults: Faults, text: str, path: str, says: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert f"{path}: " in found[0]
    assert says in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "server: {tls: null, cors: {origins: []}, s3_listen: null}",
        "server: {cors: null, s3_listen: off}",
        "cache: {shared: {enabled: false, url: null, cluster: false}}",
        "throttle: {bandwidth: unlimited, requests_per_second: unlimited}",
        "throttle:",
        "telemetry: {otlp_endpoint: null}",
        "s3_front: null",
        "providers: {s3: {kind: s3, preset: null, credentials: {assume_role: null}}}",
        "providers: {s3: {kind: s3, buckets: {b: {requester_pays: false, query: refuse}}}}",
    ],
)
def test_what_is_not_in_this_version_is_accepted_where_it_is_off(configuration: Configuration, text: str) -> None:
    assert isinstance(configuration(text), Settings)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server: {tls: {cert_file: a, key_file: b}}", "server.tls"),
        ("server: {cors: {origins: ['*']}}", "server.cors"),
        ("server: {s3_listen: '127.0.0.1:8082'}", "server.s3_listen"),
        ("server: {auth: {mode: bearer, tokens_file: t}}", "server.auth.tokens_file"),
        ("server: {auth: {mode: bearer}}", "server.auth.mode"),
        ("cache: {shared: {enabled: true, url: 'redis://x'}}", "cache.shared"),
        ("telemetry: {otlp_endpoint: 'http://x'}", "telemetry.otlp_endpoint"),
        ("s3_front: {provider: s3, buckets: {}, auth: none}", "s3_front"),
        ("providers: {s3: {kind: s3, buckets: {b: {query: keyed}}}}", "providers.s3.buckets.b.query"),
    ],
)
def test_what_is_not_in_this_version_is_never_ignored(faults: Faults, text: str, path: str) -> None:
    found = faults(text)
    at_fault = [fault for fault in found if f": {path}: " in fault]
    assert len(at_fault) == 1
    assert "not in this version: " in at_fault[0]
    assert len(found) == (2 if "tokens_file" in text else 1)


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        ("[s3]", "expected two to 8 replicas, got 1"),
        ("[s3, gone]", "there is no provider gone"),
        ("[s3, other]", "is a failover set itself"),
        ("[s3, s3]", "expected each provider once"),
        ("[s3, {provider: web, buckets: {b: /x}}]", "expected bucket, or bucket/prefix/"),
    ],
)
def test_a_failover_set_is_made_of_other_providers(faults: Faults, replicas: str, says: str) -> None:
    text = f"""
providers:
  s3: {{kind: s3}}
  web: {{kind: http, buckets: {{b: "http://example.org/"}}}}
  other: {{kind: failover, replicas: [s3, web]}}
  f: {{kind: failover, replicas: {replicas}}}
"""
    assert says in " ".join(faults(text))
