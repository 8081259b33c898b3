"""Bits of strings: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP; BITFIELD is in ``bitfields``.

A bit that is set changes the string in place (``bytearray``), as APPEND does.  SETBIT
and BITOP are logged as they came, SETBIT only if it changed something.  A string that
SETBIT only looked at is ``raw`` from then on all the same, as in stock.
"""

from __future__ import annotations

from functools import partial

from perdure.store import bits
from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.strings import key_spec
from perdure.store.errors import (
    BIT_OFFSET_OUT_OF_RANGE,
    BITOP_NOT_TAKES_ONE,
    BITPOS_NOT_A_BIT,
    NOT_A_BIT,
    SYNTAX,
    CommandError,
)
from perdure.store.events import GENERIC, STRING
from perdure.store.numbers import parse_integer
from perdure.store.resp import ONE, ZERO, encode, integer
from perdure.store.string_value import changeable
from perdure.store.tx import Tx

bit_command = partial(command, group="bitmap", keys_at=(1, 1, 1))
"""``@command`` for this group."""

READS_SLOWLY = ("read", "bitmap", "slow")
READS_FAST = ("read", "bitmap", "fast")
WRITES = ("write", "bitmap", "slow")
_MINUS_ONE = b":-1\r\n"
_HISTORY = (("7.0.0", "Takes `BYTE` and `BIT`."),)


def parse_offset(tx: Tx, text: bytes) -> int:
    """The number of a bit that a string can have."""
    offset = parse_integer(text, BIT_OFFSET_OUT_OF_RANGE)
    if offset < 0 or offset >> 3 >= tx.max_bulk_bytes:
        raise CommandError(BIT_OFFSET_OUT_OF_RANGE)
    return offset


def prepare(value: bytes | bytearray | None, last_bit: int) -> tuple[bytearray, bytes]:
    """A string that can be changed in place, and what it lacks to have ``last_bit``: made before the log line."""
    changed = bytearray() if value is None else changeable(value)
    return changed, bytes(max(0, (last_bit >> 3) + 1 - len(changed)))


def store(tx: Tx, key: bytes, value: bytearray, is_new: bool) -> None:
    """Put a changed string in its key's place; the deadline stays."""
    if is_new:
        tx.db.replace(key, value)
    else:
        tx.db[key] = value


@bit_command(
    "SETBIT",
    arity=4,
    flags=WRITE | DENYOOM,
    key_specs=key_spec("RW", "access", "update"),
    since="2.2.0",
    acl=WRITES,
    syntax="key offset value",
    summary="Sets a bit of a string, which grows as needed, to 0 or 1; returns what it was.",
    complexity="O(1), amortised; O(N) for N bytes that the string grows by",
)
def setbit(tx: Tx, argv: list[bytes]) -> bytes:
    """SETBIT key offset value"""
    _, key, text, bit = argv
    offset = parse_offset(tx, text)
    wanted = parse_integer(bit, NOT_A_BIT)
    if wanted not in (0, 1):
        raise CommandError(NOT_A_BIT)
    value = tx.lookup_string(key)
    changed, padding = prepare(value, offset)
    old = bits.get_bit(changed, offset)
    if not padding and old == wanted:
        store(tx, key, changed, False)
        return ONE if old else ZERO
    tx.log(encode(argv))
    changed += padding
    changed[offset >> 3] ^= (old ^ wanted) << (~offset & 7)
    store(tx, key, changed, value is None)
    if tx.notifying:
        tx.notify_write(STRING, b"setbit", key, value is None)
    return ONE if old else ZERO


@bit_command(
    "GETBIT",
    arity=3,
    flags=READONLY | FAST,
    key_specs=key_spec("RO", "access"),
    since="2.2.0",
    acl=READS_FAST,
    syntax="key offset",
    summary="Returns a bit of a string.",
    complexity="O(1)",
)
def getbit(tx: Tx, argv: list[bytes]) -> bytes:
    """GETBIT key offset"""
    offset = parse_offset(tx, argv[2])
    value = tx.read_string(argv[1])
    return ONE if value is not None and bits.get_bit(value, offset) else ZERO


# ---- ranges ----------------------------------------------------------------------------


def _unit(argv: list[bytes], at: int) -> int:
    """Bits in the unit that ``argv[at]`` names, if it is there: BYTE or BIT."""
    if len(argv) <= at:
        return 8
    word = argv[at].partition(b"\0")[0].upper()
    if word not in (b"BYTE", b"BIT"):
        raise CommandError(SYNTAX)
    return 8 if word == b"BYTE" else 1


def _bit_range(length: int, start: int, end: int, unit: int) -> tuple[int, int]:
    """The first and last bit, both included, from ``start`` to ``end`` in a string; empty if the first is behind."""
    total = length * 8 // unit
    if start < 0:
        start = max(0, start + total)
    if end < 0:
        end = max(0, end + total)
    end = min(end, total - 1)
    return start * unit, end * unit + unit - 1


@bit_command(
    "BITCOUNT",
    arity=-2,
    flags=READONLY,
    key_specs=key_spec("RO", "access"),
    since="2.6.0",
    acl=READS_SLOWLY,
    history=_HISTORY,
    syntax="key [start end [BYTE | BIT]]",
    summary="Counts the bits that are set in a string or a part of it.",
    complexity="O(N) for N bytes",
)
def bitcount(tx: Tx, argv: list[bytes]) -> bytes:
    """BITCOUNT key [start end [BYTE | BIT]]"""
    value = tx.read_string(argv[1])
    if value is None:
        return ZERO
    try:
        if len(argv) == 2:
            return integer(bits.count(value, 0, len(value) * 8 - 1))
        if len(argv) not in (4, 5):
            raise CommandError(SYNTAX)
        start = parse_integer(argv[2])
        end = parse_integer(argv[3])
        if start < 0 and end < 0 and start > end:
            return ZERO
        unit = _unit(argv, 4)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    return integer(bits.count(value, *_bit_range(len(value), start, end, unit)))


@bit_command(
    "BITPOS",
    arity=-3,
    flags=READONLY,
    key_specs=key_spec("RO", "access"),
    since="2.8.7",
    acl=READS_SLOWLY,
    history=_HISTORY,
    syntax="key bit [start [end [BYTE | BIT]]]",
    summary="Finds the first bit that is 0, or 1, in a string or a part of it.",
    complexity="O(N) for N bytes",
)
def bitpos(tx: Tx, argv: list[bytes]) -> bytes:
    """BITPOS key bit [start [end [BYTE | BIT]]]: without an end, zeros follow the string"""
    bit = parse_integer(argv[2])
    if bit not in (0, 1):
        raise CommandError(BITPOS_NOT_A_BIT)
    value = tx.read_string(argv[1])
    if value is None:
        return _MINUS_ONE if bit else ZERO
    try:
        if len(argv) > 6:
            raise CommandError(SYNTAX)
        start = parse_integer(argv[3]) if len(argv) > 3 else 0
        unit = _unit(argv, 5)
        end = parse_integer(argv[4]) if len(argv) > 4 else -1
    except CommandError as error:
        raise tx.refuse(error.text) from None
    first, last = _bit_range(len(value), start, end, unit)
    if first > last:
        return _MINUS_ONE
    position = bits.find(value, bit, first, last)
    if position < 0 and not bit and len(argv) < 5:
        position = len(value) * 8
    return integer(position)


# ---- BITOP -----------------------------------------------------------------------------


@bit_command(
    "BITOP",
    arity=-4,
    flags=WRITE | DENYOOM,
    keys_at=(2, -1, 1),
    key_specs=(
        KeySpec(("OW", "update"), ("index", 2), ("range", 0, 1, 0)),
        KeySpec(("RO", "access"), ("index", 3), ("range", -1, 1, 0)),
    ),
    since="2.6.0",
    acl=WRITES,
    syntax="operation destkey key [key ...]",
    summary="Stores AND, OR, XOR or NOT of strings, bit by bit, in another key; returns its length in bytes.",
    complexity="O(N) for N bytes of all strings",
)
def bitop(tx: Tx, argv: list[bytes]) -> bytes:
    """BITOP operation destkey key [key ...]: shorter strings and missing keys count as zeros"""
    operation = argv[1].partition(b"\0")[0].upper()
    if operation not in bits.OPERATIONS:
        raise CommandError(SYNTAX)
    if operation == b"NOT" and len(argv) != 4:
        raise CommandError(BITOP_NOT_TAKES_ONE)
    target = argv[2]
    values: list[bytes | bytearray] = []
    for key in argv[3:]:
        tx.lookups += 1
        value = tx.lookup_string(key)
        if value is None:
            tx.missed(key)
        values.append(value or b"")
    result = bits.combine(operation, values)
    if result:
        is_new = tx.notifying != 0 and tx.lookup(target) is None
        tx.log(encode(argv))
        tx.db.replace(target, result)
        if tx.notifying:
            tx.notify_write(STRING, b"set", target, is_new)
    elif target in tx.db:
        tx.log(encode((b"DEL", target)))
        tx.db.remove(target)
        if tx.notifying:
            tx.notify(GENERIC, b"del", target)
    return integer(len(result))
