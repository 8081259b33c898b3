"""From list to list, and from the first of several: LMOVE, RPOPLPUSH, LMPOP."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store.command import DENYOOM, MOVABLE_KEYS, WRITE, KeySpec, command
from perdure.store.commands.lists import TAKEN, WRITES, end_removal, find_list, pop_items, spec
from perdure.store.errors import MPOP_COUNT_NOT_POSITIVE, NUMKEYS_NOT_POSITIVE, SYNTAX, CommandError
from perdure.store.events import LIST, NEW
from perdure.store.list_value import List
from perdure.store.numbers import parse_integer, read_integer
from perdure.store.resp import bulk, encode, require_bytes
from perdure.store.tx import Tx

FROM_AND_TO = (*TAKEN, *spec("RW", "insert", at=2))


def is_left(word: bytes) -> bool:
    """LEFT or RIGHT; CommandError for any other word."""
    word = word.upper()
    if word not in (b"LEFT", b"RIGHT"):
        raise CommandError(SYNTAX)
    return word == b"LEFT"


def move(
    tx: Tx, source: bytes, value: List, destination: bytes, from_left: bool, to_left: bool, record: bytes
) -> bytes:
    """Move an element from ``source``'s list, which is ``value``, to another; its reply."""
    target = find_list(tx, destination)
    tx.log(record)
    item = value.pop_left() if from_left else value.pop_right()
    if target is None:
        target = List()
        tx.db.replace(destination, target)
        if tx.notifying:
            tx.notify(NEW, b"new", destination)
    if to_left:
        target.push_left(item)
    else:
        target.push_right(item)
    if tx.notifying:
        tx.notify(LIST, b"lpush" if to_left else b"rpush", destination)
    end_removal(tx, source, value, b"lpop" if from_left else b"rpop")
    return item


@command(
    "LMOVE", arity=5, flags=WRITE | DENYOOM, keys_at=(1, 2, 1), key_specs=FROM_AND_TO, group="list", since="6.2.0",
    acl=WRITES, syntax="source destination <LEFT | RIGHT> <LEFT | RIGHT>", complexity="O(1)",
    summary="Takes an element off an end of a list, puts it to an end of another and returns it.",
)  # fmt: skip
def lmove(tx: Tx, argv: list[bytes]) -> bytes:
    """LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>"""
    _, source, destination, source_end, destination_end = argv
    from_left, to_left = is_left(source_end), is_left(destination_end)
    value = find_list(tx, source)
    if value is None:
        require_bytes(argv)
        return tx.null
    return move(tx, source, value, destination, from_left, to_left, encode(argv))


@command(
    "RPOPLPUSH", arity=3, flags=WRITE | DENYOOM, keys_at=(1, 2, 1), key_specs=FROM_AND_TO, group="list",
    since="1.2.0", acl=WRITES, syntax="source destination", complexity="O(1)", doc_flags=("deprecated",),
    deprecated_since="6.2.0", replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
    summary="Takes the last element of a list, puts it before the first of another and returns it.",
)  # fmt: skip
def rpoplpush(tx: Tx, argv: list[bytes]) -> bytes:
    """RPOPLPUSH source destination"""
    _, source, destination = argv
    value = find_list(tx, source)
    if value is None:
        require_bytes(argv)
        return tx.null
    return move(tx, source, value, destination, False, True, encode(argv))


# ---- of several keys ---------------------------------------------------------------------


def numbered_keys(argv: list[bytes], at: int) -> list[bytes]:
    """The keys behind their number, which is argument ``at``; [] if that is no number of keys."""
    count = read_integer(argv[at])
    return argv[at + 1 : at + 1 + count] if count is not None and 0 < count < len(argv) - at else []


@dataclass(slots=True)
class Popping:
    """What LMPOP and BLMPOP ask for."""

    keys: list[bytes]
    left: bool
    count: int


def read_popping(argv: list[bytes], at: int) -> Popping:
    """``numkeys key [key ...] <LEFT | RIGHT> [COUNT count]`` from argument ``at`` on."""
    key_count = parse_integer(argv[at], NUMKEYS_NOT_POSITIVE)
    if key_count < 1:
        raise CommandError(NUMKEYS_NOT_POSITIVE)
    behind = at + 1 + key_count
    if behind >= len(argv):
        raise CommandError(SYNTAX)
    popping = Popping(argv[at + 1 : behind], is_left(argv[behind]), 1)
    options = argv[behind + 1 :]
    for i in range(0, len(options), 2):
        if i or i + 1 == len(options) or options[i].upper() != b"COUNT":
            raise CommandError(SYNTAX)
        popping.count = parse_integer(options[i + 1], MPOP_COUNT_NOT_POSITIVE)
        if popping.count < 1:
            raise CommandError(MPOP_COUNT_NOT_POSITIVE)
    return popping


def pop_first(tx: Tx, popping: Popping) -> bytes | None:
    """Pop off the first of the keys that has a list; the reply, None if there is none."""
    for key in popping.keys:
        value = find_list(tx, key)
        if value is not None:
            return b"*2\r\n" + bulk(key) + pop_items(tx, key, value, popping.left, popping.count)
    return None


@command(
    "LMPOP", arity=-4, flags=WRITE | MOVABLE_KEYS, find_keys=lambda argv: numbered_keys(argv, 1), group="list",
    key_specs=(KeySpec(("RW", "access", "delete"), ("index", 1), ("keynum", 0, 1, 1)),), since="7.0.0", acl=WRITES,
    syntax="numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    summary="Takes elements off an end of the first of several lists that there is, and returns its key and them.",
    complexity="O(N+M) for N keys and M elements returned",
)  # fmt: skip
def lmpop(tx: Tx, argv: list[bytes]) -> bytes:
    """LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]: logged as LPOP or RPOP"""
    reply = pop_first(tx, read_popping(argv, 1))
    return tx.null_array if reply is None else reply
