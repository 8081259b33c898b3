"""Bytes to read from, a chunk at a time: a file through the one filesystem interface, or bytes in memory.

``buf[at:]`` is what has been read and not yet been taken.  Before it stands ``base + at``
bytes of the file, and every length is checked against what is left of it before
anything is allocated.  The checksum is summed up as the bytes are let go of.

The fast path of ``Reader`` goes through ``buf`` itself; all others through the methods.

Memory: a chunk and what was asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import lzf
from anycrc import Model

from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.format import INT_8, INT_16, INT_32, LEN_32, LEN_64, LZF, LZF_MOST
from perdure.wal.filesystem import Filesystem

CHUNK_BYTES = 256 << 10
_PIECE_BYTES = 4 << 20

crc64: Callable[..., int] = Model("CRC64-REDIS").calc
"""The checksum of bytes, or of what has the checksum given and bytes behind it."""

_u16 = struct.Struct("<H").unpack
_u32 = struct.Struct("<I").unpack
_i16 = struct.Struct("<h").unpack
_i32 = struct.Struct("<i").unpack
_i64 = struct.Struct("<q").unpack
_u64 = struct.Struct("<Q").unpack
_f32 = struct.Struct("<f").unpack
_f64 = struct.Struct("<d").unpack
_big_u32 = struct.Struct(">I").unpack
_big_u64 = struct.Struct(">Q").unpack

INT_8_TEXTS = [b"%d" % (n - 256 if n > 127 else n) for n in range(256)]
"""What an 8-bit integer prints as, by its byte."""


def decompressed(data: bytes, size: int) -> bytes:
    """LZF undone; RdbError unless it gives exactly ``size`` bytes."""
    if size > LZF_MOST * len(data):
        raise RdbError(f"{len(data)} bytes of LZF cannot give {size}")
    plain: bytes | None
    try:
        plain = lzf.decompress(data, size) if data and size else None
    except ValueError:
        plain = None
    if plain is None or len(plain) != size:
        raise RdbError(f"LZF data does not give the {size} bytes that it should")
    return bytes(plain)


class Source:
    """Bytes from ``start`` on to ``size`` of a file called ``name``; ``pull(offset, length)`` reads of it.

    ``pull`` gives fewer bytes than asked for only at the file's end.
    """

    __slots__ = ("_pull", "_summed", "at", "base", "buf", "crc", "name", "size", "sums")

    def __init__(self, name: str, size: int, pull: Callable[[int, int], bytes] | None, start: int = 0) -> None:
        self.name = name
        self.size = size
        self._pull = pull
        self.base = start
        self.buf = b""
        self.at = 0
        self.crc = 0
        self.sums = True
        """Is the checksum wanted?"""
        self._summed = 0
        """Up to where ``buf`` is in ``crc``."""

    # ---- where it stands ---------------------------------------------------------------

    def offset(self) -> int:
        """Where in the file it stands."""
        return self.base + self.at

    def left(self) -> int:
        """How many bytes are left."""
        return self.size - self.base - self.at

    def sum(self) -> int:
        """The checksum of everything from the start to here."""
        if self.sums and self._summed < self.at:
            self.crc = crc64(memoryview(self.buf)[self._summed : self.at], self.crc)
        self._summed = self.at
        return self.crc

    def fill(self) -> bool:
        """Have at least a chunk in ``buf``, if there is so much; False if nothing came."""
        start = self.base + len(self.buf)
        if self._pull is None or start >= self.size:
            return False
        self.sum()
        rest = self.buf[self.at :]
        more = self._pulled(start, min(CHUNK_BYTES, self.size - start))
        self.base += self.at
        self.buf = rest + more
        self.at = self._summed = 0
        return True

    def _pulled(self, offset: int, length: int) -> bytes:
        assert self._pull is not None
        data = self._pull(offset, length)
        if len(data) != length:
            raise RdbError("the file has become shorter while it was read")
        return data

    # ---- taking ------------------------------------------------------------------------

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        at = self.at
        end = at + length
        if end <= len(self.buf):
            self.at = end
            return self.buf[at:end]
        left = self.left()
        if length > left:
            raise RdbError(f"{length} bytes are announced, {left} are left")
        if length <= CHUNK_BYTES:
            self.fill()
            end = self.at = length
            return self.buf[:end]
        return self._take_long(length)

    def _take_long(self, length: int) -> bytes:
        """More than a chunk, in pieces."""
        parts = [self.buf[self.at :]]
        missing = length - len(parts[0])
        offset = self.base + len(self.buf)
        self.at = len(self.buf)
        self.sum()
        while missing:
            piece = self._pulled(offset, min(missing, _PIECE_BYTES))
            parts.append(piece)
            if self.sums:
                self.crc = crc64(piece, self.crc)
            offset += len(piece)
            missing -= len(piece)
        self.base = offset
        self.buf = b""
        self.at = self._summed = 0
        return b"".join(parts)

    def skip(self, length: int) -> None:
        """Pass ``length`` bytes over without holding them."""
        if length > self.left():
            raise RdbError(f"{length} bytes are announced, {self.left()} are left")
        while length:
            part = min(length, CHUNK_BYTES)
            self.take(part)
            length -= part

    def byte(self) -> int:
        """The next byte."""
        try:
            n = self.buf[self.at]
        except IndexError:
            return self.take(1)[0]
        self.at += 1
        return n

    # ---- numbers -----------------------------------------------------------------------

    def length(self) -> int:
        """A length."""
        n = self.byte()
        if n < 64:
            return n
        if n < 128:
            return (n & 63) << 8 | self.byte()
        if n == LEN_32:
            return int(_big_u32(self.take(4))[0])
        if n == LEN_64:
            return int(_big_u64(self.take(8))[0])
        raise RdbError(f"{n:#x} begins no length")

    def count(self, least: int = 1) -> int:
        """A number of things of at least ``least`` bytes each."""
        n = self.length()
        if n * least > self.left():
            raise RdbError(f"{n} members are announced, {self.left()} bytes are left")
        return n

    def milliseconds(self) -> int:
        """8 bytes, signed."""
        return int(_i64(self.take(8))[0])

    def seconds(self) -> int:
        """4 bytes, signed."""
        return int(_i32(self.take(4))[0])

    def unsigned(self) -> int:
        """8 bytes."""
        return int(_u64(self.take(8))[0])

    def double(self) -> float:
        """8 bytes."""
        return float(_f64(self.take(8))[0])

    # ---- strings -----------------------------------------------------------------------

    def string(self) -> bytes:
        """A string in any encoding."""
        n = self.byte()
        if n < 64:
            return self.take(n)
        if n < 128:
            return self.take((n & 63) << 8 | self.byte())
        if n == INT_8:
            return INT_8_TEXTS[self.byte()]
        if n == INT_16:
            return b"%d" % _i16(self.take(2))[0]
        if n == INT_32:
            return b"%d" % _i32(self.take(4))[0]
        if n == LZF:
            size = self.length()
            plain = self.length()
            return decompressed(self.take(size), plain)
        if n == LEN_32:
            return self.take(_big_u32(self.take(4))[0])
        if n == LEN_64:
            return self.take(_big_u64(self.take(8))[0])
        raise RdbError(f"{n:#x} begins no string")

    def strings(self, count: int) -> list[bytes]:
        """So many strings."""
        out: list[bytes] = []
        push = out.append
        string = self.string
        buf = self.buf
        for _ in range(count):
            # Short ones straight out of the buffer: no more than what ``string`` does.
            at = self.at
            if at < len(buf) and (n := buf[at]) < 64 and (end := at + 1 + n) <= len(buf):
                self.at = end
                push(buf[at + 1 : end])
            else:
                push(string())
                buf = self.buf
        return out


def source_of(data: bytes, name: str = "") -> Source:
    """Bytes in memory as a source."""
    source = Source(name, len(data), None)
    source.buf = data
    return source


def open_source(fs: Filesystem, path: str, start: int = 0) -> Source:
    """A file as a source; OSError as ``fs`` raises it, here and while it is read."""

    def pull(offset: int, length: int) -> bytes:
        return fs.read(path, offset, length)

    return Source(path, fs.size(path), pull, start)
