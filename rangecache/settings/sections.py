"""Every setting, a docstring under each: what it means, its unit, what null does, why the default is what it is.

Names are the keys of the configuration file. Sizes are bytes and durations are seconds once they are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rangecache.patterns import Pattern
from rangecache.settings.fields import (
    GIB,
    KIB,
    MIB,
    ONE_IS_A_LIST,
    Bytes,
    HostName,
    ListenAddress,
    LocalPath,
    ObjectPattern,
    OriginUrl,
    ProviderName,
    Seconds,
    Section,
    between,
    lasting,
    sized,
)
from rangecache.settings.providers import AzureProvider, GcsProvider, HttpProvider, Provider, S3Provider
from rangecache.settings.throttle import Throttle
from rangecache.settings.units import TcpAddress, format_size, parse_duration, parse_size

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0

HTTP_FIRST_BYTE_TIMEOUT_S: Final = 30.0  # web servers often make an answer only when asked; object stores have it

Ttl = float | Literal["immutable", "origin"]


def _read_ttl(value: Any) -> Any:
    if value in ("immutable", "origin") or isinstance(value, int | float):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{error}; or `origin`, or `immutable`") from None


def _read_min_free(value: Any) -> Any:
    if value == "auto" or isinstance(value, int):
        return value
    try:
        return parse_size(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{error}; or `auto`") from None


def _power_of_two(value: int) -> int:
    if not 4 * KIB <= value <= 16 * MIB or value & (value - 1):
        raise ValueError(f"expected a power of two from 4KiB to 16MiB, got {format_size(value)}")
    return value


class Auth(Section):
    """Who may use the data port."""

    mode: Literal["none", "external"] = "none"
    """`none`: whoever can connect; only for loopback addresses. `external`: something in front of us, such as a service
    mesh, lets only the right clients connect; we check nothing ourselves and say so at the start."""


class Server(Section):
    """The ports, and what one client may cost."""

    listen: ListenAddress = TcpAddress("127.0.0.1", 8080)
    """Where objects are served: `host:port`, `[IPv6]:port` or `unix:/path.sock`; port 0 takes a free one. Loopback by
    default, as whoever can connect reads with our credentials."""
    admin_listen: ListenAddress = TcpAddress("127.0.0.1", 8081)
    """Where statistics, metrics and health are served, and the cache can be looked into."""
    health_listen: ListenAddress | None = None
    """A port with `/livez`, `/readyz` and `/metrics` alone, for kubelet and Prometheus; such as `0.0.0.0:9464`. null:
    none; the admin port has the same."""
    hosts: Annotated[tuple[HostName, ...], ONE_IS_A_LIST] = ()
    """Further `Host` values to accept, besides loopback names and the bind address. Every other one is refused, so that
    no web page can reach us under a name of its own."""
    auth: Auth = Auth()
    """Who may use the data port."""
    max_ranges: Annotated[int, between(1, 10_000)] = 256
    """Ranges that one request may ask for; more are answered with 416. A request may be long, but not make an
    answer of a hundred thousand parts."""
    max_connections: Annotated[int, between(1, 1_000_000)] = 4096
    """Client connections at one time; the next one gets 503. GDAL alone opens one for each range that it reads in
    parallel."""
    header_timeout: Annotated[Seconds, lasting(0.1, HOUR)] = 15.0
    """How long a request's head may take from its first byte to its last."""
    keepalive_timeout: Annotated[Seconds, lasting(0.1, DAY)] = 120.0
    """How long a connection may be idle between requests. Clients' pools keep theirs up to 118 s (libcurl): with
    a shorter time connections would close just as they are used again."""
    send_timeout: Annotated[Seconds, lasting(0.1, HOUR)] = 60.0
    """A client that takes no byte of its answer for so long is cut off."""
    send_buffer: Annotated[Bytes, sized(1 * MIB, 64 * GIB)] = 64 * MIB
    """Bytes that wait for slow clients, all clients together."""
    request_timeout: Annotated[Seconds, lasting(0.1, DAY)] = 5 * MINUTE
    """How long an answer's first byte may take before the client gets 504."""
    shutdown_grace: Annotated[Seconds, lasting(0, HOUR)] = 30.0
    """After SIGTERM, how long answers under way may go on. 0s: they are cut."""


class MemoryTier(Section):
    """The quickest tier: blocks in this program's memory."""

    size: Annotated[Bytes, sized(0, 1 << 50)] = 256 * MIB
    """Bytes of blocks that are kept; at least one block. What is under way and waits for clients comes on top."""


class DiskTier(Section):
    """The tier that survives a restart: blocks as files."""

    enabled: bool = True
    """false: nothing is kept on disk."""
    path: LocalPath = Path("~/.cache/rangecache")
    """The folder, made at first use. One program at a time uses it; a second one serves without this tier."""
    size: Annotated[Bytes, sized(0, 1 << 60)] = 10 * GIB
    """Bytes of blocks that are kept; at least one block."""
    min_free: Annotated[Literal["auto"] | Bytes, BeforeValidator(_read_min_free)] = "auto"
    """Space of the file system that is left to others, besides a tenth of its inodes. `auto`: the larger of 1 GiB and
    5 %."""


class Cache(Section):
    """What is kept, and where."""

    block_size: Annotated[Bytes, AfterValidator(_power_of_two)] = 256 * KIB
    """The unit of caching, a power of two from 4 KiB to 16 MiB. 256 KiB holds a tile of most COGs. Smaller blocks mean
    more requests, larger ones more bytes that nobody reads. Another size makes what is on disk unreachable, until it is
    evicted."""
    memory: MemoryTier = MemoryTier()
    """The memory tier."""
    disk: DiskTier = Field(default_factory=DiskTier)  # made when needed: its path depends on the user's home
    """The disk tier."""


class FreshnessRule(Section):
    """How long objects of one pattern may be served before the origin is asked whether they have changed."""

    match: ObjectPattern
    """A pattern over `provider/bucket/key`: `*` within a segment, `**` for any number of segments."""
    ttl: Annotated[Literal["immutable", "origin"] | Seconds, BeforeValidator(_read_ttl)]
    """A duration; or `origin`: what the origin's CDN-Cache-Control, Cache-Control or Expires says, as RFC 9111 has it
    for a shared cache; or `immutable`: never asked again. A duration and `immutable` overrule all that the origin
    says."""


class Defaults(Section):
    """What happens at the edges of freshness."""

    stale_while_revalidate: Annotated[Seconds, lasting(0, 365 * DAY)] = 10.0
    """So long after its time an object is still served at once, while the origin is asked. 0s: never. For `ttl: origin`
    the origin's own `stale-while-revalidate` counts; where it gives none, a value that is set here does, and the
    built-in one does not, as RFC 9111 wants to be asked."""
    stale_if_error: Annotated[Seconds, lasting(0, 365 * DAY)] = DAY
    """So long after its time an object is still served where the origin cannot be asked, or says 5xx. 0s: never. For
    `ttl: origin` the origin's own `stale-if-error` goes before, and `must-revalidate`, `proxy-revalidate`, `s-maxage`
    and `no-cache` forbid it."""
    negative_ttl: Annotated[Seconds, lasting(0, HOUR)] = 2.0
    """How long "there is no such object" is remembered. Short: Zarr takes it for empty data. For `ttl: origin` the
    lifetime that the origin gives its 404 goes before, up to a minute. 0s: not at all, whatever the origin says."""
    listing_ttl: Annotated[Seconds, lasting(0, HOUR)] = 2.0
    """How long the listing of a directory is told, and never longer than `negative_ttl`: what it does not name is taken
    for absent. 0s: the origin is asked each time."""


class Prefetch(Section):
    """Reading ahead of readers whose way can be told from their reads, and within one large answer."""

    max_window: Annotated[Bytes, sized(0, 1 * GIB)] = 16 * MIB
    """How far ahead of one reader who reads forward, backward or at equal distances is fetched at most. It begins with
    one block and doubles as long as the reader goes on. 0: nothing is fetched ahead of requests."""
    memory: Annotated[Bytes, sized(64 * KIB, 64 * GIB)] = 64 * MIB
    """Bytes, all readers together, that may have been fetched before their reader came to them."""


class MinRate(Section):
    """Below this an origin's answer counts as stuck, and is asked for again from where it stopped."""

    bytes: Annotated[Bytes, sized(0, 1 * GIB)] = 16 * KIB
    """Bytes that must come within `over`. 0: no lower bound."""
    over: Annotated[Seconds, lasting(0.1, HOUR)] = 10.0
    """The time that they may take."""


class Fetch(Section):
    """How bytes are fetched from origins."""

    max_request: Annotated[Bytes, sized(4 * KIB, 256 * MIB)] = 8 * MIB
    """Missing blocks that are neighbours become one ranged GET of at most this size; a multiple of
    `cache.block_size`."""
    gap: Annotated[int, between(0, 64)] = 1
    """Blocks that are there already and are fetched once more if that makes one GET of two."""
    prefetch: Prefetch = Prefetch()
    """Reading ahead."""
    connect_timeout: Annotated[Seconds, lasting(0.01, HOUR)] = 2.0
    """How long a connection to an origin may take, TLS included."""
    first_byte_timeout: Annotated[Seconds, lasting(0.01, HOUR)] = 10.0
    """How long the first byte of an origin's answer may take. Where it is not set, `http` providers have 30s, as web
    servers often make an answer only when they are asked."""
    min_rate: MinRate = MinRate()
    """The slowest that an origin may be."""
    attempts: Annotated[int, between(1, 10)] = 3
    """Requests for the same bytes in all, the first included, while `budget` allows."""
    hedge: bool = False
    """true: where an answer's first byte takes longer than all but the slowest hundredth of the last minute did, and
    100ms, the same is asked for once more on a new connection, and the first answer counts. At most 1 % more requests,
    from `budget`."""


class Budget(Section):
    """One ledger for the repeats of all providers, so that an origin in trouble is not asked more but less."""

    ratio: Annotated[float, Field(allow_inf_nan=False), between(0, 1)] = 0.1
    """Repeats that each first request adds to the ledger: 0.1 is one in ten."""
    min_per_second: Annotated[float, Field(allow_inf_nan=False), between(0, 1000)] = 1.0
    """Repeats that each second adds, so that a quiet proxy may repeat too."""
    burst: Annotated[int, between(0, 100_000)] = 100
    """Repeats that the ledger holds at most, and at the start."""


class Egress(Section):
    """The way out. The environment's `HTTP_PROXY` and the like are not used: what is set here holds."""

    proxy: OriginUrl | None = None
    """An HTTP proxy for all requests to origins, such as `http://proxy.example.org:3128`. null: none."""
    ca_file: LocalPath | None = None
    """Certificates (PEM) to trust in place of the system's. null: the system's."""


class Access(Section):
    """What may be read at all."""

    allow: Annotated[tuple[ObjectPattern, ...], ONE_IS_A_LIST] = ("**",)
    """Patterns over `provider/bucket/key`; what none of them matches is answered with 403, cached or not. Has to be
    written out when `server.listen` is not a loopback address. An empty list allows nothing."""


class Telemetry(Section):
    """What is written about the work."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important messages that are written. `debug` does not print headers or secrets either."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json`: an object a line. `text`: for people. `auto`: text on a terminal, json elsewhere."""
    access_log: Literal["all", "sampled", "off"] = "sampled"
    """Which requests get a line. `sampled`: the failed ones, those of a second or more, and one in a hundred of the
    others."""


def _default_providers() -> dict[str, Provider]:
    return {"s3": S3Provider(kind="s3"), "gs": GcsProvider(kind="gcs"), "az": AzureProvider(kind="azure")}


class Settings(Section):
    """The whole configuration."""

    server: Server = Server()
    cache: Cache = Field(default_factory=Cache)
    freshness: tuple[FreshnessRule, ...] = ()
    """The first rule that matches an object holds for it. After them come: `zarr.json`, `.zarray`, `.zgroup`,
    `.zattrs`, `.zmetadata`, `*.vrt` and `*.json` at any depth 1s; all of an `http` provider `origin`; all else 60s."""
    defaults: Defaults = Defaults()
    fetch: Fetch = Fetch()
    budget: Budget = Budget()
    throttle: Throttle = Throttle()
    """How fast origins are asked at most, all providers together."""
    egress: Egress = Egress()
    providers: dict[ProviderName, Provider] = Field(default_factory=_default_providers)
    """Where objects come from, by the name that is the first part of a request's path. Without any entry there are
    `s3` (AWS), `gs` (Google Cloud Storage) and `az` (Azure Blob), with the credentials of this machine's environment,
    unsigned where there are none."""
    access: Access = Access()
    telemetry: Telemetry = Telemetry()

    def freshness_rules(self) -> list[tuple[Pattern, Ttl]]:
        """The rules in order, those built in after the configured ones. The last one matches everything."""
        rules: list[tuple[Pattern, Ttl]] = [(Pattern(rule.match), rule.ttl) for rule in self.freshness]
        rules += [(Pattern(f"**/{name}"), 1.0) for name in _METADATA_NAMES]
        for name, provider in self.providers.items():
            if isinstance(provider, HttpProvider):
                rules.append((Pattern(f"{name}/**"), "origin"))
        return [*rules, (Pattern("**"), MINUTE)]

    def stale_while_revalidate(self, ttl: Ttl) -> float:
        """Seconds for objects of that rule, where their origin says nothing."""
        unasked = ttl == "origin" and "stale_while_revalidate" not in self.defaults.model_fields_set
        return 0.0 if unasked else self.defaults.stale_while_revalidate

    def first_byte_timeout(self, provider: str, bucket: str) -> float:
        """Seconds that the first byte of an answer may take, for a bucket of a configured provider."""
        configured = self.providers[provider]
        own = None if configured.kind == "file" or configured.kind == "failover" else configured.buckets.get(bucket)
        if own is not None and own.first_byte_timeout is not None:
            return own.first_byte_timeout
        if configured.kind == "http" and "first_byte_timeout" not in self.fetch.model_fields_set:
            return HTTP_FIRST_BYTE_TIMEOUT_S
        return self.fetch.first_byte_timeout

    def redacted(self) -> dict[str, Any]:
        """Everything, as plain JSON values in the units of the configuration file, secrets masked."""
        return self.model_dump(mode="json")


# What describes a Zarr or a mosaic is small and is rewritten in place, while chunks and tiles hardly ever are.
_METADATA_NAMES: Final = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata", "*.vrt", "*.json")
