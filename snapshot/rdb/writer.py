"""Events as a file, one after the other; the counterpart of ``Reader``.

::

    writer = Writer(file.write)
    writer.head(standard_aux(...))
    writer.select(0, len(db), len(db.expires))
    writer.entry(key, b"string", value)
    writer.end()

Bytes go to ``sink`` some 256 KiB at a time, in the middle of a value, too, so memory is
bounded by that and the value.  ``sink`` may take fewer than it is given, as ``write``
does.  It must not know: files, and what is done with them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import FieldsWithExpiry
from perdure.snapshot.rdb.packing import length_of, string_of
from perdure.snapshot.rdb.source import crc64

FLUSH_BYTES = 256 << 10
_FLUSH_KEYS = 4096
_expire_ms = struct.Struct("<Bq").pack
_u64 = struct.Struct("<Q").pack
_join = b"".join
_EXPIRE_MS = f.EXPIRE_MS
_STRING_CODE = bytes((f.STRING,))
_CODES = [bytes((code,)) for code in range(256)]

Lost = Callable[[bytes | None, str], None]


def standard_aux(redis_version: str, created_s: int, used_bytes: int, aof_base: bool) -> list[tuple[bytes, bytes]]:
    """The facts that stock writes into each file: version, word size, time (unix s), memory, is it an AOF's base?"""
    return [
        (b"redis-ver", redis_version.encode()),
        (b"redis-bits", b"64"),
        (b"ctime", b"%d" % created_s),
        (b"used-mem", b"%d" % used_bytes),
        (b"aof-base", b"%d" % aof_base),
    ]


class Writer:
    """Writes one file.

    ``version``    9 to 12
    ``compress``   stock's ``rdbcompression``
    ``checksum``   stock's ``rdbchecksum``: else 0 stands in its place
    ``limits``     thresholds by option name
    ``own_facts``  may what the version cannot hold stand in AUX fields of our own, which stock skips?
    ``lost``       is told the key (None outside of one) and what of it the version cannot hold, which is left out;
                   without it that is an ``RdbError``
    """

    def __init__(
        self,
        sink: Callable[[bytes], Any],
        *,
        version: int = 10,
        compress: bool = True,
        checksum: bool = True,
        limits: Mapping[str, int] | None = None,
        own_facts: bool = False,
        lost: Lost | None = None,
    ) -> None:
        self.version = version
        self.written = 0
        """Bytes that went to the sink."""
        self.keys = 0
        """Keys that were written."""
        self._sink = sink
        self._own_facts = own_facts
        self._lost = lost
        self._key: bytes | None = None
        self._compress = compress
        self._checksum = checksum
        self._crc = 0
        self._parts: list[bytes] = []
        self._size = 0
        self.encoder = Encoder(version, compress, limits, self._lose if lost is not None else None)

    def _lose(self, what: str) -> None:
        assert self._lost is not None
        self._lost(self._key, what)

    # ---- out ---------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the sink."""
        data = _join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._checksum:
            self._crc = crc64(data, self._crc)
        self._give(data)

    def _give(self, data: bytes) -> None:
        """To the sink, however little it takes at once; one that returns None took everything."""
        self.written += len(data)
        while data:
            taken = self._sink(data)
            if taken is None or taken == len(data):
                return
            data = data[taken:]

    # ---- around keys -------------------------------------------------------------------

    def head(self, aux: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """How a file begins, with these facts."""
        self._put(f.MAGIC + b"%04d" % self.version)
        for key, value in aux:
            self.aux(key, value)

    def aux(self, key: bytes, value: bytes) -> None:
        """A fact."""
        self._put(_CODES[f.AUX] + string_of(key, self._compress) + string_of(value, self._compress))

    def function(self, code: bytes) -> None:
        """A library of functions."""
        self._key = None
        if self.version < f.FUNCTIONS_SINCE:
            self.encoder.lose("functions")
            return
        self._put(_CODES[f.FUNCTION] + string_of(code, self._compress))

    def select(self, index: int, keys: int, expiring: int) -> None:
        """The keys that follow are in this database, which has so many, so many of them with a deadline."""
        self._put(
            _CODES[f.SELECT_DB] + length_of(index) + _CODES[f.RESIZE_DB] + length_of(keys) + length_of(expiring)
        )

    def end(self) -> int:
        """The end; how many bytes the file has."""
        self._put(_CODES[f.EOF])
        self.flush()
        self._give(_u64(self._crc if self._checksum else 0))
        return self.written

    # ---- keys --------------------------------------------------------------------------

    def strings(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Strings that do not expire: what most keys are, as fast as there is."""
        compress = self._compress
        parts = self._parts
        push = parts.append
        encode = string_of
        code = _STRING_CODE
        size = 0
        before = len(parts)
        for key, value in items:
            push(code)
            push(encode(key, compress))
            data = encode(value, compress)
            push(data)
            size += len(data)
            if size > FLUSH_BYTES or len(parts) > _FLUSH_KEYS * 3:
                self.keys += (len(parts) - before) // 3
                self.flush()
                size = before = 0
        if parts:
            self.keys += (len(parts) - before) // 3
            self.flush()

    def entry(
        self,
        key: bytes,
        kind: bytes,
        value: Any,
        expires_ms: int | None = None,
        idle_s: int | None = None,
        freq: int | None = None,
        big: bool | None = None,
    ) -> None:
        """A key; type and value as in ``events``, ``big`` as in ``Encoder.value``."""
        if kind == b"hash" and value.__class__ is FieldsWithExpiry and self._own_facts:
            value = self._facts_of(value)
        self.encoded(key, lambda encoder: encoder.value(kind, value, big), expires_ms, idle_s, freq)

    def encoded(
        self,
        key: bytes,
        encode: Callable[[Encoder], tuple[int, Iterable[bytes]]],
        expires_ms: int | None = None,
        idle_s: int | None = None,
        freq: int | None = None,
    ) -> None:
        """A key whose type in the file and whose pieces ``encode`` gives."""
        self._key = key
        try:
            code, pieces = encode(self.encoder)
        except RdbError as error:
            error.key = key
            raise
        head = _expire_ms(_EXPIRE_MS, expires_ms) if expires_ms is not None else b""
        if idle_s is not None:
            head += _CODES[f.IDLE] + length_of(idle_s)
        if freq is not None:
            head += _CODES[f.FREQ] + _CODES[freq]
        self.keys += 1
        self._put(head + _CODES[code] + string_of(key, self._compress))
        for piece in pieces:
            self._put(piece)

    def _facts_of(self, value: FieldsWithExpiry) -> Mapping[bytes, bytes]:
        """The hash without deadlines, which then stand before it in a field of our own."""
        if self.version >= f.FIELD_EXPIRY_SINCE or not value.expires_ms:
            return value
        self.aux(f.FIELD_DEADLINES, self.encoder.field_deadlines(value.expires_ms))
        return dict(value)
