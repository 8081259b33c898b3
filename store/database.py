"""Databases: keys, values, deadlines; and the keyspace of all of them.

A ``Database`` is a dict from key to value, because a look-up is then one call
into C on the hot path.  Around it stand

``expires``   key -> deadline in unix ms, for keys that have one
``order``     the keys in order of arrival, for SCAN and RANDOMKEY
``deadlines`` which keys may be due when (``store.deadlines``)
``member_expires``, ``member_deadlines``
              the same for keys some of whose members (hash fields) have deadlines: a moment
              not behind the earliest of these; keys that have none any more may be among them

Who changes a key uses the methods here, or does exactly what they do (the SET
fast path).  Nothing here logs: a command has logged before it calls (LOG-FIRST).

How keys are used (``store.uses``) is kept only where somebody wants to know: a policy of
``maxmemory-policy``, for all databases, or OBJECT IDLETIME, from its first call in a database
on.  The database's class is then ``UsedDatabase`` with the same methods and uses kept; until
then it costs nothing.  Keys that nobody used since are idle since then: never too long, so
who deletes what is idle long enough deletes nothing in use.

In the same way ``expires`` is an ``OrderedExpires``, which has random members, only while a
policy evicts keys that have a deadline at random.

Invariants (``_check``): every key of ``expires`` is in the dict; ``order`` and
``deadlines`` know every key they must; no aggregate is empty, but for those that a
key outlives (streams, which are true without an entry, too); ``uses`` knows no key
that is not there.
"""

from __future__ import annotations

from typing import Any

from perdure.store import value_types
from perdure.store.deadlines import Deadlines
from perdure.store.key_order import KeyOrder
from perdure.store.uses import Clock, Frequency, NoClock, Recency, Uses
from perdure.store.warm import Warm

_BIG_VALUE = 4096
"""A value with more members is freed bit by bit."""


class OrderedExpires(dict[bytes, int]):
    """Deadlines by key, and the keys in an order that gives random ones."""

    __slots__ = ("order",)

    def __init__(self, deadlines: dict[bytes, int]) -> None:
        super().__init__(deadlines)
        self.order = KeyOrder(self)

    def __setitem__(self, key: bytes, deadline_ms: int) -> None:
        if key not in self:
            self.order.append(key)
        dict.__setitem__(self, key, deadline_ms)

    def __delitem__(self, key: bytes) -> None:
        dict.__delitem__(self, key)
        self.order.removed(key)

    def pop(self, key: bytes, *default: Any) -> Any:
        """Take a key away."""
        if key in self:
            self.order.removed(key)
        return dict.pop(self, key, *default)

    def clear(self) -> None:
        """Take all away."""
        dict.clear(self)
        self.order = KeyOrder()


class Database(dict[bytes, Any]):
    """One numbered database."""

    __slots__ = ("deadlines", "expires", "member_deadlines", "member_expires", "order", "uses")

    def __init__(self) -> None:
        super().__init__()
        self.expires: dict[bytes, int] = {}
        self.order = KeyOrder()
        self.deadlines = Deadlines()
        self.member_expires: dict[bytes, int] = {}
        self.member_deadlines = Deadlines()
        self.uses: Uses | None = None

    def keep_uses(self, clock: Clock) -> Uses:
        """When keys are used: from the first call on it is kept."""
        if self.uses is None:
            self.follow_uses(Recency(clock))
        assert self.uses is not None
        return self.uses

    def set_use(self, clock: Clock, key: bytes, idle_ms: int | None, count: int | None) -> None:
        """How a key was used before it came here, if that is known: ``count`` under LFU, else how long it was idle."""
        if isinstance(self.uses, Frequency):
            if count is not None:
                self.uses.set_count(key, count)
        elif idle_ms is not None:
            if self.uses is None:
                self.follow_uses(Recency(clock))
            assert isinstance(self.uses, Recency)
            self.uses.set_idle(key, idle_ms)

    def follow_uses(self, uses: Uses | None) -> None:
        """Keep how keys are used in ``uses`` from now on; None: no longer."""
        self.uses = uses
        self.__class__ = Database if uses is None else UsedDatabase

    def order_expires(self, ordered: bool) -> None:
        """Have ``expires`` give random keys, or no longer."""
        if ordered is not isinstance(self.expires, OrderedExpires):
            self.expires = OrderedExpires(self.expires) if ordered else dict(self.expires)

    def keep_as(self, other: Database) -> None:
        """Keep from now on what ``other`` keeps beside keys and values."""
        if other.uses is not None and self.uses.__class__ is not other.uses.__class__:
            self.follow_uses(other.uses.fresh())
        self.order_expires(isinstance(other.expires, OrderedExpires))

    def fresh(self) -> Database:
        """An empty database to stand in this one's place."""
        database = Database()
        database.keep_as(self)
        return database

    def put(self, key: bytes, value: Any) -> None:
        """Set a key's value; its deadline stays as it is."""
        if key not in self:
            self.order.append(key)
        self[key] = value

    def replace(self, key: bytes, value: Any) -> None:
        """Set a key's value and drop its deadline."""
        if key not in self:
            self.order.append(key)
        elif key in self.expires:
            del self.expires[key]
        self[key] = value

    def remove(self, key: bytes) -> Any:
        """Take a key that exists away; returns its value."""
        value = self.pop(key)
        if self.expires:
            self.expires.pop(key, None)
        if self.member_expires:
            self.member_expires.pop(key, None)
        self.order.removed(key)
        return value

    def expire_at(self, key: bytes, deadline_ms: int) -> None:
        """Give a key that exists a deadline."""
        expires = self.expires
        old_ms = expires.get(key)
        expires[key] = deadline_ms
        if old_ms is None or deadline_ms < old_ms:
            self.deadlines.set(key, old_ms, deadline_ms)
            self.deadlines.trim(expires)

    def persist(self, key: bytes) -> None:
        """Take a key's deadline away, if it has one."""
        self.expires.pop(key, None)

    def member_expires_at(self, key: bytes, deadline_ms: int) -> None:
        """A member of a key that exists has this deadline."""
        expires = self.member_expires
        old_ms = expires.get(key)
        if old_ms is None or deadline_ms < old_ms:
            expires[key] = deadline_ms
            self.member_deadlines.set(key, old_ms, deadline_ms)
            self.member_deadlines.trim(expires)

    def _check(self) -> None:
        assert all(key in self for key in self.expires)
        for value in self.values():  # a hash shows only fields that are not due; due ones are there, too
            assert value.__class__ in (bytes, bytearray) or (
                dict.__len__(value) if isinstance(value, dict) else value
            )
        self.member_deadlines._check(self.member_expires)
        self.order._check(self)
        self.deadlines._check(self.expires)
        assert self.uses is None or all(key in self for key in self.uses.numbers)
        assert (self.uses is not None) == isinstance(self, UsedDatabase)
        if isinstance(self.expires, OrderedExpires):
            self.expires.order._check(self.expires)


class UsedDatabase(Database):
    """A database that keeps how its keys are used, see above.

    ``get`` and ``[key] = value`` are a use; who only looks (EXISTS, TYPE, TTL ...)
    goes through ``dict.get``, as ``Tx.peek`` does.
    """

    __slots__ = ()
    uses: Uses

    def get(self, key: bytes, default: Any = None) -> Any:
        """A key's value, and it was used."""
        value = dict.get(self, key)
        if value is None:
            return default
        self.uses.touch(key)
        return value

    def __setitem__(self, key: bytes, value: Any) -> None:
        is_new = key not in self
        dict.__setitem__(self, key, value)
        if is_new:
            self.uses.enter(key)
        else:
            self.uses.touch(key)

    def pop(self, key: bytes, *default: Any) -> Any:
        """Take a key away."""
        self.uses.numbers.pop(key, None)
        return dict.pop(self, key, *default)

    def __delitem__(self, key: bytes) -> None:
        self.pop(key)


class Keyspace:
    """All databases, and what FLUSHALL and its kind do to them.

    Emptying puts a new, empty ``Database`` in the old one's place and the old one on
    ``garbage``, which the owner frees a bit at a time (``free_some``): dropping a
    million values at once would hold the loop.  So would dropping one value of a million
    members: its parts go the same way (``discard``).

    ``warm`` has the small values that are unpacked at the moment (``store.warm``).

    ``clock`` is whose time it goes by: that of the ``Tx`` that came last, or that the
    owner put back in its place (a log is replayed by one of its own).
    """

    __slots__ = ("clock", "databases", "garbage", "libraries", "warm")

    def __init__(self, count: int = 16) -> None:
        self.databases = [Database() for _ in range(count)]
        self.garbage: list[dict[bytes, Any] | list[Any]] = []
        self.warm = Warm()
        self.clock: Clock = NoClock()
        self.libraries: Any = None
        """FUNCTION's libraries, which are data as well; whoever runs them puts them here."""

    def flush(self, index: int) -> None:
        """Empty one database."""
        old = self.databases[index]
        if old:
            self.databases[index] = old.fresh()
            old.follow_uses(None)
            self.garbage.append(old)

    def flush_all(self) -> None:
        """Empty every database."""
        for index in range(len(self.databases)):
            self.flush(index)

    def swap(self, a: int, b: int) -> None:
        """Exchange the contents of two databases."""
        databases = self.databases
        databases[a], databases[b] = databases[b], databases[a]

    def free_some(self, count: int) -> bool:
        """Free about ``count`` values of what was flushed; False when nothing is left."""
        while self.garbage and count > 0:
            at = len(self.garbage) - 1
            old = self.garbage[at]
            some = min(count, len(old))
            count -= some
            if isinstance(old, list):
                del old[len(old) - some :]
            elif isinstance(old, Database):
                old.expires.clear()
                old.member_expires.clear()
                old.order = KeyOrder()
                for _ in range(some):
                    value = old.popitem()[1]
                    if value.__class__ is not bytes:
                        self.discard(value)
            else:
                for _ in range(some):
                    old.popitem()
            if not old:
                del self.garbage[at]
        return bool(self.garbage)

    def discard(self, value: Any) -> None:
        """Free a value that no key has any more: a big one bit by bit (``free_some``)."""
        parts = value_types.of(value).parts
        if parts is not None and len(value) > _BIG_VALUE:
            self.garbage += parts(value)

    def key_count(self) -> int:
        """Keys in all databases."""
        return sum(map(len, self.databases))

    def _check(self) -> None:
        for database in self.databases:
            database._check()
