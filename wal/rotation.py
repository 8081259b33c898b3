"""A new INCR file, and the manifest that names it: at the start, and after a failed fsync.

NO-SECOND-FSYNC: after a failed fsync the kernel calls the unwritten pages clean,
so no later fsync of that file says anything about them.  The batches since the
last good fsync, which the writer kept, go into a new file, in two stages, each of
which is repeated as a whole until it succeeds:

1. prepare: create the file, write start line and batches, fsync it, fsync the
   directory.  What a failed attempt leaves is removed, and the next attempt takes
   a new name: its pages are not trusted either.
2. switch: replace the manifest (ATOMIC-FILE) by one that names the new file
   behind the old one.  Repeated with the same file, whose content is durable.

Then the old file is cut back to where it was durable.  A crash between the switch
and that cut leaves both: the new file's start lsn lies below the old one's end,
and the reader lets it supersede that tail.

The directory is fsynced before the manifest is renamed, so a manifest never names
a file that a crash can take away; files are unlinked only when no manifest that a
crash can bring back names them.

Everything here runs as a job (see ``executor``): it takes what it needs and
touches nothing of the writer's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure.wal import format as lines
from perdure.wal.atomic import remove_quietly, replace_file, write_all
from perdure.wal.manifest import Entry, incr_name, render

if TYPE_CHECKING:
    from perdure.wal.filesystem import File, Filesystem

CHUNK_BYTES = 1 << 20
"""Kept batches are small and many: they are written in pieces of about this size."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the log is, who it is, and the name of its manifest."""

    fs: Filesystem
    directory: str
    basename: str
    log_id: bytes
    manifest: str


@dataclass(frozen=True, slots=True)
class NewFile:
    """An INCR file whose whole content is durable, still open."""

    file: File
    entry: Entry
    size: int
    chain: int


@dataclass(frozen=True, slots=True)
class OldFile:
    """The file that a rotation leaves behind, and how much of it is durable."""

    file: File
    durable_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt to rotate: done if there is no error; ``prepared`` serves the next attempt."""

    prepared: NewFile | None
    error: OSError | None


def prepare(place: Place, seq: int, lsn: int, prev: int, payloads: Sequence[bytes], unix_ms: int) -> NewFile:
    """A new INCR file that holds ``payloads`` as batches from ``lsn``, durable with its name.

    OSError: the file was removed again if that was possible.
    """
    fs, name = place.fs, incr_name(place.basename, seq)
    path = os.path.join(place.directory, name)
    file = fs.create(path)
    try:
        start, chain = lines.start_line(place.log_id, lsn, prev)
        seed, durable = lines.seed_of(place.log_id), lsn
        parts, waiting, size, at = [start], len(start), 0, lsn
        for payload in payloads:
            header, chain = lines.batch_header(seed, at, payload, durable, unix_ms, chain)
            parts += (header, payload)
            waiting += len(header) + len(payload)
            at += len(payload)
            if waiting >= CHUNK_BYTES:
                write_all(file, b"".join(parts))
                size += waiting
                parts, waiting = [], 0
        if waiting:
            write_all(file, b"".join(parts))
            size += waiting
        file.sync()
        fs.sync_directory(place.directory)
    except OSError:
        with contextlib.suppress(OSError):
            file.close()
        remove_quietly(fs, path)
        raise
    return NewFile(file, Entry(name, seq, "i", lsn=lsn, prev=prev), size, chain)


def switch(place: Place, entries: Sequence[Entry]) -> None:
    """Make the manifest name ``entries``, durably."""
    replace_file(place.fs, place.directory, place.manifest, render(place.log_id, entries))


def cut_back(old: OldFile) -> None:
    """Cut a file that is not trusted any more to its durable bytes, as well as it goes, and close it."""
    with contextlib.suppress(OSError):
        old.file.truncate(old.durable_bytes)
        old.file.sync()
    with contextlib.suppress(OSError):
        old.file.close()


def rotate(
    place: Place,
    entries: Sequence[Entry],
    old: OldFile,
    payloads: Sequence[bytes],
    *,
    seq: int,
    lsn: int,
    prev: int,
    unix_ms: int,
    prepared: NewFile | None,
) -> Outcome:
    """One attempt to go on in a new file after a failed fsync of ``old``; never raises OSError.

    ``entries`` ends with the old file's; ``lsn`` and ``prev`` are the durable point;
    ``prepared`` is what the attempt before came to.
    """
    try:
        if prepared is None:
            prepared = prepare(place, seq, lsn, prev, payloads, unix_ms)
        switch(place, (*entries, prepared.entry))
    except OSError as error:
        return Outcome(prepared, error)
    cut_back(old)
    return Outcome(prepared, None)
