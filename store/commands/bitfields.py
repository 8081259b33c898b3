"""BITFIELD and BITFIELD_RO: numbers of any width at any bit of a string.

All operations of a command line are read before the first is done, and done on the
side (``bits.Fields``) before the line is logged, as it came, if any of them changed
something or the string grew.
"""

from __future__ import annotations

from typing import NamedTuple

from perdure.store.bits import FAIL, SATURATE, WRAP, Fields, fit, number_to_set
from perdure.store.command import DENYOOM, FAST, READONLY, WRITE
from perdure.store.commands.bits import READS_FAST, WRITES, bit_command, prepare, store
from perdure.store.commands.strings import key_spec
from perdure.store.errors import (
    BAD_BITFIELD_TYPE,
    BAD_OVERFLOW,
    BIT_OFFSET_OUT_OF_RANGE,
    BITFIELD_RO_GETS_ONLY,
    SYNTAX,
    CommandError,
)
from perdure.store.events import NEW, STRING
from perdure.store.numbers import parse_integer, read_integer
from perdure.store.resp import array, encode, integer
from perdure.store.tx import Tx

_GET, _SET, _INCRBY = range(3)
_OPERATIONS = {b"GET": (_GET, 2), b"SET": (_SET, 3), b"INCRBY": (_INCRBY, 3), b"OVERFLOW": (-1, 1)}
"""An operation and the arguments behind its name."""
_OVERFLOWS = {b"WRAP": WRAP, b"SAT": SATURATE, b"FAIL": FAIL}
_MAX_UNSIGNED, _MAX_SIGNED = 63, 64


class _Operation(NamedTuple):
    kind: int
    signed: bool
    width: int
    offset: int
    operand: int
    overflow: int


def _word(arg: bytes) -> bytes:
    """An argument as stock compares it: in any case, and up to a NUL byte."""
    return arg.partition(b"\0")[0].upper()


def _parse_type(text: bytes) -> tuple[bool, int]:
    """``i8`` or ``u63``: is it signed, and how many bits has it?"""
    signed = text[:1] == b"i"
    width = read_integer(text[1:].partition(b"\0")[0]) if signed or text[:1] == b"u" else None
    if width is None or not 1 <= width <= (_MAX_SIGNED if signed else _MAX_UNSIGNED):
        raise CommandError(BAD_BITFIELD_TYPE)
    return signed, width


def _parse_offset(tx: Tx, text: bytes, width: int) -> int:
    """A bit's number, or with ``#`` that of a field among fields of the same width.

    A product beyond 64 bits is out of range; stock's wraps around, to a bit that nobody meant.
    """
    by_field = text[:1] == b"#"
    offset = parse_integer(text[1:] if by_field else text, BIT_OFFSET_OUT_OF_RANGE)
    if by_field:
        offset *= width
    if offset < 0 or offset >> 3 >= tx.max_bulk_bytes:
        raise CommandError(BIT_OFFSET_OUT_OF_RANGE)
    return offset


def _parse(tx: Tx, argv: list[bytes]) -> list[_Operation]:
    out = []
    overflow = WRAP
    at = 2
    while at < len(argv):
        kind, count = _OPERATIONS.get(_word(argv[at]), (_GET, len(argv)))
        if at + count >= len(argv):
            raise CommandError(SYNTAX)
        if kind < 0:
            chosen = _OVERFLOWS.get(_word(argv[at + 1]))
            if chosen is None:
                raise CommandError(BAD_OVERFLOW)
            overflow = chosen
        else:
            signed, width = _parse_type(argv[at + 1])
            offset = _parse_offset(tx, argv[at + 2], width)
            operand = 0 if kind == _GET else parse_integer(argv[at + 3])
            out.append(_Operation(kind, signed, width, offset, operand, overflow))
        at += 1 + count
    return out


def _run(tx: Tx, fields: Fields, operations: list[_Operation], is_dirty: bool) -> tuple[list[bytes], bool]:
    """Do the operations on the side: their replies, and whether they changed something, as stock counts it."""
    replies = []
    changed = False
    for kind, signed, width, offset, operand, overflow in operations:
        old = fields.read(offset, width, signed)
        if kind == _GET:
            replies.append(integer(old))
            continue
        number = number_to_set(operand, signed, width) if kind == _SET else old + operand
        new = fit(number, signed, width, overflow)
        if new is None:
            replies.append(tx.null)
            continue
        replies.append(integer(old if kind == _SET else new))
        if new != old:
            fields.write(offset, width, new)
        changed = changed or is_dirty or new != old
    return replies, changed


@bit_command(
    "BITFIELD",
    arity=-2,
    flags=WRITE | DENYOOM,
    key_specs=key_spec("RW", "access", "update", "variable_flags", notes="With nothing but GET it only reads the key."),
    since="3.2.0",
    acl=WRITES,
    syntax=(
        "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] "
        "<SET encoding offset value | INCRBY encoding offset increment> ...]"
    ),
    summary="Reads, sets and counts up integers of any width at any bit of a string.",
    complexity="O(1) for each operation; O(N) for N bytes that the string grows by",
)
def bitfield(tx: Tx, argv: list[bytes]) -> bytes:
    """BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset n ...]"""
    operations = _parse(tx, argv)
    last_bit = max((op.offset + op.width - 1 for op in operations if op.kind != _GET), default=-1)
    key = argv[1]
    tx.lookups += last_bit < 0
    value = tx.lookup_string(key)
    if last_bit < 0:
        if value is None:
            tx.missed(key)
        return array(_run(tx, Fields(value or b""), operations, False)[0])
    target, padding = prepare(value, last_bit)
    fields = Fields(target)
    replies, changed = _run(tx, fields, operations, bool(padding))
    if changed or padding:
        # Behind FAIL the string may have grown and nothing else: that is logged, too.
        tx.log(encode(argv))
        target += padding
        fields.apply(target)
    store(tx, key, target, value is None)
    if tx.notifying:
        if value is None:
            tx.notify(NEW, b"new", key)
        if changed:
            tx.notify(STRING, b"setbit", key)
    return array(replies)


@bit_command(
    "BITFIELD_RO",
    arity=-2,
    flags=READONLY | FAST,
    key_specs=key_spec("RO", "access"),
    since="6.0.0",
    acl=READS_FAST,
    syntax="key [GET encoding offset [GET encoding offset ...]]",
    summary="Reads integers of any width at any bit of a string.",
    complexity="O(1) for each operation",
)
def bitfield_ro(tx: Tx, argv: list[bytes]) -> bytes:
    """BITFIELD_RO key [GET type offset ...]"""
    operations = _parse(tx, argv)
    if any(op.kind != _GET for op in operations):
        raise CommandError(BITFIELD_RO_GETS_ONLY)
    value = tx.read_string(argv[1])
    return array(_run(tx, Fields(value or b""), operations, False)[0])
