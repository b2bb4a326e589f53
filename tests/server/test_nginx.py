"""Plain requests are answered as nginx answers them from a static file, but for the differences named here."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.model import ETag
from tests.server import nginx
from tests.server.conftest import pattern
from tests.server.nginx import CORPUS, EARLIER, ETAG, ETAGS, LATER, REQUESTS, SIZE, name_of

if TYPE_CHECKING:
    from tests.server.conftest import Door

DIFFERENT = {
    "GET k | Range: bytes=0-18446744073709551615": (206, "a last position beyond the end is cut, however large it is"),
    "GET k | Range: bytes=": (416, "malformed: the whole object is not what a client wants that asks for a part"),
    "GET k | Range: bytes 0-9": (416, "malformed, likewise"),
    "GET k | Range: bytes=0-9,": (206, "RFC 9110 section 5.6.1.2: empty elements of a list are ignored"),
    "GET k | Range: bytes=,0-9": (206, "likewise"),
    f"GET k | If-Modified-Since: {LATER}": (304, "nginx compares for equality; RFC 9110 section 13.1.3 for order"),
    f"GET k | If-None-Match: {ETAG} | If-Modified-Since: {EARLIER}": (
        304,
        "RFC 9110 section 13.2.2: with If-None-Match, If-Modified-Since is ignored",
    ),
    "GET k | Range: bytes=0-9 | Range: bytes=1-2": (400, "which of the two is meant, nobody can know"),
    "HEAD k | Range: bytes=0-9": (200, "RFC 9110 section 14.2: Range is defined for GET only"),
    "GET empty | Range: bytes=0-": (416, "no byte of an empty object can be had; S3 answers the same"),
    "GET empty | Range: bytes=0-0": (416, "likewise"),
}


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
async def test_the_answer_is_nginxs(door: Door, request_: tuple[str, str, list[str]]) -> None:
    door.reader.put("k", pattern(SIZE), e_tag=ETag(ETAGS["k"]))
    door.reader.put("empty", b"", e_tag=ETag(ETAGS["empty"]))
    recorded = json.loads(CORPUS.read_text())[name_of(request_)]
    ours = await asyncio.to_thread(nginx.ask, door.address, request_)
    if name_of(request_) in DIFFERENT:
        status, reason = DIFFERENT[name_of(request_)]
        assert ours["status"] == status, reason
        assert recorded["status"] != status, "it is a difference no longer"
    else:
        assert ours == recorded


def test_every_named_difference_is_about_a_request_of_the_corpus() -> None:
    assert set(DIFFERENT) <= {name_of(request) for request in REQUESTS}


@pytest.mark.skipif(
    shutil.which("nginx") is None and not Path("/usr/sbin/nginx").exists(), reason="there is no nginx on this machine"
)
def test_the_recording_is_what_nginx_says() -> None:
    with nginx.running_nginx() as address:
        answers = {name_of(request): nginx.ask(address, request) for request in REQUESTS}
    assert answers == json.loads(CORPUS.read_text())
