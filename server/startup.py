"""From a data directory to a server that answers: recovery, then the log of this run.

The log is read and replayed in a thread of its own, so that clients are answered
(``-LOADING``) meanwhile.  Only when all of it has been read is anything on the disk
changed (HANDS-OFF): a torn tail cut, a new INCR file begun.  Where there is no log, or none is
wanted (``appendonly no``), a snapshot is what is loaded (``server.restoring``).

It must not know: sockets, how a record is framed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import traceback
from collections.abc import Callable
from random import Random

from perdure.server import restoring
from perdure.server.lock import DirectoryLock
from perdure.server.log_gate import NoLogWriter
from perdure.server.log_switch import LogPlace, executor_of, new_writer, place_of
from perdure.server.restoring import SnapshotRefused
from perdure.server.server import Server
from perdure.server.snapshots import load_libraries, memory_used
from perdure.server.touched import commands_of
from perdure.snapshot.base import load_base
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError
from perdure.store.replay import ReplayError, replay
from perdure.store.tx import NoLog, Tx
from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.executor import Clock, Executor
from perdure.wal.filesystem import Filesystem
from perdure.wal.manifest import manifest_name
from perdure.wal.recovery import BaseRead, Cut, LoadBase, Recovery, mend, read_log
from perdure.wal.writer import LogWriter

__all__ = [
    "LogPlace", "StartRefused", "abandon", "base_loader", "describe", "load", "open_writer", "place_of", "recover",
    "refusal_lines", "restore_snapshot",
]  # fmt: skip

_REPORT_EVERY_S = 2.0


class StartRefused(Exception):
    """The server cannot start on this directory; the text says why and names the file."""


def load(server: Server, fs: Filesystem, place: LogPlace) -> Recovery:
    """Read the log into the keyspace; changes nothing on the disk.  Runs in any thread."""
    tx = Tx(server.keyspace, NoLog(), Random(0), server.type_limits)
    progress = server.load
    progress.started_s = time.time()
    reported = progress.started_s

    def apply(payload: bytes) -> int:
        if progress.abandoned:
            raise StartRefused("told to end while loading")
        commands = commands_of(payload)
        tx.clock_ms = server.now_ms()
        replay(tx, commands)
        tx.take()
        return sum(argv[0] != b"SELECT" for argv in commands)

    def report(done: int, total: int, commands: int) -> None:
        nonlocal reported
        progress.loaded_bytes, progress.total_bytes, progress.commands = done, total, commands
        now = time.time()
        if now - reported >= _REPORT_EVERY_S:
            reported = now
            rate = commands / max(now - progress.started_s, 0.001)
            percent = 100 * done / max(total, 1)
            server.log.notice(
                f"Loading the log: {percent:.0f} %, {commands} commands, "
                f"{server.keyspace.key_count()} keys, {rate:.0f} commands/s"
            )

    gc.disable()
    try:
        return read_log(
            fs,
            place.directory,
            place.basename,
            apply,
            load_truncated=server.config["aof-load-truncated"],
            progress=report,
            load_base=base_loader(server, fs, server.keyspace),
        )
    finally:
        gc.enable()
        gc.freeze()


def base_loader(server: Server, fs: Filesystem, keyspace: Keyspace) -> LoadBase:
    """What ``read_log`` needs to load a BASE in RDB form into ``keyspace``."""

    def load_into(path: str, tell: Callable[[int], None]) -> BaseRead:
        def told(done: int) -> None:
            if server.load.abandoned:
                raise StartRefused("told to end while loading")
            tell(done)

        keep_uses = server.keyspace.databases[0].uses is not None
        base = load_base(fs, path, keyspace, server.type_limits, told, keep_uses=keep_uses)
        server.load.used_memory = memory_used(base.facts)
        try:
            load_libraries(keyspace, base.functions)
        except CommandError as refusal:
            reason = f"a library of functions: {refusal.text.decode('utf-8', 'backslashreplace')}"
            raise LogDamaged(path, 0, reason) from None
        return BaseRead(base.end, base.keys)

    return load_into


async def recover(server: Server, fs: Filesystem, held: DirectoryLock) -> None:
    """Load, mend a torn tail, begin this run's log; then the server is no longer loading."""
    place = place_of(server)
    server.log_fs = fs
    loop = asyncio.get_running_loop()
    if not server.config["appendonly"]:
        await loop.run_in_executor(None, restore_snapshot, server, fs)
        _warn_of_log(server, fs, place)
        held.sign()
        server.saves.remove_leftovers()
        server.start_log(NoLogWriter())
        return
    began = time.monotonic()
    recovery = await loop.run_in_executor(None, load, server, fs, place)
    for line in describe(server, recovery, time.monotonic() - began):
        server.log.notice(line)
    restored = not recovery.found and await loop.run_in_executor(None, restore_snapshot, server, fs)
    if recovery.found and not server.keyspace.key_count() and restoring.exists(server, fs):
        server.log.warning(f"The log counts, and it is empty: {server.saves.path} is not loaded")
    server.recovery = recovery
    held.sign()
    mend(fs, place.directory, recovery)
    if recovery.cut is not None:
        server.log.warning(_cut_line(recovery.cut))
    server.saves.remove_leftovers()
    if restored:
        recovery = await loop.run_in_executor(None, restoring.begin_log, server, fs, place, recovery)
        server.log.notice(f"The snapshot is the BASE of a new log, {recovery.end.entries[0].name}")
    server.start_log(open_writer(server, fs, place, recovery))


def restore_snapshot(server: Server, fs: Filesystem) -> bool:
    """Load the snapshot if there is one; was there?  SnapshotRefused.  Runs in any thread."""
    if not restoring.exists(server, fs):
        return False
    began = time.monotonic()
    gc.disable()
    try:
        loader = restoring.restore(server, fs)
    finally:
        gc.enable()
        gc.freeze()
    for line in restoring.describe(server, loader, time.monotonic() - began):
        server.log.notice(line)
    return True


def _warn_of_log(server: Server, fs: Filesystem, place: LogPlace) -> None:
    """A log that is passed over in silence is a keyspace that seems lost."""
    if fs.exists(os.path.join(place.directory, manifest_name(place.basename))):
        server.log.warning(f"There is a log in {place.directory}, and it is not read: 'appendonly' is no")


def _cut_line(cut: Cut) -> str:
    what = "zeros" if cut.zeros else "set aside"
    if cut.commands:
        what += f", {cut.commands} commands begin in them"
    return f"Torn tail: {cut.file} truncated at byte {cut.offset}, {cut.bytes} bytes cut ({what}): {cut.reason}"


def refusal_lines(refusal: BaseException) -> list[str]:
    """Why the server does not start, for its log."""
    if isinstance(refusal, OSError):
        where = f"{refusal.filename}: " if refusal.filename else ""
        return [f"Cannot start: {where}{refusal.strerror or refusal}"]
    lines = [f"Cannot start: {refusal}"]
    if isinstance(refusal, LogDamaged):
        lines.append("Nothing was changed. 'perdure check DIRECTORY' tells what is damaged")
    elif not isinstance(refusal, (StartRefused, SnapshotRefused, RdbBaseUnsupported, ReplayError)):
        lines += traceback.format_exception(refusal)
    return lines


def abandon(server: Server) -> None:
    """The process is told to end while it loads: the thread that reads must not outlive the loop."""
    server.load.abandoned = True


def open_writer(
    server: Server,
    fs: Filesystem,
    place: LogPlace,
    recovery: Recovery,
    executor: Executor | None = None,
    clock: Clock | None = None,
) -> LogWriter:
    """Begin the INCR file of this run; slow calls run on threads and by the system's time unless told otherwise."""
    server.log_fs, server.log_executor, server.log_clock = fs, executor, clock
    fs.make_directory(place.directory)
    writer = new_writer(server, recovery.end, executor_of(server))
    writer.open()
    base = next((entry for entry in recovery.end.entries if entry.kind == "b"), None)
    server.rewriter.base_bytes = 0 if base is None else base.bytes or 0
    return writer


def describe(server: Server, recovery: Recovery, seconds: float) -> list[str]:
    """What was recovered, in lines for the log."""
    if not recovery.found:
        return ["No log yet"]
    lines = [
        f"Log recovered: {server.keyspace.key_count()} keys from {recovery.commands} commands "
        f"in {recovery.files} files, up to lsn {recovery.end.lsn}, in {seconds:.3f} seconds"
    ]
    return lines + [f"Unverified: {line}" for line in recovery.unverified]
