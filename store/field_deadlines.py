"""When the fields of one hash expire.

A dict from field to deadline, in unix ms, beside a heap of (deadline, field).  An entry
of the heap counts if the dict agrees with it; others are stale, and are dropped when
they come up, or all at once when they are the most.

Setting and dropping are O(log n) amortised for n fields with deadlines; whether one
field is due, and whether any is, O(1); which and how many are due, O(those).

Invariant (``_check``): every deadline has its entry in the heap.

It must not know: the hash, commands, the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Protocol

_SLACK = 64
NEVER = 1 << 62


class Clock(Protocol):
    """Who knows the time (``Tx``): 0 while a log is replayed, where nothing is due."""

    now_ms: int


class Timed(Protocol):
    """What has a clock, another one for each part of its life (``Keyspace``: while it loads, while it serves)."""

    @property
    def clock(self) -> Clock: ...


class FieldDeadlines:
    """The deadlines of a hash's fields; ``by_field`` is for reading."""

    __slots__ = ("_heap", "by_field", "owner")

    def __init__(self, owner: Timed) -> None:
        self.owner = owner
        self.by_field: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def copy(self) -> FieldDeadlines:
        """The same deadlines, sharing nothing changeable."""
        twin = FieldDeadlines(self.owner)
        twin.by_field = dict(self.by_field)
        twin._heap = list(self._heap)
        return twin

    def set(self, field: bytes, deadline_ms: int) -> None:
        """Give a field a deadline, in the place of the one that it has."""
        self.by_field[field] = deadline_ms
        heappush(self._heap, (deadline_ms, field))
        self._trim()

    def drop(self, field: bytes) -> None:
        """Take a field's deadline away, if it has one."""
        if self.by_field.pop(field, None) is not None:
            self._trim()

    def _trim(self) -> None:
        if len(self._heap) > 2 * len(self.by_field) + _SLACK:
            self._heap = [(deadline, field) for field, deadline in self.by_field.items()]
            heapify(self._heap)

    def first_ms(self) -> int:
        """The earliest deadline; ``NEVER`` if there is none."""
        heap, by_field = self._heap, self.by_field
        while heap and by_field.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else NEVER

    def any_due(self) -> bool:
        """Is any field due?"""
        return self.first_ms() <= self.owner.clock.now_ms

    def is_due(self, field: bytes) -> bool:
        """Is this field due?"""
        return self.by_field.get(field, NEVER) <= self.owner.clock.now_ms

    def due(self, limit: int = NEVER) -> list[bytes]:
        """Fields that are due, up to ``limit`` of them; their deadlines stay."""
        found: dict[bytes, None] = {}
        for field in self._due_entries():
            found[field] = None
            if len(found) >= limit:
                break
        return list(found)

    def _due_entries(self) -> Iterator[bytes]:
        """The fields of due entries, perhaps twice: a walk down the heap, which stops where nothing is due."""
        heap, by_field, now_ms = self._heap, self.by_field, self.owner.clock.now_ms
        places = [0]
        while places:
            place = places.pop()
            if place < len(heap) and heap[place][0] <= now_ms:
                deadline_ms, field = heap[place]
                if by_field.get(field) == deadline_ms:
                    yield field
                places += (2 * place + 1, 2 * place + 2)

    def _check(self) -> None:
        entries = set(self._heap)
        assert all((deadline, field) in entries for field, deadline in self.by_field.items())
        assert all(self._heap[(i - 1) // 2] <= entry for i, entry in enumerate(self._heap) if i)
        assert len(self._heap) <= 2 * len(self.by_field) + _SLACK + 1
