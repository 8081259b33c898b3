"""Sets together: SUNION, SINTER, SDIFF, the same with a result that is stored, and SINTERCARD.

A result has the encoding that stock would give it; one of integers comes in order.
"""

from __future__ import annotations

from itertools import filterfalse, islice

from perdure.store.command import DENYOOM, MOVABLE_KEYS, READONLY, WRITE, KeySpec
from perdure.store.commands.keys import dispose
from perdure.store.commands.sets import READS_SLOWLY, WRITES_SLOWLY, set_command, shown, spec
from perdure.store.errors import (
    LIMIT_NEGATIVE,
    NUMKEYS_NOT_POSITIVE,
    NUMKEYS_TOO_MANY,
    SYNTAX,
    WRONG_TYPE,
    CommandError,
)
from perdure.store.events import GENERIC, SET
from perdure.store.numbers import parse_integer, read_integer
from perdure.store.resp import ZERO, encode, integer, set_head
from perdure.store.set_value import AnySet, IntSet, Set, make
from perdure.store.tx import Tx

_READ_SPECS = (spec("RO", "access", last=-1),)
_TIPS = ("nondeterministic_output_order",)


def _read_sets(tx: Tx, keys: list[bytes]) -> list[AnySet | None]:
    """The sets of keys, None for those that do not exist; CommandError (WRONGTYPE) at the first of another type."""
    found: list[AnySet | None] = []
    for key in keys:
        value = tx.lookup(key)
        tx.lookups += 1
        if value is None:
            tx.missed(key)
        elif value.__class__ is not Set and value.__class__ is not IntSet:
            raise CommandError(WRONG_TYPE)
        found.append(value)
    return found


# ---- the three operations: sets in, distinct members out ------------------------------


def _union(sets: list[AnySet | None]) -> dict[bytes, None]:
    """Members of any set; O(N) for all their members."""
    out: dict[bytes, None] = {}
    for value in sets:
        if value is not None:
            out.update(value if isinstance(value, Set) else dict.fromkeys(value.members()))
    return out


def _common(sets: list[AnySet | None], limit: int = 0) -> list[bytes]:
    """Members of all sets, ``limit`` of them at the most if it is not 0; O(N * M) for N in the smallest of M sets."""
    present = sorted([value for value in sets if value is not None], key=len)
    if len(present) < len(sets):
        return []
    members = iter(present[0].members())
    for value in present[1:]:
        members = filter(value.__contains__ if isinstance(value, Set) else value.has, members)
    return list(islice(members, limit) if limit else members)


def _intersection(sets: list[AnySet | None]) -> dict[bytes, None]:
    return dict.fromkeys(_common(sets))


def _difference(sets: list[AnySet | None]) -> dict[bytes, None]:
    """Members of the first set and of no other; O(N) for all members or the first set's times M, what is less."""
    first = sets[0]
    if first is None or any(value is first for value in sets[1:]):
        return {}
    others = sorted([value for value in sets[1:] if value is not None], key=len, reverse=True)
    if _looks_up(first, others):
        members = iter(first.members())
        for value in others:
            members = filterfalse(value.__contains__ if isinstance(value, Set) else value.has, members)
        return dict.fromkeys(members)
    out = dict.fromkeys(first.members())
    for value in others:
        for member in value.members():
            out.pop(member, None)
        if not out:
            break
    return out


def _looks_up(first: AnySet, others: list[AnySet]) -> bool:
    """Stock's choice: look each member of the first set up in the others, or take the others' members out of it?"""
    return len(first) * (len(others) + 1) // 2 <= len(first) + sum(map(len, others))


def _make_difference(tx: Tx, sets: list[AnySet | None], members: dict[bytes, None]) -> AnySet:
    """The difference as a set: where stock takes members out of a copy of the first set, it keeps that copy's kind."""
    first = sets[0]
    others = [value for value in sets[1:] if value is not None]
    if first is None or _looks_up(first, others) or make(dict.fromkeys(first.members()), tx.limits).__class__ is IntSet:
        return make(members, tx.limits)
    return Set(members)


# ---- replies -----------------------------------------------------------------------


def _show(tx: Tx, members: dict[bytes, None]) -> bytes:
    return shown(make(members, tx.limits), tx.resp3) if members else set_head(0, tx.resp3)


def _store(tx: Tx, argv: list[bytes], event: bytes, value: AnySet | None) -> bytes:
    """Put a result (None if it is empty) under ``argv[1]``, in the place of whatever is there."""
    key = argv[1]
    db = tx.db
    if value is None:
        if key in db:
            tx.log(encode((b"DEL", key)))
            dispose(tx, db.remove(key))
            if tx.notifying:
                tx.notify(GENERIC, b"del", key)
        return ZERO
    old = tx.lookup(key)
    tx.log(encode(argv))
    if old is not None:
        dispose(tx, old)
    db.replace(key, value)
    if tx.notifying:
        tx.notify_write(SET, event, key, old is None)
    return integer(len(value))


@set_command(
    "SUNION",
    arity=-2,
    flags=READONLY,
    keys_at=(1, -1, 1),
    key_specs=_READ_SPECS,
    acl=READS_SLOWLY,
    tips=_TIPS,
    syntax="key [key ...]",
    summary="Returns the members that at least one of the sets has.",
    complexity="O(N) for N members in all sets",
)
def sunion(tx: Tx, argv: list[bytes]) -> bytes:
    """SUNION key [key ...]"""
    return _show(tx, _union(_read_sets(tx, argv[1:])))


@set_command(
    "SINTER",
    arity=-2,
    flags=READONLY,
    keys_at=(1, -1, 1),
    key_specs=_READ_SPECS,
    acl=READS_SLOWLY,
    tips=_TIPS,
    syntax="key [key ...]",
    summary="Returns the members that all of the sets have.",
    complexity="O(N*M) for M sets and N members in the smallest",
)
def sinter(tx: Tx, argv: list[bytes]) -> bytes:
    """SINTER key [key ...]"""
    return _show(tx, _intersection(_read_sets(tx, argv[1:])))


@set_command(
    "SDIFF",
    arity=-2,
    flags=READONLY,
    keys_at=(1, -1, 1),
    key_specs=_READ_SPECS,
    acl=READS_SLOWLY,
    tips=_TIPS,
    syntax="key [key ...]",
    summary="Returns the members that the first set has and no other.",
    complexity="O(N) for N members in all sets",
)
def sdiff(tx: Tx, argv: list[bytes]) -> bytes:
    """SDIFF key [key ...]"""
    return _show(tx, _difference(_read_sets(tx, argv[1:])))


@set_command(
    "SUNIONSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 1),
    key_specs=(spec("OW", "update"), spec("RO", "access", at=2, last=-1)),
    acl=WRITES_SLOWLY,
    syntax="destination key [key ...]",
    summary="Stores the members that at least one of the sets has; returns how many.",
    complexity="O(N) for N members in all sets",
)
def sunionstore(tx: Tx, argv: list[bytes]) -> bytes:
    """SUNIONSTORE destination key [key ...]"""
    members = _union(_read_sets(tx, argv[2:]))
    return _store(tx, argv, b"sunionstore", make(members, tx.limits) if members else None)


@set_command(
    "SINTERSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 1),
    key_specs=(spec("RW", "update"), spec("RO", "access", at=2, last=-1)),
    acl=WRITES_SLOWLY,
    syntax="destination key [key ...]",
    summary="Stores the members that all of the sets have; returns how many.",
    complexity="O(N*M) for M sets and N members in the smallest",
)
def sinterstore(tx: Tx, argv: list[bytes]) -> bytes:
    """SINTERSTORE destination key [key ...]"""
    members = _intersection(_read_sets(tx, argv[2:]))
    return _store(tx, argv, b"sinterstore", make(members, tx.limits) if members else None)


@set_command(
    "SDIFFSTORE",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 1),
    key_specs=(spec("OW", "update"), spec("RO", "access", at=2, last=-1)),
    acl=WRITES_SLOWLY,
    syntax="destination key [key ...]",
    summary="Stores the members that the first set has and no other; returns how many.",
    complexity="O(N) for N members in all sets",
)
def sdiffstore(tx: Tx, argv: list[bytes]) -> bytes:
    """SDIFFSTORE destination key [key ...]"""
    sets = _read_sets(tx, argv[2:])
    members = _difference(sets)
    return _store(tx, argv, b"sdiffstore", _make_difference(tx, sets, members) if members else None)


def _intercard_keys(argv: list[bytes]) -> list[bytes]:
    """The keys of SINTERCARD, none if their number makes no sense."""
    count = read_integer(argv[1]) or 0
    return argv[2 : 2 + count] if 0 < count <= len(argv) - 2 else []


@set_command(
    "SINTERCARD",
    arity=-3,
    flags=READONLY | MOVABLE_KEYS,
    find_keys=_intercard_keys,
    key_specs=(KeySpec(("RO", "access"), ("index", 1), ("keynum", 0, 1, 1)),),
    since="7.0.0",
    acl=READS_SLOWLY,
    syntax="numkeys key [key ...] [LIMIT limit]",
    summary="Counts the members that all of the sets have, up to a limit if one is given.",
    complexity="O(N*M) for M sets and N members in the smallest",
)
def sintercard(tx: Tx, argv: list[bytes]) -> bytes:
    """SINTERCARD numkeys key [key ...] [LIMIT limit]"""
    count = parse_integer(argv[1], NUMKEYS_NOT_POSITIVE)
    if count < 1:
        raise CommandError(NUMKEYS_NOT_POSITIVE)
    if count > len(argv) - 2:
        raise CommandError(NUMKEYS_TOO_MANY)
    limit = 0
    for at in range(2 + count, len(argv), 2):
        if argv[at].upper() != b"LIMIT" or at + 1 == len(argv):
            raise CommandError(SYNTAX)
        limit = parse_integer(argv[at + 1], LIMIT_NEGATIVE)
        if limit < 0:
            raise CommandError(LIMIT_NEGATIVE)
    return integer(len(_common(_read_sets(tx, argv[2 : 2 + count]), limit)))
