"""Values of streams, written; ``stream_values`` has the layout.

A deleted entry is a tombstone in stock's listpack, and counts when the listpack is full.
Who keeps streams here keeps the tombstones' number and bytes and not the tombstones, so
tombstones are made up that have the same number and bytes: without fields, at the id
that the listpack begins with, the last one at the listpack's last id if that is deleted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from perdure.snapshot.rdb.events import UNKNOWN, StreamGroup, StreamNode, StreamValue
from perdure.snapshot.rdb.packing import entry_of, integer_entry, length_of, listpack_of_entries, string_of, wide_zero
from perdure.snapshot.rdb.stream_values import DELETED, SAME_FIELDS
from perdure.store.stream_ids import SEQ_MAX
from perdure.store.stream_nodes import signed

_i64 = struct.Struct("<q").pack
_join = b"".join
_ID_HEAD = b"\x10"
_FRAME = 7
_BARE_BODY = b"\0\1\4\1"
"""No fields, and the number of elements."""
_MOST_HEAD = 10
"""Bytes that an entry takes beside its string."""
_BATCH = 1024


def stream_pieces(value: StreamValue, generation: int, compress: bool, lose: Callable[[str], None]) -> Iterator[bytes]:
    """A stream of the first, second or third type; ``lose`` is told what that does not hold, before anything comes."""
    _tell_losses(value, generation, lose)
    return _pieces(value, generation, compress)


def _tell_losses(value: StreamValue, generation: int, lose: Callable[[str], None]) -> None:
    if generation < 2:
        if value.max_deleted:
            lose("the greatest id that was deleted from a stream")
        if value.added is not None and value.added != value.length:
            lose("how many entries were ever added to a stream")
        if any(group.entries_read not in (None, UNKNOWN) for group in value.groups):
            lose("how many entries a group of a stream has read")
    if generation < 3 and any(
        consumer.active_ms not in (None, consumer.seen_ms) for group in value.groups for consumer in group.consumers
    ):
        lose("when a consumer of a stream was last active")


def _pieces(value: StreamValue, generation: int, compress: bool) -> Iterator[bytes]:
    yield length_of(value.node_count)
    for node in value.nodes:
        yield _ID_HEAD + node.first.to_bytes(16, "big")
        yield string_of(_node_listpack(node), compress)
    parts = [length_of(value.length), _id(value.last_id)]
    if generation > 1:
        parts += (_id(value.first_id or 0), _id(value.max_deleted or 0))
        parts.append(length_of(value.length if value.added is None else value.added))
    parts.append(length_of(len(value.groups)))
    yield _join(parts)
    for group in value.groups:
        yield from _group(group, generation, compress)


def _id(entry_id: int) -> bytes:
    return length_of(entry_id >> 64) + length_of(entry_id & SEQ_MAX)


# ---- nodes -----------------------------------------------------------------------------


def _node_listpack(node: StreamNode) -> bytes:
    fields = node.fields
    width = len(fields)
    parts = [integer_entry(len(node.entries)), integer_entry(node.deleted), integer_entry(width)]
    parts += map(entry_of, fields)
    parts.append(integer_entry(0))
    count = len(parts)
    live: list[bytes] = []
    for entry_id, pairs in node.entries:
        same = pairs[::2] == fields
        live += _entry_head(SAME_FIELDS if same else 0, entry_id, node.first)
        if same:
            elements = 3 + width
            live += map(entry_of, pairs[1::2])
        else:
            elements = 4 + len(pairs)
            live.append(integer_entry(len(pairs) // 2))
            live += map(entry_of, pairs)
        live.append(integer_entry(elements))
        count += elements + 1
    if node.deleted:
        gone = node.size - _FRAME - sum(map(len, parts[2:])) - sum(map(len, live))
        before, behind, elements = _tombstones(node, gone)
        return listpack_of_entries([*parts, before, *live, behind], count + elements)
    return listpack_of_entries(parts + live)


def _entry_head(flags: int, entry_id: int, first: int) -> tuple[bytes, bytes, bytes]:
    return (
        integer_entry(flags),
        integer_entry(signed((entry_id >> 64) - (first >> 64))),
        integer_entry(signed((entry_id & SEQ_MAX) - (first & SEQ_MAX))),
    )


def _tombstones(node: StreamNode, size: int) -> tuple[bytes, bytes, int]:
    """``node.deleted`` tombstones of ``size`` bytes in all: those before the entries, that behind them, their elements.

    A real tombstone takes as many bytes at least as the smallest here with its id.
    """
    at_end = not node.entries or node.entries[-1][0] < node.last
    ids = [node.first] * (node.deleted - at_end) + [node.last] * at_end
    heads = [_join(_entry_head(DELETED, entry_id, node.first)) for entry_id in ids]
    padded, more = _tombstone_body(max(0, size - sum(map(len, heads)) - len(_BARE_BODY) * len(heads)))
    parts = [head + _BARE_BODY for head in heads]
    parts[0] = heads[0] + padded
    before = len(parts) - at_end
    return _join(parts[:before]), _join(parts[before:]), 5 * len(parts) + more


def _tombstone_body(spare: int) -> tuple[bytes, int]:
    """What follows the head of a tombstone, ``spare`` bytes longer than it need be; how many elements it has more."""
    if spare < 4:
        return wide_zero(2 + spare) + b"\4\1", 0
    # One field and its value.  The lengths of lengths leave gaps of up to three bytes in what one entry can take.
    for n in range(5):
        field = entry_of(b"x" * n)
        rest = spare - len(field)
        for length in range(max(0, rest - _MOST_HEAD), rest):
            value = entry_of(b"x" * length)
            if len(value) == rest:
                return b"\1\1" + field + value + b"\6\1", 2
    raise AssertionError(spare)


# ---- groups ----------------------------------------------------------------------------


def _group(group: StreamGroup, generation: int, compress: bool) -> Iterator[bytes]:
    head = [string_of(group.name, compress), _id(group.last_id)]
    if generation > 1:
        read = UNKNOWN if group.entries_read is None else group.entries_read
        head.append(length_of(read & SEQ_MAX))
    head.append(length_of(len(group.pending)))
    yield _join(head)
    pending = group.pending
    for start in range(0, len(pending), _BATCH):
        yield _join([
            entry_id.to_bytes(16, "big") + _i64(time_ms) + length_of(deliveries)
            for entry_id, time_ms, deliveries in pending[start : start + _BATCH]
        ])  # fmt: skip
    yield length_of(len(group.consumers))
    for consumer in group.consumers:
        times = _i64(consumer.seen_ms)
        if generation > 2:
            times += _i64(consumer.seen_ms if consumer.active_ms is None else consumer.active_ms)
        yield string_of(consumer.name, compress) + times + length_of(len(consumer.pending))
        ids = consumer.pending
        for start in range(0, len(ids), _BATCH):
            yield _join([entry_id.to_bytes(16, "big") for entry_id in ids[start : start + _BATCH]])
