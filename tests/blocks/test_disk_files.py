from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rangecache.blocks.disk_files import STORED, BlockFiles, block_name
from rangecache.model import ObjectRef, identity_digest
from tests.blocks.conftest import FILE_BYTES, block_key, content, read_and_close

if TYPE_CHECKING:
    from rangecache.model import BlockKey


@pytest.fixture
def files(tmp_path: Path) -> BlockFiles:
    files = BlockFiles(str(tmp_path))
    files.prepare()
    return files


def test_files_are_private_whether_or_not_their_shelf_was_there(files: BlockFiles) -> None:
    key = block_key(0)
    path = Path(files.path(block_name(key)))
    for _ in range(2):
        files.write(block_name(key), key, content(key))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]


def test_a_listing_is_in_order_of_age_with_whole_pages(files: BlockFiles) -> None:
    shelf = Path(files.root) / "7f"
    shelf.mkdir()
    names = [f"{number:032x}7f{number:030x}" for number in range(20)]
    for age, name in enumerate(names):
        (shelf / name).write_bytes(bytes(4097))
        os.utime(shelf / name, (0, 10_000 - age))
    listed = list(STORED.iter_unpack(files.listing(files.names("7f"))))
    assert [name.hex() for _, name, _ in listed] == names[::-1]
    assert {size_bytes for _, _, size_bytes in listed} == {FILE_BYTES}


def test_the_names_of_an_objects_blocks_begin_alike_and_differ() -> None:
    ref = ObjectRef("s3", "bucket", "scenes/a.tif")
    names = [block_name(block_key(index, generation=digit * 32)) for index in range(50) for digit in "0a"]
    assert {name[:16] for name in names} == {identity_digest(*ref)}
    assert len(set(names)) == len(names)
    assert block_name(block_key(0, key="scenes/b.tif"))[:16] != names[0][:16]


def test_names_are_digests_of_all_that_tells_blocks_apart_whatever_is_remembered_of_their_versions() -> None:
    keys = [
        block_key(index, key=key, generation=generation * 32)._replace(block_bytes=block_bytes)
        for key in ("a", "b:c", "")
        for generation in "0a"
        for index in (0, 1, 11)
        for block_bytes in (1, 4096, 11)
    ]
    for _ in range(2):
        for key in keys:
            fields = (*key.ref, key.generation, str(key.block_index), str(key.block_bytes))
            assert block_name(key) == identity_digest(*key.ref) + identity_digest(*fields)
    assert len({block_name(key) for key in keys}) == len(keys)


def inode(files: BlockFiles, key: BlockKey) -> int:
    return Path(files.path(block_name(key))).stat().st_ino


def test_a_spare_file_is_written_over(files: BlockFiles) -> None:
    old, new = block_key(0), block_key(1, "scenes/of another length.tif")
    files.write(block_name(old), old, content(old))
    before = inode(files, old)
    Path(files.path(block_name(new))).parent.mkdir()
    files.write(block_name(new), new, content(new, 1000), block_name(old))
    assert inode(files, new) == before
    assert read_and_close(files, new) == content(new, 1000)
    assert not os.path.lexists(files.path(block_name(old)))
    assert len([path for path in Path(files.root).rglob("*") if path.is_file()]) == 1


def test_a_spare_whose_block_comes_back_in_that_very_moment_is_left_to_it(
    files: BlockFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file was then put at the other block's path, where a later read found a block that was not asked for."""
    old, new = block_key(0), block_key(1)
    for key in (old, new):
        files.write(block_name(key), key, content(key))
    look = os.fstat

    def come_back_meanwhile(descriptor: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", look)
        about = look(descriptor)
        files.write(block_name(old), old, content(old))
        return about

    monkeypatch.setattr(os, "fstat", come_back_meanwhile)
    files.write(block_name(new), new, content(new), block_name(old))
    assert read_and_close(files, old) == content(old)
    assert read_and_close(files, new) == content(new)


@pytest.mark.parametrize("why_not", ["smaller", "linked", "a link", "a folder", "missing", "its shelf is missing"])
def test_a_spare_that_must_not_be_written_over_is_not(files: BlockFiles, tmp_path: Path, why_not: str) -> None:
    old, new = block_key(0), block_key(1)
    files.write(block_name(old), old, content(old, 10 if why_not == "smaller" else None))
    path = Path(files.path(block_name(old)))
    precious = tmp_path / "precious"
    sound = path.read_bytes()
    if why_not == "linked":
        precious.hardlink_to(path)
    elif why_not not in ("smaller", "its shelf is missing"):
        path.rename(precious)
    if why_not == "a link":
        path.symlink_to(precious)
    elif why_not == "a folder":
        path.mkdir()
    if why_not != "its shelf is missing":
        Path(files.path(block_name(new))).parent.mkdir()
    files.write(block_name(new), new, content(new), block_name(old))
    assert read_and_close(files, new) == content(new)
    if precious.exists():
        assert precious.read_bytes() == sound
    files.remove([block_name(old)])
    assert [each.name for each in Path(files.root).rglob("*") if each.is_file()] == [block_name(new).hex()]
