"""Commands on the process itself: CONFIG, TIME, SHUTDOWN.

SHUTDOWN does what SIGTERM does (``server.shutdown``), and the client is not answered.  There is
nobody to wait for, so NOW changes nothing, and a shutdown is never in progress for ABORT.
"""

from __future__ import annotations

import os
import time

from perdure.server import shutdown as shutting_down
from perdure.server.acl_rules import user_line
from perdure.server.client import BUSY, CLOSING
from perdure.server.client import LOADING as IS_LOADING
from perdure.server.config import ConfigError
from perdure.server.config_rewrite import rewrite
from perdure.server.protected import is_local
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    command,
)
from perdure.store.errors import CommandError
from perdure.store.resp import OK, array, bulk, bulk_array, map_head, simple

_ADMIN_FLAGS = ADMIN | NOSCRIPT | LOADING | STALE
_ADMIN_ACL = ("admin", "slow", "dangerous")
_SHUTDOWN_WORDS = {b"SAVE", b"NOSAVE", b"NOW", b"FORCE", b"ABORT"}


# ---- CONFIG --------------------------------------------------------------------------------

_CONFIG_HELP = (
    b"CONFIG <subcommand> [<argument> ...]. The subcommands:",
    b"GET <pattern> [<pattern> ...]",
    b"    The options that a pattern matches, and their values.",
    b"SET <option> <value> [<option> <value> ...]",
    b"    Change options, all of them or none.",
    b"REWRITE",
    b"    Write the values that hold now into the configuration file.",
    b"RESETSTAT",
    b"    Set the counters that INFO shows back to zero.",
    b"HELP",
    b"    These lines.",
)


@command(
    "CONFIG", arity=-2, flags=0, group="server", since="2.0.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about the configuration.",
)  # fmt: skip
def config_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG HELP, for who asks the container itself"""
    return config_help(tx, argv)


@command(
    "CONFIG|GET", arity=-3, flags=_ADMIN_FLAGS, group="server", since="2.0.0", acl=_ADMIN_ACL,
    syntax="pattern [pattern ...]", history=(("7.0.0", "Takes several patterns."),),
    complexity="O(N) for N patterns, times the number of options",
    summary="Returns the options that patterns match, and their values.",
)  # fmt: skip
def config_get(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG GET pattern [pattern ...]"""
    pairs = tx.server.config.get(argv[2:])
    return map_head(len(pairs), tx.resp3) + b"".join([bulk(name) + bulk(value) for name, value in pairs])


@command(
    "CONFIG|SET", arity=-4, flags=_ADMIN_FLAGS, group="server", since="2.0.0", acl=_ADMIN_ACL,
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    syntax="parameter value [parameter value ...]", history=(("7.0.0", "Takes several options."),),
    complexity="O(N) for N options", summary="Changes options, all of them or none.",
)  # fmt: skip
def config_set(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG SET parameter value [parameter value ...]"""
    if len(argv) % 2:
        raise CommandError(errors.SYNTAX)
    server = tx.server
    try:
        server.config.set(
            list(zip(argv[2::2], argv[3::2], strict=True)),
            local=is_local(tx.session),
            loading=bool(server.engine.state & IS_LOADING),
        )
    except ConfigError as refusal:
        raise CommandError(os.fsencode(refusal.text)) from None
    return OK


@command(
    "CONFIG|REWRITE", arity=2, flags=_ADMIN_FLAGS, group="server", since="2.8.0", acl=_ADMIN_ACL,
    complexity="O(N) for N lines of the file",
    summary="Writes the values that hold now into the configuration file.",
)  # fmt: skip
def config_rewrite(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG REWRITE"""
    server = tx.server
    if server.config.file is None:
        raise CommandError(errors.NO_CONFIG_FILE)
    users = [user_line(user) for user in server.acl.sorted_users()]
    try:
        rewrite(server.fs, server.config, users)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        server.log.warning(f"CONFIG REWRITE failed: {reason}")
        raise CommandError(errors.config_not_rewritten(reason.encode())) from None
    server.log.notice("CONFIG REWRITE executed with success.")
    return OK


@command(
    "CONFIG|RESETSTAT", arity=2, flags=_ADMIN_FLAGS, group="server", since="2.0.0", acl=_ADMIN_ACL, complexity="O(1)",
    summary="Sets the counters that INFO shows back to zero.",
)  # fmt: skip
def config_resetstat(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG RESETSTAT"""
    server = tx.server
    server.stats.reset()
    server.engine.timings.reset()
    tx.lookups = tx.misses = 0
    if hasattr(server.writer, "delayed_fsync"):
        server.writer.delayed_fsync = 0
    return OK


@command(
    "CONFIG|HELP", arity=2, flags=LOADING | STALE, group="server", since="5.0.0", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def config_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CONFIG HELP"""
    return array([simple(line) for line in _CONFIG_HELP])


# ---- TIME, SHUTDOWN --------------------------------------------------------------------------


@command(
    "TIME", arity=1, flags=LOADING | STALE | FAST, group="server", since="2.6.0", acl=("fast",),
    tips=("nondeterministic_output",), complexity="O(1)",
    summary="Returns the server's time: unix seconds, and microseconds of the second.",
)  # fmt: skip
def time_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """TIME"""
    seconds, us = divmod(time.time_ns() // 1000, 1_000_000)
    return bulk_array([b"%d" % seconds, b"%d" % us])


@command(
    "SHUTDOWN", arity=-1, flags=_ADMIN_FLAGS | NO_MULTI | ALLOW_BUSY, group="server", acl=_ADMIN_ACL,
    syntax="[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    history=(("7.0.0", "Takes `NOW`, `FORCE` and `ABORT`."),),
    complexity="O(N) for N keys when it saves, else O(1), and the log's last fsync",
    summary="Saves if that is configured or asked for, finishes the log and ends the server.",
)  # fmt: skip
def shutdown(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]: not answered if it is done"""
    words = {word.upper() for word in argv[1:]}
    if not words <= _SHUTDOWN_WORDS or {b"SAVE", b"NOSAVE"} <= words or (b"ABORT" in words and len(words) > 1):
        raise CommandError(errors.SYNTAX)
    if b"ABORT" in words:
        raise CommandError(errors.NO_SHUTDOWN)
    server, client = tx.server, tx.session
    if server.engine.state & BUSY and b"NOSAVE" not in words:
        raise CommandError(server.scripts.slices.busy_text())
    server.log.warning("User requested shutdown...")
    if not shutting_down.prepare(server, {word.decode().lower() for word in words}):
        server.log.warning("Errors trying to shut down the server. Check the logs for more information.")
        raise CommandError(errors.SHUTDOWN_FAILS)
    client.state |= CLOSING
    server.stop("User requested shutdown", 0)
    return b""
