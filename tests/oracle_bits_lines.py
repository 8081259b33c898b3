"""Generators and comparers of bits and HyperLogLogs; importing this plugs them in."""

from __future__ import annotations

import oracle_keys_lines  # noqa: F401 - the groups take commands of keys, too
from oracle_lines import Argv, Lines, generator

BITS_GROUP = [
    *[b"SETBIT"] * 4, b"GETBIT", *[b"BITCOUNT"] * 2, *[b"BITPOS"] * 3, *[b"BITOP"] * 3, *[b"BITFIELD"] * 6,
    b"BITFIELD_RO", b"SET", b"APPEND", b"SETRANGE", b"GET", b"STRLEN", b"HSET", b"DEL", b"OBJECT|ENCODING", b"EXPIRE",
]  # fmt: skip
HLL_GROUP = [
    *[b"PFADD"] * 8, *[b"PFCOUNT"] * 4, *[b"PFMERGE"] * 2, b"PFDEBUG", *[b"GET"] * 3, b"COPY", b"DEL", b"EXPIRE",
    b"OBJECT|ENCODING", b"STRLEN",
]  # fmt: skip

_OFFSETS = [
    b"0", b"1", b"6", b"7", b"8", b"9", b"15", b"16", b"63", b"64", b"65", b"100", b"1000", b"-1", b"#0", b"4294967296",
    b"9223372036854775807", b"9223372036854775808", b"x", b"", b"#", b"1 ", b"01",
]  # fmt: skip
_TYPES = [b"i%d" % n for n in (1, 2, 5, 7, 8, 13, 16, 31, 32, 33, 63, 64)] + [
    b"u%d" % n for n in (1, 2, 3, 8, 16, 31, 32, 62, 63)
]
_NO_TYPES = [b"u64", b"i65", b"i0", b"u0", b"u-1", b"x8", b"i", b"", b"U8", b"u8\x00x", b"i08", b"i 8"]


def offset(lines: Lines) -> bytes:
    """The number of a bit, mostly near the beginning."""
    rng = lines.rng
    return rng.choice(_OFFSETS) if rng.random() < 0.3 else b"%d" % rng.randrange(300)


generator("SETBIT")(lambda lines: [lines.key(), offset(lines), lines.rng.choice((b"0", b"1", b"1", b"1", b"2", b"x"))])
generator("GETBIT")(lambda lines: [lines.key(), offset(lines)])


def _ends(lines: Lines, count: int) -> Argv:
    return [lines.integer(0.05) for _ in range(count)] + (lines.maybe(0.6, "BIT", "BYTE", "junk") if count == 2 else [])


@generator("BITCOUNT")
def bitcount_arguments(lines: Lines) -> Argv:
    return [lines.key(), *_ends(lines, lines.rng.choice((0, 0, 1, 2, 2, 2, 2)))]


@generator("BITPOS")
def bitpos_arguments(lines: Lines) -> Argv:
    bit = lines.rng.choice((b"0", b"1", b"0", b"1", b"0", b"1", b"2", b"x"))
    return [lines.key(), bit, *_ends(lines, lines.rng.choice((0, 1, 2, 2, 2)))]


@generator("BITOP")
def bitop_arguments(lines: Lines) -> Argv:
    return [lines.word("AND", "OR", "XOR", "NOT", "NOT", "junk"), lines.key(), *lines.keys(lines.rng.choice((1, 1, 4)))]


def _field(lines: Lines) -> Argv:
    rng = lines.rng
    kind = rng.choice(_TYPES) if rng.random() < 0.97 else rng.choice(_NO_TYPES)
    where = b"#%d" % rng.randrange(10) if rng.random() < 0.4 else b"%d" % rng.randrange(300)
    return [kind, where if rng.random() < 0.97 else offset(lines)]


@generator("BITFIELD")
def bitfield_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    argv = [lines.key()]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
        roll = rng.random()
        argv += lines.maybe(0.3, "OVERFLOW")
        if argv[-1].upper() == b"OVERFLOW":
            argv.append(lines.word("WRAP", "SAT", "FAIL", "SAT", "FAIL", *["junk"] * (rng.random() < 0.1)))
        if roll < 0.3:
            argv += [lines.word("GET"), *_field(lines)]
        else:
            argv += [lines.word("SET", "INCRBY"), *_field(lines), lines.integer(0.03)]
    return argv


@generator("BITFIELD_RO")
def bitfield_ro_arguments(lines: Lines) -> Argv:
    argv = [lines.key()]
    for _ in range(lines.rng.choice((0, 1, 1, 2))):
        argv += [lines.word(*["GET"] * 12, "SET"), *_field(lines)]
    return argv


# ---- HyperLogLogs ----------------------------------------------------------------------


def element(lines: Lines) -> bytes:
    """One of some thousand elements, a few of them long or empty."""
    rng = lines.rng
    return b"e%d" % rng.randrange(5000) if rng.random() < 0.95 else rng.randbytes(rng.randrange(40))


@generator("PFADD")
def pfadd_arguments(lines: Lines) -> Argv:
    count = lines.rng.choice((0, 1, 1, 1, 2, 5, 30, 200))
    return [lines.key(), *(element(lines) for _ in range(count))]


generator("PFCOUNT", "PFMERGE")(lambda lines: lines.keys(lines.rng.choice((1, 2, 4))))
generator("PFSELFTEST")(lambda lines: [b"junk"] * 20)  # never right: it holds stock up for half a second


@generator("PFDEBUG")
def pfdebug_arguments(lines: Lines) -> Argv:
    return [lines.word("DECODE", "DECODE", "ENCODING", "ENCODING", "GETREG", "TODENSE", "junk"), lines.key()]
