"""Values of the store as the codec has them, and back: ``snapshot.rdb`` beside ``store``.

One function a value class and direction; the tables at the end are all that others need,
so a class that comes later is a line in each.

An aggregate takes the encoding that stock would give it on loading: one that was packed
is small if it has few enough members, whatever their lengths; another one by both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.events import FieldsWithExpiry, StreamConsumer, StreamGroup, StreamNode, StreamValue
from perdure.store import hash_value, zset_value
from perdure.store.database import Keyspace
from perdure.store.hash_value import ExpiringHash, Hash, PackedHash, packed_form, with_deadlines
from perdure.store.list_value import List
from perdure.store.resp import array_head, bulks
from perdure.store.set_value import IntSet, Set, make
from perdure.store.stream_groups import Group, distance
from perdure.store.stream_nodes import Node, pairs_of
from perdure.store.stream_value import Stream
from perdure.store.value_types import Limits
from perdure.store.zset_value import ZSet, zset_of

_ANY_LENGTH = 1 << 62
Encoded = tuple[int, Iterable[bytes]]

# ---- out of the store ------------------------------------------------------------------


def _encode_string(value: bytes | bytearray, encoder: Encoder) -> Encoded:
    return encoder.value(b"string", value)


def _encode_list(value: List, encoder: Encoder) -> Encoded:
    return encoder.value(b"list", value)


def _encode_set(value: Set, encoder: Encoder) -> Encoded:
    return encoder.value(b"set", value, True)


def _encode_integers(value: IntSet, encoder: Encoder) -> Encoded:
    return encoder.integers(list(value), value.itemsize)


def _encode_zset(value: ZSet, encoder: Encoder) -> Encoded:
    pairs = [pair for members, scores in value.pairs() for pair in zip(members, scores, strict=True)]
    return encoder.pairs_of_scores(pairs, value.big is not None)


def _encode_hash(value: Hash, encoder: Encoder) -> Encoded:
    return encoder.value(b"hash", value, value.big)


def _encode_packed_hash(value: PackedHash, encoder: Encoder) -> Encoded:
    return _encode_hash(value.unpacked(), encoder)


def expiring_fields(value: ExpiringHash) -> FieldsWithExpiry:
    """All fields, those that are due, too: whoever loads them has the same hash."""
    return FieldsWithExpiry(dict.items(value), dict(value.deadlines.by_field))


def shown_fields(value: ExpiringHash) -> FieldsWithExpiry:
    """The fields that are not due."""
    fields = dict(value.items())
    deadlines = value.deadlines.by_field
    return FieldsWithExpiry(fields, {field: deadlines[field] for field in fields if field in deadlines})


def _encode_expiring_hash(value: ExpiringHash, encoder: Encoder) -> Encoded:
    return encoder.value(b"hash", expiring_fields(value), value.big)


def _encode_stream(value: Stream, encoder: Encoder) -> Encoded:
    return encoder.value(b"stream", stream_event(value))


def stream_event(value: Stream) -> StreamValue:
    """A stream as the codec has it; its nodes are made one at a time."""
    groups = [
        StreamGroup(
            name,
            group.last_id,
            group.entries_read,
            [(entry_id, pending.time_ms, pending.count) for entry_id, pending in group.pending.items()],
            [StreamConsumer(who.name, who.seen_ms, None, list(who.pending)) for who in group.listed()],
        )
        for name, group in sorted(value.groups.items())
    ]
    return StreamValue(
        _nodes(value), len(value.nodes) - value.head, value.length, value.last_id, value.first_id(), value.max_deleted,
        value.added, groups,
    )  # fmt: skip


def _nodes(value: Stream) -> Iterator[StreamNode]:
    for node in value.nodes[value.head :]:
        ids, items = node.slice(0, node.count)
        entries = [(entry_id, pairs_of(item)) for entry_id, item in zip(ids, items, strict=True)]
        yield StreamNode(node.first, node.last, node.fields, entries, node.dead, node.size)


# ---- into the store --------------------------------------------------------------------


def _make_string(value: bytes, code: int, keyspace: Keyspace, limits: Limits) -> bytes:
    return value


def _make_list(value: list[bytes], code: int, keyspace: Keyspace, limits: Limits) -> List:
    return List(value)


def _make_set(value: list[bytes], code: int, keyspace: Keyspace, limits: Limits) -> Set | IntSet:
    return make(dict.fromkeys(value), limits)


def _make_zset(value: dict[bytes, float], code: int, keyspace: Keyspace, limits: Limits) -> ZSet:
    if code in f.ZSET_BY_PACK:
        limits = {**limits, zset_value.MAX_VALUE: _ANY_LENGTH}
    return zset_of(value, limits, packed=True)


def _make_hash(value: dict[bytes, bytes], code: int, keyspace: Keyspace, limits: Limits) -> Hash | PackedHash:
    made = Hash(value)
    made.big = len(value) > limits[hash_value.MAX_ENTRIES]
    if not made.big and code not in f.HASH_BY_PACK:
        longest = limits[hash_value.MAX_VALUE]
        made.big = any(len(field) > longest or len(text) > longest for field, text in value.items())
    if isinstance(value, FieldsWithExpiry) and value.expires_ms:
        made = with_deadlines(made, keyspace)
        for field, moment in value.expires_ms.items():
            made.deadlines.set(field, moment)
        return made
    return packed_form(made)


def _make_stream(value: StreamValue, code: int, keyspace: Keyspace, limits: Limits) -> Stream:
    made = Stream()
    nodes = [_node_of(node) for node in value.nodes if node.entries or not made.nodes]
    made.nodes = nodes
    for node in nodes[:-1]:
        node.pack()
    made.length = value.length
    made.last_id = value.last_id
    made.max_deleted = value.max_deleted or 0
    made.added = value.length if value.added is None else value.added
    for group in value.groups:
        read = distance(made, group.last_id) if group.entries_read is None else group.entries_read
        twin = made.groups[group.name] = Group(group.last_id, read)
        times = {entry_id: (time_ms, count) for entry_id, time_ms, count in group.pending}
        for consumer in group.consumers:
            who = twin.consumer(consumer.name, consumer.seen_ms)
            for entry_id in consumer.pending:
                twin.assign(entry_id, who, *times[entry_id])
    return made


def _node_of(event: StreamNode) -> Node:
    node = Node(event.first, event.fields)
    for entry_id, pairs in event.entries:
        node.ids.append(entry_id)
        node.items.append(bulks(array_head(len(pairs)), pairs))
    node.count = len(node.ids)
    node.last = event.last
    node.dead = event.deleted
    node.size = event.size
    return node


ENCODERS: dict[type, Callable[[Any, Encoder], Encoded]] = {
    bytes: _encode_string,
    bytearray: _encode_string,
    List: _encode_list,
    Set: _encode_set,
    IntSet: _encode_integers,
    ZSet: _encode_zset,
    Hash: _encode_hash,
    PackedHash: _encode_packed_hash,
    ExpiringHash: _encode_expiring_hash,
    Stream: _encode_stream,
}
"""By the class of a value: its type in a file, and its pieces."""

MAKERS: dict[bytes, Callable[[Any, int, Keyspace, Limits], Any]] = {
    b"string": _make_string,
    b"list": _make_list,
    b"set": _make_set,
    b"zset": _make_zset,
    b"hash": _make_hash,
    b"stream": _make_stream,
}
"""By the name of a type: (value as the codec has it, type in the file, keyspace, thresholds) -> value of the store."""


def is_empty(value: Any) -> bool:
    """Is it, as the codec has it, an aggregate without members?  Streams and strings may be empty."""
    return value.__class__ is not bytes and not isinstance(value, StreamValue) and not value
