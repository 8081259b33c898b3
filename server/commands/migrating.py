"""MIGRATE: its command line, and what it means for keys.  How keys get there: ``server.migration``."""

from __future__ import annotations

import re

from perdure.server.client import IN_MULTI
from perdure.server.commands.dumping import payload_of
from perdure.server.migration import Job
from perdure.server.tx import ServerTx
from perdure.store.command import MOVABLE_KEYS, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.dump_errors import MIGRATE_KEYS_AND_KEY
from perdure.store.errors import SYNTAX, CommandError
from perdure.store.events import GENERIC
from perdure.store.hash_value import ExpiringHash
from perdure.store.numbers import parse_integer
from perdure.store.resp import encode

_KEY, _OPTIONS = 3, 6
_DEFAULT_TIMEOUT_MS = 1000
_MOST_TIMEOUT_MS = 1 << 31
_NO_KEY = b"+NOKEY\r\n"
_WORDS = {b"COPY": 0, b"REPLACE": 0, b"AUTH": 1, b"AUTH2": 2}
"""Options, and how many arguments each has."""
_port = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]{1,18})").match


def _keys(argv: list[bytes]) -> list[bytes]:
    at = _OPTIONS
    while at < len(argv):
        word = argv[at].upper()
        if word == b"KEYS":
            return argv[at + 1 :] if not argv[_KEY] else argv[_KEY : _KEY + 1]
        at += 1 + _WORDS.get(word, 0)
    return argv[_KEY : _KEY + 1]


class _Options:
    """What stands behind the timeout."""

    __slots__ = ("copy", "keys", "password", "replace", "user")

    def __init__(self, argv: list[bytes]) -> None:
        self.copy = self.replace = False
        self.user: bytes | None = None
        self.password: bytes | None = None
        self.keys = argv[_KEY : _KEY + 1]
        at = _OPTIONS
        while at < len(argv):
            word = argv[at].upper()
            if word == b"KEYS":
                if argv[_KEY]:
                    raise CommandError(MIGRATE_KEYS_AND_KEY)
                self.keys = argv[at + 1 :]
                break
            more = _WORDS.get(word)
            if more is None or at + more >= len(argv):
                raise CommandError(SYNTAX)
            if word == b"COPY":
                self.copy = True
            elif word == b"REPLACE":
                self.replace = True
            else:
                self.password = argv[at + more]
                if word == b"AUTH2":
                    self.user = argv[at + 1]
            at += 1 + more

    def auth(self) -> list[bytes]:
        """The arguments of AUTH."""
        if self.password is None:
            return []
        return [self.password] if self.user is None else [self.user, self.password]


def _deletion(keys: list[bytes]) -> bytes:
    return encode((b"DEL", *keys))


def _delete(tx: ServerTx, keys: list[bytes]) -> None:
    """Log and do that these keys are gone; none that has gone already."""
    db = tx.db
    there = [key for key in dict.fromkeys(keys) if key in db]
    if not there:
        return
    tx.log(_deletion(there))
    for key in there:
        dispose(tx, db.remove(key))
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)


def _restore_line(tx: ServerTx, db_index: int, key: bytes, replace: bool) -> bytes | None:
    """A key as the RESTORE that makes it; None if it is not there, or not for long enough."""
    db = tx.keyspace.databases[db_index]
    value = dict.get(db, key)
    if value is None or (value.__class__ is ExpiringHash and not value):
        return None
    ttl = 0
    deadline_ms = db.expires.get(key)
    if deadline_ms is not None:
        ttl = deadline_ms - tx.server.now_ms()
        if ttl < 0:
            return None
        ttl = max(ttl, 1)
    line = [b"RESTORE", key, b"%d" % ttl, payload_of(tx, value)]
    return encode([*line, b"REPLACE"] if replace else line)


@command(
    "MIGRATE",
    arity=-6,
    flags=WRITE | MOVABLE_KEYS,
    keys_at=(3, 3, 1),
    find_keys=_keys,
    key_specs=(
        KeySpec(("RW", "access", "delete"), ("index", 3), ("range", 0, 1, 0)),
        KeySpec(("RW", "access", "delete", "incomplete"), ("keyword", "KEYS", -2), ("range", -1, 1, 0)),
    ),
    since="2.6.0",
    acl=("keyspace", "write", "slow", "dangerous"),
    tips=("nondeterministic_output",),
    syntax='host port <key | ""> destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] '
    "[KEYS key [key ...]]",
    history=(
        ("3.0.0", "Takes `COPY` and `REPLACE`."),
        ("3.0.6", "Takes `KEYS`."),
        ("4.0.7", "Takes `AUTH`."),
        ("6.0.0", "Takes `AUTH2`."),
    ),
    summary="Moves keys to another server, or copies them.",
    complexity="That of DUMP and DEL here and of RESTORE there, and O(N) for N bytes that go over the network",
)
def migrate(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH ... | AUTH2 ...] [KEYS key ...], timeout in ms"""
    options = _Options(argv)
    timeout_ms = parse_integer(argv[5])
    target_db = parse_integer(argv[4])
    if timeout_ms <= 0:
        timeout_ms = _DEFAULT_TIMEOUT_MS
    keys = []
    for key in options.keys:
        tx.lookups += 1
        if tx.lookup(key) is None:
            tx.missed(key)
        else:
            keys.append(key)
    if not keys:
        return _NO_KEY
    if not options.copy and not tx.in_group:
        tx.sink.admit(len(_deletion(keys)))  # nothing leaves that could not be deleted here
    port = _port(argv[2])
    db_index = tx.db_index
    job = Job(
        place=(argv[1], int(port[1]) if port else 0),
        db=target_db,
        timeout_s=min(timeout_ms, _MOST_TIMEOUT_MS) / 1000,
        auth=options.auth(),
        keys=keys,
        line=lambda key: _restore_line(tx, db_index, key, options.replace),
        delete=None if options.copy else _delete,
    )
    client = tx.client
    if client is None or client.connection is None or client.state & IN_MULTI or not tx.may_block:
        return tx.server.migrations.now(tx, job)
    return tx.server.migrations.later(client, argv, job)
