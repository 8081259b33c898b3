"""EVAL and its kind, and SCRIPT: commands on ``server.scripting.scripts``."""

from __future__ import annotations

from perdure.server.client import MONITORED
from perdure.server.scripting.scripts import SHA1_DIGITS, Script, number_of_keys
from perdure.server.tx import ServerTx
from perdure.store import script_errors
from perdure.store.command import (
    ALLOW_BUSY,
    LOADING,
    MAY_REPLICATE,
    MOVABLE_KEYS,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    RUNS_LUA,
    SKIP_MONITOR,
    STALE,
    KeySpec,
    command,
    find,
)
from perdure.store.errors import NOT_AN_INTEGER, CommandError
from perdure.store.resp import OK, ONE, ZERO, array, bulk, simple

READ_FLAGS = NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLE_KEYS | RUNS_LUA | READONLY
FLAGS = READ_FLAGS & ~READONLY | MAY_REPLICATE
ACL = ("slow", "scripting")
_NOTE = "What a script does with its keys is not known before, so the most is assumed."
WRITES_KEYS = KeySpec(("RW", "access", "update"), ("index", 2), ("keynum", 0, 1, 1), notes=_NOTE)
READS_KEYS = KeySpec(("RO", "access"), ("index", 2), ("keynum", 0, 1, 1), notes=_NOTE)
BARE_WRITES_KEYS = KeySpec(("RW", "access", "update"), ("index", 2), ("keynum", 0, 1, 1))
BARE_READS_KEYS = KeySpec(("RO", "access"), ("index", 2), ("keynum", 0, 1, 1))


def keys_of(argv: list[bytes]) -> list[bytes]:
    """The keys of EVAL script numkeys key ... and its kind; none if the number makes no sense."""
    count = argv[2]
    if not count.isdigit() or len(count) > 9 or int(count) > len(argv) - 3:
        return []
    return argv[3 : 3 + int(count)]


def monitor(tx: ServerTx, argv: list[bytes]) -> None:
    """Show a script to who monitors, before what it does."""
    entry = find(argv)
    if entry is not None:
        tx.server.engine.monitors.feed(entry, argv)


def _evaluate(tx: ServerTx, argv: list[bytes], *, read_only: bool) -> bytes:
    if tx.server.engine.state & MONITORED:
        monitor(tx, argv)
    keys = number_of_keys(argv, NOT_AN_INTEGER)
    scripts = tx.server.scripts
    return scripts.evaluate(tx, scripts.take(argv[1]), argv, keys, read_only=read_only)


def _evaluate_cached(tx: ServerTx, argv: list[bytes], *, read_only: bool) -> bytes:
    if tx.server.engine.state & MONITORED:
        monitor(tx, argv)
    scripts = tx.server.scripts
    script: Script | None = None
    if len(argv[1]) != SHA1_DIGITS:
        raise CommandError(script_errors.NO_SCRIPT)
    keys = number_of_keys(argv, NOT_AN_INTEGER)
    script = scripts.by_sha1.get(argv[1]) or scripts.by_sha1.get(argv[1].lower())
    if script is None:
        raise CommandError(script_errors.NO_SCRIPT)
    return scripts.evaluate(tx, script, argv, keys, read_only=read_only)


@command(
    "EVAL", arity=-3, flags=FLAGS, group="scripting", since="2.6.0", acl=ACL, find_keys=keys_of,
    key_specs=(WRITES_KEYS,), syntax="script numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the script", summary="Runs a script in Lua.",
)  # fmt: skip
def eval_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """EVAL script numkeys [key ...] [arg ...]"""
    return _evaluate(tx, argv, read_only=False)


@command(
    "EVAL_RO", arity=-3, flags=READ_FLAGS, group="scripting", since="7.0.0", acl=ACL, find_keys=keys_of,
    key_specs=(READS_KEYS,), syntax="script numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the script", summary="Runs a script in Lua that may only read.",
)  # fmt: skip
def eval_ro(tx: ServerTx, argv: list[bytes]) -> bytes:
    """EVAL_RO script numkeys [key ...] [arg ...]"""
    return _evaluate(tx, argv, read_only=True)


@command(
    "EVALSHA", arity=-3, flags=FLAGS, group="scripting", since="2.6.0", acl=ACL, find_keys=keys_of,
    key_specs=(BARE_WRITES_KEYS,), syntax="sha1 numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the script", summary="Runs a script that is known already, by its SHA-1.",
)  # fmt: skip
def evalsha(tx: ServerTx, argv: list[bytes]) -> bytes:
    """EVALSHA sha1 numkeys [key ...] [arg ...]"""
    return _evaluate_cached(tx, argv, read_only=False)


@command(
    "EVALSHA_RO", arity=-3, flags=READ_FLAGS, group="scripting", since="7.0.0", acl=ACL, find_keys=keys_of,
    key_specs=(BARE_READS_KEYS,), syntax="sha1 numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the script", summary="Runs a known script that may only read, by its SHA-1.",
)  # fmt: skip
def evalsha_ro(tx: ServerTx, argv: list[bytes]) -> bytes:
    """EVALSHA_RO sha1 numkeys [key ...] [arg ...]"""
    return _evaluate_cached(tx, argv, read_only=True)


# ---- SCRIPT ------------------------------------------------------------------------------------

_HELP = (
    b"SCRIPT <subcommand> [<argument> ...]. The subcommands:",
    b"DEBUG YES|SYNC|NO",
    b"    Taken, and without effect: there is no debugger here.",
    b"EXISTS <sha1> [<sha1> ...]",
    b"    Which scripts are known, 1 or 0 for each.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Forget all scripts.",
    b"KILL",
    b"    End the script that runs, unless it has written.",
    b"LOAD <script>",
    b"    Compile a script and keep it, without running it.",
    b"HELP",
    b"    These lines.",
)


@command(
    "SCRIPT", arity=-2, flags=0, group="scripting", since="2.6.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about scripts in Lua.",
)  # fmt: skip
def script_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT HELP, for who asks the container itself"""
    return script_help(tx, argv)


@command(
    "SCRIPT|LOAD", arity=3, flags=NOSCRIPT | STALE, group="scripting", since="2.6.0", acl=ACL, syntax="script",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"), complexity="O(N) for N bytes",
    summary="Compiles a script and keeps it; returns its SHA-1.",
)  # fmt: skip
def script_load(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT LOAD script"""
    return bulk(tx.server.scripts.take(argv[2]).sha1)


@command(
    "SCRIPT|EXISTS", arity=-3, flags=NOSCRIPT, group="scripting", since="2.6.0", acl=ACL, syntax="sha1 [sha1 ...]",
    tips=("request_policy:all_shards", "response_policy:agg_logical_and"), complexity="O(N) for N scripts",
    summary="Tells which scripts are known, by their SHA-1.",
)  # fmt: skip
def script_exists(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT EXISTS sha1 [sha1 ...]"""
    known = tx.server.scripts.by_sha1
    return array([ONE if sha1.lower() in known else ZERO for sha1 in argv[2:]])


@command(
    "SCRIPT|FLUSH", arity=-2, flags=NOSCRIPT, group="scripting", since="2.6.0", acl=ACL, syntax="[ASYNC | SYNC]",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    history=(("6.2.0", "Takes `ASYNC` and `SYNC`."),), complexity="O(N) for N scripts", summary="Forgets all scripts.",
)  # fmt: skip
def script_flush(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT FLUSH [ASYNC | SYNC]"""
    if len(argv) > 3 or (len(argv) == 3 and argv[2].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(script_errors.SCRIPT_FLUSH_OPTION)
    tx.server.scripts.flush()
    return OK


@command(
    "SCRIPT|KILL", arity=2, flags=NOSCRIPT | ALLOW_BUSY, group="scripting", since="2.6.0", acl=ACL,
    tips=("request_policy:all_shards", "response_policy:one_succeeded"), complexity="O(1)",
    summary="Ends the script that runs, unless it has written.",
)  # fmt: skip
def script_kill(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT KILL"""
    tx.server.scripts.slices.kill(is_eval=True)
    return OK


@command(
    "SCRIPT|DEBUG", arity=3, flags=NOSCRIPT, group="scripting", since="3.2.0", acl=ACL, syntax="<YES | SYNC | NO>",
    complexity="O(1)", summary="Takes stock's debugging modes; there is no debugger here.",
)  # fmt: skip
def script_debug(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT DEBUG <YES | SYNC | NO>"""
    if argv[2].upper() not in (b"YES", b"SYNC", b"NO"):
        raise CommandError(script_errors.SCRIPT_DEBUG_OPTION)
    return OK


@command(
    "SCRIPT|HELP", arity=2, flags=LOADING | STALE, group="scripting", since="5.0.0", acl=ACL, complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def script_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SCRIPT HELP"""
    return array([simple(line) for line in _HELP])
