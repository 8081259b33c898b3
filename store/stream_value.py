"""The value of a stream: nodes of entries (``store.stream_nodes``), and groups of consumers.

``nodes``        the nodes in order; those before ``head`` are gone
``length``       how many entries there are
``last_id``      the greatest id so far, or what XSETID says
``max_deleted``  the greatest id that XDEL deleted
``added``        how many entries there ever were
``groups``       name -> ``Group``

An entry is found by bisection of the nodes and then of the node.  Whole nodes go from
the front in O(1) amortised; within a node a deletion moves what is behind it there,
which ``stream-node-max-entries`` bounds.  A stream may be empty: the key stays.

Invariants (``_check``): nodes ascend and do not overlap; none is without entries but
the first, where an exact XTRIM MINID leaves nothing but what was deleted before.

It must not know: commands, replies, the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

from perdure.store import value_types
from perdure.store.numbers import INT64_MAX
from perdure.store.stream_groups import Group
from perdure.store.stream_ids import ID_MAX, print_id
from perdure.store.stream_nodes import Node, pairs_of
from perdure.store.value_types import Limits, ValueType

MAX_BYTES = "stream-node-max-bytes"
MAX_ENTRIES = "stream-node-max-entries"
value_types.DEFAULT_LIMITS[MAX_BYTES] = 4096
value_types.DEFAULT_LIMITS[MAX_ENTRIES] = 100

_first = attrgetter("first")
_GONE = Node(0, [])
_SLACK = 32
NO_ENTRY = -1


@dataclass(slots=True)
class TrimRule:
    """What to trim.

    ``by_id``: entries below the id ``threshold``, or else all but the last ``threshold``;
    ``approx``: whole nodes only; ``limit``: no more than so many entries, 0 for any number.
    """

    by_id: bool
    threshold: int
    approx: bool = False
    limit: int = 0


@dataclass(slots=True)
class Trim:
    """What will be trimmed: the first ``nodes`` nodes, ``entries`` of the next, ``deleted`` entries in all."""

    nodes: int
    entries: int
    deleted: int


class Stream:
    """A stream."""

    __slots__ = ("added", "groups", "head", "last_id", "length", "max_deleted", "nodes")

    def __bool__(self) -> bool:
        """Unlike others, a stream may be empty and there."""
        return True

    def __len__(self) -> int:
        """The number of entries."""
        return self.length

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.head = 0
        self.length = 0
        self.last_id = 0
        self.max_deleted = 0
        self.added = 0
        self.groups: dict[bytes, Group] = {}

    # ---- reading -----------------------------------------------------------------------

    def first_id(self) -> int:
        """The id of the first entry, 0 if there is none."""
        for at in range(self.head, len(self.nodes)):
            if self.nodes[at].count:
                return self.nodes[at].id_at(0)
        return 0

    def top_id(self) -> int:
        """The id of the last entry, 0 if there is none."""
        for at in range(len(self.nodes) - 1, self.head - 1, -1):
            if self.nodes[at].count:
                return self.nodes[at].id_at(-1)
        return 0

    def _node_of(self, entry_id: int) -> int:
        """Where the node is that has the id if any has; below ``head`` if it is before all."""
        return bisect_right(self.nodes, entry_id, lo=self.head, key=_first) - 1

    def get(self, entry_id: int) -> bytes | None:
        """An entry's fields and values as a RESP array, None if there is no such entry."""
        place = self._node_of(entry_id)
        if place < self.head:
            return None
        node = self.nodes[place]
        at = node.find(entry_id)
        return None if at < 0 else node.item_at(at)

    def collect(self, start: int, end: int, count: int = 0, reverse: bool = False) -> tuple[list[int], list[bytes]]:
        """Ids and items from ``start`` to ``end``, both included: all, or the first (``reverse``: last) ``count``."""
        if reverse:
            return self._collect_back(start, end, count)
        ids: list[int] = []
        items: list[bytes] = []
        nodes = self.nodes
        for place in range(max(self._node_of(start), self.head), len(nodes)):
            node = nodes[place]
            if node.first > end:
                break
            low, high = node.bounds(start, end)
            if count and high - low > count - len(ids):
                high = low + count - len(ids)
            more_ids, more_items = node.slice(low, high)
            ids += more_ids
            items += more_items
            if count and len(ids) == count:
                break
        return ids, items

    def _collect_back(self, start: int, end: int, count: int) -> tuple[list[int], list[bytes]]:
        ids: list[int] = []
        items: list[bytes] = []
        for place in range(self._node_of(end), self.head - 1, -1):
            node = self.nodes[place]
            if node.last < start:
                break
            low, high = node.bounds(start, end)
            if count and high - low > count - len(ids):
                low = high - (count - len(ids))
            more_ids, more_items = node.slice(low, high)
            ids += more_ids[::-1]
            items += more_items[::-1]
            if count and len(ids) == count:
                break
        return ids, items

    def firsts(self) -> list[int]:
        """The ids that the nodes begin with: the keys of stock's tree."""
        return [node.first for node in self.nodes[self.head :]]

    # ---- changing ----------------------------------------------------------------------

    def tail_takes(self, length: int, limits: Limits) -> bool:
        """Does an entry of ``length`` bytes of fields and values go to the last node?"""
        if self.head == len(self.nodes):
            return False
        return self.nodes[-1].takes(length, limits[MAX_ENTRIES], limits[MAX_BYTES])

    def append(self, entry_id: int, pairs: list[bytes], item: bytes, joins: bool) -> None:
        """Add an entry, to the last node if it ``joins`` that; see ``Node.append``."""
        if joins:
            node = self.nodes[-1]
        else:
            if self.nodes:
                self.nodes[-1].pack()
            node = Node(entry_id, pairs[::2])
            self.nodes.append(node)
        node.append(entry_id, pairs, item)
        self.length += 1
        self.added += 1
        self.last_id = entry_id

    def delete(self, entry_id: int) -> bool:
        """Delete an entry; was it there?"""
        place = self._node_of(entry_id)
        if place < self.head:
            return False
        node = self.nodes[place]
        at = node.find(entry_id)
        if at < 0:
            return False
        self.length -= 1
        if entry_id > self.max_deleted:
            self.max_deleted = entry_id
        if node.count > 1:
            node.delete(at, at + 1)
        elif place == self.head:
            self._drop(1)
        else:
            del self.nodes[place]
        return True

    def plan_trim(self, rule: TrimRule, new_id: int = NO_ENTRY, joins: bool = False) -> Trim:
        """What ``rule`` would trim, with an entry ``new_id`` added before that; O(nodes trimmed)."""
        nodes = self.nodes
        end = len(nodes)
        length = self.length + (new_id >= 0)
        begun = new_id >= 0 and not joins
        deleted = 0
        at = self.head
        while at < end or (begun and at == end):
            with_new = new_id >= 0 and at == end - joins
            count = (nodes[at].count if at < end else 0) + with_new
            if (not rule.by_id and length <= rule.threshold) or (rule.limit and deleted + count > rule.limit):
                break
            if rule.by_id:
                whole = (new_id if with_new else nodes[at].last) < rule.threshold
            else:
                whole = length - count >= rule.threshold
            if not whole:
                entries = 0
                if not rule.approx and not rule.by_id:
                    entries = length - rule.threshold
                elif not rule.approx and at < end:
                    entries = nodes[at].place(rule.threshold)
                return Trim(at - self.head, entries, deleted + entries)
            deleted += count
            length -= count
            at += 1
        return Trim(at - self.head, 0, deleted)

    def begins_behind(self, trim: Trim, new_id: int = NO_ENTRY, joins: bool = False) -> int:
        """The id that the first node begins with, behind a trim that ``plan_trim`` planned; the greatest for none."""
        at = self.head + trim.nodes
        if at < len(self.nodes):
            return self.nodes[at].first
        return new_id if new_id >= 0 and not joins and at == len(self.nodes) else ID_MAX

    def trim(self, trim: Trim) -> None:
        """Do what was planned."""
        if trim.nodes:
            self._drop(trim.nodes)
        if trim.entries:
            self.nodes[self.head].delete(0, trim.entries)
        self.length -= trim.deleted

    def _drop(self, count: int) -> None:
        """Let go of the first nodes."""
        nodes = self.nodes
        head = self.head + count
        if 2 * head > len(nodes) + _SLACK or head == len(nodes):
            del nodes[:head]
            self.head = 0
            return
        nodes[self.head : head] = [_GONE] * count
        self.head = head

    def _check(self) -> None:
        nodes = self.nodes[self.head :]
        assert all(node is _GONE for node in self.nodes[: self.head])
        assert self.length == sum(node.count for node in nodes)
        assert all(a.last < b.first for a, b in pairwise(nodes))
        assert all(node.count for node in nodes[1:])
        assert self.top_id() <= self.last_id
        assert self.added >= self.length
        for node in nodes:
            node._check()
        for group in self.groups.values():
            group._check()


def _copy(value: Stream) -> Stream:
    twin = Stream()
    twin.nodes = [node.copy() for node in value.nodes[value.head :]]
    twin.length, twin.last_id = value.length, value.last_id
    twin.max_deleted, twin.added = value.max_deleted, value.added
    twin.groups = {name: group.copy() for name, group in value.groups.items()}
    return twin


def _encoding(value: Stream, limits: Limits) -> bytes:
    return b"stream"


def _plain(value: Stream) -> Any:
    """Entries, last id, greatest deleted id, entries added, and groups with their pending entries and consumers."""
    entries = tuple(
        (entry_id, tuple(pairs_of(item)))
        for node in value.nodes[value.head :]
        for entry_id, item in zip(*node.slice(0, node.count), strict=True)
    )
    groups = tuple(
        (
            name,
            group.last_id,
            group.entries_read,
            tuple((entry_id, p.consumer.name, p.time_ms, p.count) for entry_id, p in group.pending.items()),
            tuple(sorted(group.consumers)),
        )
        for name, group in sorted(value.groups.items())
    )
    return entries, value.last_id, value.max_deleted, value.added, groups


# ---- rebuilding ------------------------------------------------------------------------


def _rebuild(key: bytes, value: Stream) -> Iterator[list[bytes]]:
    """As stock's rewrite has it, and what that loses as well: pending entries that are deleted.

    A pending entry can only be made of an entry that is there.  So those that are not are
    added first, claimed, and trimmed away, which leaves no mark as XDEL would.
    """
    gone = sorted({
        entry_id for group in value.groups.values() for entry_id in group.pending if value.get(entry_id) is None
    })  # fmt: skip
    for entry_id in gone:
        yield [b"XADD", key, print_id(entry_id), b"x", b"y"]
    if gone:
        yield from _rebuild_groups(key, value)
        yield from _rebuild_pending(key, value, set(gone))
        yield [b"XTRIM", key, b"MAXLEN", b"0"]
        yield [b"XSETID", key, b"0-0"]
    elif not value.length:
        yield [b"XADD", key, b"MAXLEN", b"0", print_id(value.last_id or 1), b"x", b"y"]
    for node in value.nodes[value.head :]:
        for entry_id, item in zip(*node.slice(0, node.count), strict=True):
            yield [b"XADD", key, print_id(entry_id), *pairs_of(item)]
    added = b"%d" % min(value.added, INT64_MAX)
    deleted = print_id(value.max_deleted)
    high = max(value.last_id, value.max_deleted)
    yield [b"XSETID", key, print_id(high), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]
    if high != value.last_id:
        yield [b"XSETID", key, print_id(value.last_id)]
    if not gone:
        yield from _rebuild_groups(key, value)
    yield from _rebuild_pending(key, value, None)


def _rebuild_groups(key: bytes, value: Stream) -> Iterator[list[bytes]]:
    for name, group in sorted(value.groups.items()):
        read = b"%d" % group.entries_read
        yield [b"XGROUP", b"CREATE", key, name, print_id(group.last_id), b"ENTRIESREAD", read]
        for consumer in sorted(group.consumers):
            yield [b"XGROUP", b"CREATECONSUMER", key, name, consumer]


def _rebuild_pending(key: bytes, value: Stream, gone: set[int] | None) -> Iterator[list[bytes]]:
    """The pending entries among ``gone``; those whose entries are there for None."""
    for name, group in sorted(value.groups.items()):
        for entry_id, pending in group.pending.items():
            if (entry_id in gone) if gone is not None else value.get(entry_id) is not None:
                yield [
                    b"XCLAIM", key, name, pending.consumer.name, b"0", print_id(entry_id), b"TIME",
                    b"%d" % pending.time_ms, b"RETRYCOUNT", b"%d" % pending.count, b"JUSTID", b"FORCE",
                ]  # fmt: skip


def _parts(value: Stream) -> list[Any]:
    return [value.nodes, *(group.pending for group in value.groups.values())]


value_types.register(Stream, ValueType(b"stream", _copy, _encoding, _rebuild, _plain, parts=_parts))
