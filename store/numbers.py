"""Numbers as Redis reads and prints them.

Integers
    the canonical decimal form of a number in [-2**63, 2**63) and nothing else: no
    plus sign, no blank, no leading zero, no ``-0``.
Doubles
    what C's ``strtod`` reads to the last byte, hexadecimal and infinities included;
    no leading blank, no NaN, no overflow, nothing that underflows to zero.
Long doubles
    the x87 format of 64 significant bits, in which INCRBYFLOAT and HINCRBYFLOAT
    count.  Python has no such type, and C's differs between machines, so it is done
    in integers, exactly: a pair (m, e) means m * 2**e, where abs(m) <= 2**64,
    e >= -16445 and the value is below 2**16384; every result is rounded half to even.

Functions named ``read_...`` give None for what is no such number; those named
``parse_...`` raise ``CommandError`` with the text given.  Every input is bounded
before any arithmetic is done on it.

It must not know: commands, keys.
"""

from __future__ import annotations

import re

from perdure.store.errors import NOT_A_FLOAT, NOT_AN_INTEGER, CommandError

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
_INT64_CHARS = 20
_LONG_DOUBLE_CHARS = 5 * 1024
"""Longer texts are no long double: stock's limit, too."""

_DECIMAL = re.compile(rb"([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d+))?\Z")
_HEXADECIMAL = re.compile(rb"([+-]?)0[xX](?:([0-9a-fA-F]+)\.?([0-9a-fA-F]*)|\.([0-9a-fA-F]+))(?:[pP]([+-]?\d+))?\Z")
_INFINITE = re.compile(rb"([+-]?)inf(?:inity)?\Z", re.IGNORECASE)

# ---- integers ------------------------------------------------------------------------


def read_integer(text: bytes | bytearray) -> int | None:
    """A 64-bit integer in its canonical form."""
    if len(text) > _INT64_CHARS:
        return None
    try:
        n = int(text)
    except ValueError:
        return None
    return n if b"%d" % n == text and INT64_MIN <= n <= INT64_MAX else None


def parse_integer(text: bytes | bytearray, error: bytes = NOT_AN_INTEGER) -> int:
    """As ``read_integer``; CommandError if it is none."""
    n = read_integer(text)
    if n is None:
        raise CommandError(error)
    return n


# ---- doubles -------------------------------------------------------------------------


def read_double(text: bytes) -> float | None:
    """A double as ``strtod`` reads it; never NaN."""
    match = _DECIMAL.match(text)
    if match is not None:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            return None
        if value == 0 and any((match[i] or b"").strip(b"0") for i in (2, 3, 4)):
            return None
        return value
    match = _INFINITE.match(text)
    if match is not None:
        return float("-inf") if match[1] == b"-" else float("inf")
    match = _HEXADECIMAL.match(text)
    if match is None:
        return None
    try:
        value = float.fromhex(text.decode())
    except OverflowError:
        return None
    if value == 0 and any((match[i] or b"").strip(b"0") for i in (2, 3, 4)):
        return None
    return value


def parse_double(text: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """As ``read_double``; CommandError if it is none."""
    value = read_double(text)
    if value is None:
        raise CommandError(error)
    return value


PLAIN = b"0123456789.-"
PLAIN_CHARS = 300
"""Of so few of these characters ``float`` reads what strtod does, without overflow or underflow."""
_BLANKS = b" \t\n\v\f\r"


def parse_score(text: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """As ``parse_double``, quickly where there is nothing but digits, a point and a sign, which is nearly always."""
    if len(text) < PLAIN_CHARS and not text.strip(PLAIN):
        try:
            return float(text)
        except ValueError:
            raise CommandError(error) from None
    return parse_double(text, error)


def read_c_double(text: bytes) -> float | None:
    """A double as C code reads it that asks strtod only where it stopped: never NaN.

    Text ends at a NUL byte, may begin with blanks, and nothing at all is 0; what is too
    large is infinite, what is too small 0.
    """
    if len(text) < PLAIN_CHARS and not text.strip(PLAIN):
        try:
            return float(text)
        except ValueError:
            return None if text else 0.0
    text = text.partition(b"\0")[0]
    if not text:
        return 0.0
    text = text.lstrip(_BLANKS)
    if _DECIMAL.match(text):
        return float(text)
    match = _INFINITE.match(text)
    if match is not None:
        return float("-inf") if match[1] == b"-" else float("inf")
    if not _HEXADECIMAL.match(text):
        return None
    try:
        return float.fromhex(text.decode())
    except OverflowError:
        return float("-inf") if text.startswith(b"-") else float("inf")


def print_double(value: float) -> bytes:
    """A double as replies have it: up to 17 significant digits, ``inf`` and ``-inf``."""
    return b"%.17g" % value


# ---- long doubles --------------------------------------------------------------------

LongDouble = tuple[int, int]
_BITS = 64
_MIN_EXPONENT = -16445
_MAX_EXPONENT = 16384
INFINITE: LongDouble = (1, 1 << 20)
"""Stands for both infinities: no sum with one is a number that may be stored."""
_MAX_DECIMAL_EXPONENT = 4940
_MIN_DECIMAL_EXPONENT = -4960
_FRACTION_DIGITS = 17
_SCALE: int = 10**_FRACTION_DIGITS
# Python converts no more than some 4,300 digits at once; longer numbers go in pieces.
_PIECE = 4000
_PIECE_SCALE: int = 10**_PIECE


def _int_of_digits(digits: bytes) -> int:
    """The value of up to 2 * _PIECE decimal digits."""
    if len(digits) <= _PIECE:
        return int(digits)
    return int(digits[:-_PIECE]) * _PIECE_SCALE + int(digits[-_PIECE:])


def _digits_of_int(n: int) -> bytes:
    """The decimal digits of 0 <= n < 10 ** (2 * _PIECE)."""
    if n < _PIECE_SCALE:
        return b"%d" % n
    high, low = divmod(n, _PIECE_SCALE)
    return b"%d" % high + (b"%d" % low).rjust(_PIECE, b"0")


def _rounded(m: int, e: int, more: bool) -> LongDouble | None:
    """m * 2**e (m >= 0), a bit more than that if ``more``, as the nearest long double; None on overflow."""
    drop = max(m.bit_length() - _BITS, _MIN_EXPONENT - e)
    if drop > 0:
        rest = m & ((1 << drop) - 1)
        half = 1 << (drop - 1)
        m >>= drop
        e += drop
        if rest > half or (rest == half and (more or m & 1)):
            m += 1
    return None if m.bit_length() + e > _MAX_EXPONENT else (m, e)


def _quotient(n: int, d: int, e: int) -> LongDouble | None:
    """n / d * 2**e as the nearest long double; None on overflow and where it underflows to zero."""
    shift = max(_BITS + 2 - n.bit_length() + d.bit_length(), 0)
    q, rest = divmod(n << shift, d)
    value = _rounded(q, e - shift, rest != 0)
    return value if value is not None and value[0] else None


def read_long_double(text: bytes | bytearray) -> LongDouble | None:
    """A long double as ``strtold`` reads it; never NaN; ``INFINITE`` for both infinities."""
    if len(text) >= _LONG_DOUBLE_CHARS:
        return None
    match = _DECIMAL.match(text)
    hexadecimal = match is None
    if match is None:
        match = _HEXADECIMAL.match(text)
        if match is None:
            return INFINITE if _INFINITE.match(text) else None
    sign, whole, part, only_part, power = match.groups()
    fraction = part if only_part is None else only_part
    digits = ((whole or b"") + fraction).lstrip(b"0")
    if not digits:
        return 0, 0
    exponent = 0
    if power is not None:
        # No exponent of more digits than these gives a finite number above zero; the mantissa has less than 5,120.
        bare = power.lstrip(b"+-").lstrip(b"0") or b"0"
        exponent = int(bare) if len(bare) <= 6 else 10**6
        if power[:1] == b"-":
            exponent = -exponent
    if hexadecimal:
        value = _of_hexadecimal(digits, exponent - 4 * len(fraction))
    else:
        value = _of_decimal(digits, exponent - len(fraction))
    if value is None or sign != b"-":
        return value
    return -value[0], value[1]


def _of_hexadecimal(digits: bytes, exponent: int) -> LongDouble | None:
    if not _MIN_EXPONENT - 4 * len(digits) - 8 <= exponent <= _MAX_EXPONENT:
        return None
    return _quotient(int(digits, 16), 1, exponent)


def _of_decimal(digits: bytes, exponent: int) -> LongDouble | None:
    magnitude = len(digits) + exponent
    if not _MIN_DECIMAL_EXPONENT < magnitude < _MAX_DECIMAL_EXPONENT:
        return None
    n = _int_of_digits(digits)
    if exponent >= 0:
        return _quotient(n * 10**exponent, 1, 0)
    return _quotient(n, 10**-exponent, 0)


def add_long_doubles(a: LongDouble, b: LongDouble) -> LongDouble | None:
    """The sum; None if it would be infinite or NaN."""
    if a is INFINITE or b is INFINITE:
        return None
    e = min(a[1], b[1])
    total = (a[0] << (a[1] - e)) + (b[0] << (b[1] - e))
    value = _rounded(abs(total), e, False)
    if value is None or total >= 0:
        return value
    return -value[0], value[1]


def print_long_double(value: LongDouble) -> bytes:
    """A finite long double for people: no exponent, at most 17 digits behind the point, no zeros at the end."""
    m, e = value
    negative = m < 0
    m = abs(m)
    if e >= 0:
        text = _digits_of_int(m << e)
    else:
        scaled = m * _SCALE
        n = scaled >> -e
        rest = scaled & ((1 << -e) - 1)
        half = 1 << (-e - 1)
        if rest > half or (rest == half and n & 1):
            n += 1
        digits = _digits_of_int(n).rjust(_FRACTION_DIGITS + 1, b"0")
        fraction = digits[-_FRACTION_DIGITS:].rstrip(b"0")
        text = digits[:-_FRACTION_DIGITS]
        if fraction:
            text += b"." + fraction
    return b"-" + text if negative and text != b"0" else text
