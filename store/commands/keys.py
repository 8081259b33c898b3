"""Keys of any type: deleting, renaming, moving, copying, finding them; whole databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.store import value_types
from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.scanning import page_reply, parse_cursor, parse_options
from perdure.store.database import Database
from perdure.store.errors import (
    BEYOND_INT,
    DB_INDEX_OUT_OF_RANGE,
    INVALID_FIRST_DB_INDEX,
    INVALID_SECOND_DB_INDEX,
    NO_SUCH_KEY,
    NOT_AN_INTEGER,
    SAME_OBJECT,
    SYNTAX,
    CommandError,
)
from perdure.store.events import GENERIC, NEW
from perdure.store.numbers import parse_integer
from perdure.store.patterns import matcher
from perdure.store.resp import OK, ONE, ZERO, bulk, bulk_array, encode, integer, require_bytes, simple
from perdure.store.tx import Tx

_RANDOM_TRIES = 100
_INT_MAX = (1 << 31) - 1


def _one_key(*flags: str) -> tuple[KeySpec, ...]:
    return (KeySpec(flags, ("index", 1), ("range", 0, 1, 0)),)


def _all_keys(*flags: str) -> tuple[KeySpec, ...]:
    return (KeySpec(flags, ("index", 1), ("range", -1, 1, 0)),)


def _two_keys(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[KeySpec, ...]:
    return (
        KeySpec(first, ("index", 1), ("range", 0, 1, 0)),
        KeySpec(second, ("index", 2), ("range", 0, 1, 0)),
    )


def dispose(tx: Tx, value: Any) -> None:
    """Free a value that a key had until now, if it had one: a big one bit by bit (``Keyspace.free_some``)."""
    if value is not None and value.__class__ is not bytes:
        tx.keyspace.discard(value)


# ---- deleting and looking ----------------------------------------------------------


def _delete(tx: Tx, argv: list[bytes]) -> bytes:
    db = tx.db
    if len(argv) == 2:
        key = argv[1]
        if (key not in db or key in db.expires) and tx.peek(key) is None:
            return ZERO
        tx.log(encode(argv))
        value = db.remove(key)
        if value.__class__ is not bytes:
            dispose(tx, value)
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)
        return ONE
    require_bytes(argv)
    keys = [key for key in dict.fromkeys(argv[1:]) if key in db and tx.peek(key) is not None]
    if not keys:
        return ZERO
    tx.log(encode([argv[0], *keys]))
    tx.changes += len(keys) - 1
    for key in keys:
        dispose(tx, db.remove(key))
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)
    return integer(len(keys))


@command(
    "DEL",
    arity=-2,
    flags=WRITE,
    keys_at=(1, -1, 1),
    key_specs=_all_keys("RM", "delete"),
    acl=("keyspace", "write", "slow"),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    syntax="key [key ...]",
    summary="Deletes keys, whatever their types.",
    complexity="O(N) for N keys; freeing a big value goes on in the background",
)
def del_(tx: Tx, argv: list[bytes]) -> bytes:
    """DEL key [key ...]"""
    return _delete(tx, argv)


@command(
    "UNLINK",
    arity=-2,
    flags=WRITE | FAST,
    keys_at=(1, -1, 1),
    key_specs=_all_keys("RM", "delete"),
    since="4.0.0",
    acl=("keyspace", "write", "fast"),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    syntax="key [key ...]",
    summary="Deletes keys and frees their memory in the background.",
    complexity="O(1) for each key",
)
def unlink(tx: Tx, argv: list[bytes]) -> bytes:
    """UNLINK key [key ...]"""
    return _delete(tx, argv)


@command(
    "EXISTS",
    arity=-2,
    flags=READONLY | FAST,
    keys_at=(1, -1, 1),
    key_specs=_all_keys("RO"),
    acl=("keyspace", "read", "fast"),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    history=(("3.0.3", "Takes several keys."),),
    syntax="key [key ...]",
    summary="Counts those of the given keys that exist; a key named twice counts twice.",
    complexity="O(N) for N keys",
)
def exists(tx: Tx, argv: list[bytes]) -> bytes:
    """EXISTS key [key ...]"""
    db = tx.db
    if len(argv) == 2:
        key = argv[1]
        tx.lookups += 1
        if (key in db and key not in db.expires) or tx.peek(key) is not None:
            return ONE
        tx.missed(key)
        return ZERO
    require_bytes(argv)
    if db.expires or tx.notifying:
        return _count(tx, argv, tx.peek)
    found = sum([key in db for key in argv[1:]])
    tx.lookups += len(argv) - 1
    tx.misses += len(argv) - 1 - found
    return integer(found)


def _count(tx: Tx, argv: list[bytes], find: Callable[[bytes], Any]) -> bytes:
    """How many of the keys on a command line are found."""
    found = 0
    for key in argv[1:]:
        if find(key) is not None:
            found += 1
        else:
            tx.missed(key)
    tx.lookups += len(argv) - 1
    return integer(found)


@command(
    "TOUCH",
    arity=-2,
    flags=READONLY | FAST,
    keys_at=(1, -1, 1),
    key_specs=_all_keys("RO"),
    since="3.2.1",
    acl=("keyspace", "read", "fast"),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    syntax="key [key ...]",
    summary="Counts those of the given keys that exist, as a use of each.",
    complexity="O(N) for N keys",
)
def touch(tx: Tx, argv: list[bytes]) -> bytes:
    """TOUCH key [key ...]"""
    return _count(tx, argv, tx.lookup)


@command(
    "TYPE",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_one_key("RO"),
    acl=("keyspace", "read", "fast"),
    syntax="key",
    summary="Returns the name of the type of a key's value.",
    complexity="O(1)",
)
def type_(tx: Tx, argv: list[bytes]) -> bytes:
    """TYPE key"""
    value = tx.peek(argv[1])
    if value is None:
        tx.missed(argv[1])
        return b"+none\r\n"
    return simple(value_types.of(value).name)


# ---- finding -----------------------------------------------------------------------


@command(
    "KEYS",
    arity=2,
    flags=READONLY,
    acl=("keyspace", "read", "slow", "dangerous"),
    tips=("request_policy:all_shards", "nondeterministic_output_order"),
    syntax="pattern",
    summary="Returns all keys that match a pattern.",
    complexity="O(N) for a database of N keys",
)
def keys(tx: Tx, argv: list[bytes]) -> bytes:
    """KEYS pattern"""
    db = tx.db
    pattern = argv[1]
    found = list(db) if pattern == b"*" else list(filter(matcher(pattern), db))
    if db.expires:
        now_ms = tx.now_ms
        deadline_of = db.expires.get
        found = [key for key in found if (deadline := deadline_of(key)) is None or deadline > now_ms]
    return bulk_array(found)


@command(
    "SCAN",
    arity=-2,
    flags=READONLY,
    since="2.8.0",
    acl=("keyspace", "read", "slow"),
    tips=("nondeterministic_output", "request_policy:special"),
    history=(("6.0.0", "Takes `TYPE`."),),
    syntax="cursor [MATCH pattern] [COUNT count] [TYPE type]",
    summary="Goes through the keys of a database page by page.",
    complexity="O(1) for a page, O(N) for a whole scan of N keys",
)
def scan(tx: Tx, argv: list[bytes]) -> bytes:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]"""
    cursor = parse_cursor(argv[1])
    options = parse_options(argv, 2, True)
    db = tx.db
    cursor, page = db.order.page(cursor, options.count)
    if options.match is not None:
        page = list(filter(options.match, page))
    if options.type_name is not None:
        page = _of_type(tx, page, options.type_name)
    elif db.expires:
        page = [key for key in page if tx.peek(key) is not None]
    return page_reply(cursor, page)


def _of_type(tx: Tx, page: list[bytes], type_name: bytes) -> list[bytes]:
    """Those of a page whose values have a type; as in stock each key is looked up, and one that has expired is none."""
    tx.lookups += len(page)
    found = []
    for key in page:
        value = tx.peek(key)
        if value is None:
            tx.missed(key)
        if (b"none" if value is None else value_types.of(value).name) == type_name:
            found.append(key)
    return found


@command(
    "RANDOMKEY",
    arity=1,
    flags=READONLY,
    acl=("keyspace", "read", "slow"),
    tips=("request_policy:all_shards", "nondeterministic_output"),
    summary="Returns a random key.",
    complexity="O(1)",
)
def randomkey(tx: Tx, argv: list[bytes]) -> bytes:
    """RANDOMKEY"""
    db = tx.db
    for _ in range(_RANDOM_TRIES):
        if not db:
            return tx.null
        key = db.order.choose(tx.rng)
        if not db.expires or tx.peek(key) is not None:
            return bulk(key)
    # Nearly all have expired, or the log refuses their removal: the first that has not.
    alive = (key for key in db if db.expires.get(key, tx.now_ms + 1) > tx.now_ms)
    found = next(alive, None)
    return tx.null if found is None else bulk(found)


@command(
    "DBSIZE",
    arity=1,
    flags=READONLY | FAST,
    group="server",
    acl=("keyspace", "read", "fast"),
    tips=("request_policy:all_shards", "response_policy:agg_sum"),
    summary="Counts the keys of the selected database.",
    complexity="O(1)",
)
def dbsize(tx: Tx, argv: list[bytes]) -> bytes:
    """DBSIZE"""
    return integer(len(tx.db))


# ---- renaming, moving, copying -----------------------------------------------------


def _place(tx: Tx, db: Database, key: bytes, value: Any, deadline_ms: int | None) -> None:
    """Put a value under a key, in the place of whatever is there."""
    dispose(tx, dict.get(db, key))
    db.replace(key, value)
    if deadline_ms is not None:
        db.expire_at(key, deadline_ms)
    first_deadline_ms = value_types.of(value).first_deadline_ms
    if first_deadline_ms is not None and (first_ms := first_deadline_ms(value)) is not None:
        db.member_expires_at(key, first_ms)


def _rename(tx: Tx, argv: list[bytes], only_new: bool) -> bytes:
    _, source, target = argv
    value = tx.lookup(source)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if source == target:
        return ZERO if only_new else OK
    if tx.lookup(target) is not None and only_new:
        return ZERO
    tx.log(encode((b"RENAME", source, target)))
    db = tx.db
    deadline_ms = db.expires.get(source)
    db.remove(source)
    _place(tx, db, target, value, deadline_ms)
    if tx.notifying:
        tx.notify(NEW, b"new", target)
        tx.notify(GENERIC, b"rename_from", source)
        tx.notify(GENERIC, b"rename_to", target)
    return ONE if only_new else OK


@command(
    "RENAME",
    arity=3,
    flags=WRITE,
    keys_at=(1, 2, 1),
    key_specs=_two_keys(("RW", "access", "delete"), ("OW", "update")),
    acl=("keyspace", "write", "slow"),
    syntax="key newkey",
    summary="Gives a value and its time to live another key, in the place of what that key had.",
    complexity="O(1)",
)
def rename(tx: Tx, argv: list[bytes]) -> bytes:
    """RENAME key newkey"""
    return _rename(tx, argv, False)


@command(
    "RENAMENX",
    arity=3,
    flags=WRITE | FAST,
    keys_at=(1, 2, 1),
    key_specs=_two_keys(("RW", "access", "delete"), ("OW", "insert")),
    acl=("keyspace", "write", "fast"),
    history=(("3.2.0", "Answers 0 and no error if both names are the same."),),
    syntax="key newkey",
    summary="Gives a value another key unless that key exists.",
    complexity="O(1)",
)
def renamenx(tx: Tx, argv: list[bytes]) -> bytes:
    """RENAMENX key newkey"""
    return _rename(tx, argv, True)


def _read_index(arg: bytes, error: bytes | None = None) -> int:
    """A number that may be a database's; ``error`` instead of the usual texts if it is none."""
    number = parse_integer(arg, error or NOT_AN_INTEGER)
    if not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise CommandError(error or BEYOND_INT)
    return number


def _check_index(tx: Tx, index: int) -> int:
    if not 0 <= index < len(tx.keyspace.databases):
        raise CommandError(DB_INDEX_OUT_OF_RANGE)
    return index


def _exists_in(tx: Tx, index: int, key: bytes) -> bool:
    """Does a key exist in another database?  If it has expired, it is removed there."""
    here = tx.db_index
    tx.select(index)
    try:
        return tx.lookup(key) is not None
    finally:
        tx.select(here)


@command(
    "MOVE",
    arity=3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_one_key("RW", "access", "update"),
    acl=("keyspace", "write", "fast"),
    syntax="key db",
    summary="Moves a key to another database unless it exists there.",
    complexity="O(1)",
)
def move(tx: Tx, argv: list[bytes]) -> bytes:
    """MOVE key db"""
    _, key, number = argv
    index = _check_index(tx, _read_index(number))
    if index == tx.db_index:
        raise CommandError(SAME_OBJECT)
    value = tx.lookup(key)
    if value is None or _exists_in(tx, index, key):
        return ZERO
    tx.log(encode(argv))
    db = tx.db
    deadline_ms = db.expires.get(key)
    db.remove(key)
    _place(tx, tx.keyspace.databases[index], key, value, deadline_ms)
    if tx.notifying:
        tx.notify(NEW, b"new", key, index)
        tx.notify(GENERIC, b"move_from", key)
        tx.notify(GENERIC, b"move_to", key, index)
    return ONE


@command(
    "COPY",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, 2, 1),
    key_specs=_two_keys(("RO", "access"), ("OW", "update")),
    since="6.2.0",
    acl=("keyspace", "write", "slow"),
    syntax="source destination [DB destination-db] [REPLACE]",
    summary="Copies a value and its time to live to another key, also into another database.",
    complexity="O(N) for a value of N members, O(1) for a string",
)
def copy(tx: Tx, argv: list[bytes]) -> bytes:
    """COPY source destination [DB destination-db] [REPLACE]"""
    source, target = argv[1], argv[2]
    index = tx.db_index
    replace = False
    options = iter(argv[3:])
    for option in options:
        name = option.upper()
        number = next(options, None) if name == b"DB" else None
        if name == b"REPLACE":
            replace = True
        elif number is not None:
            index = _check_index(tx, _read_index(number))
        else:
            raise CommandError(SYNTAX)
    if index == tx.db_index and source == target:
        raise CommandError(SAME_OBJECT)
    value = tx.lookup(source)
    tx.lookups += 1
    if value is None:
        tx.missed(source)
    if value is None or (_exists_in(tx, index, target) and not replace):
        return ZERO
    twin = value_types.of(value).copy(value)
    tx.log(encode(argv))
    _place(tx, tx.keyspace.databases[index], target, twin, tx.db.expires.get(source))
    if tx.notifying:
        tx.notify(NEW, b"new", target, index)
        tx.notify(GENERIC, b"copy_to", target, index)
    return ONE


# ---- whole databases ---------------------------------------------------------------


def _check_flush_mode(argv: list[bytes]) -> None:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError(SYNTAX)


@command(
    "FLUSHDB",
    arity=-1,
    flags=WRITE,
    group="server",
    acl=("keyspace", "write", "slow", "dangerous"),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    history=(("4.0.0", "Takes `ASYNC`."), ("6.2.0", "Takes `SYNC`.")),
    syntax="[ASYNC | SYNC]",
    summary="Empties the selected database; its memory is freed in the background.",
    complexity="O(1)",
)
def flushdb(tx: Tx, argv: list[bytes]) -> bytes:
    """FLUSHDB [ASYNC | SYNC]"""
    _check_flush_mode(argv)
    if tx.db:
        tx.log(encode((b"FLUSHDB",)))
        tx.changes += len(tx.db) - 1
        tx.keyspace.flush(tx.db_index)
        tx.db = tx.keyspace.databases[tx.db_index]
    return OK


@command(
    "FLUSHALL",
    arity=-1,
    flags=WRITE,
    group="server",
    acl=("keyspace", "write", "slow", "dangerous"),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    history=(("4.0.0", "Takes `ASYNC`."), ("6.2.0", "Takes `SYNC`.")),
    syntax="[ASYNC | SYNC]",
    summary="Empties all databases; their memory is freed in the background.",
    complexity="O(1)",
)
def flushall(tx: Tx, argv: list[bytes]) -> bytes:
    """FLUSHALL [ASYNC | SYNC]"""
    _check_flush_mode(argv)
    count = tx.keyspace.key_count()
    if count:
        tx.log(encode((b"FLUSHALL",)))
        tx.changes += count - 1
        tx.keyspace.flush_all()
        tx.db = tx.keyspace.databases[tx.db_index]
    tx.flushed_all()
    return OK


@command(
    "SWAPDB",
    arity=3,
    flags=WRITE | FAST,
    group="server",
    since="4.0.0",
    acl=("keyspace", "write", "fast", "dangerous"),
    syntax="index1 index2",
    summary="Exchanges the contents of two databases for all clients at once.",
    complexity="O(1)",
)
def swapdb(tx: Tx, argv: list[bytes]) -> bytes:
    """SWAPDB index1 index2"""
    a = _read_index(argv[1], INVALID_FIRST_DB_INDEX)
    b = _read_index(argv[2], INVALID_SECOND_DB_INDEX)
    databases = tx.keyspace.databases
    _check_index(tx, a)
    _check_index(tx, b)
    if a != b and (databases[a] or databases[b]):
        tx.log(encode((b"SWAPDB", b"%d" % a, b"%d" % b)))
        tx.keyspace.swap(a, b)
        tx.db = databases[tx.db_index]
    return OK
