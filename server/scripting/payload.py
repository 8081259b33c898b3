"""What FUNCTION DUMP and RESTORE exchange: stock's serialised form.

::

    payload  = ( 0xF5 string )*  version  checksum
    string   = length bytes | 0xC3 length length compressed    (packed length, then the plain one)
    length   = 00xxxxxx | 01xxxxxx x | 0x80 and 4 bytes, big-endian | 0x81 and 8 bytes
    version  = 2 bytes, little-endian: of RDB, 10
    checksum = 8 bytes, little-endian: CRC-64 of all before, 0 for none

Strings are written plain; compressed ones are read.  Every length is checked against what is
there before anything is made.

It must not know: Lua, what a library is.
"""

from __future__ import annotations

from anycrc import Model

from perdure.store import script_errors
from perdure.store.errors import CommandError

_FUNCTION = 0xF5
_VERSION = 10
_FOOTER_BYTES = 10
_MAX_BYTES = 512 << 20
_CRC = Model("CRC64-REDIS")


class _Damaged(Exception):
    """The payload is not what its checksum says."""


def dump(codes: list[bytes]) -> bytes:
    """The payload of libraries' codes."""
    body = b"".join([bytes((_FUNCTION,)) + _length(len(code)) + code for code in codes])
    body += _VERSION.to_bytes(2, "little")
    checksum: int = _CRC.calc(body)
    return body + checksum.to_bytes(8, "little")


def restore(payload: bytes) -> list[bytes]:
    """The codes of libraries in a payload.  CommandError if it is none."""
    footer = payload[-_FOOTER_BYTES:]
    if len(payload) < _FOOTER_BYTES or int.from_bytes(footer[:2], "little") > _VERSION:
        raise CommandError(script_errors.BAD_PAYLOAD)
    checksum = int.from_bytes(footer[2:], "little")
    if checksum and checksum != _CRC.calc(payload[:-8]):
        raise CommandError(script_errors.BAD_PAYLOAD)
    codes: list[bytes] = []
    at, end = 0, len(payload) - _FOOTER_BYTES
    while at < end:
        kind = payload[at]
        if kind != _FUNCTION:
            raise CommandError(script_errors.OLD_FUNCTIONS if kind == 0xF6 else script_errors.NOT_A_FUNCTION)
        try:
            code, at = _read_string(payload, at + 1, end)
        except _Damaged:
            raise CommandError(script_errors.FUNCTIONS_NOT_LOADED) from None
        codes.append(code)
    return codes


def _length(n: int) -> bytes:
    if n < 1 << 6:
        return bytes((n,))
    if n < 1 << 14:
        return bytes((0x40 | n >> 8, n & 0xFF))
    if n < 1 << 32:
        return b"\x80" + n.to_bytes(4, "big")
    return b"\x81" + n.to_bytes(8, "big")


def _read_length(payload: bytes, at: int, end: int) -> tuple[int, int]:
    if at >= end:
        raise _Damaged
    first = payload[at]
    kind = first >> 6
    size = 1 if kind == 0 else 2 if kind == 1 else {0x80: 5, 0x81: 9}.get(first, 0)
    if not size or at + size > end:
        raise _Damaged
    if kind == 0:
        return first, at + 1
    if kind == 1:
        return (first & 0x3F) << 8 | payload[at + 1], at + 2
    return int.from_bytes(payload[at + 1 : at + size], "big"), at + size


def _read_string(payload: bytes, at: int, end: int) -> tuple[bytes, int]:
    if at < end and payload[at] >> 6 == 3:
        return _read_encoded(payload, at, end)
    size, at = _read_length(payload, at, end)
    if at + size > end:
        raise _Damaged
    return payload[at : at + size], at + size


def _read_encoded(payload: bytes, at: int, end: int) -> tuple[bytes, int]:
    kind = payload[at] & 0x3F
    if kind == 3:
        packed, at = _read_length(payload, at + 1, end)
        plain, at = _read_length(payload, at, end)
        if at + packed > end or plain > _MAX_BYTES:
            raise _Damaged
        return unpack_lzf(payload[at : at + packed], plain), at + packed
    size = {0: 1, 1: 2, 2: 4}.get(kind, 0)
    if not size or at + 1 + size > end:
        raise _Damaged
    return b"%d" % int.from_bytes(payload[at + 1 : at + 1 + size], "little", signed=True), at + 1 + size


def unpack_lzf(packed: bytes, size: int) -> bytes:
    """What LZF packed, ``size`` bytes.  ``_Damaged`` if it is not so."""
    out = bytearray()
    at, end = 0, len(packed)
    while at < end:
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at : at + control + 1]
            at += control + 1
            if at > end:
                raise _Damaged
        else:
            length = control >> 5
            if length == 7:
                if at >= end:
                    raise _Damaged
                length += packed[at]
                at += 1
            if at >= end:
                raise _Damaged
            start = len(out) - ((control & 0x1F) << 8 | packed[at]) - 1
            at += 1
            if start < 0:
                raise _Damaged
            length += 2
            while length > 0:
                piece = out[start : start + length]
                out += piece
                start += len(piece)
                length -= len(piece)
        if len(out) > size:
            raise _Damaged
    if len(out) != size:
        raise _Damaged
    return bytes(out)
