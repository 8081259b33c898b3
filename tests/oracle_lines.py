"""The seeded source of command lines for the tests that compare with stock.

A data type adds its commands with ``@generator("NAME")``: a function that takes the
``Lines`` and returns the arguments behind the name.  ``Lines.line`` picks a command
and now and then spoils it: wrong arity, a stray word, another case, no such command.

Keys come from one small pool, so that commands meet values of every type.  Times are
either long past, far in the future, or no times at all: nothing expires during a run.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from oracle_differences import NEWER_COMMANDS

Argv = list[bytes]
Generator = Callable[["Lines"], Argv]
GENERATORS: dict[bytes, Generator] = {}
APART: set[bytes] = set()
"""Commands that are not in the mix of all; who wants them names them."""
UNCUT: set[bytes] = set()
"""Commands whose lines are not cut short: with fewer arguments chance would decide what they leave behind."""

KEYS = [b"k%d" % n for n in range(14)] + [b"", b"\x00\xff\r\n", b"key with blanks", b"K0", b"\xc3\xa9"]
INTEGERS = [
    b"0", b"1", b"2", b"3", b"5", b"7", b"10", b"100", b"-1", b"-2", b"-3", b"-10", b"12345", b"4294967296",
    b"9223372036854775807", b"9223372036854775806", b"-9223372036854775808", b"-9223372036854775807",
]  # fmt: skip
NO_INTEGERS = [
    b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"--1", b"1.0", b"1e3", b"abc", b"0x10", b"1_000", b"\x00", b"1\x00",
    b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"123456789012345678901234567890",
    b"nan", b"inf", b"\xd9\xa1",
]  # fmt: skip
FLOATS = [
    b"0", b"1", b"-1", b"0.1", b"0.2", b"1.5", b"-2.25", b"3.0e3", b"1e-5", b"5e-324", b"1e308", b"1.7e308", b"-1e17",
    b"1e4000", b"0x1p4", b".5", b"5.", b"+3", b"123456789.987654321", b"9223372036854775807", b"1e20", b"-0.0",
    b"0.30000000000000000001",
]  # fmt: skip
NO_FLOATS = [
    b"", b" 1", b"1 ", b"nan", b"-nan", b"inf", b"-inf", b"infinity", b"1e5000", b"1e-5000", b"abc", b"1,5", b"0x",
    b"1_0", b"1e", b"--1", b"1\x00", b"0x1p", b"nan(1)",
]  # fmt: skip
PAST_S, FUTURE_S = 1_000_000, 4_000_000_000


class Lines:
    """Command lines, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def key(self) -> bytes:
        """A key of the pool."""
        return self.rng.choice(KEYS)

    def keys(self, most: int = 4) -> Argv:
        """One key or several, perhaps the same twice."""
        return [self.key() for _ in range(self.rng.randint(1, most))]

    def word(self, *words: str) -> bytes:
        """One of the words, in some case."""
        word = self.rng.choice(words).encode()
        return self.rng.choice((word, word, word.lower(), word.title()))

    def maybe(self, chance: float, *words: str) -> Argv:
        """Nothing, or one of the words."""
        return [self.word(*words)] if self.rng.random() < chance else []

    def member(self) -> bytes:
        """A field or member of an aggregate."""
        rng = self.rng
        if rng.random() < 0.9:
            return b"f%d" % rng.randrange(12)
        return rng.choice((b"", b"\x00", b"\r\n", b"f" * 65, b"1"))

    def value(self) -> bytes:
        """Any bytes: a number, text, binary, long."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.35:
            return rng.choice(INTEGERS)
        if roll < 0.45:
            return rng.choice(FLOATS)
        if roll < 0.55:
            return rng.choice(NO_INTEGERS + NO_FLOATS)
        if roll < 0.85:
            return bytes(rng.choice(b"abcd") for _ in range(rng.randrange(1, 50)))
        if roll < 0.97:
            return rng.randbytes(rng.randrange(64))
        return rng.randbytes(rng.randrange(2000))

    def integer(self, spoil: float = 0.12) -> bytes:
        """An integer as an argument, sometimes none."""
        rng = self.rng
        roll = rng.random()
        if roll < spoil:
            return rng.choice(NO_INTEGERS)
        return rng.choice(INTEGERS) if roll < 0.5 else b"%d" % rng.randint(-20, 20)

    def small(self, low: int = 0, high: int = 12, spoil: float = 0.08) -> bytes:
        """A small integer, sometimes none, so that what it counts stays small."""
        return self.rng.choice(NO_INTEGERS) if self.rng.random() < spoil else b"%d" % self.rng.randint(low, high)

    def float(self, spoil: float = 0.15) -> bytes:
        """A floating point number as an argument, sometimes none."""
        rng = self.rng
        if rng.random() < spoil:
            return rng.choice(NO_FLOATS)
        return rng.choice(FLOATS) if rng.random() < 0.6 else b"%.*f" % (rng.randrange(18), rng.uniform(-1e6, 1e6))

    def _time(self, valid: int, unit: int) -> bytes:
        rng = self.rng
        if rng.random() < 0.75:
            return b"%d" % (valid * unit)
        if rng.random() < 0.6:
            return rng.choice((b"0", b"-1", b"-5", b"9223372036854775807", b"9223372036854775806",
                               b"-9223372036854775808", b"9223372036854775"))  # fmt: skip
        return rng.choice(NO_INTEGERS)

    def span(self, unit: int = 1) -> bytes:
        """A relative time: far away or nonsense; ``unit`` 1000 for milliseconds."""
        return self._time(self.rng.randint(5_000, 100_000), unit)

    def moment(self, unit: int = 1) -> bytes:
        """An absolute time: far away, long past, or nonsense."""
        return self._time(self.rng.choice((PAST_S, FUTURE_S, FUTURE_S + self.rng.randrange(1000))), unit)

    def time_option(self) -> Argv:
        """EX, PX, EXAT or PXAT with a time."""
        name = self.rng.choice((b"EX", b"PX", b"EXAT", b"PXAT"))
        unit = 1000 if name[:1] == b"P" else 1
        return [name, self.moment(unit) if name[2:] else self.span(unit)]

    def line(self, names: list[bytes] | None = None) -> Argv:
        """A command line, of the commands named or of all that have a generator and that stock 7.0 knows."""
        rng = self.rng
        name = rng.choice(names or sorted(GENERATORS.keys() - NEWER_COMMANDS - APART))
        argv = [*name.split(b"|"), *GENERATORS[name](self)]
        roll = rng.random()
        if roll < 0.02 and name not in UNCUT:
            argv = argv[: rng.randint(1, len(argv))]
        elif roll < 0.04:
            argv.append(rng.choice((b"", b"junk", b"NX", b"x" * 200)))
        elif roll < 0.05:
            argv[0] = rng.choice((b"nosuch", b"NO\r\nSUCH", b"x" * 150, b"", b"GE\x00T")) + argv[0][3:]
        elif roll < 0.25:
            argv[0] = argv[0].lower()
        return argv

    def many(self, count: int, names: list[bytes] | None = None) -> list[Argv]:
        """``count`` command lines."""
        return [self.line(names) for _ in range(count)]


def generator(*names: str) -> Callable[[Generator], Generator]:
    """Register the arguments' source of these commands (``OBJECT|ENCODING`` for subcommands)."""

    def register(function: Generator) -> Generator:
        for name in names:
            GENERATORS[name.encode()] = function
        return function

    return register


# ---- strings -------------------------------------------------------------------------

generator("GET", "STRLEN", "INCR", "DECR", "GETDEL")(lambda lines: [lines.key()])
generator("APPEND", "GETSET", "SETNX")(lambda lines: [lines.key(), lines.value()])
generator("INCRBY", "DECRBY")(lambda lines: [lines.key(), lines.integer()])
generator("INCRBYFLOAT")(lambda lines: [lines.key(), lines.float()])
generator("MGET")(lambda lines: lines.keys())
generator("GETRANGE", "SUBSTR")(lambda lines: [lines.key(), lines.integer(), lines.integer()])
generator("SETEX")(lambda lines: [lines.key(), lines.span(), lines.value()])
generator("PSETEX")(lambda lines: [lines.key(), lines.span(1000), lines.value()])


@generator("SET")
def set_arguments(lines: Lines) -> Argv:
    argv = [lines.key(), lines.value()]
    if lines.rng.random() < 0.5:
        return argv
    options = [
        lines.maybe(0.4, "NX", "XX"),
        lines.maybe(0.4, "GET"),
        lines.maybe(0.25, "KEEPTTL"),
        lines.time_option() if lines.rng.random() < 0.5 else [],
        lines.maybe(0.03, "EX", "PXAT", "PERSIST", "NX", "junk", "nx\0y"),
    ]
    lines.rng.shuffle(options)
    return argv + [word for option in options for word in option]


@generator("GETEX")
def getex_arguments(lines: Lines) -> Argv:
    argv = [lines.key()]
    if lines.rng.random() < 0.6:
        argv += lines.time_option()
    return argv + lines.maybe(0.15, "PERSIST", "KEEPTTL", "EX", "NX", "junk")


@generator("MSET", "MSETNX")
def mset_arguments(lines: Lines) -> Argv:
    out: Argv = []
    for key in lines.keys(3):
        out += [key, lines.value()]
    return out[:-1] if lines.rng.random() < 0.05 else out


@generator("SETRANGE")
def setrange_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    offset = rng.choice((b"-1", b"536870912", b"536870911", b"9223372036854775807", b"abc", b"-9223372036854775808"))
    if rng.random() < 0.85:
        offset = b"%d" % rng.randrange(60)
    # Behind a huge offset the part is long enough to be refused: nothing of that size is made.
    return [lines.key(), offset, lines.value() if len(offset) < 4 else rng.choice((b"", b"long enough"))]


@generator("LCS")
def lcs_arguments(lines: Lines) -> Argv:
    argv = [lines.key(), lines.key(), *lines.maybe(0.4, "LEN"), *lines.maybe(0.4, "IDX")]
    if lines.rng.random() < 0.3:
        argv += [b"MINMATCHLEN", lines.integer()]
    return argv + lines.maybe(0.3, "WITHMATCHLEN") + lines.maybe(0.05, "MINMATCHLEN", "junk")
