"""LATENCY: what held the loop (``server.latency``), and how long commands take (``server.histogram``)."""

from __future__ import annotations

import time

from perdure.server import latency_report
from perdure.server.commands.command_info import named
from perdure.server.histogram import cumulative
from perdure.server.latency import LatencyMonitor
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, STALE, TABLE, Command, command
from perdure.store.errors import CommandError
from perdure.store.resp import array, array_head, bulk, integer, map_head, simple, verbatim

_FLAGS = ADMIN | NOSCRIPT | LOADING | STALE
_ACL = ("admin", "slow", "dangerous")
_TIPS = ("nondeterministic_output", "request_policy:all_nodes", "response_policy:special")
_HELP = (
    b"LATENCY <subcommand> [<argument> ...]. The subcommands:",
    b"DOCTOR",
    b"    A report on what took long, with advice.",
    b"GRAPH <event>",
    b"    The samples of one kind of event, drawn.",
    b"HISTOGRAM [<command> ...]",
    b"    How long the calls of these commands took, of all that ran if none is named:",
    b"    bounds in microseconds that double, and how many calls were not slower.",
    b"HISTORY <event>",
    b"    The samples of one kind of event: unix time and milliseconds.",
    b"LATEST",
    b"    The latest sample of each kind of event, and the worst.",
    b"RESET [<event> ...]",
    b"    Forget the samples of these kinds of events, or all.",
    b"HELP",
    b"    These lines.",
)


def _monitor(tx: ServerTx) -> LatencyMonitor:
    return tx.server.engine.timings.monitor


@command(
    "LATENCY", arity=-2, flags=0, group="server", since="2.8.13", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about what takes long.",
)  # fmt: skip
def latency(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY HELP, for who asks the container itself"""
    return latency_help(tx, argv)


@command(
    "LATENCY|LATEST", arity=2, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_TIPS, complexity="O(1)",
    summary="Returns the latest and the worst sample of each kind of event.",
)  # fmt: skip
def latency_latest(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY LATEST"""
    return array([
        array_head(4) + bulk(event) + b"".join(map(integer, (*series.samples[-1], series.worst_ms)))
        for event, series in _monitor(tx).series.items()
    ])  # fmt: skip


@command(
    "LATENCY|HISTORY", arity=3, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_TIPS, syntax="event",
    complexity="O(1)", summary="Returns the samples of a kind of event.",
)  # fmt: skip
def latency_history(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY HISTORY event"""
    series = _monitor(tx).series.get(argv[2])
    samples = () if series is None else series.samples
    return array([array_head(2) + integer(unix_s) + integer(ms) for unix_s, ms in samples])


@command(
    "LATENCY|RESET", arity=-2, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL,
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    syntax="[event [event ...]]", complexity="O(1)", summary="Forgets the samples of kinds of events.",
)  # fmt: skip
def latency_reset(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY RESET [event ...]"""
    return integer(_monitor(tx).forget(argv[2:]))


@command(
    "LATENCY|GRAPH", arity=3, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_TIPS, syntax="event",
    complexity="O(1)", summary="Draws the samples of a kind of event.",
)  # fmt: skip
def latency_graph(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY GRAPH event"""
    series = _monitor(tx).series.get(argv[2])
    if series is None:
        raise CommandError(errors.no_latency_samples(argv[2]))
    return verbatim(latency_report.graph(argv[2], series, int(time.time())), tx.resp3)


@command(
    "LATENCY|DOCTOR", arity=2, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_TIPS, complexity="O(1)",
    summary="Reports on what took long, with advice.",
)  # fmt: skip
def latency_doctor(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY DOCTOR"""
    slower_than_us = tx.server.config["slowlog-log-slower-than"]
    return verbatim(latency_report.report(_monitor(tx), slower_than_us, int(time.time())), tx.resp3)


# ---- how long commands take ----------------------------------------------------------------


def _with_subcommands(entry: Command) -> list[Command]:
    return [entry, *entry.subcommands.values()]


def _histogram(entry: Command, resp3: bool) -> bytes:
    steps = cumulative(entry.durations)
    inner = b"".join([integer(us) + integer(count) for us, count in steps])
    parts = bulk(b"calls"), integer(steps[-1][1]), bulk(b"histogram_usec"), map_head(len(steps), resp3), inner
    return bulk(entry.lower_name) + map_head(2, resp3) + b"".join(parts)


@command(
    "LATENCY|HISTOGRAM", arity=-2, flags=_FLAGS, group="server", since="7.0.0", acl=_ACL, tips=_TIPS,
    syntax="[command [command ...]]", complexity="O(N) for N commands that have run",
    summary="Returns how long the calls of commands took, as cumulative distributions.",
)  # fmt: skip
def latency_histogram(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY HISTOGRAM [command ...]: commands that are not there, or have not run, are left out"""
    asked = [named(name) for name in argv[2:]] if len(argv) > 2 else [entry for _, entry in sorted(TABLE.items())]
    ran = [one for entry in asked if entry is not None for one in _with_subcommands(entry) if one.durations]
    return map_head(len(ran), tx.resp3) + b"".join([_histogram(entry, tx.resp3) for entry in ran])


@command(
    "LATENCY|HELP", arity=2, flags=LOADING | STALE, group="server", since="2.8.13", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def latency_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LATENCY HELP"""
    return array([simple(line) for line in _HELP])
