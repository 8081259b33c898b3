"""The value of a string.

``bytes``, or ``bytearray`` once it was changed in place (APPEND, SETBIT ...), so that
building a string up costs what is added and not what is there.  Stock has the same
two forms under the names embstr (or int) and raw.

It must not know: commands, keys.
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure.store.numbers import read_integer
from perdure.store.value_types import Limits, ValueType, register

_EMBEDDED = 44
"""Stock keeps a string up to this length inside its object (encoding embstr)."""


def _encoding(value: bytes | bytearray, limits: Limits) -> bytes:
    """``int`` for a canonical 64-bit integer, ``embstr`` if short, else, or once changed in place, ``raw``."""
    if value.__class__ is bytearray:
        return b"raw"
    if read_integer(value) is not None:
        return b"int"
    return b"embstr" if len(value) <= _EMBEDDED else b"raw"


def _rebuild(key: bytes, value: bytes | bytearray) -> Iterator[list[bytes]]:
    yield [b"SET", key, bytes(value)]


def changeable(value: bytes | bytearray) -> bytearray:
    """A value in the form that can be changed in place: itself, or a copy that the caller puts in its place."""
    return value if isinstance(value, bytearray) else bytearray(value)


register(bytes, ValueType(b"string", lambda value: value, _encoding, _rebuild, lambda value: value))
register(bytearray, ValueType(b"string", bytearray, _encoding, _rebuild, bytes))
