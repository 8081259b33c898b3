"""The value of a hash: a dict from field to value, bytes to bytes.

``big``    stock would have it as a hashtable: it once had more fields than
           ``hash-max-listpack-entries``, or a field or value longer than
           ``hash-max-listpack-value``; it never turns small again
``order``  the fields' order for HSCAN and HRANDFIELD, made when one of them first
           needs it and kept up from then on; None before

Who adds or removes fields tells ``order``; who writes tells ``grown``.

Invariants (``_check``): a hash in a database has a field; ``order`` has its fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perdure.store import value_types
from perdure.store.key_order import KeyOrder
from perdure.store.value_types import Limits, ValueType

MAX_ENTRIES = "hash-max-listpack-entries"
MAX_VALUE = "hash-max-listpack-value"
value_types.DEFAULT_LIMITS[MAX_ENTRIES] = 512
value_types.DEFAULT_LIMITS[MAX_VALUE] = 64

_REBUILD_FIELDS = 64
_REBUILD_BYTES = 1 << 20


class Hash(dict[bytes, bytes]):
    """A hash."""

    __slots__ = ("big", "order")

    def __init__(self, items: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(items)
        self.big = False
        self.order: KeyOrder | None = None

    def grown(self, longest: int, limits: Limits) -> None:
        """A write has added fields or values of up to ``longest`` bytes to a hash that was not ``big``."""
        self.big = longest > limits[MAX_VALUE] or len(self) > limits[MAX_ENTRIES]

    def put(self, field: bytes, value: bytes) -> bool:
        """Set a field; was it new?"""
        if field in self:
            self[field] = value
            return False
        self[field] = value
        if self.order is not None:
            self.order.append(field)
        return True

    def remove(self, field: bytes) -> None:
        """Take a field that exists away."""
        del self[field]
        if self.order is not None:
            self.order.removed(field)

    def ordered(self) -> KeyOrder:
        """The fields' order, made now if it was not yet."""
        if self.order is None:
            self.order = KeyOrder(self)
        return self.order

    def _check(self) -> None:
        assert self
        assert all(field.__class__ is bytes and value.__class__ is bytes for field, value in self.items())
        if self.order is not None:
            self.order._check(self)


def _copy(value: Hash) -> Hash:
    twin = Hash(value)
    twin.big = value.big
    return twin


def _encoding(value: Hash, limits: Limits) -> bytes:
    return b"hashtable" if value.big else b"listpack"


def _rebuild(key: bytes, value: Hash) -> Iterator[list[bytes]]:
    line = [b"HSET", key]
    size = 0
    for item in value.items():
        line += item
        size += len(item[0]) + len(item[1])
        if size > _REBUILD_BYTES or len(line) >= 2 * _REBUILD_FIELDS:
            yield line
            line = [b"HSET", key]
            size = 0
    if len(line) > 2:
        yield line


def _plain(value: Hash) -> Any:
    return frozenset(value.items())


value_types.register(Hash, ValueType(b"hash", _copy, _encoding, _rebuild, _plain))
