"""Sets: SADD, SREM, SISMEMBER and their kind; the value is ``store.set_value``.

SPOP, SRANDMEMBER and SSCAN are in ``set_draws``, SUNION, SINTER and SDIFF in
``set_algebra``.
"""

from __future__ import annotations

from functools import partial

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.errors import WRONG_TYPE, CommandError
from perdure.store.events import GENERIC, NEW, SET
from perdure.store.resp import BULK_HEADS, CRLF, ONE, ZERO, array, bulks, encode, integer, set_head
from perdure.store.set_value import MANY_MEMBERS, AnySet, IntSet, Set, make, read_integers, with_integers
from perdure.store.tx import Tx

_join = b"".join
_SADD = b"*3\r\n$4\r\nSADD\r\n"


def spec(*flags: str, at: int = 1, last: int = 0) -> KeySpec:
    """One specification: keys from argument ``at`` on, up to ``last`` behind it (-1: to the end)."""
    return KeySpec(flags, ("index", at), ("range", last, 1, 0))


ACCESSED = (spec("RO", "access"),)
WRITES = ("write", "set", "fast")
WRITES_SLOWLY = ("write", "set", "slow")
READS = ("read", "set", "fast")
READS_SLOWLY = ("read", "set", "slow")

set_command = partial(command, group="set")
"""``@command`` for this data type."""


def find_set(tx: Tx, key: bytes) -> AnySet | None:
    """A key's set, None if there is no such key; CommandError (WRONGTYPE) if it is something else."""
    db = tx.db
    value = db.get(key)
    if value is None or (db.expires and key in db.expires):
        value = tx.lookup(key)
    if value is None or value.__class__ is Set or value.__class__ is IntSet:
        return value
    raise CommandError(WRONG_TYPE)


def read_set(tx: Tx, key: bytes) -> AnySet | None:
    """As ``find_set``, for a command that reads: misses and wrong types are counted (``Tx.misses``)."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is Set or value.__class__ is IntSet:
        return value
    if value is None:
        tx.missed(key)
        return None
    raise tx.refuse(WRONG_TYPE)


def shown(value: AnySet, resp3: bool) -> bytes:
    """A set as a reply."""
    return bulks(set_head(len(value), resp3), value.members())


# ---- adding ------------------------------------------------------------------------


def put_members(tx: Tx, key: bytes, value: AnySet | None, members: dict[bytes, None]) -> None:
    """Add members that are not in a key's set (one at least); the set is made if there is none.  Logged already."""
    db = tx.db
    if value is None:
        db.replace(key, make(members, tx.limits))
    elif isinstance(value, Set):
        value.add(members)
    else:
        integers = read_integers(members)
        if integers is None:
            db[key] = Set([*value.members(), *members])
        else:
            grown = with_integers(value, integers, tx.limits)
            if grown is not value:
                db[key] = grown


def _add(tx: Tx, argv: list[bytes]) -> int:
    """SADD of whatever there is: how many members were new."""
    key = argv[1]
    value = find_set(tx, key)
    if value is None:
        fresh = dict.fromkeys(argv[2:])
    else:
        has = value.has
        fresh = {member: None for member in argv[2:] if not has(member)}
        if not fresh:
            return 0
    tx.log(encode(argv))
    tx.changes += len(fresh) - 1
    put_members(tx, key, value, fresh)
    if tx.notifying:
        tx.notify_write(SET, b"sadd", key, value is None)
    return len(fresh)


@set_command(
    "SADD",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=(spec("RW", "insert"),),
    acl=WRITES,
    history=(("2.4.0", "Takes several members."),),
    syntax="key member [member ...]",
    summary="Adds members to a set; returns how many of them were new.",
    complexity="O(1) for each member; O(N) for integers among few integers, which are kept in order",
)
def sadd(tx: Tx, argv: list[bytes]) -> bytes:
    """SADD key member [member ...]"""
    if len(argv) != 3:
        return integer(_add(tx, argv))
    _, key, member = argv
    db = tx.db
    value = db.get(key)
    if value.__class__ is not Set or key in db.expires:
        return ONE if _add(tx, argv) else ZERO
    if member in value:
        return ZERO
    try:
        record = _join((_SADD, BULK_HEADS[len(key)], key, CRLF, BULK_HEADS[len(member)], member, CRLF))
    except IndexError:
        record = encode(argv)
    tx.log(record)
    value[member] = None
    if value.order is not None:
        value.order.append(member)
    elif len(value) > MANY_MEMBERS:
        value.ordered()
    if tx.notifying:
        tx.notify(SET, b"sadd", key)
    return ONE


# ---- taking away -------------------------------------------------------------------


def take_members(tx: Tx, key: bytes, value: AnySet, members: list[bytes]) -> bool:
    """Take distinct members that are there out of a key's set; did the key go with them?  Logged already."""
    if len(members) == len(value):
        dispose(tx, tx.db.remove(key))
        return True
    value.drop(members)
    return False


@set_command(
    "SREM",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=(spec("RW", "delete"),),
    acl=WRITES,
    history=(("2.4.0", "Takes several members."),),
    syntax="key member [member ...]",
    summary="Removes members from a set, and the key with the last of them; returns how many were there.",
    complexity="O(N) for N members given",
)
def srem(tx: Tx, argv: list[bytes]) -> bytes:
    """SREM key member [member ...]"""
    key = argv[1]
    value = find_set(tx, key)
    if value is None:
        return ZERO
    has = value.has
    members = [member for member in dict.fromkeys(argv[2:]) if has(member)]
    if not members:
        return ZERO
    tx.log(encode([b"SREM", key, *members]))
    tx.changes += len(members) - 1
    ended = take_members(tx, key, value, members)
    if tx.notifying:
        tx.notify(SET, b"srem", key)
        if ended:
            tx.notify(GENERIC, b"del", key)
    return integer(len(members))


@set_command(
    "SMOVE",
    arity=4,
    flags=WRITE | FAST,
    keys_at=(1, 2, 1),
    key_specs=(spec("RW", "access", "delete"), spec("RW", "insert", at=2)),
    acl=WRITES,
    syntax="source destination member",
    summary="Moves a member from one set to another.",
    complexity="O(1)",
)
def smove(tx: Tx, argv: list[bytes]) -> bytes:
    """SMOVE source destination member: logged as SREM if the destination has the member already"""
    _, source, target, member = argv
    value = tx.lookup(source)
    other = tx.lookup(target)
    if value is None:
        return ZERO
    if value.__class__ is not Set and value.__class__ is not IntSet:
        raise CommandError(WRONG_TYPE)
    if other is not None and other.__class__ is not Set and other.__class__ is not IntSet:
        raise CommandError(WRONG_TYPE)
    if not value.has(member):
        return ZERO
    if source == target:
        return ONE
    arrives = other is None or not other.has(member)
    tx.log(encode(argv if arrives else [b"SREM", source, member]))
    tx.changes += arrives
    ended = take_members(tx, source, value, [member])
    if arrives:
        put_members(tx, target, other, {member: None})
    if tx.notifying:
        tx.notify(SET, b"srem", source)
        if ended:
            tx.notify(GENERIC, b"del", source)
        if other is None:
            tx.notify(NEW, b"new", target)
        if arrives:
            tx.notify(SET, b"sadd", target)
    return ONE


# ---- asking ------------------------------------------------------------------------


@set_command(
    "SISMEMBER",
    arity=3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=(spec("RO"),),
    acl=READS,
    syntax="key member",
    summary="Says whether a set has a member.",
    complexity="O(1)",
)
def sismember(tx: Tx, argv: list[bytes]) -> bytes:
    """SISMEMBER key member"""
    value = read_set(tx, argv[1])
    return ONE if value is not None and value.has(argv[2]) else ZERO


@set_command(
    "SMISMEMBER",
    arity=-3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    since="6.2.0",
    acl=READS,
    syntax="key member [member ...]",
    summary="Says of several members whether a set has them.",
    complexity="O(N) for N members given",
)
def smismember(tx: Tx, argv: list[bytes]) -> bytes:
    """SMISMEMBER key member [member ...]"""
    value = read_set(tx, argv[1])
    if value is None:
        return array([ZERO] * (len(argv) - 2))
    has = value.has
    return array([ONE if has(member) else ZERO for member in argv[2:]])


@set_command(
    "SMEMBERS",
    arity=2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    acl=READS_SLOWLY,
    tips=("nondeterministic_output_order",),
    syntax="key",
    summary="Returns all members of a set.",
    complexity="O(N) for N members",
)
def smembers(tx: Tx, argv: list[bytes]) -> bytes:
    """SMEMBERS key"""
    value = read_set(tx, argv[1])
    return set_head(0, tx.resp3) if value is None else shown(value, tx.resp3)


@set_command(
    "SCARD",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=(spec("RO"),),
    acl=READS,
    syntax="key",
    summary="Counts the members of a set.",
    complexity="O(1)",
)
def scard(tx: Tx, argv: list[bytes]) -> bytes:
    """SCARD key"""
    value = read_set(tx, argv[1])
    return ZERO if value is None else integer(len(value))
