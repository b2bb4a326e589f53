"""A directory as a page of links, as nginx prints it, and as JSON. Pure.

GDAL, fsspec's HTTPFileSystem, rclone and browsers read the page, each by rules of its own:

* GDAL wants the title to name the path as it asked for it, one entry a line, and the size in bytes right behind the
  date: it takes that for the size of the file. It knows no other file than those of the page.
  It keeps the spelling of the link, and finds a file next to another one under the spelling of its user: so what is
  usually written bare in an address stands bare in the link.
* fsspec takes whatever looks like an address with a host for a link too, in the text as well, and a link that begins
  with `http` for one to another host.
* all of them, and browsers, resolve links against the address of the page: `.` and `..` cannot be linked, and neither
  can a folder without a name. Such names are left out, as none of these clients could go there; the JSON has them.

Names come from the origin and are never trusted: they are percent-encoded in links and escaped in text.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

    from rangecache.read.listings import Listing

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'self'; frame-ancestors 'none'"
"""The Content-Security-Policy of the page: nothing on it is ever executed or fetched."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNLINKABLE: Final = frozenset({"", ".", "..", "/", "./", "../"})
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME_COLUMN: Final = 50
_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">{base}
<title>Index of {path}</title>
<style>body{{font-family:monospace}}</style>
</head>
<body>
<h1>Index of {path}</h1>
<hr>
<pre>
"""
_END: Final = "</pre>\n<hr>\n</body>\n</html>\n"
_PARENT: Final = '<a href="../">../</a>\n'


def page(listing: Listing, prefix: str, target: str) -> bytes:
    """The page of a directory. `prefix` is what its keys begin with; `target` is its path as it was asked for, where a
    final slash may be missing: the links hold all the same."""
    path, base = target, ""
    if not target.endswith("/"):
        path = f"{target}/"
        base = f'\n<base href="./{html.escape(target.rpartition("/")[2])}/">'
    # Folders first: a client that knows one thing by each name is to know the file.
    names = [each[len(prefix) :] for each in listing.folders]
    lines = [_line(name, None, "-") for name in names if name not in _UNLINKABLE]
    for each in listing.objects:
        name = each.key[len(prefix) :]
        if name not in _UNLINKABLE:
            lines.append(_line(name, each.last_modified, str(each.size)))
    top = _HEAD.format(path=_path(path), base=base)
    return "".join((top, _PARENT if path != "/" else "", *lines, _END)).encode()


def document(listing: Listing, name: str) -> bytes:
    """The same as JSON, with whole keys; `name` is the directory's."""
    members = {
        "name": name,
        "folders": list(listing.folders),
        "objects": [
            {
                "key": each.key,
                "size": each.size,
                "etag": None if each.e_tag is None else str(each.e_tag),
                "last_modified": None if each.last_modified is None else f"{each.last_modified:%Y-%m-%dT%H:%M:%SZ}",
            }
            for each in listing.objects
        ],
    }
    return json.dumps(members).encode() + b"\n"


def _line(name: str, date: datetime | None, size: str) -> str:
    when = "-" if date is None else f"{date.day:02}-{_MONTHS[date.month - 1]}-{date.year:04} {date:%H:%M}"
    pad = " " * max(1, _NAME_COLUMN - len(name))
    return f'<a href="{_link(name)}">{_text(name)}</a>{pad} {when:>17} {size:>19}\n'


def _link(name: str) -> str:
    """A name as the last part of an address. A colon is encoded: what stands before it would be a scheme."""
    link = quote(name, safe="/-._~!$()*+,=@")
    return f"./{link}" if link.startswith("http") else link


def _text(name: str) -> str:
    """A name to be read. What clients look for in the text of the page is not to be found in it."""
    shown = html.escape(_UNPRINTABLE.sub("\ufffd", name))
    return shown.replace("://", "&#58;//").replace("Parent Directory", "Parent&#32;Directory")


def _path(path: str) -> str:
    """The path of a request line, which is printable ASCII, to be compared by GDAL with its own."""
    return html.escape(path).replace("://", "&#58;//")
