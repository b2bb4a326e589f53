"""From targets to objects: the table of paths and queries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import AccessDenied, BadRequest, RequestError, UnknownName
from rangecache.model import ObjectRef
from rangecache.server import request as request_module
from rangecache.server.problems import problem_of
from rangecache.server.request import Directory, Namespace, Router
from tests.server.conftest import pattern

if TYPE_CHECKING:
    from tests.server.conftest import Door


def make_router() -> Router:
    """S3 with its own rule, an http provider with one alias."""
    namespaces = {
        "s3": Namespace(lambda bucket: 1 <= len(bucket) <= 63 and bucket == bucket.lower(), "versionId"),
        "http": Namespace({"noaa"}.__contains__, key_bytes_max=4000),
    }
    return Router(
        namespaces,
        lambda ref: ref.bucket != "data-evil" and not ref.key.startswith("p2/"),
        lambda beginning: not beginning.startswith(("s3/data-evil/", "s3/b/p2/")),
    )


KEYS = {
    "/s3/b/k": "k",
    "/s3/b/../../etc/passwd": "../../etc/passwd",
    "/s3/b/%2e%2e/other/k": "../other/k",
    "/s3/b/%252e%252e/other/k": "%2e%2e/other/k",
    "/s3/b//k": "/k",
    "/s3/b///": None,
    "/s3/b/k;x=1": "k;x=1",
    "/s3/b/k.css": "k.css",
    "/s3/b/k%3f.css": "k?.css",
    "/s3/b/k%23x": "k#x",
    "/s3/b/..\\..\\x": "..\\..\\x",
    "/s3/b/a+b": "a+b",
    "/s3/b/a%2Bb": "a+b",
    "/s3/b/a%2Fb": "a/b",
    "/s3/b/a%20b": "a b",
    "/s3/b/%25": "%",
    "/s3/b/k=1,2:3@4!5'6(7)8&9$*~": "k=1,2:3@4!5'6(7)8&9$*~",
    "/s3/b/dir%2F": "dir/",
    "/s3/b/%C3%A9": "é",
    "/s3/b/e%CC%81": "e\u0301",
    "/s3/b/%F0%9F%8C%8D": "🌍",
    "/s3/b/" + "a" * 1024: "a" * 1024,
    "/s3/b/" + "%F0%9F%8C%8D" * 256: "🌍" * 256,
    "/%73%33/%62/k": "k",
}


@pytest.mark.parametrize("target", KEYS, ids=lambda target: target[:30])
def test_a_key_is_decoded_once_and_nothing_else_is_done_to_it(target: str) -> None:
    key = KEYS[target]
    found = make_router().find(target.encode())
    assert found == (Directory("s3", "b", "//") if key is None else ObjectRef("s3", "b", key))


REFUSED = {
    "/s3/%2e%2e/k": UnknownName,
    "/s3/./k": UnknownName,
    "/s3/b%2Fx/k": UnknownName,
    "/s3//k": UnknownName,
    "//s3/b/k": UnknownName,
    "/S3/b/k": UnknownName,
    "/unknown/b/k": UnknownName,
    "/unknown/b/": UnknownName,
    "/unknown/": UnknownName,
    "/s3%2Fb/k": UnknownName,
    "/s3/B/k": UnknownName,
    "/s3/b/a%00b": BadRequest,
    "/s3/b/a%0d%0aX-Evil:%201": BadRequest,
    "/s3/b/a%7f": BadRequest,
    "/s3/b/a%zz": BadRequest,
    "/s3/b/a%2": BadRequest,
    "/s3/b/a%": BadRequest,
    "/s3/b/%c0%ae%c0%ae/x": BadRequest,
    "/s3/b/%ed%a0%80": BadRequest,
    "/s3/b/%ff": BadRequest,
    "/s3/%62%zz/k": BadRequest,
    "/s3/b/\xff\xfe": BadRequest,
    "/s3/b/a\x01b": BadRequest,
    "/s3/b/k#frag": BadRequest,
    "/s3/b/k?response-content-type=text/html": BadRequest,
    "/s3/b/k?": BadRequest,
    "/s3/b/k?versionId": BadRequest,
    "/s3/b/k?versionId=": BadRequest,
    "/s3/b/k?versionId=a&versionId=b": BadRequest,
    "/s3/b/k?versionId=a&x=1": BadRequest,
    "/s3/b/k?versionId=%zz": BadRequest,
    "/s3/b/k?versionId=%0a": BadRequest,
    "/s3/b/k?versionid=a": BadRequest,
    "/s3/b/k?versionId=" + "a" * 1025: BadRequest,
    "/s3/b/?versionId=a": BadRequest,
    "/s3/b/?list-type=2": BadRequest,
    "/?x": BadRequest,
    "/http/noaa/k?versionId=a": BadRequest,
    "/s3/b/" + "a" * 1025: BadRequest,
    "/s3/b/" + "%C3%A9" * 513: BadRequest,
    "*": BadRequest,
    "": BadRequest,
    "s3/b/k": BadRequest,
    "http://h/s3/b/k": BadRequest,
    "/s3/data-evil/k": AccessDenied,
    "/s3/data-evil/": AccessDenied,
    "/s3/b/p2/k": AccessDenied,
    "/s3/b/p2%2Fk": AccessDenied,
    # An http provider knows the aliases of its configuration and no address, so these name no bucket: nothing is
    # resolved and no socket is opened. Which addresses an alias may lead to is the provider's own concern.
    "/http/169.254.169.254/latest": UnknownName,
    "/http/2130706433/x": UnknownName,
    "/http/0x7f.1/x": UnknownName,
    "/http/[::ffff:a9fe:a9fe]/x": UnknownName,
    "/http/rebind.example/x": UnknownName,
}


@pytest.mark.parametrize("target", REFUSED, ids=lambda target: target[:30])
def test_a_target_that_is_not_exactly_right_is_refused(target: str) -> None:
    with pytest.raises(REFUSED[target]) as refusal:
        make_router().find(target.encode("latin-1"))
    assert type(refusal.value) is REFUSED[target]
    for secret in ("evil", "passwd", "169.254", "X-Evil"):
        assert secret not in refusal.value.message


def test_a_target_beyond_the_limit_is_too_long() -> None:
    with pytest.raises(RequestError) as refusal:
        make_router().find(b"/http/noaa/" + b"a" * 4090)
    assert problem_of(refusal.value).status == 414


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", Directory(None, None, "")),
        ("/s3", Directory("s3", None, "")),
        ("/s3/", Directory("s3", None, "")),
        ("/s3/b", Directory("s3", "b", "")),
        ("/s3/b/", Directory("s3", "b", "")),
        ("/s3/b/p/q/", Directory("s3", "b", "p/q/")),
        ("/s3/b/%70/", Directory("s3", "b", "p/")),
    ],
)
def test_a_target_without_key_or_with_a_final_slash_is_a_directory(target: str, expected: Directory) -> None:
    assert make_router().find(target.encode()) == expected


@pytest.mark.parametrize("value", ["null", "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY", "a%2Bb", "a=b"])
def test_a_version_is_part_of_what_is_asked_for(value: str) -> None:
    found = make_router().find(f"/s3/b/k?versionId={value}".encode())
    assert found == ObjectRef("s3", "b", "k", value.replace("%2B", "+"))


def test_the_access_rule_sees_the_decoded_object_and_is_asked_once() -> None:
    asked = []

    def allowed(ref: ObjectRef) -> bool:
        asked.append(ref)
        return True

    router = Router({"s3": Namespace(lambda _: True)}, allowed, lambda _: True)
    assert router.find(b"/s3/b/%70") is router.find(b"/s3/b/%70")
    assert asked == [ObjectRef("s3", "b", "p")]


def test_what_is_refused_is_refused_again() -> None:
    router = make_router()
    for _ in range(2):
        with pytest.raises(AccessDenied):
            router.find(b"/s3/data-evil/k")


def test_the_cache_of_targets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_module, "CACHED_TARGETS_MAX", 10)
    router = make_router()
    for number in range(100):
        assert router.find(f"/s3/b/{number}".encode()) == ObjectRef("s3", "b", str(number))
    assert router.find(b"/s3/b/" + b"a" * 600) == ObjectRef("s3", "b", "a" * 600)
    assert len(router._cache) == 10
    assert router.find(b"/s3/b/0") == ObjectRef("s3", "b", "0")


STATUSES = {
    "/": 200,
    "/metrics": 400,
    "/s3/": 404,
    "/s3/b/": 404,
    "/s3/b/p/": 404,
    "/s3/b/absent": 404,
    "/s3/secret/k": 403,
    "/s3/secret/": 403,
    "/s3/b/p2/k": 403,
    "/nope/b/k": 400,
    "/nope/b/": 400,
    "/s3/b/k?x": 400,
    "/s3/b/%00": 400,
    "/s3/b/k#x": 400,
    "/http/169.254.169.254/latest": 400,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", STATUSES)
async def test_each_target_gets_its_status(door: Door, target: str, method: str) -> None:
    answer = await door.get(target, method=method)
    assert answer.status == STATUSES[target]
    if target.endswith("/") and answer.status == 404:
        assert answer.headers["Content-Length"] == "0"
    if method == "GET" and answer.status in {400, 403}:
        assert target.encode() not in answer.body


async def test_the_top_lists_the_providers(door: Door) -> None:
    answer = await door.get("/", "Accept: application/json")
    assert json.loads(answer.body)["folders"] == ["file/", "http/", "s3/"]


async def test_spellings_of_one_key_are_one_object_and_others_are_not(door: Door) -> None:
    door.reader.put("/k", b"slash")
    door.reader.put("a/", pattern(3))
    assert (await door.get("/s3/b//k")).body == b"slash"
    assert (await door.get("/s3/b/%6b")).body == pattern(100)
    assert (await door.get("/s3/b/a%2F")).body == pattern(3)
    assert (await door.get("/s3/b/a/")).status == 404


def test_a_version_of_several_kinds_carries_its_kind() -> None:
    router = Router(
        {"az": Namespace(lambda _: True, named_versions=("versionid", "snapshot"))}, lambda _: True, lambda _: True
    )
    assert router.find(b"/az/b/k?versionid=2026") == ObjectRef("az", "b", "k", "versionid=2026")
    assert router.find(b"/az/b/k?snapshot=2026") == ObjectRef("az", "b", "k", "snapshot=2026")
    assert router.find(b"/az/b/k") == ObjectRef("az", "b", "k")
    for target in (b"/az/b/k?versionId=1", b"/az/b/k?snapshot=", b"/az/b/k?snapshot=1&versionid=2"):
        with pytest.raises(BadRequest, match="versionid or snapshot"):
            router.find(target)
