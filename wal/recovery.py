"""Reading the log back: manifest, BASE, INCRs, and what to do at the first thing that is not right.

``read_log`` only reads (HANDS-OFF): it hands commands to ``apply``, decides with
the table in the package's docstring, and either raises LogDamaged or returns a
``Recovery``, which says where the writer continues and what is to be cut.
``mend`` then does what was decided: it sets the cut bytes aside, cuts, and moves a
log of a single file (stock before version 7) into the directory.

How a log of a single file is moved.  In stock's own order: directory, manifest
that names the file as BASE, rename of the file.  At every point between, stock and
we find a log that loads: before the manifest the single file, then a manifest
whose only file is missing in the directory but is there beside it, then the BASE.

Files whose end decides.  Only the last file can have been torn.  A file before it
ends where the next one's start line (or the manifest, which repeats it) says; a
next file that begins earlier supersedes the tail of the one before
(NO-SECOND-FSYNC).  Stock does not know that and would apply such a tail twice:
the writer cuts it off right after it switched the manifest, and ``mend`` does
where a crash came between the two.

It must not know: keys, values, how a batch is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from perdure.wal import format as lines
from perdure.wal import survey
from perdure.wal.atomic import replace_file, temp_name, write_all
from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.filesystem import Filesystem
from perdure.wal.manifest import Entry, manifest_name, render_stock
from perdure.wal.resp import Stop, whole_units
from perdure.wal.rot import find_single_flip
from perdure.wal.scan import (
    CHUNK_BYTES,
    Damage,
    Pin,
    Position,
    Window,
    find_command,
    find_proof,
    may_stand_in_foreign_file,
    scan_foreign,
    scan_own,
    stock_went_on,
)

__all__ = ["BaseRead", "Cut", "LogDamaged", "LogEnd", "RdbBaseUnsupported", "Recovery", "mend", "read_log"]

MAX_ROT_BYTES = 64 << 20
"""How much behind a damaged line is read in search of one flipped bit, if the line itself does not say."""
APPLY_BYTES = 256 << 10
"""Small batches are handed to ``apply`` together, in pieces of about this size."""
PROGRESS_BYTES = 1 << 20

RDB_MAGICS = (b"REDIS", b"VALKEY")

Apply = Callable[[bytes], int]
Progress = Callable[[int, int, int], None]


class BaseRead(NamedTuple):
    """What was read of a BASE in RDB form: ``end``, where commands may follow, and how many commands it stands for."""

    end: int
    commands: int


LoadBase = Callable[[str, Callable[[int], None]], BaseRead]
"""Loads an RDB file: (path, what is to be told how many bytes of it are loaded) -> what was read."""


@dataclass(slots=True)
class LogEnd:
    """What the writer continues from.

    ``log_id``: None if no file of ours is there yet; ``lsn``, ``chain``: of the next
    start line; ``entries``: the files that the next manifest keeps; ``next_seq``:
    above every seq seen; ``drop``: names that may be unlinked once the next manifest
    is durable; ``upgrade_from``: path of a log of a single file that ``mend`` moves
    into the directory (``entries`` names it already).
    """

    log_id: bytes | None
    lsn: int
    chain: int
    entries: tuple[Entry, ...]
    next_seq: int
    drop: tuple[str, ...]
    upgrade_from: str | None = None


@dataclass(slots=True)
class Cut:
    """A torn tail: ``bytes`` bytes of ``file`` (``path``) from ``offset`` on are not part of the log.

    ``commands``: how many commands begin in them, as far as that can be told;
    ``zeros``: they are all zero, so there is nothing to set aside.
    """

    file: str
    path: str
    offset: int
    bytes: int
    commands: int
    reason: str
    zeros: bool


@dataclass(slots=True)
class Recovery:
    """What was read: ``commands`` as ``apply`` counted them, ``payload_bytes`` without annotations.

    ``unverified``: lines about what was read without a checksum; ``found``: was there
    a log at all; ``superseded``: path and offset of tails that a later file holds
    anew, which stock would apply twice (STOCK): ``mend`` cuts them off.
    """

    end: LogEnd
    cut: Cut | None
    commands: int
    payload_bytes: int
    batches: int
    files: int
    unverified: tuple[str, ...]
    found: bool
    superseded: tuple[tuple[str, int], ...] = ()


class _Feeder:
    """Hands commands on in pieces of a useful size and tells the progress."""

    def __init__(self, apply: Apply, progress: Progress | None, total: int) -> None:
        self._apply = apply
        self._progress = progress
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._total = total
        self._done = 0
        self._in_file = 0
        self._reported = 0
        self.commands = 0
        self.payload_bytes = 0

    def take(self, payload: bytes) -> None:
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)
        self.payload_bytes += len(payload)
        self._in_file += len(payload)
        if self._waiting_bytes >= APPLY_BYTES:
            self.flush()
            self._tell(self._done + self._in_file, PROGRESS_BYTES)

    def tell_base(self, done: int) -> None:
        """So many bytes of a BASE in RDB form are loaded."""
        self._tell(self._done + done, PROGRESS_BYTES)

    def flush(self) -> None:
        if self._waiting:
            payload = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
            self.commands += self._apply(payload)

    def file_done(self, size: int) -> None:
        """A file of ``size`` bytes is read; inside it, progress counted only its payload."""
        self.flush()
        self._done += size
        self._in_file = 0
        self._tell(self._done, 0)

    def _tell(self, done: int, step: int) -> None:
        if self._progress is not None and done - self._reported >= step:
            self._reported = done
            self._progress(done, self._total, self.commands)


class _Place(NamedTuple):
    """The log's (lsn, chain) in front of a file."""

    lsn: int
    chain: int


@dataclass(slots=True)
class _Reading:
    """One run of ``read_log``."""

    fs: Filesystem
    found: survey.Survey
    feeder: _Feeder
    load_truncated: bool
    load_base: LoadBase | None
    unverified: list[str]
    cut: Cut | None = None
    batches: int = 0
    superseded: list[tuple[str, int]] = field(default_factory=list)

    def supersede(self, path: str, offset: int, size: int) -> None:
        """What a file holds from ``offset`` on was read over, since the next file begins there."""
        if offset < size:
            self.superseded.append((path, offset))


def read_log(
    fs: Filesystem,
    directory: str,
    basename: str,
    apply: Apply,
    *,
    load_truncated: bool = True,
    progress: Progress | None = None,
    load_base: LoadBase | None = None,
) -> Recovery:
    """Read the log ``basename`` in ``directory`` and change nothing.

    ``apply(payload)`` gets whole commands, never a part of MULTI ... EXEC, and returns
    how many it ran; what it raises goes through.  ``load_truncated`` False
    refuses a torn tail, too.  ``progress(done_bytes, total_bytes, commands)`` is called
    about every MiB.  ``load_base`` loads a BASE in RDB form, or one that begins so (an RDB preamble), and
    says where that ends; without it such a BASE is refused.  Beside ``directory`` a log of a single
    file, named ``basename``, is looked for where stock would.

    Raises LogDamaged, RdbBaseUnsupported, OSError; then nothing that ``apply`` got
    may be served.
    """
    found = survey.survey(fs, directory, basename)
    total = sum(item.size for item in found.files)
    reading = _Reading(fs, found, _Feeder(apply, progress, total), load_truncated, load_base, [])
    if found.manifest is not None and not found.manifest.verified and found.files:
        reading.unverified.append(f"{found.manifest_file}: written by another server, carries no checksum")
    kept: list[Entry] = []
    place = _Place(0, lines.NO_CHAIN)
    incrs = [item for item in found.files if item.entry.kind == "i"]
    for item in found.files:
        if item.entry.kind == "b":
            base, place = _read_base(reading, item, incrs)
            kept.append(base)
    empty: list[tuple[Entry, _Place]] = []
    for number, item in enumerate(incrs):
        before = place
        place, holds = _read_incr(reading, item, incrs[number + 1 :], place)
        empty = [*empty, (item.entry, before)] if not holds else []
        # In a manifest that stock rewrote our files have lost these facts: the next one has them again.
        start = item.start
        kept.append(item.entry if start is None else replace(item.entry, lsn=start.lsn, prev=start.prev))
    if empty:
        place = empty[0][1]
        kept = kept[: -len(empty)]
    names = (*found.drop, *(entry.name for entry, _ in empty))
    end = LogEnd(found.log_id, place.lsn, place.chain, tuple(kept), found.next_seq, names, found.upgrade_from)
    feeder = reading.feeder
    return Recovery(
        end=end,
        cut=reading.cut,
        commands=feeder.commands,
        payload_bytes=feeder.payload_bytes,
        batches=reading.batches,
        files=len(found.files),
        unverified=tuple(reading.unverified),
        found=bool(found.files),
        superseded=tuple(reading.superseded),
    )


def _read_base(reading: _Reading, item: survey.Item, incrs: list[survey.Item]) -> tuple[Entry, _Place]:
    """Load the BASE; its entry with what pins it from now on, and the place in front of the first INCR."""
    entry, feeder = item.entry, reading.feeder
    place = _Place(entry.lsn or 0, lines.NO_CHAIN if entry.prev is None else entry.prev)
    if incrs and incrs[0].start is not None:
        first = incrs[0].start
        if entry.lsn not in (None, first.lsn) or entry.prev not in (None, first.prev):
            reason = f"it begins at lsn {first.lsn}, but the BASE was taken at lsn {entry.lsn}, or on another chain"
            raise LogDamaged(incrs[0].path, 0, reason, entry.lsn, first.lsn)
        place = _Place(first.lsn, first.prev)
    if entry.bytes not in (None, item.size):
        raise LogDamaged(item.path, item.size, f"the BASE has {item.size} bytes, {entry.bytes} are due")
    window = Window(reading.fs, item.path)
    rdb_bytes = _load_rdb(reading, item, window)
    at = Position(rdb_bytes, 0, window.crc32c(0, rdb_bytes, 0))
    if rdb_bytes < item.size:
        damage = scan_foreign(window, at, may_stand_in_foreign_file, feeder.take)
        if damage is not None:
            _judge(reading, item, window, at, damage, last=not incrs and entry.bytes is None)
    if entry.crc32c not in (None, at.chain):
        raise LogDamaged(item.path, 0, "the BASE's checksum is wrong")
    if entry.crc32c is None:
        what = f"{at.foreign_commands} commands"
        if rdb_bytes:
            what = f"RDB and {what}" if at.foreign_commands else "RDB"
        reading.unverified.append(
            f"{entry.name}: {what} ({at.offset} bytes) were written by another server and carry no checksum"
        )
    feeder.file_done(item.size)
    return replace(entry, bytes=at.offset, crc32c=at.chain, lsn=place.lsn, prev=place.chain), place


def _load_rdb(reading: _Reading, item: survey.Item, window: Window) -> int:
    """Have the RDB that the BASE is, or begins with, loaded by whoever reads RDB; how many bytes it takes."""
    if not window.get(0, 6).startswith(RDB_MAGICS):
        if item.entry.name.endswith(".rdb"):
            raise LogDamaged(item.path, 0, "the BASE does not begin as an RDB file does")
        return 0
    if reading.load_base is None:
        raise RdbBaseUnsupported(item.path)
    if item.entry.crc32c is not None and window.crc32c(0, item.size, 0) != item.entry.crc32c:
        raise LogDamaged(item.path, 0, "the BASE's checksum is wrong")
    read = reading.load_base(item.path, reading.feeder.tell_base)
    reading.feeder.commands += read.commands
    return read.end


def _read_incr(
    reading: _Reading, item: survey.Item, later: list[survey.Item], place: _Place
) -> tuple[_Place, bool]:
    """Read one INCR that ``place`` stands in front of; the place behind it, and whether it holds anything to keep."""
    pin = Pin(later[0].start.lsn, later[0].start.prev) if later and later[0].start is not None else None
    if pin == (place.lsn, place.chain) and item.start is not None:
        # The next file begins where this one does: all of it is superseded.
        reading.supersede(item.path, len(item.start_line), item.size)
        reading.feeder.file_done(item.size)
        return place, True
    window = Window(reading.fs, item.path)
    at = Position(0, place.lsn, place.chain)
    if item.start is None:
        damage = scan_foreign(window, at, may_stand_in_foreign_file, reading.feeder.take)
    else:
        if (item.start.lsn, item.start.prev) != (place.lsn, place.chain):
            raise LogDamaged(item.path, 0, _gap(item.start, place), place.lsn, item.start.lsn)
        if item.torn_start is not None:
            if later:
                raise LogDamaged(item.path, item.size, "the file ends inside its start line", place.lsn)
            damage = Damage(0, item.torn_start)
        else:
            at = Position(len(item.start_line), place.lsn, item.start.crc)
            damage = scan_own(window, at, lines.seed_of(item.start.log_id), pin, reading.feeder.take)
    if damage is not None:
        _judge(reading, item, window, at, damage, last=not later)
    elif item.start is not None:
        reading.supersede(item.path, at.offset, item.size)
    reading.batches += at.batches
    if at.foreign_commands or item.start is None:
        behind = " behind the last batch" if item.start is not None else ""
        reading.unverified.append(
            f"{item.entry.name}: {at.foreign_commands} commands ({at.foreign_bytes} bytes){behind}"
            " were written by another server and carry no checksum"
        )
    reading.feeder.file_done(item.size)
    return _Place(at.lsn, at.chain), bool(at.payload_bytes) or item.start is None


def _gap(start: lines.Start, place: _Place) -> str:
    if start.lsn != place.lsn:
        return f"this file begins at lsn {start.lsn}, but what is before it ends at lsn {place.lsn}"
    return "this file's start line does not continue the chain of what is before it"


def _judge(
    reading: _Reading, item: survey.Item, window: Window, at: Position, damage: Damage, *, last: bool
) -> None:
    """The decision at the first thing that is not right: raises LogDamaged, or notes what is to be cut."""
    log_id = item.start.log_id if item.start is not None else reading.found.log_id

    def refuse(reason: str, lsn_to: int | None = None) -> LogDamaged:
        return LogDamaged(item.path, damage.offset, f"{damage.reason}; {reason}", at.lsn, lsn_to)

    if damage.final:
        raise refuse("a crash does not leave this")
    if not last:
        raise refuse("another file follows, so this is no torn tail")
    if log_id is not None:
        _look_for_proof(window, at, damage, lines.seed_of(log_id), refuse)
    if item.start is None or at.foreign_commands:
        # As stock: bytes that are no command, in the midst of commands, are no torn tail.
        inside = None if damage.incomplete else find_command(window, damage.offset)
        if inside is not None:
            raise refuse(f"commands follow at offset {inside}")
    elif stock_went_on(window, damage.offset):
        raise refuse("another server has appended commands behind it, so what was torn cannot be told from them")
    if not reading.load_truncated:
        raise refuse("a torn tail, and aof-load-truncated is no")
    size = window.size - damage.offset
    reading.cut = Cut(
        file=item.entry.name,
        path=item.path,
        offset=damage.offset,
        bytes=size,
        commands=_commands_in(window, damage.offset),
        reason=damage.reason,
        zeros=_is_zero(window, damage.offset),
    )


def _look_for_proof(
    window: Window, at: Position, damage: Damage, seed: int, refuse: Callable[[str, int | None], LogDamaged]
) -> None:
    """Raise LogDamaged if something shows that the damage is no tear."""
    proof = find_proof(window, damage.offset, at.lsn, seed)
    if proof is not None:
        raise refuse(f"{proof.reason} (offset {proof.offset})", proof.lsn)
    flip = None if at.foreign else _rot(window, at, damage.offset, seed)
    if flip is not None:
        where = f"offset {flip[0]}, bit {flip[1]}"
        raise refuse(f"one flipped bit ({where}) would make it right, so this is rot and no torn tail", None)


def _rot(window: Window, at: Position, offset: int, seed: int) -> tuple[int, int] | None:
    if offset != at.offset:
        return None
    line = window.line(offset)
    facts = lines.parse(line)
    length = facts.length if isinstance(facts, lines.Batch) else 0
    if length > window.size - offset:
        length = 0
    data = window.get(offset, max(MAX_ROT_BYTES, length) + lines.MAX_LINE_BYTES)
    flip = find_single_flip(data, seed, at.lsn, at.chain)
    return None if flip is None else (offset + flip.offset, flip.bit)


def _is_zero(window: Window, offset: int) -> bool:
    while offset < window.size:
        piece = window.get(offset, CHUNK_BYTES)
        if piece.count(0) != len(piece):
            return False
        offset += len(piece)
    return True


def _commands_in(window: Window, offset: int) -> int:
    """How many commands begin behind ``offset``, as far as bytes there read as commands and lines of ours."""
    data = window.get(offset, MAX_ROT_BYTES)
    count = 0
    while data:
        units = whole_units(data, lambda _offset, line: lines.parse(line) is not None)
        count += units.commands
        if units.stop is Stop.END or not data[units.end :].startswith(b"*"):
            break
        # A unit that is not whole: its commands one by one.
        count += 1
        behind = data.find(b"\r\n*", units.end)
        if units.stop is Stop.INVALID or behind < 0 or not data.startswith(b"*1\r\n$5\r\nMULTI", units.end):
            break
        data = data[behind + 2 :]
    return count


def mend(fs: Filesystem, directory: str, recovery: Recovery) -> None:
    """Do what ``read_log`` decided, durably; OSError if the disk will not.

    After a crash anywhere in it the log reads as before or as mended, and
    reading and mending again completes it.
    """
    cut = recovery.cut
    if cut is not None and cut.bytes:
        if not cut.zeros:
            _set_aside(fs, cut)
        file = fs.open_append(cut.path)
        try:
            file.truncate(cut.offset)
            file.sync()
        finally:
            file.close()
        fs.sync_directory(os.path.dirname(cut.path) or ".")
    for path, offset in recovery.superseded:
        file = fs.open_append(path)
        try:
            file.truncate(offset)
            file.sync()
        finally:
            file.close()
    if recovery.end.upgrade_from is not None:
        _upgrade(fs, directory, recovery.end.upgrade_from, recovery.end.entries)


def _set_aside(fs: Filesystem, cut: Cut) -> None:
    """Copy the cut bytes to a file of their own, unless an earlier attempt did."""
    directory, name = os.path.split(cut.path)
    directory = directory or "."
    target, number = f"{name}.cut-{cut.offset}", 1
    while fs.exists(os.path.join(directory, target)):
        if _same_bytes(fs, os.path.join(directory, target), cut):
            fs.sync_directory(directory)
            return
        number += 1
        target = f"{name}.cut-{cut.offset}.{number}"
    temp = os.path.join(directory, temp_name(target))
    with contextlib.suppress(FileNotFoundError):
        fs.remove(temp)
    file = fs.create(temp)
    try:
        for offset in range(cut.offset, cut.offset + cut.bytes, CHUNK_BYTES):
            write_all(file, fs.read(cut.path, offset, min(CHUNK_BYTES, cut.offset + cut.bytes - offset)))
        file.sync()
    finally:
        file.close()
    fs.rename(temp, os.path.join(directory, target))
    fs.sync_directory(directory)


def _same_bytes(fs: Filesystem, path: str, cut: Cut) -> bool:
    if fs.size(path) != cut.bytes:
        return False
    return all(
        fs.read(path, offset, CHUNK_BYTES) == fs.read(cut.path, cut.offset + offset, CHUNK_BYTES)
        for offset in range(0, cut.bytes, CHUNK_BYTES)
    )


def _upgrade(fs: Filesystem, directory: str, single: str, entries: tuple[Entry, ...]) -> None:
    """Move a log of a single file into the directory as its BASE, in stock's order."""
    parent, name = os.path.split(single)
    parent = parent or "."
    fs.make_directory(directory)
    fs.sync_directory(parent)
    replace_file(fs, directory, manifest_name(name), render_stock(entries))
    fs.rename(single, os.path.join(directory, name))
    fs.sync_directory(directory)
    fs.sync_directory(parent)
