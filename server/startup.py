"""From a data directory to a server that answers: recovery, then the log of this run.

The log is read and replayed in a thread of its own, so that clients are answered
(``-LOADING``) meanwhile.  Only when all of it has been read is anything on the disk
changed (HANDS-OFF): a torn tail cut, a new INCR file begun.

``appendonly no``: nothing is read and nothing is written.

It must not know: sockets, how a record is framed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from perdure.server.lock import DirectoryLock
from perdure.server.log_gate import NoLogWriter
from perdure.server.scripting.libraries import libraries_of
from perdure.server.server import Server
from perdure.server.touched import commands_of
from perdure.snapshot.base import load_base
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError
from perdure.store.replay import ReplayError, replay
from perdure.store.tx import NoLog, Tx
from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.executor import Clock, Executor, SystemClock, ThreadExecutor
from perdure.wal.filesystem import Filesystem
from perdure.wal.recovery import BaseRead, Cut, LoadBase, Recovery, mend, read_log
from perdure.wal.writer import LogWriter

_REPORT_EVERY_S = 2.0


class StartRefused(Exception):
    """The server cannot start on this directory; the text says why and names the file."""


@dataclass(slots=True)
class LogPlace:
    """Where the log is."""

    data_directory: str
    directory: str
    basename: str


def place_of(server: Server) -> LogPlace:
    """The log's place by the configuration."""
    data = os.path.abspath(server.config["dir"])
    return LogPlace(data, os.path.join(data, server.config["appenddirname"]), server.config["appendfilename"])


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
        used = base.facts.get(b"used-mem", b"")
        server.load.used_memory = int(used) if used.isdigit() else 0
        libraries = libraries_of(keyspace)
        for code in base.functions:
            try:
                libraries.put(libraries.prepare(code, replace=False, timed=False))
            except CommandError as refusal:
                reason = f"a library of functions: {refusal.text.decode('utf-8', 'backslashreplace')}"
                raise LogDamaged(path, 0, reason) from None
        return BaseRead(base.end, base.keys)

    return load_into


async def recover(server: Server, fs: Filesystem, held: DirectoryLock) -> None:
    """Load, mend a torn tail, begin this run's log; then the server is no longer loading."""
    place = place_of(server)
    server.log_fs = fs
    if not server.config["appendonly"]:
        _refuse_snapshot(server, fs)
        held.sign()
        server.start_log(NoLogWriter())
        return
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    recovery = await loop.run_in_executor(None, load, server, fs, place)
    server.recovery = recovery
    if not recovery.found:
        _refuse_snapshot(server, fs)
    for line in describe(server, recovery, time.monotonic() - began):
        server.log.notice(line)
    held.sign()
    mend(fs, place.directory, recovery)
    if recovery.cut is not None:
        server.log.warning(_cut_line(recovery.cut))
    server.start_log(open_writer(server, fs, place, recovery))


def _refuse_snapshot(server: Server, fs: Filesystem) -> None:
    """A snapshot that would be passed over in silence is a keyspace that seems lost."""
    path = os.path.join(server.config["dir"], server.config["dbfilename"])
    if fs.exists(path) and fs.size(path):
        raise StartRefused(
            f"{path}: there is a snapshot here and no log, and this version of perdure cannot read RDB files. "
            "Let redis-server 7 turn it into a log in AOF form (CONFIG SET aof-use-rdb-preamble no, then "
            "CONFIG SET appendonly yes), or move the file away to start empty"
        )


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
    elif not isinstance(refusal, (StartRefused, RdbBaseUnsupported, ReplayError)):
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
    config = server.config
    writer = LogWriter(
        fs,
        place.directory,
        place.basename,
        recovery.end,
        executor or ThreadExecutor(server.loop.call_soon_threadsafe),
        clock or SystemClock(),
        config["appendfsync"],
        new_log_id=b"%032x" % server.rng.getrandbits(128),
        timestamps=config["aof-timestamp-enabled"],
        on_progress=server.engine.log_progressed,
    )
    fs.make_directory(place.directory)
    writer.open()
    return writer


def describe(server: Server, recovery: Recovery, seconds: float) -> list[str]:
    """What was recovered, in lines for the log."""
    if not recovery.found:
        return ["No log yet: starting empty"]
    lines = [
        f"Log recovered: {server.keyspace.key_count()} keys from {recovery.commands} commands "
        f"in {recovery.files} files, up to lsn {recovery.end.lsn}, in {seconds:.3f} seconds"
    ]
    return lines + [f"Unverified: {line}" for line in recovery.unverified]
