"""Sets by parts: SPOP and SRANDMEMBER draw members by chance, SSCAN shows all of them page by page.

Every member is equally likely.  A draw is O(1): a set of a few members is walked, a
``Set`` of more gets an order with its first draw, which is O(n) once and kept up from
then on (``store.key_order``), and an array of integers is indexed.  SPOP leaves no
holes in the order, so that emptying a set member by member never makes it anew.

SPOP is logged as SREM, or as DEL when it takes the whole set.
"""

from __future__ import annotations

from itertools import islice
from random import Random

from perdure.store.command import FAST, READONLY, WRITE
from perdure.store.commands.scanning import EMPTY_PAGE, page_reply, parse_cursor, parse_options
from perdure.store.commands.sets import (
    ACCESSED,
    READS_SLOWLY,
    WRITES,
    find_set,
    read_set,
    set_command,
    shown,
    spec,
    take_members,
)
from perdure.store.errors import (
    BEYOND_LONG,
    MUST_BE_POSITIVE,
    OUT_OF_RANGE,
    SYNTAX,
    CommandError,
)
from perdure.store.events import GENERIC, SET
from perdure.store.numbers import INT64_MIN, parse_integer
from perdure.store.resp import BULK_HEADS, CRLF, EMPTY_ARRAY, array_head, bulk, bulks, encode, require_bytes, set_head
from perdure.store.set_value import AnySet, IntSet, Set, make
from perdure.store.tx import Tx

_join = b"".join
_SREM = b"*3\r\n$4\r\nSREM\r\n"
_FEW_MEMBERS = 32
"""Up to so many, a random member is found by walking there."""
_LEAST_BYTES = 64
"""What a member of a reply takes in memory while the reply is made, at the least."""
_REMAKE = 5
"""A SPOP that leaves less than one member for so many that it takes makes the rest anew, as stock does."""


# ---- SPOP --------------------------------------------------------------------------


@set_command(
    "SPOP",
    arity=-2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=(spec("RW", "access", "delete"),),
    acl=WRITES,
    tips=("nondeterministic_output",),
    history=(("3.2.0", "Takes `count`."),),
    syntax="key [count]",
    summary="Removes random members from a set and returns them.",
    complexity="O(1) amortised, O(N) for a count of N",
)
def spop(tx: Tx, argv: list[bytes]) -> bytes:
    """SPOP key [count]"""
    if len(argv) != 2:
        return _pop_several(tx, argv)
    key = argv[1]
    db = tx.db
    value = db.get(key)
    if value is None:
        require_bytes((key,))
        return tx.null
    if value.__class__ is not Set or key in db.expires:
        found = find_set(tx, key)
        if not isinstance(found, Set):
            return tx.null if found is None else _pop_integer(tx, key, found)
        value = found
    n = len(value)
    order = value.order
    if order is None and n > _FEW_MEMBERS:
        order = value.ordered()
    if order is not None:
        at = order.draw(tx.rng)
        member = order.entries[at]
    else:
        at = int(tx.rng.random() * n) if n > 1 else 0
        member = next(islice(value, at, None))
    try:
        record = _join((_SREM, BULK_HEADS[len(key)], key, CRLF, BULK_HEADS[len(member)], member, CRLF))
    except IndexError:
        record = encode((b"SREM", key, member))
    tx.log(record)
    if n == 1:
        db.remove(key)
    else:
        del value[member]
        if order is not None:
            order.drop(at)
        if not n & (n - 1):
            value.tidy()
    if tx.notifying:
        _tell_popped(tx, key, n == 1)
    return bulk(member)


def _pop_integer(tx: Tx, key: bytes, value: IntSet) -> bytes:
    """SPOP key of integers; O(n) of them are moved in memory."""
    at = int(tx.rng.random() * len(value))
    member = b"%d" % value[at]
    tx.log(encode((b"SREM", key, member)))
    ended = len(value) == 1
    if ended:
        tx.db.remove(key)
    else:
        del value[at]
    if tx.notifying:
        _tell_popped(tx, key, ended)
    return bulk(member)


def _tell_popped(tx: Tx, key: bytes, ended: bool) -> None:
    tx.notify(SET, b"spop", key)
    if ended:
        tx.notify(GENERIC, b"del", key)


def _sample(value: AnySet, count: int, rng: Random) -> list[bytes]:
    """``count`` distinct members, fewer than there are: O(count), the first from a big ``Set`` O(n)."""
    n = len(value)
    if isinstance(value, IntSet):
        return [b"%d" % value[at] for at in rng.sample(range(n), count)]
    if 3 * count >= n or (value.order is None and n <= _FEW_MEMBERS):
        return rng.sample(list(value), count)
    found: dict[bytes, None] = {}
    order = value.ordered()
    while len(found) < count:
        found[order.choose(rng)] = None
    return list(found)


def _pop_several(tx: Tx, argv: list[bytes]) -> bytes:
    """SPOP key count"""
    if len(argv) > 3:
        raise CommandError(SYNTAX)
    count = parse_integer(argv[2], MUST_BE_POSITIVE)
    if count < 0:
        raise CommandError(MUST_BE_POSITIVE)
    key = argv[1]
    value = find_set(tx, key)
    if value is None or not count:
        return set_head(0, tx.resp3)
    n = len(value)
    if count >= n:
        reply = shown(value, tx.resp3)
        tx.log(encode((b"DEL", key)))
        tx.changes += n - 1
        take_members(tx, key, value, value.members())
    else:
        members = _sample(value, count, tx.rng)
        reply = bulks(set_head(count, tx.resp3), members)
        tx.log(encode([b"SREM", key, *members]))
        tx.changes += count - 1
        if (n - count) * _REMAKE <= count:
            gone = set(members)
            tx.db[key] = make({member: None for member in value.members() if member not in gone}, tx.limits)
        else:
            value.drop(members)
    if tx.notifying:
        _tell_popped(tx, key, count >= n)
    return reply


# ---- SRANDMEMBER -------------------------------------------------------------------


def _choose(value: AnySet, rng: Random) -> bytes:
    n = len(value)
    if isinstance(value, IntSet):
        return b"%d" % value[int(rng.random() * n)]
    if value.order is None and n <= _FEW_MEMBERS:
        return next(islice(value, int(rng.random() * n), None))
    return value.ordered().choose(rng)


def _draw(value: AnySet, count: int, rng: Random) -> list[bytes]:
    """``count`` members, perhaps some again and again."""
    if count >= len(value) or (isinstance(value, Set) and value.order is None and len(value) <= _FEW_MEMBERS):
        return rng.choices(value.members(), k=count)
    return [_choose(value, rng) for _ in range(count)]


@set_command(
    "SRANDMEMBER",
    arity=-2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    history=(("2.6.0", "Takes `count`."),),
    syntax="key [count]",
    summary="Returns random members of a set: distinct ones, or with a negative count any ones.",
    complexity="O(1) amortised, O(N) for a count of N",
)
def srandmember(tx: Tx, argv: list[bytes]) -> bytes:
    """SRANDMEMBER key [count]"""
    if len(argv) == 2:
        value = read_set(tx, argv[1])
        return tx.null if value is None else bulk(_choose(value, tx.rng))
    if len(argv) > 3:
        raise CommandError(SYNTAX)
    count = parse_integer(argv[2])
    if count == INT64_MIN:
        raise CommandError(BEYOND_LONG)
    value = read_set(tx, argv[1])
    if value is None or not count:
        return EMPTY_ARRAY
    if count > 0:
        members = value.members() if count >= len(value) else _sample(value, count, tx.rng)
        return bulks(array_head(len(members)), members)
    # With repetition a short command could ask for any amount; a reply has the bound of a string.
    if -count > tx.max_bulk_bytes // _LEAST_BYTES:
        raise tx.refuse(OUT_OF_RANGE)
    members = _draw(value, -count, tx.rng)
    if sum(map(len, members)) > tx.max_bulk_bytes:
        raise tx.refuse(OUT_OF_RANGE)
    return bulks(array_head(len(members)), members)


# ---- SSCAN -------------------------------------------------------------------------


@set_command(
    "SSCAN",
    arity=-3,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    since="2.8.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key cursor [MATCH pattern] [COUNT count]",
    summary="Goes through the members of a set page by page.",
    complexity="O(1) for a page, O(N) for a whole scan of N members",
)
def sscan(tx: Tx, argv: list[bytes]) -> bytes:
    """SSCAN key cursor [MATCH pattern] [COUNT count]: integers among few come in one page, as in stock"""
    cursor = parse_cursor(argv[2])
    value = read_set(tx, argv[1])
    if value is None:
        return EMPTY_PAGE
    try:
        options = parse_options(argv, 3, False)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    if isinstance(value, Set) and (cursor or len(value) > options.count):
        cursor, members = value.ordered().page(cursor, options.count)
    else:
        cursor, members = 0, value.members()
    if options.match is not None:
        members = list(filter(options.match, members))
    return page_reply(cursor, members)
