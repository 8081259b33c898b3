"""Which key goes when memory is short: the policies of ``maxmemory-policy``.

=====================  ==============================================================
``allkeys-...``        any key may go
``volatile-...``       only a key with a deadline
``...-lru``            that was not used for longest
``...-lfu``            that was used least often of late
``...-random``         whichever
``volatile-ttl``       whose deadline is nearest
``noeviction``         none: whoever owns the memory refuses what would take more
=====================  ==============================================================

LRU and LFU go by samples, as stock does: ``maxmemory-samples`` keys of each database are
looked at for a key that goes, and the best candidates of all samples so far are remembered
(``Candidates``).  One that was used meanwhile is no candidate any more.  The nearest
deadline needs no sample: ``store.deadlines`` has them in order, to about a second, and
some are fetched at a time.

So one key goes in O(samples), whatever the number of keys; nothing walks them.

It must not know: how memory is counted, when it is short.
"""

from __future__ import annotations

from bisect import insort
from random import Random
from typing import TYPE_CHECKING

from perdure.store.database import Database, Keyspace, OrderedExpires
from perdure.store.events import EVICTED
from perdure.store.resp import encode
from perdure.store.uses import Clock, Frequency, LfuRules, Recency
from perdure.store.weights import weigh_key

if TYPE_CHECKING:
    from perdure.store.tx import Tx

NO_EVICTION = "noeviction"
_CANDIDATES = 16
_SOON = 64
_FEW = 16
"""A table of so few keys is looked at whole."""

Place = tuple[int, bytes]
"""A database's number and a key."""


class Candidates:
    """The keys of all samples that may best go: (rank, database, key), the best one last."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, bytes]] = []

    def offer(self, db_index: int, db: Database, keys: list[bytes]) -> None:
        """Remember those of a sample that are among the best."""
        entries, uses = self.entries, db.uses
        assert uses is not None
        for rank, key in zip(uses.ranks(keys), keys, strict=True):
            if len(entries) < _CANDIDATES:
                insort(entries, (rank, db_index, key))
            elif rank > entries[0][0]:
                del entries[0]
                insort(entries, (rank, db_index, key))

    def take(self, keyspace: Keyspace, volatile: bool) -> Place | None:
        """The best one that is still there, and as seldom used as it was; None if none is left."""
        while self.entries:
            rank, db_index, key = self.entries.pop()
            db = keyspace.databases[db_index]
            if key in (db.expires if volatile else db) and db.uses is not None and db.uses.ranks([key])[0] >= rank:
                return db_index, key
        return None


class Evictor:
    """A policy at work on one keyspace.  ``samples``: ``maxmemory-samples``."""

    __slots__ = ("_candidates", "_next_db", "_soon", "_volatile", "_way", "policy", "samples")

    def __init__(self) -> None:
        self.policy = NO_EVICTION
        self.samples = 5
        self._volatile = False
        self._way = ""
        self._candidates = Candidates()
        self._soon: list[tuple[int, int, bytes]] = []
        """Keys whose deadlines are near, as (deadline, database, key), the nearest one last."""
        self._next_db = 0

    @property
    def evicts(self) -> bool:
        """Does any key go at all?"""
        return self.policy != NO_EVICTION

    def follow(self, policy: str, keyspace: Keyspace, clock: Clock, rules: LfuRules) -> None:
        """Go by another policy: what it needs to know of keys is kept from now on, O(keys with a deadline)."""
        self.policy = policy
        scope, _, self._way = policy.partition("-")
        self._volatile = scope == "volatile"
        self._candidates = Candidates()
        self._soon = []
        for db in keyspace.databases:
            if self._way == "lfu":
                if not isinstance(db.uses, Frequency):
                    db.follow_uses(Frequency(clock, rules))
            elif isinstance(db.uses, Frequency):
                db.follow_uses(None)
            if self._way == "lru" and db.uses is None:
                db.follow_uses(Recency(clock))
            db.order_expires(self._volatile and self._way != "ttl")

    def evict(self, tx: Tx, weighed: bool = False) -> int:
        """Let one key go; 0 if there is none that may, else 1, or what it took if it is to be ``weighed``.

        CommandError if the log refuses.  Outside of commands and groups only.  It leaves
        another database selected.
        """
        place = self._choose(tx)
        if place is None:
            return 0
        db_index, key = place
        tx.select(db_index)
        tx.log(encode((b"DEL", key)))
        tx.changes -= 1
        nbytes = weigh_key(tx.db, key) if weighed else 1
        value = tx.db.remove(key)
        if value.__class__ is not bytes:
            tx.keyspace.discard(value)
        if tx.notifying:
            tx.notify(EVICTED, b"evicted", key)
        return nbytes

    def _choose(self, tx: Tx) -> Place | None:
        keyspace, rng = tx.keyspace, tx.rng
        if self._way == "ttl":
            return self._nearest(keyspace)
        if self._way == "random":
            return self._any(keyspace, rng)
        for _ in range(_CANDIDATES):
            for db_index, db in enumerate(keyspace.databases):
                if db.expires if self._volatile else db:
                    self._candidates.offer(db_index, db, self._sample(db, rng))
            if not self._candidates.entries:
                return None
            place = self._candidates.take(keyspace, self._volatile)
            if place is not None:
                return place
        return None

    def _sample(self, db: Database, rng: Random) -> list[bytes]:
        """Some keys of a database that may go, of which there are any."""
        table = db.expires if self._volatile else db
        if len(table) <= _FEW:
            return list(table)
        order = table.order if isinstance(table, OrderedExpires) else db.order
        return order.sample(rng, self.samples)

    def _any(self, keyspace: Keyspace, rng: Random) -> Place | None:
        """A random key; the databases take turns."""
        databases = keyspace.databases
        for _ in range(len(databases)):
            self._next_db = (self._next_db + 1) % len(databases)
            db = databases[self._next_db]
            if not self._volatile and db:
                return self._next_db, db.order.choose(rng)
            if self._volatile and db.expires:
                assert isinstance(db.expires, OrderedExpires)
                return self._next_db, db.expires.order.choose(rng)
        return None

    def _nearest(self, keyspace: Keyspace) -> Place | None:
        """A key whose deadline is about the nearest: the next of the few that were last when last looked for."""
        while True:
            while self._soon:
                deadline_ms, db_index, key = self._soon.pop()
                if keyspace.databases[db_index].expires.get(key) == deadline_ms:
                    return db_index, key
            databases = enumerate(keyspace.databases)
            first = min(((db.deadlines.first_ms(), index) for index, db in databases if db.expires), default=None)
            if first is None:
                return None
            db_index = first[1]
            db = keyspace.databases[db_index]
            keys = db.deadlines.take_first(db.expires, _SOON)
            db.deadlines.put_back(keys, db.expires)
            self._soon = sorted(((db.expires[key], db_index, key) for key in keys), reverse=True)
