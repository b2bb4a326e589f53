"""What the user wrote, before it is checked: texts in a tree, and where each of them stands.

Every source (file, environment, flags) gives the same kind of value: text, null, a list or a mapping. YAML's own
guesses at types are not used, so `off`, `1e3` and `007` stay what was typed until the setting that they are for
reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rangecache.settings.units import shown

Tree = str | list["Tree"] | dict[str, "Tree"] | None
KeyPath = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a value was written. Sorts in the order in which a reader would look."""

    source: int
    """0: the file, 1: the environment, 2: flags."""
    line: int
    text: str
    """As a fault begins: `config.yaml:12`, `RANGECACHE_CACHE__BLOCK_SIZE`, `--listen`."""


NOWHERE = Place(-1, 0, "")
"""The place of what nobody wrote: a default."""


class Fault(NamedTuple):
    """One thing that is wrong."""

    place: Place
    path: KeyPath
    message: str

    @property
    def order(self) -> tuple[Place, str, str]:
        """Sorts faults in the order in which a reader would mend them."""
        return self.place, written(self.path), self.message

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place.text, written(self.path), self.message) if part)


def written(path: KeyPath) -> str:
    """A path as in `freshness[0].ttl`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in path)
    return text.removeprefix(".")


@dataclass(slots=True)
class Draft:
    """The tree, its places, and the faults found so far."""

    tree: dict[str, Tree] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    discarded: set[KeyPath] = field(default_factory=set)
    """What was at fault and has been taken out of the tree, so that the rest can be checked."""

    def blame(self, path: KeyPath, message: str, place: Place | None = None) -> None:
        """Note a fault. Without a place it is that of the value or of what holds it."""
        fault = Fault(self.place(path) if place is None else place, path, message)
        if fault not in self.faults:
            self.faults.append(fault)

    def place(self, path: KeyPath) -> Place:
        """Where the value at `path`, or the nearest thing that holds it, was written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return NOWHERE

    def value(self, path: KeyPath) -> Tree:
        """What was written at `path`; None if nothing was."""
        node: Tree = self.tree
        for part in path:
            if isinstance(node, dict) and isinstance(part, str):
                node = node.get(part)
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
            else:
                return None
        return node

    def put(self, path: tuple[str, ...], value: Tree, place: Place) -> None:
        """Write over what an earlier source said. Mappings are merged, all else is replaced."""
        node = self.tree
        for end, part in enumerate(path[:-1], start=1):
            below = node.setdefault(part, {})
            if below is None:
                below = node[part] = {}
            if not isinstance(below, dict):
                self.blame(path, f"{written(path[:end])} is not a section: nothing can be set inside it", place)
                return
            self.places.setdefault(path[:end], place)
            node = below
        current = node.get(path[-1])
        if isinstance(value, dict) and isinstance(current, dict):
            for key, item in value.items():
                self.put((*path, key), item, place)
            return
        node[path[-1]] = value
        self.places = {at: where for at, where in self.places.items() if at[: len(path)] != path}
        self.places[path] = place

    def discard(self, path: KeyPath) -> None:
        """Take what is at `path` out of the tree, or else the nearest entry of a mapping that holds it."""
        for end in range(len(path), 0, -1):
            holder, last = self.value(path[: end - 1]), path[end - 1]
            if isinstance(holder, dict) and isinstance(last, str) and last in holder:
                del holder[last]
                self.discarded.update((path, path[:end]))
                return

    def has_discarded(self, path: KeyPath) -> bool:
        """Whether something at, above or below `path` was at fault."""
        return any(one[: len(path)] == path or path[: len(one)] == one for one in self.discarded)
