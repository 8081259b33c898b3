"""What DEBUG tells about data.  Nothing here is a use of a key, or changes anything."""

from __future__ import annotations

import sys
from random import Random
from typing import Any

from perdure.server import digest
from perdure.server.tx import ServerTx
from perdure.store import errors, value_types
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.patterns import matcher
from perdure.store.resp import array, encode, simple, verbatim
from perdure.store.uses import Recency

_LRU_CLOCK_MASK = (1 << 24) - 1
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1


def _existing(tx: ServerTx, key: bytes) -> Any:
    value = tx.peek(key)
    if value is None:
        raise CommandError(errors.NO_SUCH_KEY)
    return value


def _encoding(tx: ServerTx, value: Any) -> bytes:
    return value_types.of(value).encoding(value, tx.limits)


def digest_of_all(tx: ServerTx, argv: list[bytes]) -> bytes:
    """DIGEST"""
    return simple(digest.of_keyspace(tx.keyspace.databases).hex().encode())


def digest_of_values(tx: ServerTx, argv: list[bytes]) -> bytes:
    """DIGEST-VALUE [key ...]"""
    found = []
    for key in argv[2:]:
        value = tx.peek(key)
        own = digest.NOTHING if value is None else digest.of_value(value, key in tx.db.expires)
        found.append(simple(own.hex().encode()))
    return array(found)


def describe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """OBJECT key: ``serializedlength`` is what the value takes in the log"""
    key = argv[2]
    value = _existing(tx, key)
    kind = value_types.of(value)
    logged = sum(len(encode(line)) for line in kind.rebuild(key, value))
    uses = tx.db.uses
    idle_ms = uses.idle_ms(key) if isinstance(uses, Recency) else 0
    used_s = (tx.clock_ms - idle_ms) // 1000 & _LRU_CLOCK_MASK
    return simple(
        b"Value at:0x%x refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:%d"
        % (id(value), _encoding(tx, value), logged, used_s, idle_ms // 1000)
    )


def string_lengths(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SDSLEN key"""
    value = _existing(tx, argv[2])
    if value_types.of(value).name != b"string" or _encoding(tx, value) == b"int":
        raise CommandError(errors.NOT_AN_SDS)
    key, key_bytes, value_bytes = argv[2], sys.getsizeof(argv[2]), sys.getsizeof(value)
    spare = value_bytes - len(value) if isinstance(value, bytearray) else 0
    return simple(
        b"key_sds_len:%d, key_sds_avail:0, key_zmalloc: %d, val_sds_len:%d, val_sds_avail:%d, val_zmalloc: %d"
        % (len(key), key_bytes, len(value), spare, value_bytes)
    )


def listpack(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LISTPACK key"""
    value = _existing(tx, argv[2])
    if _encoding(tx, value) != b"listpack":
        raise CommandError(errors.NOT_A_LISTPACK)
    return simple(b"Small enough for a listpack: %d members" % len(value))


def quicklist(tx: ServerTx, argv: list[bytes]) -> bytes:
    """QUICKLIST key [0|1]"""
    value = _existing(tx, argv[2])
    if _encoding(tx, value) != b"quicklist":
        raise CommandError(errors.NOT_A_QUICKLIST)
    return simple(b"A list of %d elements" % len(value))


def _table(name: str, table: Any) -> str:
    return f"[{name}]\n number of elements: {len(table)}\n bytes of the table: {sys.getsizeof(table)}\n"


def database_tables(tx: ServerTx, argv: list[bytes]) -> bytes:
    """HTSTATS database"""
    index = parse_integer(argv[2])
    if not _INT_MIN <= index <= _INT_MAX:
        raise CommandError(errors.BEYOND_LONG)
    if not 0 <= index < len(tx.keyspace.databases):
        raise CommandError(errors.OUT_OF_RANGE_DATABASE)
    db = tx.keyspace.databases[index]
    return verbatim((_table("Dictionary HT", db) + _table("Expires HT", db.expires)).encode(), tx.resp3)


def table_of_value(tx: ServerTx, argv: list[bytes]) -> bytes:
    """HTSTATS-KEY key"""
    value = _existing(tx, argv[2])
    if _encoding(tx, value) not in (b"hashtable", b"skiplist"):
        raise CommandError(errors.NOT_A_HASH_TABLE)
    return verbatim(_table("Members", value).encode(), tx.resp3)


def match_patterns(tx: ServerTx, argv: list[bytes]) -> bytes:
    """STRINGMATCH-TEST: random patterns on random texts, each bounded in what it costs"""
    rng = Random(1)
    for _ in range(2000):
        pattern = bytes(rng.choices(b"ab*?[]^-\\", k=rng.randint(1, 32)))
        text = bytes(rng.choices(b"ab", k=rng.randint(0, 32)))
        matcher(pattern)(text)
    return simple(b"All patterns were matched, and it ended")
