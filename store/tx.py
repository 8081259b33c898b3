"""What a command works with: a database, the time, the client's protocol, and the log.

One ``Tx`` serves the whole server; the engine sets it up for each client's turn.

``log`` is the one gate of LOG-FIRST: a command calls it with its record before it
changes a byte of memory, and once it returns, the record is in the log's open
batch with space reserved on the disk.  It raises ``CommandError`` (MISCONF) if the
log cannot take it, and then the command has changed nothing (REFUSE-WHOLE).

The open batch is ``records``; the engine closes it at the end of the loop's tick
with ``take``.  ``room`` is how many payload bytes may follow without asking the
log again; it is below zero whenever the next record needs more than an append: at
the start of a batch, after a change of database, in a group that has not begun
(what was granted is in ``_granted`` meanwhile).
Then ``_log_slowly`` puts what is missing before the record:

- SELECT, if the record is the batch's first or its database is another one, so that
  every batch can be replayed by itself;
- MULTI, if a group is pending.  A group (EXEC, a script) is never split between
  batches, and inside an open group the log refuses nothing: what it may need was
  asked for when the group began, and beyond that a full disk delays the answer and
  does not break the group in two.

Look-ups are counted as stock counts them (``keyspace_hits``, ``keyspace_misses``), but
so that a read that finds its key pays nothing:

- a successful call of a READONLY command with exactly one key is one look-up; the
  engine counts calls anyway.  If the key is missing, its handler calls ``missed``;
- ``lookups`` has all the others: each key of a command of several keys, the key that a
  write reads (GETDEL, SET GET, COPY), and a read that found its key and then failed.

Hits are all look-ups less the misses (``server.info``).

It must not know: files, sockets, what a policy is.
"""

from __future__ import annotations

from random import Random
from typing import Any, Protocol

from perdure.store.blocking import Retry
from perdure.store.database import Database, Keyspace
from perdure.store.errors import WRONG_TYPE, CommandError
from perdure.store.events import EXPIRED, KEY_MISS, NEW
from perdure.store.resp import NULL_2, NULL_3, NULL_ARRAY_2, encode, require_bytes
from perdure.store.value_types import DEFAULT_LIMITS, Limits

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_NO_GROUP, _GROUP_PENDING, _GROUP_OPEN = 0, 1, 2
_ENDLESS = 1 << 62
_NEVER_GRANTED = 1 << 61
"""More room than this was not granted: a group went on without asking."""
NO_DATABASE = -1


class LogSink(Protocol):
    """The log as commands see it."""

    def admit(self, nbytes: int) -> int:
        """Accept ``nbytes`` more in the open batch; how many may follow without asking; CommandError if refused."""


class NoLog:
    """A sink for when nothing is logged: replay, ``appendonly no``."""

    def admit(self, nbytes: int) -> int:
        """Everything fits."""
        return _ENDLESS


class Tx:
    """The state of the command that runs now.

    now_ms
        the time by which keys are expired, in unix ms; 0 while a log is replayed,
        where only the log says what expired
    changes
        what ``change_count`` counts, but for the open batch
    clock_ms
        the time from which relative deadlines count, in unix ms
    """

    __slots__ = (
        "_granted",
        "_group",
        "_group_at",
        "_group_db",
        "_refusal",
        "changes",
        "clock_ms",
        "db",
        "db_index",
        "events",
        "keyspace",
        "limits",
        "logged_db",
        "lookups",
        "max_bulk_bytes",
        "misses",
        "notifying",
        "now_ms",
        "null",
        "null_array",
        "records",
        "resp3",
        "rng",
        "room",
        "sink",
    )

    may_block: bool = True
    """False while a script runs, where nobody can wait."""

    def __init__(self, keyspace: Keyspace, sink: LogSink, rng: Random, limits: Limits) -> None:
        self.keyspace = keyspace
        self.sink = sink
        self.rng = rng
        self.limits = limits
        self.changes = 0
        for name, threshold in DEFAULT_LIMITS.items():
            limits.setdefault(name, threshold)
        self.max_bulk_bytes = 512 << 20
        self.now_ms = 0
        self.clock_ms = 0
        keyspace.clock = self
        self.resp3 = False
        self.null = NULL_2
        self.null_array = NULL_ARRAY_2
        self.lookups = 0
        self.misses = 0
        self.notifying = 0
        """The classes of events that somebody wants (``store.events``); 0 while there is nobody."""
        self.events: list[tuple[int, bytes, bytes]] = []
        self.records: list[bytes] = []
        self.room = -1
        self._granted = -1
        self._refusal = b""
        self.logged_db = NO_DATABASE
        self._group = _NO_GROUP
        self._group_at = self._group_db = 0
        self.db_index = 0
        self.db: Database = keyspace.databases[0]

    # ---- the client's turn ---------------------------------------------------------

    def select(self, index: int) -> None:
        """Work on database ``index`` from now on."""
        self.db_index = index
        self.db = self.keyspace.databases[index]
        if index != self.logged_db:
            self._look_closer()

    def speak(self, resp3: bool) -> None:
        """Answer in RESP3 or RESP2."""
        self.resp3 = resp3
        self.null = NULL_3 if resp3 else NULL_2
        self.null_array = NULL_3 if resp3 else NULL_ARRAY_2

    # ---- the log -------------------------------------------------------------------

    def log(self, record: bytes) -> None:
        """Append a record to the open batch: the gate of LOG-FIRST."""
        room = self.room - len(record)
        if room < 0:
            self._log_slowly(record)
        else:
            self.room = room
            self.records.append(record)

    def _look_closer(self) -> None:
        """Make the next record go through ``_log_slowly``; the room granted is kept."""
        if self.room >= 0:
            self._granted = self.room
            self.room = -1

    def _log_slowly(self, record: bytes) -> None:
        if self._refusal:
            text, self._refusal = self._refusal, b""
            raise CommandError(text)
        if self._group == _GROUP_PENDING:
            record = _MULTI + record
        if self.logged_db != self.db_index:
            record = encode((b"SELECT", b"%d" % self.db_index)) + record
        room = (self._granted if self.room < 0 else self.room) - len(record)
        if room < 0:
            room = _ENDLESS if self._group == _GROUP_OPEN else self.sink.admit(len(record))
        if self._group == _GROUP_PENDING:
            self._group = _GROUP_OPEN
            self._group_at = len(self.records)
            self._group_db = self.db_index
        self.room = room
        self._granted = -1
        self.logged_db = self.db_index
        self.records.append(record)

    def log_together(self, records: list[bytes]) -> None:
        """Append several records that are one change: whole in the log or not in it, as a group is."""
        record = b"".join(records)
        if len(records) > 1 and self._group == _NO_GROUP:
            record = _MULTI + record + _EXEC
        self.log(record)

    def begin_group(self, expected_bytes: int) -> None:
        """What is logged until ``end_group`` is one MULTI ... EXEC.  CommandError if the log refuses so much."""
        have = max(self.room, self._granted, 0)
        if have < expected_bytes:
            have = expected_bytes + self.sink.admit(expected_bytes - have)
        self._granted = have
        self.room = -1
        self._group = _GROUP_PENDING

    @property
    def in_group(self) -> bool:
        """Between ``begin_group`` and ``end_group``?"""
        return self._group != _NO_GROUP

    @property
    def group_is_open(self) -> bool:
        """Has a group begun in the open batch that has not ended?"""
        return self._group == _GROUP_OPEN

    @property
    def committable(self) -> bool:
        """Is there anything that ``take`` would give: a record before a group that is open?"""
        return bool(self._group_at if self._group == _GROUP_OPEN else self.records)

    def end_group(self, *, one_bare: bool = False) -> None:
        """Close the group; nothing is logged for one that logged nothing.

        ``one_bare``: one command alone is no group (what a script did, as in stock).
        """
        if self._group == _GROUP_OPEN:
            records = self.records
            if one_bare and len(records) == self._group_at + 1 and b"\r\n*" not in records[-1].partition(_MULTI)[2]:
                records[-1] = records[-1].replace(_MULTI, b"", 1)
            else:
                records.append(_EXEC)
                self.changes -= 1
            self.room -= len(_EXEC)
            if self.room > _NEVER_GRANTED:
                self.room = -1
        self._group = _NO_GROUP

    def drop_group(self) -> None:
        """Forget what the open group logged: the process ends in the middle of it."""
        if self._group == _GROUP_OPEN:
            del self.records[self._group_at :]
        self._group = _NO_GROUP
        self.room = self._granted = -1

    def take(self) -> bytes:
        """The open batch's payload, which is closed with that; the next record opens a new one.

        A group that is open is left, and becomes the beginning of the new batch.
        """
        if self._group == _GROUP_OPEN:
            return self._take_before_group()
        payload = b"".join(self.records)
        self.changes += len(self.records)
        self.records.clear()
        self.room = self._granted = -1
        self.logged_db = NO_DATABASE
        return payload

    def change_count(self) -> int:
        """How many changes there were, as stock counts them (``rdb_changes_since_last_save``).

        A record is one, and it is the command's affair to add to ``changes`` where it is more (the members that
        SADD added), or to take away where stock counts none (what has expired).
        """
        return self.changes + len(self.records)

    def _take_before_group(self) -> bytes:
        records = self.records
        payload = b"".join(records[: self._group_at])
        self.changes += self._group_at
        first = records[self._group_at]
        if first.startswith(_MULTI):
            first = encode((b"SELECT", b"%d" % self._group_db)) + first
        records[: self._group_at + 1] = [first]
        self._group_at = 0
        return payload

    def flushed_all(self) -> None:
        """All databases were emptied on demand."""

    # ---- what others learn of it -----------------------------------------------------

    def notify(self, event_class: int, event: bytes, key: bytes, db_index: int = NO_DATABASE) -> None:
        """Something happened to a key, of this database if no other is named; only where ``notifying`` is not 0."""
        if self.notifying & event_class:
            self.events.append((self.db_index if db_index == NO_DATABASE else db_index, event, key))

    def notify_write(self, event_class: int, event: bytes, key: bytes, is_new: bool) -> None:
        """The same of a key that was written, and that was not there before if ``is_new``."""
        if is_new:
            self.notify(NEW, b"new", key)
        self.notify(event_class, event, key)

    # ---- who may what ------------------------------------------------------------------

    def may_read_every_key(self, argv: list[bytes]) -> bool:
        """May a command read keys that its command line does not name (SORT BY, GET)?"""
        return True

    # ---- waiting -----------------------------------------------------------------------

    def block(
        self, keys: list[bytes], deadline_ms: int, retry: Retry, empty: bytes, wants: type | None = None
    ) -> bytes:
        """End a blocking command that found nothing (``store.blocking``).  Here nobody can wait."""
        return empty

    # ---- reading -------------------------------------------------------------------

    def lookup(self, key: bytes) -> Any:
        """A key's value, or None; an expired key is removed, and its removal logged."""
        db = self.db
        value = db.get(key)
        if value is None:
            require_bytes((key,))
        elif db.expires:
            deadline = db.expires.get(key)
            if deadline is not None and deadline <= self.now_ms:
                self.expire(key)
                return None
        return value

    def peek(self, key: bytes) -> Any:
        """As ``lookup``, but to look at a key so is not to use it (OBJECT IDLETIME)."""
        db = self.db
        value = dict.get(db, key)
        if value is None:
            require_bytes((key,))
        elif db.expires:
            deadline = db.expires.get(key)
            if deadline is not None and deadline <= self.now_ms:
                self.expire(key)
                return None
        return value

    def lookup_string(self, key: bytes) -> bytes | bytearray | None:
        """As ``lookup``; CommandError (WRONGTYPE) if the value is no string."""
        value: bytes | bytearray | None = self.lookup(key)
        if value is None or value.__class__ is bytes or value.__class__ is bytearray:
            return value
        raise CommandError(WRONG_TYPE)

    def read_string(self, key: bytes) -> bytes | bytearray | None:
        """As ``lookup_string``, for a command that reads: misses and wrong types are counted."""
        value: bytes | bytearray | None = self.lookup(key)
        if value.__class__ is bytes or value.__class__ is bytearray:
            return value
        if value is None:
            self.missed(key)
            return None
        raise self.refuse(WRONG_TYPE)

    def missed(self, key: bytes) -> None:
        """A read found no such key: counted, and told to who wants to know."""
        require_bytes((key,))
        self.misses += 1
        if self.notifying:
            self.notify(KEY_MISS, b"keymiss", key)

    def refuse(self, text: bytes) -> CommandError:
        """The error for a read that found its key: that look-up counts although the call fails."""
        self.lookups += 1
        return CommandError(text)

    def expire(self, key: bytes) -> None:
        """Remove a key whose deadline has passed.

        If the log refuses, the key stays in memory and is only not shown: reads go on
        (REFUSE-WHOLE).  The next record is refused then, whatever the log would say: it may
        be of a write that goes by the key's absence, which the log does not know.
        """
        try:
            self.log(encode((b"DEL", key)))
        except CommandError as refusal:
            self._look_closer()
            self._refusal = refusal.text
            return
        self.changes -= 1
        self.db.remove(key)
        if self.notifying:
            self.notify(EXPIRED, b"expired", key)
