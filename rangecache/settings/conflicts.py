"""What is wrong between settings that are each right. A table of checks, each with the settings that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.settings.providers import FailoverProvider
from rangecache.settings.units import TcpAddress, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rangecache.settings.draft import KeyPath
    from rangecache.settings.sections import Settings


class Conflict(NamedTuple):
    """One contradiction, and where to mend it."""

    path: KeyPath
    message: str


def _exposed(settings: Settings) -> Iterator[Conflict]:
    """Whoever can connect reads with our credentials, so an address that others reach needs two explicit words."""
    server = settings.server
    for name, address in (("listen", server.listen), ("admin_listen", server.admin_listen)):
        if address.is_loopback:
            continue
        missing = []
        if server.auth.mode != "external":
            missing.append("server.auth.mode: external (and something in front that checks who asks)")
        if name == "listen" and "allow" not in settings.access.model_fields_set:
            missing.append('access.allow (what may be read, such as ["s3/my-bucket/**"])')
        if missing:
            message = f"{address} can be reached from other machines: set {' and '.join(missing)}, or use 127.0.0.1"
            yield Conflict(("server", name), message)


def _same_port(settings: Settings) -> Iterator[Conflict]:
    taken: dict[object, str] = {}
    for name in ("listen", "admin_listen", "health_listen"):
        address = getattr(settings.server, name)
        port = address.port if isinstance(address, TcpAddress) else address
        if not port:
            continue  # not used, or chosen by the system
        if port in taken:
            yield Conflict(("server", name), f"{address} is taken by server.{taken[port]}: choose another port")
        taken.setdefault(port, name)


def _request_of_blocks(settings: Settings) -> Iterator[Conflict]:
    block, request = settings.cache.block_size, settings.fetch.max_request
    if request < block or request % block:
        expected = f"expected a multiple of cache.block_size, which is {format_size(block)}"
        yield Conflict(("fetch", "max_request"), f"{expected}, got {format_size(request)}")


def _prefetch_of_requests(settings: Settings) -> Iterator[Conflict]:
    memory, request = settings.fetch.prefetch.memory, settings.fetch.max_request
    if memory < request:
        expected = f"expected at least fetch.max_request, which is {format_size(request)}"
        yield Conflict(("fetch", "prefetch", "memory"), f"{expected}, got {format_size(memory)}")


def _memory_of_blocks(settings: Settings) -> Iterator[Conflict]:
    yield from _tier_of_blocks(settings, ("cache", "memory", "size"), settings.cache.memory.size)


def _disk_of_blocks(settings: Settings) -> Iterator[Conflict]:
    if settings.cache.disk.enabled:
        yield from _tier_of_blocks(settings, ("cache", "disk", "size"), settings.cache.disk.size)


def _tier_of_blocks(settings: Settings, path: KeyPath, size: int) -> Iterator[Conflict]:
    block = settings.cache.block_size
    if size < block:
        expected = f"expected at least one block, which is {format_size(block)}"
        yield Conflict(path, f"{expected}, got {format_size(size)}")


def _disk_somewhere(settings: Settings) -> Iterator[Conflict]:
    disk = settings.cache.disk
    if disk.enabled and str(disk.path).startswith("~"):
        message = f"{disk.path} means nothing, as the home directory is not known here: give an absolute path"
        yield Conflict(("cache", "disk", "path"), message)


def _patterns_of_providers(settings: Settings) -> Iterator[Conflict]:
    """A pattern for a provider that is not there does nothing, and was meant to do something."""
    texts: list[tuple[KeyPath, str]] = [
        (("freshness", index, "match"), rule.match) for index, rule in enumerate(settings.freshness)
    ]
    texts += [(("access", "allow", index), text) for index, text in enumerate(settings.access.allow)]
    for path, text in texts:
        provider = text.split("/", 1)[0]
        if "*" not in provider and provider not in settings.providers:
            names = ", ".join(settings.providers) or "none"
            yield Conflict(path, f"there is no provider {provider}; configured: {names}")


def _replicas_of_providers(settings: Settings) -> Iterator[Conflict]:
    for name, provider in settings.providers.items():
        if not isinstance(provider, FailoverProvider):
            continue
        for index, replica in enumerate(provider.replicas):
            path = ("providers", name, "replicas", index)
            found = settings.providers.get(replica.provider)
            if found is None:
                names = ", ".join(settings.providers)
                yield Conflict(path, f"there is no provider {replica.provider}; configured: {names}")
            elif isinstance(found, FailoverProvider):
                yield Conflict(path, f"{replica.provider} is a failover set itself; name its replicas here")


CHECKS: Final[tuple[tuple[tuple[KeyPath, ...], Callable[[Settings], Iterator[Conflict]]], ...]] = (
    ((("server", "listen"), ("server", "admin_listen"), ("server", "auth"), ("access", "allow")), _exposed),
    ((("server", "listen"), ("server", "admin_listen"), ("server", "health_listen")), _same_port),
    ((("cache", "block_size"), ("fetch", "max_request")), _request_of_blocks),
    ((("fetch", "prefetch", "memory"), ("fetch", "max_request")), _prefetch_of_requests),
    ((("cache", "block_size"), ("cache", "memory", "size")), _memory_of_blocks),
    ((("cache", "block_size"), ("cache", "disk")), _disk_of_blocks),
    ((("cache", "disk", "path"),), _disk_somewhere),
    ((("providers",), ("freshness",), ("access", "allow")), _patterns_of_providers),
    ((("providers",),), _replicas_of_providers),
)
