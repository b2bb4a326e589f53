"""What a check-up finds at servers that are well, wrong, closed, far away and not there."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rangecache.model import ObjectRef
from rangecache.testing.faults import Headers, IgnoreRange, NoValidators, Status
from rangecache.testing.origin import Origin
from tests.checkup.looking import Found, Skewed, look, looking
from tests.origin.certificates import Authority
from tests.origin.relay import forward_proxy, tls_front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

KEY = ObjectRef("p", "b", "key")
BODY = bytes(range(256)) * 64


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as origin:
        origin.put("b/key", BODY, etag='"v1"')
        yield origin


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def web(url: str, **bucket: Any) -> dict[str, Any]:
    return {"kind": "http", "buckets": {"b": {"url": url, **bucket}}}


def port_of(origin: Origin) -> int:
    return urlsplit(origin.url).port or 0


async def test_a_web_server_that_is_well(origin: Origin):
    found = await look(web(f"{origin.url}b/"), KEY)
    assert found.results == {
        "name": "ok",
        "connect": "ok",
        "tls": "skipped",
        "credentials": "ok",
        "clock": "ok",
        "list": "skipped",
        "read": "ok",
        "ranges": "ok",
        "validator": "ok",
        "absent key": "ok",
    }
    assert found.document["result"] == "ok"
    read = found.step("read").figures
    assert (read["status"], read["size_bytes"], read["read_bytes"]) == (206, len(BODY), len(BODY) - 1)
    assert found.step("validator").figures == {"pins": "etag"}


async def test_each_step_is_asked_once_and_counted(origin: Origin):
    async with looking({"p": web(f"{origin.url}b/")}) as (checkups, metrics):
        origin.fail("b/key", Status(503), times=None)
        found = Found(await checkups.run("p", KEY))
    assert found.step("read").result == "failed"
    assert origin.log.count(method="GET") == len(origin.requests) == 2
    assert metrics.origin_requests.total(purpose="revalidate", outcome="throttled") == 1
    assert metrics.origin_requests.total(purpose="revalidate", outcome="not_found") == 1
    assert metrics.origin_requests.total() == 2


async def test_open_breakers_do_not_keep_it_from_looking(origin: Origin):
    async with looking({"p": web(f"{origin.url}b/")}) as (checkups, _):
        await origin.stop()
        for _ in range(6):
            assert Found(await checkups.run("p", KEY)).step("read").result == "failed"
        await origin.start()
        assert Found(await checkups.run("p", KEY)).document["result"] == "ok"


async def test_without_an_object_a_web_server_is_tried_as_far_as_it_goes(origin: Origin):
    found = await look(web(f"{origin.url}b/"))
    assert found.step("read").result == "skipped"
    assert "--object p/b/KEY" in found.step("read").said
    assert found.step("absent key").figures["status"] == 404


async def test_every_bucket_of_a_web_provider_is_tried(origin: Origin):
    buckets = {"b": f"{origin.url}b/", "c": "http://no-such-host.invalid/"}
    found = await look({"kind": "http", "buckets": buckets})
    assert found.step("absent key", "b").result == "ok"
    assert found.step("absent key", "c").result == "failed"
    assert found.step("name", "no-such-host.invalid:80").result == "failed"
    assert found.step("connect", "no-such-host.invalid:80").result == "skipped"


async def test_no_more_buckets_are_tried_than_the_bound(origin: Origin):
    found = await look({"kind": "http", "buckets": {f"b{number}": f"{origin.url}b/" for number in range(18)}})
    assert sum(each.name == "absent key" for each in found.report.steps) == 16
    assert found.step("buckets").said.startswith("2 more")


async def test_a_server_that_ignores_ranges_and_one_that_identifies_nothing(origin: Origin):
    origin.fail("b/key", IgnoreRange(), NoValidators(), times=None)
    found = await look(web(f"{origin.url}b/"), KEY)
    assert (found.step("read").result, found.step("ranges").result) == ("ok", "warning")
    assert found.step("validator").result == "warning"
    assert "never cached" in found.step("validator").said
    assert found.document["result"] == "warning"


async def test_a_site_that_explains_its_errors_with_status_200(origin: Origin):
    origin.put("b/page", b"<html>not found</html>")
    origin.fail(None, Status(200), times=None, when=lambda request: "doctor" in request.path)
    found = await look(web(f"{origin.url}b/"), KEY)
    assert found.step("absent key").result == "failed"


@pytest.mark.parametrize(("setting", "result"), [(False, "warning"), (True, "ok")])
async def test_403_for_what_is_not_there(origin: Origin, setting: bool, result: str):
    origin.fail(None, Status(403), times=None, when=lambda request: "doctor" in request.path)
    step = (await look(web(f"{origin.url}b/", missing_403_is_404=setting), KEY)).step("absent key")
    assert (step.result, step.figures["status"]) == (result, 403)
    assert "missing_403_is_404" in step.said


async def test_a_token_is_found_and_never_told(origin: Origin, authority: Authority, tmp_path: Path):
    (tmp_path / "token").write_text("canary-c0ffee-token")
    async with tls_front(port_of(origin), authority.server("localhost")) as front:
        provider = web(f"https://localhost:{front.port}/b/", credentials={"bearer_file": str(tmp_path / "token")})
        found = await look(provider, KEY, egress={"ca_file": authority.ca_file})
    assert (found.step("credentials").result, found.step("read").result) == ("ok", "ok")
    assert origin.requests[-1].headers["authorization"] == "Bearer canary-c0ffee-token"
    assert "canary" not in found.text


async def test_an_object_of_one_byte(origin: Origin):
    origin.put("b/key", b"x")
    assert (await look(web(f"{origin.url}b/"), KEY)).step("read").result == "warning"


@pytest.mark.parametrize(("ahead_s", "result"), [(0, "ok"), (120, "warning"), (-3600, "warning")])
async def test_the_clock_of_a_web_server(origin: Origin, ahead_s: float, result: str):
    step = (await look(web(f"{origin.url}b/"), KEY, Skewed(ahead_s))).step("clock")
    assert step.result == result
    assert step.figures["skew_s"] == pytest.approx(-ahead_s, abs=5)


async def test_a_date_out_of_a_cache_says_nothing(origin: Origin):
    origin.fail(None, Headers({"Age": "7200"}), times=None)
    assert (await look(web(f"{origin.url}b/"), KEY)).step("clock").result == "skipped"


async def test_a_certificate_that_is_right(origin: Origin, authority: Authority):
    async with tls_front(port_of(origin), authority.server("localhost")) as front:
        url = f"https://localhost:{front.port}/b/"
        step = (await look(web(url), KEY, egress={"ca_file": authority.ca_file})).step("tls")
    assert step.result == "ok"
    assert str(authority.ca_file) in step.said
    assert step.figures["expires_in_days"] > 30


async def test_a_certificate_that_expires_soon(origin: Origin, authority: Authority):
    soon = datetime.now(UTC) + timedelta(days=3)
    async with tls_front(port_of(origin), authority.server("localhost", soon)) as front:
        url = f"https://localhost:{front.port}/b/"
        step = (await look(web(url), KEY, egress={"ca_file": authority.ca_file})).step("tls")
    assert (step.result, round(step.figures["expires_in_days"])) == ("warning", 3)


@pytest.mark.parametrize(
    ("name", "age_days", "trusted", "said"),
    [
        ("other.example", 0, True, "another host's"),
        ("localhost", 2, True, "has expired"),
        ("localhost", 0, False, "egress.ca_file"),
    ],
)
async def test_a_certificate_that_is_wrong(
    origin: Origin, authority: Authority, name: str, age_days: int, trusted: bool, said: str
):
    until = datetime.now(UTC) - timedelta(days=age_days) if age_days else None
    async with tls_front(port_of(origin), authority.server(name, until)) as front:
        url = f"https://localhost:{front.port}/b/"
        found = await look(web(url), KEY, egress={"ca_file": authority.ca_file} if trusted else {})
    step = found.step("tls")
    assert (step.result, said in step.said) == ("failed", True), step.said
    assert found.step("connect").result == "ok"
    assert found.step("read").result == "failed"  # it was tried all the same


async def test_what_does_not_speak_tls():
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        step = (await look(web(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/b/"), KEY)).step("tls")
    assert (step.result, "plain http" in step.said) == ("failed", True)


async def test_a_black_hole():
    # A listener whose queue is full answers no SYN.
    with closing(socket.socket()) as hole, closing(socket.socket()) as first, closing(socket.socket()) as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(hole.getsockname())
        url = f"http://127.0.0.1:{hole.getsockname()[1]}/b/"
        found = await look(web(url), KEY, fetch={"connect_timeout": "200ms"})
    assert (found.step("connect").result, found.step("tls").result) == ("failed", "skipped")
    assert "fetch.connect_timeout" in found.step("connect").said
    assert found.step("read").result == "failed"


async def test_nobody_listens():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        found = await look(web(f"http://127.0.0.1:{taken.getsockname()[1]}/b/"), KEY)
    assert "refused" in found.step("connect").said


async def test_behind_a_proxy_the_proxy_is_reached(origin: Origin):
    async with forward_proxy() as proxy:
        egress = {"proxy": f"http://127.0.0.1:{proxy.port}"}
        found = await look(web(f"http://somewhere.invalid:{port_of(origin)}/b/"), KEY, egress=egress)
    assert found.step("connect").of == f"127.0.0.1:{proxy.port} (egress.proxy)"
    assert found.document["result"] == "ok"


async def test_folders(tmp_path: Path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_bytes(BODY)
    buckets = {"there": str(tmp_path / "there"), "gone": str(tmp_path / "gone")}
    found = await look({"kind": "file", "buckets": buckets})
    assert {each.name for each in found.report.steps} == {"list", "read", "ranges", "validator", "absent key"}
    assert found.step("read", "there").result == "ok"
    assert (found.step("list", "gone").result, found.step("absent key", "gone").result) == ("failed", "failed")


async def test_replicas_that_have_the_same_and_not(tmp_path: Path, origin: Origin):
    (tmp_path / "key").write_bytes(BODY)
    providers: dict[str, Any] = {
        "disk": {"kind": "file", "buckets": {"b": str(tmp_path)}},
        "web": web(f"{origin.url}b/"),
        "p": {"kind": "failover", "replicas": ["disk", "web"], "identity": "declared"},
    }
    async with looking(providers) as (checkups, _):
        found = Found(await checkups.run("p"))
        assert found.step("object").of == "disk"
        assert found.step("identity").figures == {"provable": True}
        origin.put("b/key", b"shorter")
        assert Found(await checkups.run("p")).step("identity").result == "failed"
        origin.delete("b/key")
        found = Found(await checkups.run("p"))
        assert (found.step("replica", "web").result, found.step("identity").result) == ("failed", "skipped")
    providers["p"]["identity"] = "checksum"
    origin.put("b/key", BODY)
    async with looking(providers) as (checkups, _):
        step = Found(await checkups.run("p")).step("identity")
        assert (step.result, "no common checksum" in step.said) == ("warning", True)


async def test_a_check_that_is_given_up_leaves_nothing_behind(origin: Origin):
    gate = origin.hold("b/key")
    running = asyncio.ensure_future(look(web(f"{origin.url}b/"), KEY))
    await gate.reached()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) < 5
