"""CLIENT TRACKING: clients keep copies of what they read, and are told which keys to forget.

============  ================================================================================
by default    each key that a client's read-only commands name is remembered with the client
              (``Tracker.table``); the first change of the key tells it, and is the last that
              it is told of the key until it reads it again
``BCAST``     nothing is remembered: at the end of a tick each client is told of all keys that
              changed and begin with one of its prefixes, a message a prefix
============  ================================================================================

Keys stand for their name in every database, as in stock.  A key has changed when a record
of the log names it (``server.touched``), when it is found to have expired, and when the
table is over ``tracking-table-max-keys``: then the keys that were remembered first are
taken for changed.  FLUSHALL and FLUSHDB tell everybody to forget everything.

RESP3 clients are told by push frames on their connection; with ``REDIRECT`` another
connection is told, one of RESP3, or one that has subscribed, whatever to.  If that one
has gone its client is told so, if it speaks RESP3, and shows it (``broken``).

The table has ids and not clients: what it has of a client that left, or tracks no more,
goes when the key changes.

While nobody tracks nothing of this runs.  Remembering is O(1) a key; a change is O(1), and
O(clients that are told); with ``BCAST``, O(different lengths of prefixes) a key.

Invariants (``_check``): ``items`` counts the ids in the table; every ``BCAST`` client stands
at each of its prefixes and no other does; no prefix is without clients.

It must not know: sockets, what the commands do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.server.client import SUBSCRIBED, TRACKED, TRACKING, Client
from perdure.server.outbox import INVALIDATION
from perdure.server.touched import touched
from perdure.store.resp import array_head, bulk, integer, push_head

if TYPE_CHECKING:
    from perdure.server.engine import Engine

_CHANNEL = push_head(3, False) + bulk(b"message") + bulk(b"__redis__:invalidate")
_PUSH = push_head(2, True) + bulk(b"invalidate")
_LIMIT_STEP = 1000
_BROKEN = push_head(2, True) + bulk(b"tracking-redir-broken")


class Tracking:
    """What one client has asked for."""

    __slots__ = ("bcast", "broken", "caching", "noloop", "optin", "optout", "prefixes", "redirect")

    def __init__(self) -> None:
        self.redirect = 0
        """The id of the client that is told in its place; 0 for itself."""
        self.bcast = self.optin = self.optout = self.noloop = False
        self.caching = False
        """CLIENT CACHING was given for the next command."""
        self.broken = False
        self.prefixes: dict[bytes, None] = {}


class Prefix:
    """One prefix of ``BCAST``: who is told, and the keys that changed in this tick, with who changed them last."""

    __slots__ = ("clients", "keys")

    def __init__(self) -> None:
        self.clients: dict[Client, None] = {}
        self.keys: dict[bytes, Client | None] = {}


class Tracker:
    """The table, and the prefixes."""

    __slots__ = ("_engine", "_expired_records", "_lengths", "clients", "items", "max_keys", "prefixes", "table")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.clients = 0
        """How many track."""
        self.max_keys = 0
        """``tracking-table-max-keys``; 0 for no limit."""
        self.table: OrderedDict[bytes, int | set[int]] = OrderedDict()
        """Key -> the ids of the clients that read it; most keys have one."""
        self.items = 0
        self.prefixes: dict[bytes, Prefix] = {}
        self._lengths: dict[int, int] = {}
        """How many prefixes have a length."""
        self._expired_records: list[bytes] = []
        """Records by which keys went that had expired: not the doing of the client whose command found them."""

    # ---- who tracks ----------------------------------------------------------------------

    def enable(self, client: Client, asked: Tracking) -> None:
        """``client`` tracks as ``asked``; prefixes are added to those that it has."""
        tracking = client.tracking
        if tracking is None:
            tracking = client.tracking = Tracking()
            self.clients += 1
            client.state |= TRACKING
            self._engine.state |= TRACKED
        tracking.broken = False
        tracking.redirect = asked.redirect
        tracking.bcast, tracking.noloop = asked.bcast, asked.noloop
        tracking.optin, tracking.optout = asked.optin, asked.optout
        if asked.bcast:
            for name in asked.prefixes or (b"",):
                if name not in tracking.prefixes:
                    tracking.prefixes[name] = None
                    self._add_prefix(client, name)

    def _add_prefix(self, client: Client, name: bytes) -> None:
        prefix = self.prefixes.get(name)
        if prefix is None:
            prefix = self.prefixes[name] = Prefix()
            self._lengths[len(name)] = self._lengths.get(len(name), 0) + 1
        prefix.clients[client] = None

    def disable(self, client: Client) -> None:
        """``client`` tracks no more."""
        tracking = client.tracking
        if tracking is None:
            return
        for name in tracking.prefixes:
            prefix = self.prefixes[name]
            del prefix.clients[client]
            if not prefix.clients:
                del self.prefixes[name]
                self._lengths[len(name)] -= 1
                if not self._lengths[len(name)]:
                    del self._lengths[len(name)]
        client.tracking = None
        client.state &= ~TRACKING
        self.clients -= 1
        if not self.clients:
            self._engine.state &= ~TRACKED

    # ---- what is read ----------------------------------------------------------------------

    def remember(self, client: Client, keys: Iterable[bytes]) -> None:
        """``client`` has read these keys."""
        tracking = client.tracking
        assert tracking is not None
        if tracking.bcast or (tracking.optin and not tracking.caching) or (tracking.optout and tracking.caching):
            return
        table, number = self.table, client.id
        for key in keys:
            found = table.get(key)
            if found is None:
                table[key] = number
            elif isinstance(found, int):
                if found == number:
                    continue
                table[key] = {found, number}
            elif number not in found:
                found.add(number)
            else:
                continue
            self.items += 1

    def limit(self) -> None:
        """Take the keys for changed that are over the limit, oldest first, a bounded piece of them."""
        if self.max_keys and len(self.table) > self.max_keys:
            for _ in range(min(len(self.table) - self.max_keys, _LIMIT_STEP)):
                self._tell(next(iter(self.table)))

    def tick(self) -> None:
        """Ten times a second: keep to the limit, if nothing else happens; and drop the table if nobody tracks."""
        if self.clients:
            self.limit()
        elif self.table:
            self._drop_table()

    def _drop_table(self) -> None:
        """Start anew; what is in the table is freed in the background."""
        self._engine.tx.keyspace.garbage.append(self.table)
        self.table = OrderedDict()
        self.items = 0

    # ---- what changes ----------------------------------------------------------------------

    def wrote(self, records: list[bytes], keys: list[bytes]) -> None:
        """The engine's client (None for the clock) has logged ``records``; ``keys``: all that they can name, or []."""
        if self._expired_records:
            records = [record for record in records if not any(record is known for known in self._expired_records)]
            self._expired_records.clear()
        if len(keys) == 1:
            if records:
                self._changed(keys[0], self._engine.tx.speaker)
            return
        for _, key in touched(records, 0):
            if key is not None:
                self._changed(key, self._engine.tx.speaker)

    def expired(self, key: bytes) -> None:
        """A key was found to have expired, and ``tx.records`` ends with what took it away."""
        self._expired_records.append(self._engine.tx.records[-1])
        self._changed(key, None)

    def _changed(self, key: bytes, origin: Client | None) -> None:
        """``key`` was changed by ``origin``, or by nobody."""
        self._engine.outbox.about_keys = True
        for length in self._lengths:
            prefix = self.prefixes.get(key[:length])
            if prefix is not None and len(key) >= length:
                prefix.keys[key] = origin
        if key in self.table:
            self._tell(key)

    def _tell(self, key: bytes) -> None:
        """Take a key out of the table, and tell who read it."""
        found = self.table.pop(key)
        numbers = [found] if isinstance(found, int) else sorted(found)
        self.items -= len(numbers)
        current = self._engine.tx.speaker
        body = array_head(1) + bulk(key)
        for number in numbers:
            client = self._engine.server.clients.get(number)
            tracking = None if client is None else client.tracking
            if client is None or tracking is None or tracking.bcast or (tracking.noloop and client is current):
                continue
            self._send(client, tracking, body)

    def flush(self) -> None:
        """A database was emptied: everybody is told to forget everything."""
        self._drop_table()
        self._engine.outbox.about_keys = True
        for client in self._engine.server.clients.values():
            if client.tracking is not None:
                self._send(client, client.tracking, b"_\r\n" if client.resp3 else b"$-1\r\n")

    def broadcast(self) -> None:
        """The tick ends: tell of the keys that changed in it, for ``BCAST``."""
        for name in sorted(self.prefixes):
            prefix = self.prefixes[name]
            if not prefix.keys:
                continue
            changed, prefix.keys = prefix.keys, {}
            everything = sorted(changed)
            body = _array(everything)
            for client in prefix.clients:
                tracking = client.tracking
                assert tracking is not None
                if not tracking.noloop:
                    self._send(client, tracking, body)
                    continue
                others = [key for key in everything if changed[key] is not client]
                if others:
                    self._send(client, tracking, body if len(others) == len(everything) else _array(others))

    def _send(self, client: Client, tracking: Tracking, body: bytes) -> None:
        """``body``: the keys as a reply, or null."""
        target: Client | None = client
        add = self._engine.outbox.add
        if tracking.redirect:
            target = self._engine.server.clients.get(tracking.redirect)
            if target is None:
                tracking.broken = True
                if client.resp3:
                    add(client, _BROKEN + integer(tracking.redirect), INVALIDATION)
                return
        assert target is not None
        if target.resp3:
            add(target, _PUSH + body, INVALIDATION)
        elif tracking.redirect and target.state & SUBSCRIBED:
            add(target, _CHANNEL + body, INVALIDATION)

    def _check(self, clients: Iterable[Client]) -> None:
        clients = list(clients)
        assert self.items == sum(1 if isinstance(ids, int) else len(ids) for ids in self.table.values())
        assert self.clients == len([client for client in clients if client.tracking is not None])
        assert bool(self.clients) == bool(self._engine.state & TRACKED)
        expected: dict[bytes, set[Client]] = {}
        for client in clients:
            assert (client.tracking is not None) == bool(client.state & TRACKING)
            for name in client.tracking.prefixes if client.tracking is not None else ():
                expected.setdefault(name, set()).add(client)
        assert {name: set(prefix.clients) for name, prefix in self.prefixes.items()} == expected
        lengths: dict[int, int] = {}
        for name in self.prefixes:
            lengths[len(name)] = lengths.get(len(name), 0) + 1
        assert lengths == self._lengths


def _array(keys: list[bytes]) -> bytes:
    return array_head(len(keys)) + b"".join(map(bulk, keys))
