"""Which small values are unpacked.

A small aggregate as Python objects takes several times what its content does; packed into
one byte string it takes little, but has to be unpacked before it is used.  So those in use
stay unpacked, and their keys stand here in order of arrival; as soon as there are more than
``_MOST`` the value of the key that has been here longest is packed.  Who unpacks a value, or
makes one, adds its key.

What a value is does not hang on whether it is packed (``ValueType.pack``): one that has become
too big for it meanwhile stays as it is.  Keys stand here and not values, so a value that was
deleted is free.  If a key has another value by now, that is packed a little early, and one
that was moved to another key stays unpacked until it is used again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from perdure.store import value_types

_MOST = 1024
_USES = 8


class Warm:
    """The keys, with their databases, of a keyspace's values that could be packed."""

    __slots__ = ("places", "uses")

    def __init__(self) -> None:
        self.places: OrderedDict[tuple[int, bytes], dict[bytes, Any]] = OrderedDict()
        self.uses = 0

    def add(self, db: dict[bytes, Any], key: bytes) -> None:
        """The value of ``key`` is not packed any more, or has just been made.  It is not packed by this call."""
        places = self.places
        place = id(db), key
        places.pop(place, None)
        places[place] = db
        if len(places) > _MOST:
            self._pack_first()

    def wants_one(self) -> bool:
        """Is a value whose use does without that to be unpacked?  One in ``_USES``: what is used often soon is."""
        self.uses = (self.uses + 1) % _USES
        return not self.uses

    def cool(self) -> None:
        """Pack everything."""
        while self.places:
            self._pack_first()

    def _pack_first(self) -> None:
        (_, key), db = self.places.popitem(last=False)
        _pack(db, key)


def _pack(db: dict[bytes, Any], key: bytes) -> None:
    """Have a packed value under a key if it has one that can be; no use of the key."""
    value = dict.get(db, key)
    pack = None if value is None else value_types.of(value).pack
    if pack is not None:
        packed = pack(value)
        if packed is not value:
            dict.__setitem__(db, key, packed)
