"""Settings, frozen; the only reader of the environment.

Every setting is an environment variable `RETRIEVAL_<NAME>` of the field below, e.g. `RETRIEVAL_PORT=50051`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class UsageError(Exception):
    """What a command was given cannot be used; the message says what and why."""


class SettingsError(UsageError, ValueError):
    """A setting that cannot be used; the message names the variable."""


URL_FORM = "postgresql://role:password@host:5432/database, with @ : / # % in a password as %40 %3A %2F %23 %25"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_FRONTS = ("auto", "grpcio", "native")
_POSITIVE = (
    "workers",
    "search_connections",
    "write_connections",
    "max_in_flight",
    "max_heavy_in_flight",
    "heavy_concurrency",
    "max_streams",
    "max_message_bytes",
    "default_ef_search",
    "cache_max_staleness_ms",
    "cache_heartbeat_ms",
    "cache_delta_rows",
    "embedding_batch",
    "embedding_batch_characters",
    "embedding_concurrency",
)
_NOT_NEGATIVE = ("embedding_rpm", "embedding_tpm")
MIN_RETENTION_DAYS = 90
"""The longest window of what trends, and what a user's profile draws on."""
_RETENTIONS = {
    "event_retention_days": MIN_RETENTION_DAYS,
    "request_retention_days": 8,
    "change_log_retention_h": 1,
    "decision_retention_days": 1,
    "failed_job_retention_days": 1,
    "used_pair_retention_days": 1,
    "pair_retention_days": 1,
}
"""The least of each; a day above what the contract promises of requests, and an hour for a cache that was cut off."""
MIN_INDEX_CARE_S = 60.0
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings with their defaults. Raises: SettingsError for a value that cannot be."""

    database_url: str = ""
    """Postgres >= 15 with pgvector >= 0.8.4, as a URL. Empty: an embedded server under `data_dir`."""
    data_dir: Path = Path(".data")
    """Home of the embedded server."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 50051
    """Port to listen on; 0 picks a free one."""
    front: str = "auto"
    """What speaks HTTP/2: grpcio; native (pygrpc-native, several times the calls a second on a core, no TLS); or auto:
    native where it is installed and no TLS is asked for."""
    tls_certificate: Path = Path()
    """PEM file of the server's certificate, with those between it and its root. Empty: plain text."""
    tls_key: Path = Path()
    """PEM file of its key, without a password."""
    workers: int = 1
    """Processes that serve on the port. Connections and calls in flight are counted in each of them."""
    database_wait_s: float = 60.0
    """`serve` that starts while the database is away waits for it so long. 0: not at all."""
    search_connections: int = 8
    """Database connections for searches: more do not help once every core is busy."""
    write_connections: int = 6
    """Database connections for everything else."""
    statement_timeout_s: float = 60.0
    """Postgres ends a search statement after this, whatever became of the caller."""
    max_in_flight: int = 256
    """Searches, and writes, beyond this many at once are shed with RESOURCE_EXHAUSTED."""
    max_heavy_in_flight: int = 64
    """The same for heavy searches (candidates, batches, requests of more than 64 KiB) and for administration."""
    heavy_concurrency: int = 2
    """So many heavy searches, and administrative calls, run at a time; the others wait, and leave room for searches."""
    max_streams: int = 256
    """Streams beyond this many at once are shed; they take no places of other calls."""
    max_message_bytes: int = 8 * 1024 * 1024
    """Largest request or reply."""
    default_ef_search: int = 100
    """HNSW effort where a request does not say."""
    default_deadline_s: float = 30.0
    """Deadline of unary calls that come without one."""
    drain_s: float = 10.0
    """Time calls under way get to finish after SIGTERM."""
    admin_token: str = ""
    """Bearer token that allows `viewer.unrestricted`. Empty: nobody may."""
    maintenance_work_mem_mb: int = 1024
    """Memory of one index build; HNSW builds slow down several times once the graph outgrows it."""
    cache_memory_budget_bytes: int = -1
    """Memory of the FAISS cache: what fits is held in the order coarse indexes, vectors, attributes; the rest is
    refined in Postgres. -1: half of the machine's memory. 0: no cache."""
    cache_dir: Path = Path()
    """Folder of the cache's segments, shared by the processes of a host; safe to delete. `.`: `data_dir`/cache."""
    cache_max_staleness_ms: int = 2_000
    """A search without a token may miss writes that are at most this old; a cache that lags more is not asked."""
    cache_heartbeat_ms: int = 200
    """The cache looks for changes at least this often; usually a notification wakes it at once."""
    cache_delta_rows: int = 5_000
    """Changed rows held in memory before the next segment is built; more where a tenth of the segment is more."""
    event_retention_days: int = 400
    """Events are kept for so many days after they happened and were recorded, by whole months; 90 or more. 0: for
    good."""
    request_retention_days: int = 8
    """Receipts of requests with a request id are kept so long: the contract promises 7 days. 0: for good."""
    change_log_retention_h: int = 24
    """The change log is kept so many hours; a cache that is further behind reads its collections anew. 0: for good."""
    decision_retention_days: int = 90
    """Decisions of the bandit can be rewarded so long. 0: for good."""
    failed_job_retention_days: int = 7
    """Embedding jobs that failed for good are kept so long, with their errors. 0: for good."""
    used_pair_retention_days: int = 30
    """Training pairs are kept so long after they were made, where a registered model was made of them. 0: for good."""
    pair_retention_days: int = 400
    """All other training pairs. 0: for good."""
    index_care_interval_s: float = 3600.0
    """As often as this, tables of vectors are vacuumed and indexes rebuilt where they need it. 0: never."""
    trending_refresh_s: float = 30.0
    """Lists of what trends are made anew as often as this where events came; long ones take a rest in between."""
    embedding_url: str = ""
    """Base URL of a server that speaks OpenAI's protocol, e.g. https://api.openai.com/v1; it embeds texts with the
    models of `embedding_models`. Empty: only the local model does."""
    embedding_api_key: str = field(default="", repr=False)
    """Bearer token for it."""
    embedding_models: str = ""
    """Its models and how many components they have, `name:dimension[,name:dimension...]`."""
    embedding_rpm: int = 0
    """Requests a minute that a process sends it at most. 0: no limit."""
    embedding_tpm: int = 0
    """Tokens a minute, estimated at four bytes each. 0: no limit."""
    embedding_timeout_s: float = 30.0
    """A reply that takes longer is given up."""
    embedding_batch: int = 64
    """Texts in a request to it."""
    embedding_batch_characters: int = 200_000
    """Characters in a request to it; a longer text goes alone."""
    embedding_concurrency: int = 4
    """Requests to it at the same time, of each process."""
    embedding_lease_s: float = 60.0
    """A process that dies leaves the texts it was embedding to others after this; 1 or more."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    def __post_init__(self) -> None:
        for setting in _POSITIVE:
            if getattr(self, setting) < 1:
                raise SettingsError(f"RETRIEVAL_{setting.upper()} must be positive")
        for setting in _NOT_NEGATIVE:
            if getattr(self, setting) < 0:
                raise SettingsError(f"RETRIEVAL_{setting.upper()} must not be negative")
        if not self.database_wait_s >= 0:
            raise SettingsError("RETRIEVAL_DATABASE_WAIT_S must not be negative")
        if not self.embedding_timeout_s > 0:
            raise SettingsError("RETRIEVAL_EMBEDDING_TIMEOUT_S must be positive")
        if not self.embedding_lease_s >= 1:
            raise SettingsError("RETRIEVAL_EMBEDDING_LEASE_S must be at least 1")
        if bool(self.embedding_dimensions) != bool(self.embedding_url):
            raise SettingsError(
                "RETRIEVAL_EMBEDDING_URL and RETRIEVAL_EMBEDDING_MODELS go together: set both or neither"
            )
        for setting, least in _RETENTIONS.items():
            if (value := getattr(self, setting)) != 0 and value < least:
                raise SettingsError(f"RETRIEVAL_{setting.upper()} must be 0 (for good) or at least {least}")
        if self.index_care_interval_s != 0 and not self.index_care_interval_s >= MIN_INDEX_CARE_S:
            raise SettingsError(f"RETRIEVAL_INDEX_CARE_INTERVAL_S must be 0 (never) or at least {MIN_INDEX_CARE_S:g}")
        if not self.trending_refresh_s > 0:
            raise SettingsError("RETRIEVAL_TRENDING_REFRESH_S must be positive")
        if self.front not in _FRONTS:
            raise SettingsError(f"RETRIEVAL_FRONT={self.front!r} must be one of {', '.join(_FRONTS)}")
        if self.tls != (self.tls_key != Path()):
            raise SettingsError("RETRIEVAL_TLS_CERTIFICATE and RETRIEVAL_TLS_KEY go together: set both or neither")
        if not 0 <= self.port <= MAX_PORT:
            raise SettingsError(f"RETRIEVAL_PORT={self.port} must be 0 (any free one) to {MAX_PORT}")
        if self.log_level.upper() not in _LEVELS:
            raise SettingsError(f"RETRIEVAL_LOG_LEVEL={self.log_level!r} must be one of {', '.join(_LEVELS)}")
        if self.database_url and not _is_database_url(self.database_url):
            # Without the URL, which may hold a password.
            raise SettingsError(f"RETRIEVAL_DATABASE_URL must look like {URL_FORM}")

    @property
    def tls(self) -> bool:
        """Whether TLS is asked for."""
        return self.tls_certificate != Path()

    @property
    def embedding_dimensions(self) -> dict[str, int]:
        """Dimension by model of `embedding_models`. Raises: SettingsError."""
        found: dict[str, int] = {}
        for entry in filter(None, map(str.strip, self.embedding_models.split(","))):
            # Names may contain colons: `nomic-embed-text:v1.5:768`.
            name, _, dimension = entry.rpartition(":")
            if not name or not dimension.isascii() or not dimension.isdigit() or int(dimension) < 1:
                raise SettingsError(f"RETRIEVAL_EMBEDDING_MODELS: {entry!r} is not name:dimension")
            found[name] = int(dimension)
        return found

    @property
    def segment_dir(self) -> Path:
        """Where the cache keeps its segments."""
        return self.data_dir / "cache" if self.cache_dir == Path() else self.cache_dir

    @property
    def cache_bytes(self) -> int:
        """The memory budget of the cache in bytes; 0: no cache."""
        if self.cache_memory_budget_bytes >= 0:
            return self.cache_memory_budget_bytes
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _is_database_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in {"postgresql", "postgres"}:
        return False
    # Several hosts are one authority to urlsplit: host:port,host:port.
    ports = (host.rpartition(":")[2] for host in parts.netloc.rpartition("@")[2].split(",") if ":" in host)
    return all(port.endswith("]") or (port.isdecimal() and 0 < int(port) <= MAX_PORT) for port in ports)


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment` (the process's by default). Raises: SettingsError."""
    source = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for setting in fields(Settings):
        name = f"RETRIEVAL_{setting.name.upper()}"
        text = source.get(name)
        if text is None:
            continue
        try:
            values[setting.name] = {"int": int, "float": float, "Path": Path, "str": str}[str(setting.type)](text)
        except ValueError as error:
            raise SettingsError(f"{name}={text!r} is not a valid {setting.type}") from error
    return Settings(**values)  # type: ignore[arg-type]


def to_environment(settings: Settings) -> dict[str, str]:
    """The environment from which another process loads the same settings."""
    return {f"RETRIEVAL_{f.name.upper()}": str(getattr(settings, f.name)) for f in fields(settings)}
