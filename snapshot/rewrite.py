"""The BASE of a log: a keyspace written as RDB or as commands, and read back before it may count.

``write_base`` is what the child of a rewrite does::

    write the file, under a name that no start reads, and fsync it
    read it back, decode every value, and sum up what it holds (``digest``)
    compare that with the sum over the keyspace, and both CRC-32C

What differs is an error, and nothing has happened to the log.  Only the length and the CRC-32C of
a file that was found right go into the manifest, so that it cannot change unnoticed later.

As commands (``aof-use-rdb-preamble no``) a value is built by commands of bounded size, as in
stock's own rewrite, then given its deadline.  What is due is written as well: the log goes
on behind the BASE and says itself what expired.

Memory, when reading back: one value.

It must not know: manifests, forks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import hiredis
from crc32c import crc32c

from perdure.snapshot.digest import Digest, of_keyspace
from perdure.snapshot.files import SYNC_BYTES, SnapshotFile
from perdure.snapshot.keyspace import Form, write_rdb
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import Entry, Function
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import open_source
from perdure.snapshot.store_values import MAKERS
from perdure.store import value_types
from perdure.store.database import Keyspace
from perdure.store.replay import ReplayError, replay
from perdure.store.resp import encode
from perdure.store.tx import NoLog, Tx
from perdure.store.value_types import DEFAULT_LIMITS, Limits
from perdure.wal.filesystem import File, Filesystem
from perdure.wal.format import time_line

Report = Callable[[int, int], None]
"""So many keys are done, of so many."""
FLUSH_BYTES = 256 << 10
READ_BYTES = 1 << 20
_REPORT_KEYS = 4096


class BaseWrong(Exception):
    """The file does not hold what memory does."""


@dataclass(slots=True)
class BaseForm(Form):
    """How a BASE is written.

    ``rdb``          as RDB, else as commands
    ``unix_s``       time for a ``#TS:`` line in front of commands; 0 for none
    ``incremental``  fsync every ``SYNC_BYTES``, so that there is not one long one
    """

    rdb: bool = True
    unix_s: int = 0
    incremental: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """A BASE that was read back and found right: its length, the CRC-32C of its bytes, how many keys it has."""

    bytes: int
    crc32c: int
    keys: int


class _Sink:
    """Where the bytes go: the file, and the checksum of what should be in it."""

    def __init__(self, file: File, incremental: bool) -> None:
        self._file = SnapshotFile(file, SYNC_BYTES if incremental else 0)
        self.bytes = 0
        self.crc = 0

    def write(self, data: bytes) -> None:
        """All of it; OSError as the file raises it."""
        self.bytes += len(data)
        self.crc = crc32c(data, self.crc)
        self._file.write(data)

    def finish(self) -> None:
        """All of it is on the disk when this returns."""
        self._file.finish()


def write_base(
    fs: Filesystem, path: str, keyspace: Keyspace, functions: Iterable[bytes], form: BaseForm, report: Report
) -> Written:
    """Write the BASE ``path`` durably, and read it back.

    OSError: the disk would not.  BaseWrong: it does not hold what memory does.  The file may be there then.
    """
    codes = list(functions)
    with contextlib.suppress(FileNotFoundError):
        fs.remove(path)
    file = fs.create(path)
    try:
        sink = _Sink(file, form.incremental)
        total = keyspace.key_count()
        if form.rdb:
            write_rdb(keyspace, codes, form, sink.write, report)
        else:
            _write_commands(keyspace, codes, form, sink, report)
        sink.finish()
    finally:
        file.close()
    report(total, total)
    expected = of_keyspace(keyspace, codes)
    found = _read_rdb(fs, path, form.limits) if form.rdb else _read_commands(fs, path, len(keyspace.databases), form)
    if found != expected:
        raise BaseWrong(
            f"{os.path.basename(path)} was written, read back, and does not hold what memory does: "
            f"{found.keys} keys with sum {found.sum:x} instead of {expected.keys} with {expected.sum:x}"
        )
    if fs.size(path) != sink.bytes or _crc_of(fs, path) != sink.crc:
        raise BaseWrong(f"{os.path.basename(path)}: the bytes that are read back are not those that were written")
    return Written(sink.bytes, sink.crc, found.keys)


def _crc_of(fs: Filesystem, path: str) -> int:
    crc = 0
    for piece in _pieces(fs, path):
        crc = crc32c(piece, crc)
    return crc


def _pieces(fs: Filesystem, path: str) -> Iterator[bytes]:
    offset = 0
    while piece := fs.read(path, offset, READ_BYTES):
        yield piece
        offset += len(piece)


# ---- commands ----------------------------------------------------------------------------------


def _write_commands(keyspace: Keyspace, codes: list[bytes], form: BaseForm, sink: _Sink, report: Report) -> None:
    parts: list[bytes] = []
    size = keys = 0
    total = keyspace.key_count()
    if form.unix_s:
        parts.append(time_line(form.unix_s))
    for code in codes:
        parts.append(encode((b"FUNCTION", b"LOAD", code)))
    for index, db in enumerate(keyspace.databases):
        if not db:
            continue
        parts.append(encode((b"SELECT", b"%d" % index)))
        for key, value in dict.items(db):
            if form.before_each is not None:
                form.before_each()
            for line in value_types.of(value).rebuild(key, value):
                parts.append(record := encode(line))
                size += len(record)
                if size >= FLUSH_BYTES:
                    sink.write(b"".join(parts))
                    parts, size = [], 0
            expires_ms = db.expires.get(key)
            if expires_ms is not None:
                parts.append(encode((b"PEXPIREAT", key, b"%d" % expires_ms)))
            keys += 1
            if keys % _REPORT_KEYS == 0:
                report(keys, total)
    sink.write(b"".join(parts))


class _Builder:
    """Values out of commands: those of one key follow each other, so one value is held at a time."""

    def __init__(self, databases: int, limits: Limits) -> None:
        self.keyspace = Keyspace(databases)
        self.tx = Tx(self.keyspace, NoLog(), Random(0), dict(limits))
        self.digest = Digest()
        self._lines: list[list[bytes]] = []
        self._key: bytes | None = None
        self._index = 0

    def take(self, argv: list[bytes]) -> None:
        """One command."""
        name = argv[0]
        if name == b"SELECT":
            self.finish()
            self._index = int(argv[1])
            self.tx.select(self._index)
        elif name == b"FUNCTION":
            self.digest.add_function(argv[2])
        else:
            key = argv[2] if name == b"XGROUP" else argv[1]
            if key != self._key:
                self.finish()
                self._key = key
            self._lines.append(argv)

    def finish(self) -> None:
        """The key that was built is whole."""
        key, lines, self._key, self._lines = self._key, self._lines, None, []
        if key is None:
            return
        replay(self.tx, lines)
        db = self.keyspace.databases[self._index]
        expires_ms = db.expires.get(key)
        self.digest.add(self._index, key, db.remove(key), expires_ms)


def _read_commands(fs: Filesystem, path: str, databases: int, form: BaseForm) -> Digest:
    """What a BASE of commands holds."""
    builder = _Builder(databases, form.limits)
    reader = hiredis.Reader(notEnoughData=None)
    skip = len(time_line(form.unix_s)) if form.unix_s else 0
    try:
        for piece in _pieces(fs, path):
            reader.feed(piece[skip:])
            skip = 0
            while (argv := reader.gets()) is not None:
                builder.take(argv)
        builder.finish()
    except (ReplayError, hiredis.ProtocolError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BaseWrong(f"{os.path.basename(path)} was written, and cannot be read back: {error}") from None
    return builder.digest


# ---- RDB -----------------------------------------------------------------------------------------


def _read_rdb(fs: Filesystem, path: str, limits: Limits) -> Digest:
    """What a BASE in RDB form holds."""
    digest = Digest()
    scratch = Keyspace(0)
    scratch.clock = Tx(Keyspace(1), NoLog(), Random(0), {})
    limits = {**DEFAULT_LIMITS, **limits}
    add = digest.add
    try:
        for event in Reader(open_source(fs, path), modules=False):
            if event.__class__ is Entry:
                value: Any = event.value
                if event.type != b"string":
                    value = MAKERS[event.type](value, event.code, scratch, limits)
                add(event.db, event.key, value, event.expires_ms)
            elif event.__class__ is Function:
                digest.add_function(event.code)
    except RdbError as error:
        raise BaseWrong(f"{os.path.basename(path)} was written, and cannot be read back: {error}") from None
    return digest
