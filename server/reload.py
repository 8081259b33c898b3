"""DEBUG LOADAOF: the keyspace, made anew out of our own log while the server runs.

The open batch is committed, then the log is read back from its files, as at a start,
into a keyspace of its own, which takes the old one's place if it ends exactly where the
log does.  Nothing is changed if not.  What was committed is read through the kernel, so
it need not have reached the disk.  The loop stands still meanwhile: it is for tests.

It must not know: how commands work.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from perdure.server import startup
from perdure.server.touched import commands_of
from perdure.store.database import Keyspace
from perdure.store.replay import ReplayError, replay
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
