"""A keyspace out of an RDB file, and a keyspace as one.

Loading follows stock: what has expired by the time given is left out and counted, and so
is an aggregate without members, which an old bug wrote; a key that stands there twice is an
error, as is a database that there is not.  What belongs to the server and not to the keyspace
(functions, facts) is kept in ``Loader.functions`` and ``Loader.facts``.

A file may be loaded step by step, so that the owner can answer others and tell how far it is.

It must not know: files, forks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import (
    Aux,
    End,
    Entry,
    Event,
    Function,
    SkippedModule,
)
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.writer import Writer
from perdure.snapshot.store_values import ENCODERS, MAKERS, expiring_fields, is_empty
from perdure.store import value_types
from perdure.store.database import Database, Keyspace
from perdure.store.hash_value import ExpiringHash
from perdure.store.value_types import DEFAULT_LIMITS, Limits

_NO_DATABASE = -1

# ---- loading ---------------------------------------------------------------------------


class Loader:
    """Loads what a reader yields into a keyspace.

    ``now_ms``      keys that expired before it are left out; None: none are (a log goes on behind the file,
                    and says itself what expired)
    ``keep_uses``   is a database to keep how keys were used, where the file says so, if it does not yet?
    ``overwrite``   does a key that is there already give way?  Else it is an error

    ``keys, expired, empty, modules``  how many keys were loaded, and how many left out, by reason
    ``functions``   the sources of libraries
    ``facts``       the AUX fields
    ``end``         where the file ended, None before that
    """

    def __init__(
        self,
        reader: Reader,
        keyspace: Keyspace,
        limits: Limits,
        *,
        now_ms: int | None = None,
        keep_uses: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.reader = reader
        self.keyspace = keyspace
        self.limits = {**DEFAULT_LIMITS, **limits}
        self.now_ms = now_ms
        self.keep_uses = keep_uses
        self.overwrite = overwrite
        self.keys = self.expired = self.empty = self.modules = 0
        self.functions: list[bytes] = []
        self.facts: dict[bytes, bytes] = {}
        self.end: End | None = None
        self._events: Iterator[Event] = iter(reader)

    def all(self) -> Loader:
        """Load everything."""
        while self.step(1 << 20):
            pass
        return self

    def step(self, count: int) -> bool:
        """Load up to ``count`` events; False at the end.  RdbError as the reader raises it, and see above."""
        before = self.keys
        databases = self.keyspace.databases
        horizon_ms = -(1 << 63) if self.now_ms is None else self.now_ms
        db: Database = databases[0]
        number = _NO_DATABASE
        keys = 0
        for event in islice(self._events, count):
            if event.__class__ is not Entry:
                self._note(event)
                continue
            index, key, kind, value, expires_ms, idle_s, freq, code, _ = event
            if index != number:
                number = index
                db = self._database(event)
            if expires_ms is not None and expires_ms < horizon_ms:
                self.expired += 1
                continue
            if key in db:
                self._twice(event, db)
            if kind != b"string":
                if is_empty(value):
                    self.empty += 1
                    continue
                value = MAKERS[kind](value, code, self.keyspace, self.limits)
                put(db, key, value, expires_ms)
            else:
                db.order.append(key)
                db[key] = value
                if expires_ms is not None:
                    db.expire_at(key, expires_ms)
            keys += 1
            if (idle_s is not None or freq is not None) and (self.keep_uses or db.uses is not None):
                db.set_use(self.keyspace.clock, key, None if idle_s is None else idle_s * 1000, freq)
        self.keys = before + keys
        return self.end is None

    def _database(self, entry: Entry) -> Database:
        databases = self.keyspace.databases
        if entry.db >= len(databases):
            raise self._wrong(entry, f"it is in database {entry.db}, and there are {len(databases)}")
        return databases[entry.db]

    def _wrong(self, entry: Entry, reason: str) -> RdbError:
        return RdbError(reason).at(self.reader.source.name, entry.offset, entry.code, entry.key)

    def _twice(self, entry: Entry, db: Database) -> None:
        if not self.overwrite:
            raise self._wrong(entry, "the key is there already")
        db.remove(entry.key)

    def _note(self, event: Event) -> None:
        if isinstance(event, Aux):
            self.facts[event.key] = event.value
        elif isinstance(event, Function):
            self.functions.append(event.code)
        elif isinstance(event, SkippedModule):
            self.modules += 1
        elif isinstance(event, End):
            self.end = event


def put(db: Database, key: bytes, value: Any, expires_ms: int | None) -> None:
    """Put a value of the store under a key, in the place of what is there, with its deadlines."""
    db.replace(key, value)
    if expires_ms is not None:
        db.expire_at(key, expires_ms)
    first_deadline_ms = value_types.of(value).first_deadline_ms
    if first_deadline_ms is not None and (first_ms := first_deadline_ms(value)) is not None:
        db.member_expires_at(key, first_ms)


# ---- dumping ---------------------------------------------------------------------------

Idle = Callable[[Database, bytes], tuple[int | None, int | None]]
"""For a key: seconds since it was last used, and how often it is used; None for what is not to be in the file."""


def dump(
    keyspace: Keyspace,
    writer: Writer,
    *,
    facts: Iterable[tuple[bytes, bytes]] = (),
    functions: Iterable[bytes] = (),
    idle: Idle | None = None,
    before_each: Callable[[], None] | None = None,
) -> int:
    """Write a whole file of a keyspace; how many bytes it has.  ``before_each`` is called before each key.

    Strings that do not expire come first in each database: they need the least looking at.
    Keys that have expired are written, as stock does.
    """
    writer.head(facts)
    for code in functions:
        writer.function(code)
    for index, db in enumerate(keyspace.databases):
        if db:
            writer.select(index, len(db), len(db.expires))
            _dump_database(db, writer, idle, before_each)
    return writer.end()


@dataclass(slots=True)
class Form:
    """How a keyspace is written as RDB.

    ``facts``        the AUX fields
    ``compress``     stock's ``rdbcompression``; ``checksum``: ``rdbchecksum``
    ``limits``       thresholds by option name
    ``idle``         how keys are used, if that is to be in it
    ``before_each``  is called before each key
    """

    facts: list[tuple[bytes, bytes]] = field(default_factory=list)
    compress: bool = True
    checksum: bool = True
    limits: Limits = field(default_factory=dict)
    idle: Idle | None = None
    before_each: Callable[[], None] | None = None


def write_rdb(
    keyspace: Keyspace,
    functions: Iterable[bytes],
    form: Form,
    sink: Callable[[bytes], None],
    report: Callable[[int, int], None],
) -> None:
    """Write a whole file, with what is only ours, into ``sink``; ``report(keys, of so many)`` hears how far it is."""
    total = keyspace.key_count()

    def give(data: bytes) -> None:
        sink(data)
        report(writer.keys, total)

    writer = Writer(give, compress=form.compress, checksum=form.checksum, limits=form.limits, own_facts=True)
    dump(keyspace, writer, facts=form.facts, functions=functions, idle=form.idle, before_each=form.before_each)


def _plain_strings(db: Database) -> Iterator[tuple[bytes, bytes]]:
    if not db.expires:
        return ((key, value) for key, value in dict.items(db) if value.__class__ is bytes)
    expires = db.expires
    return ((key, value) for key, value in dict.items(db) if value.__class__ is bytes and key not in expires)


def _dump_database(db: Database, writer: Writer, idle: Idle | None, before_each: Callable[[], None] | None) -> None:
    deadline_of = db.expires.get
    plain_first = idle is None and before_each is None
    if plain_first:
        writer.strings(_plain_strings(db))
    idle_s = freq = None
    for key, value in dict.items(db):
        kind = value.__class__
        deadline_ms = deadline_of(key)
        if plain_first and kind is bytes and deadline_ms is None:
            continue
        if before_each is not None:
            before_each()
        if idle is not None:
            idle_s, freq = idle(db, key)
        if kind is ExpiringHash:
            writer.entry(key, b"hash", expiring_fields(value), deadline_ms, idle_s, freq, value.big)
        else:
            encode = ENCODERS[kind]
            writer.encoded(key, partial(encode, value), deadline_ms, idle_s, freq)
