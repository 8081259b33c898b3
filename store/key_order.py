"""Random members of, and cursors over, a table whose members come and go.

A Python dict gives neither a random member nor a place to resume at.  ``KeyOrder``
stands beside the dict: a list of its keys, and the set of those among them that
are gone.  A new key is appended; a key that leaves stays in the list and is noted
as gone; one that comes back is alive again where it stands, so that a key that is
made and deleted over and over moves nothing.

Once more than an eighth of the list is gone, each removal looks at the next few
entries (``_sweep``, going round and round) and fills the places of those that are gone
with the last entries of the list.  So every call is bounded, however long the list is:
there is no moment at which it is made anew.  ``drop`` fills the place itself.

Pages go from the list's end to its beginning, so that a scan ends however fast new
keys arrive: they are behind it.  A cursor is the position still to go.  An entry moves
only towards the beginning: one that the scan has not shown yet stays before it, one
that it has shown may be shown again.

Guarantee of ``page`` (that of stock's SCAN): a key present from the first call to
the last is returned, perhaps more than once; one that came or went may or may not be.

Invariants (``_check``): the entries are distinct; those that are not gone are the
table's keys; not much more than an eighth is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import filterfalse
from random import Random

_SLACK = 32
_SWEPT = 128
"""Entries that a removal looks at."""


def _reviving_append(entries: list[bytes], gone: set[bytes]) -> Callable[[bytes], None]:
    """``append`` for a list of which something is gone.  No method: the order must not refer to itself."""
    push = entries.append

    def append(key: bytes) -> None:
        if key in gone:
            gone.remove(key)
        else:
            push(key)

    return append


class KeyOrder:
    """The order of one table's keys; the owner calls ``append`` for a new key and ``removed``."""

    __slots__ = ("append", "entries", "finger", "gone", "revives")

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self.entries: list[bytes] = list(keys)
        self.gone: set[bytes] = set()
        self.append: Callable[[bytes], None] = self.entries.append
        self.revives = False
        self.finger = 0
        """Where ``_sweep`` goes on."""

    def removed(self, key: bytes) -> None:
        """``key`` has just left the table."""
        gone = self.gone
        if not self.revives:
            self.append = _reviving_append(self.entries, gone)
            self.revives = True
        gone.add(key)
        if len(gone) > (len(self.entries) >> 3) + _SLACK:
            self._sweep()

    def _sweep(self) -> None:
        """Let the last entries take the places of those that are gone among the next few; O(``_SWEPT``)."""
        entries = self.entries
        gone = self.gone
        for _ in range(_SWEPT):
            if not entries or entries[-1] not in gone:
                break
            gone.remove(entries.pop())
        start = self.finger
        block = entries[start : start + _SWEPT]
        stop = start + len(block)
        self.finger = stop if len(block) == _SWEPT else 0
        holes = gone.intersection(block)
        if holes:
            gone -= holes
            kept = list(filterfalse(holes.__contains__, block))
            behind = max(stop, len(entries) - len(holes))
            kept += entries[behind:]
            del entries[behind:]
            entries[start:stop] = kept  # shorter than the block only where that is now the end

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About ``count`` keys (> 0) from ``cursor`` on (0 begins): the next cursor (0 ends), and the keys."""
        entries = self.entries
        position = min(cursor, len(entries)) if cursor else len(entries)
        rest = max(0, position - count)
        page = entries[rest:position]
        if self.gone:
            page = list(filterfalse(self.gone.__contains__, page))
        return rest, page

    def choose(self, rng: Random) -> bytes:
        """A random key of the table, which is not empty; all are equally likely; O(1) expected."""
        return self.entries[self.draw(rng)]

    def sample(self, rng: Random, count: int) -> list[bytes]:
        """Up to ``count`` random keys of the table, which is not empty; at least one, perhaps one more than once."""
        entries, gone, random = self.entries, self.gone, rng.random
        size = len(entries)
        keys = [entries[int(random() * size)] for _ in range(count)]
        if gone:
            keys = list(filterfalse(gone.__contains__, keys))
        return keys or [self.choose(rng)]

    def draw(self, rng: Random) -> int:
        """As ``choose``, but the position in ``entries``, for ``drop``."""
        entries = self.entries
        gone = self.gone
        while True:
            at = int(rng.random() * len(entries))
            if not gone or entries[at] not in gone:
                return at

    def drop(self, at: int) -> None:
        """The key at a position that ``draw`` has just given has left the table; the last entry takes its place."""
        entries = self.entries
        last = entries.pop()
        if at < len(entries):
            entries[at] = last
        if self.gone and len(self.gone) > (len(entries) >> 3) + _SLACK:
            self._sweep()

    def _check(self, table: Collection[bytes]) -> None:
        present = set(self.entries)
        assert len(present) == len(self.entries), "entries are distinct"
        assert self.gone <= present
        assert present - self.gone == set(table)
        assert len(self.gone) <= len(self.entries) // 6 + 2 * _SLACK
        assert not self.gone or self.revives
