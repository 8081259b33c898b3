"""What options do: from ``server.config`` to the parts that go by a copy, at the start and after CONFIG SET.

Most code asks the configuration where it needs an option.  Here is the rest:

- values that the hot path keeps copies of (``Server.limits``, ``Tx.max_bulk_bytes``,
  the thresholds of data types);
- parts that must be told (the log's writer, the logger, clients without a password);
- changes that cannot be had while the server runs: refused, with the reason.

``bind_config`` is called once, before the first client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.server import process_stats
from perdure.server.commands.clients import describe_client
from perdure.server.config import ConfigError
from perdure.server.options import BY_NAME, WARNED
from perdure.store.value_types import DEFAULT_LIMITS

if TYPE_CHECKING:
    from perdure.server.config import Config
    from perdure.server.listeners import Listeners
    from perdure.server.server import Server

_ENDLESS = 1 << 62
RESERVED_FILES = 32
"""Files that are open beside the clients' connections: the log, listeners ..."""

_TYPE_LIMITS = (
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "list-max-listpack-size",
    "list-compress-depth",
    "set-max-intset-entries",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "hll-sparse-max-bytes",
    "stream-node-max-bytes",
    "stream-node-max-entries",
)

TLS_OPTIONS = (
    "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients",
    "tls-protocols", "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers", "tls-session-caching",
    "tls-session-cache-size", "tls-session-cache-timeout", "tls-dh-params-file", "tls-client-cert-file",
    "tls-client-key-file", "tls-client-key-file-pass", "tls-cluster", "tls-replication",
)  # fmt: skip
"""Options that another TLS context is made for."""

TOO_MANY_CLIENTS = "The operating system is not able to handle the specified number of clients, try with %d"


def bind_config(server: Server) -> None:
    """Apply every option that somebody keeps a copy of, and keep the copies right from now on."""
    config = server.config
    hooks = _hooks(server)
    for name, hook in hooks.items():
        config.on_change(name, hook)
        hook(config[name])
    _bind_log(server)
    config.on_change("appendonly", server.rewriter.switch)
    server.acl.client_line = lambda client: describe_client(server.tx, client)
    server.acl.set_default_password(config["requirepass"])
    config.on_change("requirepass", server.acl.set_default_password)
    _bind_max_clients(server)
    for name in WARNED:
        if BY_NAME[name].mutable:
            config.on_change(name, _warns(server, name))


def bind_listeners(config: Config, listeners: Listeners) -> None:
    """Have listeners follow their options."""
    config.on_change("port", listeners.port_changed)
    config.on_change("tls-port", listeners.tls_port_changed)
    config.on_change("bind", listeners.bind_changed)
    for name in TLS_OPTIONS:
        config.on_change(name, listeners.tls_changed)


def _hooks(server: Server) -> dict[str, Callable[[Any], None]]:
    """Options of which there is a copy: what sets it."""

    def max_bulk(value: int) -> None:
        server.limits.max_bulk_bytes = server.tx.max_bulk_bytes = value

    def max_query(value: int) -> None:
        server.limits.max_query_bytes = value

    def output_limits(value: dict[str, tuple[int, int, int]]) -> None:
        hard, soft, _ = value["pubsub"]
        server.limits.output = value
        server.limits.listener_check_bytes = min(hard or _ENDLESS, soft or _ENDLESS)

    def tracked_keys(value: int) -> None:
        server.engine.tracker.max_keys = value

    def type_limit(name: str) -> Callable[[int], None]:
        def hook(value: int) -> None:
            server.type_limits[name] = value

        return hook

    timings = server.engine.timings
    memory = server.engine.max_memory
    hooks: dict[str, Callable[[Any], None]] = {
        "proto-max-bulk-len": max_bulk,
        "client-query-buffer-limit": max_query,
        "client-output-buffer-limit": output_limits,
        "loglevel": server.log.set_level,
        "maxmemory-policy": memory.set_policy,
        "maxmemory": memory.set_limit,
        "maxmemory-eviction-tenacity": memory.set_tenacity,
        "maxmemory-samples": lambda value: setattr(memory.evictor, "samples", value),
        "lfu-log-factor": lambda value: setattr(memory.rules, "log_factor", value),
        "lfu-decay-time": lambda value: setattr(memory.rules, "decay_minutes", value),
        "notify-keyspace-events": server.engine.notifications.configure,
        "tracking-table-max-keys": tracked_keys,
        "slowlog-log-slower-than": timings.log_slower_than,
        "slowlog-max-len": timings.keep_slow,
        "latency-monitor-threshold": timings.monitor_from,
        "latency-tracking": timings.track,
        "save": server.saves.look,
        "stop-writes-on-bgsave-error": server.saves.look,
    }
    for name in {*_TYPE_LIMITS, *DEFAULT_LIMITS}:
        hooks[name] = type_limit(name)
    return hooks


def _bind_log(server: Server) -> None:
    """The writer takes its options when it is opened; there is none before, and with ``appendonly no``."""

    def policy(value: str) -> None:
        if hasattr(server.writer, "set_policy"):
            server.engine.in_command = True
            try:
                server.writer.set_policy(value)
            finally:
                server.engine.in_command = False

    def timestamps(value: bool) -> None:
        if hasattr(server.writer, "set_timestamps"):
            server.writer.set_timestamps(value)

    server.config.on_change("appendfsync", policy)
    server.config.on_change("aof-timestamp-enabled", timestamps)


def _bind_max_clients(server: Server) -> None:
    """As many files as clients may be open; what the system does not allow is said, and refused at run time."""

    def hook(value: int) -> None:
        most = process_stats.can_open_files(value + RESERVED_FILES)
        if most < value + RESERVED_FILES:
            raise ConfigError(TOO_MANY_CLIENTS % max(most - RESERVED_FILES, 0))

    try:
        hook(server.config["maxclients"])
    except ConfigError as refusal:
        server.log.warning(f"maxclients {server.config['maxclients']}: {refusal.text}")
    server.config.on_change("maxclients", hook)


def _warns(server: Server, name: str) -> Callable[[Any], None]:
    nothing, reason = WARNED[name]

    def hook(value: Any) -> None:
        if value != nothing:
            server.log.warning(f"'{name}' is set, but {reason}")

    return hook
