"""From the target of a request line to what is asked for.

The raw path is split at `/` first and each part is percent-decoded exactly once after that, so that an encoded slash
never moves the border between bucket and key. Nothing is normalised: a key is opaque.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from rangecache.errors import AccessDenied, BadRequest, UnknownName
from rangecache.model import ObjectRef
from rangecache.server import problems
from rangecache.server.head import TARGET_BYTES_MAX
from rangecache.server.naming import target_of
from rangecache.server.problems import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION_CHARACTERS_MAX: Final = 1024
CACHED_TARGETS_MAX: Final = 8192
CACHED_TARGET_BYTES_MAX: Final = 512  # the cache holds at most 4 MiB of targets

_FORBIDDEN: Final = "The access rules of this proxy do not allow it; see `access.allow`."
_MALFORMED_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")


class Directory(NamedTuple):
    """A target that names no object: its path ends in `/`, or has no key."""

    provider: str | None
    """None for the top, where the providers are."""
    bucket: str | None
    prefix: str

    @property
    def ref(self) -> ObjectRef:
        """What its keys begin with, as far down as it goes."""
        return ObjectRef(self.provider or "", self.bucket or "", self.prefix)


@dataclass(frozen=True, slots=True)
class Namespace:
    """What names a provider knows."""

    accepts_bucket: Callable[[str], bool]
    """Whether a bucket or alias of this spelling may be asked for: the provider's own rule, or its configured names."""
    version_parameter: str | None = None
    """The query parameter that names one version of an object, such as `versionId`."""
    key_bytes_max: int = 1024
    """The longest key in bytes, decoded."""
    named_versions: tuple[str, ...] = ()
    """Query parameters of which one may be there; the version is then the whole `name=value`."""


class Router:
    """Finds out what a target names, and whether it may be asked for.

    `allowed` is the access rule; it is asked once for each target, before any look-up. `reaches` says of what the names
    of objects begin with (`provider/`, `provider/bucket/` and so on) whether the rule allows any such object.
    """

    def __init__(
        self,
        namespaces: Mapping[str, Namespace],
        allowed: Callable[[ObjectRef], bool],
        reaches: Callable[[str], bool],
    ) -> None:
        self._namespaces = namespaces
        self._allowed = allowed
        self._reaches = reaches
        self._cache: dict[bytes, ObjectRef] = {}

    @property
    def providers(self) -> list[str]:
        """The configured names, sorted."""
        return sorted(self._namespaces)

    def find(self, target: bytes) -> ObjectRef | Directory:
        """The object or directory that a target names.

        Raises `BadRequest`, `UnknownName` or `AccessDenied`. The text of none of them repeats the target.
        """
        ref = self._cache.get(target)
        if ref is not None:
            return ref
        found = self._read(target)
        if type(found) is ObjectRef and len(target) <= CACHED_TARGET_BYTES_MAX:
            if len(self._cache) >= CACHED_TARGETS_MAX:
                del self._cache[next(iter(self._cache))]
            self._cache[target] = found
        return found

    def known(self, target: bytes) -> ObjectRef | None:
        """What `find` has said of this target, if that is remembered."""
        return self._cache.get(target)

    def find_name(self, name: str) -> ObjectRef:
        """The object that a person or a file names (see `server/naming`); nothing of it is remembered.

        Raises as `find`, and `BadRequest` for an address that ends in `/` or has no key: it would be a prefix.
        """
        found = self._read(target_of(name))
        if isinstance(found, ObjectRef):
            return found
        raise BadRequest("This names no object but a prefix; write provider/bucket/key.")

    def find_prefix(self, name: str) -> ObjectRef:
        """As `find_name`, for what the keys of many objects begin with; the key may be empty. Access is not looked at:
        the rules are about objects."""
        found = self._read(target_of(name), open_to_all=True)
        if isinstance(found, ObjectRef):
            if found.version is not None:
                raise BadRequest("A prefix has no versions; leave the query away.")
            return found
        if found.provider is None or found.bucket is None:
            raise BadRequest("Name a bucket at the least: write provider/bucket or provider/bucket/prefix.")
        return ObjectRef(found.provider, found.bucket, found.prefix)

    def allows(self, ref: ObjectRef) -> bool:
        """Whether the access rules let it be read."""
        return self._allowed(ref)

    def accepts(self, provider: str, bucket: str) -> bool:
        """Whether the provider has, or may have, a bucket of this name, and the access rules allow anything of it."""
        return self._namespaces[provider].accepts_bucket(bucket) and self._reaches(f"{provider}/{bucket}/")

    def reaches(self, beginning: str) -> bool:
        """Whether the access rules allow any object whose name begins so."""
        return self._reaches(beginning)

    def _read(self, target: bytes, *, open_to_all: bool = False) -> ObjectRef | Directory:
        _check(target)
        path, question_mark, query = target.partition(b"?")
        parts = path.split(b"/", 3)[1:]
        if parts == [b""]:
            if question_mark:
                raise BadRequest("A query is not accepted here; leave it away.")
            return Directory(None, None, "")
        provider = _decode(parts[0])
        namespace = self._namespaces.get(provider)
        if namespace is None:
            raise UnknownName("No provider of that name is configured. Ask for /<provider>/<bucket>/<key>.")
        version = _version(query, namespace) if question_mark else None
        bucket = _decode(parts[1]) if len(parts) > 1 else ""
        if not bucket and len(parts) <= 2:
            if version is not None:
                raise BadRequest("A listing has no versions; leave the query away.")
            if not open_to_all and not self._reaches(f"{provider}/"):
                raise AccessDenied(_FORBIDDEN)
            return Directory(provider, None, "")
        if not bucket or "/" in bucket or bucket in {".", ".."} or not namespace.accepts_bucket(bucket):
            raise UnknownName("No bucket of that name is configured, or the name is not valid for this provider.")
        raw_key = parts[2] if len(parts) == 3 else b""
        key = _decode(raw_key)
        if len(key.encode()) > namespace.key_bytes_max:
            raise BadRequest(f"The key is longer than {namespace.key_bytes_max} bytes.")
        ref = ObjectRef(provider, bucket, key, version)
        is_directory = not key or raw_key.endswith(b"/")
        if not open_to_all and not (self._reaches(str(ref)) if is_directory else self._allowed(ref)):
            raise AccessDenied(_FORBIDDEN)
        if is_directory:
            if version is not None:
                raise BadRequest("A listing has no versions; leave the query away.")
            return Directory(provider, bucket, key)
        return ref


def _check(target: bytes) -> None:
    """Raises `BadRequest` for what is no path, or one that nobody can have."""
    if len(target) > TARGET_BYTES_MAX:
        message = f"The path is longer than {TARGET_BYTES_MAX} bytes."
        raise ProtocolError(problems.TARGET_TOO_LONG, message, close=False)
    if not target.startswith(b"/"):
        raise BadRequest("Ask for a path that begins with /; this is not a forward proxy.")
    if b"#" in target or _UNPRINTABLE.search(target):
        raise BadRequest("Percent-encode '#' and all characters that are not printable ASCII.")


def _decode(part: bytes) -> str:
    """One percent-decoding, to text that is valid UTF-8 and free of control characters."""
    if b"%" not in part:
        return part.decode("ascii")
    if _MALFORMED_PERCENT.search(part):
        raise BadRequest("A '%' in the path is not followed by two hexadecimal digits; write %25 for a percent sign.")
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The path is not UTF-8 once it is percent-decoded.") from None
    if _CONTROL.search(text):
        raise BadRequest("The path holds a control character.")
    return text


def _version(query: bytes, namespace: Namespace) -> str:
    """The value of the only query parameter that is accepted."""
    name, equals, value = query.partition(b"=")
    known = namespace.named_versions or (namespace.version_parameter,)
    wanted = next((each for each in known if each is not None and name == each.encode()), None)
    if wanted is None or b"&" in query or not equals or not value:
        only = "for this provider" if known == (None,) else f"except one {' or '.join(map(str, known))}=VALUE"
        raise BadRequest(f"A query is not accepted {only}. Percent-encode '?' if it belongs to the key.")
    version = _decode(value)
    if len(version) > VERSION_CHARACTERS_MAX:
        raise BadRequest(f"A version's name has at most {VERSION_CHARACTERS_MAX} characters.")
    return f"{wanted}={version}" if namespace.named_versions else version
