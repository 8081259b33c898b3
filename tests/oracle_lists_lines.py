"""Generators of the lists group; importing this plugs them in.

Elements come from a small pool, so that what is looked for is often there, and often
more than once.  What blocks waits for 1 ms: nobody else is there to push.
"""

from __future__ import annotations

from typing import Any

import oracle_keys_lines  # noqa: F401 - plugs in the generators of keys
from oracle_harness import comparer
from oracle_lines import Argv, Lines, generator

LISTS_GROUP = [
    *[b"LPUSH", b"RPUSH"] * 6, b"LPUSHX", b"RPUSHX", b"LPOP", b"RPOP", b"LLEN", *[b"LRANGE"] * 3, b"LINDEX", b"LSET",
    b"LINSERT", b"LREM", b"LTRIM", b"LPOS", b"LPOS", b"LMOVE", b"RPOPLPUSH", b"LMPOP", b"BLPOP", b"BRPOP", b"BLMOVE",
    b"BRPOPLPUSH", b"BLMPOP", b"SET", b"DEL", b"OBJECT|ENCODING", b"COPY", b"RENAME", b"EXPIRE", b"TYPE",
]  # fmt: skip
_TIMEOUTS = [b"0.001"] * 20 + [
    b"-1", b"x", b"", b"inf", b"1e400", b"nan", b"0x1p-10", b" 0.001", b"9223372036854775807", b"1e20",
]  # fmt: skip


@comparer("BLMOVE", "BRPOPLPUSH")
def same_null(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Stock has waited and answers a null array; here nobody can wait, which is null."""
    return theirs[1] is None and ours[1] is None


def element(lines: Lines) -> bytes:
    """An element: mostly one of a few, sometimes anything, now and then long."""
    rng = lines.rng
    if rng.random() < 0.8:
        return b"e%d" % rng.randrange(6)
    long = b"x" * rng.choice((9, 10, 99, 100, 247, 248, 249, 3000))
    return rng.choice((b"", b"\r\n", b"$2\r\ne1\r\n", long, lines.value()))


def elements(lines: Lines) -> Argv:
    """One element or several."""
    count = lines.rng.randint(1, 4) if lines.rng.random() < 0.9 else lines.rng.randint(9, 40)
    return [element(lines) for _ in range(count)]


def timeout(lines: Lines) -> bytes:
    """A short timeout, or none."""
    return lines.rng.choice(_TIMEOUTS)


def end(lines: Lines) -> bytes:
    """An end of a list."""
    return lines.word("LEFT", "LEFT", "RIGHT", "RIGHT", "LEFT", "RIGHT", "MIDDLE")


def numbered(lines: Lines) -> Argv:
    """Keys behind their number, which is sometimes wrong."""
    keys = lines.keys(3)
    number = b"%d" % len(keys) if lines.rng.random() < 0.9 else lines.integer()
    count = [lines.word("COUNT"), lines.small(0, 5)] if lines.rng.random() < 0.5 else []
    return [number, *keys, end(lines), *count, *lines.maybe(0.05, "COUNT", "junk")]


generator("LPUSH", "RPUSH", "LPUSHX", "RPUSHX")(lambda lines: [lines.key(), *elements(lines)])
generator("LLEN")(lambda lines: [lines.key()])
generator("LINDEX")(lambda lines: [lines.key(), lines.integer()])
generator("LRANGE", "LTRIM")(lambda lines: [lines.key(), lines.integer(), lines.integer()])
generator("LSET")(lambda lines: [lines.key(), lines.integer(), element(lines)])
generator("LREM")(lambda lines: [lines.key(), lines.small(-3, 3), element(lines)])
generator("LMOVE")(lambda lines: [lines.key(), lines.key(), end(lines), end(lines)])
generator("RPOPLPUSH")(lambda lines: [lines.key(), lines.key()])
generator("LMPOP")(numbered)
generator("BLPOP", "BRPOP")(lambda lines: [*lines.keys(3), timeout(lines)])
generator("BLMOVE")(lambda lines: [lines.key(), lines.key(), end(lines), end(lines), timeout(lines)])
generator("BRPOPLPUSH")(lambda lines: [lines.key(), lines.key(), timeout(lines)])
generator("BLMPOP")(lambda lines: [timeout(lines), *numbered(lines)])


@generator("LPOP", "RPOP")
def pop_arguments(lines: Lines) -> Argv:
    return [lines.key()] if lines.rng.random() < 0.6 else [lines.key(), lines.small(-1, 6)]


@generator("LINSERT")
def linsert_arguments(lines: Lines) -> Argv:
    return [lines.key(), lines.word("BEFORE", "AFTER", "BEFORE", "AFTER", "junk"), element(lines), element(lines)]


@generator("LPOS")
def lpos_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    argv = [lines.key(), element(lines)]
    for name, low in ((b"RANK", -4), (b"COUNT", 0), (b"MAXLEN", 0)):
        if rng.random() < 0.4:
            argv += [lines.word(name.decode()), lines.integer() if rng.random() < 0.1 else lines.small(low, 4)]
    return argv + lines.maybe(0.05, "RANK", "junk", "MAXLEN")
