"""Keys of the full configuration that this version does not build.

They are accepted where they say "off", as nothing is lost then. Anything else is an error that says what to do: a
setting is never silently ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.settings.sources import iter_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.settings.draft import Draft, KeyPath, Tree

_OFF: Final = frozenset([None, "false", "no", "off", "none", "unlimited", "0"])


class Later(NamedTuple):
    """One of those keys."""

    instead: str
    """What to do without it."""
    harmless: frozenset[str] = frozenset()
    """Further values that change nothing."""


_BUCKET: Final = ("providers", "*", "buckets", "*")

KEYS: Final[dict[tuple[str, ...], Later]] = {
    ("server", "s3_listen"): Later("set it to null; S3 clients can read objects over server.listen"),
    ("server", "tls"): Later("set it to null and let something in front of the proxy speak TLS"),
    ("server", "cors"): Later("remove it; browsers can read from the proxy's own origin only"),
    ("server", "auth", "tokens_file"): Later("remove it, and let something in front check who asks: mode external"),
    ("cache", "shared"): Later("set enabled to false; each program has a cache of its own"),
    ("telemetry", "otlp_endpoint"): Later("set it to null and scrape /metrics of the admin port"),
    ("s3_front",): Later("remove it; objects are read over server.listen"),
    (*_BUCKET, "query"): Later(
        "remove it; queries that name a version are taken, others refused", frozenset(["refuse"])
    ),
}

VALUES: Final[dict[tuple[tuple[str, ...], str], str]] = {
    (("server", "auth", "mode"), "bearer"): "let something in front check who asks, and set external",
}


def set_aside(draft: Draft) -> None:
    """Take the keys of this table out of the draft, and note a fault for each one that is not off."""
    for pattern, later in KEYS.items():
        for path in list(_find(draft.tree, pattern)):
            on = next((leaf for leaf, text in iter_leaves(draft.value(path), path) if not _is_off(text, later)), None)
            if on is not None:
                draft.blame(path, f"is not in this version: {later.instead}", draft.place(on))
            draft.discard(path)
    for (pattern, value), instead in VALUES.items():
        for path in list(_find(draft.tree, pattern)):
            if draft.value(path) == value:
                draft.blame(path, f"{value} is not in this version: {instead}")
                draft.discard(path[:2] if path[0] == "providers" else path)


def _is_off(text: str | None, later: Later) -> bool:
    return text in _OFF or text in later.harmless


def _find(tree: Tree, pattern: tuple[str, ...], path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths in `tree` that a pattern means, where `*` is any key."""
    if not pattern:
        yield path
    elif isinstance(tree, dict):
        for key in tree if pattern[0] == "*" else {pattern[0]} & tree.keys():
            yield from _find(tree[key], pattern[1:], (*path, key))
