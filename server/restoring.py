"""A snapshot as the data to start from: ``dump.rdb`` where there is no log.

=================  ==========  =================================================================
``appendonly``     a log is    what is loaded
=================  ==========  =================================================================
yes                there       the log, whatever else is there, as in stock
yes                not there   the snapshot, which becomes the BASE of a new log before anyone is
                               served (stock starts empty, and the next save replaces the data)
no                 or not      the snapshot; a log is not read and not changed, which is said
=================  ==========  =================================================================

The BASE is written from memory, not copied: what has expired was not loaded, and commands in
the log behind the BASE must meet what they met.  Until its manifest has its name there is no log::

    the manifest under a name that says: begun, never finished
    the BASE
    rename of the manifest                                      from here on the log counts

A snapshot that cannot be read refuses the start, and nothing on the disk is changed.

It must not know: how clients are served meanwhile.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from perdure.server.snapshots import Snapshot, load_file, memory_used
from perdure.snapshot.files import SYNC_BYTES, write_file
from perdure.snapshot.keyspace import Loader
from perdure.snapshot.rdb.errors import RdbError
from perdure.store.errors import CommandError
from perdure.wal.atomic import temp_name
from perdure.wal.filesystem import Filesystem
from perdure.wal.manifest import TEMP_BASE_PREFIX, Entry, base_name, manifest_name, render_stock, starting_name
from perdure.wal.recovery import BaseRead, Recovery, read_log

if TYPE_CHECKING:
    from perdure.server.server import Server
    from perdure.server.startup import LogPlace

REPORT_EVERY_S = 2.0


class SnapshotRefused(Exception):
    """The snapshot cannot be loaded; the text says why and names the file."""


def exists(server: Server, fs: Filesystem) -> bool:
    """Is there a snapshot to load?"""
    path = server.saves.path
    return fs.exists(path) and fs.size(path) > 0


def restore(server: Server, fs: Filesystem) -> Loader:
    """Load the snapshot into the keyspace; changes nothing on the disk.  Runs in any thread.  SnapshotRefused."""
    path = server.saves.path
    progress = server.load
    began = reported = time.time()
    progress.started_s = began
    progress.total_bytes = fs.size(path)

    def tell(loader: Loader, offset: int) -> None:
        nonlocal reported
        if progress.abandoned:
            raise SnapshotRefused("told to end while loading")
        progress.loaded_bytes, progress.commands = offset, loader.keys
        progress.used_memory = memory_used(loader.facts)
        now = time.time()
        if now - reported >= REPORT_EVERY_S:
            reported = now
            percent = 100 * offset / max(progress.total_bytes, 1)
            rate = loader.keys / max(now - began, 0.001)
            server.log.notice(f"Loading the snapshot: {percent:.0f} %, {loader.keys} keys, {rate:.0f} keys/s")

    try:
        loader = load_file(server, fs, path, server.keyspace, tell, now_ms=server.now_ms())
    except RdbError as error:
        raise SnapshotRefused(f"the snapshot cannot be loaded: {error}") from None
    except CommandError as refusal:
        reason = refusal.text.decode("utf-8", "backslashreplace")
        raise SnapshotRefused(f"the snapshot cannot be loaded: {path}: a library of functions: {reason}") from None
    server.saves.loaded(loader.keys, loader.expired)
    return loader


def describe(server: Server, loader: Loader, seconds: float) -> list[str]:
    """What was loaded, in lines for the log."""
    version = loader.facts.get(b"redis-ver", b"?").decode("utf-8", "backslashreplace")
    lines = [
        f"Snapshot {server.saves.path} loaded, produced by version {version}: keys loaded: {loader.keys}, "
        f"keys expired: {loader.expired}, in {seconds:.3f} seconds"
    ]
    if loader.empty:
        lines.append(f"{loader.empty} keys with empty values, which an old bug wrote, were left out")
    return lines


def begin_log(server: Server, fs: Filesystem, place: LogPlace, recovery: Recovery) -> Recovery:
    """Make memory the BASE of a new log, where there is none; what recovery would say of it.  OSError, and none is."""
    seq = recovery.end.next_seq
    snapshot = Snapshot(server, aof_base=True)
    base = Entry(base_name(place.basename, seq, rdb=True), seq, "b")
    manifest = render_stock((base,))
    starting = starting_name(place.basename)
    fs.make_directory(place.directory)
    fs.sync_directory(place.data_directory)
    write_file(fs, place.directory, temp_name(starting), starting, lambda sink: sink(manifest), SYNC_BYTES)
    snapshot.save(fs, place.directory, f"{TEMP_BASE_PREFIX}{seq}.rdb", base.name, lambda done, total: None)
    fs.rename(os.path.join(place.directory, starting), os.path.join(place.directory, manifest_name(place.basename)))
    fs.sync_directory(place.directory)
    return read_log(
        fs,
        place.directory,
        place.basename,
        lambda payload: 0,
        load_base=lambda path, tell: BaseRead(fs.size(path), snapshot.keys),
    )
