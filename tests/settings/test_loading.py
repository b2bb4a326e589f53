"""From what the user wrote to settings: precedence, places, and every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rangecache.settings import AzureProvider, GcsProvider, S3Provider, Settings, TcpAddress, UnixAddress, load

if TYPE_CHECKING:
    import pytest

    from tests.settings.conftest import Configuration, Faults

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# The YAML of the full contract, as far as this version builds it, each value another than its default.
EVERYTHING = """
server:
  listen: unix:/run/rangecache.sock
  admin_listen: "[::1]:9081"
  health_listen: 0.0.0.0:9464
  hosts: [proxy.example.org, "10.0.0.7:8080"]
  auth: {mode: external}
  max_ranges: 16
  max_connections: 100
  header_timeout: 1s
  keepalive_timeout: 3m
  send_timeout: 500ms
  send_buffer: 8MiB
  request_timeout: 1h30m
  shutdown_grace: 0s
cache:
  block_size: 1MiB
  memory: {size: 1GiB}
  disk: {enabled: off, path: blocks, size: 1TiB, min_free: 5GiB}
freshness:
  - {match: "s3/static/**", ttl: immutable}
  - {match: "web/**", ttl: 7d}
defaults: {stale_while_revalidate: 0s, stale_if_error: 1h, negative_ttl: 1s, listing_ttl: 0s}
fetch:
  max_request: 4MiB
  gap: 0
  prefetch: {max_window: 2MiB, memory: 16MiB}
  connect_timeout: 1s
  first_byte_timeout: 20s
  min_rate: {bytes: 0, over: 5s}
  attempts: 1
  hedge: true
throttle: {bandwidth: 50MiB, requests_per_second: 100}
budget: {ratio: 0.5, min_per_second: 2, burst: 10}
egress: {proxy: "http://proxy.example.org:3128", ca_file: /etc/ca.pem}
providers:
  s3: {kind: s3, region: eu-central-1}
  web: {kind: http, buckets: {noaa: "https://example.org/data"}}
  local: {kind: file, buckets: {demo: ./data}}
access: {allow: ["s3/**", "web/**"]}
telemetry: {log_level: debug, log_format: json, access_log: off}
"""


def test_without_any_configuration_there_are_the_clouds_on_loopback() -> None:
    loaded = load()
    assert loaded == Settings()
    assert loaded.providers["s3"] == S3Provider(kind="s3", region="auto")
    assert loaded.providers["az"] == AzureProvider(kind="azure")
    assert loaded.providers["gs"] == GcsProvider(kind="gcs")
    assert loaded.server.listen == TcpAddress("127.0.0.1", 8080)
    assert loaded.server.admin_listen == TcpAddress("127.0.0.1", 8081)
    assert loaded.access.allow == ("**",)


def test_defaults_are_those_of_the_contract() -> None:
    plain = Settings()
    cache, fetch, budget = plain.cache, plain.fetch, plain.budget
    assert (cache.block_size, cache.memory.size, cache.disk.size) == (256 * KIB, 256 * MIB, 10 * GIB)
    assert (cache.disk.enabled, cache.disk.path, cache.disk.min_free) == (
        True,
        Path.home() / ".cache/rangecache",
        "auto",
    )
    assert (plain.server.max_ranges, plain.server.max_connections, plain.server.send_buffer) == (256, 4096, 64 * MIB)
    assert (plain.server.header_timeout, plain.server.keepalive_timeout, plain.server.send_timeout) == (15, 120, 60)
    assert (plain.server.request_timeout, plain.server.shutdown_grace) == (300, 30)
    assert (fetch.max_request, fetch.gap, fetch.attempts) == (8 * MIB, 1, 3)
    assert (fetch.prefetch.max_window, fetch.prefetch.memory) == (16 * MIB, 64 * MIB)
    assert (fetch.connect_timeout, fetch.first_byte_timeout) == (2, 10)
    assert (fetch.min_rate.bytes, fetch.min_rate.over) == (16 * KIB, 10)
    assert (budget.ratio, budget.min_per_second, budget.burst) == (0.1, 1, 100)
    edges = {"stale_while_revalidate": 10, "stale_if_error": 86400, "negative_ttl": 2, "listing_ttl": 2}
    assert plain.defaults.model_dump() == edges
    assert plain.telemetry.model_dump() == {"log_level": "info", "log_format": "auto", "access_log": "sampled"}


def test_every_key_reaches_its_setting(configuration: Configuration, tmp_path: Path) -> None:
    loaded = configuration(EVERYTHING)
    plain = Settings().redacted()

    def same(read: object, default: object, path: str) -> list[str]:
        if isinstance(read, dict) and isinstance(default, dict) and path != "providers":
            return [found for key in default for found in same(read[key], default[key], f"{path}.{key}".strip("."))]
        return [path] if read == default else []

    assert same(loaded.redacted(), plain, "") == []
    assert loaded.server.listen == UnixAddress("/run/rangecache.sock")
    assert loaded.server.hosts == ("proxy.example.org", "10.0.0.7:8080")
    assert loaded.server.request_timeout == 5400
    assert loaded.cache.disk.path == tmp_path / "blocks"
    assert loaded.cache.disk.min_free == 5 * GIB
    assert [rule.ttl for rule in loaded.freshness] == ["immutable", 7 * 86400.0]
    assert loaded.telemetry.access_log == "off"


def test_a_file_that_was_commented_out_is_the_defaults(configuration: Configuration) -> None:
    assert configuration("# nothing\n") == Settings()
    assert configuration("server:\n  # listen: x\ncache:\nproviders:\n  # s3: {}\nfreshness: []\n") == Settings()


def test_flags_overrule_the_environment_which_overrules_the_file(configuration: Configuration) -> None:
    text = "cache: {memory: {size: 1MiB}, disk: {size: 1GiB}, block_size: 64KiB}"
    environ = {"RANGECACHE_CACHE__MEMORY__SIZE": "2MiB", "RANGECACHE_CACHE__DISK__SIZE": "2GiB"}
    loaded = configuration(text, environ, {"--disk-size": "3GiB"})
    assert loaded.cache.block_size == 64 * KIB
    assert loaded.cache.memory.size == 2 * MIB
    assert loaded.cache.disk.size == 3 * GIB


def test_the_environment_reaches_into_providers_and_lists(configuration: Configuration) -> None:
    loaded = configuration(
        "providers: {s3: {kind: s3, region: eu-west-1}}",
        {
            "RANGECACHE_PROVIDERS__S3__CREDENTIALS__ACCESS_KEY_ID": "key",
            "RANGECACHE_PROVIDERS__S3__CREDENTIALS__SECRET_ACCESS_KEY": "a: b #c*&d ",
            "RANGECACHE_ACCESS__ALLOW": '["s3/a/**", s3/b/**]',
            "RANGECACHE_SERVER__HOSTS": "one.example.org",
            "RANGECACHE_SERVER__HEALTH_LISTEN": "",
            "RANGECACHE_PROVIDERS__WEB": "{kind: http, buckets: {a: 'http://h/'}}",
            "RANGECACHE_FRESHNESS": "[{match: web/**, ttl: 1s}]",
            "RANGECACHE_CONFIG": "/ignored/here",
            "OTHER": "x",
        },
    )
    s3, web = loaded.providers["s3"], loaded.providers["web"]
    assert s3.kind == "s3"
    assert s3.region == "eu-west-1"
    assert s3.credentials.secret_access_key is not None
    assert s3.credentials.secret_access_key.get_secret_value() == "a: b #c*&d"
    assert web.kind == "http"
    assert web.buckets["a"].url == "http://h/"
    assert loaded.access.allow == ("s3/a/**", "s3/b/**")
    assert loaded.server.hosts == ("one.example.org",)
    assert loaded.server.health_listen is None
    assert loaded.freshness[0].ttl == 1


def test_the_environment_adds_to_the_default_provider() -> None:
    loaded = load(None, {"RANGECACHE_PROVIDERS__S3__REGION": "eu-west-1"})
    assert loaded.providers["s3"] == S3Provider(kind="s3", region="eu-west-1")
    assert loaded.providers.keys() == Settings().providers.keys()


def test_variables_that_kubernetes_sets_for_a_service_are_not_ours() -> None:
    links = {
        "RANGECACHE_SERVICE_HOST": "10.0.0.1",
        "RANGECACHE_SERVICE_PORT": "80",
        "RANGECACHE_SERVICE_PORT_HTTP": "80",
        "RANGECACHE_PORT": "tcp://10.0.0.1:80",
        "RANGECACHE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "RANGECACHE_PORT_80_TCP_ADDR": "10.0.0.1",
        "RANGECACHE_ADMIN_SERVICE_HOST": "10.0.0.2",
        "RANGECACHE_ADMIN_PORT_8081_TCP_PROTO": "tcp",
    }
    assert load(None, links) == Settings()


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver: {max_ranges: 3}\n")
    assert load(path).server.max_ranges == 3


def test_words_and_numbers_stay_what_was_typed(configuration: Configuration) -> None:
    loaded = configuration(
        "providers: {s3: {kind: s3, credentials: {access_key_id: 007, secret_access_key: 1e3, profile: null}}}\n"
        "cache: {disk: {enabled: no}}\ntelemetry: {access_log: off}\n"
    )
    s3 = loaded.providers["s3"]
    assert s3.kind == "s3"
    assert s3.credentials.access_key_id == "007"
    assert s3.credentials.secret_access_key is not None
    assert s3.credentials.secret_access_key.get_secret_value() == "1e3"
    assert not loaded.cache.disk.enabled


def test_secrets_are_masked_wherever_settings_are_shown(configuration: Configuration) -> None:
    loaded = configuration(
        "providers: {s3: {kind: s3, credentials: "
        "{access_key_id: key, secret_access_key: CANARY, session_token: CANARY}}}"
    )
    for shown in (
        repr(loaded),
        str(loaded),
        str(loaded.redacted()),
        loaded.model_dump_json(),
        str(loaded.model_dump()),
    ):
        assert "CANARY" not in shown
        assert "key" in shown


def test_the_redacted_form_is_json_in_the_units_of_the_file(configuration: Configuration, tmp_path: Path) -> None:
    shown = configuration(EVERYTHING).redacted()
    assert shown["server"]["listen"] == "unix:/run/rangecache.sock"
    assert shown["server"]["admin_listen"] == "[::1]:9081"
    assert shown["cache"]["block_size"] == "1MiB"
    assert shown["cache"]["disk"] == {
        "enabled": False,
        "path": f"{tmp_path}/blocks",
        "size": "1TiB",
        "min_free": "5GiB",
    }
    assert shown["server"]["send_timeout"] == "500ms"
    assert shown["freshness"][0] == {"match": "s3/static/**", "ttl": "immutable"}


def test_paths_start_at_the_folder_of_the_file_and_know_the_home(
    configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    loaded = configuration("providers: {f: {kind: file, buckets: {a: ./data, b: /abs, c: ~/c}}}")
    provider = loaded.providers["f"]
    assert provider.kind == "file"
    assert provider.buckets == {"a": tmp_path / "data", "b": Path("/abs"), "c": Path("/home/somebody/c")}
    assert loaded.cache.disk.path == Path("/home/somebody/.cache/rangecache")


def test_a_disk_tier_without_a_home_says_what_to_set(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    assert faults("cache: {}") == [
        (
            "config.yaml:1: cache.disk.path: ~/.cache/rangecache means nothing, as the home directory is not known "
            "here: give an absolute path"
        )
    ]
    assert not load(None, {"RANGECACHE_CACHE__DISK__ENABLED": "false"}).cache.disk.enabled
