"""DEBUG: what tests of the server and of clients want.

It is one command that finds its subcommands itself, as in stock.  What looks at data is in ``debug_looks``.  What would
end the process or harm the data (SEGFAULT, PANIC ...) is refused; what is about parts
that there are not here is not known.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from perdure.server import reload
from perdure.server.commands import debug_looks
from perdure.server.option_values import memory
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, PROTECTED, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import INT64_MAX, read_integer
from perdure.store.resp import (
    OK,
    array,
    boolean,
    bulk,
    double,
    encode,
    integer,
    map_head,
    push_head,
    set_head,
    simple,
    verbatim,
)

Subcommand = Callable[[ServerTx, list[bytes]], bytes]
_MANY = 1 << 31

_NUMBER = re.compile(rb"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE)
_MAX_SLEEP_S = 1e9
_MAX_PACKED_BYTES = (1 << 32) - (1 << 20)
_POPULATE_TOGETHER = 256
_HELP = (
    b"DEBUG <subcommand> [<argument> ...]. The subcommands:",
    b"CHANGE-REPL-ID",
    b"    Take another replication id.",
    b"DIGEST",
    b"    A digest of all data: that of the same data in stock.",
    b"DIGEST-VALUE <key> [<key> ...]",
    b"    A digest of each of these values.",
    b"ERROR <text>",
    b"    Answer with this error.",
    b"HTSTATS <database>",
    b"    What is known of a database's tables.",
    b"HTSTATS-KEY <key>",
    b"    What is known of a value's table.",
    b"LISTPACK <key>",
    b"    Is the value small enough for stock's listpack?",
    b"LOADAOF",
    b"    Read the log from its files, and go on with what it holds.",
    b"LOG <text>",
    b"    Write this into the server's log.",
    b"OBJECT <key>",
    b"    What is known of a value.",
    b"POPULATE <count> [<prefix>] [<size>]",
    b"    Make strings <prefix>:0 ... of so many bytes where no such keys are.",
    b"PROTOCOL <type>",
    b"    Answer with a sample of: string, integer, double, bignum, null, array, set, map,",
    b"    attrib, push, verbatim, true, false.",
    b"QUICKLIST <key>",
    b"    Is the value a list?",
    b"QUICKLIST-PACKED-THRESHOLD <size>",
    b"    Taken for stock's sake; it changes nothing.",
    b"RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    b"    Save a snapshot and load it. NOSAVE: load the one that is there. NOFLUSH: beside the keys that are",
    b"    there, none of which it may hold. MERGE: those give way.",
    b"SDSLEN <key>",
    b"    Lengths of a key and of its string.",
    b"SET-ACTIVE-EXPIRE <0|1>",
    b"    0: leave keys that are due where they are until somebody asks for them. 1: as usual.",
    b"SLEEP <seconds>",
    b"    Do nothing at all for so long, fractions allowed; everybody waits.",
    b"STRINGMATCH-TEST",
    b"    Match many patterns; that must end.",
    b"HELP",
    b"    These lines.",
)


# ---- the process -------------------------------------------------------------------------------


def _number(text: bytes) -> float:
    """The number that a text begins with, 0 for none."""
    match = _NUMBER.match(text)
    return float(match[0]) if match else 0.0


def _help(tx: ServerTx, argv: list[bytes]) -> bytes:
    return array([simple(line) for line in _HELP])


def _sleep(tx: ServerTx, argv: list[bytes]) -> bytes:
    time.sleep(min(max(_number(argv[2]), 0.0), _MAX_SLEEP_S))
    return OK


def _set_active_expire(tx: ServerTx, argv: list[bytes]) -> bytes:
    tx.server.active_expire = _number(argv[2]) >= 1
    return OK


def _change_repl_id(tx: ServerTx, argv: list[bytes]) -> bytes:
    tx.server.replication_id = f"{tx.server.rng.getrandbits(160):040x}"
    return OK


def _log(tx: ServerTx, argv: list[bytes]) -> bytes:
    tx.server.log.warning(f"DEBUG LOG: {argv[2].decode('utf-8', 'backslashreplace')}")
    return OK


def _error(tx: ServerTx, argv: list[bytes]) -> bytes:
    return b"-%b\r\n" % argv[2].replace(b"\r", b" ").replace(b"\n", b" ")


def _packed_threshold(tx: ServerTx, argv: list[bytes]) -> bytes:
    size = memory(argv[2])
    if size is None or size > _MAX_PACKED_BYTES:
        raise CommandError(errors.PACKED_THRESHOLD)
    return OK


def _reload(tx: ServerTx, argv: list[bytes]) -> bytes:
    words = {word.upper() for word in argv[2:]}
    if not words <= {b"MERGE", b"NOFLUSH", b"NOSAVE"}:
        raise CommandError(errors.DEBUG_RELOAD_OPTION)
    reload.reload_snapshot(
        tx.server, save=b"NOSAVE" not in words, flush=b"NOFLUSH" not in words, merge=b"MERGE" in words
    )
    return OK


def _load_log(tx: ServerTx, argv: list[bytes]) -> bytes:
    trouble = reload.load_again(tx.server)
    if trouble:
        raise CommandError(errors.log_not_loaded(trouble.encode("utf-8", "backslashreplace")))
    tx.server.log.notice("DEBUG LOADAOF: the data was made anew out of the log")
    return OK


def _refused(tx: ServerTx, argv: list[bytes]) -> bytes:
    raise CommandError(errors.debug_refused(argv[1]))


# ---- data ----------------------------------------------------------------------------------------


def _positive(text: bytes) -> int:
    number = read_integer(text)
    if number is None or not 0 <= number <= INT64_MAX:
        raise CommandError(errors.MUST_BE_POSITIVE)
    return number


def _populate(tx: ServerTx, argv: list[bytes]) -> bytes:
    """POPULATE count [prefix] [size]; logged, unlike in stock, for what is in memory is in the log (LOG-FIRST)."""
    count = _positive(argv[2])
    prefix = argv[3] if len(argv) > 3 else b"key"
    size = _positive(argv[4]) if len(argv) > 4 else 0
    if size > tx.max_bulk_bytes:
        raise CommandError(errors.STRING_TOO_LONG)
    made: list[tuple[bytes, bytes]] = []
    for at in range(count):
        key, value = b"%b:%d" % (prefix, at), b"value:%d" % at
        if tx.lookup(key) is None:
            made.append((key, value[:size].ljust(size, b"\0") if size else value))
        if len(made) == _POPULATE_TOGETHER or len(made) * size > tx.max_bulk_bytes:
            _put(tx, made)
    _put(tx, made)
    return OK


def _put(tx: ServerTx, made: list[tuple[bytes, bytes]]) -> None:
    if made:
        tx.log_together([encode((b"SET", key, value)) for key, value in made])
        for key, value in made:
            tx.db.put(key, value)
        made.clear()


# ---- replies of every type -----------------------------------------------------------------------


def _protocol(tx: ServerTx, argv: list[bytes]) -> bytes:
    sample = _SAMPLES.get(argv[2].lower())
    if sample is None:
        raise CommandError(errors.DEBUG_PROTOCOL)
    return sample(tx)


def _attribute(tx: ServerTx) -> bytes:
    text = bulk(b"Some real reply following the attribute")
    if not tx.resp3:
        return text
    return b"|1\r\n" + bulk(b"key-popularity") + array([bulk(b"key:123"), integer(90)]) + text


def _push(tx: ServerTx) -> bytes:
    if not tx.resp3:
        raise CommandError(errors.DEBUG_NEEDS_RESP3)
    text = bulk(b"Some real reply following the push reply")
    return push_head(2, True) + bulk(b"server-cpu-usage") + integer(42) + text


def _map(tx: ServerTx) -> bytes:
    pairs = [integer(n) + boolean(n == 1, tx.resp3) for n in range(3)]
    return map_head(len(pairs), tx.resp3) + b"".join(pairs)


_BIG = b"1234567999999999999999999999999999999"
_SAMPLES: dict[bytes, Callable[[ServerTx], bytes]] = {
    b"string": lambda tx: bulk(b"Hello World"),
    b"integer": lambda tx: integer(12345),
    b"double": lambda tx: double(b"3.141", tx.resp3),
    b"null": lambda tx: tx.null,
    b"array": lambda tx: array([integer(n) for n in range(3)]),
    b"set": lambda tx: set_head(3, tx.resp3) + b"".join(map(integer, range(3))),
    b"map": _map,
    b"attrib": _attribute,
    b"push": _push,
    b"bignum": lambda tx: b"(%b\r\n" % _BIG if tx.resp3 else bulk(_BIG),
    b"verbatim": lambda tx: verbatim(b"This is a verbatim\nstring", tx.resp3),
    b"true": lambda tx: boolean(True, tx.resp3),
    b"false": lambda tx: boolean(False, tx.resp3),
}

_HARMFUL = (b"ASSERT", b"CRASH-AND-RECOVER", b"LEAK", b"OOM", b"PANIC", b"RESTART", b"SEGFAULT")

# ---- the command -----------------------------------------------------------------------------------

_SUBCOMMANDS: dict[bytes, tuple[int, int, Subcommand]] = {
    b"HELP": (2, 2, _help),
    b"CHANGE-REPL-ID": (2, 2, _change_repl_id),
    b"DIGEST": (2, 2, debug_looks.digest_of_all),
    b"DIGEST-VALUE": (2, _MANY, debug_looks.digest_of_values),
    b"ERROR": (3, 3, _error),
    b"HTSTATS": (3, 3, debug_looks.database_tables),
    b"HTSTATS-KEY": (3, 3, debug_looks.table_of_value),
    b"LISTPACK": (3, 3, debug_looks.listpack),
    b"LOADAOF": (2, 2, _load_log),
    b"LOG": (3, 3, _log),
    b"OBJECT": (3, 3, debug_looks.describe),
    b"POPULATE": (3, 5, _populate),
    b"PROTOCOL": (3, 3, _protocol),
    b"QUICKLIST": (3, 4, debug_looks.quicklist),
    b"QUICKLIST-PACKED-THRESHOLD": (3, 3, _packed_threshold),
    b"RELOAD": (2, _MANY, _reload),
    b"SDSLEN": (3, 3, debug_looks.string_lengths),
    b"SET-ACTIVE-EXPIRE": (3, 3, _set_active_expire),
    b"SLEEP": (3, 3, _sleep),
    b"STRINGMATCH-TEST": (2, 2, debug_looks.match_patterns),
    **dict.fromkeys(_HARMFUL, (2, _MANY, _refused)),
}


@command(
    "DEBUG", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED, group="server",
    acl=("admin", "slow", "dangerous"), doc_flags=("syscmd",), syntax="subcommand [argument ...]",
    complexity="Depends on what it is told",
    summary="Does what only tests of the server want.",
)  # fmt: skip
def debug(tx: ServerTx, argv: list[bytes]) -> bytes:
    """DEBUG subcommand [argument ...]"""
    least, most, run = _SUBCOMMANDS.get(argv[1].upper(), (_MANY, 0, _help))
    if not least <= len(argv) <= most:
        raise CommandError(errors.unknown_debug(argv[1]))
    return run(tx, argv)
