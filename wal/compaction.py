"""The writer's part in a rewrite: a new INCR file for what comes, a new BASE for what was.

A rewrite replaces the whole log up to a position by a BASE that holds what it came to.
Who makes the BASE is not the log's affair; the log does two things.

``turn_over``: what is committed from now on goes to a new INCR file, so that the BASE can
stand for all before it.  The owner calls it at a moment at which memory is what the log
says, and takes its picture of memory at that moment.  While the turn is under way the log
is ``busy``: what was committed is fsynced in its file, the new file is made, the manifest
names both, and only then a batch goes to the new one (a later file in the manifest says
that the one before is whole, so it has to be).  An answer waits for its batch as ever.  A
file that holds nothing yet is as good as a new one: then there is nothing to do, and
rewrites that fail do not pile up files.

``adopt``: the BASE takes the place of all files before the INCR that the turn began.  In
stock's order::

    rename the BASE to its name, fsync the directory
    manifest: the new BASE, the old files marked "h", the INCRs        from here on it counts
    unlink the old files, fsync the directory
    manifest: without them

Each step runs as a job, and one at a time with a rotation (NO-SECOND-FSYNC), which writes the
manifest as well.  Writes go on meanwhile.  A crash between any two leaves a manifest all of
whose files are there; what it does not name is removed at the next start.

A manifest that may or may not have been replaced (the rename or the directory's fsync
failed) is undecided: both are right, but nothing may be done that fits only one of them.
After a turn that is the state ``rotating``, which is repeated until it is decided; after
``adopt`` the manifest is written again until it is, before anything is unlinked.

A log that begins while the server runs has no BASE at first: its manifest then stands under
another name (``starting_name``), which no start reads as a log, until ``adopt`` gives it its own.

It must not know: keys, what is in a BASE.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from perdure.wal.atomic import put_in_place, remove_quietly, write_aside
from perdure.wal.jobs import as_os_error
from perdure.wal.manifest import Entry, manifest_name, render
from perdure.wal.rotation import NewFile, Place, prepare, switch

if TYPE_CHECKING:
    from perdure.wal.filesystem import File
    from perdure.wal.writer import LogWriter

CLEAN_FIRST_S, CLEAN_LAST_S = 0.5, 60.0


class Mark(NamedTuple):
    """Where a turn was made: ``lsn`` and ``prev`` are those of INCR number ``seq``, and of a BASE before it.

    ``base_seq``: the number for that BASE, which nobody else gets.
    """

    lsn: int
    prev: int
    seq: int
    base_seq: int


Turned = Callable[[Mark | None, OSError | None], None]
Adopted = Callable[[OSError | None], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """A BASE that is whole and durable under the name ``temp``; ``entry`` is its line in the manifest to be."""

    temp: str
    entry: Entry


# ---- what runs as a job -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn went: was the old file fsynced, the new one, the error, and may the manifest name it already?"""

    synced: bool
    new: NewFile | None
    error: OSError | None
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class OldFile:
    """The file that a turn leaves, and its size; ``torn``: there is something behind that."""

    file: File
    size: int
    torn: bool


def turn(place: Place, entries: Sequence[Entry], old: OldFile, seq: int, lsn: int, prev: int, unix_ms: int) -> Turn:
    """fsync ``old``, which ends at ``lsn``, and begin the next file there."""
    try:
        if old.torn:
            old.file.truncate(old.size)
        old.file.sync()
    except OSError as error:
        return Turn(False, None, error)
    try:
        new = prepare(place, seq, lsn, prev, (), unix_ms)
    except OSError as error:
        return Turn(True, None, error)
    name = place.manifest
    try:
        write_aside(place.fs, place.directory, name, render(place.log_id, (*entries, new.entry)))
    except OSError as error:
        with contextlib.suppress(OSError):
            new.file.close()
        remove_quietly(place.fs, os.path.join(place.directory, new.entry.name))
        return Turn(True, None, error)
    try:
        put_in_place(place.fs, place.directory, name)
    except OSError as error:
        return Turn(True, new, error, undecided=True)
    return Turn(True, new, None)


@dataclass(frozen=True, slots=True)
class Adoption:
    """How the BASE fared: the error, may the manifest name it already, and how long the other INCRs are."""

    error: OSError | None
    undecided: bool = False
    incr_bytes: int = 0


def adopt_base(place: Place, entries: Sequence[Entry], base: Finished) -> Adoption:
    """Give the BASE its name and have the manifest name ``entries``.

    With an error that is not ``undecided`` the BASE is removed again if that is possible.
    """
    fs, directory = place.fs, place.directory
    path = os.path.join(directory, base.entry.name)
    try:
        sizes = [fs.size(os.path.join(directory, e.name)) for e in entries if e.kind == "i"]
        fs.rename(os.path.join(directory, base.temp), path)
        fs.sync_directory(directory)
        write_aside(fs, directory, place.manifest, render(place.log_id, entries))
    except OSError as error:
        for name in (base.temp, base.entry.name):
            remove_quietly(fs, os.path.join(directory, name))
        return Adoption(error)
    incr_bytes = sum(sizes[:-1])
    try:
        put_in_place(fs, directory, place.manifest)
    except OSError as error:
        return Adoption(error, True, incr_bytes)
    return Adoption(None, False, incr_bytes)


def clean(place: Place, names: Sequence[str]) -> None:
    """Remove files that the manifest has as history or not at all; they stay away after a crash."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            place.fs.remove(os.path.join(place.directory, name))
    place.fs.sync_directory(place.directory)


def as_history(entries: Sequence[Entry], seq: int | None = None) -> tuple[Entry, ...]:
    """The files that a BASE before INCR number ``seq`` makes history; all of them for None."""
    return tuple(replace(e, kind="h") for e in entries if e.kind != "i" or seq is None or e.seq < seq)


# ---- the machine ---------------------------------------------------------------------------------


class Compaction:
    """Turns and adoptions of one writer.

    ``turning``  a turn was asked for: the log is busy until it has been made or has failed
    ``editing``  a job writes the manifest: a rotation waits
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self.turning = self.editing = False
        self._turned: Turned | None = None
        self._running = False
        self._former: tuple[Entry, ...] = ()
        """Files of a log that was there before, while this one starts."""
        self._adopted: Adopted | None = None
        self._undecided = False
        self._history: tuple[str, ...] = ()
        self._clean_at, self._clean_s = 0.0, CLEAN_FIRST_S

    # ---- a turn --------------------------------------------------------------------------

    def turn_over(self, done: Turned) -> None:
        """Begin a new INCR file behind all that was committed; ``done(mark, error)``, one of them None.

        To be called between commits, when memory is what was committed.  ``done`` may come
        before it returns.
        """
        log = self._log
        last = log.entries[-1]
        if log.lsn == last.lsn and last.prev is not None:
            done(self.mark(last), None)
            return
        self.turning, self._turned = True, done
        before, log._quiet = log._quiet, True  # the owner asks, and looks itself
        log._settle()
        log._quiet = before

    def mark(self, incr: Entry) -> Mark:
        """The place in front of an INCR of this run."""
        assert incr.lsn is not None and incr.prev is not None
        self._log.next_seq += 1
        return Mark(incr.lsn, incr.prev, incr.seq, self._log.next_seq - 1)

    def proceed(self) -> None:
        """The writer's state has changed while a turn was to be made."""
        log = self._log
        if self._running:
            return
        refusal = log._sync_error or log._write_error
        in_use = log._writing or log._pending or log.fsync_in_flight or log._rotating
        if refusal is not None:
            self._end_turn(None, OSError(refusal.errno, refusal.text))
        elif not in_use and not self.editing:
            self._running = True
            old = OldFile(log.file, log.file_bytes, log.torn)
            job = partial(turn, log.place, log.entries, old, log.next_seq, log.lsn, log._chain, log.clock.unix_ms())
            log.executor.submit(job, self._turn_done)

    def _turn_done(self, result: Turn | None, crash: BaseException | None) -> None:
        self._running = False
        made = result or Turn(False, None, as_os_error(crash))
        log = self._log
        if not made.synced:
            self._end_turn(None, made.error)
            log._sync_failed(made.error or OSError(errno.EIO, "no fsync"))
            return
        log.fsyncs += 1
        log._synced, log.durable_lsn, log._durable_chain, log._durable_size = log._here()
        log._kept.clear()
        log._kept_bytes = 0
        if made.new is None:
            log.next_seq += 1  # the name may be taken by what could not be removed
            self._end_turn(None, made.error)
        elif made.error is not None:
            # The manifest may name the new file: nothing is written before it surely does.
            log._prepared, log._sync_error = made.new, log._note_failure(made.error)
            log._back_off()
            self._end_turn(None, made.error)
        else:
            self._go_on_in(made.new)
        log._settle()

    def _go_on_in(self, new: NewFile) -> None:
        """The manifest names ``new``, and all that is in the files before it is durable."""
        log, entry = self._log, new.entry
        old, size = log.file, log.file_bytes
        log.entries += (entry,)
        log._adopt(new, log._space.granted)
        log._space.again(log.file_bytes)
        self._end_turn(self.mark(entry), None)
        log.executor.submit(partial(_let_go, old, size), lambda _result, _error: None)

    def _end_turn(self, mark: Mark | None, error: OSError | None) -> None:
        done, self._turned = self._turned, None
        self.turning = False
        assert done is not None
        done(mark, error)

    # ---- a new BASE ----------------------------------------------------------------------

    def adopt(self, base: Finished, seq: int, done: Adopted) -> None:
        """Have ``base`` stand for all before INCR number ``seq``; ``done(None)`` when that counts.

        ``done(error)``: it does not, the log is as it was, and the file of the BASE is gone.
        """
        log = self._log
        if log.closed or self._rotating() or self.editing or self.turning or self._adopted is not None:
            self._drop(base)
            done(OSError(errno.EBUSY, "the log cannot take a BASE now"))
            return
        self.editing = True
        kept = tuple(e for e in log.entries if e.kind == "i" and e.seq >= seq)
        entries = (base.entry, *as_history(self._former), *as_history(log.entries, seq), *kept)
        place = replace(log.place, manifest=manifest_name(log.place.basename))
        job = partial(adopt_base, place, entries, base)
        log.executor.submit(job, partial(self._adopt_done, place, entries, base, done))

    def _rotating(self) -> bool:
        """Is the file not trusted, and a rotation under way or due?"""
        return self._log._rotating or self._log._sync_error is not None

    def _drop(self, base: Finished) -> None:
        remove_quietly(self._log.place.fs, os.path.join(self._log.place.directory, base.temp))

    def _adopt_done(
        self,
        place: Place,
        entries: tuple[Entry, ...],
        base: Finished,
        done: Adopted,
        result: Adoption | None,
        crash: BaseException | None,
    ) -> None:
        self.editing = False
        outcome = result or Adoption(as_os_error(crash))
        if outcome.error is not None and not outcome.undecided:
            done(outcome.error)
            self._log._settle()
            return
        log = self._log
        history = [e.name for e in entries if e.kind == "h"]
        if place.manifest != log.place.manifest:
            history.append(log.place.manifest)
        log.place, log.entries, self._former = place, entries, ()
        log.total_bytes = (base.entry.bytes or 0) + outcome.incr_bytes + log.file_bytes
        self._history = (*self._history, *history)
        self._undecided = outcome.undecided
        self._clean_s = CLEAN_FIRST_S
        if outcome.undecided:
            self._adopted = done
            self._later()
        else:
            done(None)
            self._clean()
        log._settle()

    def start_beside(self, former: Sequence[Entry]) -> None:
        """This log has no BASE yet and takes the place of one whose files are ``former``."""
        self._former = tuple(e for e in former if e.kind != "h")

    # ---- history ---------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time has passed: what is due?"""
        if (self._history or self._undecided) and not self.editing and now >= self._clean_at:
            self._clean()

    def _later(self) -> None:
        self._clean_at = self._log.clock.monotonic() + self._clean_s
        self._clean_s = min(2 * self._clean_s, CLEAN_LAST_S)

    def _clean(self) -> None:
        """The next step towards a manifest without history; one that writes the manifest waits for a rotation."""
        log = self._log
        if log.closed or self._rotating():
            self._later()
            return
        self.editing = True
        if self._undecided:
            log.executor.submit(partial(switch, log.place, log.entries), self._decided)
        else:
            log.executor.submit(partial(clean, log.place, self._history), self._cleaned)

    def _decided(self, _result: None, crash: BaseException | None) -> None:
        self.editing = False
        if crash is not None:
            self._later()
        else:
            self._undecided = False
            done, self._adopted = self._adopted, None
            if done is not None:
                done(None)
            self._clean()
        self._log._settle()

    def _cleaned(self, _result: None, crash: BaseException | None) -> None:
        log = self._log
        if crash is not None or self._rotating():
            self.editing = False
            self._later()
        else:
            entries = tuple(e for e in log.entries if e.kind != "h")
            log.executor.submit(partial(switch, log.place, entries), partial(self._forgot, entries))
        log._settle()

    def _forgot(self, entries: tuple[Entry, ...], _result: None, crash: BaseException | None) -> None:
        self.editing = False
        if crash is not None:
            self._later()
        else:
            self._log.entries, self._history = entries, ()
        self._log._settle()

    # ---- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """The log ends: a turn that was not made will not be."""
        closed = OSError(errno.ECANCELED, "the log is closed")
        if self.turning and not self._running:
            self._end_turn(None, closed)
        if self._adopted is not None:
            done, self._adopted = self._adopted, None
            done(closed)

    def _check(self) -> None:
        assert self.turning == (self._turned is not None)
        assert not self._running or self.turning
        assert not self._undecided or self._history


def _let_go(file: File, size: int) -> None:
    """A file that is left: give back the space that it reserved."""
    with contextlib.suppress(OSError):
        file.truncate(size)
    with contextlib.suppress(OSError):
        file.close()
