"""The value of a set: ``Set``, a dict of members, or ``IntSet``, a sorted array of integers.

A set whose members are all integers in canonical form is an ``IntSet`` up to
``set-max-intset-entries`` of them, which costs little memory and answers in order;
another member or one too many turns it into a ``Set`` for good, as in stock.  An
array holds 16, 32 or 64 bits an integer, as wide as its widest member once needed.
Who adds to one puts what ``with_integers`` returns in its place.

A ``Set`` is a dict and not a Python set because a dict takes half the memory at the
sizes that sets mostly have.  ``order`` is its members' order for SPOP, SRANDMEMBER
and SSCAN, made when one of them first needs it and kept up from then on; None
before, so that a set that never needs it pays nothing.  Only a set of very many members
(``MANY_MEMBERS``) has one at once: to make it later would hold the loop.  Who adds or
removes members tells ``order``.  A dict that has shrunk keeps its table, and walking it
would cost what it once held: who removes calls ``tidy`` now and then, at the latest
when the count passes a power of two, which makes that O(1) amortised.

Invariants (``_check``): a set in a database has a member; ``order`` has a ``Set``'s
members; an ``IntSet`` is strictly ascending.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from perdure.store import value_types
from perdure.store.key_order import KeyOrder
from perdure.store.numbers import read_integer
from perdure.store.value_types import Limits, ValueType

if TYPE_CHECKING:
    Integers = array[int]
else:
    Integers = array

MAX_INTEGERS = "set-max-intset-entries"
value_types.DEFAULT_LIMITS[MAX_INTEGERS] = 512

MANY_MEMBERS = 1 << 16
_REBUILD_MEMBERS = 128
_REBUILD_BYTES = 1 << 20
_SPARSE_BYTES = 256
"""A table that takes more than this for each member is mostly empty: after growing it takes at most half as much."""
_SMALL_TABLE = 4096
_FEW_INTEGERS = 8


class Set(dict[bytes, None]):
    """A set of any members."""

    __slots__ = ("order",)

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        super().__init__(dict.fromkeys(members))
        self.order: KeyOrder | None = KeyOrder(self) if len(self) > MANY_MEMBERS else None

    def has(self, member: bytes) -> bool:
        """Is it a member?"""
        return member in self

    def members(self) -> list[bytes]:
        """All members."""
        return list(self)

    def add(self, members: Iterable[bytes]) -> None:
        """Add members; those that are there already stay."""
        if self.order is None:
            self.update(dict.fromkeys(members))
            if len(self) > MANY_MEMBERS:
                self.ordered()
            return
        for member in members:
            if member not in self:
                self[member] = None
                self.order.append(member)

    def drop(self, members: Iterable[bytes]) -> None:
        """Take distinct members that are there away."""
        order = self.order
        for member in members:
            del self[member]
            if order is not None:
                order.removed(member)
        self.tidy()

    def tidy(self) -> None:
        """Give back the table of a set that has shrunk far below it."""
        if self.__sizeof__() > _SPARSE_BYTES * len(self) + _SMALL_TABLE:
            members = list(self)
            self.clear()
            self.update(dict.fromkeys(members))

    def ordered(self) -> KeyOrder:
        """The members' order, made now if it was not yet."""
        if self.order is None:
            self.order = KeyOrder(self)
        return self.order

    def _check(self) -> None:
        assert self
        assert all(member.__class__ is bytes for member in self)
        if self.order is not None:
            self.order._check(self)


class IntSet(Integers):
    """A set of integers, ascending; ``IntSet(width, integers)`` with a width of ``_width``."""

    __slots__ = ()

    def has(self, member: bytes) -> bool:
        """Is it a member?  O(log n)."""
        n = read_integer(member)
        return n is not None and self.place(n) >= 0

    def place(self, n: int) -> int:
        """Where an integer stands, below 0 if nowhere; O(log n)."""
        at = bisect_left(self, n)
        return at if at < len(self) and self[at] == n else -1

    def members(self) -> list[bytes]:
        """All members, ascending."""
        return [b"%d" % n for n in self]

    def drop(self, members: Iterable[bytes]) -> None:
        """Take distinct members that are there away."""
        gone = [self.place(int(member)) for member in members]
        if len(gone) <= _FEW_INTEGERS:
            for at in sorted(gone, reverse=True):
                del self[at]
        else:
            places = set(gone)
            self[:] = array(self.typecode, [n for at, n in enumerate(self) if at not in places])

    def _check(self) -> None:
        assert len(self)
        assert all(a < b for a, b in pairwise(self))


AnySet = Set | IntSet


_BYTES = {"h": 2, "i": 4, "q": 8}
"""Type codes of arrays, and the bytes that an integer takes in one."""


def _width(low: int, high: int) -> str:
    """The narrowest type code that holds integers from ``low`` to ``high``."""
    for code, size in _BYTES.items():
        if -(1 << 8 * size - 1) <= low and high < 1 << 8 * size - 1:
            return code
    return "q"


def with_integers(value: IntSet, integers: list[int], limits: Limits) -> AnySet:
    """The set with more integers in it, perhaps some that it has: ``value`` itself or what stands in its place.

    O(n) for a few integers, by moving memory; many are merged in one go.
    """
    width = _width(min(integers), max(integers))
    wider = _BYTES[width] > value.itemsize
    if wider or len(integers) > _FEW_INTEGERS:
        value = IntSet(width if wider else value.typecode, sorted({*value, *integers}))
    else:
        for n in integers:
            at = bisect_left(value, n)
            if at == len(value) or value[at] != n:
                value.insert(at, n)
    return Set(value.members()) if len(value) > limits[MAX_INTEGERS] else value


def read_integers(members: Iterable[bytes]) -> list[int] | None:
    """The members as integers, None as soon as one is none."""
    integers: list[int] = []
    for member in members:
        n = read_integer(member)
        if n is None:
            return None
        integers.append(n)
    return integers


def make(members: dict[bytes, None], limits: Limits) -> AnySet:
    """A set of members (one at least) in the encoding that stock would give it."""
    if len(members) <= limits[MAX_INTEGERS]:
        integers = read_integers(members)
        if integers is not None:
            return with_integers(IntSet("h"), integers, limits)
    return Set(members)


# ---- what the rest of the house asks -------------------------------------------------


def _copy(value: AnySet) -> AnySet:
    return IntSet(value.typecode, value) if isinstance(value, IntSet) else Set(value)


def _encoding(value: AnySet, limits: Limits) -> bytes:
    return b"intset" if value.__class__ is IntSet else b"hashtable"


def _rebuild(key: bytes, value: AnySet) -> Iterator[list[bytes]]:
    line = [b"SADD", key]
    size = 0
    for member in value.members():
        line.append(member)
        size += len(member)
        if size > _REBUILD_BYTES or len(line) >= _REBUILD_MEMBERS:
            yield line
            line = [b"SADD", key]
            size = 0
    if len(line) > 2:
        yield line


def _plain(value: AnySet) -> Any:
    return frozenset(value.members())


def _parts(value: AnySet) -> list[Any]:
    return [value] if isinstance(value, Set) else []


def _slice(value: AnySet, start: int, stop: int) -> list[bytes]:
    return value.members()[start:stop]


for _class in (Set, IntSet):
    value_types.register(_class, ValueType(b"set", _copy, _encoding, _rebuild, _plain, members=_slice, parts=_parts))
