"""Consumer groups of a stream: how far each has read, and what its consumers have not acknowledged.

A group's pending entries stand in two sorted tables by id, the group's and their
consumer's, which share the ``Pending``: every look-up, step and change is O(log n).

``entries_read`` counts what the group has read of all that was ever added, or is
``UNKNOWN``: then nobody can say how far it lags, until it can be told again
(``distance``).  Both are stock's estimates, wrong where stock's are.

``seen_ms`` is not in the log (nor is it in stock's): behind a restart a consumer was
seen when the log was read.

Invariants (``_check``): the two tables agree; a pending entry's consumer is the group's.

It must not know: commands, replies, the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sortedcontainers import SortedDict

from perdure.store.numbers import INT64_MAX

if TYPE_CHECKING:
    from perdure.store.stream_value import Stream

UNKNOWN = -1


class Consumer:
    """Who reads for a group.  ``pending``: id -> ``Pending``."""

    __slots__ = ("name", "pending", "seen_ms")

    def __init__(self, name: bytes, seen_ms: int) -> None:
        self.name = name
        self.seen_ms = seen_ms
        self.pending: SortedDict = SortedDict()


class Pending:
    """An entry that was delivered, when, how often, and to whom."""

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: Consumer, time_ms: int, count: int) -> None:
        self.consumer = consumer
        self.time_ms = time_ms
        self.count = count


class Group:
    """A group.  ``pending``: id -> ``Pending``; ``consumers``: name -> ``Consumer``."""

    __slots__ = ("consumers", "entries_read", "last_id", "pending")

    def __init__(self, last_id: int, entries_read: int) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.pending: SortedDict = SortedDict()
        self.consumers: dict[bytes, Consumer] = {}

    def consumer(self, name: bytes, now_ms: int) -> Consumer:
        """A consumer, made if there is none; it was seen now."""
        consumer = self.consumers.get(name)
        if consumer is None:
            consumer = self.consumers[name] = Consumer(name, now_ms)
        consumer.seen_ms = now_ms
        return consumer

    def assign(self, entry_id: int, consumer: Consumer, time_ms: int, count: int) -> None:
        """An entry is ``consumer``'s from now on, whoever had it before."""
        pending = self.pending.get(entry_id)
        if pending is None:
            pending = self.pending[entry_id] = Pending(consumer, time_ms, count)
            consumer.pending[entry_id] = pending
            return
        if pending.consumer is not consumer:
            del pending.consumer.pending[entry_id]
            pending.consumer = consumer
            consumer.pending[entry_id] = pending
        pending.time_ms = time_ms
        pending.count = count

    def release(self, entry_id: int) -> bool:
        """An entry is pending no longer; was it?"""
        pending = self.pending.pop(entry_id, None)
        if pending is None:
            return False
        del pending.consumer.pending[entry_id]
        return True

    def remove_consumer(self, consumer: Consumer) -> None:
        """Take a consumer away with all that it has pending."""
        for entry_id in consumer.pending:
            del self.pending[entry_id]
        del self.consumers[consumer.name]

    def listed(self) -> list[Consumer]:
        """The consumers by name."""
        return [consumer for _, consumer in sorted(self.consumers.items())]

    def copy(self) -> Group:
        """A group that shares nothing changeable with this one."""
        twin = Group(self.last_id, self.entries_read)
        for name, consumer in self.consumers.items():
            twin.consumers[name] = Consumer(name, consumer.seen_ms)
        for entry_id, pending in self.pending.items():
            twin.assign(entry_id, twin.consumers[pending.consumer.name], pending.time_ms, pending.count)
        return twin

    def _check(self) -> None:
        assert all(consumer.name == name for name, consumer in self.consumers.items())
        assert sum(len(consumer.pending) for consumer in self.consumers.values()) == len(self.pending)
        for entry_id, pending in self.pending.items():
            assert pending.consumer is self.consumers[pending.consumer.name]
            assert pending.consumer.pending[entry_id] is pending


def from_id(pending: SortedDict, start: int) -> Iterator[int]:
    """The ids of a table of pending entries from ``start`` on."""
    ids: Iterator[int] = pending.irange(start)
    return ids


# ---- how far a group has read ----------------------------------------------------------


def has_tombstones(stream: Stream, start: int) -> bool:
    """May something have been deleted from the middle of the stream, at ``start`` or behind it?"""
    deleted = stream.max_deleted
    return bool(stream.length and deleted and stream.first_id() <= deleted and start <= deleted)


def distance(stream: Stream, entry_id: int) -> int:
    """How many entries were ever added up to ``entry_id``, as far as that can be told, or ``UNKNOWN``."""
    added = stream.added
    if not added:
        return 0
    last = stream.last_id
    if entry_id == last or (not stream.length and entry_id < last):
        return added
    if entry_id > last:
        return UNKNOWN
    first = stream.first_id()
    if not stream.max_deleted or stream.max_deleted < first:
        if entry_id < first:
            return added - stream.length
        if entry_id == first:
            return added - stream.length + 1
    return UNKNOWN


def lag(stream: Stream, group: Group) -> int | None:
    """How many entries the group has yet to read; None if nobody can say."""
    if not stream.added:
        return 0
    read = group.entries_read
    if read == UNKNOWN or has_tombstones(stream, group.last_id):
        read = distance(stream, group.last_id)
        if read == UNKNOWN:
            return None
    return stream.added - read


def read_behind(stream: Stream, group_read: int, ids: list[int]) -> int:
    """``entries_read`` of a group that had ``group_read`` and now reads ``ids``, which ascend."""
    read = group_read
    for n, entry_id in enumerate(ids):
        if read != UNKNOWN and not has_tombstones(stream, entry_id):
            # Further ids are further behind what was deleted.
            return min(read + len(ids) - n, INT64_MAX)
        if stream.added:
            read = distance(stream, entry_id)
    return read
