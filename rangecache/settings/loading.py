"""From what the user wrote to `Settings`, or to every fault of it at once.

Flags overrule the environment, which overrules the file, which overrules the defaults. A value at fault is noted and
taken out, and the rest is checked again, until nothing new is found: a fault in one section hides none in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from rangecache.errors import ConfigurationError
from rangecache.settings.conflicts import CHECKS
from rangecache.settings.draft import Draft
from rangecache.settings.later import KEYS, set_aside
from rangecache.settings.schema import all_paths, keys_at
from rangecache.settings.sections import Settings
from rangecache.settings.sources import read_environment, read_file, read_flags, suggest, variable_name
from rangecache.settings.units import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from rangecache.settings.draft import KeyPath

_ROUNDS_MAX: Final = 16  # each takes out at least one value; real files need two or three
_KINDS: Final = "s3, gcs, azure, http, file or failover"
_DEFAULT_KINDS: Final = {"s3": "s3", "gs": "gcs", "az": "azure"}  # of providers by name; as in `Settings`


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Settings:
    """Read the configuration.

    `path` is the YAML file; None is none. `environ` is the environment, of which the names that begin with RANGECACHE_
    are used. `flags` are texts by the name of the flag, as in `{"--listen": "127.0.0.1:0"}`. Relative paths start at
    the folder of the file, or at the current one if there is no file.

    Raises ConfigurationError with every fault, a line each. Secrets are never repeated in it.
    """
    draft = Draft()
    readable = path is None or read_file(draft, path)
    if draft.tree.get("providers") in (None, {}):
        draft.tree["providers"] = {name: {"kind": kind} for name, kind in _DEFAULT_KINDS.items()}
    read_environment(draft, environ or {}, {variable_name(known) for known in all_paths(Settings)})
    read_flags(draft, flags or {})
    settings = _settle(draft, None if path is None else path.absolute().parent) if readable else None
    if settings is not None:
        for reads, check in CHECKS:
            if not any(draft.has_discarded(read) for read in reads):
                for conflict in check(settings):
                    draft.blame(conflict.path, conflict.message)
    if draft.faults or settings is None:
        raise ConfigurationError("\n".join(str(fault) for fault in sorted(draft.faults, key=lambda fault: fault.order)))
    return settings


def _settle(draft: Draft, base: Path | None) -> Settings | None:
    """Validate, setting aside what is at fault, until the rest is valid."""
    set_aside(draft)
    for _ in range(_ROUNDS_MAX):
        try:
            return Settings.model_validate(draft.tree, context={"base": base})
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        located = [(_own_path(detail["loc"]), detail) for detail in details]
        for path, detail in located:
            if not draft.has_discarded(path):
                draft.blame(path, _sentence(draft, path, detail))
        for path, _detail in located:
            draft.discard(path)
    return None


def _own_path(location: tuple[int | str, ...]) -> KeyPath:
    """The path in the user's file for a path in pydantic's terms: without the tag of the provider's kind, and without
    the mark of a key that is itself at fault."""
    path = location[:-1] if location[-1:] == ("[key]",) else location
    if path[:1] == ("providers",) and len(path) > 2:
        path = (*path[:2], *path[3:])
    return path


def _sentence(draft: Draft, path: KeyPath, detail: ErrorDetails) -> str:
    """A fault that pydantic found, in words for the user."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown_key(draft, path)
        case "missing" | "union_tag_not_found":
            return "is required" if detail["type"] == "missing" else f"kind is required: {_KINDS}"
        case "union_tag_invalid":
            return f"expected the kind {_KINDS}, got {shown(str(draft.value((*path, 'kind'))))}"
        case "literal_error":
            return f"expected {_alternatives(context['expected'])}{_got(draft, path)}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"expected a whole number{_got(draft, path)}"
        case "float_parsing" | "float_type" | "finite_number":
            return f"expected a number{_got(draft, path)}"
        case "bool_parsing" | "bool_type":
            return f"expected true or false{_got(draft, path)}"
        case "string_type":
            return "expected text" if draft.value(path) is not None else "expected text, got nothing"
        case "string_too_short" | "too_short":
            return "expected text, got nothing"
        case "dict_type" | "model_type" | "model_attributes_type":
            keys = ", ".join(sorted(keys_at(Settings, path, draft)))
            return f"expected a section with keys: {keys}" if keys else "expected names, with a value below each"
        case "tuple_type" | "list_type":
            return "expected a list"
    return detail["msg"]


def _alternatives(expected: str) -> str:
    """Pydantic's `'a', 'b' or 'c'` without its quotes."""
    return expected.replace("'", "")


def _got(draft: Draft, path: KeyPath) -> str:
    """What was written, for the types of which no secret is: numbers, true or false, one of a few words."""
    value = draft.value(path)
    if isinstance(value, str | None):
        return f", got {shown(value or '')}"
    return ", got a list" if isinstance(value, list) else ", got a section"


def _holds(pattern: tuple[str, ...], path: KeyPath) -> bool:
    return all(wanted in {"*", part} for wanted, part in zip(pattern, path, strict=False))


def _unknown_key(draft: Draft, path: KeyPath) -> str:
    known = keys_at(Settings, path[:-1], draft)
    later = {key[-1] for key in KEYS if len(key) == len(path) and _holds(key[:-1], path)}
    if not known:
        return "unknown key"
    return f"unknown key; {suggest(str(path[-1]), known | later, 'known here: ' + ', '.join(sorted(known)))}"
