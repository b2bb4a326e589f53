"""The file provider: the contract, the walls around a bucket's folder, and files that change while they are read."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import BodyCut, GenerationGone, NotFound, PermissionDenied, Unavailable, UnknownName
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.origin.base import GetResult
from rangecache.origin.providers import open_file
from rangecache.origin.providers.file import FileStore
from rangecache.origin.providers.open_file import OpenFile, Stat
from rangecache.ranges import ByteRange
from rangecache.testing.clock import ManualClock
from rangecache.testing.suites import content, read

from .subjects import InFiles

if TYPE_CHECKING:
    from collections.abc import Iterator


def ref(key: str, bucket: str = "demo") -> ObjectRef:
    return ObjectRef("local", bucket, key)


@pytest.fixture
async def subject(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    made = InFiles(root)
    yield made
    await made.store.aclose()


@pytest.fixture
def store(subject: InFiles) -> FileStore:
    return subject.store


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- the walls ----------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file beside the bucket's folder, which no key may reach."""
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    return path


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "a/../../secret",
        "../root/inside",
        "./inside",
        "a/./../inside",
        "/etc/passwd",
        "//etc/passwd",
        "",
        "/",
        ".",
        "..",
        "inside/",
        "a//b",
        "in\0side",
        "inside/x",
        "a",
        "n" * 300,
        "d/" * 600 + "x",
        "\udcff",
    ],
)
async def test_a_key_reaches_nothing_but_files_by_their_one_name(key: str, subject: InFiles, secret: Path) -> None:
    (subject.root / "inside").write_bytes(b"inside")
    (subject.root / "a").mkdir()
    (subject.root / "a" / "b").write_bytes(b"b")
    with pytest.raises(NotFound):
        await read(subject.store, ref(key))
    with pytest.raises(NotFound):
        await subject.store.head(ref(key))
    assert (await read(subject.store, ref("a/b")))[2] == b"b"


async def test_a_link_out_of_the_folder_is_not_there(subject: InFiles, secret: Path) -> None:
    (subject.root / "link").symlink_to(secret)
    (subject.root / "up").symlink_to("..")
    (subject.root / "relative").symlink_to("../secret")
    (subject.root / "self").symlink_to(subject.root)
    (subject.root / "loop").symlink_to("loop")
    for key in ("link", "up/secret", "relative", "self/../secret", "self", "loop"):
        with pytest.raises(NotFound):
            await read(subject.store, ref(key))


async def test_a_link_inside_the_folder_is_followed(subject: InFiles) -> None:
    (subject.root / "v1").mkdir()
    (subject.root / "v1" / "data").write_bytes(b"one")
    (subject.root / "latest").symlink_to("v1")
    assert (await read(subject.store, ref("latest/data")))[2] == b"one"


async def test_a_folder_next_to_the_bucket_with_a_longer_name_is_outside(subject: InFiles, tmp_path: Path) -> None:
    (tmp_path / "root-evil").mkdir()
    (tmp_path / "root-evil" / "x").write_bytes(b"evil")
    (subject.root / "evil").symlink_to(tmp_path / "root-evil")
    with pytest.raises(NotFound):
        await read(subject.store, ref("evil/x"))


@pytest.mark.parametrize("part", ["folder", "file"])
async def test_a_link_that_appears_after_the_check_is_refused(
    part: str, subject: InFiles, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (subject.root / "folder").mkdir()
    (subject.root / "folder" / "secret").write_bytes(b"inside")
    resolve = open_file.os.path.realpath

    def resolve_and_exchange(path, **options):
        found = resolve(path, **options)
        if b"folder" in os.fsencode(path):
            (subject.root / "folder" / "secret").unlink()
            if part == "folder":
                (subject.root / "folder").rmdir()
                (subject.root / "folder").symlink_to(secret.parent)
            else:
                (subject.root / "folder" / "secret").symlink_to(secret)
        return found

    monkeypatch.setattr(open_file.os.path, "realpath", resolve_and_exchange)
    with pytest.raises(NotFound):
        await read(subject.store, ref("folder/secret"))


async def test_pipes_sockets_and_devices_are_not_there_and_do_not_block(subject: InFiles) -> None:
    os.mkfifo(subject.root / "pipe")
    (subject.root / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(subject.root / "socket"))
        for key in ("pipe", "socket", "null"):
            with pytest.raises(NotFound):
                await asyncio.wait_for(read(subject.store, ref(key)), 5)


@pytest.mark.parametrize("instead", ["link", "pipe"])
async def test_what_takes_the_place_of_a_file_just_before_it_is_opened_is_refused(
    instead: str, subject: InFiles, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = subject.root / "x"
    path.write_bytes(b"inside")
    before = descriptors()
    look = os.stat

    def look_and_exchange(name, **options):
        found = look(name, **options)
        path.unlink()
        if instead == "link":
            path.symlink_to(secret)
        else:
            os.mkfifo(path)
        return found

    monkeypatch.setattr(open_file.os, "stat", look_and_exchange)
    with pytest.raises(NotFound):
        await asyncio.wait_for(read(subject.store, ref("x")), 5)
    monkeypatch.undo()
    assert descriptors() == before


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything; for a moment be somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_file_without_read_permission_is_forbidden() -> None:
    # Not below pytest's own folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name, mode in (("open", 0o644), ("closed", 0)):
            (root / name).write_bytes(b"x")
            (root / name).chmod(mode)
        store = FileStore({"demo": root})
        with without_privileges():
            assert (await read(store, ref("open")))[2] == b"x"
            with pytest.raises(PermissionDenied, match="permissions"):
                await read(store, ref("closed"))
        await store.aclose()


async def test_a_refusal_of_the_system_is_permission_denied(subject: InFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    (subject.root / "closed").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(open_file, "_open_regular", refuse)
    with pytest.raises(PermissionDenied, match="permissions"):
        await read(subject.store, ref("closed"))


async def test_a_missing_folder_is_unavailable_and_not_a_missing_object(tmp_path: Path) -> None:
    store = FileStore({"demo": tmp_path / "not-mounted"})
    with pytest.raises(Unavailable, match="folder of bucket demo"):
        await store.head(ref("x"))
    await store.aclose()


async def test_an_unknown_bucket_is_an_unknown_name(store: FileStore) -> None:
    with pytest.raises(UnknownName):
        await store.head(ref("x", bucket="other"))


# --- what identifies the bytes ------------------------------------------------------------------------------------


async def meta_of(store: FileStore, key: str) -> ObjectMeta:
    meta = await store.head(ref(key))
    assert isinstance(meta, ObjectMeta)
    return meta


async def test_the_tag_is_quoted_hexadecimal_and_strong(subject: InFiles) -> None:
    await subject.put("a.tif", b"data")
    meta = await meta_of(subject.store, "a.tif")
    at = os.stat(subject.root / "a.tif")
    assert str(meta.e_tag) == f'"{at.st_mtime_ns:x}-{at.st_ctime_ns:x}-4-{at.st_ino:x}"'
    assert meta.validator.startswith("stat ")
    assert meta.last_modified is not None
    assert meta.last_modified.timestamp() == int(at.st_mtime)


async def test_a_write_that_sets_the_old_time_back_is_another_generation(subject: InFiles) -> None:
    await subject.put("a", b"old")
    before = os.stat(subject.root / "a")
    first = await meta_of(subject.store, "a")
    (subject.root / "a").write_bytes(b"new")
    os.utime(subject.root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    second = await meta_of(subject.store, "a")
    assert (first.size, first.last_modified) == (second.size, second.last_modified)
    assert first.generation != second.generation


async def test_writes_in_quick_succession_are_never_one_generation(subject: InFiles) -> None:
    path = subject.root / "a"
    seen: dict[str, bytes] = {}
    for number in range(40):
        body = b"%04d" % number
        path.write_bytes(body)
        meta, _, got = await read(subject.store, ref("a"))
        assert got == body
        assert seen.setdefault(meta.generation, body) == body


async def test_a_file_that_is_written_to_all_the_time_has_no_validator(subject: InFiles) -> None:
    class WritingClock:
        """Each wait ends with another write, stamped now."""

        def monotonic(self) -> float:
            return 0.0

        def wall(self) -> float:
            return os.stat(path).st_ctime_ns / 1e9 + 0.001

        async def sleep(self, delay_s: float) -> None:
            assert 0 < delay_s <= 0.02
            path.write_bytes(b"again")

    path = subject.root / "log"
    path.write_bytes(b"first")
    store = FileStore({"demo": subject.root}, clock=WritingClock())
    meta = await meta_of(store, "log")
    assert (meta.validator, meta.generation) == ("", "")
    assert meta.e_tag is not None
    assert meta.e_tag.weak
    await store.aclose()


async def test_a_file_that_changes_while_it_is_read_is_not_mixed(subject: InFiles) -> None:
    old, new = content("old", 100_000), content("new", 100_000)
    await subject.put("a", old)
    async with subject.store.get(ref("a")) as answer:
        assert isinstance(answer, GetResult)
        assert await anext(answer.chunks) == old[:30_000]
        (subject.root / "a").write_bytes(new)
        with pytest.raises(GenerationGone):
            await anext(answer.chunks)


async def test_a_file_that_is_cut_while_it_is_read_raises(subject: InFiles) -> None:
    old = content("old", 100_000)
    await subject.put("a", old)
    async with subject.store.get(ref("a")) as answer:
        assert isinstance(answer, GetResult)
        await anext(answer.chunks)
        os.truncate(subject.root / "a", 30_000)
        with pytest.raises(GenerationGone):
            await anext(answer.chunks)


async def test_a_file_that_is_replaced_while_it_is_read_is_given_up(subject: InFiles) -> None:
    """Its bytes are still there, but losing its name changed its change time, and that may mean anything."""
    await subject.put("a", content("old", 100_000))
    async with subject.store.get(ref("a")) as answer:
        assert isinstance(answer, GetResult)
        await anext(answer.chunks)
        (subject.root / "b").write_bytes(content("new", 100_000))
        os.replace(subject.root / "b", subject.root / "a")
        with pytest.raises(GenerationGone):
            await anext(answer.chunks)
    assert (await read(subject.store, ref("a")))[2] == content("new", 100_000)


async def test_a_file_system_that_gives_less_than_it_said_cuts_the_body(
    subject: InFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subject.put("a", b"0123456789")
    monkeypatch.setattr(OpenFile, "read", lambda self, offset, length: (b"", self.stat))
    with pytest.raises(BodyCut):
        await read(subject.store, ref("a"))


# --- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.tif", "image/tiff"),
        ("zarr.json", "application/json"),
        ("a.json.gz", "application/gzip"),
        ("c/0/0", "application/octet-stream"),
        ("data:text,html", "application/octet-stream"),
    ],
)
async def test_the_content_type_is_guessed_from_the_name(key: str, expected: str, subject: InFiles) -> None:
    await subject.put(key, b"x")
    meta = await meta_of(subject.store, key)
    assert meta.headers["content-type"] == expected
    assert meta.content_encoding == ""


async def test_a_compressed_file_is_sent_as_it_lies(subject: InFiles) -> None:
    packed = gzip.compress(b"x" * 1000)
    await subject.put("a.txt.gz", packed)
    assert (await read(subject.store, ref("a.txt.gz")))[2] == packed


async def test_two_buckets_with_equal_files_have_two_generations(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x")
    store = FileStore({"one": tmp_path / "a", "two": tmp_path / "a"})
    one, two = await store.head(ref("x", "one")), await store.head(ref("x", "two"))
    assert isinstance(one, ObjectMeta)
    assert isinstance(two, ObjectMeta)
    assert one.generation != two.generation
    await store.aclose()


async def test_a_cancelled_read_closes_its_file_after_the_worker_has_left_it(
    subject: InFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subject.put("a", b"0123456789")
    before = descriptors()
    entered, go = threading.Event(), threading.Event()
    pread = os.pread

    def slow(descriptor: int, length: int, offset: int) -> bytes:
        entered.set()
        assert go.wait(10)
        return pread(descriptor, length, offset)  # EBADF here if somebody closed it meanwhile

    monkeypatch.setattr(open_file.os, "pread", slow)
    reading = asyncio.create_task(read(subject.store, ref("a"), ByteRange(0, 5)))
    await asyncio.to_thread(entered.wait, 10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert descriptors() == before + 1
    go.set()
    await subject.store._in_worker(lambda: None)
    while descriptors() > before:
        await asyncio.sleep(0)


async def test_a_cancelled_open_closes_what_it_opened(subject: InFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    await subject.put("a", b"x")
    await meta_of(subject.store, "a")
    before = descriptors()
    entered, go = threading.Event(), threading.Event()
    closed = threading.Event()
    open_regular, close = open_file._open_regular, OpenFile.close

    def slow(*args):
        entered.set()
        assert go.wait(10)
        return open_regular(*args)

    def noted_close(self: OpenFile) -> None:
        close(self)
        closed.set()

    monkeypatch.setattr(open_file, "_open_regular", slow)
    monkeypatch.setattr(OpenFile, "close", noted_close)
    reading = asyncio.create_task(subject.store.head(ref("a")))
    await asyncio.to_thread(entered.wait, 10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    go.set()
    assert await asyncio.to_thread(closed.wait, 10)
    await asyncio.to_thread(subject.store._workers.shutdown)
    assert descriptors() == before


async def test_who_gives_up_while_a_fresh_file_settles_leaves_nothing_open(subject: InFiles) -> None:
    class StandingClock(ManualClock):
        def wall(self) -> float:
            return os.stat(subject.root / "a").st_ctime_ns / 1e9

    await subject.put("a", b"x")
    clock = StandingClock()
    store = FileStore({"demo": subject.root}, clock=clock)
    before = descriptors()
    reading = asyncio.create_task(read(store, ref("a")))
    await clock.wait_for_sleepers()
    assert descriptors() == before + 1
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert descriptors() == before
    await store.aclose()


def test_a_descriptor_is_closed_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    descriptor = os.open(tmp_path / "x", os.O_RDONLY)
    file = OpenFile(descriptor, os.fstat(descriptor))
    assert file.read(0, 1) == (b"x", Stat.of(os.stat(tmp_path / "x")))
    assert file.close_if_idle()
    file.close()
    assert file.read(0, 1)[0] == b""
