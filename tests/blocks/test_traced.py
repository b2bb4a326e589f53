"""Every system call of the disk tier fails once, or is the last one that is made."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.blocks.conftest import content, why_no_nowait
from tests.blocks.traced import BLOCKS, FILE_BYTES, FORGOTTEN, HELD_BLOCKS, PAGE_CACHE_CALL, key_of, serving, why_not

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from rangecache.blocks.disk import DiskTier
    from tests.proving import Proof

    OpenTier = Callable[..., Awaitable[DiskTier]]

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(600)]

CHANGING: Final = ("openat", "write", "writev", "rename", "unlink", "ftruncate", "mkdir")
LOOKING: Final = (
    PAGE_CACHE_CALL,
    "read",
    "pread64",
    "pwrite64",
    "statfs",
    "newfstatat",
    "fstat",
    "getdents64",
    "flock",
)
CALLS: Final = (*CHANGING, *LOOKING)
PROOF_TURNS: Final = 1  # a quarter of an hour; six would be every error at every call
ERRORS: Final = ("EIO", "ENOSPC", "EROFS", "EMFILE", "EACCES", "EDQUOT")


async def test_a_kill_at_any_call_leaves_right_bytes_or_none(open_tier: OpenTier, tmp_path: Path, proof: Proof) -> None:
    """From the opening of a directory that a killed program has left to its end, at the beginning of each call that
    changes anything."""
    template = tmp_path / "template"
    tier = await open_tier(HELD_BLOCKS * FILE_BYTES, directory=template)
    for index in range(10, BLOCKS):
        tier.keep(key_of(index), content(key_of(index)))
    await tier.flush()
    await tier.aclose()
    (path,) = {path.parent for path in [next((template / "blocks-1").rglob("?" * 64))]}
    (path / "tmp-0-0").write_bytes(b"left by somebody")
    kills = 0
    async with serving(tmp_path) as traced:
        for call in CHANGING:
            for number in count(1):
                place = tmp_path / "cache"
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(template, place)
                played = await traced.play("put and evict", place, f"{call}:signal=KILL:when={number}")
                await look(
                    await open_tier(HELD_BLOCKS * FILE_BYTES, directory=place), forgotten="forgotten" in played.said
                )
                if not played.killed:
                    assert played.said["state"] == "rw"
                    break
                kills += 1
    proof.row("kill -9 at every call of put and evict leaves right bytes or none", f"{kills} calls, 0 wrong bytes")
    assert kills > 60


async def look(tier: DiskTier, *, forgotten: bool) -> None:
    assert tier.stats().state == "rw"
    files = [path for path in Path(tier.directory, "blocks-1").rglob("*") if path.is_file()]
    assert [path.name for path in files if path.name.startswith("tmp-")] == []
    sizes = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
    assert sizes == tier.stats().bytes <= HELD_BLOCKS * FILE_BYTES
    for index in range(BLOCKS):
        key = key_of(index)
        found = await tier.get(key)
        assert found is None or found in (content(key), content(key, 100))
        if forgotten and key.ref == FORGOTTEN and index < 12:
            assert found is None
    assert tier.stats().checksum_errors == 0
    await tier.aclose()


async def fail_until_clean(tmp_path: Path, turns: int, numbers: Callable[[], Iterable[int]]) -> Counter[str]:
    """Fail the Nth call of each kind, once or (`+`) from then on, until a run has none left. The errors take
    turns: with as many `turns` as there are errors, each N meets each of them. The program has blocks on disk already;
    all reads through its data port must be answered with the right bytes."""
    template = tmp_path / "template"
    done: Counter[str] = Counter()
    async with serving(tmp_path) as traced:
        said = (await traced.play("read again", template, "flock:error=EIO:when=1000")).said
        assert said["bad"] == []
        assert min(said["from disk"], said["evictions"]) > 5  # or there would be little to fail
        for turn, (call, sticky) in product(range(turns), product(CALLS, ("", "+"))):
            for number in numbers():
                error = ERRORS[(number + turn + CALLS.index(call)) % len(ERRORS)]
                place = tmp_path / "cache"
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(template, place)
                inject = f"{call}:error={error}:when={number}{sticky}"
                played = await traced.play("read again", place, inject)
                assert played.said.get("bad") == [], f"{inject}: {played.said}"
                if not played.injected:
                    break
                done[call] += 1
                done["faults"] += played.injected
    return done


async def test_no_failing_call_reaches_a_client(tmp_path: Path) -> None:
    """A sample: the proof takes every number."""
    done = await fail_until_clean(tmp_path, 1, lambda: (1, 3, 8))
    assert {call for call in CALLS if done[call]} >= {*CHANGING, "read", "statfs", "flock"}


@pytest.mark.parametrize("fault", ["error=EIO", "error=EAGAIN", "error=EOPNOTSUPP", "retval=0", "retval=10"])
async def test_a_read_of_the_page_cache_that_fails_or_is_short_is_made_by_a_thread(tmp_path: Path, fault: str) -> None:
    """All of them, and every other one; `retval` is what the kernel says though nothing was read."""
    if why_not := why_no_nowait(tmp_path):
        pytest.skip(why_not)
    async with serving(tmp_path) as traced:
        for when in ("1+", "2+2"):
            place = tmp_path / "cache"
            shutil.rmtree(place, ignore_errors=True)
            played = await traced.play("read again", place, f"{PAGE_CACHE_CALL}:{fault}:when={when}")
            assert played.said["bad"] == []
            assert (played.said["from disk"] > 5, played.said["state"]) == (True, "rw")
            assert played.injected > (fault != "error=EOPNOTSUPP")


@pytest.mark.prove
@pytest.mark.timeout(3600)
async def test_no_failing_call_reaches_a_client_whichever_it_is(tmp_path: Path, proof: Proof) -> None:
    done = await fail_until_clean(tmp_path, PROOF_TURNS, lambda: count(1))
    runs = sum(done[call] for call in CALLS)
    which = ", ".join(call for call in CALLS if done[call])
    proof.row(
        f"no failing call of {which} reaches a client: the Nth, once and from then on, until a run has none left",
        f"{runs} runs, {done['faults']} failed calls, 0 answers but 200 with the right bytes",
    )
    assert runs > 400
