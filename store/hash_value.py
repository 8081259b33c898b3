"""The value of a hash: a dict from field to value, bytes to bytes.

``big``    stock would have it as a hashtable: it once had more fields than
           ``hash-max-listpack-entries``, or a field or value longer than
           ``hash-max-listpack-value``; it never turns small again
``order``  the fields' order for HSCAN and HRANDFIELD, made when one of them first
           needs it and kept up from then on; None before.  Only a hash of very many
           fields (``MANY_FIELDS``) has it at once: to make it later would hold the loop

Who adds or removes fields tells ``order``; who writes tells ``grown``.

A small hash that was not used for a while is a ``PackedHash`` in its database
(``store.warm``): one byte string instead of twenty objects.  Who writes puts an unpacked
one in its place first, who reads may do with one of its own.  As it knows no order, only
what is not ``big`` is packed, of which HSCAN shows all at once.

Fields with deadlines
---------------------

A hash whose first field gets a deadline becomes an ``ExpiringHash``, in place and for
good.  So others pay nothing: they have no deadlines to look at, and commands know them
by their class.  An ``ExpiringHash`` shows only the fields that are not due: ``in``,
``len``, ``get``, iteration and its kind.  Due fields are there until they are removed,
which is logged as HDEL: by active expiry (``store.expiry``), or by a write that goes by
their absence.  ``dict``'s own methods (``dict.__len__(value)`` ...) see all fields, and
so does ``order``.

Invariants (``_check``): a hash in a database has a field; ``order`` has its fields;
only fields have deadlines.
"""

from __future__ import annotations

import marshal
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from random import Random
from typing import Any

from perdure.store import value_types
from perdure.store.field_deadlines import FieldDeadlines, Timed
from perdure.store.key_order import KeyOrder
from perdure.store.value_types import Limits, ValueType

MAX_ENTRIES = "hash-max-listpack-entries"
MAX_VALUE = "hash-max-listpack-value"
value_types.DEFAULT_LIMITS[MAX_ENTRIES] = 512
value_types.DEFAULT_LIMITS[MAX_VALUE] = 64

MANY_FIELDS = 1 << 16
_MOST_PACKED = 512
_MOST_PACKED_BYTES = 1 << 16
_MARSHAL_VERSION = 2
"""The last one that does not look for objects that several refer to."""
_REBUILD_FIELDS = 64
_REBUILD_BYTES = 1 << 20
_TRIES = 32


class Hash(dict[bytes, bytes]):
    """A hash."""

    __slots__ = ("big", "deadlines", "order")
    deadlines: FieldDeadlines
    """Only an ``ExpiringHash`` has them."""

    def __init__(self, items: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(items)
        self.big = False
        self.order: KeyOrder | None = KeyOrder(self) if len(self) > MANY_FIELDS else None

    def grown(self, longest: int, limits: Limits) -> None:
        """A write has added fields or values of up to ``longest`` bytes to a hash that was not ``big``."""
        self.big = longest > limits[MAX_VALUE] or dict.__len__(self) > limits[MAX_ENTRIES]

    def put(self, field: bytes, value: bytes) -> bool:
        """Set a field; was it new?"""
        if field in self:
            self[field] = value
            return False
        self[field] = value
        if self.order is not None:
            self.order.append(field)
        elif len(self) > MANY_FIELDS:
            self.ordered()
        return True

    def remove(self, field: bytes) -> None:
        """Take a field that exists away."""
        del self[field]
        if self.order is not None:
            self.order.removed(field)

    def ordered(self) -> KeyOrder:
        """The fields' order, made now if it was not yet."""
        if self.order is None:
            self.order = KeyOrder(dict.__iter__(self))
        return self.order

    def choose(self, rng: Random) -> bytes:
        """A random field; O(1) expected."""
        return self.ordered().choose(rng)

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """A page of fields, as ``KeyOrder.page``."""
        return self.ordered().page(cursor, count)

    def _check(self) -> None:
        assert self
        assert all(field.__class__ is bytes and value.__class__ is bytes for field, value in self.items())
        if self.order is not None:
            self.order._check(self)


class PackedHash(bytes):
    """A small hash, packed: its fields and behind them their values in the same order, marshalled.

    It is small, so it may be made anew as a whole for each change.
    """

    __slots__ = ()

    def content(self, field: bytes) -> bytes | None:
        """A field's value, None if there is no such field.  O(n) for n <= ``_MOST_PACKED`` fields."""
        both = marshal.loads(self)
        half = len(both) >> 1
        try:
            content: bytes = both[half + both.index(field, 0, half)]
        except ValueError:
            return None
        return content

    def with_field(self, field: bytes, content: bytes, limits: Limits) -> tuple[PackedHash, bool] | None:
        """The same with a field set, and whether that is a new one; None if it would be too big.  O(n)."""
        longest = limits[MAX_VALUE]
        both = list(marshal.loads(self))
        half = len(both) >> 1
        if len(field) > longest or len(content) > longest or half >= min(limits[MAX_ENTRIES], _MOST_PACKED):
            return None
        try:
            both[half + both.index(field, 0, half)] = content
            is_new = False
        except ValueError:
            both.insert(half, field)
            both.append(content)
            is_new = True
        packed = PackedHash(marshal.dumps(both, _MARSHAL_VERSION))
        return (packed, is_new) if len(packed) <= _MOST_PACKED_BYTES else None

    def unpacked(self) -> Hash:
        """The same, not packed."""
        both = marshal.loads(self)
        half = len(both) >> 1
        return Hash(zip(both[:half], both[half:], strict=True))


class ExpiringHash(Hash):
    """A hash some of whose fields have, or had, deadlines; see above."""

    __slots__ = ()

    def is_due(self, field: bytes) -> bool:
        """Is a field there that is not shown any more?"""
        return self.deadlines.is_due(field)

    def _shown(self) -> dict[bytes, bytes]:
        """The fields that are not due; a copy."""
        is_due = self.deadlines.is_due
        return {field: value for field, value in dict.items(self) if not is_due(field)}

    def __contains__(self, field: object) -> bool:
        return dict.__contains__(self, field) and not self.deadlines.is_due(field)  # type: ignore[arg-type]

    def __len__(self) -> int:
        everything = dict.__len__(self)
        return everything - len(self.deadlines.due()) if self.deadlines.any_due() else everything

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._shown()) if self.deadlines.any_due() else dict.__iter__(self)

    def get(self, field: bytes, default: Any = None) -> Any:
        """A field's value, ``default`` if it is due."""
        return default if self.deadlines.is_due(field) else dict.get(self, field, default)

    def items(self) -> Any:
        """Fields and values."""
        shown: ItemsView[bytes, bytes] = self._shown().items() if self.deadlines.any_due() else dict.items(self)
        return shown

    def values(self) -> Any:
        """Values."""
        shown: ValuesView[bytes] = self._shown().values() if self.deadlines.any_due() else dict.values(self)
        return shown

    def put(self, field: bytes, value: bytes) -> bool:
        """Set a field, without a deadline; was it new?"""
        created = field not in self
        is_new = not dict.__contains__(self, field)
        self[field] = value
        if is_new and self.order is not None:
            self.order.append(field)
        self.deadlines.drop(field)
        return created

    def remove(self, field: bytes) -> None:
        """Take a field away, due or not."""
        super().remove(field)
        self.deadlines.drop(field)

    def choose(self, rng: Random) -> bytes:
        """A random field that is not due; some is; O(1) expected unless most are due."""
        order = self.ordered()
        for _ in range(_TRIES):
            field = order.choose(rng)
            if not self.deadlines.is_due(field):
                return field
        return rng.choice(list(self))

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """A page without the fields that are due."""
        cursor, fields = super().page(cursor, count)
        is_due = self.deadlines.is_due
        return cursor, [field for field in fields if not is_due(field)]

    def _check(self) -> None:
        fields = dict(dict.items(self))
        assert fields
        assert all(field.__class__ is bytes and value.__class__ is bytes for field, value in fields.items())
        if self.order is not None:
            self.order._check(fields)
        assert fields.keys() >= self.deadlines.by_field.keys()
        self.deadlines._check()


def with_deadlines(value: Hash, owner: Timed) -> ExpiringHash:
    """A hash as one whose fields can have deadlines, by the clock of ``owner``, the keyspace: itself."""
    if not isinstance(value, ExpiringHash):
        value.deadlines = FieldDeadlines(owner)
        value.__class__ = ExpiringHash
    assert isinstance(value, ExpiringHash)
    return value


# ---- what the house knows of it ----------------------------------------------------------


def _copy(value: Hash) -> Hash:
    twin = Hash(value)
    twin.big = value.big
    return twin


def packed_form(value: Hash) -> Hash | PackedHash:
    """A hash packed, or itself if it is too big for that."""
    if value.big or not 0 < len(value) <= _MOST_PACKED:
        return value
    both = marshal.dumps((*value, *value.values()), _MARSHAL_VERSION)
    return PackedHash(both) if len(both) <= _MOST_PACKED_BYTES else value


def _copy_expiring(value: ExpiringHash) -> ExpiringHash:
    # What is due, too: a log that is replayed has it, and knows no time by which to leave it out.
    twin = Hash(dict.items(value))
    twin.big = value.big
    twin.deadlines = value.deadlines.copy()
    twin.__class__ = ExpiringHash
    assert isinstance(twin, ExpiringHash)
    return twin


def _encoding(value: Hash, limits: Limits) -> bytes:
    return b"hashtable" if value.big else b"listpack"


def _rebuild(key: bytes, value: Hash) -> Iterator[list[bytes]]:
    line = [b"HSET", key]
    size = 0
    for item in dict.items(value):
        line += item
        size += len(item[0]) + len(item[1])
        if size > _REBUILD_BYTES or len(line) >= 2 * _REBUILD_FIELDS:
            yield line
            line = [b"HSET", key]
            size = 0
    if len(line) > 2:
        yield line


def _rebuild_expiring(key: bytes, value: ExpiringHash) -> Iterator[list[bytes]]:
    """Fields that are due, too: the log says which have gone."""
    yield from _rebuild(key, value)
    by_deadline: dict[int, list[bytes]] = {}
    for field, deadline_ms in value.deadlines.by_field.items():
        by_deadline.setdefault(deadline_ms, []).append(field)
    for deadline_ms, fields in by_deadline.items():
        for start in range(0, len(fields), _REBUILD_FIELDS):
            part = fields[start : start + _REBUILD_FIELDS]
            yield [b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"%d" % len(part), *part]


def _encoding_expiring(value: ExpiringHash, limits: Limits) -> bytes:
    return b"hashtable" if value.big else b"listpackex"


def _plain(value: Hash) -> Any:
    return frozenset(value.items())


def _plain_expiring(value: ExpiringHash) -> Any:
    """All fields, due or not, with their deadlines: what a log that is replayed must give."""
    fields = frozenset(dict.items(value))
    return (fields, frozenset(value.deadlines.by_field.items())) if value.deadlines.by_field else fields


def _parts(value: Hash) -> list[Any]:
    return [value]


value_types.register(Hash, ValueType(b"hash", _copy, _encoding, _rebuild, _plain, parts=_parts, pack=packed_form))
value_types.register(
    PackedHash,
    ValueType(
        b"hash",
        lambda value: value,
        lambda value, limits: b"listpack",
        lambda key, value: _rebuild(key, value.unpacked()),
        lambda value: _plain(value.unpacked()),
    ),
)
value_types.register(
    ExpiringHash,
    ValueType(
        b"hash",
        _copy_expiring,
        _encoding_expiring,
        _rebuild_expiring,
        _plain_expiring,
        parts=_parts,
        first_deadline_ms=lambda value: value.deadlines.first_ms() if value.deadlines.by_field else None,
    ),
)
