"""Apache Traffic Server with its slice and cache_range_requests plugins.

Why each setting (the Administrator's Guide: "Slice Plugin", "Cache Range Requests Plugin", records.config, "Performance
Tuning"):

* `slice.so --blockbytes=1m` followed by `cache_range_requests.so`: the slice plugin's own example, with its default
  size.
* `ram_cache.size`: all of the object in memory where warm bytes are to come from there, next to nothing for disk;
  `ram_cache.algorithm 1` is the plain LRU, which the guide has for the fastest.
* `http.cache.required_headers 0`: objects without freshness are cached; `ttl` by `heuristic` times of an hour.
* `log.logging_enabled 0`, `diags` quiet: nothing is written a request.
* One event thread (`exec_thread.autoconfig 0`, `limit 1`), as every peer has one core.
* `keep_alive_no_activity_timeout_in 120`: connections of waiting clients stay open.
* `admin.user_id #-1`: no change of user, as the folder is ours.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.origin import BUCKET
from bench.peers import LARGE_MIB, SMALL_MEMORY_MIB, Running, Setup, Tier, told_version
from bench.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LIBRARIES: Final = Path("/usr/lib/trafficserver")
_LAYOUT: Final = """\
prefix: {folder}
exec_prefix: {folder}
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: {folder}/etc
datadir: {folder}/cache
includedir: /usr/include
libdir: {libraries}
libexecdir: {libraries}/modules
localstatedir: {folder}
runtimedir: {folder}/run
logdir: {folder}/log
cachedir: {folder}/cache
"""
_RECORDS: Final = """\
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.url_remap.pristine_host_hdr INT 0
CONFIG proxy.config.http.cache.http INT 1
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.http.cache.heuristic_min_lifetime INT 3600
CONFIG proxy.config.http.cache.heuristic_max_lifetime INT 86400
CONFIG proxy.config.cache.ram_cache.size INT {ram}
CONFIG proxy.config.cache.ram_cache.algorithm INT 1
CONFIG proxy.config.cache.ram_cache_cutoff INT 16777216
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 120
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.diags.output.diag STRING E
CONFIG proxy.config.diags.output.error STRING E
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.net.connections_throttle INT 16000
CONFIG proxy.config.http.insert_response_via_str INT 0
"""
_REMAP: Final = "map / http://{origin}/ @plugin=slice.so @pparam=--blockbytes=1m @plugin=cache_range_requests.so\n"


@dataclass(frozen=True, slots=True)
class TrafficServer:
    """Slices on disk, the warm ones in its own memory too."""

    name: str = "Traffic Server"
    needs: Sequence[str] = ("traffic_server",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of the program."""
        return told_version("traffic_server", "--version")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin."""
        port = free_port()
        ram_mib = LARGE_MIB if setup.tier == "memory" else SMALL_MEMORY_MIB
        for name in ("etc", "cache", "run", "log"):
            (setup.folder / name).mkdir()
        layout = setup.folder / "runroot.yaml"
        layout.write_text(_LAYOUT.format(folder=setup.folder, libraries=_LIBRARIES))
        files = {
            "records.config": _RECORDS.format(port=port, ram=ram_mib << 20),
            "remap.config": _REMAP.format(origin=setup.origin.address),
            "storage.config": f"{setup.folder}/cache {LARGE_MIB}M\n",
            "ip_allow.yaml": "ip_allow:\n  - {apply: in, ip_addrs: [127.0.0.1], action: allow, methods: ALL}\n",
            "plugin.config": "",
        }
        for name, text in files.items():
            (setup.folder / "etc" / name).write_text(text)
        environment = {"TS_RUNROOT": os.fspath(layout)}
        command = ["traffic_server", f"--run-root={layout}"]
        with Program(self.name, command, setup.folder, cpu=setup.cpu, environment=environment) as program:
            program.wait_for(port)
            yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


PEER = TrafficServer()
