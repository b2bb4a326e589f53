"""Every fault of a configuration is told at once, with its place, and never with a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rangecache.errors import ConfigurationError
from rangecache.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Configuration, Faults


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("RANGECACHE_BLOCK_SIZE", "1", "no such setting; did you mean RANGECACHE_CACHE__BLOCK_SIZE?"),
        ("RANGECACHE_X", "1", "no such setting; the form is RANGECACHE_SECTION__KEY"),
        ("RANGECACHE_SERVER__", "1", "no such setting;"),
        ("RANGECACHE_CACHE__BLOK_SIZE", "1", "cache.blok_size: unknown key; did you mean block_size?"),
        ("RANGECACHE_CACHE__BLOCK_SIZE", "300KiB", "cache.block_size: expected a power of two"),
        ("RANGECACHE_SERVER__HOSTS", "[a", "server.hosts: begins like a list"),
        ("RANGECACHE_PROVIDERS__S3", "{kind: s3, kind: http}", "providers.s3: begins like a list"),
        ("RANGECACHE_SERVER__LISTEN__PORT", "1", "server.listen: expected host:port"),
        ("RANGECACHE_PROVIDERS__W__BUCKETS__PORT", "1", "providers.w: kind is required"),
    ],
)
def test_faults_of_the_environment_name_the_variable(faults: Faults, variable: str, text: str, says: str) -> None:
    found = faults("", {variable: text})
    assert len(found) == 1
    assert found[0].startswith(f"{variable}: {says}")


def test_what_is_written_over_is_not_blamed_on_the_file(faults: Faults) -> None:
    found = faults("access:\n  allow:\n    - s3/a/**\n    - s3/b/**\n", {"RANGECACHE_ACCESS__ALLOW": "[s3/**, x]"})
    assert len(found) == 1
    assert found[0].startswith("RANGECACHE_ACCESS__ALLOW: access.allow[1]: x matches no object")


def test_faults_of_flags_name_the_flag(faults: Faults) -> None:
    assert faults("cache: {memory: {size: 1GiB}}", None, {"--memory-size": "lots"}) == [
        "--memory-size: cache.memory.size: expected a size such as 256KiB, 64MiB or 10GiB, got lots"
    ]


def test_every_fault_is_told_at_once_in_the_order_of_the_file(faults: Faults) -> None:
    text = """\
server:
  listn: 127.0.0.1:8080
  max_ranges: many
  keepalive_timeout: 120
  auth: external
cache:
  block_size: 300KiB
  memory: {size: 1KiB}
  disk: {enabled: maybe}
freshness:
  - {match: "static", ttl: 1s}
  - {match: "static/**", ttl: forever}
providers:
  S3: {kind: s3}
  web: {kind: http, buckets: {a: {}, b: "ftp://x"}}
  old: {kind: ftp}
  none: {}
telemetry: {log_level: loud}
nonsense: 1
"""
    expected = """\
config.yaml:2: server.listn: unknown key; did you mean listen?
config.yaml:3: server.max_ranges: expected a whole number, got many
config.yaml:4: server.keepalive_timeout: expected a duration such as 250ms, 15s, 5m, 24h or 7d, got 120; write 120s …
config.yaml:5: server.auth: expected a section with keys: mode
config.yaml:7: cache.block_size: expected a power of two from 4KiB to 16MiB, got 300KiB
config.yaml:9: cache.disk.enabled: expected true or false, got maybe
config.yaml:11: freshness[0].match: static matches no object, as names are provider/bucket/key: write static/**
config.yaml:12: freshness[1].ttl: expected a duration such as 250ms, 15s, 5m, 24h or 7d, got forever; or `origin`, …
config.yaml:14: providers.S3: a provider's name has lower-case letters, digits, - and _, and begins with a letter or …
config.yaml:15: providers.web.buckets.a.url: is required
config.yaml:15: providers.web.buckets.b.url: expected a URL that begins with http:// or https:// and names a host
config.yaml:16: providers.old: expected the kind s3, gcs, azure, http, file or failover, got ftp
config.yaml:17: providers.none: kind is required: s3, gcs, azure, http, file or failover
config.yaml:18: telemetry.log_level: expected debug, info, warning or error, got loud
config.yaml:19: nonsense: unknown key; known here: access, budget, cache, defaults, egress, fetch, freshness, …
RANGECACHE_FETCH__GAP: fetch.gap: expected from 0 to 64, got -1
--listen: server.listen: expected host:port, [IPv6]:port or unix:/path.sock, got here
"""
    found = faults(text, {"RANGECACHE_FETCH__GAP": "-1"}, {"--listen": "here"})
    for fault, wanted in zip(found, expected.splitlines(), strict=True):
        start = wanted.removesuffix("…")
        assert fault[: len(start)] == start if wanted.endswith("…") else fault == wanted


def test_a_contradiction_is_told_next_to_a_fault_elsewhere(faults: Faults) -> None:
    assert faults("cache: {memory: {size: 1KiB}}\nfetch: {gap: x}\n") == [
        "config.yaml:1: cache.memory.size: expected at least one block, which is 256KiB, got 1KiB",
        "config.yaml:2: fetch.gap: expected a whole number, got x",
    ]


def test_a_contradiction_with_a_value_at_fault_is_not_told(faults: Faults) -> None:
    found = faults("cache: {memory: {size: 8KiB}, block_size: 3KiB}\n")
    assert [fault.split(": ")[1] for fault in found] == ["cache.block_size"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1", "1: is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "server:\n\tlisten: x",
            "2: is not valid YAML: found character that cannot start any token; indent with",
        ),
        ("server:\n  listen: a: b", "2: is not valid YAML: mapping values are not allowed here; a text"),
        ("access:\n  allow: *xy", "2: is not valid YAML: found undefined alias; a text that begins with * has to be"),
        ("- a", "1: expected sections such as `server:` and `cache:`"),
        ("text", "1: expected sections such as `server:` and `cache:`"),
        ("a: 1\n---\nb: 2", "2: is not valid YAML: but found another document"),
        ('a: "\x01"', "1: holds a control character"),
        ("? [a]\n: 1", "1: expected a plain name before the colon"),
        ("server: !python {}", "1: server: YAML tags (!…) mean nothing here: remove it"),
        ("server:\n  max_ranges: 1\n\n  max_ranges: 2", "4: server.max_ranges: is written twice, first in line 2"),
        ("server: {}\nserver: {}", "2: server: is written twice, first in line 1: keep one"),
        ("providers: []", "1: providers: expected names, with a value below each"),
        ("freshness: {a: b}", "1: freshness: expected a list"),
        ("freshness: [{match: s3/**, ttl: }]", "1: freshness[0].ttl: expected a duration such as 250ms, 15s"),
        ("freshness: [{match: s3/**, ttl: [1]}]", "1: freshness[0].ttl: expected a duration such as 250ms, 15s"),
        ("cache: {disk: {min_free: {a: 1}}}", "1: cache.disk.min_free: expected a size such as 256KiB"),
        ("cache: [x]", "1: cache: expected a section with keys: block_size, disk, memory"),
    ],
)
def test_a_file_that_is_no_configuration_says_where(faults: Faults, text: str, fault: str) -> None:
    found = faults(text)
    assert any(one.startswith(f"config.yaml:{fault}") for one in found), found


def test_a_flood_of_aliases_is_refused(faults: Faults) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    flood = ["config.yaml: is nested too deeply or repeats itself through aliases"]
    assert faults("\n".join(rows)) == flood
    assert faults("server: &a {hosts: [*a]}") == flood
    assert faults("a: " + "[" * 5000) == flood


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"server: {}\n# caf\xe9\n")
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (5 << 20))
    for path, says in [
        (tmp_path / "absent.yaml", "absent.yaml: cannot be read: No such file or directory"),
        (tmp_path, ": cannot be read: Is a directory"),
        (latin, "latin.yaml:2: is not UTF-8 text; save it as UTF-8"),
        (huge, "huge.yaml: is larger than 4 MiB"),
    ]:
        with pytest.raises(ConfigurationError, match=re.escape(says)):
            load(path)


_CREDENTIALS = [
    "{secret_access_key: CANARY}",
    "{secret_access_key: [CANARY]}",
    "{secret_access_key: {CANARY: CANARY}}",
    "{secret_access_key: *CANARY}",
    "{secret_access_key: 'CANARY}",
    "{secret_access_key: @CANARY}",
    "{secret_access_key: !CANARY x}",
    "{secret_access_key: !CANARY!CANARY x}",
    '{secret_access_key: "\\CANARY"}',
    "{secret_access_key: CANARY: CANARY}",
    "CANARY",
    "[CANARY]",
    "{secret: CANARY}",
    "{access_key_id: a, secret_access_key: CANARY, profile: p}",
    "{access_key_id: a, secret_access_key: CANARY, session_token: CANARY, x: 1}",
    "{assume_role: {external_id: CANARY}}",
]


@pytest.mark.parametrize(
    "text",
    [
        *(f"providers: {{s3: {{kind: s3, credentials: {credentials}}}}}" for credentials in _CREDENTIALS),
        "providers: {w: {kind: http, buckets: {a: 'http://user:CANARY@host/'}}}",
        "providers: {w: {kind: http, buckets: {a: 'http://host/?sig=CANARY'}}}",
        "providers: {w: {kind: http, buckets: {a: 'http://host/CANARY CANARY'}}}",
        "providers: {w: {kind: http, credentials: {bearer_file: CANARY, basic_file: CANARY}}}",
        "egress: {proxy: 'http://user:CANARY@proxy:3128'}",
        "egress: {proxy: 'CANARY'}",
        "server: {auth: {mode: bearer, tokens: [CANARY]}}",
    ],
)
def test_no_fault_repeats_a_secret(faults: Faults, text: str) -> None:
    message = "\n".join(faults(text))
    # A key is named, and only in this one row is the secret a key.
    assert "CANARY" not in message


@pytest.mark.parametrize("text", ["{CANARY", "['CANARY]", '"CANARY" "CANARY"', "[CANARY]", "{CANARY: CANARY}"])
def test_no_fault_of_the_environment_repeats_a_secret(faults: Faults, text: str) -> None:
    found = faults("", {"RANGECACHE_PROVIDERS__S3__CREDENTIALS__SECRET_ACCESS_KEY": text})
    assert "CANARY" not in "\n".join(found)


_sections = [
    "server",
    "cache",
    "providers",
    "s3",
    "buckets",
    "access",
    "freshness",
    "auth",
    "disk",
    "fetch",
    "throttle",
]
_keys = ["kind", "allow", "match", "ttl", "listen", "credentials", "query", "min_free", "x"]
_trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("s3")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_sections + _keys), inner, max_size=4)
    ),
    max_leaves=20,
)


def _settings_or_message(configuration: Configuration, text: str) -> Settings | str:
    try:
        return configuration(text)
    except ConfigurationError as error:
        return error.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(_trees)
def test_whatever_is_written_gives_settings_or_faults(configuration: Configuration, tree: object) -> None:
    read = _settings_or_message(configuration, yaml.safe_dump(tree))
    assert read
    assert "function-" not in str(read)  # a word of the validator's inside


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.text(alphabet="abs3:{}[]-,*&!?|>'\"#%@ \n\t\u0000\u00e9", max_size=60))
def test_whatever_is_typed_gives_settings_or_faults(configuration: Configuration, text: str) -> None:
    assert _settings_or_message(configuration, text)
