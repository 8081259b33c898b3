"""The manifest: which files make up the log, in which order.

One line a file, ``file <name> seq <n> type <b|h|i>`` and further pairs, which
stock Redis ignores (STOCK).  A manifest that perdure wrote begins with
``#PERDURE 1 <log-id>`` and ends with ``#CRC32C <hex>``, the CRC-32C of every byte
above that line; only in such a one the pairs ``lsn prev bytes crc32c`` stand.
One that stock wrote has none of the three and is read as stock reads it.  A
mixture is damage.

Invariants of every manifest that ``parse`` returns: at most one BASE, INCR seqs
strictly increase, seqs are above 0, no name is a path, no name stands twice
among BASE and INCRs; ``parse(render(log_id, entries))`` gives the entries back.

It must not know: the files themselves; it does no I/O.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from crc32c import crc32c

from perdure.wal.atomic import TEMP_PREFIX
from perdure.wal.damage import LogDamaged
from perdure.wal.words import split_words

MAX_LINE_BYTES = 1024
"""Stock's limit for a line, its newline included."""
MAX_NUMBER = (1 << 63) - 1
TEMP_BASE_PREFIX = f"{TEMP_PREFIX}rewriteaof-"
"""Stock's own prefix for a BASE that is being written."""

_HEAD = re.compile(rb"#PERDURE 1 ([0-9a-f]{32})")
_FOOT = re.compile(rb"#CRC32C ([0-9a-f]{8})\n")
_DECIMAL = re.compile(rb"\d{1,19}")
_HEX = re.compile(rb"[0-9a-f]{8}")
_ESCAPES = {0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x07: b"\\a", 0x08: b"\\b", 0x22: b'\\"', 0x5C: b"\\\\"}
_WHITE = b" \t\r\n\v\f"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the log.

    ``lsn`` and ``prev`` of an INCR repeat its start line; of a BASE they are the
    lsn at which it was taken and the chain there; ``bytes`` and ``crc32c`` are a
    BASE's length and the CRC-32C of its bytes.
    """

    name: str
    seq: int
    kind: str
    lsn: int | None = None
    prev: int | None = None
    bytes: int | None = None
    crc32c: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """``verified``: perdure wrote it and its checksum is right; then ``log_id`` is there, else it is None."""

    log_id: bytes | None
    entries: tuple[Entry, ...]
    verified: bool

    @property
    def base(self) -> Entry | None:
        """The BASE, if there is one."""
        return next((e for e in self.entries if e.kind == "b"), None)

    @property
    def incrs(self) -> tuple[Entry, ...]:
        """The INCRs in the order in which they are read."""
        return tuple(e for e in self.entries if e.kind == "i")


def manifest_name(basename: str) -> str:
    """Name of the manifest for ``appendfilename`` ``basename``."""
    return f"{basename}.manifest"


def starting_name(basename: str) -> str:
    """Where the manifest of a log stands that has no BASE yet; no start reads it as a log's."""
    return f"{TEMP_PREFIX}{basename}.starting"


def incr_name(basename: str, seq: int) -> str:
    """Name of INCR file number ``seq``."""
    return f"{basename}.{seq}.incr.aof"


def base_name(basename: str, seq: int, *, rdb: bool = False) -> str:
    """Name of BASE file number ``seq``, in AOF or RDB form."""
    return f"{basename}.{seq}.base.{'rdb' if rdb else 'aof'}"


def seq_in_name(basename: str, name: str) -> int | None:
    """The number in the name of a BASE or INCR file of ``basename``; None for any other name."""
    m = re.fullmatch(re.escape(basename) + r"\.(\d{1,19})\.(?:incr\.aof|base\.aof|base\.rdb)", name, re.ASCII)
    return int(m[1]) if m and int(m[1]) <= MAX_NUMBER else None


def is_path(name: str) -> bool:
    """Would ``name`` leave the log's directory, or name nothing in it?"""
    return "/" in name or "\0" in name or name in ("", ".", "..")


def render(log_id: bytes, entries: Sequence[Entry]) -> bytes:
    """The manifest's bytes; ValueError for a name that no manifest may hold."""
    lines = [b"#PERDURE 1 %b\n" % log_id]
    for entry in entries:
        line = _render_entry(entry)
        if is_path(entry.name) or len(line) > MAX_LINE_BYTES:
            raise ValueError(f"not a name for a file of the log: {entry.name!r}")
        lines.append(line)
    body = b"".join(lines)
    return body + b"#CRC32C %08x\n" % crc32c(body)


def render_stock(entries: Sequence[Entry]) -> bytes:
    """The manifest's bytes with stock's pairs only and without a checksum."""
    return b"".join(_render_stock_pairs(entry) + b"\n" for entry in entries)


def _render_stock_pairs(entry: Entry) -> bytes:
    return b"file %b seq %d type %b" % (_quote(os.fsencode(entry.name)), entry.seq, entry.kind.encode())


def _render_entry(entry: Entry) -> bytes:
    line = _render_stock_pairs(entry)
    if entry.bytes is not None:
        line += b" bytes %d" % entry.bytes
    if entry.crc32c is not None:
        line += b" crc32c %08x" % entry.crc32c
    if entry.lsn is not None:
        line += b" lsn %d" % entry.lsn
    if entry.prev is not None:
        line += b" prev %08x" % entry.prev
    return line + b"\n"


def parse(data: bytes, file: str) -> Manifest:
    """The manifest whose bytes are ``data``; ``file`` is what errors call it.

    Raises LogDamaged, with the offset of the line at fault.
    """
    if not data:
        raise LogDamaged(file, 0, "the manifest is empty")
    log_id: bytes | None = None
    entries: list[Entry] = []
    ours, pos, foot = False, 0, None
    while pos < len(data):
        eol = data.find(b"\n", pos, pos + MAX_LINE_BYTES)
        if eol < 0:
            raise LogDamaged(file, pos, f"a line has no end within {MAX_LINE_BYTES} bytes")
        line = data[pos:eol]
        if foot is not None:
            raise LogDamaged(file, pos, "something follows the manifest's checksum")
        if line.startswith(b"#"):
            ours = ours or line.startswith((b"#PERDURE", b"#CRC32C"))
            head = _HEAD.fullmatch(line) if pos == 0 else None
            log_id = head[1] if head else log_id
            foot = pos if _FOOT.fullmatch(data, pos) else None
        else:
            entry = _parse_entry(line, file, pos)
            ours = ours or not (entry.lsn is entry.prev is entry.bytes is entry.crc32c is None)
            _check_order(entries, entry, file, pos)
            entries.append(entry)
        pos = eol + 1
    if not ours:
        return Manifest(None, tuple(entries), verified=False)
    if log_id is None:
        raise LogDamaged(file, 0, "the manifest has perdure's facts but no right #PERDURE line")
    if foot is None:
        raise LogDamaged(file, len(data), "the manifest's last line is not a #CRC32C line, so it is not whole")
    if crc32c(data[:foot]) != int(data[foot + 8 : foot + 16], 16):
        raise LogDamaged(file, foot, "the manifest's checksum is wrong")
    return Manifest(log_id, tuple(entries), verified=True)


def _check_order(entries: list[Entry], entry: Entry, file: str, pos: int) -> None:
    if entry.kind == "h":
        return
    if entry.kind == "b" and any(e.kind == "b" for e in entries):
        raise LogDamaged(file, pos, "the manifest names two BASE files")
    last = max((e.seq for e in entries if e.kind == "i"), default=0)
    if entry.kind == "i" and entry.seq <= last:
        raise LogDamaged(file, pos, f"INCR seq {entry.seq} does not follow {last}")
    if any(e.name == entry.name for e in entries if e.kind != "h"):
        raise LogDamaged(file, pos, f"the manifest names {entry.name} twice")


def _parse_entry(line: bytes, file: str, pos: int) -> Entry:
    """The entry that ``line``, without its newline, holds."""
    words = None if b"\0" in line else split_words(line.strip(_WHITE))
    if words is None or len(words) < 6 or len(words) % 2:
        raise LogDamaged(file, pos, "not a line of a manifest")
    pairs: dict[bytes, bytes] = {}
    for key, value in zip(words[::2], words[1::2], strict=True):
        if pairs.setdefault(key.lower(), value) is not value:
            raise LogDamaged(file, pos, "a line of the manifest says the same thing twice")
    name, kind = os.fsdecode(pairs.get(b"file", b"")), pairs.get(b"type", b"")
    seq = _number(pairs.get(b"seq", b""), file, pos)
    if is_path(name):
        raise LogDamaged(file, pos, f"a line of the manifest names no file of the log's directory: {name!r}")
    if not seq:
        raise LogDamaged(file, pos, "a line of the manifest has no seq above 0")
    if kind not in (b"b", b"h", b"i"):
        raise LogDamaged(file, pos, "a line of the manifest has no type b, h or i")
    lsn, prev, size, crc = (pairs.get(key) for key in (b"lsn", b"prev", b"bytes", b"crc32c"))
    return Entry(
        name,
        seq,
        kind.decode(),
        None if lsn is None else _number(lsn, file, pos),
        None if prev is None else _checksum(prev, file, pos),
        None if size is None else _number(size, file, pos),
        None if crc is None else _checksum(crc, file, pos),
    )


def _number(text: bytes, file: str, pos: int) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_NUMBER:
        raise LogDamaged(file, pos, "a line of the manifest has no number where one belongs")
    return int(text)


def _checksum(text: bytes, file: str, pos: int) -> int:
    if not _HEX.fullmatch(text):
        raise LogDamaged(file, pos, "a line of the manifest has no checksum where one belongs")
    return int(text, 16)


def _quote(name: bytes) -> bytes:
    """``name`` as stock writes it: bare if every byte is plain and visible, in double quotes with escapes otherwise."""
    if name and all(0x21 <= c <= 0x7E and c not in b'"\\' for c in name):
        return name
    out = bytearray(b'"')
    for c in name:
        out += _ESCAPES.get(c) or (bytes((c,)) if 0x20 <= c <= 0x7E else b"\\x%02x" % c)
    return bytes(out + b'"')
