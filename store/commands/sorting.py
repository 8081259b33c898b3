"""SORT and SORT_RO: the members of a list, a set or a sorted set in the order of their weights.

A type is sorted if it gives ``members`` to ``store.value_types``.  Weights are doubles
as C's ``strtod`` reads them, or with ALPHA bytes up to the first NUL, as the C library
compares strings (whole ones where the result is stored).  Members of equal numeric
weight stand in the order of their bytes; with BY and ALPHA they keep the order that
they had.  A pattern is ``before*after`` or ``before*after->field``: the first ``*`` stands
for the member, and what is found under that key, or in that field of its hash, is the
weight, or what GET returns.  BY a name without a ``*`` sorts nothing.

What STORE made is logged as the list that it is, so that replaying it hangs on no
other key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.store import value_types
from perdure.store.command import DENYOOM, LOGGED, MOVABLE_KEYS, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.database import Keyspace
from perdure.store.errors import (
    OUT_OF_RANGE,
    SCORES_NOT_DOUBLES,
    SORT_BY_DENIED,
    SORT_GET_DENIED,
    SYNTAX,
    WRONG_TYPE,
    CommandError,
)
from perdure.store.events import GENERIC, LIST
from perdure.store.hash_value import Hash, PackedHash
from perdure.store.numbers import parse_integer, read_double, read_long_double
from perdure.store.resp import ZERO, array_head, bulk, encode, integer
from perdure.store.set_value import IntSet, Set
from perdure.store.tx import NoLog, Tx
from perdure.store.zset_value import ZSet

_BLANKS = b" \t\n\v\f\r"
_PLAIN_DIGITS = 300
_LEAST_NORMAL = 2.0**-1022
"""C reads smaller numbers, too, but says that they are out of range unless they are exact."""
_SKIPPED = {b"LIMIT": 2, b"GET": 1, b"BY": 1}
_LEAST_BYTES = 8
"""What a member of a reply takes at the least."""
_ITSELF = b"#"


# ---- options -----------------------------------------------------------------------


@dataclass(slots=True)
class _Options:
    """What a command line asks for; ``start`` and ``count`` as given, ``by`` None for the members themselves."""

    descending: bool = False
    alpha: bool = False
    start: int = 0
    count: int = -1
    by: bytes | None = None
    sorts: bool = True
    gets: list[bytes] = field(default_factory=list)
    store: bytes | None = None


def _parse(tx: Tx, argv: list[bytes], may_store: bool) -> _Options:
    options = _Options()
    at = 2
    while at < len(argv):
        word = argv[at].partition(b"\0")[0].upper()
        left = len(argv) - at - 1
        if word == b"ASC" or word == b"DESC":
            options.descending = word == b"DESC"
        elif word == b"ALPHA":
            options.alpha = True
        elif word == b"LIMIT" and left >= 2:
            options.start = parse_integer(argv[at + 1])
            options.count = parse_integer(argv[at + 2])
            at += 2
        elif word == b"STORE" and left and may_store:
            options.store = argv[at + 1]
            at += 1
        elif word == b"BY" and left:
            options.by = argv[at + 1]
            if b"*" not in options.by.partition(b"\0")[0]:
                options.sorts = False
            elif not tx.may_read_every_key(argv):
                raise CommandError(SORT_BY_DENIED)
            at += 1
        elif word == b"GET" and left:
            if not tx.may_read_every_key(argv):
                raise CommandError(SORT_GET_DENIED)
            options.gets.append(argv[at + 1])
            at += 1
        else:
            raise CommandError(SYNTAX)
        at += 1
    return options


# ---- what patterns find --------------------------------------------------------------


def _finder(tx: Tx, pattern: bytes) -> Callable[[bytes], bytes | bytearray | None]:
    """What a pattern finds for a member, a look-up each time."""
    shown = pattern.partition(b"\0")[0]
    if shown == _ITSELF:
        return lambda member: member
    star = shown.find(b"*")
    if star < 0:
        return lambda member: None
    before, after, name = pattern[:star], pattern[star + 1 :], b""
    arrow = shown.find(b"->", star + 1)
    if 0 <= arrow < len(shown) - 2:
        after, name = pattern[star + 1 : arrow], pattern[arrow + 2 :]

    def find(member: bytes) -> bytes | bytearray | None:
        key = before + member + after
        value = tx.lookup(key)
        tx.lookups += 1
        if value is None:
            tx.missed(key)
            return None
        if name:
            if value.__class__ is PackedHash:
                return value.content(name)
            return value.get(name) if isinstance(value, Hash) else None
        return value if value.__class__ in (bytes, bytearray) else None

    return find


def _score(weight: bytes | bytearray) -> float:
    """A weight as ``strtod`` reads it up to a NUL byte; CommandError if that is not the whole, or not finite enough."""
    if weight.isdigit() and len(weight) < _PLAIN_DIGITS:
        return float(weight)
    text = bytes(weight).partition(b"\0")[0]
    if not text:
        return 0.0
    value = read_double(text.lstrip(_BLANKS))
    if value is None or (0 < abs(value) < _LEAST_NORMAL and not _is_exact(text.lstrip(_BLANKS), value)):
        raise CommandError(SCORES_NOT_DOUBLES)
    return value


def _is_exact(text: bytes, value: float) -> bool:
    """Is a text just this tiny number?  If not, C says that it is out of range."""
    exact = read_long_double(text)
    if exact is None:
        return False
    n, d = value.as_integer_ratio()
    m, e = exact
    return n << max(-e, 0) == (m * d) << max(e, 0)


# ---- sorting -----------------------------------------------------------------------


def _collated(text: bytes | bytearray) -> bytes:
    return bytes(text).partition(b"\0")[0]


def _sort(tx: Tx, members: list[bytes], options: _Options) -> list[bytes]:
    """The members in the order asked for."""
    find = None if options.by is None else _finder(tx, options.by)
    down = options.descending
    if not options.alpha:
        # Every weight is looked up, as stock does, before the first that is no number counts.
        weights: Sequence[Any] = members if find is None else [find(member) for member in members]
        scores = [0.0 if weight is None else _score(weight) for weight in weights]
        return [member for _, member in sorted(zip(scores, members, strict=True), reverse=down)]
    collate = _collated if options.store is None else bytes
    if find is None:
        return sorted(members, key=collate, reverse=down)
    found = [find(member) for member in members]
    keys = [(False, b"") if weight is None else (True, collate(weight)) for weight in found]
    order = sorted(range(len(members)), key=keys.__getitem__, reverse=down)
    return [members[at] for at in order]


def _window(options: _Options, count: int) -> tuple[int, int]:
    """LIMIT, from position to before position, within ``count`` members."""
    start = min(max(options.start, 0), count)
    return start, count if options.count < 0 else min(start + options.count, count)


def _arranged(tx: Tx, argv: list[bytes], options: _Options) -> list[bytes]:
    """The members that LIMIT asks for, in order."""
    value = tx.lookup(argv[1])
    reads_only = argv[0].upper() == b"SORT_RO"
    tx.lookups += not reads_only
    if value is None:
        tx.missed(argv[1])
        return []
    members = value_types.of(value).members
    if members is None:
        tx.lookups += reads_only
        raise CommandError(WRONG_TYPE)
    if value.__class__ is ZSet:
        value.make_big()
    count = len(value)
    start, stop = _window(options, count)
    if not options.sorts:
        is_set = value.__class__ is Set or value.__class__ is IntSet
        if is_set and options.store is not None:
            # A list made of a set must not hang on the order in which a table has its members.
            options.alpha, options.by = True, None
        elif is_set or not options.descending:
            return members(value, start, stop)
        else:
            return members(value, count - stop, count - start)[::-1]
    try:
        return _sort(tx, members(value, 0, count), options)[start:stop]
    except CommandError:
        tx.lookups += reads_only  # the key was found although the call fails
        raise


def _run(tx: Tx, argv: list[bytes], options: _Options) -> list[bytes | bytearray | None]:
    """All that the command returns or stores; None for what GET does not find."""
    members = _arranged(tx, argv, options)
    if len(members) * len(options.gets) > tx.max_bulk_bytes // _LEAST_BYTES:
        raise CommandError(OUT_OF_RANGE)
    if not options.gets:
        return list(members)
    finders = [_finder(tx, pattern) for pattern in options.gets]
    return [find(member) for member in members for find in finders]


def _reply(tx: Tx, found: list[bytes | bytearray | None]) -> bytes:
    null = tx.null
    return array_head(len(found)) + b"".join([null if value is None else bulk(value) for value in found])


# ---- the commands --------------------------------------------------------------------


def _store(tx: Tx, key: bytes, elements: list[bytes]) -> bytes:
    """Put a list under a key, in the place of whatever is there."""
    db = tx.db
    if not elements:
        if key in db:
            tx.log(encode((b"DEL", key)))
            dispose(tx, db.remove(key))
            if tx.notifying:
                tx.notify(GENERIC, b"del", key)
        return ZERO
    push = [b"RPUSH", key, *elements]
    # The list's own command makes it, in a keyspace of its own.
    aside = Tx(Keyspace(1), NoLog(), tx.rng, tx.limits)
    LOGGED[b"RPUSH"].handler(aside, push)
    old = tx.lookup(key)
    records = [encode(push)]
    if old is not None:
        records.insert(0, encode((b"DEL", key)))
    tx.log_together(records)
    tx.changes += len(elements) - 1
    if old is not None:
        dispose(tx, old)
    db.replace(key, aside.db.remove(key))
    if tx.notifying:
        tx.notify_write(LIST, b"sortstore", key, old is None)
    return integer(len(elements))


def _sort_keys(argv: list[bytes]) -> list[bytes]:
    """The key, and that of the last STORE."""
    keys = argv[1:2]
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STORE" and at + 1 < len(argv):
            keys[1:] = [argv[at + 1]]
        at += 1 + _SKIPPED.get(word, 0)
    return keys


_SOURCE = KeySpec(("RO", "access"), ("index", 1), ("range", 0, 1, 0))
_PATTERNS = KeySpec(
    ("RO", "access"), ("unknown",), ("unknown",), "For BY and GET: the keys come of what the value holds."
)
_TARGET = KeySpec(("OW", "update"), ("unknown",), ("unknown",), "For STORE, which may stand anywhere.")
_CATEGORIES = ("set", "sortedset", "list", "slow", "dangerous")
_SYNTAX = "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]"


@command(
    "SORT",
    arity=-2,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=_sort_keys,
    key_specs=(_SOURCE, _PATTERNS, _TARGET),
    acl=("write", *_CATEGORIES),
    syntax=f"{_SYNTAX} [STORE destination]",
    summary="Sorts the members of a list, set or sorted set by themselves or by what other keys hold; "
    "returns or stores them.",
    complexity="O(N*log(N)) for N members, O(N) where nothing is sorted",
)
def sort(tx: Tx, argv: list[bytes]) -> bytes:
    """SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]"""
    options = _parse(tx, argv, True)
    found = _run(tx, argv, options)
    if options.store is None:
        return _reply(tx, found)
    return _store(tx, options.store, [b"" if value is None else bytes(value) for value in found])


@command(
    "SORT_RO",
    arity=-2,
    flags=READONLY | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=lambda argv: argv[1:2],
    key_specs=(_SOURCE, _PATTERNS),
    since="7.0.0",
    acl=("read", *_CATEGORIES),
    syntax=_SYNTAX,
    summary="Sorts the members of a list, set or sorted set and returns them; SORT without STORE.",
    complexity="O(N*log(N)) for N members, O(N) where nothing is sorted",
)
def sort_ro(tx: Tx, argv: list[bytes]) -> bytes:
    """SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]"""
    return _reply(tx, _run(tx, argv, _parse(tx, argv, False)))
