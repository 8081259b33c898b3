"""Values packed into one string: ziplist, listpack, zipmap, intset, taken apart.

::

    ziplist   u32 bytes, u32 offset of the last entry, u16 count, entries, 0xFF
      entry   length of the one before (1 byte, or 0xFE and u32), encoding, data
    listpack  u32 bytes, u16 count, entries, 0xFF
      entry   encoding, data, and the length of both backwards in 7-bit groups
    zipmap    u8 count, (key, value)*, 0xFF; a key is its length and bytes, a value its length, a byte that
              tells how many bytes behind it are unused, and bytes; a length is 1 byte, or 0xFE and u32
    intset    u32 width (2, 4, 8), u32 count, integers ascending

Counts of 65,535 (ziplist, listpack) and from 254 on (zipmap) say: walk it.  All numbers
are little-endian but the lengths of strings in a ziplist, which are big-endian.

Everything is walked within bounds, and what stands there twice (lengths of the entry
before, of the whole, counts) must agree.  Numbers come out in their decimal form.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.format import LISTPACK_UNKNOWN
from perdure.snapshot.rdb.source import INT_8_TEXTS

_END = 0xFF
_LONG = 0xFE
_ZIPLIST_HEAD = 10
_LISTPACK_HEAD = 6

_u16 = struct.Struct("<H").unpack_from
_u32 = struct.Struct("<I").unpack_from
_i16 = struct.Struct("<h").unpack_from
_i32 = struct.Struct("<i").unpack_from
_i64 = struct.Struct("<q").unpack_from
_big_u32 = struct.Struct(">I").unpack_from

_SMALL = [b"%d" % n for n in range(128)]
_INTEGER_CODES = {2: "h", 4: "i", 8: "q"}
_from_bytes = int.from_bytes


def listpack(data: bytes) -> list[bytes]:
    """The elements of a listpack."""
    if len(data) <= _LISTPACK_HEAD or _u32(data)[0] != len(data) or data[-1] != _END:
        raise RdbError("listpack: its length or its end is wrong")
    try:
        out, at = _walk_listpack(data)
    except (struct.error, IndexError):
        raise RdbError("listpack: an entry goes beyond its end") from None
    count = _u16(data, 4)[0]
    if at != len(data) - 1:
        raise RdbError("listpack: an entry goes beyond its end")
    if count != LISTPACK_UNKNOWN and count != len(out):
        raise RdbError(f"listpack: it says {count} entries and has {len(out)}")
    return out


def _walk_listpack(data: bytes) -> tuple[list[bytes], int]:
    """The elements, and where they end."""
    out: list[bytes] = []
    push = out.append
    end = len(data) - 1
    at = _LISTPACK_HEAD
    while at < end:
        n = data[at]
        if n < 0x80:
            push(_SMALL[n])
            size = 1
        elif n < 0xC0:
            size = 1 + (n & 63)
            push(data[at + 1 : at + size])
        elif n < 0xE0:
            value = (n & 31) << 8 | data[at + 1]
            push(b"%d" % (value - 8192 if value > 4095 else value))
            size = 2
        elif n < 0xF0:
            size = 2 + ((n & 15) << 8 | data[at + 1])
            push(data[at + 2 : at + size])
        elif n == 0xF0:
            size = 5 + _u32(data, at + 1)[0]
            push(data[at + 5 : at + size])
        elif n == 0xF1:
            push(b"%d" % _i16(data, at + 1)[0])
            size = 3
        elif n == 0xF2:
            push(b"%d" % _from_bytes(data[at + 1 : at + 4], "little", signed=True))
            size = 4
        elif n == 0xF3:
            push(b"%d" % _i32(data, at + 1)[0])
            size = 5
        elif n == 0xF4:
            push(b"%d" % _i64(data, at + 1)[0])
            size = 9
        else:
            raise RdbError(f"listpack: {n:#x} begins no entry")
        at += size
        if size < 128:
            if data[at] != size:
                raise RdbError("listpack: the length behind an entry is not its own")
            at += 1
        else:
            at = _check_back_length(data, at, size)
    return out, at


def _check_back_length(data: bytes, at: int, size: int) -> int:
    """Where the length behind an entry of ``size`` bytes ends, which stands from ``at`` on."""
    width = 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    said = 0
    for place in range(width):
        group = data[at + place]
        said = said << 7 | group & 127
        if (group > 127) != (place > 0):
            said = -1
            break
    if said != size:
        raise RdbError("listpack: the length behind an entry is not its own")
    return at + width


def ziplist(data: bytes) -> list[bytes]:
    """The elements of a ziplist."""
    if len(data) <= _ZIPLIST_HEAD or _u32(data)[0] != len(data) or data[-1] != _END:
        raise RdbError("ziplist: its length or its end is wrong")
    try:
        out, at, last = _walk_ziplist(data)
    except (struct.error, IndexError):
        raise RdbError("ziplist: an entry goes beyond its end") from None
    count = _u16(data, 8)[0]
    if at != len(data) - 1:
        raise RdbError("ziplist: an entry goes beyond its end")
    if count != LISTPACK_UNKNOWN and count != len(out):
        raise RdbError(f"ziplist: it says {count} entries and has {len(out)}")
    if _u32(data, 4)[0] != last:
        raise RdbError("ziplist: the offset of its last entry is wrong")
    return out


def _walk_ziplist(data: bytes) -> tuple[list[bytes], int, int]:
    """The elements, where they end, and where the last one begins."""
    out: list[bytes] = []
    push = out.append
    end = len(data) - 1
    at = last = _ZIPLIST_HEAD
    previous = 0
    while at < end:
        last = at
        before = data[at]
        at += 1
        if before == _LONG:
            before = _u32(data, at)[0]
            at += 4
        elif before == _END:
            before = -1
        if before != previous:
            raise RdbError("ziplist: an entry does not know the length of the one before")
        n = data[at]
        if n < 0x40:
            at += 1
            push(data[at : at + n])
            at += n
        elif n < 0xC0:
            if n < 0x80:
                size = (n & 63) << 8 | data[at + 1]
                at += 2
            elif n == 0x80:
                size = _big_u32(data, at + 1)[0]
                at += 5
            else:
                raise RdbError(f"ziplist: {n:#x} begins no entry")
            push(data[at : at + size])
            at += size
        else:
            text, at = _ziplist_integer(data, at, n)
            push(text)
        previous = at - last
    return out, at, last


def _ziplist_integer(data: bytes, at: int, n: int) -> tuple[bytes, int]:
    """An integer whose encoding ``n`` stands at ``at``, and where its entry ends."""
    if 0xF1 <= n <= 0xFD:
        return _SMALL[n - 0xF1], at + 1
    if n == 0xFE:
        return INT_8_TEXTS[data[at + 1]], at + 2
    if n == 0xC0:
        return b"%d" % _i16(data, at + 1)[0], at + 3
    if n == 0xF0:
        return b"%d" % _from_bytes(data[at + 1 : at + 4], "little", signed=True), at + 4
    if n == 0xD0:
        return b"%d" % _i32(data, at + 1)[0], at + 5
    if n == 0xE0:
        return b"%d" % _i64(data, at + 1)[0], at + 9
    raise RdbError(f"ziplist: {n:#x} begins no entry")


def zipmap(data: bytes) -> list[bytes]:
    """Keys and values of a zipmap, one behind the other."""
    if len(data) < 2 or data[-1] != _END:
        raise RdbError("zipmap: it has no end")
    out: list[bytes] = []
    end = len(data) - 1
    at = 1
    try:
        while at < end:
            for is_value in (0, 1):
                size = data[at]
                at += 1
                if size == _LONG:
                    size = _u32(data, at)[0]
                    at += 4
                elif size == _END:
                    raise RdbError("zipmap: it ends in the middle of a pair")
                unused = data[at] if is_value else 0
                at += is_value
                out.append(data[at : at + size])
                at += size + unused
    except (struct.error, IndexError):
        raise RdbError("zipmap: an entry goes beyond its end") from None
    if at != end:
        raise RdbError("zipmap: an entry goes beyond its end")
    if data[0] < _LONG and 2 * data[0] != len(out):
        raise RdbError(f"zipmap: it says {data[0]} pairs and has {len(out) // 2}")
    return out


def intset(data: bytes) -> list[bytes]:
    """The members of an intset."""
    if len(data) < 8:
        raise RdbError("intset: it is too short")
    width, count = struct.unpack_from("<II", data)
    if width not in _INTEGER_CODES or 8 + width * count != len(data):
        raise RdbError("intset: its length is wrong")
    integers = struct.unpack_from(f"<{count}{_INTEGER_CODES[width]}", data, 8)
    if any(a >= b for a, b in pairwise(integers)):
        raise RdbError("intset: its members do not ascend")
    return [b"%d" % n for n in integers]
