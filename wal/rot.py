"""One flipped bit, found through the algebra of CRC-32C.

A tear leaves holes and loses ends; rot flips a bit in data that was whole.  The
two are told apart by asking whether one flip makes a line's crc right again.

Flipping a bit changes a CRC by a value that depends only on the bit's distance
from the end: with ``r`` the register and ``step`` one shift through the
polynomial, the bit at distance k (0 is the last one, which is bit 7 of the last
byte) changes it by ``step^k(POLYNOMIAL)``.  So for a payload of n bits the flip is
the k < n with ``step^k(POLYNOMIAL) == computed ^ stated``, found by baby steps and
giant steps in about 2*sqrt(n) of them instead of n CRCs.  The polynomial is
(x+1) times a primitive one of degree 31, so k is unique below 2^31 - 1 bits.

A flip in the line itself may change where the payload ends, so there every bit of
the line is tried; what is known of the place (lsn, prev) and what a line may look
like leave few candidates.

Invariant: every answer was confirmed by really flipping the bit and computing the
crc.  It must not know: files, the state of the scan beyond (lsn, prev).
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

from crc32c import crc32c

from perdure.wal import format as lines
from perdure.wal.resp import is_whole

POLYNOMIAL = 0x82F63B78
"""CRC-32C, bits reflected."""
MAX_PAYLOAD_BYTES = 256 << 20
"""Beyond this many bytes the distance of a flip is no longer unique."""


class Flip(NamedTuple):
    """``data[offset] ^= 1 << bit`` mends the line or batch."""

    offset: int
    bit: int


def _step(register: int) -> int:
    return (register >> 1) ^ (POLYNOMIAL if register & 1 else 0)


def _unstep(register: int) -> int:
    return ((register ^ POLYNOMIAL) << 1 | 1) if register & 0x80000000 else register << 1


def _tables_of_unsteps(count: int) -> list[list[int]]:
    """``count`` unsteps as four tables of 256, one for each byte of the register; ``count`` is a power of two."""
    columns = [_unstep(1 << i) for i in range(32)]
    while count > 1:
        columns = [_apply_columns(columns, column) for column in columns]
        count >>= 1
    return [[_apply_columns(columns, value << shift) for value in range(256)] for shift in (0, 8, 16, 24)]


def _apply_columns(columns: list[int], value: int) -> int:
    out = 0
    while value:
        low = value & -value
        out ^= columns[low.bit_length() - 1]
        value ^= low
    return out


def distance_of_flip(difference: int, bits: int) -> int | None:
    """The k below ``bits`` for which the bit k before the end changes a CRC-32C by ``difference``, or None."""
    if not difference or bits <= 0:
        return None
    stride = 1 << max(1, (isqrt(bits) - 1).bit_length())
    baby: dict[int, int] = {}
    register = POLYNOMIAL
    for distance in range(stride):
        baby[register] = distance
        register = _step(register)
    t0, t1, t2, t3 = _tables_of_unsteps(stride)
    register = difference
    for giant in range(0, bits, stride):
        k = baby.get(register)
        if k is not None:
            return giant + k if giant + k < bits else None
        register = t0[register & 255] ^ t1[register >> 8 & 255] ^ t2[register >> 16 & 255] ^ t3[register >> 24]
    return None


def find_single_flip(data: bytes, seed: int, lsn: int, prev: int) -> Flip | None:
    """The one bit whose flip makes a line of ours at the start of ``data`` right in its place, or None.

    ``data``: from the line's first byte, with its whole payload behind it (more may
    follow); ``seed``: of the log's id; ``lsn``, ``prev``: what the place demands.
    A start, batch, END or time line is found; of a batch the mended payload has to be
    whole commands, too, so that a tear is not taken for rot by chance.
    """
    return _flip_in_payload(data, seed, lsn, prev) or _flip_in_line(data, seed, lsn, prev)


def _flip_in_payload(data: bytes, seed: int, lsn: int, prev: int) -> Flip | None:
    line = data[: data.find(b"\n", 0, lines.MAX_LINE_BYTES) + 1]
    facts = lines.parse(line)
    if not isinstance(facts, lines.Batch) or (facts.lsn, facts.prev) != (lsn, prev):
        return None
    end = len(line) + facts.length
    if end > len(data) or facts.length > MAX_PAYLOAD_BYTES:
        return None
    computed = crc32c(memoryview(data)[len(line) : end], crc32c(line[: -lines.CRC_BYTES], seed))
    distance = distance_of_flip(computed ^ facts.crc, facts.length * 8)
    if distance is None:
        return None
    flip = Flip(end - 1 - distance // 8, 7 - distance % 8)
    payload = bytearray(data[len(line) : end])
    payload[flip.offset - len(line)] ^= 1 << flip.bit
    mended = bytes(payload)
    right = lines.crc_is_right(line, facts.crc, seed, mended) and is_whole(mended)
    return flip if right else None


def _flip_in_line(data: bytes, seed: int, lsn: int, prev: int) -> Flip | None:
    head = bytearray(data[: lines.MAX_LINE_BYTES])
    for offset in range(len(head)):
        for bit in range(8):
            head[offset] ^= 1 << bit
            line = bytes(head[: head.find(b"\n") + 1])
            # The line's own end must lie behind the flip: otherwise the flip mends nothing of it.
            if len(line) > offset and _is_right(line, data, seed, lsn, prev):
                return Flip(offset, bit)
            head[offset] ^= 1 << bit
    return None


def _is_right(line: bytes, data: bytes, seed: int, lsn: int, prev: int) -> bool:
    facts = lines.parse(line)
    if facts is None or isinstance(facts, lines.Time):
        return facts is not None
    if (facts.lsn, facts.prev) != (lsn, prev):
        return False
    if not isinstance(facts, lines.Batch):
        return lines.crc_is_right(line, facts.crc, seed)
    end = len(line) + facts.length
    if end > len(data) or facts.durable > facts.lsn:
        return False
    payload = memoryview(data)[len(line) : end]
    return lines.crc_is_right(line, facts.crc, seed, payload) and is_whole(bytes(payload))
