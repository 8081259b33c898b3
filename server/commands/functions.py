"""FCALL, and FUNCTION: commands on ``server.scripting.libraries``.

FUNCTION's changes are logged as they came, and run through here again at recovery, where
there is no server (``libraries_of``).
"""

from __future__ import annotations

from perdure.server.client import MONITORED
from perdure.server.commands.scripts import ACL, FLAGS, READ_FLAGS, READS_KEYS, WRITES_KEYS, keys_of, monitor
from perdure.server.scripting import payload
from perdure.server.scripting.libraries import Library, libraries_of
from perdure.server.scripting.slices import duration_ms
from perdure.server.tx import ServerTx
from perdure.store import script_errors
from perdure.store.command import ALLOW_BUSY, DENYOOM, LOADING, NOSCRIPT, STALE, WRITE, command
from perdure.store.errors import CommandError
from perdure.store.patterns import matches_ignoring_case
from perdure.store.resp import OK, array, bulk, bulk_array, encode, integer, map_head, set_head, simple
from perdure.store.tx import Tx

_ALL_SHARDS = ("request_policy:all_shards", "response_policy:all_succeeded")


@command(
    "FCALL", arity=-3, flags=FLAGS, group="scripting", since="7.0.0", acl=ACL, find_keys=keys_of,
    key_specs=(WRITES_KEYS,), syntax="function numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the function", summary="Calls a function of a library.",
)  # fmt: skip
def fcall(tx: ServerTx, argv: list[bytes]) -> bytes:
    """FCALL function numkeys [key ...] [arg ...]"""
    if tx.server.engine.state & MONITORED:
        monitor(tx, argv)
    return tx.server.scripts.call(tx, argv, read_only=False)


@command(
    "FCALL_RO", arity=-3, flags=READ_FLAGS, group="scripting", since="7.0.0", acl=ACL, find_keys=keys_of,
    key_specs=(READS_KEYS,), syntax="function numkeys [key [key ...]] [arg [arg ...]]",
    complexity="That of the function", summary="Calls a function of a library that only reads.",
)  # fmt: skip
def fcall_ro(tx: ServerTx, argv: list[bytes]) -> bytes:
    """FCALL_RO function numkeys [key ...] [arg ...]"""
    if tx.server.engine.state & MONITORED:
        monitor(tx, argv)
    return tx.server.scripts.call(tx, argv, read_only=True)


# ---- FUNCTION ------------------------------------------------------------------------------------

_HELP = (
    b"FUNCTION <subcommand> [<argument> ...]. The subcommands:",
    b"LOAD [REPLACE] <code>",
    b"    Make a library of code that begins with #!lua name=<name>; REPLACE one that is there.",
    b"DELETE <library>",
    b"    Take a library away.",
    b"LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    b"    The libraries and their functions, those that the pattern matches, with their code.",
    b"STATS",
    b"    What runs now and for how long, and how many libraries and functions there are.",
    b"KILL",
    b"    End the function that runs, unless it has written.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Take all libraries away.",
    b"DUMP",
    b"    All libraries in one string, for RESTORE.",
    b"RESTORE <string> [FLUSH|APPEND|REPLACE]",
    b"    Make the libraries of DUMP's string: FLUSH the others before, APPEND unless one of a name is",
    b"    there (which is what is done if nothing is said), or REPLACE those.",
    b"HELP",
    b"    These lines.",
)


@command(
    "FUNCTION", arity=-2, flags=0, group="scripting", since="7.0.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about libraries of functions.",
)  # fmt: skip
def function_(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION HELP, for who asks the container itself"""
    return function_help(tx, argv)


@command(
    "FUNCTION|LOAD", arity=-3, flags=WRITE | DENYOOM | NOSCRIPT, group="scripting", since="7.0.0",
    acl=("write", "slow", "scripting"), tips=_ALL_SHARDS, syntax="[REPLACE] function-code",
    complexity="O(1), compiling not counted", summary="Makes a library of functions.",
)  # fmt: skip
def function_load(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION LOAD [REPLACE] function-code"""
    for word in argv[2:-1]:
        if word.upper() != b"REPLACE":
            raise CommandError(script_errors.unknown_function_option(word))
    libraries = libraries_of(tx.keyspace)
    library = libraries.prepare(argv[-1], replace=len(argv) > 3, timed=tx.now_ms > 0)
    tx.log(encode(argv))
    libraries.put(library)
    return bulk(library.name)


@command(
    "FUNCTION|DELETE", arity=3, flags=WRITE | NOSCRIPT, group="scripting", since="7.0.0",
    acl=("write", "slow", "scripting"), tips=_ALL_SHARDS, syntax="library-name", complexity="O(1)",
    summary="Takes a library away.",
)  # fmt: skip
def function_delete(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION DELETE library-name"""
    libraries = libraries_of(tx.keyspace)
    if argv[2] not in libraries.by_name:
        raise CommandError(script_errors.LIBRARY_NOT_FOUND)
    tx.log(encode(argv))
    libraries.remove(argv[2])
    return OK


@command(
    "FUNCTION|FLUSH", arity=-2, flags=WRITE | NOSCRIPT, group="scripting", since="7.0.0",
    acl=("write", "slow", "scripting"), tips=_ALL_SHARDS, syntax="[ASYNC | SYNC]",
    complexity="O(N) for N functions", summary="Takes all libraries away.",
)  # fmt: skip
def function_flush(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION FLUSH [ASYNC | SYNC]"""
    if len(argv) > 3:
        raise CommandError(script_errors.wrong_function_arguments(argv[1]))
    if len(argv) == 3 and argv[2].upper() not in (b"ASYNC", b"SYNC"):
        raise CommandError(script_errors.FUNCTION_FLUSH_OPTION)
    tx.log(encode(argv))
    libraries_of(tx.keyspace).flush()
    return OK


@command(
    "FUNCTION|LIST", arity=-2, flags=NOSCRIPT, group="scripting", since="7.0.0", acl=ACL,
    tips=("nondeterministic_output_order",), syntax="[LIBRARYNAME library-name-pattern] [WITHCODE]",
    complexity="O(N) for N functions", summary="Returns the libraries and their functions.",
)  # fmt: skip
def function_list(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]"""
    pattern: bytes | None = None
    with_code = False
    words = iter(argv[2:])
    for word in words:
        if not with_code and word.upper() == b"WITHCODE":
            with_code = True
        elif pattern is None and word.upper() == b"LIBRARYNAME":
            pattern = next(words, None)
            if pattern is None:
                raise CommandError(script_errors.LIBRARY_PATTERN_MISSING)
        else:
            raise CommandError(script_errors.unknown_list_argument(word))
    found = [
        _shown(library, with_code, tx.resp3)
        for library in libraries_of(tx.keyspace).by_name.values()
        if pattern is None or matches_ignoring_case(pattern, library.name)
    ]
    return array(found)


def _shown(library: Library, with_code: bool, resp3: bool) -> bytes:
    """A library as FUNCTION LIST has it."""
    functions = []
    for function in library.functions.values():
        flags = [simple(name) for name in function.flag_names()]
        description = function.description
        functions.append(
            map_head(3, resp3)
            + bulk(b"name") + bulk(function.name)
            + bulk(b"description") + (_null(resp3) if description is None else bulk(description))
            + bulk(b"flags") + set_head(len(flags), resp3) + b"".join(flags)
        )  # fmt: skip
    shown = (
        map_head(4 if with_code else 3, resp3)
        + bulk(b"library_name") + bulk(library.name)
        + bulk(b"engine") + bulk(b"LUA")
        + bulk(b"functions") + array(functions)
    )  # fmt: skip
    return shown + bulk(b"library_code") + bulk(library.code) if with_code else shown


def _null(resp3: bool) -> bytes:
    return b"_\r\n" if resp3 else b"$-1\r\n"


@command(
    "FUNCTION|STATS", arity=2, flags=NOSCRIPT | ALLOW_BUSY, group="scripting", since="7.0.0", acl=ACL,
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"), complexity="O(1)",
    summary="Returns what runs now, and how many libraries and functions there are.",
)  # fmt: skip
def function_stats(tx: ServerTx, argv: list[bytes]) -> bytes:
    """FUNCTION STATS"""
    scripts = tx.server.scripts
    run = scripts.stage.run
    if run is None:
        running = tx.null
    else:
        running = (
            map_head(3, tx.resp3)
            + bulk(b"name") + bulk(run.name)
            + bulk(b"command") + bulk_array(run.argv)
            + bulk(b"duration_ms") + integer(duration_ms(run))
        )  # fmt: skip
    libraries = scripts.libraries
    counts = (
        map_head(2, tx.resp3)
        + bulk(b"libraries_count") + integer(len(libraries.by_name))
        + bulk(b"functions_count") + integer(libraries.function_count())
    )  # fmt: skip
    engines = map_head(1, tx.resp3) + bulk(b"LUA") + counts
    return map_head(2, tx.resp3) + bulk(b"running_script") + running + bulk(b"engines") + engines


@command(
    "FUNCTION|KILL", arity=2, flags=NOSCRIPT | ALLOW_BUSY, group="scripting", since="7.0.0", acl=ACL,
    tips=("request_policy:all_shards", "response_policy:one_succeeded"), complexity="O(1)",
    summary="Ends the function that runs, unless it has written.",
)  # fmt: skip
def function_kill(tx: ServerTx, argv: list[bytes]) -> bytes:
    """FUNCTION KILL"""
    tx.server.scripts.slices.kill(is_eval=False)
    return OK


@command(
    "FUNCTION|DUMP", arity=2, flags=NOSCRIPT, group="scripting", since="7.0.0", acl=ACL,
    complexity="O(N) for N functions", summary="Returns all libraries in one string, for FUNCTION RESTORE.",
)  # fmt: skip
def function_dump(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION DUMP"""
    return bulk(payload.dump(libraries_of(tx.keyspace).codes()))


@command(
    "FUNCTION|RESTORE", arity=-3, flags=WRITE | DENYOOM | NOSCRIPT, group="scripting", since="7.0.0",
    acl=("write", "slow", "scripting"), tips=_ALL_SHARDS, syntax="serialized-value [FLUSH | APPEND | REPLACE]",
    complexity="O(N) for N functions", summary="Makes the libraries that FUNCTION DUMP returned.",
)  # fmt: skip
def function_restore(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]"""
    if len(argv) > 4:
        raise CommandError(script_errors.wrong_function_arguments(argv[1]))
    policy = argv[3].upper() if len(argv) == 4 else b"APPEND"
    if policy not in (b"FLUSH", b"APPEND", b"REPLACE"):
        raise CommandError(script_errors.RESTORE_POLICY)
    libraries = libraries_of(tx.keyspace)
    beside = libraries.empty_beside()
    for code in payload.restore(argv[2]):
        beside.put(beside.prepare(code, replace=False, timed=tx.now_ms > 0))
    restored = list(beside.by_name.values())
    if policy != b"FLUSH":
        libraries.check_joins(restored, replace=policy == b"REPLACE")
    tx.log(encode(argv))
    if policy == b"FLUSH":
        libraries.clear()
    for library in restored:
        libraries.put(library)
    return OK


@command(
    "FUNCTION|HELP", arity=2, flags=LOADING | STALE, group="scripting", since="7.0.0", acl=ACL, complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def function_help(tx: Tx, argv: list[bytes]) -> bytes:
    """FUNCTION HELP"""
    return array([simple(line) for line in _HELP])
