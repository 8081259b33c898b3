"""Hashes: HSET, HGET and their kind; the value is ``store.hash_value.Hash``.

HRANDFIELD and HSCAN are in ``hash_pages``.
"""

from __future__ import annotations

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.errors import (
    HASH_VALUE_NOT_A_FLOAT,
    HASH_VALUE_NOT_AN_INTEGER,
    NAN_OR_INFINITY,
    NOT_A_FLOAT,
    NOT_FINITE,
    OVERFLOW,
    WRONG_TYPE,
    CommandError,
    wrong_arity,
)
from perdure.store.events import GENERIC, HASH
from perdure.store.field_expiry import drop_due
from perdure.store.hash_value import MANY_FIELDS, MAX_ENTRIES, MAX_VALUE, ExpiringHash, Hash, PackedHash
from perdure.store.numbers import (
    INFINITE,
    INT64_MAX,
    INT64_MIN,
    add_long_doubles,
    parse_integer,
    print_long_double,
    read_long_double,
)
from perdure.store.resp import (
    BULK_HEADS,
    CRLF,
    EMPTY_ARRAY,
    OK,
    ONE,
    ZERO,
    array_head,
    bulk,
    bulks,
    encode,
    integer,
    map_head,
)
from perdure.store.tx import Tx

_join = b"".join
_HSET = b"*4\r\n$4\r\nHSET\r\n"


def _spec(*flags: str) -> tuple[KeySpec, ...]:
    return (KeySpec(flags, ("index", 1), ("range", 0, 1, 0)),)


ACCESSED, _READ, UPDATED = _spec("RO", "access"), _spec("RO"), _spec("RW", "update")
_COUNTED = _spec("RW", "access", "update")
_WRITES = ("write", "hash", "fast")
_READS = ("read", "hash", "fast")
READS_SLOWLY = ("read", "hash", "slow")


def find_hash(tx: Tx, key: bytes) -> Hash | None:
    """A key's hash, None if there is no such key; CommandError (WRONGTYPE) if it is something else."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value is None or value.__class__ is Hash or value.__class__ is ExpiringHash:
        return value
    if value.__class__ is PackedHash:
        return _unpack(tx, key, value)
    raise CommandError(WRONG_TYPE)


def _unpack(tx: Tx, key: bytes, value: PackedHash) -> Hash:
    """Put an unpacked hash in the place of a packed one; that is no use of the key, nor a change."""
    hash_ = value.unpacked()
    dict.__setitem__(tx.db, key, hash_)
    tx.keyspace.warm.add(tx.db, key)
    return hash_


def read_hash(tx: Tx, key: bytes) -> Hash | None:
    """As ``find_hash``, for a command that reads: misses and wrong types are counted (``Tx.misses``)."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is Hash or value.__class__ is ExpiringHash:
        return value
    if value is None:
        tx.missed(key)
        return None
    if value.__class__ is PackedHash:
        return _unpack(tx, key, value) if tx.keyspace.warm.wants_one() else value.unpacked()
    raise tx.refuse(WRONG_TYPE)


def _set_packed(tx: Tx, argv: list[bytes], value: PackedHash) -> bytes:
    """HSET of one field of a hash that is packed, and stays so if it can."""
    _, key, field, content = argv
    made = value.with_field(field, content, tx.limits)
    if made is None:
        return integer(_set_fields(tx, argv))
    changed, is_new = made
    tx.log(encode(argv))
    tx.db[key] = changed
    if tx.notifying:
        tx.notify(HASH, b"hset", key)
    return ONE if is_new else ZERO


def _set_fields(tx: Tx, argv: list[bytes]) -> int:
    """HSET and HMSET: how many fields were new."""
    if len(argv) & 1:
        raise CommandError(wrong_arity(argv[0].lower()))
    key = argv[1]
    value = find_hash(tx, key)
    is_new = value is None
    tx.log(encode(argv))
    tx.changes += len(argv) // 2 - 2
    if value is None:
        value = Hash(zip(argv[2::2], argv[3::2], strict=True))
        tx.db.replace(key, value)
        tx.keyspace.warm.add(tx.db, key)
        created = len(value)
    elif value.order is None and value.__class__ is Hash:
        created = -len(value)
        if len(argv) == 4:
            value[argv[2]] = argv[3]
        else:
            value.update(zip(argv[2::2], argv[3::2], strict=True))
        created += len(value)
        if len(value) > MANY_FIELDS:
            value.ordered()
    else:
        created = 0
        for at in range(2, len(argv), 2):
            created += value.put(argv[at], argv[at + 1])
    if not value.big:
        value.grown(max(map(len, argv[2:])), tx.limits)
    if tx.notifying:
        tx.notify_write(HASH, b"hset", key, is_new)
    return created


@command(
    "HSET",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=UPDATED,
    group="hash",
    since="2.0.0",
    acl=_WRITES,
    history=(("4.0.0", "Takes several fields and values."),),
    syntax="key field value [field value ...]",
    summary="Sets fields of a hash; returns how many of them were new.",
    complexity="O(1) for each field",
)
def hset(tx: Tx, argv: list[bytes]) -> bytes:
    """HSET key field value [field value ...]"""
    if len(argv) != 4:
        return integer(_set_fields(tx, argv))
    _, key, field, content = argv
    db = tx.db
    value = db.get(key)
    if value.__class__ is not Hash or key in db.expires:
        if value.__class__ is PackedHash and key not in db.expires and not tx.keyspace.warm.wants_one():
            return _set_packed(tx, argv, value)
        return integer(_set_fields(tx, argv))
    try:
        record = _join((_HSET, BULK_HEADS[len(key)], key, CRLF, BULK_HEADS[len(field)], field, CRLF,
                        BULK_HEADS[len(content)], content, CRLF))  # fmt: skip
    except IndexError:
        record = encode(argv)
    limits = tx.limits
    tx.log(record)
    created = field not in value
    value[field] = content
    if created:
        if value.order is not None:
            value.order.append(field)
        elif len(value) > MANY_FIELDS:
            value.ordered()
    if not value.big:
        longest = limits[MAX_VALUE]
        value.big = len(content) > longest or len(field) > longest or len(value) > limits[MAX_ENTRIES]
    if tx.notifying:
        tx.notify(HASH, b"hset", key)
    return ONE if created else ZERO


@command(
    "HMSET",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=UPDATED,
    group="hash",
    since="2.0.0",
    acl=_WRITES,
    syntax="key field value [field value ...]",
    doc_flags=("deprecated",),
    deprecated_since="4.0.0",
    replaced_by="`HSET` with multiple field-value pairs",
    summary="Sets fields of a hash.",
    complexity="O(1) for each field",
)
def hmset(tx: Tx, argv: list[bytes]) -> bytes:
    """HMSET key field value [field value ...]"""
    _set_fields(tx, argv)
    return OK


@command(
    "HSETNX",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_spec("RW", "insert"),
    group="hash",
    since="2.0.0",
    acl=_WRITES,
    syntax="key field value",
    summary="Sets a field of a hash unless the hash has it.",
    complexity="O(1)",
)
def hsetnx(tx: Tx, argv: list[bytes]) -> bytes:
    """HSETNX key field value"""
    _, key, field, content = argv
    value = find_hash(tx, key)
    if value is not None and field in value:
        return ZERO
    if value.__class__ is ExpiringHash:
        value = drop_due(tx, key, value, field)
    tx.log(encode(argv))
    _put(tx, key, value, field, content)
    if tx.notifying:
        tx.notify_write(HASH, b"hset", key, value is None)
    return ONE


def _put(tx: Tx, key: bytes, value: Hash | None, field: bytes, content: bytes) -> None:
    """Set a field of a key's hash, which is made if there is none."""
    if value is None:
        value = Hash()
        value[field] = content
        tx.db.replace(key, value)
        tx.keyspace.warm.add(tx.db, key)
    else:
        value.put(field, content)
    if not value.big:
        value.grown(max(len(field), len(content)), tx.limits)


def _overwrite(tx: Tx, value: Hash, field: bytes, content: bytes) -> None:
    """Set a field that a hash has; if it has a deadline, that stays."""
    value[field] = content
    if not value.big:
        value.grown(max(len(field), len(content)), tx.limits)


@command(
    "HGET",
    arity=3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.0.0",
    acl=_READS,
    syntax="key field",
    summary="Returns the value of a field.",
    complexity="O(1)",
)
def hget(tx: Tx, argv: list[bytes]) -> bytes:
    """HGET key field"""
    _, key, field = argv
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is Hash:
        content = value.get(field)
        return tx.null if content is None else bulk(content)
    if value is None:
        tx.missed(key)
        return tx.null
    if value.__class__ is ExpiringHash:
        content = value.get(field)
        return tx.null if content is None else bulk(content)
    if value.__class__ is PackedHash:
        if tx.keyspace.warm.wants_one():
            _unpack(tx, key, value)
        content = value.content(field)
        return tx.null if content is None else bulk(content)
    raise tx.refuse(WRONG_TYPE)


@command(
    "HMGET",
    arity=-3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.0.0",
    acl=_READS,
    syntax="key field [field ...]",
    summary="Returns the values of several fields.",
    complexity="O(1) for each field",
)
def hmget(tx: Tx, argv: list[bytes]) -> bytes:
    """HMGET key field [field ...]"""
    value = read_hash(tx, argv[1])
    null = tx.null
    fields = argv[2:]
    if value is None:
        return array_head(len(fields)) + null * len(fields)
    get = value.get
    members = [null if (content := get(field)) is None else bulk(content) for field in fields]
    return array_head(len(fields)) + _join(members)


@command(
    "HGETALL",
    arity=2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.0.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output_order",),
    syntax="key",
    summary="Returns all fields of a hash with their values.",
    complexity="O(N) for N fields",
)
def hgetall(tx: Tx, argv: list[bytes]) -> bytes:
    """HGETALL key"""
    value = read_hash(tx, argv[1])
    if value is None:
        return map_head(0, tx.resp3)
    heads = BULK_HEADS
    parts = [map_head(len(value), tx.resp3)]
    try:
        for field, content in value.items():
            parts += (heads[len(field)], field, CRLF, heads[len(content)], content, CRLF)
    except IndexError:
        return parts[0] + _join([bulk(field) + bulk(content) for field, content in value.items()])
    return _join(parts)


@command(
    "HKEYS",
    arity=2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.0.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output_order",),
    syntax="key",
    summary="Returns all fields of a hash.",
    complexity="O(N) for N fields",
)
def hkeys(tx: Tx, argv: list[bytes]) -> bytes:
    """HKEYS key"""
    value = read_hash(tx, argv[1])
    return EMPTY_ARRAY if value is None else bulks(array_head(len(value)), value)


@command(
    "HVALS",
    arity=2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.0.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output_order",),
    syntax="key",
    summary="Returns the values of all fields of a hash.",
    complexity="O(N) for N fields",
)
def hvals(tx: Tx, argv: list[bytes]) -> bytes:
    """HVALS key"""
    value = read_hash(tx, argv[1])
    return EMPTY_ARRAY if value is None else bulks(array_head(len(value)), value.values())


@command(
    "HDEL",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_spec("RW", "delete"),
    group="hash",
    since="2.0.0",
    acl=_WRITES,
    history=(("2.4.0", "Takes several fields."),),
    syntax="key field [field ...]",
    summary="Deletes fields of a hash, and the key with the last of them.",
    complexity="O(1) for each field",
)
def hdel(tx: Tx, argv: list[bytes]) -> bytes:
    """HDEL key field [field ...]"""
    key = argv[1]
    value = find_hash(tx, key)
    if value is None:
        return ZERO
    fields = [field for field in dict.fromkeys(argv[2:]) if field in value]
    if not fields:
        return ZERO
    count = len(fields)
    if value.__class__ is ExpiringHash and count == len(value):
        fields += value.deadlines.due()  # the key goes, and whatever it does not show with it
    tx.log(encode([b"HDEL", key, *fields]))
    tx.changes += count - 1
    if len(fields) == dict.__len__(value):
        tx.db.remove(key)
    else:
        for field in fields:
            value.remove(field)
    if tx.notifying:
        tx.notify(HASH, b"hdel", key)
        if key not in tx.db:
            tx.notify(GENERIC, b"del", key)
    return integer(count)


@command(
    "HEXISTS",
    arity=3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    group="hash",
    since="2.0.0",
    acl=_READS,
    syntax="key field",
    summary="Says whether a hash has a field.",
    complexity="O(1)",
)
def hexists(tx: Tx, argv: list[bytes]) -> bytes:
    """HEXISTS key field"""
    value = read_hash(tx, argv[1])
    return ONE if value is not None and argv[2] in value else ZERO


@command(
    "HLEN",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    group="hash",
    since="2.0.0",
    acl=_READS,
    syntax="key",
    summary="Counts the fields of a hash.",
    complexity="O(1)",
)
def hlen(tx: Tx, argv: list[bytes]) -> bytes:
    """HLEN key"""
    value = read_hash(tx, argv[1])
    return ZERO if value is None else integer(len(value))


@command(
    "HSTRLEN",
    arity=3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    group="hash",
    since="3.2.0",
    acl=_READS,
    syntax="key field",
    summary="Returns the length of a field's value in bytes.",
    complexity="O(1)",
)
def hstrlen(tx: Tx, argv: list[bytes]) -> bytes:
    """HSTRLEN key field"""
    value = read_hash(tx, argv[1])
    return ZERO if value is None else integer(len(value.get(argv[2], b"")))


@command(
    "HINCRBY",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_COUNTED,
    group="hash",
    since="2.0.0",
    acl=_WRITES,
    syntax="key field increment",
    summary="Adds to the integer in a field; a field that is not there counts as 0.",
    complexity="O(1)",
)
def hincrby(tx: Tx, argv: list[bytes]) -> bytes:
    """HINCRBY key field increment"""
    _, key, field, increment = argv
    total = parse_integer(increment)
    value = find_hash(tx, key)
    if value is not None and (old := value.get(field)) is not None:
        total += parse_integer(old, HASH_VALUE_NOT_AN_INTEGER)
        if not INT64_MIN <= total <= INT64_MAX:
            raise CommandError(OVERFLOW)
    content = b"%d" % total
    if value.__class__ is ExpiringHash:
        value = drop_due(tx, key, value, field)
    tx.log(encode((b"HINCRBY", key, field, increment)))
    if value is not None and field in value:
        _overwrite(tx, value, field, content)
    else:
        _put(tx, key, value, field, content)
    if tx.notifying:
        tx.notify_write(HASH, b"hincrby", key, value is None)
    return b":%b\r\n" % content


@command(
    "HINCRBYFLOAT",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_COUNTED,
    group="hash",
    since="2.6.0",
    acl=_WRITES,
    syntax="key field increment",
    summary="Adds to the number in a field; a field that is not there counts as 0.",
    complexity="O(1)",
)
def hincrbyfloat(tx: Tx, argv: list[bytes]) -> bytes:
    """HINCRBYFLOAT key field increment: logged as HSET, so that replay hangs on no arithmetic"""
    _, key, field, increment = argv
    total = read_long_double(increment)
    if total is None:
        raise CommandError(NOT_A_FLOAT)
    if total is INFINITE:
        raise CommandError(NOT_FINITE)
    value = find_hash(tx, key)
    if value is not None and (old := value.get(field)) is not None:
        number = read_long_double(old)
        if number is None:
            raise CommandError(HASH_VALUE_NOT_A_FLOAT)
        total = add_long_doubles(number, total)
        if total is None:
            raise CommandError(NAN_OR_INFINITY)
    content = print_long_double(total)
    is_new = value is None
    records = [encode((b"HSET", key, field, content))]
    if value is not None and field in value:
        if value.__class__ is ExpiringHash and (deadline_ms := value.deadlines.by_field.get(field)) is not None:
            records.append(encode((b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"1", field)))
        tx.log_together(records)
        _overwrite(tx, value, field, content)
    else:
        tx.log(records[0])
        _put(tx, key, value, field, content)
    if tx.notifying:
        tx.notify_write(HASH, b"hincrbyfloat", key, is_new)
    return bulk(content)
