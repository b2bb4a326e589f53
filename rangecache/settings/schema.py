"""What settings there are: a walk over the classes of `sections`, for suggestions and for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from rangecache.settings.fields import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.settings.draft import Draft, KeyPath


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field of this type can hold, directly or as the values of a mapping or list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for argument in get_args(annotation) for found in sections_in(argument)]


def all_paths(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of fixed name that holds a value; not those of providers and of freshness rules."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from all_paths(annotation, (*path, name))
        else:
            yield (*path, name)


def keys_at(root: type[Section], path: KeyPath, draft: Draft) -> set[str]:
    """The keys that the section at `path` knows; empty where keys are names of the user's choice.

    Of the kinds of providers, it is the one that the draft says.
    """
    candidates = [root]
    named = False  # whether the next part of the path is a name of the user's choice
    for index, part in enumerate(path):
        if named or isinstance(part, int):
            named = False
            continue
        fields = [section.model_fields[part] for section in candidates if part in section.model_fields]
        candidates = [found for field in fields for found in sections_in(field.annotation)]
        named = any(_is_mapping(field.annotation) for field in fields)
        if index == 0 and part == "providers":
            kind = draft.value((*path[:2], "kind"))
            candidates = [one for one in candidates if kind in get_args(one.model_fields["kind"].annotation)]
    return set() if named else {name for section in candidates for name in section.model_fields}


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict
