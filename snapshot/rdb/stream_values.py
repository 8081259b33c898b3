"""Values of streams, read.

::

    stream   = count (id listpack)*  length last-id [first-id max-deleted-id entries-added]
               count group*
    id       = a string of 16 bytes: ms and sequence, big-endian; elsewhere two lengths
    group    = name last-id [entries-read] count (id16 time-ms deliveries)*  count consumer*
    consumer = name seen-ms [active-ms] count id16*
    listpack = count deleted n-fields field*n 0 entry*
    entry    = flags ms-difference seq-difference [n-fields] (value*n | (field value)*n) n-elements

What stands in brackets came with version 10 (type 19), ``active-ms`` with 11 (type 21);
an entry has its own fields unless its flags say that they are those of the listpack.
``id16`` is 16 bytes without a length.  ``n-elements`` counts the entry's elements but itself.

Every pending entry is in its group's table and in that of one consumer.
"""

from __future__ import annotations

from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import UNKNOWN, StreamConsumer, StreamGroup, StreamNode, StreamValue
from perdure.snapshot.rdb.packs import listpack
from perdure.snapshot.rdb.source import Source
from perdure.store.numbers import INT64_MAX
from perdure.store.stream_nodes import int_size

_ID_BYTES = 16
DELETED, SAME_FIELDS = 1, 2
_UINT64 = (1 << 64) - 1
_PENDING_BYTES = 25
_UNKNOWN_LENGTH = _UINT64
"""-1 as a length."""


def read_stream(source: Source, generation: int) -> StreamValue:
    """A stream of the first, second or third type."""
    nodes: list[StreamNode] = []
    for _ in range(source.count(_ID_BYTES + 2)):
        master = source.string()
        if len(master) != _ID_BYTES:
            raise RdbError("stream: the id of a node is not 16 bytes long")
        nodes.append(_read_node(int.from_bytes(master, "big"), source.string()))
    value = StreamValue(nodes, len(nodes), source.length(), _read_id(source))
    if generation > 1:
        value.first_id = _read_id(source)
        value.max_deleted = _read_id(source)
        value.added = source.length()
    _check_entries(nodes, value)
    names: set[bytes] = set()
    for _ in range(source.count(4)):
        group = _read_group(source, generation)
        if group.name in names:
            raise RdbError("stream: a group stands there twice")
        names.add(group.name)
        value.groups.append(group)
    return value


def _check_entries(nodes: list[StreamNode], value: StreamValue) -> None:
    """Entries ascend, and are as many as it says."""
    last = -1
    total = 0
    for node in nodes:
        if node.first <= last:
            raise RdbError("stream: its nodes do not ascend")
        total += len(node.entries)
        last = max(node.first, node.last)
    if total != value.length:
        raise RdbError(f"stream: it says {value.length} entries and has {total}")
    if any(node.entries and node.entries[-1][0] > value.last_id for node in nodes):
        raise RdbError("stream: an entry is behind its last id")
    if value.added is not None and value.added < total:
        raise RdbError("stream: it says that fewer entries were added than there are")


def _read_id(source: Source) -> int:
    ms = source.length()
    return ms << 64 | source.length()


# ---- nodes -----------------------------------------------------------------------------


def _read_node(first: int, data: bytes) -> StreamNode:
    """A listpack whose ids count from ``first``."""
    items = listpack(data)
    try:
        count, deleted, width = int(items[0]), int(items[1]), int(items[2])
        at = 3 + width
        if width < 0 or items[at] != b"0":
            raise RdbError("stream: the fields of a node have no end")
        node = StreamNode(first, first, items[3:at], [], deleted, len(data) - int_size(count) - int_size(deleted))
        tombstones = _read_entries(node, items, at + 1)
    except (IndexError, ValueError):
        raise RdbError("stream: an entry is not whole") from None
    if len(node.entries) != count or tombstones != deleted:
        raise RdbError("stream: a node has not the entries that it says")
    return node


def _read_entries(node: StreamNode, items: list[bytes], at: int) -> int:
    """The entries behind the fields of a node; how many of them are deleted."""
    base_ms, base_seq = node.first >> 64, node.first & _UINT64
    fields = node.fields
    width = len(fields)
    tombstones = 0
    last = -1
    while at < len(items):
        flags = int(items[at])
        entry_id = (base_ms + int(items[at + 1]) & _UINT64) << 64 | (base_seq + int(items[at + 2]) & _UINT64)
        start = at
        if flags & SAME_FIELDS:
            at += 3
            values = items[at : at + width]
            pairs = [item for pair in zip(fields, values, strict=True) for item in pair]
            at += width
        else:
            own = int(items[at + 3])
            if own < 0:
                raise RdbError("stream: an entry is not whole")
            at += 4
            pairs = items[at : at + 2 * own]
            at += 2 * own
        if int(items[at]) != at - start:
            raise RdbError("stream: an entry does not know how many elements it has")
        at += 1
        if flags & DELETED:
            tombstones += 1
        elif entry_id <= last or entry_id < node.first:
            raise RdbError("stream: the entries of a node do not ascend")
        else:
            node.entries.append((entry_id, pairs))
            last = entry_id
        if entry_id > node.last:
            node.last = entry_id
    return tombstones


# ---- groups ----------------------------------------------------------------------------


def _read_group(source: Source, generation: int) -> StreamGroup:
    name = source.string()
    group = StreamGroup(name, _read_id(source), None, [], [])
    if generation > 1:
        read = source.length()
        group.entries_read = UNKNOWN if read == _UNKNOWN_LENGTH else read
        if read > INT64_MAX and read != _UNKNOWN_LENGTH:
            raise RdbError("stream: a group has read more entries than there can be")
    free: set[int] = set()
    for _ in range(source.count(_PENDING_BYTES)):
        entry_id = int.from_bytes(source.take(_ID_BYTES), "big")
        group.pending.append((entry_id, source.milliseconds(), source.length()))
        free.add(entry_id)
    if len(free) != len(group.pending):
        raise RdbError("stream: a pending entry stands there twice")
    names: set[bytes] = set()
    for _ in range(source.count(10)):
        consumer = _read_consumer(source, generation)
        if consumer.name in names:
            raise RdbError("stream: a consumer stands there twice")
        names.add(consumer.name)
        for entry_id in consumer.pending:
            if entry_id not in free:
                raise RdbError("stream: a consumer's entry is not pending in its group")
            free.remove(entry_id)
        group.consumers.append(consumer)
    if free:
        raise RdbError("stream: a pending entry has no consumer")
    return group


def _read_consumer(source: Source, generation: int) -> StreamConsumer:
    name = source.string()
    seen_ms = source.milliseconds()
    active_ms = source.milliseconds() if generation > 2 else None
    pending = [int.from_bytes(source.take(_ID_BYTES), "big") for _ in range(source.count(_ID_BYTES))]
    return StreamConsumer(name, seen_ms, active_ms, pending)
