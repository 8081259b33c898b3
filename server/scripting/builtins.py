"""The ``struct`` and ``bit`` libraries of the sandbox.

Functions get Lua's values as Python has them: bytes, int, float, bool, None (nil and nothing
are the same but for their number).  They answer with one value or a tuple of several.

Integers of ``struct`` are stock's: a double made an unsigned, or below 0 a signed, integer of
64 bits, cut or continued to the size asked for.  Numbers of ``bit`` are taken modulo 2**32,
rounded half to even, and come out signed.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import lupa.lua51 as lupa

Positioned = Callable[[bytes], Exception]
_MAX_INTEGER_BYTES = 32
_NATIVE_ALIGNMENT = 8
_INT_MAX = 2**31 - 1
_MASK_32 = 2**32 - 1
_MASK_64 = 2**64 - 1
_SIZES = {b"b": 1, b"h": 2, b"l": 8, b"T": 8, b"f": 4, b"d": 8, b"x": 1}
_INTEGERS = b"bBhHlLTiI"
_NUMBER = re.compile(rb"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+)\s*\Z")
_TYPE_NAMES = {bytes: b"string", bool: b"boolean", int: b"number", float: b"number", type(None): b"nil"}


class _Bad(Exception):
    """A wrong argument; the message without a position."""

    def __init__(self, text: bytes) -> None:
        self.text = text


def functions(name: str, positioned: Positioned) -> list[tuple[bytes, Callable[..., Any]]]:
    """The functions of library ``name``; ``positioned`` makes the exception for a message."""
    table = {"struct": _STRUCT, "bit": _BIT}[name]
    return [(word, _guarded(function, positioned)) for word, function in table.items()]


def _guarded(function: Callable[..., Any], positioned: Positioned) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            return function(arguments)
        except _Bad as bad:
            raise positioned(bad.text) from None

    return call


# ---- arguments -----------------------------------------------------------------------------


def _type_name(value: Any) -> bytes:
    return _TYPE_NAMES.get(value.__class__) or str(lupa.lua_type(value)).encode()


def _argument(arguments: tuple[Any, ...], place: int, function: bytes, expected: bytes, missing: bytes) -> _Bad:
    got = _type_name(arguments[place - 1]) if place <= len(arguments) else missing
    return _Bad(b"bad argument #%d to '%b' (%b expected, got %b)" % (place, function, expected, got))


def _number(arguments: tuple[Any, ...], place: int, function: bytes, missing: bytes = b"no value") -> float:
    if place <= len(arguments):
        value = arguments[place - 1]
        if value.__class__ is int or value.__class__ is float:
            return value
        if value.__class__ is bytes and _NUMBER.match(value):
            return int(value, 16) if b"x" in value.lower() else float(value)
    raise _argument(arguments, place, function, b"number", missing)


def _string(arguments: tuple[Any, ...], place: int, function: bytes, missing: bytes = b"no value") -> bytes:
    if place <= len(arguments):
        value = arguments[place - 1]
        if value.__class__ is bytes:
            return value
        if value.__class__ is int or value.__class__ is float:
            return b"%.14g" % value
    raise _argument(arguments, place, function, b"string", missing)


def _to_integer(n: float) -> int:
    """A double as a C compiler makes it an integer of 64 bits, unsigned if it is not below 0."""
    if n != n or math.isinf(n):
        return 1 << 63 if n != n or n < 0 else 0
    whole = int(n)
    if whole < 0:
        return whole & _MASK_64 if whole >= -(1 << 63) else 1 << 63
    return whole if whole <= _MASK_64 else 0


# ---- struct --------------------------------------------------------------------------------------


class _Format:
    """A format string, read from its start; the byte order and the alignment as they are now."""

    __slots__ = ("align", "at", "function", "order", "text")

    def __init__(self, text: bytes, function: bytes) -> None:
        self.text = text.partition(b"\0")[0]
        self.function = function
        self.at = 0
        self.order = "<"
        self.align = 1

    def next(self) -> bytes:
        """The next option, b"" at the end."""
        option = self.text[self.at : self.at + 1]
        self.at += 1
        return option

    def number(self, default: int) -> int:
        """The digits that follow."""
        start = self.at
        while self.text[self.at : self.at + 1].isdigit():
            self.at += 1
            if int(self.text[start : self.at]) > _INT_MAX:
                raise _Bad(b"integral size overflow")
        return int(self.text[start : self.at]) if self.at > start else default

    def size(self, option: bytes) -> int:
        """How many bytes an option takes, 0 if that is not known from it."""
        if option == b"c":
            return self.number(1)
        if option in b"iI":
            size = self.number(4)
            if size > _MAX_INTEGER_BYTES:
                raise _Bad(b"integral size %d is larger than limit of %d" % (size, _MAX_INTEGER_BYTES))
            return size
        return _SIZES.get(option, _SIZES.get(option.lower(), 0) if option in b"BHL" else 0)

    def padding(self, position: int, option: bytes, size: int) -> int:
        """How many bytes stand before an option at ``position``."""
        if not size or option == b"c":
            return 0
        size = min(size, self.align)
        return (size - (position & (size - 1))) & (size - 1)

    def control(self, option: bytes) -> None:
        """An option that takes no bytes."""
        if option in (b"<", b">"):
            self.order = option.decode()
        elif option == b"!":
            align = self.number(_NATIVE_ALIGNMENT)
            if align <= 0 or align & (align - 1):
                raise _Bad(b"alignment %d is not a power of 2" % align)
            self.align = align
        elif option != b" ":
            raise _Bad(b"bad argument #1 to '%b' (invalid format option '%b')" % (self.function, option))

    def integer(self, n: float, size: int) -> bytes:
        """A number as ``size`` bytes."""
        data = (_to_integer(n) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        return data if self.order == "<" else data[::-1]

    def read_integer(self, data: bytes, signed: bool) -> float:
        """The number that bytes are; of more than 8, what stock's C makes of them on x86."""
        n = int.from_bytes(data, "little" if self.order == "<" else "big") & _MASK_64
        if not signed:
            return float(n)
        sign = _MASK_64 << (8 * len(data) - 1 & 63) & _MASK_64
        if n & sign:
            n |= sign
        return float(n - (1 << 64) if n >> 63 else n)


def _pack(arguments: tuple[Any, ...]) -> bytes:
    form = _Format(_string(arguments, 1, b"pack"), b"pack")
    out = bytearray()
    place = 2
    while option := form.next():
        size = form.size(option)
        out += bytes(form.padding(len(out), option, size))
        if option in _INTEGERS:
            out += form.integer(_number(arguments, place, b"pack", b"nil"), size)
            place += 1
        elif option == b"x":
            out.append(0)
        elif option in b"fd":
            out += _float(form.order, option, _number(arguments, place, b"pack", b"nil"))
            place += 1
        elif option in b"cs":
            text = _string(arguments, place, b"pack", b"nil")
            place += 1
            size = size or len(text)
            if len(text) < size:
                raise _Bad(b"bad argument #%d to 'pack' (string too short)" % place)
            out += text[:size]
            if option == b"s":
                out.append(0)
        else:
            form.control(option)
    return bytes(out)


def _float(order: str, option: bytes, n: float) -> bytes:
    try:
        return struct.pack(order + option.decode(), n)
    except OverflowError:
        return struct.pack(order + option.decode(), math.inf if n > 0 else -math.inf)


def _unpack(arguments: tuple[Any, ...]) -> Any:
    form = _Format(_string(arguments, 1, b"unpack"), b"unpack")
    data = _string(arguments, 2, b"unpack")
    position = 1
    if len(arguments) > 2 and arguments[2] is not None:
        position = int(_number(arguments, 3, b"unpack"))
        if position <= 0:
            raise _Bad(b"bad argument #3 to 'unpack' (offset must be 1 or greater)")
    position -= 1
    out: list[Any] = []
    while option := form.next():
        size = form.size(option)
        position += form.padding(position, option, size)
        _check_fits(data, position, size)
        part = data[position : position + size]
        if option in _INTEGERS:
            out.append(form.read_integer(part, option.islower()))
        elif option in b"fd":
            out.append(struct.unpack(form.order + option.decode(), part)[0])
        elif option == b"c":
            if not size:
                if not out or out[-1].__class__ is not float:
                    raise _Bad(b"format 'c0' needs a previous size")
                size = _to_integer(out.pop())
                _check_fits(data, position, size)
            out.append(data[position : position + size])
        elif option == b"s":
            end = data.find(b"\0", position)
            if end < 0:
                raise _Bad(b"unfinished string in data")
            out.append(data[position:end])
            size = end - position + 1
        elif option != b"x":
            form.control(option)
        position += size
    return (*out, position + 1) if out else position + 1


def _check_fits(data: bytes, position: int, size: int) -> None:
    if size > len(data) or position > len(data) - size:
        raise _Bad(b"bad argument #2 to 'unpack' (data string too short)")


def _size(arguments: tuple[Any, ...]) -> int:
    form = _Format(_string(arguments, 1, b"size"), b"size")
    position = 0
    while option := form.next():
        size = form.size(option)
        position += form.padding(position, option, size)
        if option == b"s":
            raise _Bad(b"bad argument #1 to 'size' (option 's' has no fixed size)")
        if option == b"c" and not size:
            raise _Bad(b"bad argument #1 to 'size' (option 'c0' has no fixed size)")
        if not option.isalnum():
            form.control(option)
        position += size
    return position


_STRUCT: dict[bytes, Callable[[tuple[Any, ...]], Any]] = {b"pack": _pack, b"unpack": _unpack, b"size": _size}


# ---- bit ---------------------------------------------------------------------------------------------


def _bits(arguments: tuple[Any, ...], place: int, function: bytes) -> int:
    """A number's 32 bits, unsigned."""
    n = _number(arguments, place, function)
    if n.__class__ is int:
        return n & _MASK_32
    if n != n or math.isinf(n):
        return 0
    return round(n) & _MASK_32


def _signed(bits: int) -> int:
    return bits - (1 << 32) if bits & 0x80000000 else bits


def _combine(name: bytes, operate: Callable[[int, int], int]) -> Callable[[tuple[Any, ...]], int]:
    def call(arguments: tuple[Any, ...]) -> int:
        bits = _bits(arguments, 1, name)
        for place in range(2, len(arguments) + 1):
            bits = operate(bits, _bits(arguments, place, name))
        return _signed(bits)

    return call


def _shift(name: bytes, operate: Callable[[int, int], int]) -> Callable[[tuple[Any, ...]], int]:
    def call(arguments: tuple[Any, ...]) -> int:
        bits = _bits(arguments, 1, name)
        return _signed(operate(bits, _bits(arguments, 2, name) & 31) & _MASK_32)

    return call


def _tohex(arguments: tuple[Any, ...]) -> bytes:
    bits = _bits(arguments, 1, b"tohex")
    digits = _signed(_bits(arguments, 2, b"tohex")) if len(arguments) > 1 and arguments[1] is not None else 8
    form = b"%08X" if digits < 0 else b"%08x"
    count = min(abs(digits), 8)
    return (form % bits)[8 - count :]


def _bswap(arguments: tuple[Any, ...]) -> int:
    return _signed(int.from_bytes(_bits(arguments, 1, b"bswap").to_bytes(4, "little"), "big"))


_BIT: dict[bytes, Callable[[tuple[Any, ...]], Any]] = {
    b"tobit": lambda arguments: _signed(_bits(arguments, 1, b"tobit")),
    b"bnot": lambda arguments: _signed(_bits(arguments, 1, b"bnot") ^ _MASK_32),
    b"band": _combine(b"band", lambda a, b: a & b),
    b"bor": _combine(b"bor", lambda a, b: a | b),
    b"bxor": _combine(b"bxor", lambda a, b: a ^ b),
    b"lshift": _shift(b"lshift", lambda a, n: a << n),
    b"rshift": _shift(b"rshift", lambda a, n: a >> n),
    b"arshift": _shift(b"arshift", lambda a, n: _signed(a) >> n),
    b"rol": _shift(b"rol", lambda a, n: a << n | a >> (32 - n)),
    b"ror": _shift(b"ror", lambda a, n: a >> n | a << (32 - n)),
    b"bswap": _bswap,
    b"tohex": _tohex,
}
