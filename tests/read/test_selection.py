from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.model import ObjectRef
from rangecache.read.selection import NAME_CHARS_MAX, Selection

PREFIXES = [
    # prefix, a name, whether it is meant
    ("", "s3/data/k", True),
    ("s3", "s3/data/k", True),
    ("s3/", "s3/data/k", True),
    ("s3", "s3x/data/k", False),
    ("s3/data", "s3/data/k", True),
    ("s3/data/", "s3/data/k", True),
    ("s3/data", "s3/database/k", False),
    ("s3/dat", "s3/data/k", False),
    ("s3/data/k", "s3/data/k", True),
    ("s3/data/k", "s3/data/k.aux", True),
    ("s3/data/k", "s3/data/k/deeper", True),
    ("s3/data/k/", "s3/data/k", False),
    ("s3/data/K", "s3/data/k", False),
    ("s3/data//k", "s3/data//k", True),  # a key may begin with a slash
    ("s3/data/", "s3/data//k", True),
]


def ref_of(name: str, version: str | None = None) -> ObjectRef:
    provider, bucket, key = name.split("/", 2)
    return ObjectRef(provider, bucket, key, version)


@pytest.mark.parametrize(("prefix", "name", "meant"), PREFIXES)
def test_a_prefix_names_provider_and_bucket_whole_and_the_beginning_of_a_key(
    prefix: str, name: str, meant: bool
) -> None:
    assert Selection.prefix(prefix).matches(ref_of(name)) is meant


def test_an_object_is_meant_in_all_its_versions_and_nothing_that_begins_like_it() -> None:
    selection = Selection.an_object("s3/data/a/b.tif")
    assert selection.matches(ref_of("s3/data/a/b.tif"))
    assert selection.matches(ref_of("s3/data/a/b.tif", "v1"))
    assert not selection.matches(ref_of("s3/data/a/b.tif.aux.xml"))
    assert not selection.matches(ref_of("s3/data/a/b.ti"))


@pytest.mark.parametrize("text", ["/s3/data", "/", "s3//k", "s3/data/" + "k" * NAME_CHARS_MAX, "s3/data/\ud800"])
def test_a_prefix_that_can_mean_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        Selection.prefix(text)


@pytest.mark.parametrize("text", ["", "s3", "s3/data", "s3/data/", "/s3/data/k", "s3//k", "k" * (NAME_CHARS_MAX + 1)])
def test_what_names_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        Selection.an_object(text)


characters = st.characters(exclude_categories=("Cs",)) | st.sampled_from("\U0010ffff\ud7ff\ue000ab/")
texts = st.text(characters, min_size=1, max_size=6).filter(lambda text: not text.startswith("/"))


@given(st.builds("{}/{}".format, st.sampled_from(["p", "p/b", "p/b/"]), texts) | st.just(""), texts, texts)
def test_the_range_of_names_is_the_prefix(prefix: str, key: str, more: str) -> None:
    selection = Selection.prefix(prefix)
    for name in (f"p/b/{key}", f"{selection.name}{more}", f"{selection.name}{more}".rstrip("\U0010ffff")):
        if len(name.split("/", 2)) == 3:
            inside = name >= selection.name and (selection.stop is None or name < selection.stop)
            assert inside is selection.matches(ref_of(name))
