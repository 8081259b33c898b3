"""Bits of a string: counting, finding, combining, and fields of up to 64 bits.

Bit 0 is the highest bit of the first byte; behind its end a string has zero bits.
What goes over a whole string goes in pieces of ``_PIECE`` bytes, each in a few calls
into C, so that besides the result no more than some pieces are made.

It must not know: commands, keys, replies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import and_, or_, xor

from perdure.store.numbers import INT64_MAX

Bytes = bytes | bytearray

_PIECE = 1 << 16
_ZEROS = bytes(_PIECE)
_ONES = b"\xff" * _PIECE
_INVERTED = bytes(byte ^ 0xFF for byte in range(256))

_COMBINE: dict[bytes, Callable[[int, int], int]] = {b"AND": and_, b"OR": or_, b"XOR": xor}
OPERATIONS = (*_COMBINE, b"NOT")


def get_bit(value: Bytes, offset: int) -> int:
    """The bit at ``offset``; O(1)."""
    at = offset >> 3
    return value[at] >> (~offset & 7) & 1 if at < len(value) else 0


def count(value: Bytes, first: int, last: int) -> int:
    """How many of the bits ``first`` to ``last``, both in the string, are set."""
    if first > last:
        return 0
    start, stop = first >> 3, (last >> 3) + 1
    total = 0
    for at in range(start, stop, _PIECE):
        total += int.from_bytes(value[at : min(at + _PIECE, stop)], "big").bit_count()
    before = value[start] & ~(0xFF >> (first & 7))
    behind = value[stop - 1] & (0x7F >> (last & 7))
    return total - before.bit_count() - behind.bit_count()


def find(value: Bytes, bit: int, first: int, last: int) -> int:
    """The first bit from ``first`` to ``last``, both in the string, that is ``bit``; -1 if there is none."""
    if first > last:
        return -1
    turned = 0 if bit else 0xFF
    at, stop = first >> 3, (last >> 3) + 1
    byte = (value[at] ^ turned) & (0xFF >> (first & 7))
    if not byte:
        at = _skip(value, 0xFF if turned else 0, at + 1, stop)
        if at == stop:
            return -1
        byte = value[at] ^ turned
    position = (at << 3) + 8 - byte.bit_length()
    return position if position <= last else -1


def _skip(value: Bytes, fill: int, at: int, stop: int) -> int:
    """The first byte from ``at`` on that is not ``fill``, or ``stop``."""
    same = _ONES if fill else _ZEROS
    while at < stop:
        piece = value[at : min(at + _PIECE, stop)]
        if piece != (same if len(piece) == _PIECE else same[: len(piece)]):
            return at + len(piece) - len(piece.lstrip(same[:1]))
        at += len(piece)
    return stop


def combine(operation: bytes, values: Sequence[Bytes]) -> bytearray:
    """AND, OR, XOR of all values, NOT of the only one; as long as the longest, shorter ones are padded with zeros."""
    length = max(map(len, values))
    if operation == b"NOT":
        inverted = bytearray(values[0])
        for at in range(0, length, _PIECE):
            inverted[at : at + _PIECE] = inverted[at : at + _PIECE].translate(_INVERTED)
        return inverted
    function = _COMBINE[operation]
    out = bytearray(length)
    for at in range(0, length, _PIECE):
        size = min(_PIECE, length - at)
        # From the left, so that a piece that ends early is padded on its right by being read as little-endian.
        result = int.from_bytes(values[0][at : at + size], "little")
        for value in values[1:]:
            result = function(result, int.from_bytes(value[at : at + size], "little"))
        out[at : at + size] = result.to_bytes(size, "little")
    return out


# ---- fields ----------------------------------------------------------------------------

WRAP, SATURATE, FAIL = range(3)


def fit(number: int, signed: bool, width: int, overflow: int) -> int | None:
    """``number`` as a field of ``width`` bits can hold it, by the way of dealing with overflow; None for ``FAIL``."""
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    if low <= number <= high:
        return number
    if overflow == WRAP:
        return (number - low & (1 << width) - 1) + low
    if overflow == SATURATE:
        return high if number > high else low
    return None


def number_to_set(operand: int, signed: bool, width: int) -> int:
    """What SET means by a 64-bit integer: its bits, taken as too large a number where stock's comparison overflows."""
    if signed:
        too_low = (1 << (width - 1)) - 1 - operand > INT64_MAX and width < 64
        return operand + (1 << 64) if too_low else operand
    return operand & (1 << 64) - 1


class Fields:
    """The fields of one string, and changes to them that are not made in it yet.

    ``changes`` has the bytes that differ by position; ``apply`` makes them.
    """

    __slots__ = ("changes", "value")

    def __init__(self, value: Bytes) -> None:
        self.value = value
        self.changes: dict[int, int] = {}

    def _window(self, start: int, stop: int) -> bytearray:
        window = bytearray(self.value[start:stop])
        window += bytes(stop - start - len(window))
        if self.changes:
            for at in range(start, stop):
                if at in self.changes:
                    window[at - start] = self.changes[at]
        return window

    def read(self, offset: int, width: int, signed: bool) -> int:
        """The number in the ``width`` bits from ``offset`` on."""
        stop = (offset + width + 7) >> 3
        bits = int.from_bytes(self._window(offset >> 3, stop), "big") >> ((stop << 3) - offset - width)
        bits &= (1 << width) - 1
        return bits - (1 << width) if signed and bits >> (width - 1) else bits

    def write(self, offset: int, width: int, number: int) -> None:
        """Note that these bits become ``number``."""
        start, stop = offset >> 3, (offset + width + 7) >> 3
        shift = (stop << 3) - offset - width
        mask = (1 << width) - 1
        bits = int.from_bytes(self._window(start, stop), "big") & ~(mask << shift) | (number & mask) << shift
        for at, byte in enumerate(bits.to_bytes(stop - start, "big"), start):
            self.changes[at] = byte

    def apply(self, target: bytearray) -> None:
        """Make the changes in ``target``, which is long enough."""
        for at, byte in self.changes.items():
            target[at] = byte
