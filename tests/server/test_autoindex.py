"""The page of a directory, read as browsers and rclone do: by a parser of HTML and the rules for relative links."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.model import ETag
from rangecache.origin.base import Listed
from rangecache.read.listings import Listing
from rangecache.server.autoindex import document, page

DATE = datetime(2026, 5, 3, 7, 8, 9, tzinfo=UTC)
UNLINKABLE = {"", ".", ".."}


class Reader(HTMLParser):
    """Collects links, and everything that could be executed or fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""
        self.title = ""
        self.tags: set[str] = set()
        self._in_title = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"href", "lang", "charset"}, attrs
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")
        if tag == "base":
            self.base = dict(attrs)["href"] or ""
        self._in_title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
            self._in_title = False


def names(text: bytes, url: str) -> list[str]:
    """What the links of a page mean, below the page's own address."""
    reader = Reader(text.decode())
    assert reader.tags <= {"html", "head", "meta", "base", "title", "style", "body", "h1", "hr", "pre", "a"}
    base = urljoin(url, reader.base) if reader.base else url
    below = url if url.endswith("/") else f"{url}/"
    found = [urljoin(base, link) for link in reader.links if link != "../"]
    assert all(each.startswith(below) for each in found), found
    return [unquote(each.removeprefix(below)) for each in found]


KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20).map(lambda text: text.replace("/", "|"))


@given(files=st.sets(KEYS, max_size=5), folders=st.sets(KEYS, max_size=5))
def test_every_name_is_found_again_whatever_it_is_and_nothing_else(files: set[str], folders: set[str]) -> None:
    listing = Listing([Listed(f"p/{name}", 1, None, DATE) for name in files], [f"p/{name}/" for name in folders])
    found = names(page(listing, "p/", "/s3/b/p/"), "http://host/s3/b/p/")
    expected = [f"{name}/" for name in folders - UNLINKABLE] + sorted(files - UNLINKABLE)
    assert sorted(found) == sorted(expected)
    assert json.loads(document(listing, "s3/b/p/"))["folders"] == list(listing.folders)


HOSTILE = "<script>alert(1)</script>", "\"onmouseover='x'", "javascript:alert(1)", "&lt;b&gt;", "]]>", "\x00\n\r\u2028"


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_on_the_page_can_be_executed(name: str) -> None:
    target = "/s3/b/<script>'\"&:x"
    text = page(Listing([Listed(name, 1)], [f"{name}/"]), "", target)
    assert b"<script" not in text
    assert b"javascript:" not in text.partition(b"</h1>")[2].replace(b">javascript:", b"")
    assert names(text, f"http://host{target}") == [f"{name}/", name]


def test_a_line_is_as_gdal_wants_it() -> None:
    listing = Listing([Listed("p/a b.tif", 1234567890123, ETag("x"), DATE), Listed("p/k=v", 0)], ["p/sub/"])
    lines = page(listing, "p/", "/s3/b/p/").decode().splitlines()
    assert "<title>Index of /s3/b/p/</title>" in lines
    assert [each.split() for each in lines if each.startswith("<a ") and "../" not in each] == [
        ["<a", 'href="sub/">sub/</a>', "-", "-"],
        ["<a", 'href="a%20b.tif">a', "b.tif</a>", "03-May-2026", "07:08", "1234567890123"],
        ["<a", 'href="k=v">k=v</a>', "-", "0"],
    ]
    assert not any("<table" in each for each in lines)


def test_what_clients_look_for_in_text_is_not_in_the_text() -> None:
    text = page(Listing([Listed("http://x/Parent Directory", 1)]), "", "/s3/b/http://y/")
    assert b"://" not in text
    assert b"Parent Directory" not in text


def test_a_file_that_begins_like_an_address_is_linked_as_one_of_this_directory() -> None:
    text = page(Listing([Listed("httpd.conf", 1)]), "", "/s3/b/")
    assert b'href="./httpd.conf"' in text
    assert names(text, "http://host/s3/b/") == ["httpd.conf"]


@pytest.mark.parametrize("target", ["/s3", "/s3/b", "/s3/b%20c"])
def test_the_links_hold_where_the_final_slash_is_missing(target: str) -> None:
    assert names(page(Listing((), ["x/"]), "", target), f"http://host{target}") == ["x/"]


def test_names_that_no_link_can_have_are_left_out_of_the_page_and_are_in_the_document() -> None:
    keys = ["a/", "a/.", "a/.."]
    listing = Listing([Listed(key, 1) for key in keys], ["a//", "a/./", "a/../"])
    assert names(page(listing, "a/", "/s3/b/a/"), "http://host/s3/b/a/") == []
    read = json.loads(document(listing, "s3/b/a/"))
    assert read["folders"] == ["a//", "a/./", "a/../"]
    assert [each["key"] for each in read["objects"]] == keys


def test_the_document_says_what_the_origin_said() -> None:
    listing = Listing([Listed("p/a", 3, ETag("t"), DATE), Listed("p/b", 4)], ["p/c/"])
    assert json.loads(document(listing, "s3/b/p/")) == {
        "name": "s3/b/p/",
        "folders": ["p/c/"],
        "objects": [
            {"key": "p/a", "size": 3, "etag": '"t"', "last_modified": "2026-05-03T07:08:09Z"},
            {"key": "p/b", "size": 4, "etag": None, "last_modified": None},
        ],
    }
