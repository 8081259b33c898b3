"""DEBUG LOADAOF and DEBUG RELOAD: the keyspace, made anew out of our own files while the server runs.

The open batch is committed, then the log is read back from its files, as at a start,
into a keyspace of its own, which takes the old one's place if it ends exactly where the
log does.  Nothing is changed if not.  What was committed is read through the kernel, so
it need not have reached the disk.  The loop stands still meanwhile: it is for tests.

RELOAD saves a snapshot and loads it, which changes nothing that the log does not know.  With
NOSAVE, NOFLUSH or MERGE memory becomes something else, so each key of the snapshot is logged,
as a RESTORE, before it is there (LOG-FIRST).  The snapshot is read whole first: one that is damaged, or that holds
a key that is there already (NOFLUSH without MERGE, which ends stock), changes nothing.

It must not know: how commands work.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from perdure.server import startup
from perdure.server.commands.dumping import payload_of
from perdure.server.snapshots import load_file
from perdure.server.touched import commands_of
from perdure.snapshot.keyspace import Loader
from perdure.snapshot.rdb.errors import RdbError
from perdure.store.command import LOGGED, find
from perdure.store.database import Database, Keyspace
from perdure.store.errors import CommandError
from perdure.store.replay import ReplayError, replay
from perdure.store.resp import encode
from perdure.store.save_errors import BARE, RELOAD_FAILED
from perdure.store.tx import NoLog, Tx
from perdure.wal.damage import LogDamaged
from perdure.wal.recovery import read_log

if TYPE_CHECKING:
    from perdure.server.server import Server


def load_again(server: Server) -> str:
    """Do it; why it could not be done, or ""."""
    engine, writer = server.engine, server.writer
    if not hasattr(writer, "lsn"):
        return "there is no log to load: appendonly is off"
    if engine.tx.group_is_open:
        return "a transaction is open, and is in the log whole or not at all"
    engine.commit_now()
    if engine.tx.records or writer.busy or writer.refusing is not None:
        return "the log is busy or takes no writes"
    keyspace = Keyspace(len(server.keyspace.databases))
    tx = Tx(keyspace, NoLog(), Random(0), server.type_limits)

    def apply(payload: bytes) -> int:
        commands = commands_of(payload)
        tx.clock_ms = server.now_ms()
        replay(tx, commands)
        tx.take()
        return len(commands)

    place = startup.place_of(server)
    load_base = startup.base_loader(server, server.log_fs, keyspace)
    try:
        recovery = read_log(
            server.log_fs, place.directory, place.basename, apply, load_truncated=True, load_base=load_base
        )
    except (LogDamaged, ReplayError, OSError) as failure:
        return f"the log cannot be read back: {failure}"
    if recovery.end.lsn != writer.lsn:
        return f"the log ends at {recovery.end.lsn} on the disk, and at {writer.lsn} here"
    _exchange(server, keyspace)
    return ""


def _exchange(server: Server, keyspace: Keyspace) -> None:
    """Put what was loaded in the place of what was there."""
    old, tx = server.keyspace, server.tx
    old.flush_all()
    for empty, loaded in zip(old.databases, keyspace.databases, strict=True):
        loaded.keep_as(empty)
    old.databases[:] = keyspace.databases
    old.warm = keyspace.warm
    tx.select(tx.db_index)


# ---- the snapshot ---------------------------------------------------------------------------


def reload_snapshot(server: Server, *, save: bool, flush: bool, merge: bool) -> None:
    """DEBUG RELOAD.  CommandError, and the log says why, if it could not be done."""
    saves = server.saves
    if save and not saves.save():
        raise CommandError(BARE)
    keyspace = Keyspace(len(server.keyspace.databases))
    as_it_is = save and flush
    now_ms = None if as_it_is else server.now_ms()
    try:
        loader = load_file(
            server, server.log_fs, saves.path, keyspace, lambda loader, offset: None, now_ms=now_ms, libraries=False
        )
    except (RdbError, OSError) as failure:
        server.log.warning(f"DEBUG RELOAD: {failure}")
        raise CommandError(RELOAD_FAILED) from None
    if as_it_is:
        _exchange(server, keyspace)
    else:
        _take_in(server, loader, flush=flush, merge=merge)
    saves.loaded(loader.keys, loader.expired)
    server.log.notice("DB reloaded by DEBUG RELOAD")


def _take_in(server: Server, loader: Loader, *, flush: bool, merge: bool) -> None:
    """Log and run what makes memory what was loaded, or what it has and what was loaded."""
    tx, loaded = server.tx, loader.keyspace.databases
    if not flush and not merge:
        for index, (have, new) in enumerate(zip(server.keyspace.databases, loaded, strict=True)):
            both = next((key for key in new if key in have), None)
            if both is not None:
                server.log.warning(f"DEBUG RELOAD: the key {both!r} of database {index} is there already")
                raise CommandError(RELOAD_FAILED)
    before = tx.db_index
    try:
        if flush and server.keyspace.key_count():
            tx.log(encode((b"FLUSHALL",)))
            server.keyspace.flush_all()
        for code in loader.functions:
            _run(tx, [b"FUNCTION", b"LOAD", b"REPLACE", code])
        for index, database in enumerate(loaded):
            tx.select(index)
            for argv in _restores(server, database):
                _run(tx, argv)
    finally:
        tx.select(before)


def _restores(server: Server, database: Database) -> Iterator[list[bytes]]:
    for key, value in dict.items(database):
        deadline = b"%d" % database.expires.get(key, 0)
        yield [b"RESTORE", key, deadline, payload_of(server.tx, value), b"REPLACE", b"ABSTTL"]


def _run(tx: Tx, argv: list[bytes]) -> None:
    entry = find(argv, LOGGED)
    assert entry is not None
    entry.handler(tx, argv)
