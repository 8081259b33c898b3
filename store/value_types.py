"""What a data type tells the rest of the house about itself.

A type's module registers its value class here; TYPE, OBJECT ENCODING, COPY, the
log's rewrite and comparison of keyspaces ask here and never for a class by name.
So a new type drops in beside the others without a change elsewhere.

Strings are ``bytes``, or ``bytearray`` once they were changed in place (APPEND,
SETRANGE), which makes repeated changes O(what changed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Limits = dict[str, int]
"""Thresholds by option name, such as ``hash-max-listpack-entries``."""

DEFAULT_LIMITS: Limits = {}
"""Stock's thresholds; each type's module adds those it asks for, and ``Tx`` puts in those that it was not given."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """One data type.

    copy
        a value that shares nothing changeable with its argument
    encoding
        stock's name of the encoding that it would have, by stock's thresholds
    rebuild
        command lines (without SELECT) that build the value under a key, each of
        bounded size; expiry is not part of it
    plain
        the value as immutable, order-free Python data, for comparing keyspaces
    members
        for a type that SORT takes: the members from one position to before another in
        the type's own order
    first_deadline_ms
        for a type whose members expire: the earliest unix ms at which one of a value's does, if any does
    parts
        the dicts and lists that hold a value which no key has any more, so that a big one
        can be freed bit by bit; None where nothing is ever big
    pack
        for a type whose small values have a packed form (``store.warm``): what is to stand in
        a value's place, itself if it is too big for that or packed already
    """

    name: bytes
    copy: Callable[[Any], Any]
    encoding: Callable[[Any, Limits], bytes]
    rebuild: Callable[[bytes, Any], Iterator[list[bytes]]]
    plain: Callable[[Any], Any]
    members: Callable[[Any, int, int], list[bytes]] | None = None
    first_deadline_ms: Callable[[Any], int | None] | None = None
    parts: Callable[[Any], Iterable[Any]] | None = None
    pack: Callable[[Any], Any] | None = None


_TYPES: dict[type, ValueType] = {}


def register(value_class: type, value_type: ValueType) -> None:
    """Make ``value_class`` known."""
    _TYPES[value_class] = value_type


def of(value: Any) -> ValueType:
    """The type of a value in a database."""
    return _TYPES[value.__class__]
