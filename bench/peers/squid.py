"""Squid as an accelerator, which fetches whole objects for ranges and answers ranges from them.

Why each setting (Squid's configuration manual and its wiki's "Reverse Proxy" and "Range Requests" pages):

* `http_port … accel` with one `cache_peer … originserver`: the wiki's basic accelerator.
* `range_offset_limit none`, `quick_abort_min -1`: a range makes it fetch, and go on fetching, the whole object; else
  nothing of ranges is cached at all.
* `cache_mem`, `maximum_object_size_in_memory`: the whole object in memory where warm bytes are to come from there.
* `cache_dir aufs` where they are to come from disk: files written and read by threads, the manual's choice for large
  objects (`rock` is for small ones).
* `refresh_pattern . 60 100% 1440`: the origin says nothing of freshness.
* `collapsed_forwarding on`: one request to the origin for what many want at once.
* `access_log none`, `cache_store_log none`, `pinger_enable off`, `via off`: nothing is written or sent a request.
* One worker, as every peer has one core.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.origin import BUCKET
from bench.peers import LARGE_MIB, SMALL_MEMORY_MIB, Running, Setup, Tier, told_version
from bench.programs import Program, ProgramFailed, free_port, give_to_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_CONFIGURATION: Final = """\
http_port 127.0.0.1:{port} accel defaultsite=origin no-vhost
cache_peer 127.0.0.1 parent {origin_port} 0 no-query no-digest originserver name=origin
acl everybody src all
http_access allow everybody
cache_mem {memory_mib} MB
maximum_object_size {size_mib} MB
maximum_object_size_in_memory {object_mib} MB
{storage}
range_offset_limit none
quick_abort_min -1 KB
refresh_pattern . 60 100% 1440
collapsed_forwarding on
client_persistent_connections on
server_persistent_connections on
client_idle_pconn_timeout 120 seconds
max_filedescriptors 16384
access_log none
cache_store_log none
via off
forwarded_for delete
pinger_enable off
pid_filename none
cache_effective_user nobody
cache_log {folder}/cache.log
coredump_dir none
shutdown_lifetime 0 seconds
"""


@dataclass(frozen=True, slots=True)
class Squid:
    """Whole objects."""

    name: str = "Squid"
    needs: Sequence[str] = ("squid",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of the program."""
        return told_version("squid", "-v")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin."""
        port, on_disk = free_port(), setup.tier == "disk"
        file = setup.folder / "squid.conf"
        file.write_text(
            _CONFIGURATION.format(
                folder=setup.folder,
                port=port,
                origin_port=setup.origin.port,
                memory_mib=SMALL_MEMORY_MIB if on_disk else LARGE_MIB,
                object_mib=1 if on_disk else LARGE_MIB,
                size_mib=LARGE_MIB,
                storage=f"cache_dir aufs {setup.folder}/cache {LARGE_MIB} 16 256" if on_disk else "",
            )
        )
        if os.geteuid() == 0:
            give_to_nobody(setup.folder)
        if on_disk:
            _make_folders(file)
        with Program(self.name, ["squid", "-N", "-f", file], setup.folder, cpu=setup.cpu) as program:
            program.wait_for(port)
            yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


def _make_folders(file: Path) -> None:
    done = subprocess.run(["squid", "-N", "-z", "-f", file], check=False, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise ProgramFailed(f"squid made no folders: {done.stderr[-500:]}")


PEER = Squid()
