"""Strings changed in place: APPEND, SETRANGE.

The value becomes a ``bytearray`` with the first such change, so that each one costs
what it changes and not the whole string.
"""

from __future__ import annotations

from perdure.store.command import DENYOOM, FAST, WRITE
from perdure.store.commands.strings import WRITE_FAST, WRITE_SLOW, key_spec, string_command
from perdure.store.errors import OFFSET_OUT_OF_RANGE, STRING_TOO_LONG, CommandError
from perdure.store.events import STRING
from perdure.store.numbers import parse_integer
from perdure.store.resp import encode, integer
from perdure.store.string_value import changeable
from perdure.store.tx import Tx


@string_command(
    "APPEND",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "insert"),
    since="2.0.0",
    acl=WRITE_FAST,
    syntax="key value",
    summary="Appends to the string of a key, which is made if it does not exist; returns the new length.",
    complexity="O(N) for N bytes appended, amortised",
)
def append(tx: Tx, argv: list[bytes]) -> bytes:
    """APPEND key value"""
    _, key, more = argv
    value = tx.lookup_string(key)
    if value is None:
        tx.log(encode(argv))
        tx.db.replace(key, more)
        if tx.notifying:
            tx.notify_write(STRING, b"append", key, True)
        return integer(len(more))
    if len(value) + len(more) > tx.max_bulk_bytes:
        raise CommandError(STRING_TOO_LONG)
    if more:
        changed = changeable(value)
        tx.log(encode(argv))
        changed += more
        tx.db[key] = value = changed
    if tx.notifying:
        tx.notify(STRING, b"append", key)
    return integer(len(value))


@string_command(
    "SETRANGE",
    arity=4,
    flags=WRITE | DENYOOM,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "update"),
    since="2.2.0",
    acl=WRITE_SLOW,
    syntax="key offset value",
    summary="Overwrites a part of a string from an offset on, padding it with zero bytes up to there.",
    complexity="O(N) for N bytes written, amortised",
)
def setrange(tx: Tx, argv: list[bytes]) -> bytes:
    """SETRANGE key offset value"""
    _, key, _, part = argv
    offset = parse_integer(argv[2])
    if offset < 0:
        raise CommandError(OFFSET_OUT_OF_RANGE)
    value = tx.lookup_string(key)
    if not part:
        return integer(len(value) if value is not None else 0)
    if offset + len(part) > tx.max_bulk_bytes:
        raise CommandError(STRING_TOO_LONG)
    changed = bytearray() if value is None else changeable(value)
    # Made before the log line: if there is no memory for it, nothing has happened.
    padding = bytes(max(0, offset - len(changed)))
    tx.log(encode(argv))
    changed += padding
    changed[offset : offset + len(part)] = part
    if value is None:
        tx.db.replace(key, changed)
    else:
        tx.db[key] = changed
    if tx.notifying:
        tx.notify_write(STRING, b"setrange", key, value is None)
    return integer(len(changed))
