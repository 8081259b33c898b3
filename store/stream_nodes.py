"""The nodes of a stream: runs of consecutive entries, cut where stock cuts its own.

Stock keeps entries in listpacks that are the leaves of a radix tree, and what a
client sees depends on where one ends: ``~`` trims whole nodes, XINFO counts them.
So a node here ends where stock's would, by ``stream-node-max-entries`` and
``stream-node-max-bytes``, for which each node knows how long its listpack would be.
A deleted entry stays in a listpack as a tombstone; here it is gone, and its bytes
and its number are kept.

A listpack is 6 bytes of head, elements, 1 byte of end.  An element is an integer of
1, 2, 3, 4, 5 or 9 bytes, or a string of 1, 2 or 5 bytes of head (by length below 64,
below 4096, above), and behind it its own length in 1 to 5 bytes.  A string that is the
canonical form of a 64-bit integer is stored as one.  The elements of a stream's node::

    node  = count deleted n-fields field*n 0 entry*
    entry = flags ms-difference seq-difference [n-fields] (value*n | (field value)*n) n-elements

where an entry whose fields are those of the node leaves them out.

A node that is full is packed: one run of bytes and three arrays instead of an int and
a bytes object for each entry, which more than halves its memory.  Reading leaves it so;
what changes it unpacks it first.

Invariants (``_check``): ids ascend and lie in [first, last]; ``items`` are as many;
``size`` is what the elements above add up to, as far as the entries are there.

It must not know: streams, commands, replies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate, pairwise

from perdure.store.numbers import read_integer
from perdure.store.stream_ids import SEQ_MAX

MAX_LISTPACK = 1 << 30
"""No listpack grows beyond that, whatever the options say, and no entry is longer."""

_FRAME = 7
_INT64_CHARS = 20
_NINE = 0x39
_WORTH_PACKING = 8
"""With fewer entries the arrays themselves take what they save."""


def int_size(n: int) -> int:
    """Bytes of an integer element, its length behind it included."""
    if 0 <= n < 128:
        return 2
    if -4096 <= n < 4096:
        return 3
    if -32768 <= n < 32768:
        return 4
    if -(1 << 23) <= n < 1 << 23:
        return 5
    if -(1 << 31) <= n < 1 << 31:
        return 6
    return 10


def text_size(text: bytes) -> int:
    """Bytes of a string's element."""
    n = len(text)
    if n <= _INT64_CHARS and (text.isdigit() or text[:1] == b"-"):
        number = read_integer(text)
        if number is not None:
            return int_size(number)
    n += 1 if n < 64 else 2 if n < 4096 else 5
    return n + (1 if n < 128 else 2 if n < 16383 else 3 if n < 2097151 else 4 if n < 268435455 else 5)


def signed(n: int) -> int:
    """An unsigned 64-bit difference as C stores it in a signed number."""
    n &= SEQ_MAX
    return n - (1 << 64) if n >> 63 else n


class _Packed:
    """Entries that nobody changes: ids as two arrays, items in one run, each up to its offset."""

    __slots__ = ("data", "ms", "offsets", "seq")

    def __init__(self, ids: list[int], items: list[bytes]) -> None:
        self.ms = array("Q", [entry_id >> 64 for entry_id in ids])
        self.seq = array("Q", [entry_id & SEQ_MAX for entry_id in ids])
        self.data = b"".join(items)
        self.offsets = array("Q" if len(self.data) >> 32 else "I", [0, *accumulate(map(len, items))])

    def place(self, entry_id: int, bisect: Callable[..., int]) -> int:
        """Where ``bisect`` puts an id."""
        ms = entry_id >> 64
        low = bisect_left(self.ms, ms)
        return bisect(self.seq, entry_id & SEQ_MAX, low, bisect_right(self.ms, ms, low))

    def slice(self, low: int, high: int) -> tuple[list[int], list[bytes]]:
        """Ids and items from ``low`` to before ``high``."""
        ids = [ms << 64 | seq for ms, seq in zip(self.ms[low:high], self.seq[low:high], strict=True)]
        data = self.data
        offsets = self.offsets[low : high + 1]
        return ids, [data[a:b] for a, b in pairwise(offsets)]


class Node:
    """A run of entries.

    ``first``   the id that the node began with, there or not
    ``last``    the id that was last added, there or not
    ``count``   how many entries are there
    ``fields``  the fields of the entry that the node began with
    ``dead``    how many entries were deleted
    ``size``    bytes of the listpack without its two counters

    The entries are in ``packed`` or, if that is None, in ``ids`` and ``items``.  An item is
    the fields and values as a RESP array, as replies and records have it.
    """

    __slots__ = ("count", "dead", "fields", "first", "ids", "items", "last", "packed", "size")

    def __init__(self, first: int, fields: list[bytes]) -> None:
        self.first = first
        self.last = first
        self.count = 0
        self.ids: list[int] = []
        self.items: list[bytes] = []
        self.packed: _Packed | None = None
        self.fields = fields
        self.dead = 0
        self.size = _FRAME + int_size(len(fields)) + sum(map(text_size, fields)) + 2

    # ---- adding ------------------------------------------------------------------------

    def takes(self, length: int, max_entries: int, max_bytes: int) -> bool:
        """Would stock add an entry whose fields and values have ``length`` bytes to this node?"""
        count = self.count
        dead = self.dead
        counters = 4 if count < 128 and dead < 128 else int_size(count) + int_size(dead)
        if not 0 < max_bytes <= MAX_LISTPACK:
            max_bytes = MAX_LISTPACK
        return self.size + counters + length < max_bytes and (not max_entries or count + dead < max_entries)

    def append(self, entry_id: int, pairs: list[bytes], item: bytes) -> None:
        """Add an entry behind the others; ``pairs`` is its fields and values, as ``item`` has them."""
        if self.packed is not None:
            self._unpack(self.packed)
        self.ids.append(entry_id)
        self.items.append(item)
        self.count += 1
        self.last = entry_id
        self.size += self.entry_size(entry_id, pairs)

    def entry_size(self, entry_id: int, pairs: list[bytes]) -> int:
        """Bytes of an entry's elements."""
        first = self.first
        later = entry_id - first
        if later < 128:  # of the same ms
            size = 6
        else:
            size = 2 + int_size(signed((entry_id >> 64) - (first >> 64)))
            size += int_size(signed((entry_id & SEQ_MAX) - (first & SEQ_MAX)))
        for value in pairs[1::2]:
            n = len(value)
            size += n + 2 if 0 < n < 64 and value[0] > _NINE else text_size(value)
        fields = pairs[::2]
        n = len(fields)
        if fields == self.fields:
            return size + int_size(n + 3)
        return size + int_size(2 * n + 4) + int_size(n) + sum(map(text_size, fields))

    # ---- reading -----------------------------------------------------------------------

    def find(self, entry_id: int) -> int:
        """Where an entry is, -1 if nowhere."""
        at = self.place(entry_id)
        return at if at < self.count and self.id_at(at) == entry_id else -1

    def place(self, entry_id: int) -> int:
        """How many entries are before an id."""
        return bisect_left(self.ids, entry_id) if self.packed is None else self.packed.place(entry_id, bisect_left)

    def id_at(self, at: int) -> int:
        """The id of an entry by its place, from the end if negative."""
        packed = self.packed
        return self.ids[at] if packed is None else packed.ms[at] << 64 | packed.seq[at]

    def item_at(self, at: int) -> bytes:
        """The item of an entry by its place."""
        packed = self.packed
        return self.items[at] if packed is None else packed.data[packed.offsets[at] : packed.offsets[at + 1]]

    def bounds(self, start: int, end: int) -> tuple[int, int]:
        """The places of the entries from ``start`` to ``end``, both included: the first, and that behind the last."""
        low = self.place(start) if start > self.first else 0
        if end >= self.last:
            return low, self.count
        packed = self.packed
        return low, bisect_right(self.ids, end) if packed is None else packed.place(end, bisect_right)

    def slice(self, low: int, high: int) -> tuple[list[int], list[bytes]]:
        """Ids and items by their places, from ``low`` to before ``high``."""
        if self.packed is not None:
            return self.packed.slice(low, high)
        return self.ids[low:high], self.items[low:high]

    # ---- changing ----------------------------------------------------------------------

    def pack(self) -> None:
        """The node is full: nothing more will be added."""
        if self.packed is None and self.count >= _WORTH_PACKING:
            self.packed = _Packed(self.ids, self.items)
            self.ids, self.items = [], []

    def _unpack(self, packed: _Packed) -> None:
        self.ids, self.items = packed.slice(0, self.count)
        self.packed = None

    def delete(self, low: int, high: int) -> None:
        """Delete entries by their places."""
        if self.packed is not None:
            self._unpack(self.packed)
        del self.ids[low:high]
        del self.items[low:high]
        self.count -= high - low
        self.dead += high - low

    def copy(self) -> Node:
        """A node that shares nothing changeable with this one."""
        twin = Node(self.first, self.fields)
        twin.last, twin.count, twin.dead, twin.size = self.last, self.count, self.dead, self.size
        twin.ids, twin.items, twin.packed = self.ids.copy(), self.items.copy(), self.packed
        return twin

    def _check(self) -> None:
        assert self.packed is None or not self.ids
        ids, items = self.slice(0, self.count)
        assert len(ids) == len(items) == self.count
        assert all(a < b for a, b in pairwise(ids))
        assert not ids or self.first <= ids[0] <= ids[-1] <= self.last
        assert self.count + self.dead > 0
        size = Node(self.first, self.fields).size
        for at, (entry_id, item) in enumerate(zip(ids, items, strict=True)):
            assert (self.id_at(at), self.item_at(at)) == (entry_id, item)
            size += self.entry_size(entry_id, pairs_of(item))
        assert self.size == size if not self.dead else self.size > size


def pairs_of(item: bytes) -> list[bytes]:
    """The fields and values of an entry, one behind the other, out of their RESP array."""
    end = item.index(b"\r\n")
    out = []
    for _ in range(int(item[1:end])):
        head = end + 2
        begin = item.index(b"\r\n", head)
        end = begin + 2 + int(item[head + 1 : begin])
        out.append(item[begin + 2 : end])
    return out


def radix_nodes(keys: list[int]) -> int:
    """How many nodes stock's radix tree has for these ids, which ascend; O(keys).

    A key is 16 bytes.  A node of the tree either branches by one byte, or holds a run of
    bytes without a branch, or is the empty end of a key.  Where two neighbours part is a
    branch; between two places where something happens there is a run, unless the branch's
    own byte is all there is.
    """
    if not keys:
        return 1
    places: list[int] = []
    """Depths of the branches on the way to the key before, outermost first."""
    runs = 0
    branches = 0
    previous = -1
    for key in keys:
        if previous >= 0:
            depth = (128 - (previous ^ key).bit_length()) // 8
            below = 16
            while places and places[-1] >= depth:
                # The branches below the parting are complete: each ends a run from the place above it.
                if places[-1] == depth:
                    break
                at = places.pop()
                runs += _has_run(at, below)
                below = at
            if not places or places[-1] < depth:
                places.append(depth)
                branches += 1
            runs += _has_run(depth, below)
        previous = key
    below = 16
    while places:
        at = places.pop()
        runs += _has_run(at, below)
        below = at
    return len(keys) + branches + runs + (below > 0)


def _has_run(branch: int, below: int) -> bool:
    """Is there a run between a branch and the next place below it?"""
    return below - branch > 1
