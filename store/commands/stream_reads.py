"""Streams from a place on: XREAD, and XREADGROUP for the consumers of a group; both may wait.

XREADGROUP is logged as what it did: XCLAIM for each entry that it delivered, with
the time and the count of deliveries, XGROUP CREATECONSUMER where no XCLAIM makes the
consumer, XGROUP SETID for how far the group has read.  Stock leaves out SETID unless
NOACK was given, and what reading the history changes; then a restart forgets both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure.store.blocking import deadline_of_milliseconds
from perdure.store.command import BLOCKING, MOVABLE_KEYS, READONLY, WRITE, KeySpec, command
from perdure.store.commands.stream_records import claim_head, claim_record, create_consumer_record, set_id_record
from perdure.store.commands.streams import (
    READS_SLOWLY,
    WRITES_SLOWLY,
    entries_reply,
    entry_reply,
    look_up_counted,
    option,
)
from perdure.store.errors import (
    DOLLAR_IN_XREADGROUP,
    GREATER_IN_XREAD,
    GROUP_GONE,
    GROUP_IN_XREAD,
    GROUP_MISSING,
    NOACK_IN_XREAD,
    STREAM_GONE,
    SYNTAX,
    UNBALANCED_STREAMS,
    CommandError,
    block_in_script,
    no_group_to_read,
)
from perdure.store.events import STREAM
from perdure.store.numbers import parse_integer
from perdure.store.resp import array_head, bulk, map_head
from perdure.store.stream_groups import Group, from_id, read_behind
from perdure.store.stream_ids import ID_MAX, parse_id
from perdure.store.stream_value import Stream
from perdure.store.tx import Tx

_COUNT_BEHIND_WAITING = 1000
"""How many entries who waited gets at most, if it did not say."""
_UNSEEN = -1
"""The id ``>``: what the group has not read."""


@dataclass(slots=True)
class _Request:
    """A command line of XREAD or XREADGROUP.  ``deadline_ms``: None without BLOCK; ``count``: 0 for all."""

    keys: list[bytes] = field(default_factory=list)
    words: list[bytes] = field(default_factory=list)
    count: int = 0
    deadline_ms: int | None = None
    group: bytes | None = None
    consumer: bytes = b""
    no_ack: bool = False


@dataclass(slots=True)
class _Delivery:
    """What a command is about to do to one group: planned, logged, then done."""

    key: bytes
    group: Group
    last_id: int
    entries_read: int
    counts: dict[int, int] = field(default_factory=dict)
    """Deliveries of each entry that is the consumer's, and delivered now."""


def keys_of_reading(argv: list[bytes]) -> list[bytes]:
    """The keys behind STREAMS, which ids follow, one for each; [] if the options before it are wrong."""
    at = 1
    while at < len(argv):
        word = option(argv[at])
        if word == b"STREAMS":
            count = len(argv) - at - 1
            return argv[at + 1 : at + 1 + count // 2] if count and not count & 1 else []
        if word == b"BLOCK" or word == b"COUNT":
            at += 2
        elif word == b"GROUP":
            at += 3
        elif word == b"NOACK":
            at += 1
        else:
            break
    return []


def _parse(tx: Tx, argv: list[bytes], grouped: bool) -> _Request:
    """The options of both, in stock's order of checks."""
    request = _Request()
    at = 1
    while at < len(argv):
        word = option(argv[at])
        more = len(argv) - at - 1
        if word == b"BLOCK" and more:
            if not tx.may_block:
                raise CommandError(block_in_script(argv[0]))
            at += 1
            request.deadline_ms = deadline_of_milliseconds(tx, argv[at])
        elif word == b"COUNT" and more:
            at += 1
            request.count = max(parse_integer(argv[at]), 0)
        elif word == b"STREAMS" and more:
            if more & 1:
                raise CommandError(UNBALANCED_STREAMS)
            middle = at + 1 + more // 2
            request.keys, request.words = argv[at + 1 : middle], argv[middle:]
            break
        elif word == b"GROUP" and more >= 2:
            if not grouped:
                raise CommandError(GROUP_IN_XREAD)
            request.group, request.consumer = argv[at + 1], argv[at + 2]
            at += 2
        elif word == b"NOACK":
            if not grouped:
                raise CommandError(NOACK_IN_XREAD)
            request.no_ack = True
        else:
            raise CommandError(SYNTAX)
        at += 1
    if not request.keys:
        raise CommandError(SYNTAX)
    if grouped and request.group is None:
        raise CommandError(GROUP_MISSING)
    return request


def _replies(tx: Tx, replies: list[tuple[bytes, bytes]]) -> bytes:
    """Keys and what was read of them."""
    if tx.resp3:
        return map_head(len(replies), True) + b"".join([bulk(key) + entries for key, entries in replies])
    return array_head(len(replies)) + b"".join([b"*2\r\n" + bulk(key) + entries for key, entries in replies])


# ---- XREAD -----------------------------------------------------------------------------


@command(
    "XREAD",
    arity=-4,
    flags=READONLY | BLOCKING | MOVABLE_KEYS,
    find_keys=keys_of_reading,
    key_specs=(KeySpec(("RO", "access"), ("keyword", "STREAMS", 1), ("range", -1, 1, 2)),),
    group="stream",
    since="5.0.0",
    acl=(*READS_SLOWLY, "blocking"),
    syntax="[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    summary="Returns the entries of streams behind the ids given, and waits for some if there are none.",
    complexity="O(log N + M) for each stream of N entries, M of them returned",
)
def xread(tx: Tx, argv: list[bytes]) -> bytes:
    """XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]"""
    request = _parse(tx, argv, False)
    streams: list[Stream | None] = []
    behind: list[int] = []
    for key, word in zip(request.keys, request.words, strict=True):
        stream = look_up_counted(tx, key)
        streams.append(stream)
        short = word.partition(b"\0")[0]
        if short == b"$":
            behind.append(0 if stream is None else stream.last_id)
        elif short == b">":
            raise CommandError(GREATER_IN_XREAD)
        else:
            behind.append(parse_id(word))
    tx.lookups += len(streams)
    replies: list[tuple[bytes, bytes]] = []
    for key, stream, after in zip(request.keys, streams, behind, strict=True):
        if stream is None:
            tx.missed(key)
        elif stream.top_id() > after:
            replies.append((key, entries_reply(*stream.collect(after + 1, ID_MAX, request.count))))
    if replies:
        return _replies(tx, replies)
    if request.deadline_ms is None:
        return tx.null_array
    wanted: dict[bytes, int] = {}
    for key, after in zip(request.keys, behind, strict=True):
        wanted.setdefault(key, after)
    count = request.count or _COUNT_BEHIND_WAITING

    def retry(tx: Tx, key: bytes) -> bytes | None:
        stream = tx.lookup(key)
        if stream.__class__ is not Stream or stream.top_id() <= wanted[key]:
            return None
        return _replies(tx, [(key, entries_reply(*stream.collect(wanted[key] + 1, ID_MAX, count)))])

    return tx.block(list(wanted), request.deadline_ms, retry, tx.null_array, Stream)


# ---- XREADGROUP ------------------------------------------------------------------------


class _Reader:
    """One XREADGROUP: plans what it delivers, stream by stream, then logs and does all of it."""

    __slots__ = ("consumer", "count", "deliveries", "group_name", "no_ack", "records", "tx")

    def __init__(self, tx: Tx, request: _Request) -> None:
        self.tx = tx
        self.group_name = request.group or b""
        self.consumer = request.consumer
        self.no_ack = request.no_ack
        self.count = request.count
        self.deliveries: dict[int, _Delivery] = {}
        self.records: list[bytes] = []

    def last_id(self, group: Group) -> int:
        """How far a group will have read."""
        delivery = self.deliveries.get(id(group))
        return group.last_id if delivery is None else delivery.last_id

    def _delivery(self, key: bytes, group: Group) -> _Delivery:
        """The plan for a group, which the same key named twice shares."""
        delivery = self.deliveries.get(id(group))
        if delivery is None:
            delivery = self.deliveries[id(group)] = _Delivery(key, group, group.last_id, group.entries_read)
        return delivery

    def unseen(self, key: bytes, stream: Stream, group: Group) -> bytes:
        """Plan to deliver what the group has not read; the entries' reply."""
        delivery = self._delivery(key, group)
        ids, items = stream.collect(delivery.last_id + 1, ID_MAX, self.count)
        if self.no_ack:
            if self.consumer not in group.consumers and ids:
                self.records.append(create_consumer_record(key, self.group_name, self.consumer))
        else:
            head = claim_head(key, self.group_name)
            now_ms = self.tx.clock_ms
            for entry_id in ids:
                self.records.append(claim_record(head, self.consumer, entry_id, now_ms, 1, entry_id))
                delivery.counts[entry_id] = 1
        delivery.entries_read = read_behind(stream, delivery.entries_read, ids)
        delivery.last_id = ids[-1]
        self.records.append(set_id_record(key, self.group_name, delivery.last_id, delivery.entries_read))
        return entries_reply(ids, items)

    def history(self, key: bytes, stream: Stream, group: Group, after: int) -> bytes:
        """Plan to deliver again what the consumer has pending behind an id; the entries' reply."""
        delivery = self._delivery(key, group)
        consumer = group.consumers.get(self.consumer)
        tx = self.tx
        ids: list[int] = []
        if consumer is not None:
            for entry_id in from_id(consumer.pending, after + 1):
                ids.append(entry_id)
                if self.count and len(ids) == self.count:
                    break
        if delivery.counts:  # the same key was named before
            ids = sorted({*ids, *(entry_id for entry_id in delivery.counts if entry_id > after)})
            ids = ids[: self.count or None]
        head = claim_head(key, self.group_name)
        replies = [array_head(len(ids))]
        claimed = len(self.records)
        for entry_id in ids:
            item = stream.get(entry_id)
            if item is None:
                replies.append(entry_reply(entry_id, tx.null_array))
                continue
            count = delivery.counts.get(entry_id)
            if count is None:
                count = group.pending[entry_id].count
            delivery.counts[entry_id] = count + 1
            self.records.append(claim_record(head, self.consumer, entry_id, tx.clock_ms, count + 1, delivery.last_id))
            replies.append(entry_reply(entry_id, item))
        if consumer is None and len(self.records) == claimed:
            self.records.append(create_consumer_record(key, self.group_name, self.consumer))
        return b"".join(replies)

    def deliver(self) -> None:
        """Log and do what was planned."""
        tx = self.tx
        if self.records:
            tx.log_together(self.records)
        for delivery in self.deliveries.values():
            group = delivery.group
            if tx.notifying and self.consumer not in group.consumers:
                tx.notify(STREAM, b"xgroup-createconsumer", delivery.key)
            consumer = group.consumer(self.consumer, tx.clock_ms)
            group.last_id = delivery.last_id
            group.entries_read = delivery.entries_read
            for entry_id, count in delivery.counts.items():
                group.assign(entry_id, consumer, tx.clock_ms, count)


@command(
    "XREADGROUP",
    arity=-7,
    flags=WRITE | BLOCKING | MOVABLE_KEYS,
    find_keys=keys_of_reading,
    key_specs=(KeySpec(("RO", "access"), ("keyword", "STREAMS", 4), ("range", -1, 1, 2)),),
    group="stream",
    since="5.0.0",
    acl=(*WRITES_SLOWLY, "blocking"),
    syntax="GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
    summary="Delivers entries that a group has not read to one of its consumers, or again what that has pending.",
    complexity="O(log N + M log P) for each stream of N entries, M of them returned and P pending",
)
def xreadgroup(tx: Tx, argv: list[bytes]) -> bytes:
    """XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]"""
    request = _parse(tx, argv, True)
    asked: list[tuple[bytes, Stream, Group, int]] = []
    for key, word in zip(request.keys, request.words, strict=True):
        stream = look_up_counted(tx, key)
        group = None if stream is None else stream.groups.get(request.group or b"")
        if stream is None or group is None:
            raise CommandError(no_group_to_read(key, request.group or b""))
        short = word.partition(b"\0")[0]
        if short == b"$":
            raise CommandError(DOLLAR_IN_XREADGROUP)
        after = _UNSEEN if short == b">" else parse_id(word)
        # Stock has no other sign for ``>`` than the greatest id.
        asked.append((key, stream, group, _UNSEEN if after == ID_MAX else after))
    tx.lookups += len(asked)
    reader = _Reader(tx, request)
    replies: list[tuple[bytes, bytes]] = []
    for key, stream, group, after in asked:
        if after != _UNSEEN:
            replies.append((key, reader.history(key, stream, group, after)))
        elif stream.top_id() > reader.last_id(group):
            replies.append((key, reader.unseen(key, stream, group)))
    if replies:
        reply = _replies(tx, replies)
        reader.deliver()
        return reply
    if request.deadline_ms is None:
        return tx.null_array
    request.count = request.count or _COUNT_BEHIND_WAITING

    def retry(tx: Tx, key: bytes) -> bytes | None:
        stream = tx.lookup(key)
        if stream.__class__ is not Stream:
            raise CommandError(STREAM_GONE)
        group = stream.groups.get(request.group or b"")
        if group is None:
            raise CommandError(GROUP_GONE)
        if stream.top_id() <= group.last_id:
            return None
        reader = _Reader(tx, request)
        reply = _replies(tx, [(key, reader.unseen(key, stream, group))])
        reader.deliver()
        return reply

    return tx.block(list(dict.fromkeys(request.keys)), request.deadline_ms, retry, tx.null_array)
