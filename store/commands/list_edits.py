"""Inside of a list: LPOS finds, LSET, LINSERT, LREM and LTRIM change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from perdure.store.command import DENYOOM, READONLY, WRITE, command
from perdure.store.commands.lists import (
    ACCESSED,
    INSERTED,
    READS,
    WRITES,
    end_removal,
    find_list,
    read_list,
    spec,
)
from perdure.store.errors import (
    INDEX_OUT_OF_RANGE,
    LPOS_COUNT_NEGATIVE,
    LPOS_MAXLEN_NEGATIVE,
    LPOS_RANK_ZERO,
    NO_SUCH_KEY,
    SYNTAX,
    CommandError,
)
from perdure.store.events import LIST
from perdure.store.numbers import INT64_MAX, INT64_MIN, parse_integer
from perdure.store.resp import EMPTY_ARRAY, OK, ZERO, array, bulk, encode, integer
from perdure.store.tx import Tx


@command(
    "LSET", arity=4, flags=WRITE | DENYOOM, keys_at=(1, 1, 1), key_specs=spec("RW", "update"), group="list",
    since="1.0.0", acl=WRITES, syntax="key index element", summary="Replaces the element at an index.",
    complexity="O(N) for the N blocks of elements between it and the nearer end: O(1) near the ends",
)  # fmt: skip
def lset(tx: Tx, argv: list[bytes]) -> bytes:
    """LSET key index element"""
    _, key, index_text, element = argv
    value = find_list(tx, key)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    index = parse_integer(index_text)
    if index < 0:
        index += value.length
    if not 0 <= index < value.length:
        raise CommandError(INDEX_OUT_OF_RANGE)
    tx.log(encode(argv))
    value.set(index, bulk(element))
    if tx.notifying:
        tx.notify(LIST, b"lset", key)
    return OK


@command(
    "LINSERT", arity=5, flags=WRITE | DENYOOM, keys_at=(1, 1, 1), key_specs=INSERTED, group="list", since="2.2.0",
    acl=WRITES, syntax="key <BEFORE | AFTER> pivot element",
    summary="Puts an element before or behind another one, the first of its value.",
    complexity="O(N) for the N elements before the pivot",
)  # fmt: skip
def linsert(tx: Tx, argv: list[bytes]) -> bytes:
    """LINSERT key <BEFORE | AFTER> pivot element"""
    _, key, where, pivot, element = argv
    where = where.upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise CommandError(SYNTAX)
    value = find_list(tx, key)
    if value is None:
        return ZERO
    index = next(value.find(bulk(pivot)), -1)
    if index < 0:
        return b":-1\r\n"
    tx.log(encode(argv))
    item = bulk(element)
    index += where == b"AFTER"
    if index == value.length:
        value.push_right(item)
    else:
        value.insert(index, item)
    if tx.notifying:
        tx.notify(LIST, b"linsert", key)
    return integer(value.length)


@command(
    "LREM", arity=4, flags=WRITE, keys_at=(1, 1, 1), key_specs=spec("RW", "delete"), group="list", since="1.0.0",
    acl=WRITES, syntax="key count element",
    summary="Removes elements of a value: the first count of them, the last if count is negative, all if it is 0.",
    complexity="O(N) for the N elements looked at",
)  # fmt: skip
def lrem(tx: Tx, argv: list[bytes]) -> bytes:
    """LREM key count element"""
    _, key, count_text, element = argv
    count = parse_integer(count_text)
    value = find_list(tx, key)
    if value is None:
        return ZERO
    found = value.find(bulk(element), backwards=count < 0)
    indexes = list(islice(found, min(abs(count), INT64_MAX)) if count else found)
    if not indexes:
        return ZERO
    tx.log(encode(argv))
    tx.changes += len(indexes) - 1
    if len(indexes) == value.length:
        value.drop_left(value.length)
    else:
        value.remove(indexes[::-1] if count < 0 else indexes)
    end_removal(tx, key, value, b"lrem")
    return integer(len(indexes))


@command(
    "LTRIM", arity=4, flags=WRITE, keys_at=(1, 1, 1), key_specs=spec("RW", "delete"), group="list", since="1.0.0",
    acl=WRITES, syntax="key start stop", summary="Removes all elements but those from one index to another.",
    complexity="O(N) for the N elements removed",
)  # fmt: skip
def ltrim(tx: Tx, argv: list[bytes]) -> bytes:
    """LTRIM key start stop"""
    start = parse_integer(argv[2])
    stop = parse_integer(argv[3])
    key = argv[1]
    value = find_list(tx, key)
    if value is None:
        return OK
    length = value.length
    if start < 0:
        start = max(start + length, 0)
    if stop < 0:
        stop += length
    stop = min(stop + 1, length)
    if start >= stop:
        start = stop = length
    if start or stop < length:
        tx.log(encode(argv))
        tx.changes += length - stop + start - 1
        value.drop_right(length - stop)
        value.drop_left(start)
    end_removal(tx, key, value, b"ltrim")
    return OK


@dataclass(slots=True)
class _Search:
    """LPOS's options; ``count`` is None where one index is asked for, ``limit`` 0 for the whole list."""

    rank: int = 1
    count: int | None = None
    limit: int = 0


def _read_options(words: list[bytes]) -> _Search:
    search = _Search()
    for at in range(0, len(words), 2):
        option = words[at].upper()
        if at + 1 == len(words) or option not in (b"RANK", b"COUNT", b"MAXLEN"):
            raise CommandError(SYNTAX)
        text = words[at + 1]
        if option == b"RANK":
            search.rank = parse_integer(text)
            if not search.rank:
                raise CommandError(LPOS_RANK_ZERO)
            continue
        refusal = LPOS_COUNT_NEGATIVE if option == b"COUNT" else LPOS_MAXLEN_NEGATIVE
        number = parse_integer(text, refusal)
        if number < 0:
            raise CommandError(refusal)
        if option == b"COUNT":
            search.count = number
        else:
            search.limit = number
    return search


@command(
    "LPOS", arity=-3, flags=READONLY, keys_at=(1, 1, 1), key_specs=ACCESSED, group="list", since="6.0.6", acl=READS,
    syntax="key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    summary="Returns the index of the first element of a value, or of several, from either end.",
    complexity="O(N) for the N elements looked at; a block of elements without the value is passed over at once",
)  # fmt: skip
def lpos(tx: Tx, argv: list[bytes]) -> bytes:
    """LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]"""
    search = _read_options(argv[3:])
    item = bulk(argv[2])
    value = read_list(tx, argv[1])
    if value is None:
        return tx.null if search.count is None else EMPTY_ARRAY
    skip = abs(search.rank) - 1
    if search.rank == INT64_MIN:  # stock cannot negate it, and takes it for -1 without a count
        skip = 0
        search.count = None if search.count is None else 0
    found = islice(value.find(item, search.rank < 0, search.limit), skip, None)
    if search.count is None:
        index = next(found, -1)
        return tx.null if index < 0 else integer(index)
    return array([integer(index) for index in islice(found, search.count or None)])
