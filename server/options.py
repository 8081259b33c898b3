"""The table of options: every parameter of a redis-server 7.0 redis.conf, with its type, default and bounds.

One row an option.  Names, aliases, defaults, bounds and words are stock's, so a
redis.conf written for stock is understood whole and CONFIG GET shows it whole;
``OURS`` names the defaults that differ, and why.  What an option does, if it
does anything here, is known to the code that reads it and not to this table.
How a kind of value is read and printed is in ``option_values``.

An alias is a name of its own, as in stock: ``CONFIG GET *`` prints both, and a
CONFIG SET may name both at once (the later one wins).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1
UINT_MAX: Final = 2**32 - 1
LONG_MAX: Final = 2**63 - 1
ULONG_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Option:
    """One option.  ``default`` is the typed value that ``Config`` hands out (see ``option_values``)."""

    name: str
    kind: str  # a key of option_values.KINDS
    default: Any
    aliases: tuple[str, ...] = ()
    low: int = 0
    high: int = LONG_MAX
    words: tuple[str, ...] = ()
    check: str = ""  # a key of option_values.CHECKS: one more rule about the value
    mutable: bool = True  # CONFIG SET may change it
    protected: bool = False  # ... only if enable-protected-configs allows
    hidden: bool = False  # CONFIG GET shows it only when asked by its exact name
    sensitive: bool = False  # the value is a secret: never logged
    multi: bool = False  # takes several words; one quoted word is split at blanks
    volatile: bool = False  # CONFIG SET to the same value is a change, too: what it names can have changed
    deny_loading: bool = False  # CONFIG SET refuses it while the data is being loaded


def _bools(default: bool, names: str, **more: Any) -> list[Option]:
    """One bool option a word; ``a=b`` gives a the alias b."""
    rows = []
    for word in names.split():
        name, _, alias = word.partition("=")
        rows.append(Option(name, "bool", default, (alias,) if alias else (), **more))
    return rows


def _number(name: str, default: int, low: int = 0, high: int = INT_MAX, alias: str = "", **more: Any) -> Option:
    return Option(name, more.pop("kind", "int"), default, (alias,) if alias else (), low, high, **more)


def _memory(name: str, default: int, low: int = 0, high: int = LONG_MAX, alias: str = "", **more: Any) -> Option:
    return _number(name, default, low, high, alias, kind="memory", **more)


def _texts(names: str, **more: Any) -> list[Option]:
    """One text option a word, empty by default; ``a=b`` gives a the default b."""
    rows = []
    for word in names.split():
        name, _, default = word.partition("=")
        rows.append(Option(name, "text", default, **more))
    return rows


def _enum(name: str, words: str, default: str, **more: Any) -> Option:
    return Option(name, "enum", default, words=tuple(words.split()), **more)


_GENERAL: list[Option] = [
    *_bools(False, "daemonize always-show-logo syslog-enabled cluster-enabled", mutable=False),
    *_bools(True, "set-proc-title disable-thp rdbchecksum", mutable=False),
    *_bools(True, "protected-mode activerehashing dynamic-hz jemalloc-bg-thread crash-log-enabled"),
    *_bools(True, "crash-memcheck-enabled latency-tracking"),
    *_bools(False, "lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del"),
    *_bools(False, "lazyfree-lazy-user-flush activedefrag"),
    *_bools(False, "use-exit-on-panic", hidden=True),
    *_bools(False, "io-threads-do-reads", mutable=False),
    *_bools(False, "lua-enable-deprecated-api", hidden=True, mutable=False),
    _number("databases", 16, 1, mutable=False),
    _number("io-threads", 1, 1, 128, mutable=False),
    _number("hz", 10, 0, check="hz"),
    _number("active-expire-effort", 1, 1, 10),
    _number("shutdown-timeout", 10),
    _number("watchdog-period", 0, hidden=True),
    _number("maxmemory-samples", 5, 1),
    _number("maxmemory-eviction-tenacity", 10, 0, 100),
    _number("lfu-log-factor", 10),
    _number("lfu-decay-time", 1),
    _number("active-defrag-cycle-min", 1, 1, 99),
    _number("active-defrag-cycle-max", 25, 1, 99),
    _number("active-defrag-threshold-lower", 10, 0, 1000),
    _number("active-defrag-threshold-upper", 100, 0, 1000),
    _number("active-defrag-max-scan-fields", 1000, 1, LONG_MAX),
    _memory("active-defrag-ignore-bytes", 100 << 20, 1),
    _memory("maxmemory", 0, 0, ULONG_MAX),
    Option("maxmemory-clients", "percent", 0, low=-100),
    _number("slowlog-log-slower-than", 10_000, -1, LONG_MAX),
    _number("slowlog-max-len", 128, 0, LONG_MAX),
    _number("acllog-max-len", 128, 0, LONG_MAX),
    _number("latency-monitor-threshold", 0, 0, LONG_MAX),
    _number("busy-reply-threshold", 5000, 0, LONG_MAX, "lua-time-limit"),
    _number("tracking-table-max-keys", 1_000_000, 0, LONG_MAX),
    _enum(
        "maxmemory-policy",
        "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction",
        "noeviction",
    ),
    _enum("loglevel", "debug verbose notice warning", "notice"),
    _enum("supervised", "upstart systemd auto no", "no", mutable=False),
    _enum(
        "syslog-facility",
        "user local0 local1 local2 local3 local4 local5 local6 local7",
        "local0",
        mutable=False,
    ),
    _enum("oom-score-adj", "no yes relative absolute", "no"),
    _enum("acl-pubsub-default", "allchannels resetchannels", "resetchannels"),
    _enum("sanitize-dump-payload", "no yes clients", "no"),
    _enum("enable-protected-configs", "no yes local", "no", mutable=False),
    _enum("enable-debug-command", "no yes local", "no", mutable=False),
    _enum("enable-module-command", "no yes local", "no", mutable=False),
    _enum("propagation-error-behavior", "ignore panic panic-on-replicas", "ignore"),
    *[
        Option(
            name,
            "flags",
            frozenset(),
            words=("default", "save", "nosave", "now", "force"),
            check="shutdown",
            multi=True,
        )
        for name in ("shutdown-on-sigint", "shutdown-on-sigterm")
    ],
    Option("oom-score-adj-values", "oom", (0, 200, 800), multi=True),
    Option("notify-keyspace-events", "events", ""),
    Option("latency-tracking-info-percentiles", "percentiles", (50.0, 99.0, 99.9), multi=True),
    Option("dir", "dir", "", protected=True, deny_loading=True),
    *_texts("pidfile aclfile logfile syslog-ident=redis", mutable=False),
    *_texts("server_cpulist bio_cpulist aof_rewrite_cpulist bgsave_cpulist", mutable=False),
    *_texts("ignore-warnings"),
    Option("proc-title-template", "text", "{title} {listen-addr} {server-mode}", check="title"),
    *[Option(name, "secret", b"", sensitive=True) for name in ("masterauth", "requirepass")],
]

_NETWORK: list[Option] = [
    _number("port", 6379, 0, 65535),
    _number("tcp-backlog", 511, mutable=False),
    _number("timeout", 0),
    _number("tcp-keepalive", 300),
    _number("maxclients", 10_000, 1, UINT_MAX),
    _number("socket-mark-id", 0, 0, UINT_MAX, mutable=False),
    _number("unixsocketperm", 0, 0, 0o777, kind="octal", mutable=False),
    _memory("proto-max-bulk-len", 512 << 20, 1 << 20),
    _memory("client-query-buffer-limit", 1 << 30, 1 << 20),
    Option("bind", "bind", ("*", "-::*"), multi=True),
    Option(
        "client-output-buffer-limit",
        "limits",
        {"normal": (0, 0, 0), "replica": (256 << 20, 64 << 20, 60), "pubsub": (32 << 20, 8 << 20, 60)},
        multi=True,
    ),
    *_texts("bind-source-addr"),
    *_texts("unixsocket", mutable=False),
    _number("tls-port", 0, 0, 65535),
    _number("tls-session-cache-size", 20 * 1024),
    _number("tls-session-cache-timeout", 300),
    _enum("tls-auth-clients", "no yes optional", "yes"),
    *_bools(False, "tls-cluster tls-prefer-server-ciphers tls-replication"),
    *_bools(True, "tls-session-caching"),
    *_texts("tls-ca-cert-dir tls-ca-cert-file tls-cert-file tls-ciphers tls-ciphersuites", volatile=True),
    *_texts("tls-client-cert-file tls-client-key-file tls-dh-params-file tls-key-file tls-protocols", volatile=True),
    *_texts("tls-key-file-pass tls-client-key-file-pass", sensitive=True, volatile=True),
]

_PERSISTENCE: list[Option] = [
    *_bools(True, "appendonly", deny_loading=True),
    *_bools(True, "rdbcompression stop-writes-on-bgsave-error aof-rewrite-incremental-fsync aof-load-truncated"),
    *_bools(True, "rdb-save-incremental-fsync aof-use-rdb-preamble"),
    *_bools(False, "rdb-del-sync-files no-appendfsync-on-rewrite aof-timestamp-enabled aof-disable-auto-gc"),
    _enum("appendfsync", "everysec always no", "everysec"),
    Option("appendfilename", "text", "appendonly.aof", check="append-file", mutable=False),
    Option("appenddirname", "text", "appendonlydir", check="append-dir", mutable=False),
    Option("dbfilename", "text", "dump.rdb", check="db-file", protected=True),
    Option("save", "save", (), multi=True),
    _number("auto-aof-rewrite-percentage", 100),
    _memory("auto-aof-rewrite-min-size", 64 << 20),
    _number("rdb-key-save-delay", 0, INT_MIN, hidden=True),
    _number("key-load-delay", 0, INT_MIN, hidden=True),
    _number("loading-process-events-interval-bytes", 2 << 20, 1024, hidden=True),
]

_REPLICATION: list[Option] = [
    Option("replicaof", "replicaof", None, ("slaveof",), mutable=False, multi=True),
    *_bools(True, "replica-serve-stale-data=slave-serve-stale-data replica-read-only=slave-read-only"),
    *_bools(True, "replica-ignore-maxmemory=slave-ignore-maxmemory replica-announced repl-diskless-sync"),
    *_bools(False, "replica-lazy-flush=slave-lazy-flush repl-disable-tcp-nodelay replica-ignore-disk-write-errors"),
    _enum("repl-diskless-load", "disabled on-empty-db swapdb", "disabled", deny_loading=True),
    _number("repl-diskless-sync-delay", 5),
    _number("repl-diskless-sync-max-replicas", 0),
    _number("repl-timeout", 60, 1),
    _number("repl-ping-replica-period", 10, 1, alias="repl-ping-slave-period"),
    _memory("repl-backlog-size", 1 << 20, 1, check="backlog"),
    _number("repl-backlog-ttl", 3600, 0, LONG_MAX),
    _number("replica-priority", 100, alias="slave-priority"),
    _number("replica-announce-port", 0, 0, 65535, "slave-announce-port"),
    Option("replica-announce-ip", "text", "", ("slave-announce-ip",)),
    _number("min-replicas-to-write", 0, alias="min-slaves-to-write"),
    _number("min-replicas-max-lag", 10, alias="min-slaves-max-lag"),
    *_texts("masteruser", sensitive=True),
]

_CLUSTER: list[Option] = [
    *_bools(True, "cluster-require-full-coverage cluster-allow-pubsubshard-when-down"),
    *_bools(True, "cluster-allow-replica-migration"),
    *_bools(False, "cluster-allow-reads-when-down cluster-replica-no-failover=cluster-slave-no-failover"),
    *_texts("cluster-config-file=nodes.conf", mutable=False),
    *_texts("cluster-announce-ip"),
    *_texts("cluster-announce-hostname", check="hostname"),
    _enum("cluster-preferred-endpoint-type", "ip hostname unknown-endpoint", "ip"),
    _number("cluster-replica-validity-factor", 10, alias="cluster-slave-validity-factor"),
    _number("cluster-migration-barrier", 1),
    _number("cluster-port", 0, 0, 65535, mutable=False),
    _number("cluster-announce-port", 0, 0, 65535),
    _number("cluster-announce-bus-port", 0, 0, 65535),
    _number("cluster-announce-tls-port", 0, 0, 65535),
    _number("cluster-node-timeout", 15_000, 0, LONG_MAX),
    _memory("cluster-link-sendbuf-limit", 0, 0, ULONG_MAX),
]

_ENCODINGS: list[Option] = [
    _number("hash-max-listpack-entries", 512, 0, LONG_MAX, "hash-max-ziplist-entries"),
    _memory("hash-max-listpack-value", 64, alias="hash-max-ziplist-value"),
    _number("list-max-listpack-size", -2, INT_MIN, alias="list-max-ziplist-size"),
    _number("list-compress-depth", 0),
    _number("set-max-intset-entries", 512, 0, LONG_MAX),
    _number("zset-max-listpack-entries", 128, 0, LONG_MAX, "zset-max-ziplist-entries"),
    _memory("zset-max-listpack-value", 64, alias="zset-max-ziplist-value"),
    _memory("hll-sparse-max-bytes", 3000),
    _memory("stream-node-max-bytes", 4096),
    _number("stream-node-max-entries", 100, 0, LONG_MAX),
]

OPTIONS: Final[tuple[Option, ...]] = (*_GENERAL, *_NETWORK, *_PERSISTENCE, *_REPLICATION, *_CLUSTER, *_ENCODINGS)

#: Every name, aliases included, to its option.
BY_NAME: Final[dict[str, Option]] = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}

#: Defaults that differ from stock's, with the reason.
OURS: Final[dict[str, str]] = {
    "appendonly": "this store is durable by default",
    "save": "the log has everything, and a snapshot costs a fork: only who wants them has them",
}

#: Directives that stand in a file only; they are no parameters of CONFIG GET or SET.
FILE_ONLY: Final = ("include", "rename-command", "loadmodule", "user", "sentinel")

#: Directives of older versions that stock still takes, with one argument, and ignores.
IGNORED: Final = ("list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands")

#: Directives whose effect cannot be had here and whose absence would endanger: a start with one is refused.
#: The value that asks for nothing is given beside each; None where the directive itself asks.
REFUSED: Final[dict[str, Any]] = {
    "cluster-enabled": False,
    "replicaof": None,
}

#: Options without effect here that a user may be counting on: one line in the log at the start.
WARNED: Final[dict[str, tuple[Any, str]]] = {
    "syslog-enabled": (False, "logging to syslog is not supported; the log goes to stdout or to 'logfile'"),
    "min-replicas-to-write": (0, "replication is not supported by this version of perdure"),
}
