"""A file as events, one after the other.

::

    for event in Reader(open_source(fs, path)):
        if event.__class__ is Entry: ...

A file is ``REDIS`` and four digits of version (or ``VALKEY`` and three), then opcodes,
each with its data, and keys, each with its type before and its value behind it, then
255, then from version 5 on the checksum of all before it, 8 bytes little-endian, or 0
where it was not computed.  What belongs to a key (expiry, idle time, frequency) stands
before its type.

``offset`` and ``size`` tell how far it has come.  Everything that is wrong is an
``RdbError`` with file, offset, opcode and key; an OSError of the filesystem is passed on.

Memory: a chunk of the file and the value of one key, whatever the size of the file.

The fast path is for strings under short keys, which most keys are: everything is taken
out of the buffer in place, with a margin that no such key can pass.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import (
    Aux,
    End,
    Entry,
    Event,
    FieldsWithExpiry,
    Function,
    ResizeDb,
    SelectDb,
    SkippedModule,
    SlotImport,
    SlotInfo,
)
from perdure.snapshot.rdb.source import INT_8_TEXTS, Source, source_of
from perdure.snapshot.rdb.values import deadline, reader_of, skip_module_value

_MARGIN = 160
"""More than expiry (9), type (1), a short key (64) and a short value (64) or the head of a longer one (2) take."""
_i64_at = struct.Struct("<q").unpack_from
_i16_at = struct.Struct("<h").unpack_from
_i32_at = struct.Struct("<i").unpack_from
_NO_EXPIRY = -1
_FAST = (f.STRING, f.EXPIRE_MS)
"""What may begin a key that the fast path takes."""


class Reader:
    """Reads one file.

    ``checksum``  is it to be compared with the stored one?
    ``modules``   are values of modules skipped, and told of as ``SkippedModule``?  If not, they are an error
    """

    def __init__(self, source: Source, *, checksum: bool = True, modules: bool = True) -> None:
        self.source = source
        self.checksum = checksum
        self.modules = modules
        self.skipped_modules = 0
        self.db = 0
        self._opcode: int | None = None
        self._key: bytes | None = None
        self._expires_ms: int | None = None
        self._idle_s: int | None = None
        self._freq: int | None = None
        self._deadlines: dict[bytes, int] | None = None
        source.sums = checksum
        try:
            self.version, self.valkey = self._read_head()
        except RdbError as error:
            raise self._placed(error) from None

    @property
    def offset(self) -> int:
        """How much of the file has been read, in bytes."""
        return self.source.offset()

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.source.size

    def _placed(self, error: RdbError) -> RdbError:
        return error.at(self.source.name, self.source.offset(), self._opcode, self._key)

    def _read_head(self) -> tuple[int, bool]:
        source = self.source
        head = source.take(min(f.HEAD_BYTES, source.left()))
        valkey = head.startswith(f.VALKEY_MAGIC)
        digits = head[len(f.VALKEY_MAGIC if valkey else f.MAGIC) :]
        if not (valkey or head.startswith(f.MAGIC)) or len(head) != f.HEAD_BYTES or not digits.isdigit():
            raise RdbError("this is no RDB file")
        version = int(digits)
        if version in f.LATER_VERSIONS and not valkey:
            raise RdbError(f"RDB version {version}, that of {f.LATER_VERSIONS[version]}, is newer than what is read")
        if version != f.VALKEY if valkey else not f.OLDEST <= version <= f.NEWEST:
            raise RdbError(f"{'Valkey' if valkey else ''} RDB version {version} is none that is read".lstrip())
        return version, valkey

    def __iter__(self) -> Iterator[Event]:
        source = self.source
        try:
            while True:
                if source.at >= len(source.buf) or source.buf[source.at] in _FAST:
                    yield from self._strings()
                event = self._next()
                if event is not None:
                    yield event
                    if event.__class__ is End:
                        return
                if source.at > len(source.buf) - _MARGIN:
                    source.fill()
        except RdbError as error:
            raise self._placed(error) from None

    # ---- the fast path -----------------------------------------------------------------

    def _strings(self) -> Iterator[Event]:
        """Strings under short keys, as long as one follows the other."""
        if self._idle_s is not None or self._freq is not None or self._expires_ms is not None:
            return
        if self._deadlines is not None:
            return
        source = self.source
        buf = source.buf
        base = source.base
        db = self.db
        at = source.at
        size = len(buf)
        margin = size - _MARGIN
        make = tuple.__new__
        kind = b"string"
        while at < margin:
            expires_ms = None
            start = at
            code = buf[at]
            if code:
                if code != 252 or buf[at + 9]:
                    return
                expires_ms = _i64_at(buf, at + 1)[0]
                if expires_ms == _NO_EXPIRY:
                    return
                start = at + 9
            n = buf[start + 1]
            if n > 63:
                return
            head = start + 2
            end = head + n
            key = buf[head:end]
            n = buf[end]
            if n < 64:
                head = end + 1
                end = head + n
                value = buf[head:end]
            elif n < 128:
                head = end + 2
                end = head + ((n & 63) << 8 | buf[end + 1])
                if end > size:
                    return
                value = buf[head:end]
            elif n == 0xC0:
                value = INT_8_TEXTS[buf[end + 1]]
                end += 2
            elif n == 0xC1:
                value = b"%d" % _i16_at(buf, end + 1)[0]
                end += 3
            elif n == 0xC2:
                value = b"%d" % _i32_at(buf, end + 1)[0]
                end += 5
            else:  # compressed, or long
                self._opcode, self._key = 0, key
                source.at = end
                value = source.string()
                if source.buf is not buf:
                    yield make(Entry, (db, key, kind, value, expires_ms, None, None, 0, base + start))
                    return
                end = source.at
            source.at = at = end
            yield make(Entry, (db, key, kind, value, expires_ms, None, None, 0, base + start))

    # ---- everything else ---------------------------------------------------------------

    def _next(self) -> Event | None:
        """One opcode or key, and what comes of it; None if that is part of the key to come."""
        source = self.source
        self._key = None
        offset = source.offset()
        self._opcode = None
        opcode = self._opcode = source.byte()
        if opcode < f.SLOT_IMPORT:
            return self._entry(opcode, offset)
        if opcode == f.EXPIRE_MS:
            self._expire(source.milliseconds())
        elif opcode == f.EXPIRE_S:
            self._expire(source.seconds() * 1000)
        elif opcode == f.IDLE:
            self._idle_s = source.length()
        elif opcode == f.FREQ:
            self._freq = source.byte()
        elif opcode == f.AUX:
            return self._aux()
        elif opcode == f.SELECT_DB:
            self.db = source.length()
            return SelectDb(self.db)
        elif opcode == f.RESIZE_DB:
            return ResizeDb(source.length(), source.length())
        elif opcode == f.EOF:
            return self._end()
        elif opcode == f.MODULE_AUX:
            return self._module_aux(offset)
        elif opcode == f.FUNCTION:
            return Function(source.string())
        elif opcode == f.FUNCTION_PRE_RELEASE:
            return self._old_function()
        elif opcode == f.SLOT_INFO:
            return SlotInfo(source.length(), source.length(), source.length())
        else:
            return SlotImport(source.string(), [(source.length(), source.length()) for _ in range(source.count(2))])
        return None

    def _expire(self, moment_ms: int) -> None:
        self._expires_ms = None if moment_ms == _NO_EXPIRY else moment_ms

    def _entry(self, code: int, offset: int) -> Event:
        source = self.source
        if code == f.MODULE:
            return self._module(offset)
        name, read = reader_of(code, self.valkey)
        key = self._key = source.string()
        value = read(source)
        if self._deadlines is not None:
            if code not in (f.HASH, f.HASH_LISTPACK) or not value.keys() >= self._deadlines.keys():
                raise RdbError("fields that are not there have deadlines")
            value = FieldsWithExpiry(value, self._deadlines)
        entry = Entry(self.db, key, name, value, self._expires_ms, self._idle_s, self._freq, code, offset)
        self._expires_ms = self._idle_s = self._freq = self._deadlines = None
        return entry

    def _aux(self) -> Event | None:
        source = self.source
        key = source.string()
        value = source.string()
        if key != f.FIELD_DEADLINES:
            return Aux(key, value)
        inner = source_of(value)
        self._deadlines = {}
        while inner.left():
            moment = deadline(inner.milliseconds())
            self._deadlines[inner.string()] = moment
        return None

    def _old_function(self) -> Function:
        """Name, engine, perhaps a description, source: as 7.0 takes it, a library with the head that it has now."""
        source = self.source
        name = source.string()
        engine = source.string()
        if source.length():
            source.string()
        return Function(b"#!%b name=%b\n%b" % (engine, name, source.string()))

    def _module(self, offset: int) -> SkippedModule:
        source = self.source
        key = self._key = source.string()
        module = f.module_name(source.length())
        if not self.modules:
            raise RdbError(f"a value of the module type {module}")
        skip_module_value(source)
        self.skipped_modules += 1
        event = SkippedModule(self.db, key, module, self._expires_ms, offset, source.offset() - offset)
        self._expires_ms = self._idle_s = self._freq = self._deadlines = None
        return event

    def _module_aux(self, offset: int) -> SkippedModule:
        source = self.source
        module = f.module_name(source.length())
        if not self.modules:
            raise RdbError(f"data of the module type {module}")
        if source.length() != f.MODULE_UINT:
            raise RdbError("a module's data does not begin with when it is to be loaded")
        source.length()
        skip_module_value(source)
        self.skipped_modules += 1
        return SkippedModule(self.db, None, module, None, offset, source.offset() - offset)

    def _end(self) -> End:
        source = self.source
        if self._expires_ms is not None or self._deadlines is not None:
            raise RdbError("the file ends where a key should follow")
        if self.version < f.CHECKSUM_SINCE:
            return End(source.offset(), None)
        computed = source.sum()
        stored = source.unsigned()
        if self.checksum and stored and stored != computed:
            raise RdbError(f"the file's checksum is {computed:016x} and not {stored:016x}, as it says")
        return End(source.offset(), stored or None)


def read_file(source: Source, *, checksum: bool = True, modules: bool = True) -> Iterator[Event]:
    """The events of a file; see ``Reader``."""
    return iter(Reader(source, checksum=checksum, modules=modules))
