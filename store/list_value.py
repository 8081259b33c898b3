"""The value of a list: blocks of elements, each element as the bulk string that replies send.

An *item* is an element as RESP has it, ``$3\\r\\nabc\\r\\n``.  A *block* is some items one
behind another in one bytes object, and their sizes.  So a range's reply is a slice of
a block, or a few blocks joined, whatever the number of elements; a pop's reply is what
was popped; a small list is one block, nearer to its own size in memory than objects are.

``head``    the first block, never empty in a list that is not
``middle``  a deque of blocks between head and tail; None while there are none
``tail``    the last block, empty while head and middle hold everything

A block takes items of less than 256 bytes until it has ``BLOCK_BYTES``; its sizes are
a byte each.  A longer item is a block of its own, whose sizes are ``LONE``.  Blocks are
immutable, so that copies share them: a push makes the end's block anew, which costs
the copying of a block at most.

===================================  ===============================================
push, pop at an end                  O(1): a block's bytes
range, index                         O(blocks from the nearer end) and what is returned
trim                                 O(blocks dropped)
insert, remove, search               O(blocks to there); a block without the element is
                                     passed over by one search of its bytes
===================================  ===============================================

Invariants (``_check``): ``length`` is the number of items; sizes fit the blocks, and no
block is larger than ``BLOCK_BYTES`` unless it is one long item.

It must not know: keys, the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from perdure.store import value_types
from perdure.store.list_blocks import (
    BLOCK_BYTES,
    LONE,
    ONE_SIZE,
    SHORT,
    Block,
    block_of,
    content,
    cut,
    hits_in,
    items_of,
    offset_of,
    packed,
)
from perdure.store.resp import bulk
from perdure.store.value_types import Limits, ValueType

_SMALL = BLOCK_BYTES // 4
"""A block in the middle that removals left this small is put together with a neighbour."""
_REBUILD_ELEMENTS = 64
_REBUILD_BYTES = 1 << 20
HEAD, TAIL = -1, -2
"""Places of blocks beside those in the middle, which are its indexes."""
NO_BLOCK: Block = (b"", b"")
_FEW = 8
"""Up to so many items are pushed one by one."""
_join = b"".join


class List:
    """A list.  Indexes are from 0, ranges without their stop, and in bounds."""

    __slots__ = ("head", "head_sizes", "length", "middle", "tail", "tail_sizes")

    def __init__(self, elements: Iterable[bytes] = ()) -> None:
        self.head = self.tail = b""
        self.head_sizes = self.tail_sizes = b""
        self.middle: deque[Block] | None = None
        self.length = 0
        self.extend_right(map(bulk, elements))

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        """The elements."""
        for block in self.blocks():
            for item in items_of(block):
                yield content(item)

    # ---- the ends ----------------------------------------------------------------------

    def push_left(self, item: bytes) -> None:
        """Put an item before the first."""
        head = self.head
        size = len(item)
        self.length += 1
        if size < SHORT and len(head) + size <= BLOCK_BYTES and self.head_sizes != LONE:
            self.head = item + head
            self.head_sizes = ONE_SIZE[size] + self.head_sizes
            return
        if head:
            if self.middle is None:
                self.middle = deque()
            self.middle.appendleft((head, self.head_sizes))
        self.head = item
        self.head_sizes = ONE_SIZE[size] if size < SHORT else LONE

    def push_right(self, item: bytes) -> None:
        """Put an item behind the last."""
        tail = self.tail
        size = len(item)
        self.length += 1
        if tail:
            if size < SHORT and len(tail) + size <= BLOCK_BYTES and self.tail_sizes != LONE:
                self.tail = tail + item
                self.tail_sizes += ONE_SIZE[size]
                return
            if self.middle is None:
                self.middle = deque()
            self.middle.append((tail, self.tail_sizes))
        elif self.middle is None:
            head = self.head
            if size < SHORT and len(head) + size <= BLOCK_BYTES and self.head_sizes != LONE:
                self.head = head + item
                self.head_sizes += ONE_SIZE[size]
                return
            if not head:
                self.head, self.head_sizes = item, ONE_SIZE[size] if size < SHORT else LONE
                return
        self.tail = item
        self.tail_sizes = ONE_SIZE[size] if size < SHORT else LONE

    def pop_left(self) -> bytes:
        """Take the first item away."""
        head, sizes = self.head, self.head_sizes
        self.length -= 1
        if len(sizes) == 1:
            self._refill_head()
            return head
        size = sizes[0]
        self.head = head[size:]
        self.head_sizes = sizes[1:]
        return head[:size]

    def pop_right(self) -> bytes:
        """Take the last item away."""
        if not self.tail and self.middle is not None:
            self._refill_tail()
        self.length -= 1
        tail, sizes = self.tail, self.tail_sizes
        if not tail:
            tail, sizes = self.head, self.head_sizes
            if len(sizes) == 1:
                self.head = self.head_sizes = b""
                return tail
            size = sizes[-1]
            self.head, self.head_sizes = tail[:-size], sizes[:-1]
            return tail[-size:]
        if len(sizes) == 1:
            self.tail = self.tail_sizes = b""
            return tail
        size = sizes[-1]
        self.tail, self.tail_sizes = tail[:-size], sizes[:-1]
        return tail[-size:]

    def _refill_head(self) -> None:
        """The head is used up: the next block becomes the head."""
        if self.middle is not None:
            self.head, self.head_sizes = self.middle.popleft()
            if not self.middle:
                self.middle = None
        else:
            self.head, self.head_sizes = self.tail, self.tail_sizes
            self.tail = self.tail_sizes = b""

    def _refill_tail(self) -> None:
        """The tail is used up: the last block of the middle, if there is one, becomes the tail."""
        if self.middle is not None:
            self.tail, self.tail_sizes = self.middle.pop()
            if not self.middle:
                self.middle = None

    def extend_right(self, items: Iterable[bytes]) -> None:
        """Put items behind the last, in order."""
        items = list(items)
        if len(items) <= _FEW:
            for item in items:
                self.push_right(item)
            return
        blocks = packed(items)
        self.length += len(items)
        if not self.head:
            self.head, self.head_sizes = blocks.pop(0)
        if blocks:
            if self.tail:
                blocks.insert(0, (self.tail, self.tail_sizes))
                self.tail = self.tail_sizes = b""
            self._put(self.middle_blocks(), blocks)

    def _put(self, middle: deque[Block], blocks: list[Block]) -> None:
        """Put blocks behind everything, where there is no tail."""
        self.tail, self.tail_sizes = blocks.pop()
        middle.extend(blocks)
        self.middle = middle or None

    def extend_left(self, items: Iterable[bytes]) -> None:
        """Put items before the first, one after the other, so that they end up in reverse order."""
        items = list(items)
        if len(items) <= _FEW:
            for item in items:
                self.push_left(item)
            return
        blocks = packed(reversed(items))
        self.length += len(items)
        if self.head:
            middle = self.middle_blocks()
            middle.appendleft((self.head, self.head_sizes))
            middle.extendleft(reversed(blocks[1:]))
            self.middle = middle
        else:
            self.middle = deque(blocks[1:]) or None
        self.head, self.head_sizes = blocks[0]

    # ---- blocks --------------------------------------------------------------------------

    def middle_blocks(self) -> deque[Block]:
        """The blocks between head and tail."""
        return deque() if self.middle is None else self.middle

    def blocks(self) -> Iterator[Block]:
        """All blocks, none of them empty."""
        if self.head:
            yield self.head, self.head_sizes
        if self.middle is not None:
            yield from self.middle
        if self.tail:
            yield self.tail, self.tail_sizes

    def _places(self, backwards: bool = False) -> Iterator[tuple[int, Block]]:
        """All blocks with their places."""
        head, tail = (HEAD, (self.head, self.head_sizes)), (TAIL, (self.tail, self.tail_sizes))
        yield tail if backwards else head
        if self.middle is not None:
            if backwards:
                yield from zip(range(len(self.middle) - 1, -1, -1), reversed(self.middle), strict=True)
            else:
                yield from enumerate(self.middle)
        yield head if backwards else tail

    def _locate(self, index: int) -> tuple[int, Block, int]:
        """The block that has item ``index``, its place, and the item's index in it; from the nearer end."""
        if index < len(self.head_sizes):
            return HEAD, (self.head, self.head_sizes), index
        tail_start = self.length - len(self.tail_sizes)
        if index >= tail_start:
            return TAIL, (self.tail, self.tail_sizes), index - tail_start
        middle = self.middle_blocks()
        index -= len(self.head_sizes)
        count = tail_start - len(self.head_sizes)
        if count == len(middle):  # long items only
            return index, middle[index], 0
        if 2 * index <= count:
            for place, block in enumerate(middle):
                if index < len(block[1]):
                    return place, block, index
                index -= len(block[1])
        behind = count - index
        place = len(middle)
        for block in reversed(middle):
            place -= 1
            if behind <= len(block[1]):
                return place, block, len(block[1]) - behind
            behind -= len(block[1])
        raise IndexError(index)

    def _replace(self, place: int, blocks: list[Block]) -> None:
        """Put blocks, none of them empty, in one block's place; ``length`` is the caller's."""
        if place == HEAD:
            if not blocks:
                self._refill_head()
                return
            self.head, self.head_sizes = blocks[0]
            if len(blocks) > 1:
                middle = self.middle_blocks()
                middle.extendleft(reversed(blocks[1:]))
                self.middle = middle
        elif place == TAIL:
            self.tail, self.tail_sizes = blocks.pop() if blocks else NO_BLOCK
            if blocks:
                middle = self.middle_blocks()
                middle.extend(blocks)
                self.middle = middle
        else:
            middle = self.middle_blocks()
            if blocks:
                middle[place] = blocks[0]
                for block in reversed(blocks[1:]):
                    middle.insert(place + 1, block)
            else:
                del middle[place]
                self.middle = middle or None

    def _join_small(self, place: int) -> None:
        """Put a small block of the middle together with its neighbours there, where they fit into one."""
        middle = self.middle_blocks()
        for left in (place, place - 1):
            if 0 <= left < len(middle) - 1:
                (a, a_sizes), (b, b_sizes) = middle[left], middle[left + 1]
                if len(a) + len(b) <= BLOCK_BYTES and LONE not in (a_sizes, b_sizes):
                    middle[left] = a + b, a_sizes + b_sizes
                    del middle[left + 1]

    # ---- reading -------------------------------------------------------------------------

    def item(self, index: int) -> bytes:
        """The item at ``index``."""
        _, (blob, sizes), inside = self._locate(index)
        if len(sizes) == 1:
            return blob
        start = offset_of((blob, sizes), inside)
        return blob[start : start + sizes[inside]]

    def items(self, start: int, stop: int) -> bytes:
        """The items of a range, one behind another."""
        if stop <= len(self.head_sizes):
            return cut((self.head, self.head_sizes), start, stop)[0]
        return _join([blob for blob, _ in self._range(start, stop)])

    def elements(self, start: int, stop: int) -> list[bytes]:
        """The elements of a range."""
        return [content(item) for block in self._range(start, stop) for item in items_of(block)]

    def _range(self, start: int, stop: int) -> list[Block]:
        """The blocks of a range, the first and the last of them cut as it wants."""
        head_count = len(self.head_sizes)
        tail_start = self.length - len(self.tail_sizes)
        parts: list[Block] = []
        if start < head_count:
            parts.append(cut((self.head, self.head_sizes), start, min(stop, head_count)))
        if self.middle is not None:
            first, behind = max(start, head_count) - head_count, min(stop, tail_start) - head_count
            if first < behind:
                parts += self._middle_range(self.middle, first, behind, tail_start - head_count)
        if stop > tail_start:
            parts.append(cut((self.tail, self.tail_sizes), max(start - tail_start, 0), stop - tail_start))
        return parts

    def _middle_range(self, middle: deque[Block], start: int, stop: int, count: int) -> list[Block]:
        """The blocks of a range of the middle's ``count`` items."""
        if count == len(middle):  # long items only
            return [middle[index] for index in range(start, stop)]
        parts: list[Block] = []
        if start <= count - stop:
            at = 0
            for block in middle:
                behind = at + len(block[1])
                if behind > start:
                    whole = at >= start and behind <= stop
                    parts.append(block if whole else cut(block, max(start - at, 0), min(stop, behind) - at))
                    if behind >= stop:
                        break
                at = behind
            return parts
        behind = count
        for block in reversed(middle):
            at = behind - len(block[1])
            if at < stop:
                whole = at >= start and behind <= stop
                parts.append(block if whole else cut(block, max(start - at, 0), min(stop, behind) - at))
                if at <= start:
                    break
            behind = at
        parts.reverse()
        return parts

    def find(self, item: bytes, backwards: bool = False, limit: int = 0) -> Iterator[int]:
        """The indexes at which ``item`` stands, from one end; ``limit``: only among so many items, 0 for all."""
        at = self.length if backwards else 0
        seen = 0
        for _, block in self._places(backwards):
            count = len(block[1])
            if backwards:
                at -= count
            hits = hits_in(block, item)
            for inside in reversed(hits) if backwards else hits:
                if limit and (seen + count - 1 - inside if backwards else seen + inside) >= limit:
                    return
                yield at + inside
            if not backwards:
                at += count
            seen += count
            if limit and seen >= limit:
                return

    # ---- changing -------------------------------------------------------------------------

    def set(self, index: int, item: bytes) -> None:
        """Put an item in the place of the one at ``index``."""
        place, block, inside = self._locate(index)
        self._put_into(place, block, inside, inside + 1, item)

    def insert(self, index: int, item: bytes) -> None:
        """Put an item before that at ``index``, which is there."""
        place, block, inside = self._locate(index)
        self._put_into(place, block, inside, inside, item)
        self.length += 1

    def _put_into(self, place: int, block: Block, start: int, stop: int, item: bytes) -> None:
        """Put an item in the place of items ``start`` to ``stop`` of a block."""
        blob, sizes = block
        if len(item) >= SHORT or sizes == LONE or len(blob) + len(item) > BLOCK_BYTES:
            items = items_of(block)
            items[start:stop] = [item]
            self._replace(place, packed(items))
            return
        before, behind = offset_of(block, start), offset_of(block, stop)
        self._replace(
            place, [(blob[:before] + item + blob[behind:], sizes[:start] + ONE_SIZE[len(item)] + sizes[stop:])]
        )

    def remove(self, indexes: list[int]) -> None:
        """Take the items at ``indexes``, in ascending order and not all there are, away."""
        edits: list[tuple[int, Block]] = []
        todo = iter(indexes)
        index = next(todo, -1)
        at = 0
        for place, block in self._places():
            behind = at + len(block[1])
            if at <= index < behind:
                gone = set()
                while at <= index < behind:
                    gone.add(index - at)
                    index = next(todo, -1)
                # A long item, being alone, is not among what is left.
                edits.append((place, block_of([item for i, item in enumerate(items_of(block)) if i not in gone])))
            at = behind
            if index < 0:
                break
        self.length -= len(indexes)
        self._apply([edit for edit in edits if edit[0] >= 0])
        for place, block in reversed(edits):  # the head's last: its refill takes what stands behind
            if place < 0:
                self._replace(place, [block] if block[0] else [])

    def _apply(self, edits: list[tuple[int, Block]]) -> None:
        """Put edited blocks into the middle, in ascending order; blocks that became empty go."""
        middle = self.middle_blocks()
        empty = 0
        for place, block in edits:
            middle[place] = block
            empty += not block[0]
        if empty > 1:
            self.middle = deque([block for block in middle if block[0]]) or None
            return
        for place, _ in reversed(edits):
            size = len(middle[place][0])  # as it is now: the one behind may have come to it
            if not size:
                self._replace(place, [])
            elif size <= _SMALL:
                self._join_small(place)

    def drop_left(self, count: int) -> None:
        """Take the first ``count`` items away."""
        self.length -= count
        while count >= len(self.head_sizes) and count:
            count -= len(self.head_sizes)
            self._refill_head()
        if count:
            self.head, self.head_sizes = cut((self.head, self.head_sizes), count, len(self.head_sizes))

    def drop_right(self, count: int) -> None:
        """Take the last ``count`` items away."""
        self.length -= count
        while count and (self.tail or self.middle is not None):
            if not self.tail:
                self._refill_tail()
            if count < len(self.tail_sizes):
                self.tail, self.tail_sizes = cut((self.tail, self.tail_sizes), 0, len(self.tail_sizes) - count)
                return
            count -= len(self.tail_sizes)
            self.tail = self.tail_sizes = b""
        if count:
            self.head, self.head_sizes = cut((self.head, self.head_sizes), 0, len(self.head_sizes) - count)

    def take_right(self, count: int) -> list[bytes]:
        """Take the last ``count`` items away; returns them, the last first."""
        out: list[bytes] = []
        while count:
            if not self.tail and self.middle is not None:
                self._refill_tail()
            block = (self.tail, self.tail_sizes) if self.tail else (self.head, self.head_sizes)
            taken = min(count, len(block[1]))
            out += items_of(block)[: -taken - 1 : -1]
            self.drop_right(taken)
            count -= taken
        return out

    def _check(self) -> None:
        assert self.length > 0 and self.head
        assert self.middle is None or self.middle
        count = 0
        for blob, sizes in self.blocks():
            if sizes == LONE:
                assert len(blob) >= SHORT
            else:
                assert 0 < len(blob) == sum(sizes)
                assert len(blob) <= BLOCK_BYTES or len(sizes) == 1
            for item in items_of((blob, sizes)):
                assert bulk(content(item)) == item
            count += len(sizes)
        assert count == self.length
        assert bool(self.tail) == bool(self.tail_sizes)


def _copy(value: List) -> List:
    twin = List()
    twin.head, twin.head_sizes = value.head, value.head_sizes
    twin.tail, twin.tail_sizes = value.tail, value.tail_sizes
    twin.middle = None if value.middle is None else value.middle.copy()
    twin.length = value.length
    return twin


def _encoding(value: List, limits: Limits) -> bytes:
    return b"quicklist"


def _rebuild(key: bytes, value: List) -> Iterator[list[bytes]]:
    line = [b"RPUSH", key]
    size = 0
    for element in value:
        line.append(element)
        size += len(element)
        if size > _REBUILD_BYTES or len(line) >= _REBUILD_ELEMENTS + 2:
            yield line
            line = [b"RPUSH", key]
            size = 0
    if len(line) > 2:
        yield line


def _parts(value: List) -> list[Any]:
    return [list(value.middle_blocks())]


value_types.register(List, ValueType(b"list", _copy, _encoding, _rebuild, tuple, members=List.elements, parts=_parts))
