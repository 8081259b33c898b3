"""What files there are before a log is read: manifest, names, and how each INCR begins.

Finds out which files make up the log, which of them are ours and where each of
ours says that it starts, whether the log is one of a single file (stock before
version 7), and which names are left over.  Raises LogDamaged for whatever cannot
be a log at all: a file missing, a manifest gone, a start line that is wrong.

Who wrote a file.  An INCR whose manifest line has lsn and prev is ours and has to
begin with exactly the start line that follows from them.  In a manifest that
stock wrote (it may have rewritten ours, which loses those facts) a file that begins
with a start line is ours, any other is stock's.

It must not know: batches.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from perdure.wal import format as lines
from perdure.wal.atomic import TEMP_PREFIX
from perdure.wal.damage import LogDamaged
from perdure.wal.filesystem import Filesystem
from perdure.wal.manifest import TEMP_BASE_PREFIX, Entry, Manifest, manifest_name, parse, seq_in_name, starting_name

MAX_MANIFEST_BYTES = 16 << 20
MAX_EMPTY_BYTES = 64 << 20
"""A file with this much in it is not taken for an empty one, not even if it is zeros."""


def _prefix_pattern() -> re.Pattern[bytes]:
    """Matches every prefix of a start line, the whole one included."""
    hexdigit, atoms = "[0-9a-f]", [re.escape(c) for c in "#PERDURE 1 "]
    atoms += [hexdigit] * 32 + [" ", r"\d", r"\d{0,18}", " ", *[hexdigit] * 8, " ", *[hexdigit] * 8, r"\r", r"\n"]
    pattern = ""
    for atom in reversed(atoms):
        pattern = f"(?:{atom}{pattern})?"
    return re.compile(pattern.encode())


_PREFIX_OF_START = _prefix_pattern()


@dataclass(slots=True)
class Item:
    """One file to read.

    ``start``: of a file of ours, as its start line says or, where that is torn, as the
    manifest does; ``torn_start``: how the start line is torn.
    """

    entry: Entry
    path: str
    size: int
    start: lines.Start | None = None
    start_line: bytes = b""
    torn_start: str | None = None


@dataclass(slots=True)
class Survey:
    """``files``: BASE first, then the INCRs; ``drop``: names that are left over and hold nothing."""

    manifest: Manifest | None
    manifest_file: str
    log_id: bytes | None = None
    files: list[Item] = field(default_factory=list)
    next_seq: int = 1
    drop: tuple[str, ...] = ()
    upgrade_from: str | None = None


def survey(fs: Filesystem, directory: str, basename: str) -> Survey:
    """Look at everything in ``directory`` and at a single file beside it; reads beginnings only."""
    names = fs.names(directory) if fs.exists(directory) else []
    manifest_file = os.path.join(directory, manifest_name(basename))
    single = find_single_file(fs, directory, basename)
    manifest = None
    if manifest_name(basename) in names:
        if fs.size(manifest_file) > MAX_MANIFEST_BYTES:
            raise LogDamaged(manifest_file, MAX_MANIFEST_BYTES, "the manifest is longer than any manifest is")
        manifest = parse(fs.read(manifest_file, 0, MAX_MANIFEST_BYTES), manifest_file)
    found = Survey(manifest, manifest_file, log_id=manifest.log_id if manifest else None)
    named = manifest.entries if manifest is not None else ()
    unnamed = [name for name in names if name not in {e.name for e in named} and seq_in_name(basename, name)]
    unfinished = _unfinished(fs, directory, basename, names, unnamed)
    if manifest is None:
        for name in unnamed:
            if name not in unfinished and not _holds_nothing(fs, directory, name):
                raise LogDamaged(manifest_file, 0, f"the manifest is missing, and {name} holds data")
    if single is not None and _is_log_of_single_file(manifest, names, basename):
        found.upgrade_from = single
        found.files = [Item(Entry(basename, 1, "b"), single, fs.size(single))]
    else:
        found.files = [_item(fs, directory, entry, names) for entry in named if entry.kind == "b"]
        found.files += [_item(fs, directory, entry, names) for entry in named if entry.kind == "i"]
    _look_at_starts(fs, found)
    seqs = [*(seq_in_name(basename, name) or 0 for name in names), *(e.seq for e in named)]
    found.next_seq = max([*seqs, *(item.entry.seq for item in found.files)], default=0) + 1
    found.drop = _leftovers(fs, directory, basename, names, unnamed, found, unfinished)
    return found


def find_single_file(fs: Filesystem, directory: str, basename: str) -> str | None:
    """Path of the file beside ``directory`` that stock before version 7 would have as its log, or None."""
    path = os.path.join(os.path.dirname(os.path.normpath(directory)), basename)
    if os.path.normpath(path) == os.path.normpath(directory) or not fs.exists(path):
        return None
    return path


def _is_log_of_single_file(manifest: Manifest | None, names: list[str], basename: str) -> bool:
    """Stock's own conditions: no manifest, none that names a file, or a move that was not completed."""
    if manifest is None or not (manifest.base or manifest.incrs):
        return True
    base = manifest.base
    return base is not None and not manifest.incrs and base.name == basename and basename not in names


def _item(fs: Filesystem, directory: str, entry: Entry, names: list[str]) -> Item:
    path = os.path.join(directory, entry.name)
    if entry.name not in names:
        raise LogDamaged(path, 0, "the manifest names this file, and it is missing", entry.lsn)
    return Item(entry, path, fs.size(path))


def _look_at_starts(fs: Filesystem, found: Survey) -> None:
    """Fill in who wrote each INCR and where it starts; all of ours must be of one log."""
    incrs = [item for item in found.files if item.entry.kind == "i"]
    for item in incrs:
        head = fs.read(item.path, 0, lines.MAX_LINE_BYTES)
        if item.entry.lsn is not None or item.entry.prev is not None:
            _expect_start(fs, found, item, head)
        elif head.startswith(b"#PERDURE"):
            _accept_start(fs, found, item, head)
    first = found.files[0] if found.files else None
    if first is not None and first.entry.kind == "i" and first.start is not None:
        start = first.start
        if (start.lsn, start.prev) != (0, lines.NO_CHAIN):
            reason = f"the log begins at lsn {start.lsn}: what is before is missing"
            raise LogDamaged(first.path, 0, reason, 0, start.lsn)


def _expect_start(fs: Filesystem, found: Survey, item: Item, head: bytes) -> None:
    """The manifest knows the start line of ``item``."""
    entry = item.entry
    if entry.lsn is None or entry.prev is None or found.log_id is None:
        raise LogDamaged(found.manifest_file, 0, f"the manifest says only half of where {entry.name} starts")
    line, crc = lines.start_line(found.log_id, entry.lsn, entry.prev)
    item.start, item.start_line = lines.Start(found.log_id, entry.lsn, entry.prev, crc), line
    if head.startswith(line):
        return
    text = head.rstrip(b"\0")
    if len(text) < len(line) and line.startswith(text) and _is_zero_from(fs, item.path, item.size, len(text)):
        item.torn_start = "the file ends inside its start line" if text else "the start line was never written"
        return
    raise LogDamaged(item.path, 0, "its start line is not the one that the manifest says", entry.lsn)


def _accept_start(fs: Filesystem, found: Survey, item: Item, head: bytes) -> None:
    """A file in a manifest that does not know it begins as ours."""
    line = head[: head.find(b"\n") + 1]
    start = lines.parse(line)
    if not line and _PREFIX_OF_START.fullmatch(head.rstrip(b"\0")) and item is found.files[-1]:
        # Too little to say where it starts; as it is the last and holds nothing, nobody has to know.
        return
    if not isinstance(start, lines.Start) or not lines.crc_is_right(line, start.crc, lines.seed_of(start.log_id)):
        raise LogDamaged(item.path, 0, "its start line is damaged")
    if found.manifest is not None and found.manifest.verified:
        raise LogDamaged(item.path, 0, "it has a start line of perdure's, of which the manifest knows nothing")
    if found.log_id not in (None, start.log_id):
        raise LogDamaged(item.path, 0, "it belongs to another log than the files before it", start.lsn)
    found.log_id = start.log_id
    item.start, item.start_line = start, line


def _holds_nothing(fs: Filesystem, directory: str, name: str) -> bool:
    """Is it an INCR file with at most a start line, a part of one, or zeros: the birth of a log, cut short?"""
    path = os.path.join(directory, name)
    size = fs.size(path)
    if size == 0:
        return True
    if not name.endswith(".incr.aof") or size > MAX_EMPTY_BYTES:
        return False
    text = fs.read(path, 0, lines.MAX_LINE_BYTES).rstrip(b"\0")
    return _PREFIX_OF_START.fullmatch(text) is not None and _is_zero_from(fs, path, size, len(text))


def _is_zero_from(fs: Filesystem, path: str, size: int, offset: int) -> bool:
    while offset < size:
        piece = fs.read(path, offset, min(1 << 20, size - offset))
        if not piece or piece.count(0) != len(piece):
            return False
        offset += len(piece)
    return True


def _leftovers(
    fs: Filesystem,
    directory: str,
    basename: str,
    names: list[str],
    unnamed: list[str],
    found: Survey,
    unfinished: list[str],
) -> tuple[str, ...]:
    """What holds nothing, or nothing that counts: history, temporary files, BASEs and INCRs that nobody names.

    A BASE that a manifest of ours does not name never came to count, or does not any more.  An INCR with data
    is left where it is.
    """
    used = {item.entry.name for item in found.files}
    entries = found.manifest.entries if found.manifest is not None else ()
    drop = [e.name for e in entries if e.kind == "h" and e.name in names and e.name not in used]
    if found.manifest is not None and found.manifest.verified:
        drop += [name for name in unnamed if not name.endswith(".incr.aof")]
    drop += [name for name in unnamed if name.endswith(".incr.aof") and _holds_nothing(fs, directory, name)]
    drop += unfinished
    temporary = (f"{TEMP_PREFIX}{basename}.", f"{TEMP_PREFIX}{TEMP_PREFIX}{basename}.", TEMP_BASE_PREFIX)
    drop += [name for name in names if name.startswith(temporary) and name not in used]
    return tuple(dict.fromkeys(drop))


def _unfinished(fs: Filesystem, directory: str, basename: str, names: list[str], unnamed: list[str]) -> list[str]:
    """Files of a log that was begun while the server ran, and that never became one (see ``compaction``).

    Its manifest stands under another name; all that was made since has at least the numbers that it names.
    """
    name = starting_name(basename)
    if name not in names:
        return []
    path = os.path.join(directory, name)
    try:
        begun = parse(fs.read(path, 0, MAX_MANIFEST_BYTES), path)
    except LogDamaged:
        return []
    first = min((entry.seq for entry in begun.entries), default=0)
    return [name for name in unnamed if first and (seq_in_name(basename, name) or 0) >= first]
