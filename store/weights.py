"""What a value takes of memory, as an estimate: its objects' sizes as the allocators round them.

A value is walked as Python sees it: bytes and numbers, tables and lists of them, objects with
slots.  Of a table or list with many members some are weighed (``samples``) and stand for all, so
the cost is O(samples) at each level of nesting, of which no type has more than a few.

An object that is ``packed`` is weighed as that, as there is little else then.

What several hold counts once: orders (``SHARING``) hold what their table holds, and of them only
their own lists count; an object that refers back is not walked again; single bytes and small
integers are everybody's.

It must not know: commands, data types by name.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable
from functools import cache
from itertools import islice
from typing import Any

from perdure.store.database import Database
from perdure.store.key_order import KeyOrder
from perdure.store.score_order import ScoreOrder

ALL = 0
"""As ``samples``: weigh every member."""
_SMALL = 512
_GC_HEAD = 16
_POINTER = 8
_SMALL_INT = 256
_EXPIRES_ENTRY = 100
"""An entry in the table of deadlines, and one in the wheel."""
SHARING = (KeyOrder, ScoreOrder)
_LISTS = (list, deque, tuple, set, frozenset)


def block_of(nbytes: int) -> int:
    """What an allocation of so many bytes takes."""
    return (nbytes + 15) & ~15 if nbytes <= _SMALL else (nbytes + 23) & ~15


def weigh(value: Any, samples: int = 5) -> int:
    """Bytes that a value takes, about."""
    return _weigh(value, samples, set(), False)


def weigh_key(db: Database, key: bytes, samples: int = 5) -> int:
    """Bytes that a key that exists takes with its value and its share in the database's tables, about."""
    tables = db.__sizeof__() // len(db) + _POINTER + (_POINTER >> 1)
    if key in db.expires:
        tables += _EXPIRES_ENTRY
    if db.uses is not None:
        tables += db.uses.numbers.__sizeof__() // max(1, len(db.uses.numbers))
    return tables + _weigh(key, samples, set(), False) + weigh(dict.get(db, key), samples)


def _weigh(value: Any, samples: int, seen: set[int], shared: bool) -> int:
    """``shared``: its members are somebody else's."""
    kind = value.__class__
    if kind is bytes:
        return block_of(len(value) + 33) if len(value) > 1 else 0
    if value is None or kind is bool:
        return 0
    if kind is int:
        return 0 if 0 <= value <= _SMALL_INT else block_of(value.__sizeof__())
    if kind is float:
        return block_of(value.__sizeof__())
    if kind is str or isinstance(value, (bytearray, array)):
        return block_of(value.__sizeof__())
    if id(value) in seen:
        return 0
    seen.add(id(value))
    total = block_of(value.__sizeof__() + _GC_HEAD)
    packed = getattr(value, "packed", None)
    if packed is not None:
        return total + _weigh(packed, samples, seen, False)
    shared = shared or isinstance(value, SHARING)
    if isinstance(value, dict):
        if not shared:
            total += _members(dict.items(value), dict.__len__(value), samples, seen)
    elif isinstance(value, _LISTS) and (not shared or (value and isinstance(next(iter(value)), list))):
        total += _members(((member,) for member in value), len(value), samples, seen, shared)
    for name in _slots(kind):
        total += _weigh(getattr(value, name, None), samples, seen, shared)
    return total


def _members(
    rows: Iterable[Collection[Any]], count: int, samples: int, seen: set[int], shared: bool = False
) -> int:
    """What the members of a table of ``count`` rows take; a row is what stands at one place of it."""
    some = count if samples == ALL else min(samples, count)
    total = sum(_weigh(member, samples, seen, shared) for row in islice(rows, some) for member in row)
    return total * count // some if some else 0


@cache
def _slots(kind: type) -> tuple[str, ...]:
    """The names of a class's slots that may hold something of its own."""
    found: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        found += (slots,) if isinstance(slots, str) else slots
    return tuple(name for name in found if not name.startswith("__"))
