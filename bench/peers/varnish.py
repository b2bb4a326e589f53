"""Varnish, which fetches whole objects and answers ranges from them.

Why each setting (the Varnish Users Guide, "Storage backends" and "Important command line arguments"; varnishd(1)):

* `-s malloc,SIZE`: objects in memory, the recommended storage. Where bytes are to come from disk, `-s file`: the one
  storage of the open-source version that is on disk; a file mapped into memory.
* `beresp.ttl`: the origin says nothing of freshness.
* `do_stream` is on by default: a client has the first bytes while the rest is fetched.
* `thread_pool_min=200`, one pool: the guide's advice to have threads ready; one pool as there is one core.
* `timeout_idle=120`: connections of waiting clients stay open.
* `-j none`: no change of user, as the folder is ours. `-n`: a working directory of its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.origin import BUCKET
from bench.peers import LARGE_MIB, Running, Setup, Tier, told_version
from bench.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_VCL: Final = """\
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{port}"; .first_byte_timeout = 60s; }}
sub vcl_backend_response {{ set beresp.ttl = 1h; set beresp.grace = 1h; }}
"""
_PARAMETERS: Final = ("thread_pools=1", "thread_pool_min=200", "thread_pool_max=4000", "timeout_idle=120")


@dataclass(frozen=True, slots=True)
class Varnish:
    """Whole objects."""

    name: str = "Varnish"
    needs: Sequence[str] = ("varnishd",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of the program."""
        return told_version("varnishd", "-V")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin."""
        port = free_port()
        vcl = setup.folder / "default.vcl"
        vcl.write_text(_VCL.format(port=setup.origin.port))
        storage = f"malloc,{LARGE_MIB}m" if setup.tier == "memory" else f"file,{setup.folder}/storage,{LARGE_MIB}m"
        command: list[str | Path] = ["varnishd", "-F", "-j", "none", "-n", setup.folder / "work", "-T", "none"]
        command += ["-a", f"127.0.0.1:{port}", "-f", vcl, "-s", storage]
        for parameter in _PARAMETERS:
            command += ["-p", parameter]
        with Program(self.name, command, setup.folder, cpu=setup.cpu) as program:
            program.wait_for(port)
            yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


PEER = Varnish()
