"""Which small values are unpacked.

A small aggregate as Python objects takes several times what its content does; packed into
one byte string it takes little, but has to be unpacked before it is used.  So those in use
stand here, unpacked, in order of arrival; as soon as there are more than ``_MOST`` the one
that has been here longest is packed.  Who unpacks a value, or makes one, adds it.

What a value is does not hang on whether it is packed: ``pack`` does nothing to one that has
become too big for it meanwhile, and it does not matter if no key has the value any more.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

_MOST = 1024


class Packable(Protocol):
    """A value that has a packed form."""

    def pack(self) -> None:
        """Take the packed form, unless too big for it."""


class Warm:
    """The unpacked values of a keyspace that could be packed."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: deque[Packable] = deque()

    def add(self, value: Packable) -> None:
        """``value`` is not packed any more, or has just been made."""
        values = self.values
        values.append(value)
        if len(values) > _MOST:
            values.popleft().pack()
