"""A digest of everything in a keyspace, whatever the order: was it written as it is?

It is a sum over keys of a 64-bit hash of database, key, type, value and deadlines; the values
in the order-free form that ``store.value_types`` has.  It is compared within one process only,
so it can be made of Python's own hashes, whose seed differs from process to process: nobody can
prepare two values with the same one, and no file has it.

Numbers hash as themselves, and -1 as -2 does: scores therefore go in as bytes.

It must not know: files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from perdure.store import value_types
from perdure.store.database import Keyspace
from perdure.store.zset_value import ZSet

_MASK = (1 << 64) - 1
_bits = struct.Struct("<d").pack


class Digest:
    """``sum`` and ``keys`` so far."""

    __slots__ = ("keys", "sum")

    def __init__(self) -> None:
        self.sum = 0
        self.keys = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.sum, self.keys) == (other.sum, other.keys)

    __hash__ = None  # type: ignore[assignment]

    def add(self, index: int, key: bytes, value: Any, expires_ms: int | None) -> None:
        """A key of database ``index`` and its value as the store has it."""
        self.keys += 1
        self.sum += hash((index, key, _form(value), expires_ms)) & _MASK

    def add_function(self, code: bytes) -> None:
        """A library of functions."""
        self.sum += hash((b"function", code)) & _MASK


def _form(value: Any) -> Any:
    kind = value.__class__
    if kind is bytes:
        return value
    if kind is ZSet:
        return b"zset", frozenset(
            (member, _bits(score))
            for members, scores in value.pairs()
            for member, score in zip(members, scores, strict=True)
        )
    known = value_types.of(value)
    plain = known.plain(value)
    return plain if kind is bytearray else (known.name, plain)


def of_keyspace(keyspace: Keyspace, functions: Iterable[bytes]) -> Digest:
    """The digest of all keys, due ones as well, and of the libraries of functions."""
    digest = Digest()
    for index, db in enumerate(keyspace.databases):
        deadline_of = db.expires.get
        total = 0
        for key, value in dict.items(db):
            form = value if value.__class__ is bytes else _form(value)
            total += hash((index, key, form, deadline_of(key))) & _MASK
        digest.sum += total
        digest.keys += len(db)
    for code in functions:
        digest.add_function(code)
    return digest
