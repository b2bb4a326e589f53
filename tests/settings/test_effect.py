"""Every setting has an effect: whoever builds and runs the program reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rangecache.aio.clock import SystemClock
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.settings import Settings
from rangecache.settings.fields import Section
from rangecache.wiring.program import Program
from rangecache.wiring.startup import announcement
from tests.edge.client import fetch

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

READ_ELSEWHERE: Final = {
    "Telemetry.log_level": "cli/serve: before there is a program",
    "Telemetry.log_format": "cli/serve: before there is a program",
}


_ROLE: Final = "arn:aws:iam::123456789012:role/reader"


def _classes(section: type[Section] = Section) -> list[type[Section]]:
    found = [one for one in section.__subclasses__() if one.__module__.startswith("rangecache.")]
    return found + [below for one in found for below in _classes(one)]


def _tree(folder: Path) -> dict[str, Any]:
    """Each kind of provider, with a bucket that says something of its own."""
    (folder / "files").mkdir()
    (folder / "files" / "a").write_bytes(b"bytes")
    return {
        "server": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "health_listen": "127.0.0.1:0"},
        "cache": {"disk": {"path": str(folder / "cache"), "min_free": "1MiB"}},
        "freshness": [{"match": "**", "ttl": "1h"}],
        "providers": {
            "disk": {"kind": "file", "buckets": {"b": str(folder / "files")}},
            "web": {"kind": "http", "buckets": {"b": {"url": "http://127.0.0.1:9/"}}},
            "chain": {"kind": "s3"},
            "set": {"kind": "failover", "replicas": ["disk", {"provider": "web", "buckets": {"b": "b"}}]},
            "role": {"kind": "s3", "credentials": {"url": "https://127.0.0.1:9/", "assume_role": {"arn": _ROLE}}},
            "r2": {"kind": "s3", "preset": "r2", "account": "a"},
            "identity": {"kind": "s3", "credentials": {"web_identity": {"role_arn": _ROLE}}},
            "s3": {
                "kind": "s3",
                "credentials": {"access_key_id": "A", "secret_access_key": "B"},
                "buckets": {"data": {}},
            },
            "az": {"kind": "azure", "credentials": {"client_id": "i", "workload_identity": "true"}},
            "key": {
                "kind": "azure",
                "credentials": {"account": "demo", "account_key": "QQ=="},
                "buckets": {"data": {}},
            },
            "gs": {"kind": "gcs", "buckets": {"data": {}}},
        },
    }


async def test_every_setting_is_read_by_who_builds_or_runs_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate(_tree(tmp_path))
    read: set[str] = set()

    def note(self: Section, name: str) -> Any:
        for one in type(self).__mro__:
            if name in getattr(one, "model_fields", ()):
                read.add(f"{one.__name__}.{name}")
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Section, "__getattribute__", note, raising=False)
    program = Program(settings, SystemClock())
    await program.start()
    announcement(program)
    answer = await fetch(program.addresses[0].port, "/disk/b/a")
    for provider, bucket in [
        ("web", "b"),
        ("s3", "data"),
        ("chain", "data"),
        ("key", "data"),
        ("gs", "data"),
    ]:  # what their requests would need
        meta = ObjectMeta(ObjectRef(provider, bucket, "k"), 1, None, None, "", "")
        program.origins.passes_all_headers(meta)
        program.origins.lists(ObjectRef(provider, bucket, ""))
        settings.first_byte_timeout(provider, bucket)
    await program.stop()
    monkeypatch.undo()
    assert answer.body == b"bytes"
    every = {f"{one.__name__}.{name}" for one in _classes() for name in one.model_fields}
    assert every - read == READ_ELSEWHERE.keys()
