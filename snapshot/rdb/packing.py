"""Strings, listpacks and intsets, put together; the counterpart of ``source`` and ``packs``.

Byte for byte what stock 7.0 writes: a string that is a number is stored as one, a longer
one is compressed where that saves four bytes at least.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import lzf

from perdure.snapshot.rdb.format import INT_8, INT_16, INT_32, INT_CHARS, LEN_32, LEN_64, LISTPACK_UNKNOWN, LZF_LEAST
from perdure.store.numbers import read_integer

MOST_LISTPACK = 1 << 30
"""Bytes: stock makes no longer one."""
_INT64_CHARS = 20
_SAVED = 5
"""Compressed and head together are to be shorter; stock gives LZF the plain length less 4, its last byte for itself."""

_heads = [bytes((n,)) for n in range(64)]
_u32 = struct.Struct("<I").pack
_big_u32 = struct.Struct(">I").pack
_big_u64 = struct.Struct(">Q").pack
_listpack_head = struct.Struct("<IH").pack
_join = b"".join
_compress = lzf.compress

# ---- lengths and strings ---------------------------------------------------------------


def length_of(n: int) -> bytes:
    """A length."""
    if n < 64:
        return _heads[n]
    if n < 1 << 14:
        return bytes((0x40 | n >> 8, n & 255))
    if n < 1 << 32:
        return bytes((LEN_32,)) + _big_u32(n)
    return bytes((LEN_64,)) + _big_u64(n)


def _small_integers() -> dict[bytes, bytes]:
    return {b"%d" % n: bytes((INT_8, n & 255)) for n in range(-128, 128)}


_INT_8_STRINGS = _small_integers()


def integer_string(text: bytes) -> bytes | None:
    """A string that is a canonical 32-bit integer, as one; None if it is none."""
    short = _INT_8_STRINGS.get(text)
    if short is not None:
        return short
    n = read_integer(text)
    if n is None:
        return None
    if -(1 << 15) <= n < 1 << 15:
        return struct.pack("<Bh", INT_16, n)
    if -(1 << 31) <= n < 1 << 31:
        return struct.pack("<Bi", INT_32, n)
    return None


def string_of(text: bytes, compress: bool) -> bytes:
    """A string, compressed if that is allowed and saves something."""
    n = len(text)
    if n <= INT_CHARS:
        if n and (text[0] < 0x3A) and (number := integer_string(text)) is not None:
            return number
        return _heads[n] + text
    if n > LZF_LEAST and compress:
        packed = _compress(text, n - _SAVED)
        if packed is not None:
            return _join((b"\xc3", length_of(len(packed)), length_of(n), packed))
    return _heads[n] + text if n < 64 else length_of(n) + text


# ---- listpacks -------------------------------------------------------------------------

_STRING_HEADS = [bytes((0x80 | n,)) for n in range(64)]
_BACK = [bytes((n,)) for n in range(128)]
_SMALL_INTEGERS = [bytes((n, 1)) for n in range(128)]


def _back_length(size: int) -> bytes:
    """The length of an entry's first two parts, to be read backwards."""
    if size < 128:
        return _BACK[size]
    width = 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    groups = [size >> 7 * place & 127 | 128 for place in range(width - 1, -1, -1)]
    groups[0] &= 127
    return bytes(groups)


def integer_entry(n: int) -> bytes:
    """A listpack's entry of a 64-bit integer."""
    if 0 <= n < 128:
        return _SMALL_INTEGERS[n]
    if -4096 <= n < 4096:
        return bytes((0xC0 | n >> 8 & 31, n & 255, 2))
    if -(1 << 15) <= n < 1 << 15:
        return struct.pack("<BhB", 0xF1, n, 3)
    if -(1 << 23) <= n < 1 << 23:
        return b"\xf2" + n.to_bytes(3, "little", signed=True) + b"\x04"
    if -(1 << 31) <= n < 1 << 31:
        return struct.pack("<BiB", 0xF3, n, 5)
    return struct.pack("<BqB", 0xF4, n, 9)


def wide_zero(size: int) -> bytes:
    """A listpack's entry of 0 that takes so many bytes, 2 to 6."""
    return (b"\0\1", b"\xc0\0\2", b"\xf1\0\0\3", b"\xf2\0\0\0\4", b"\xf3\0\0\0\0\5")[size - 2]


def entry_of(text: bytes) -> bytes:
    """A listpack's entry of a string."""
    n = len(text)
    if n <= _INT64_CHARS and n and text[0] < 0x3A:
        number = read_integer(text)
        if number is not None:
            return integer_entry(number)
    if n < 64:
        return _join((_STRING_HEADS[n], text, _BACK[n + 1]))
    if n < 4096:
        head = bytes((0xE0 | n >> 8, n & 255))
    else:
        head = b"\xf0" + _u32(n)
    return _join((head, text, _back_length(len(head) + n)))


def listpack_of_entries(entries: Sequence[bytes], count: int = -1) -> bytes:
    """A listpack of entries; ``count`` if they are not one an item."""
    body = _join(entries)
    n = len(entries) if count < 0 else count
    return _join((_listpack_head(len(body) + 7, min(n, LISTPACK_UNKNOWN)), body, b"\xff"))


def listpack_of(texts: Iterable[bytes]) -> bytes | None:
    """A listpack of strings; None if it would be longer than stock makes one."""
    entries = [entry_of(text) for text in texts]
    return listpack_of_entries(entries) if sum(map(len, entries)) < MOST_LISTPACK else None


# ---- intsets ---------------------------------------------------------------------------

_CODES = {2: "h", 4: "i", 8: "q"}


def intset_of(integers: Sequence[int], width: int = 0) -> bytes:
    """An intset of ascending integers of at least ``width`` bytes."""
    low, high = integers[0], integers[-1]
    for size in (2, 4, 8):
        half = 1 << 8 * size - 1
        if size >= width and -half <= low and high < half:
            return struct.pack(f"<II{len(integers)}{_CODES[size]}", size, len(integers), *integers)
    raise OverflowError("no 64-bit integer")
