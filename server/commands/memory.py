"""MEMORY: what takes memory, and what could be better about it."""

from __future__ import annotations

from perdure.server.memory_report import Report, report
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import LOADING, READONLY, STALE, KeySpec, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer, print_double
from perdure.store.resp import OK, array, bulk, double, integer, map_head, simple, verbatim
from perdure.store.weights import ALL, weigh_key

_SAMPLES = 5
_KEY = (KeySpec(("RO",), ("index", 2), ("range", 0, 1, 0)),)
_SPECIAL = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")
_HELP = (
    b"MEMORY <subcommand> [<argument> ...]. The subcommands:",
    b"DOCTOR",
    b"    What is wrong with the use of memory, in words.",
    b"MALLOC-STATS",
    b"    What the allocators hold.",
    b"PURGE",
    b"    Give memory that is free back to the system as far as the allocator can.",
    b"STATS",
    b"    What memory is used for, in numbers.",
    b"USAGE <key> [SAMPLES <count>]",
    b"    About how many bytes a key takes with its value. Of nested values so many are",
    b"    weighed for all (5 unless told otherwise, 0 for every one).",
    b"HELP",
    b"    These lines.",
)
_MIB = 1 << 20
_LITTLE_BYTES = 5 * _MIB
_SPREAD_BYTES = 10 * _MIB
_HIGH_PEAK, _HIGH_RATIO, _HIGH_CLIENT_BYTES = 1.5, 1.4, 200 * 1024
_NOTHING_YET = (
    "There is too little in memory to tell anything by: fill in some data first, and ask again then.\n"
)
_WELL = "Nothing is wrong with the use of memory.\n"


@command(
    "MEMORY", arity=-2, flags=0, group="server", since="4.0.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about the use of memory.",
)  # fmt: skip
def memory(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY HELP, for who asks the container itself"""
    return memory_help(tx, argv)


@command(
    "MEMORY|HELP", arity=2, flags=LOADING | STALE, group="server", since="4.0.0", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def memory_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY HELP"""
    return array([simple(line) for line in _HELP])


@command(
    "MEMORY|USAGE", arity=-3, flags=READONLY, keys_at=(2, 2, 1), key_specs=_KEY, group="server", since="4.0.0",
    acl=("read", "slow"), syntax="key [SAMPLES count]", complexity="O(N) for N samples",
    summary="Returns about how many bytes a key takes with its value.",
)  # fmt: skip
def memory_usage(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY USAGE key [SAMPLES count]: no use of the key, and no look-up that is counted"""
    samples = _SAMPLES
    for at in range(3, len(argv), 2):
        if argv[at].upper() != b"SAMPLES" or at + 1 == len(argv):
            raise CommandError(errors.SYNTAX)
        samples = parse_integer(argv[at + 1])
        if samples < 0:
            raise CommandError(errors.SYNTAX)
        samples = samples or ALL
    key = argv[2]
    tx.lookups -= 1
    return tx.null if key not in tx.db else integer(weigh_key(tx.db, key, samples))


@command(
    "MEMORY|STATS", arity=2, flags=0, group="server", since="4.0.0", acl=("slow",), tips=_SPECIAL, complexity="O(1)",
    summary="Returns what memory is used for, in numbers.",
)  # fmt: skip
def memory_stats(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY STATS"""
    now = report(tx.server)
    pairs: list[tuple[bytes, bytes]] = []

    def number(name: bytes, value: int) -> None:
        pairs.append((name, integer(value)))

    def ratio(name: bytes, value: float, whole: float) -> None:
        pairs.append((name, double(print_double(value / whole if whole else 0.0), tx.resp3)))

    number(b"peak.allocated", now.peak)
    number(b"total.allocated", now.used)
    number(b"startup.allocated", now.startup)
    number(b"replication.backlog", 0)
    number(b"clients.slaves", 0)
    number(b"clients.normal", now.clients)
    number(b"cluster.links", 0)
    number(b"aof.buffer", now.log)
    number(b"lua.caches", 0)
    number(b"functions.caches", 0)
    for index, keys, deadlines in now.databases:
        parts = ((b"main", keys), (b"expires", deadlines), (b"slot-to-keys", 0))
        tables = b"".join([bulk(b"overhead.hashtable." + name) + integer(size) for name, size in parts])
        pairs.append((b"db.%d" % index, map_head(len(parts), tx.resp3) + tables))
    number(b"overhead.total", now.overhead)
    number(b"keys.count", now.keys)
    number(b"keys.bytes-per-key", (now.used - now.startup) // now.keys if now.keys else 0)
    number(b"dataset.bytes", now.dataset)
    ratio(b"dataset.percentage", 100 * now.dataset, now.used - now.startup)
    ratio(b"peak.percentage", 100 * now.used, now.peak)
    number(b"allocator.allocated", now.used)
    number(b"allocator.active", now.active)
    number(b"allocator.resident", now.resident)
    ratio(b"allocator-fragmentation.ratio", now.active, now.used)
    number(b"allocator-fragmentation.bytes", now.active - now.used)
    ratio(b"allocator-rss.ratio", now.resident, now.active)
    number(b"allocator-rss.bytes", now.resident - now.active)
    ratio(b"rss-overhead.ratio", now.rss, now.resident)
    number(b"rss-overhead.bytes", now.rss - now.resident)
    ratio(b"fragmentation", now.rss, now.used)
    number(b"fragmentation.bytes", now.rss - now.used)
    return map_head(len(pairs), tx.resp3) + b"".join([bulk(name) + value for name, value in pairs])


@command(
    "MEMORY|DOCTOR", arity=2, flags=0, group="server", since="4.0.0", acl=("slow",), tips=_SPECIAL, complexity="O(1)",
    summary="Says what is wrong with the use of memory.",
)  # fmt: skip
def memory_doctor(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY DOCTOR"""
    return verbatim(findings(report(tx.server)).encode(), tx.resp3)


def findings(now: Report) -> str:
    """What may be wrong, in words; stock's thresholds."""
    if now.used < _LITTLE_BYTES:
        return _NOTHING_YET
    found: list[str] = []
    if now.peak > _HIGH_PEAK * now.used:
        found.append(
            "Peak: at its highest more than one and a half times the memory of now was used. What was freed since "
            "may still be resident; MEMORY PURGE can give some of it back to the system."
        )
    if now.active > _HIGH_RATIO * now.used and now.active - now.used > _SPREAD_BYTES:
        found.append(
            "Fragmentation: the allocators hold much more than is in use, in places between what is. New data "
            "will take these; only a restart puts everything together again."
        )
    if now.rss > _HIGH_RATIO * now.resident and now.rss - now.resident > _SPREAD_BYTES:
        found.append(
            "Overhead: much more is resident than the allocators hold; the rest is the program itself and what "
            "libraries take."
        )
    if now.client_count and now.clients // now.client_count > _HIGH_CLIENT_BYTES:
        found.append(
            "Clients: on average a client has more than 200 KiB waiting. Some read their answers too slowly or "
            "send very long transactions; CLIENT LIST shows which."
        )
    if not found:
        return _WELL
    return "Some things are worth a look:\n\n" + "".join(f" * {line}\n\n" for line in found)


@command(
    "MEMORY|MALLOC-STATS", arity=2, flags=0, group="server", since="4.0.0", acl=("slow",), tips=_SPECIAL,
    complexity="O(N) for N pools of memory, up to a bound", summary="Returns what the allocators hold.",
)  # fmt: skip
def memory_malloc_stats(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY MALLOC-STATS"""
    return verbatim(tx.server.engine.max_memory.meter.describe().encode(), tx.resp3)


@command(
    "MEMORY|PURGE", arity=2, flags=0, group="server", since="4.0.0", acl=("slow",),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    complexity="Depends on how much memory is free in the allocator",
    summary="Gives memory that is free back to the system.",
)  # fmt: skip
def memory_purge(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MEMORY PURGE"""
    tx.server.engine.max_memory.meter.purge()
    return OK
