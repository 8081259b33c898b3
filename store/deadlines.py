"""Which keys may be due when, so that active expiry never scans.

A wheel of buckets, one for each 1,024 ms that any deadline falls into, and a heap
of the buckets' numbers.  When a bucket's time has begun, its entries that are not
due yet go to ``near``, a heap by the millisecond.

Invariant: every key with a deadline has an entry in the bucket of that deadline or
in an earlier one, or in ``near`` at that deadline or before.  So moving a deadline
later costs nothing (a session whose expiry is refreshed with every request): when
the earlier entry comes due, the key is found not to be due and gets an entry where
it belongs.  Entries of keys that lost their deadline are dropped then, too; should
too many of them gather, ``trim`` builds the wheel anew, O(1) amortised.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_SHIFT = 10
_SLACK = 1024


class Deadlines:
    """The wheel of one database."""

    __slots__ = ("buckets", "due", "entries", "near")

    def __init__(self) -> None:
        self.buckets: dict[int, list[bytes]] = {}
        self.due: list[int] = []
        self.near: list[tuple[int, bytes]] = []
        self.entries = 0

    def set(self, key: bytes, old_ms: int | None, new_ms: int) -> None:
        """``key`` had the deadline ``old_ms`` (None for none) and now has ``new_ms``."""
        if old_ms is not None and old_ms <= new_ms:
            return
        number = new_ms >> _SHIFT
        bucket = self.buckets.get(number)
        if bucket is None:
            bucket = self.buckets[number] = []
            heappush(self.due, number)
        bucket.append(key)
        self.entries += 1

    def trim(self, expires: dict[bytes, int]) -> None:
        """Build the wheel anew if most of its entries are stale."""
        if self.entries <= 4 * len(expires) + _SLACK:
            return
        self.buckets = {}
        self.near = []
        for key, deadline in expires.items():
            self.buckets.setdefault(deadline >> _SHIFT, []).append(key)
        self.due = list(self.buckets)
        heapify(self.due)
        self.entries = len(expires)

    def take_due(self, expires: dict[bytes, int], now_ms: int, limit: int) -> list[bytes]:
        """Distinct keys whose deadline is at or before ``now_ms``, at most ``limit`` of them.

        A key returned keeps its entry's duty no longer: the caller removes it from the
        database, or gives the entry back with ``put_back``.  At most ``limit`` entries are
        looked at, so that the step is bounded; the rest waits for the next call.
        """
        found: dict[bytes, None] = {}
        near = self.near
        looked = 0
        while near and near[0][0] <= now_ms and looked < limit:
            looked += 1
            self._judge(heappop(near)[1], expires, now_ms, found)
        current = now_ms >> _SHIFT
        while self.due and self.due[0] <= current and looked < limit:
            number = self.due[0]
            bucket = self.buckets[number]
            part = bucket[looked - limit :]
            del bucket[looked - limit :]
            looked += len(part)
            if not bucket:
                del self.buckets[number]
                heappop(self.due)
            for key in part:
                self._judge(key, expires, now_ms, found)
        self.entries -= looked
        return list(found)

    def first_ms(self) -> int:
        """No deadline is before this moment (unix ms); of a wheel that has entries."""
        moments = [self.near[0][0]] if self.near else []
        if self.due:
            moments.append(self.due[0] << _SHIFT)
        return min(moments)

    def take_first(self, expires: dict[bytes, int], limit: int) -> list[bytes]:
        """As ``take_due``, at the end of the 1,024 ms that the first deadline falls into; [] if none is left.

        Entries that are stale are put where they belong, ``limit`` of them at a time.
        """
        found: list[bytes] = []
        while self.entries and not found:
            found = self.take_due(expires, self.first_ms() | (1 << _SHIFT) - 1, limit)
        return found

    def _judge(self, key: bytes, expires: dict[bytes, int], now_ms: int, found: dict[bytes, None]) -> None:
        """An entry was taken out: note its key as due, or give it the entry that it should have."""
        deadline = expires.get(key)
        if deadline is None:
            return
        if deadline <= now_ms:
            found[key] = None
        elif deadline >> _SHIFT <= now_ms >> _SHIFT:
            heappush(self.near, (deadline, key))
            self.entries += 1
        else:
            self.set(key, None, deadline)

    def put_back(self, keys: list[bytes], expires: dict[bytes, int]) -> None:
        """Keys that ``take_due`` gave and that stay in the database after all."""
        for key in keys:
            self.set(key, None, expires[key])

    def _check(self, expires: dict[bytes, int]) -> None:
        first: dict[bytes, int] = {}
        for number, bucket in self.buckets.items():
            assert bucket
            for key in bucket:
                first[key] = min(number << _SHIFT, first.get(key, number << _SHIFT))
        for moment, key in self.near:
            first[key] = min(moment, first.get(key, moment))
        for key, deadline in expires.items():
            assert first[key] <= deadline, key
        assert sorted(self.due) == sorted(self.buckets)
        assert self.entries == sum(map(len, self.buckets.values())) + len(self.near)
