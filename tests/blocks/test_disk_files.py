from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rangecache.blocks.disk_files import STORED, BlockFiles, block_name
from rangecache.model import ObjectRef, identity_digest
from tests.blocks.conftest import FILE_BYTES, block_key, content


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
