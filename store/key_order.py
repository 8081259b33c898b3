"""Random members of, and cursors over, a table whose members come and go.

A Python dict gives neither a random member nor a place to resume at.  ``KeyOrder``
stands beside the dict: a list of its keys, and the set of those among them that
are gone.  A new key is appended; a key that leaves stays in the list and is noted
as gone; one that comes back is alive again where it stands, so that a key that is
made and deleted over and over moves nothing.  Once half of the list is gone, it is
made anew without them, which is O(1) amortised.

Pages go from the list's end to its beginning, so that a scan ends however fast new
keys arrive: they are behind it.  A cursor is the position still to go, below 2**40,
under the list's generation in the high bits.  A list made anew has a new generation
and remembers, block by block, where positions of the old one lie in it; a cursor of
a forgotten generation starts again.

Guarantee of ``page`` (that of stock's SCAN): a key present from the first call to
the last is returned, perhaps more than once; one that came or went may or may not be.

Invariants (``_check``): the entries are distinct; those that are not gone are the
table's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import filterfalse
from random import Random

_POSITION_BITS = 40
_POSITION_MASK = (1 << _POSITION_BITS) - 1
_GENERATIONS = 1 << 22
_REMEMBERED = 8
_BLOCKS = 1024
_LEAST_BLOCK = 4
_SLACK = 32


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

    __slots__ = ("append", "entries", "generation", "gone", "moves", "revives")

    def __init__(self, keys: Iterable[bytes] = (), generation: int = 0) -> None:
        self.entries: list[bytes] = list(keys)
        self.gone: set[bytes] = set()
        self.append: Callable[[bytes], None] = self.entries.append
        self.revives = False
        self.generation = generation % _GENERATIONS
        self.moves: list[tuple[int, list[int]]] = []

    def removed(self, key: bytes) -> None:
        """``key`` has just left the table."""
        gone = self.gone
        if not self.revives:
            self.append = _reviving_append(self.entries, gone)
            self.revives = True
        gone.add(key)
        if len(gone) > len(self.entries) // 2 + _SLACK:
            self._compact()

    def _compact(self) -> None:
        """Make the list anew without what is gone, and remember where positions went."""
        entries = self.entries
        is_gone = self.gone.__contains__
        block = max(_LEAST_BLOCK, len(entries) // _BLOCKS)
        kept: list[bytes] = []
        starts = [0]
        for start in range(0, len(entries), block):
            kept += filterfalse(is_gone, entries[start : start + block])
            starts.append(len(kept))
        self.moves = [*self.moves[1 - _REMEMBERED :], (block, starts)]
        self.entries = kept
        self.gone = set()
        self.append = kept.append
        self.revives = False
        self.generation = (self.generation + 1) % _GENERATIONS

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About ``count`` keys (> 0) from ``cursor`` on (0 begins): the next cursor (0 ends), and the keys."""
        entries = self.entries
        position = len(entries) if cursor == 0 else min(self._locate(cursor), len(entries))
        rest = max(0, position - count)
        page = entries[rest:position]
        if self.gone:
            page = list(filterfalse(self.gone.__contains__, page))
        return (self.generation << _POSITION_BITS | rest if rest else 0), page

    def _locate(self, cursor: int) -> int:
        """A cursor's position in the list as it is now: there or a little behind it."""
        position = cursor & _POSITION_MASK
        age = (self.generation - (cursor >> _POSITION_BITS)) % _GENERATIONS
        if age > len(self.moves):
            return len(self.entries)
        for block, starts in self.moves[len(self.moves) - age :]:
            position = starts[min(-(-position // block), len(starts) - 1)]
        return position

    def choose(self, rng: Random) -> bytes:
        """A random key of the table, which is not empty; all are equally likely; O(1) expected."""
        entries = self.entries
        gone = self.gone
        while True:
            key = entries[int(rng.random() * len(entries))]
            if key not in gone:
                return key

    def draw(self, rng: Random) -> int:
        """As ``choose``, but the position in ``entries``, for ``drop``."""
        entries = self.entries
        gone = self.gone
        while True:
            at = int(rng.random() * len(entries))
            if not gone or entries[at] not in gone:
                return at

    def drop(self, at: int) -> None:
        """The key at a position that ``draw`` has just given has left the table; O(1), nothing gathers in ``gone``.

        The last entry takes its place.  A scan goes from the end to the beginning, so that
        entry was shown before, or stays where the scan has not been: the guarantee holds.
        """
        entries = self.entries
        last = entries.pop()
        if at < len(entries):
            entries[at] = last
        if self.gone and len(self.gone) > len(entries) // 2 + _SLACK:
            self._compact()

    def _check(self, table: Collection[bytes]) -> None:
        present = set(self.entries)
        assert len(present) == len(self.entries), "entries are distinct"
        assert self.gone <= present
        assert present - self.gone == set(table)
        assert len(self.gone) <= len(self.entries) // 2 + _SLACK
        assert len(self.moves) <= _REMEMBERED
