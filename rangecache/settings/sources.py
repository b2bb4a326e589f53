"""The three places where settings are written: the YAML file, the environment, and flags."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

import yaml

from rangecache.settings.draft import Draft, Place, Tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from rangecache.settings.draft import KeyPath

PREFIX: Final = "RANGECACHE_"
CONFIG_VARIABLE: Final = "RANGECACHE_CONFIG"
"""Names the configuration file; the one variable that is not a setting."""

FLAGS: Final = {
    "--listen": ("server", "listen"),
    "--admin-listen": ("server", "admin_listen"),
    "--cache-dir": ("cache", "disk", "path"),
    "--memory-size": ("cache", "memory", "size"),
    "--disk-size": ("cache", "disk", "size"),
}

_FILE_BYTES_MAX: Final = 4 << 20  # a thousand buckets are a tenth of that
_VALUES_MAX: Final = 100_000  # aliases can make a small file a large tree
_DEPTH_MAX: Final = 32
_CORE_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")
)
_NULL_TAG: Final = "tag:yaml.org,2002:null"
_QUOTED: Final = re.compile(r"\s*(['\"])(.+?)\1", re.DOTALL)
# Kubernetes sets these in every pod of a namespace that has a Service named rangecache….
_SERVICE_LINK: Final = re.compile(
    r"RANGECACHE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|"
    r"PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def read_file(draft: Draft, path: Path) -> bool:
    """Read the configuration file. False, with the fault noted, if it is not one mapping in YAML."""
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES_MAX + 1)
        if len(raw) > _FILE_BYTES_MAX:
            raise ValueError(f"is larger than {_FILE_BYTES_MAX >> 20} MiB: that is no configuration")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        draft.blame((), f"cannot be read: {error.strerror or type(error).__name__}", Place(0, 0, name))
        return False
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        draft.blame((), "is not UTF-8 text; save it as UTF-8", Place(0, line, f"{name}:{line}"))
        return False
    except ValueError as error:
        draft.blame((), str(error), Place(0, 0, name))
        return False
    return read_text(draft, text, name)


def read_text(draft: Draft, text: str, name: str) -> bool:
    """Read YAML that came from `name`. False, with the fault noted, if it is not one mapping."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = None if root is None else _Reader(draft, name).read(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        draft.blame((), _syntax_message(error), Place(0, line, f"{name}:{line}"))
        return False
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        draft.blame((), "holds a control character", Place(0, line, f"{name}:{line}"))
        return False
    except (RecursionError, _TooMuch):
        draft.blame((), "is nested too deeply or repeats itself through aliases", Place(0, 0, name))
        return False
    if not isinstance(tree, dict | None):
        draft.blame((), "expected sections such as `server:` and `cache:`", Place(0, 1, f"{name}:1"))
        return False
    draft.tree = tree or {}
    return True


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    """The parser's words without what it quotes from the file, which may be a secret."""
    problem = error.problem or "cannot be parsed"
    hint = ""
    if "\\t" in problem:
        hint = "; indent with blanks, not with tabs"
    elif "alias" in problem:
        hint = "; a text that begins with * has to be quoted"
    elif "mapping values are not allowed" in problem or "':'" in problem:
        hint = "; a text that holds `: ` has to be quoted, and keys of one section begin in one column"
    return f"is not valid YAML: {_QUOTED.sub(_unless_of_the_grammar, problem)}{hint}"


def _unless_of_the_grammar(quoted: re.Match[str]) -> str:
    """Single characters (`','`) and tokens (`'<scalar>'`) are the parser's own words."""
    return quoted[0] if len(quoted[2]) == 1 or quoted[2].startswith("<") else ""


class _TooMuch(Exception):
    """A bound on depth or count is reached."""


class _Reader:
    """Turns YAML's nodes into a tree of texts, and notes their lines."""

    def __init__(self, draft: Draft, name: str) -> None:
        self._draft, self._name, self._count = draft, name, 0

    def read(self, node: yaml.Node, path: KeyPath = ()) -> Tree:
        self._count += 1
        if self._count > _VALUES_MAX or len(path) > _DEPTH_MAX:
            raise _TooMuch
        if node.tag not in _CORE_TAGS:
            self._draft.blame(path, "YAML tags (!…) mean nothing here: remove it", self._place(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return None if node.tag == _NULL_TAG else str(node.value)

    def _item(self, node: yaml.Node, path: KeyPath) -> Tree:
        self._draft.places[path] = self._place(node)
        return self.read(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Tree:
        mapping: dict[str, Tree] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._draft.blame(path, "expected a plain name before the colon", place)
                continue
            key = str(key_node.value)
            if key in mapping:
                message = f"is written twice, first in line {first_lines[key]}: keep one"
                self._draft.blame((*path, key), message, place)
                continue
            first_lines[key] = place.line
            self._draft.places[*path, key] = place
            mapping[key] = self.read(value_node, (*path, key))
        return mapping

    def _place(self, node: yaml.Node) -> Place:
        line = node.start_mark.line + 1
        return Place(0, line, f"{self._name}:{line}")


def read_environment(draft: Draft, environ: Mapping[str, str], known: Collection[str]) -> None:
    """Lay the settings of the environment over the draft. `known` are names to suggest for a misspelt one."""
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or _is_service_link(variable):
            continue
        place = Place(1, 0, variable)
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if "" in path or (len(path) == 1 and variable not in known):
            instead = _suggest_variable(variable, known)
            draft.blame((), f"no such setting; {instead}", place)
            continue
        try:
            value = _environment_value(text)
        except (yaml.YAMLError, RecursionError, _TooMuch, ValueError):
            draft.blame(path, "begins like a list, mapping or quoted text in YAML and is not a sound one", place)
            continue
        draft.put(path, value, place)


def _suggest_variable(variable: str, known: Collection[str]) -> str:
    """Compares what follows the prefix: with it, everything looks alike."""
    bodies = {name.removeprefix(PREFIX) for name in known}
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), sorted(bodies), n=1)
    return f"did you mean {PREFIX}{near[0]}?" if near else "the form is RANGECACHE_SECTION__KEY"


def _is_service_link(variable: str) -> bool:
    return "__" not in variable and _SERVICE_LINK.fullmatch(variable) is not None


def _environment_value(text: str) -> Tree:
    """Lists, mappings and quoted texts are YAML; all else is taken as it is, so that no secret has to be quoted."""
    stripped = text.strip()
    if stripped in {"", "~", "null"}:
        return None
    if stripped[0] in "[{" or (stripped[0] in "'\"" and stripped[-1] == stripped[0] and len(stripped) > 1):
        inner = Draft()
        root = yaml.compose(stripped, Loader=yaml.SafeLoader)
        value = None if root is None else _Reader(inner, "").read(root)
        if inner.faults:
            raise ValueError(inner.faults[0].message)
        return value
    return stripped


def read_flags(draft: Draft, flags: Mapping[str, str]) -> None:
    """Lay the values of flags, by the names in `FLAGS`, over the draft."""
    for flag, text in flags.items():
        draft.put(FLAGS[flag], text, Place(2, 0, flag))


def suggest(name: str, known: Collection[str], otherwise: str) -> str:
    """`did you mean …?` where a known name is near, else `otherwise`."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else otherwise


def variable_name(path: KeyPath) -> str:
    """The environment variable of a setting."""
    return PREFIX + "__".join(str(part) for part in path).upper()


def iter_leaves(tree: Tree, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str | None]]:
    """Every text in a tree, with its path. Empty lists and mappings have none."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from iter_leaves(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from iter_leaves(value, (*path, index))
    else:
        yield path, tree
