"""SLOWLOG: the commands that took long (``server.slowlog``)."""

from __future__ import annotations

from perdure.server.slowlog import ENDLESS, Entry
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import OK, array, array_head, bulk, bulk_array, integer, simple

_FLAGS = ADMIN | LOADING | STALE
_ACL = ("admin", "slow", "dangerous")
_USUAL = 10
_HELP = (
    b"SLOWLOG <subcommand> [<argument> ...]. The subcommands:",
    b"GET [<count>]",
    b"    The latest entries, 10 if nothing is said, all for -1. An entry is its number,",
    b"    the unix time, microseconds, the arguments, and the client's address and name.",
    b"LEN",
    b"    How many entries there are.",
    b"RESET",
    b"    Forget them.",
    b"HELP",
    b"    These lines.",
)


@command(
    "SLOWLOG", arity=-2, flags=0, group="server", since="2.2.12", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about commands that took long.",
)  # fmt: skip
def slowlog(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLOWLOG HELP, for who asks the container itself"""
    return slowlog_help(tx, argv)


def _shown(entry: Entry) -> bytes:
    return b"".join([
        array_head(6), integer(entry.number), integer(entry.unix_s), integer(entry.us), bulk_array(entry.arguments),
        bulk(entry.address), bulk(entry.client_name),
    ])  # fmt: skip


@command(
    "SLOWLOG|GET", arity=-2, flags=_FLAGS, group="server", since="2.2.12", acl=_ACL, syntax="[count]",
    tips=("request_policy:all_nodes", "nondeterministic_output"),
    history=(("4.0.0", "Tells the client's address and name, too."),), complexity="O(N) for N entries returned",
    summary="Returns the latest of the commands that took long.",
)  # fmt: skip
def slowlog_get(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLOWLOG GET [count]"""
    if len(argv) > 3:
        raise CommandError(errors.wrong_subcommand(argv[1], b"SLOWLOG"))
    count = parse_integer(argv[2], errors.SLOWLOG_COUNT) if len(argv) == 3 else _USUAL
    if count < ENDLESS:
        raise CommandError(errors.SLOWLOG_COUNT)
    return array([_shown(entry) for entry in tx.server.engine.timings.slowlog.latest(count)])


@command(
    "SLOWLOG|LEN", arity=2, flags=_FLAGS, group="server", since="2.2.12", acl=_ACL, complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
    summary="Returns how many commands the slow log has.",
)  # fmt: skip
def slowlog_len(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLOWLOG LEN"""
    return integer(len(tx.server.engine.timings.slowlog))


@command(
    "SLOWLOG|RESET", arity=2, flags=_FLAGS, group="server", since="2.2.12", acl=_ACL,
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"), complexity="O(N) for N entries",
    summary="Empties the slow log.",
)  # fmt: skip
def slowlog_reset(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLOWLOG RESET"""
    tx.server.engine.timings.slowlog.clear()
    return OK


@command(
    "SLOWLOG|HELP", arity=2, flags=LOADING | STALE, group="server", since="6.2.0", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def slowlog_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLOWLOG HELP"""
    return array([simple(line) for line in _HELP])
