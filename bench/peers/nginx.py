"""nginx with the slice module, as its documentation recommends for ranges of large files.

Why each setting (ngx_http_slice_module, ngx_http_proxy_module, ngx_http_core_module):

* `slice 1m` with `$slice_range` in the cache key and the Range header: the example of the slice module's page.
* `proxy_http_version 1.1`, an empty `Connection` and `keepalive` in the upstream: connections to the origin are kept.
* `proxy_cache_lock on`: one request to the origin for a slice that many want at once.
* `proxy_cache_path … use_temp_path=off`: no copy between file systems. `levels=1:2` as in all examples.
* `sendfile on`: bytes go from the page cache to the socket without passing the process. Not `tcp_nopush on`, which goes
  with it in many examples: on loopback its answers of 64 KiB took 44 ms each.
* `open_file_cache`: descriptors of cached slices stay open, which saves an open and a close each time.
* `proxy_buffers 16 64k`: fewer and larger reads from the origin than with 4 KiB buffers.
* `keepalive_requests` large: the default of 1,000 would make clients connect again and again.
* `access_log off`: nothing is written a request, as its users do for speed. rangecache's log stays on.
* One worker, as every peer has one core.
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

_CONFIGURATION: Final = """\
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off; {user}
events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/octet-stream;
  client_body_temp_path {folder}/client; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  sendfile on; keepalive_requests 10000000; keepalive_timeout 120s;
  open_file_cache max=10000 inactive=10m; open_file_cache_valid 10m;
  {http}
}}
"""
_SLICES: Final = """\
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=slices:32m max_size={size_mib}m inactive=1h use_temp_path=off;
  upstream origin {{ server {origin}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    location / {{
      slice 1m;
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache slices; proxy_cache_key $uri$is_args$args$slice_range; proxy_set_header Range $slice_range;
      proxy_cache_valid 200 206 1h; proxy_cache_lock on; proxy_buffers 16 64k; proxy_buffer_size 64k;
      proxy_busy_buffers_size 128k;
    }}
  }}
"""


@contextmanager
def running_nginx(name: str, setup: Setup, port: int, http: str) -> Iterator[Running]:
    """One with this inside `http {…}`, in the foreground."""
    import os

    user = "user root;" if os.geteuid() == 0 else ""
    file: Path = setup.folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=setup.folder, user=user, http=http))
    command: list[str | Path] = ["nginx", "-e", setup.folder / "error.log", "-p", setup.folder, "-c", file]
    with Program(name, command, setup.folder, cpu=setup.cpu) as program:
        program.wait_for(port)
        yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


@dataclass(frozen=True, slots=True)
class Nginx:
    """Its cache is in files: what is warm is in the kernel's page cache."""

    name: str = "nginx slice"
    needs: Sequence[str] = ("nginx",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of the program."""
        return told_version("nginx", "-v")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin."""
        port = free_port()
        http = _SLICES.format(folder=setup.folder, size_mib=LARGE_MIB, origin=setup.origin.address, port=port)
        with running_nginx(self.name, setup, port, http) as running:
            yield running


PEER = Nginx()
