"""moto as a server that checks signatures and permissions: S3, IAM and STS behind one address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError

import botocore.session
import pytest
from botocore.config import Config

from tests.emulators import READY_TIMEOUT_S, STARTS_MAX, STOP_TIMEOUT_S, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADMIN: Final = ("AKIAADMIN", "canary-admin")
BUCKET: Final = "for-the-role"
BODY: Final = bytes(range(256))
_ALLOW: Final = {"Effect": "Allow", "Resource": "*"}


@dataclass(frozen=True)
class Moto:
    """A running one. `BUCKET` holds the object `k`, which `role` may read and `access_key` may not: it may only assume
    the role."""

    endpoint: str
    role: str
    access_key: str
    secret_key: str


def _client(endpoint: str, service: str) -> Any:
    return botocore.session.Session().create_client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ADMIN[0],
        aws_secret_access_key=ADMIN[1],
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, s3={"addressing_style": "path"}),
    )


def _furnish(endpoint: str) -> Moto:
    s3, iam = _client(endpoint, "s3"), _client(endpoint, "iam")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    user = iam.create_user(UserName="nobody")["User"]["Arn"]
    trust = {"Version": "2012-10-17", "Statement": [_ALLOW | {"Action": "sts:AssumeRole", "Principal": {"AWS": user}}]}
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    for name, action, put, whose in (
        ("read", "s3:GetObject", iam.put_role_policy, {"RoleName": "reader"}),
        ("assume", "sts:AssumeRole", iam.put_user_policy, {"UserName": "nobody"}),
    ):
        policy = {"Version": "2012-10-17", "Statement": [_ALLOW | {"Action": action}]}
        put(PolicyName=name, PolicyDocument=json.dumps(policy), **whose)
    keys = iam.create_access_key(UserName="nobody")["AccessKey"]
    # From the next request on, signatures and permissions are checked.
    ask = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(ask, timeout=10).close()
    return Moto(endpoint, role, keys["AccessKeyId"], keys["SecretAccessKey"])


def _answers(server: subprocess.Popen[bytes], endpoint: str) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, OSError):
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """One for the session (or for the xdist worker)."""
    folder: Path = tmp_path_factory.mktemp("moto")
    for _ in range(STARTS_MAX):
        (port,) = free_ports(1)
        with (folder / "moto.log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={"HOME": str(folder), "PATH": os.environ.get("PATH", "")},
            )
        try:
            if _answers(server, f"http://127.0.0.1:{port}"):
                yield _furnish(f"http://127.0.0.1:{port}")
                return
        finally:
            server.terminate()
            try:
                server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(STOP_TIMEOUT_S)
    pytest.fail(f"moto did not start:\n{(folder / 'moto.log').read_text(errors='replace')[-4000:]}")
