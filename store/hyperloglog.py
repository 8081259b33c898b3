"""HyperLogLogs, in stock's own representation: strings that are the same byte for byte.

A HyperLogLog has 16,384 registers.  An element's hash names one of them and a rank (1
to 51); the register keeps the highest rank that it has seen, and how the ranks are
spread estimates how many distinct elements there were, within about 0.8 %.

The string::

    "HYLL"  encoding, 1 byte  3 bytes, unused  cardinality, 8 bytes  registers

encoding
    0 dense: registers of 6 bits, the lowest bits of the first byte first, 12,304 bytes in all;
    1 sparse: runs of equal registers as opcodes::

        00xxxxxx           ZERO   1 to 64 registers of 0
        01xxxxxx yyyyyyyy  XZERO  1 to 16,384 registers of 0
        1vvvvvxx           VAL    1 to 4 registers of a value of 1 to 32
cardinality
    the last estimate, little-endian; its highest bit says that registers have changed since

A register set in the sparse form splits its opcode and merges neighbours as stock does;
a rank above 32, or a string that would grow beyond ``hll-sparse-max-bytes``, makes it
dense, for good.  Who sets registers works on a copy of a sparse string, because only the
work shows whether the string, which any client could have SET, is sound.

Costs.  Setting a register: O(1) dense; sparse O(n) for n bytes, 64 at a step.  All else
O(registers), in a few calls into C each.  The hash is O(n) in the element's bytes.

It must not know: commands, keys, the log.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from struct import iter_unpack

from perdure.store.errors import CORRUPT_HLL, CommandError

Bytes = bytes | bytearray

REGISTERS = 1 << 14
HEADER_BYTES = 16
DENSE_BYTES = HEADER_BYTES + REGISTERS * 6 // 8
DENSE, SPARSE = 0, 1
_MAGIC = b"HYLL"
_ENCODING_AT = 4
_STALE_AT, _STALE = 15, 0x80
MAX_SPARSE_BYTES = 1 << 16
"""Twice what any sound sparse string has; a longer one is not looked into."""

_INDEX_BITS = 14
_RANK_BITS = 50
_SPARSE_MAX_RANK = 32
_ALPHA = 0.721347520444481703680
_UNCOUNTABLE = 1 << 63

# ---- the hash --------------------------------------------------------------------------

_M64 = (1 << 64) - 1
_MULTIPLIER = 0xC6A4A7935BD1E995
_SEED = 0xADC83B19


def _murmur64a(data: bytes) -> int:
    """MurmurHash64A, which no kept library offers."""
    length = len(data)
    h = _SEED ^ (length * _MULTIPLIER & _M64)
    whole = length & ~7
    for (k,) in iter_unpack("<Q", data[:whole]):
        k = k * _MULTIPLIER & _M64
        k = (k ^ k >> 47) * _MULTIPLIER & _M64
        h = (h ^ k) * _MULTIPLIER & _M64
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _M64
    h = (h ^ h >> 47) * _MULTIPLIER & _M64
    return h ^ h >> 47


def place(element: bytes) -> tuple[int, int]:
    """The register that an element belongs to, and its rank there."""
    h = _murmur64a(element)
    rest = h >> _INDEX_BITS | 1 << _RANK_BITS
    return h & REGISTERS - 1, (rest & -rest).bit_length()


# ---- header ----------------------------------------------------------------------------


def new() -> bytearray:
    """A HyperLogLog of no elements: one XZERO."""
    return bytearray(_MAGIC + b"\x01" + bytes(11) + b"\x7f\xff")


def is_one(value: Bytes) -> bool:
    """Has a string the header of a HyperLogLog?  Its registers may still be corrupt."""
    if len(value) < HEADER_BYTES or not value.startswith(_MAGIC):
        return False
    encoding = value[_ENCODING_AT]
    return encoding == SPARSE or (encoding == DENSE and len(value) == DENSE_BYTES)


def is_sparse(value: Bytes) -> bool:
    """Is a HyperLogLog in the sparse form?"""
    return value[_ENCODING_AT] == SPARSE


def known_cardinality(value: Bytes) -> int | None:
    """The estimate that is kept in the header; None if registers have changed since."""
    return None if value[_STALE_AT] & _STALE else int.from_bytes(value[8:16], "little")


def keep_cardinality(value: bytearray, cardinality: int) -> None:
    """Keep an estimate in the header."""
    value[8:16] = cardinality.to_bytes(8, "little")


def forget_cardinality(value: bytearray) -> None:
    """Registers have changed."""
    value[_STALE_AT] |= _STALE


# ---- all registers at once -------------------------------------------------------------


def _table(function: Callable[[int], int]) -> bytes:
    return bytes(function(byte) & 0xFF for byte in range(256))


_LOW6, _HIGH2 = _table(lambda b: b & 63), _table(lambda b: b >> 6)
_LOW4_UP2, _HIGH4 = _table(lambda b: (b & 15) << 2), _table(lambda b: b >> 4)
_LOW2_UP4, _HIGH6 = _table(lambda b: (b & 3) << 4), _table(lambda b: b >> 2)
_UP6, _DOWN2, _UP4, _DOWN4, _UP2 = (
    _table(lambda b: b << 6), _table(lambda b: b >> 2), _table(lambda b: b << 4), _table(lambda b: b >> 4),
    _table(lambda b: b << 2),
)  # fmt: skip


def _either(a: bytes, b: bytes) -> bytes:
    """Two rows of bytes, OR."""
    return (int.from_bytes(a, "little") | int.from_bytes(b, "little")).to_bytes(len(a), "little")


def _unpacked(packed: Bytes) -> bytearray:
    """Registers of 6 bits, a byte each: four lie in three bytes."""
    first, second, third = bytes(packed[0::3]), bytes(packed[1::3]), bytes(packed[2::3])
    out = bytearray(REGISTERS)
    out[0::4] = first.translate(_LOW6)
    out[1::4] = _either(first.translate(_HIGH2), second.translate(_LOW4_UP2))
    out[2::4] = _either(second.translate(_HIGH4), third.translate(_LOW2_UP4))
    out[3::4] = third.translate(_HIGH6)
    return out


def _packed(registers: Bytes) -> bytearray:
    """The way back."""
    a, b, c, d = (bytes(registers[i::4]) for i in range(4))
    out = bytearray(REGISTERS * 6 // 8)
    out[0::3] = _either(a, b.translate(_UP6))
    out[1::3] = _either(b.translate(_DOWN2), c.translate(_UP4))
    out[2::3] = _either(c.translate(_DOWN4), d.translate(_UP2))
    return out


def _xzero(value: Bytes, at: int) -> int:
    """The registers of the XZERO at ``at``; stock reads a zero byte behind the string's end."""
    return ((value[at] & 63) << 8 | (value[at + 1] if at + 1 < len(value) else 0)) + 1


_RUNS = [bytes(b + 1) if b < 64 else bytes([(b >> 2 & 31) + 1]) * ((b & 3) + 1) if b & 128 else b"" for b in range(256)]
"""The registers of an opcode of one byte; none for XZERO."""


def registers_of(value: Bytes) -> bytearray:
    """All registers, a byte each; CommandError if the string is corrupt."""
    if not is_sparse(value):
        return _unpacked(value[HEADER_BYTES:])
    if len(value) > MAX_SPARSE_BYTES:
        raise CommandError(CORRUPT_HLL)
    out = bytearray()
    at = HEADER_BYTES
    while at < len(value):
        run = _RUNS[value[at]]
        if run:
            at += 1
            out += run
        else:
            out += bytes(_xzero(value, at))
            at += 2
        if len(out) > REGISTERS:
            break
    if len(out) != REGISTERS:
        raise CommandError(CORRUPT_HLL)
    return out


_HIGH_BITS = int.from_bytes(b"\x80" * REGISTERS, "little")


def larger(a: Bytes, b: Bytes) -> bytes:
    """Of each register in two rows the higher value."""
    left, right = int.from_bytes(a, "little"), int.from_bytes(b, "little")
    # A byte's high bit survives the subtraction where left >= right; 0x01 * 0xff makes a mask of it.
    wins = ((left | _HIGH_BITS) - right & _HIGH_BITS) >> 7
    return (right ^ (left ^ right) & wins * 0xFF).to_bytes(REGISTERS, "little")


def dense(header: Bytes, registers: Bytes) -> bytearray:
    """A dense HyperLogLog of these registers, its header's other facts those of ``header``."""
    out = bytearray(header[:HEADER_BYTES])
    out[_ENCODING_AT] = DENSE
    out += _packed(registers)
    return out


# ---- one register ----------------------------------------------------------------------


def dense_get(value: Bytes, index: int) -> int:
    """A register of a dense HyperLogLog; O(1)."""
    at, shift = HEADER_BYTES + (index * 6 >> 3), index * 6 & 7
    bits = value[at] if shift <= 2 else value[at] | value[at + 1] << 8
    return bits >> shift & 63


def dense_raise(value: bytearray, index: int, rank: int) -> bool:
    """Make a register of a dense HyperLogLog at least ``rank``; has that changed it?"""
    at, shift = HEADER_BYTES + (index * 6 >> 3), index * 6 & 7
    wide = shift > 2
    bits = value[at] | value[at + 1] << 8 if wide else value[at]
    if bits >> shift & 63 >= rank:
        return False
    bits = bits & ~(63 << shift) | rank << shift
    value[at] = bits & 0xFF
    if wide:
        value[at + 1] = bits >> 8
    return True


_STEP = 64
SMALL_STEP = 8
_SPANS = _table(lambda b: b + 1 if b < 64 else (b & 3) + 1)
_XZEROS = bytes(range(64, 128))


class SparseEditor:
    """Raises registers of a sparse HyperLogLog, whose string it owns; indexes may only grow from call to call.

    ``value`` is the string, which has become dense if ``raise_register`` had to promote it.
    Opcodes are looked for ``step`` bytes at a time, at least four opcodes, and from the step
    before the one where the last was found on: nothing before that changes any more.
    """

    __slots__ = ("_first", "_from", "limit", "step", "value")

    def __init__(self, value: bytearray, limit: int, step: int = _STEP) -> None:
        self.value = value
        self.limit = limit
        self.step = step
        self._from = HEADER_BYTES
        self._first = 0

    def raise_register(self, index: int, rank: int) -> bool:
        """Make a register at least ``rank``; has that changed it?  CommandError if the string is corrupt."""
        value = self.value
        if not is_sparse(value):
            return dense_raise(value, index, rank)
        if rank > _SPARSE_MAX_RANK:
            return self._promote(index, rank)
        before, at, first = self._locate(index)
        byte = value[at]
        if byte & 128:
            held, span, length = (byte >> 2 & 31) + 1, (byte & 3) + 1, 1
            if held >= rank:
                return False
        elif byte & 64:
            held, span, length = 0, _xzero(value, at), 2
        else:
            held, span, length = 0, byte + 1, 1
        left, right = index - first, first + span - 1 - index
        opcodes = _run(held, left) + _run(rank, 1) + _run(held, right)
        growth = len(opcodes) - length
        if growth > 0 and len(value) + growth > self.limit:
            return self._promote(index, rank)
        value[at : at + length] = opcodes
        self._merge(before if before else HEADER_BYTES)
        return True

    def _locate(self, index: int) -> tuple[int, int, int]:
        """The opcode of a register: where the one before it begins (0 if none), where it begins, its first register."""
        value = self.value
        before, at, first = 0, self._from, self._first
        end, step = len(value), self.step
        step_at, step_first = at, first
        while at < end:
            self._from, self._first = step_at, step_first
            step_at, step_first = at, first
            block = value[at : at + step]
            if len(block.translate(None, _XZEROS)) == len(block):
                spans = sum(block.translate(_SPANS))
                if first + spans <= index:
                    at += len(block)
                    before = at - 1
                    first += spans
                    continue
            stop = at + step
            while at < stop and at < end:
                byte = value[at]
                wide = 64 <= byte < 128
                span = _xzero(value, at) if wide else _SPANS[byte]
                if index < first + span:
                    if wide and at + 1 == end:
                        raise CommandError(CORRUPT_HLL)
                    return before, at, first
                before = at
                at += 2 if wide else 1
                first += span
        raise CommandError(CORRUPT_HLL)

    def _merge(self, at: int) -> None:
        """Make one of neighbouring VALs that are equal and short, among five opcodes from ``at`` on."""
        value = self.value
        for _ in range(5):
            if at >= len(value):
                break
            byte = value[at]
            if 64 <= byte < 128:
                at += 2
                continue
            if byte & 128 and at + 1 < len(value) and value[at + 1] & 0xFC == byte & 0xFC:
                length = (byte & 3) + (value[at + 1] & 3) + 2
                if length <= 4:
                    value[at : at + 2] = bytes((byte & 0xFC | length - 1,))
                    continue
            at += 1

    def _promote(self, index: int, rank: int) -> bool:
        self.value = dense(self.value, registers_of(self.value))
        return dense_raise(self.value, index, rank)


def _run(held: int, span: int) -> bytes:
    """The opcode for ``span`` registers of one value: none for 0 of them, at most 4 of a value above 0."""
    if not span:
        return b""
    if held:
        return bytes((128 | held - 1 << 2 | span - 1,))
    if span <= 64:
        return bytes((span - 1,))
    return bytes((64 | span - 1 >> 8, span - 1 & 0xFF))


def decoded(value: Bytes) -> bytes:
    """The opcodes of a sparse HyperLogLog for people; CommandError if there are more than any sound one has."""
    if len(value) > MAX_SPARSE_BYTES:
        raise CommandError(CORRUPT_HLL)
    out = []
    at = HEADER_BYTES
    while at < len(value):
        byte = value[at]
        if byte & 128:
            out.append(b"v:%d,%d" % ((byte >> 2 & 31) + 1, (byte & 3) + 1))
        else:
            out.append(b"Z:%d" % _xzero(value, at) if byte & 64 else b"z:%d" % (byte + 1))
        at += 2 if 64 <= byte < 128 else 1
    return b" ".join(out)


# ---- the estimate ----------------------------------------------------------------------


def estimate(registers: Bytes) -> int:
    """How many distinct elements these registers have seen: Ertl's estimator, in stock's order of operations.

    Registers that no element can have made may give no number; stock then has 2**63.
    """
    m = float(REGISTERS)
    found = [registers.count(value) for value in range(_RANK_BITS + 2)]
    z = m * _tau((m - found[_RANK_BITS + 1]) / m)
    for rank in range(_RANK_BITS, 0, -1):
        z = (z + found[rank]) * 0.5
    z += m * _sigma(found[0] / m)
    number = _ALPHA * m * m / z if z else inf
    if number >= _UNCOUNTABLE:
        return _UNCOUNTABLE
    whole = int(number)
    return int(float(whole + (number - whole >= 0.5)))


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    y, z, before = 1.0, x, -1.0
    while before != z:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1.0 - x, -1.0
    while before != z:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) ** 2 * y
    return z / 3.0
