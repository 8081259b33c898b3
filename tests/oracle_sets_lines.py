"""Generators and comparers of sets and of SORT; importing this plugs them in."""

from __future__ import annotations

from typing import Any

from oracle_harness import Argv, comparer, same_shape, same_unordered
from oracle_keys_lines import NO_CURSORS, same_page, scan_options
from oracle_lines import UNCUT, Lines, generator

SETS_GROUP = [
    *[b"SADD"] * 8, b"SREM", b"SISMEMBER", b"SMISMEMBER", b"SMEMBERS", b"SCARD", b"SPOP", b"SRANDMEMBER", b"SMOVE",
    b"SUNION", b"SINTER", b"SDIFF", b"SUNIONSTORE", b"SINTERSTORE", b"SDIFFSTORE", b"SINTERCARD", b"SSCAN", b"SET",
    b"DEL", b"OBJECT|ENCODING", b"COPY", b"RENAME",
]  # fmt: skip
SORT_GROUP = [
    *[b"SADD"] * 4, *[b"RPUSH"] * 3, *[b"SET"] * 2, *[b"HSET"] * 2, *[b"SORT"] * 6, b"SORT_RO", b"SORT_RO", b"DEL",
]  # fmt: skip

# ---- comparing -----------------------------------------------------------------------

comparer("SMEMBERS", "SUNION", "SINTER", "SDIFF")(same_unordered)
comparer("SSCAN")(same_page)
comparer("SPOP", "SRANDMEMBER")(same_shape)


@comparer("SORT", "SORT_RO")
def same_sorted(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Open is the order of a set where nothing is sorted, and of members whose weights with ALPHA are equal."""
    words = [arg.upper() for arg in argv]
    patterns = [argv[at + 1].partition(b"\0")[0] for at in range(2, len(argv) - 1) if words[at] == b"BY"]
    has_order = b"ALPHA" not in words and all(b"*" in pattern for pattern in patterns)
    if not patterns or has_order or not isinstance(theirs[1], list) or not isinstance(ours[1], list):
        return bool(theirs == ours)
    return len(theirs[1]) == len(ours[1]) if b"LIMIT" in words else same_unordered(argv, theirs, ours)


# ---- sets ----------------------------------------------------------------------------


def set_member(lines: Lines) -> bytes:
    """A member: an integer of any width, text, binary, long."""
    rng = lines.rng
    roll = rng.random()
    if roll < 0.5:
        return b"%d" % rng.randrange(-3, 12)
    if roll < 0.6:
        return rng.choice((b"40000", b"-40000", b"3000000000", b"-9223372036854775808", b"9223372036854775807"))
    return lines.member() if roll < 0.9 else lines.value()


def set_members(lines: Lines, most: int = 4) -> Argv:
    """One member or several, integers only half of the time."""
    rng = lines.rng
    if rng.random() < 0.5:
        return [b"%d" % rng.randrange(12) for _ in range(rng.randint(1, most))]
    return [set_member(lines) for _ in range(rng.randint(1, most))]


generator("SMEMBERS", "SCARD")(lambda lines: [lines.key()])
generator("SADD", "SREM", "SMISMEMBER")(lambda lines: [lines.key(), *set_members(lines)])
generator("SISMEMBER")(lambda lines: [lines.key(), set_member(lines)])
generator("SMOVE")(lambda lines: [lines.key(), lines.key(), set_member(lines)])
generator("SUNION", "SINTER", "SDIFF")(lambda lines: lines.keys())
generator("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE")(lambda lines: [lines.key(), *lines.keys(3)])

UNCUT.add(b"SPOP")


@generator("SPOP")
def spop_arguments(lines: Lines) -> Argv:
    """What goes is chance, so only whole sets go, or none."""
    count = lines.rng.choice((b"1000", b"9223372036854775807", b"0", b"-1", b"x", b"9223372036854775808"))
    return [lines.key(), count, *lines.maybe(0.03, "junk")]


@generator("SRANDMEMBER")
def srandmember_arguments(lines: Lines) -> Argv:
    """Negative counts stay small: stock makes as many members as it is asked for."""
    rng = lines.rng
    argv = [lines.key()]
    if rng.random() < 0.3:
        return argv
    huge = (b"4294967296", b"9223372036854775807", b"-9223372036854775808")
    return [*argv, rng.choice(huge) if rng.random() < 0.1 else lines.small(-6, 30), *lines.maybe(0.03, "junk")]


@generator("SINTERCARD")
def sintercard_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    keys = lines.keys()
    count = b"%d" % len(keys) if rng.random() < 0.9 else lines.small(-1, 6)
    limit = [lines.word("LIMIT"), lines.small(-1, 6)] if rng.random() < 0.5 else []
    return [count, *keys, *limit, *lines.maybe(0.04, "LIMIT", "junk")]


@generator("SSCAN")
def sscan_arguments(lines: Lines) -> Argv:
    cursor = lines.rng.choice(NO_CURSORS if lines.rng.random() < 0.1 else [b"0", b"", b"00"])
    return [lines.key(), cursor, *scan_options(lines)]


# ---- SORT ----------------------------------------------------------------------------

BY_PATTERNS = [b"k*", b"k*->f1", b"k*->f2", b"*", b"nosuch*", b"k*->", b"k*->f1\0x"]
NO_PATTERNS = [b"nosort", b"", b"k", b"\0*", b"#"]
GET_PATTERNS = [*BY_PATTERNS, b"#", b"#", b"k", b"", b"#x", b"*->f1->f2"]


def sort_options(lines: Lines, *more: str) -> Argv:
    """Options in any order; ALPHA together with BY is left to tests of its own where STORE is possible."""
    rng = lines.rng
    options: list[Argv] = [lines.maybe(0.4, "ASC", "DESC")]
    by = rng.random() < 0.4
    if by:
        options.append([lines.word("BY"), rng.choice(BY_PATTERNS if rng.random() < 0.7 else NO_PATTERNS)])
    if rng.random() < 0.4 and not (by and more):
        options.append([lines.word("ALPHA")])
    if rng.random() < 0.4:
        options.append([lines.word("LIMIT"), lines.small(-2, 6), lines.small(-2, 6)])
    options += [[lines.word("GET"), rng.choice(GET_PATTERNS)] for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    options += [[lines.word(word), lines.key()] for word in more if rng.random() < 0.4]
    rng.shuffle(options)
    return [word for option in options for word in option] + lines.maybe(0.05, "BY", "GET", "STORE", "LIMIT", "junk")


generator("SORT")(lambda lines: [lines.key(), *sort_options(lines, "STORE")])
generator("SORT_RO")(lambda lines: [lines.key(), *sort_options(lines)])
