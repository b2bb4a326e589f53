"""What is printed when the program has started: where it listens, what it keeps, where to look next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache import __version__
from rangecache.settings import TcpAddress, format_size

if TYPE_CHECKING:
    from rangecache.settings import Address
    from rangecache.wiring.program import Program


def announcement(program: Program) -> str:
    """Some lines of text for a person."""
    settings = program.settings
    admin = _url(program.admin.address)
    rows = [("objects", f"{_url(address)}<provider>/<bucket>/<key>") for address in program.addresses]
    rows.append(("providers", ", ".join(f"{name} ({each.kind})" for name, each in settings.providers.items())))
    rows.append(("memory", format_size(settings.cache.memory.size)))
    rows.append(("disk", _disk(program)))
    rows.append(("look at", f"{admin}v1/stats   {admin}metrics   {admin}readyz"))
    if settings.server.auth.mode == "external":
        rows.append(("warning", "nothing is checked here: whoever can connect reads with these credentials"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"rangecache {__version__} is serving", *(f"  {name:<{width}}  {text}" for name, text in rows)])


def _disk(program: Program) -> str:
    disk = program.disk
    if disk is None:
        return "off (cache.disk.enabled: false)"
    stats = disk.stats()
    where = f"{format_size(stats.limit_bytes)} in {disk.directory}"
    return f"{where}, {stats.state}" if not disk.state_reason else f"{where}, {stats.state}: {disk.state_reason}"


def _url(address: Address) -> str:
    return f"http://{address}/" if isinstance(address, TcpAddress) else f"{address} "
