"""Hashes by parts: HRANDFIELD takes some fields by chance, HSCAN all of them page by page."""

from __future__ import annotations

from itertools import islice
from random import Random

from perdure.store.command import READONLY, command
from perdure.store.commands.hashes import ACCESSED, READS_SLOWLY, read_hash
from perdure.store.commands.scanning import EMPTY_PAGE, page_reply, parse_cursor, parse_options
from perdure.store.errors import BEYOND_LONG, OUT_OF_RANGE, SYNTAX, CommandError
from perdure.store.hash_value import Hash
from perdure.store.numbers import INT64_MAX, INT64_MIN, parse_integer
from perdure.store.resp import EMPTY_ARRAY, array_head, bulk, bulk_array
from perdure.store.tx import Tx

_FEW_FIELDS = 32
"""Up to so many, a random field is found by walking there."""
_LEAST_BYTES = 64
"""What a field of a reply takes in memory while the reply is made, at the least."""


def _random_field(value: Hash, rng: Random) -> bytes:
    if value.order is None and len(value) <= _FEW_FIELDS:
        return next(islice(value, int(rng.random() * len(value)), None))
    return value.choose(rng)


def _random_fields(tx: Tx, value: Hash, count: int) -> list[bytes]:
    """``count`` fields, distinct if it is positive."""
    rng = tx.rng
    if count < 0:
        if -count >= len(value) or (value.order is None and len(value) <= _FEW_FIELDS):
            return rng.choices(list(value), k=-count)
        return [_random_field(value, rng) for _ in range(-count)]
    if count >= len(value):
        return list(value)
    if 3 * count >= len(value):
        return rng.sample(list(value), count)
    found: dict[bytes, None] = {}
    while len(found) < count:
        found[_random_field(value, rng)] = None
    return list(found)


@command(
    "HRANDFIELD",
    arity=-2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="6.2.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key [count [WITHVALUES]]",
    summary="Returns random fields of a hash: distinct ones, or with a negative count any ones.",
    complexity="O(N) for N fields returned",
)
def hrandfield(tx: Tx, argv: list[bytes]) -> bytes:
    """HRANDFIELD key [count [WITHVALUES]]"""
    if len(argv) == 2:
        value = read_hash(tx, argv[1])
        return bulk(_random_field(value, tx.rng)) if value else tx.null
    count = parse_integer(argv[2])
    if count == INT64_MIN:
        raise CommandError(BEYOND_LONG)
    with_values = len(argv) > 3
    if with_values:
        if len(argv) > 4 or argv[3].upper() != b"WITHVALUES":
            raise CommandError(SYNTAX)
        if not -(INT64_MAX // 2) <= count <= INT64_MAX // 2:
            raise CommandError(OUT_OF_RANGE)
    value = read_hash(tx, argv[1])
    if not value or not count:
        return EMPTY_ARRAY
    # With repetition a short command could ask for any amount; a reply has the bound of a string.
    if -count > tx.max_bulk_bytes // _LEAST_BYTES:
        raise tx.refuse(OUT_OF_RANGE)
    fields = _random_fields(tx, value, count)
    if count < 0:
        size = sum(map(len, fields)) + (sum([len(value[field]) for field in fields]) if with_values else 0)
        if size > tx.max_bulk_bytes:
            raise tx.refuse(OUT_OF_RANGE)
    if not with_values:
        return bulk_array(fields)
    if tx.resp3:
        return array_head(len(fields)) + b"".join([b"*2\r\n" + bulk(field) + bulk(value[field]) for field in fields])
    return array_head(2 * len(fields)) + b"".join([bulk(field) + bulk(value[field]) for field in fields])


@command(
    "HSCAN",
    arity=-3,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="hash",
    since="2.8.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key cursor [MATCH pattern] [COUNT count]",
    summary="Goes through the fields of a hash and their values page by page.",
    complexity="O(1) for a page, O(N) for a whole scan of N fields",
)
def hscan(tx: Tx, argv: list[bytes]) -> bytes:
    """HSCAN key cursor [MATCH pattern] [COUNT count]: a hash that is not big comes in one page, as in stock"""
    cursor = parse_cursor(argv[2])
    value = read_hash(tx, argv[1])
    if value is None:
        return EMPTY_PAGE
    try:
        options = parse_options(argv, 3, False)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    fields = list(value)
    if value.big:
        cursor, fields = value.page(cursor, options.count)
    else:
        cursor = 0
    if options.match is not None:
        fields = list(filter(options.match, fields))
    members: list[bytes] = []
    for field in fields:
        members += (field, value[field])
    return page_reply(cursor, members)
