"""`docs/configuration.md`, written from the settings themselves: each key, its default and its docstring."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic_core import PydanticUndefined

from rangecache.settings.fields import Section
from rangecache.settings.later import KEYS, VALUES
from rangecache.settings.providers import (
    AzureBucket,
    AzureCredentials,
    AzureProvider,
    FailoverProvider,
    FileProvider,
    GcsBucket,
    GcsCredentials,
    GcsProvider,
    HttpBucket,
    HttpCredentials,
    HttpProvider,
    Replica,
    S3Bucket,
    S3Credentials,
    S3Provider,
    S3Role,
    S3WebIdentity,
)
from rangecache.settings.schema import sections_in
from rangecache.settings.sections import FreshnessRule, Settings
from rangecache.settings.sources import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_HEAD: Final = """\
<!-- Written by `python -m rangecache.settings`; change the docstrings in rangecache/settings/ and run it again. -->
# Configuration

rangecache runs without any configuration. To change something, write a YAML file and name it with `--config FILE` or in
`RANGECACHE_CONFIG`. Keys are grouped in sections, as in

```yaml
server:
  listen: 127.0.0.1:8080
cache:
  memory: {size: 1GiB}
providers:
  s3: {kind: s3}
  noaa: {kind: http, buckets: {gfs: "https://example.org/data/gfs/"}}
  local: {kind: file, buckets: {demo: ./data}}
```

- Every key can also be set in the environment: `cache.memory.size` is `RANGECACHE_CACHE__MEMORY__SIZE`. Lists and
  mappings are written there as in YAML: `RANGECACHE_ACCESS__ALLOW='["s3/data/**"]'`. An empty variable is null.
- A flag overrules the environment, the environment the file, and the file the defaults.
- Sizes are `512B`, `256KiB`, `64MiB`, `10GiB`, `1TiB`. Durations are `250ms`, `15s`, `5m`, `24h`, `7d`, `1h30m`.
- Relative paths start at the folder of the file (at the current folder if there is none, and for flags); `~` is your
  home.
- Unknown keys are errors. `rangecache check-config FILE` tells all faults at once, each with its line.
- Secrets belong in the environment or in files of their own. They are never printed.
"""
_SEPARATELY: Final = frozenset({"credentials"})  # sections with a table of their own
_LATER: Final = """\
## Not in this version

These keys are accepted where they say "off" (null, false, off, unlimited, or nothing inside). Otherwise they are
errors.

| key | what to do |
|---|---|
"""


def reference() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD, "## All keys\n", _table(_rows(Settings))]
    for title, section in (
        ("One rule of `freshness`", FreshnessRule),
        ("A provider of kind `s3`", S3Provider),
        ("`credentials` of an `s3` provider", S3Credentials),
        ("`assume_role` of those `credentials`", S3Role),
        ("`web_identity` of those `credentials`", S3WebIdentity),
        ("One of an `s3` provider's `buckets`", S3Bucket),
        ("A provider of kind `gcs`", GcsProvider),
        ("`credentials` of a `gcs` provider", GcsCredentials),
        ("One of a `gcs` provider's `buckets`", GcsBucket),
        ("A provider of kind `azure`", AzureProvider),
        ("`credentials` of an `azure` provider", AzureCredentials),
        ("One of an `azure` provider's `buckets`", AzureBucket),
        ("A provider of kind `http`", HttpProvider),
        ("`credentials` of an `http` provider, or of one of its buckets", HttpCredentials),
        ("One of an `http` provider's `buckets`", HttpBucket),
        ("A provider of kind `file`", FileProvider),
        ("A provider of kind `failover`", FailoverProvider),
        ("One of a `failover` provider's `replicas`", Replica),
    ):
        parts += [f"## {title}\n", f"{_prose(inspect.getdoc(section) or '')}\n", _table(_rows(section))]
    later = [(_dotted(key), each.instead) for key, each in KEYS.items()]
    later += [(f"{_dotted(key)}: {value}", instead) for (key, value), instead in VALUES.items()]
    return "\n".join([*parts, _LATER + "\n".join(f"| `{key}` | {_cell(instead)} |" for key, instead in later), ""])


def _dotted(key: tuple[str, ...]) -> str:
    return ".".join("…" if part == "*" else part for part in key)


def docstrings(section: type[Section]) -> dict[str, str]:
    """The text under each field of a section, by the field's name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    texts: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                texts[field.target.id] = inspect.cleandoc(str(below.value.value))
    return texts


def _rows(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every key that is not itself a section."""
    texts = docstrings(section)
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section) and name not in _SEPARATELY:
            yield from _rows(annotation, (*path, name))
            continue
        flag = next((flag for flag, at in FLAGS.items() if at == (*path, name)), None)
        key = f"`{'.'.join((*path, name))}`" + (f", `{flag}`" if flag else "")
        yield key, _default(field), texts[name]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or isinstance(default, dict | Section):
        return "see below" if sections_in(field.annotation) else "none"
    text = _dumped(field, default)
    return f"`{text}`"


def _dumped(field: FieldInfo, default: Any) -> str:
    """The default as one would write it in the file."""
    if isinstance(default, bool):
        return str(default).lower()
    if default is None:
        return "null"
    if isinstance(default, tuple):
        return f"[{', '.join(repr(each) for each in default)}]".replace("'", '"')
    for each in (*field.metadata, *(one for part in get_args(field.annotation) for one in get_args(part))):
        show = getattr(each, "func", None)
        if callable(show) and getattr(each, "when_used", "") == "json" and not isinstance(default, str):
            return str(show(default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    lines = [f"| {key} | {default} | {_cell(text)} |" for key, default, text in rows]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *lines]) + "\n"


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    return " ".join(text.split())
