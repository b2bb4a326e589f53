"""Start-up: no SDK is loaded before a request needs it, and never on the thread of the event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The program with its default providers. An import hook notes which thread loads each SDK first.
PROGRAM = """
import asyncio, json, sys, threading

SDKS = ("botocore", "aiobotocore", "azure.core", "azure.identity", "azure.storage", "gcloud")
loaded = {}

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name in SDKS:
            loaded.setdefault(name, threading.current_thread().name)

sys.meta_path.insert(0, Hook())

from rangecache.model import ObjectRef
from rangecache.settings import load
from rangecache.telemetry import Metrics
from rangecache.aio.budget import RetryBudget
from rangecache.aio.clock import SystemClock
import rangecache.wiring.program
from rangecache.wiring.origins import Origins

async def main():
    clock = SystemClock()
    origins = Origins(load(None, {}), Metrics(), RetryBudget(0.1, 1, 10, clock), clock)
    started = dict(loaded)
    for name in origins.dialects:
        credentials = origins.dialects[name].credentials_for(ObjectRef(name, "", ""))
        await credentials.get()
    await origins.aclose()
    return started

started = asyncio.run(main())
print(json.dumps({"started": started, "asked": loaded, "kinds": sorted(sdk for sdk in SDKS if sdk in sys.modules)}))
"""


def test_the_sdks_of_the_default_providers_are_loaded_by_their_first_request_and_off_the_loop(tmp_path: Path) -> None:
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary"}
    google = {"GCE_METADATA_HOST": "127.0.0.1:1"}
    azure = {"AZURE_CLIENT_ID": "a", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "canary"}
    entra = {"AZURE_AUTHORITY_HOST": "https://127.0.0.1:1"}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | nowhere | google | azure | entra,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    assert said["started"] == {}, "an SDK was loaded although nobody had asked for anything"
    assert {"botocore", "azure.identity", "gcloud"} <= set(said["asked"])
    assert set(said["asked"].values()) == {"credentials"}, "an SDK was loaded on the thread of the event loop"
