"""INFO: the server's state as text, in stock's sections and under stock's names.

A section is a function from the server to (name, value) pairs; ``SECTIONS`` is the
order in which they are printed, whatever the order asked for.  A field of stock's
that would say nothing true here is left out rather than made up; the tests hold the list, with reasons.
Our own fields begin with ``perdure_``.

Every section is bounded work, except Commandstats, which is bounded by the table.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from perdure.server import memory_report, process_stats
from perdure.server.children import NO_CHILD as _NO_CHILD
from perdure.server.client import LOADING
from perdure.server.histogram import percentile
from perdure.server.memory_report import unsent_bytes
from perdure.server.version import PERDURE_VERSION, REDIS_VERSION
from perdure.store.command import READONLY, every_command
from perdure.store.database import Database

if TYPE_CHECKING:
    from perdure.server.server import Server

Fields = list[tuple[str, object]]
_TTL_SAMPLES = 32
_LRU_CLOCK_MASK = (1 << 24) - 1
_EXECUTABLE = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else sys.executable


def human(n: int) -> str:
    """Bytes as stock prints them for people: ``1.50M``."""
    if n < 1024:
        return f"{n}B"
    size = float(n)
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"


def percent(part: float, whole: float) -> str:
    """A share, with its sign; 0 of nothing."""
    return f"{100 * part / whole:.2f}%" if whole > 0 else "0.00%"


def _ratio(a: int, b: int) -> str:
    return f"{a / b:.2f}" if b > 0 else "0.00"


# ---- sections ----------------------------------------------------------------------------


def _server(server: Server) -> Fields:
    system = os.uname()
    now_us = time.time_ns() // 1000
    uptime_s = max(int(now_us // 1_000_000 - server.started_s), 0)
    return [
        ("redis_version", REDIS_VERSION),
        ("perdure_version", PERDURE_VERSION),
        ("perdure_hot_path", "compiled" if server.compiled else "python"),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_build_id", "0" * 16),
        ("redis_mode", "standalone"),
        ("os", f"{system.sysname} {system.release} {system.machine}"),
        ("arch_bits", 64 if sys.maxsize > 1 << 32 else 32),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", "epoll"),
        ("python_version", platform.python_version()),
        ("process_id", os.getpid()),
        ("process_supervised", server.config["supervised"]),
        ("run_id", server.run_id),
        ("tcp_port", server.config["port"] or server.config["tls-port"]),
        ("server_time_usec", now_us),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", server.config["hz"]),
        ("configured_hz", server.config["hz"]),
        ("lru_clock", now_us // 1_000_000 & _LRU_CLOCK_MASK),
        ("executable", _EXECUTABLE),
        ("config_file", server.config.file or ""),
        ("io_threads_active", 0),
    ]


def _input_bytes(client: Any) -> int:
    """What a client has sent of a request that is not whole; the compiled path keeps a few KiB of its own."""
    connection = client.connection
    return 0 if connection is None or connection.parser is None else int(connection.parser.held_bytes)


def _clients(server: Server) -> Fields:
    return [
        ("connected_clients", len(server.clients)),
        ("cluster_connections", 0),
        ("maxclients", server.config["maxclients"]),
        ("client_recent_max_input_buffer", max(map(_input_bytes, list(server.clients.values())), default=0)),
        ("client_recent_max_output_buffer", max(map(unsent_bytes, list(server.clients.values())), default=0)),
        ("blocked_clients", server.engine.waits.count + len(server.engine.pause)),
        ("tracking_clients", server.engine.tracker.clients),
        ("clients_in_timeout_table", server.engine.waits.with_deadline),
    ]


def _memory(server: Server) -> Fields:
    report = memory_report.report(server)
    total = process_stats.total_memory()
    limit = server.config["maxmemory"]
    garbage = server.keyspace.garbage
    scripts, libraries = server.scripts, server.scripts.libraries
    eval_vm = scripts.vm_bytes()
    return [
        ("used_memory", report.used),
        ("used_memory_human", human(report.used)),
        ("used_memory_rss", report.rss),
        ("used_memory_rss_human", human(report.rss)),
        ("used_memory_peak", report.peak),
        ("used_memory_peak_human", human(report.peak)),
        ("used_memory_peak_perc", percent(report.used, report.peak)),
        ("used_memory_overhead", report.overhead),
        ("used_memory_startup", report.startup),
        ("used_memory_dataset", report.dataset),
        ("used_memory_dataset_perc", percent(report.dataset, report.used - report.startup)),
        ("allocator_allocated", report.used),
        ("allocator_active", report.active),
        ("allocator_resident", report.resident),
        ("total_system_memory", total),
        ("total_system_memory_human", human(total)),
        ("used_memory_lua", eval_vm),
        ("used_memory_vm_eval", eval_vm),
        ("used_memory_lua_human", human(eval_vm)),
        ("used_memory_scripts_eval", scripts.script_bytes()),
        ("number_of_cached_scripts", len(scripts.by_sha1)),
        ("number_of_functions", libraries.function_count()),
        ("number_of_libraries", len(libraries.by_name)),
        ("used_memory_vm_functions", libraries.vm_bytes()),
        ("used_memory_vm_total", eval_vm + libraries.vm_bytes()),
        ("used_memory_vm_total_human", human(eval_vm + libraries.vm_bytes())),
        ("used_memory_functions", libraries.bytes_used()),
        ("used_memory_scripts", scripts.script_bytes() + libraries.bytes_used()),
        ("used_memory_scripts_human", human(scripts.script_bytes() + libraries.bytes_used())),
        ("maxmemory", limit),
        ("maxmemory_human", human(limit)),
        ("maxmemory_policy", server.config["maxmemory-policy"]),
        ("allocator_frag_ratio", _ratio(report.active, report.used)),
        ("allocator_frag_bytes", report.active - report.used),
        ("allocator_rss_ratio", _ratio(report.resident, report.active)),
        ("allocator_rss_bytes", report.resident - report.active),
        ("rss_overhead_ratio", _ratio(report.rss, report.resident)),
        ("rss_overhead_bytes", report.rss - report.resident),
        ("mem_fragmentation_ratio", _ratio(report.rss, report.used)),
        ("mem_fragmentation_bytes", report.rss - report.used),
        ("mem_not_counted_for_evict", server.engine.max_memory.not_counted()),
        ("mem_replication_backlog", 0),
        ("mem_total_replication_buffers", 0),
        ("mem_clients_slaves", 0),
        ("mem_clients_normal", report.clients),
        ("mem_cluster_links", 0),
        ("mem_aof_buffer", report.log),
        ("mem_allocator", "python"),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", sum(map(len, garbage))),
    ]


def _open_batch_bytes(server: Server) -> int:
    return sum(map(len, server.tx.records))


def _loading(server: Server) -> Fields:
    load = server.load
    elapsed_s = time.time() - load.started_s
    left = max(load.total_bytes - load.loaded_bytes, 0)
    return [
        ("loading_start_time", int(load.started_s)),
        ("loading_total_bytes", load.total_bytes),
        ("loading_rdb_used_mem", load.used_memory),
        ("loading_loaded_bytes", load.loaded_bytes),
        ("loading_loaded_perc", percent(load.loaded_bytes, load.total_bytes).removesuffix("%")),
        ("loading_eta_seconds", int(elapsed_s * left / load.loaded_bytes) if load.loaded_bytes else 1),
        ("perdure_loading_commands", load.commands),
    ]


def log_fields(writer: Any) -> Fields:
    """The log's state; ``writer`` is any writer, what it does not have is shown as nothing."""

    def has(name: str) -> Any:
        return getattr(writer, name, 0)

    refusing = has("refusing")
    return [
        ("perdure_log_status", f"refusing: {refusing.text}" if refusing else "ok"),
        ("perdure_log_policy", has("policy") or "none"),
        ("perdure_log_lsn", has("lsn")),
        ("perdure_log_written_lsn", has("written_lsn")),
        ("perdure_log_durable_lsn", has("durable_lsn")),
        ("perdure_log_batches", has("batch")),
        ("perdure_log_fsyncs", has("fsyncs")),
        ("perdure_log_last_fsync_usec", int(has("last_fsync_us"))),
        ("perdure_log_failures", has("failures")),
        ("perdure_log_last_error", has("last_write_error") or ""),
        ("perdure_log_rotations", has("rotations")),
    ]


def _child(server: Server) -> Fields:
    """What is known of the child that is under way."""
    child = server.children.active
    if child is None:
        child = _NO_CHILD
    age_s = int(time.monotonic() - child.cow_at) if child.cow_bytes else 0
    share = percent(child.keys_done, child.keys_total).removesuffix("%")
    return [
        ("current_cow_peak", child.cow_peak),
        ("current_cow_size", child.cow_bytes),
        ("current_cow_size_age", age_s),
        ("current_fork_perc", share),
        ("current_save_keys_processed", child.keys_done),
        ("current_save_keys_total", child.keys_total),
    ]


def _saves(server: Server) -> Fields:
    saves, child = server.saves, server.children.active
    now_s = server.now_ms() // 1000
    return [
        ("rdb_changes_since_last_save", saves.changes),
        ("rdb_bgsave_in_progress", int(saves.in_progress)),
        ("rdb_last_save_time", saves.last_save_s),
        ("rdb_last_bgsave_status", "ok" if saves.last_ok else "err"),
        ("rdb_last_bgsave_time_sec", saves.last_took_s),
        ("rdb_current_bgsave_time_sec", now_s - int(child.began_s) if saves.in_progress and child else -1),
        ("rdb_saves", server.stats.rdb_saves),
        ("rdb_last_cow_size", saves.last_cow_bytes),
        ("rdb_last_load_keys_expired", saves.expired_keys),
        ("rdb_last_load_keys_loaded", saves.loaded_keys),
        ("perdure_rdb_last_error", saves.last_error),
    ]


def _persistence(server: Server) -> Fields:
    writer, rewriter = server.writer, server.rewriter
    is_loading = bool(server.engine.state & LOADING)
    enabled = bool(server.config["appendonly"])
    fields: Fields = [
        ("loading", int(is_loading)),
        ("async_loading", 0),
        *_child(server),
        *_saves(server),
        ("aof_enabled", int(enabled)),
        ("aof_rewrite_in_progress", int(rewriter.in_progress)),
        ("aof_rewrite_scheduled", int(rewriter.scheduled)),
        ("aof_last_rewrite_time_sec", rewriter.last_s),
        ("aof_current_rewrite_time_sec", int(time.time() - rewriter.began_s) if rewriter.in_progress else -1),
        ("aof_last_bgrewrite_status", "ok" if rewriter.ok else "err"),
        ("aof_rewrites", rewriter.rewrites),
        ("aof_rewrites_consecutive_failures", rewriter.failures),
        ("aof_last_write_status", "ok" if writer.refusing is None else "err"),
        ("aof_last_cow_size", rewriter.cow_bytes),
        ("module_fork_in_progress", 0),
        ("module_fork_last_cow_size", 0),
    ]
    if enabled:
        fields += [
            ("aof_current_size", getattr(writer, "total_bytes", 0)),
            ("aof_base_size", rewriter.base_bytes),
            ("aof_pending_rewrite", 0),
            ("aof_buffer_length", _open_batch_bytes(server)),
            ("aof_pending_bio_fsync", int(getattr(writer, "fsync_in_flight", False))),
            ("aof_delayed_fsync", getattr(writer, "delayed_fsync", 0)),
        ]
    fields += log_fields(writer)
    return fields + (_loading(server) if is_loading else [])


def _lookups(server: Server) -> int:
    """How often a key was looked for to be read; what counts as one is said in ``store.tx``."""
    lookups = server.tx.lookups
    for entry in every_command():
        first, last, _ = entry.keys_at
        if entry.flags & READONLY and first and first == last:
            lookups += entry.calls - entry.failed_calls
    return lookups


def _stats(server: Server) -> Fields:
    stats = server.stats
    commands, net_in, net_out = stats.rates()
    short_s = server.engine.max_memory.short_for_s()
    channels, patterns, shard_channels = server.engine.pubsub.registry
    tracker = server.engine.tracker
    zeros = (
        "slave_expires_tracked_keys active_defrag_hits active_defrag_misses active_defrag_key_hits "
        "active_defrag_key_misses total_active_defrag_time current_active_defrag_time"
    )
    return [
        ("total_connections_received", stats.connections),
        ("total_commands_processed", stats.commands),
        ("instantaneous_ops_per_sec", int(commands)),
        ("total_net_input_bytes", stats.net_in),
        ("total_net_output_bytes", stats.net_out),
        ("total_net_repl_input_bytes", 0),
        ("total_net_repl_output_bytes", 0),
        ("instantaneous_input_kbps", f"{net_in / 1024:.2f}"),
        ("instantaneous_output_kbps", f"{net_out / 1024:.2f}"),
        ("instantaneous_input_repl_kbps", "0.00"),
        ("instantaneous_output_repl_kbps", "0.00"),
        ("rejected_connections", stats.rejected_connections),
        *((name, 0) for name in ("sync_full", "sync_partial_ok", "sync_partial_err")),
        ("expired_keys", stats.expired_keys),
        ("expired_time_cap_reached_count", stats.expiry_cut_short),
        ("expire_cycle_cpu_milliseconds", stats.expiry_ns // 1_000_000),
        ("evicted_keys", stats.evicted_keys),
        ("evicted_clients", 0),
        ("total_eviction_exceeded_time", int((stats.eviction_exceeded_s + short_s) * 1000)),
        ("current_eviction_exceeded_time", int(short_s * 1000)),
        ("keyspace_hits", _lookups(server) - server.tx.misses),
        ("keyspace_misses", server.tx.misses),
        ("pubsub_channels", len(channels)),
        ("pubsub_patterns", len(patterns)),
        ("pubsubshard_channels", len(shard_channels)),
        ("latest_fork_usec", stats.latest_fork_us),
        ("total_forks", stats.total_forks),
        ("migrate_cached_sockets", len(server.migrations.pool)),
        *((name, 0) for name in zeros.split()),
        ("tracking_total_keys", len(tracker.table)),
        ("tracking_total_items", tracker.items),
        ("tracking_total_prefixes", len(tracker.prefixes)),
        ("unexpected_error_replies", 0),
        ("total_error_replies", stats.error_replies),
        ("dump_payload_sanitizations", 0),
        *((name, 0) for name in ("io_threaded_reads_processed", "io_threaded_writes_processed")),
        ("client_output_buffer_limit_disconnections", stats.output_limit_disconnections),
        ("client_query_buffer_limit_disconnections", stats.query_limit_disconnections),
    ]


def _replication(server: Server) -> Fields:
    return [
        ("role", "master"),
        ("connected_slaves", 0),
        ("master_failover_state", "no-failover"),
        ("master_replid", server.replication_id),
        ("master_replid2", "0" * 40),
        ("master_repl_offset", 0),
        ("second_repl_offset", -1),
        ("repl_backlog_active", 0),
        ("repl_backlog_size", server.config["repl-backlog-size"]),
        ("repl_backlog_first_byte_offset", 0),
        ("repl_backlog_histlen", 0),
    ]


def _cpu(server: Server) -> Fields:
    fields: Fields = []
    for name, (system_s, user_s) in process_stats.cpu_seconds().items():
        fields += [(f"used_cpu_sys{name}", f"{system_s:.6f}"), (f"used_cpu_user{name}", f"{user_s:.6f}")]
    return fields


def _modules(server: Server) -> Fields:
    return []


def _commandstats(server: Server) -> Fields:
    fields: Fields = []
    for entry in every_command():
        if entry.calls or entry.rejected_calls or entry.failed_calls:
            us = entry.nanoseconds // 1000
            each = f"{entry.nanoseconds / 1000 / entry.calls:.2f}" if entry.calls else "0.00"
            value = (
                f"calls={entry.calls},usec={us},usec_per_call={each},"
                f"rejected_calls={entry.rejected_calls},failed_calls={entry.failed_calls}"
            )
            fields.append((f"cmdstat_{entry.lower_name.decode()}", value))
    return fields


def _errorstats(server: Server) -> Fields:
    counts = sorted(server.stats.errors.items())
    return [(f"errorstat_{_shown(code)}", f"count={count}") for code, count in counts]


def _shown(code: bytes) -> str:
    """An error's code as part of a field's name."""
    return "".join(c if c.isprintable() and c not in ":," else "_" for c in code.decode("latin-1"))


def _latencystats(server: Server) -> Fields:
    if not server.engine.timings.tracking:
        return []
    percents = [(f"{percent:f}".rstrip("0").rstrip("."), percent) for percent in
                server.config["latency-tracking-info-percentiles"]]  # fmt: skip
    fields: Fields = []
    for entry in every_command():
        if entry.durations:
            values = [f"p{shown}={percentile(entry.durations, percent) / 1000:.3f}" for shown, percent in percents]
            fields.append((f"latency_percentiles_usec_{entry.lower_name.decode()}", ",".join(values)))
    return fields


def _cluster(server: Server) -> Fields:
    return [("cluster_enabled", 0)]


def _average_ttl_ms(db: Database, now_ms: int) -> int:
    """The mean of some keys' time to live."""
    left = [deadline - now_ms for deadline in islice(db.expires.values(), _TTL_SAMPLES) if deadline > now_ms]
    return sum(left) // len(left) if left else 0


def _keyspace(server: Server) -> Fields:
    is_loading = server.engine.state & LOADING  # then the databases are another thread's
    now_ms = server.now_ms()
    fields: Fields = []
    for index, db in enumerate(server.keyspace.databases):
        if len(db):
            ttl_ms = 0 if is_loading else _average_ttl_ms(db, now_ms)
            fields.append((f"db{index}", f"keys={len(db)},expires={len(db.expires)},avg_ttl={ttl_ms}"))
    return fields


# ---- all of it -----------------------------------------------------------------------------

SECTIONS: dict[str, tuple[str, Callable[[Server], Fields]]] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _modules),
    "commandstats": ("Commandstats", _commandstats),
    "errorstats": ("Errorstats", _errorstats),
    "latencystats": ("Latencystats", _latencystats),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _keyspace),
}
_NOT_BY_DEFAULT = {"commandstats", "latencystats"}
_ALIASES = {"module_list": "modules"}


def sections(names: Iterable[bytes]) -> list[str]:
    """The sections that an INFO's arguments ask for, in the order in which they are printed; unknown ones are none."""
    asked = {name.decode("latin-1").lower() for name in names} or {"default"}
    asked |= {_ALIASES[name] for name in asked if name in _ALIASES}
    if asked & {"all", "everything"}:
        return list(SECTIONS)
    if "default" in asked:
        asked |= set(SECTIONS) - _NOT_BY_DEFAULT
    return [name for name in SECTIONS if name in asked]


def text(server: Server, names: Iterable[bytes]) -> bytes:
    """INFO's answer for these sections."""
    blocks = []
    for name in sections(names):
        title, fields = SECTIONS[name]
        lines = [f"# {title}", *(f"{key}:{value}" for key, value in fields(server))]
        blocks.append("".join(line + "\r\n" for line in lines))
    return "\r\n".join(blocks).encode("utf-8", "surrogateescape")
