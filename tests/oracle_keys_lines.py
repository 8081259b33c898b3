"""Generators and comparers of the keys and hashes groups; importing this plugs them in."""

from __future__ import annotations

from typing import Any

from oracle_harness import comparer, same_pairs, same_shape, same_unordered
from oracle_lines import UNCUT, Argv, Lines, generator

FILLING = [b"SET", b"HSET", b"SETEX", b"EXPIRE", b"PEXPIREAT", b"COPY"] * 4
"""What makes keys, with and without deadlines, often enough that the others find some."""

KEYS_GROUP = [
    *FILLING, b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"TYPE", b"KEYS", b"SCAN", b"RANDOMKEY", b"RENAME", b"RENAMENX",
    b"RENAME", b"MOVE", b"COPY", b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"TTL", b"PTTL", b"EXPIRETIME",
    b"PEXPIRETIME", b"PERSIST", b"OBJECT|ENCODING", b"OBJECT|REFCOUNT", b"OBJECT|IDLETIME", b"OBJECT|FREQ", b"DBSIZE",
    b"SWAPDB", b"FLUSHDB", b"FLUSHALL", b"SELECT",
]  # fmt: skip
HASHES_GROUP = [
    *[b"HSET"] * 6, b"HSETNX", b"HGET", b"HMSET", b"HMGET", b"HGETALL", b"HDEL", b"HEXISTS", b"HLEN", b"HKEYS",
    b"HVALS", b"HINCRBY", b"HINCRBYFLOAT", b"HSTRLEN", b"HRANDFIELD", b"HSCAN", b"SET", b"DEL", b"OBJECT|ENCODING",
]  # fmt: skip

PATTERNS = [
    b"*", b"**", b"k*", b"k?", b"[kK]*", b"[^k]*", b"k[1-3]", b"\\k1", b"*\xff*", b"", b"[", b"f?", b"nosuch", b"*1*",
]  # fmt: skip
INDEXES = [b"0", b"0", b"0", b"1", b"1", b"15"]
NO_INDEXES = [b"16", b"-1", b"99999999999", b"x", b"", b"2147483648", b"-2147483649", b"9223372036854775808", b"01"]
NO_CURSORS = [b"x", b"+", b"-", b"1 ", b" 1", b"18446744073709551616", b"-99999999999999999999", b"0x0", b"1\n"]

# ---- comparing -----------------------------------------------------------------------


@comparer("SCAN", "HSCAN")
def same_page(argv: Argv, theirs: Any, ours: Any) -> bool:
    """A page: what it shows in any order; where pages end is open as long as the scan is not over."""
    if not isinstance(theirs[1], list) or not isinstance(ours[1], list):
        return bool(theirs == ours)
    if theirs[1][0][1] != b"0" or ours[1][0][1] != b"0":
        return theirs[1][0][0] == ours[1][0][0] and theirs[1][1][0] == ours[1][1][0]
    same = same_pairs if argv[0].upper() in (b"HSCAN", b"ZSCAN") else same_unordered
    return same(argv, theirs[1][1], ours[1][1])


comparer("HRANDFIELD")(same_shape)


@comparer("OBJECT|HELP")
def same_kind(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Lines of text, our own."""
    return theirs[0] == ours[0] and {line[0] for line in theirs[1]} == {line[0] for line in ours[1]}


# ---- keys ----------------------------------------------------------------------------

generator("DEL", "UNLINK")(lambda lines: lines.keys(2))
generator("EXISTS", "TOUCH")(lambda lines: lines.keys())
generator("TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST")(lambda lines: [lines.key()])
generator("OBJECT|ENCODING", "OBJECT|REFCOUNT", "OBJECT|IDLETIME", "OBJECT|FREQ")(lambda lines: [lines.key()])
generator("RANDOMKEY", "DBSIZE", "OBJECT|HELP")(lambda lines: [])
generator("KEYS")(lambda lines: [lines.rng.choice(PATTERNS)])
generator("RENAME", "RENAMENX")(lambda lines: [lines.key(), lines.key()])
generator("MOVE")(lambda lines: [lines.key(), index(lines)])
generator("SWAPDB")(lambda lines: [index(lines), index(lines)])
generator("SELECT")(lambda lines: [lines.rng.choice((b"0", b"0", b"0", b"1"))])
generator("FLUSHDB", "FLUSHALL")(lambda lines: [lines.word("ASYNC", "SYNC", *["junk"] * 60)])
generator("EXPIRE")(lambda lines: [lines.key(), lines.span(), *conditions(lines)])
generator("PEXPIRE")(lambda lines: [lines.key(), lines.span(1000), *conditions(lines)])
generator("EXPIREAT")(lambda lines: [lines.key(), lines.moment(), *conditions(lines)])
generator("PEXPIREAT")(lambda lines: [lines.key(), lines.moment(1000), *conditions(lines)])


def index(lines: Lines) -> bytes:
    """A database's number, sometimes none."""
    return lines.rng.choice(INDEXES if lines.rng.random() < 0.75 else NO_INDEXES)


def conditions(lines: Lines) -> Argv:
    """NX, XX, GT, LT, also where they do not go together."""
    more = lines.maybe(0.15, "NX", "XX", "GT", "LT", "junk", "foo\0bar", "a\r\nb")
    return lines.maybe(0.5, "NX", "XX", "GT", "LT") + more


@generator("COPY")
def copy_arguments(lines: Lines) -> Argv:
    options = [lines.maybe(0.5, "REPLACE"), [lines.word("DB"), index(lines)] if lines.rng.random() < 0.4 else []]
    lines.rng.shuffle(options)
    return [lines.key(), lines.key(), *options[0], *options[1], *lines.maybe(0.05, "DB", "junk", "REPLACE")]


def scan_options(lines: Lines, *more: Argv) -> Argv:
    """Options of SCAN and its kind; a good COUNT is large, so that a scan is one page."""
    rng = lines.rng
    choices: list[Argv] = [
        [lines.word("MATCH"), rng.choice(PATTERNS)],
        [lines.word("COUNT"), rng.choice((b"1000", b"9223372036854775807"))],
        *more,
    ]
    if rng.random() < 0.15:
        count = rng.choice((b"0", b"-1", b"x", b"9223372036854775808", b""))
        choices = [[b"COUNT", count], [b"junk", b"1"], [b"MATCH"]]
    picked = [arg for _ in range(rng.randrange(3)) for arg in rng.choice(choices)]
    return [*picked, b"COUNT", b"1000"] if rng.random() < 0.9 else [b"COUNT", b"1000", *picked]


UNCUT.add(b"SCAN")  # where a page ends says which keys it finds expired


@generator("SCAN")
def scan_arguments(lines: Lines) -> Argv:
    cursor = lines.rng.choice(NO_CURSORS if lines.rng.random() < 0.1 else [b"0", b"", b"00", b"-0", b"0\x00x"])
    types = (b"string", b"hash", b"Hash", b"hash\0x", b"list", b"none", b"")
    return [cursor, *scan_options(lines, [lines.word("TYPE"), lines.rng.choice(types)])]


# ---- hashes --------------------------------------------------------------------------

generator("HGETALL", "HKEYS", "HVALS", "HLEN")(lambda lines: [lines.key()])
generator("HGET", "HEXISTS", "HSTRLEN")(lambda lines: [lines.key(), lines.member()])
generator("HSETNX")(lambda lines: [lines.key(), lines.member(), lines.value()])
generator("HMGET", "HDEL")(lambda lines: [lines.key(), *members(lines)])
generator("HINCRBY")(lambda lines: [lines.key(), lines.member(), lines.integer()])
generator("HINCRBYFLOAT")(lambda lines: [lines.key(), lines.member(), lines.float()])


def members(lines: Lines) -> Argv:
    """One field or several."""
    return [lines.member() for _ in range(lines.rng.randint(1, 4))]


@generator("HSET", "HMSET")
def hset_arguments(lines: Lines) -> Argv:
    out = [lines.key()]
    for field in members(lines):
        out += [field, lines.value()]
    return out[:-1] if lines.rng.random() < 0.05 else out


@generator("HRANDFIELD")
def hrandfield_arguments(lines: Lines) -> Argv:
    """Negative counts stay small: stock makes as many fields as it is asked for."""
    rng = lines.rng
    argv = [lines.key()]
    if rng.random() < 0.3:
        return argv
    huge = (b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"4611686018427387904")
    argv.append(rng.choice(huge) if rng.random() < 0.1 else lines.small(-6, 30))
    if rng.random() < 0.05:
        return [argv[0], rng.choice((b"-9223372036854775807", b"-4611686018427387904")), b"WITHVALUES"]
    return argv + lines.maybe(0.5, "WITHVALUES") + lines.maybe(0.05, "WITHVALUES", "junk")


@generator("HSCAN")
def hscan_arguments(lines: Lines) -> Argv:
    cursor = lines.rng.choice(NO_CURSORS if lines.rng.random() < 0.1 else [b"0", b"", b"00"])
    return [lines.key(), cursor, *scan_options(lines)]


# ---- deadlines of hash fields, which stock 7.0 does not know -----------------------------


def _fields(lines: Lines) -> Argv:
    fields = [lines.member() for _ in range(lines.rng.randint(1, 3))]
    return [lines.word("FIELDS"), b"%d" % len(fields), *fields]


def _condition(lines: Lines) -> Argv:
    return lines.maybe(0.3, "NX", "XX", "GT", "LT", "junk")


generator("HEXPIRE")(lambda lines: [lines.key(), lines.span(), *_condition(lines), *_fields(lines)])
generator("HPEXPIRE")(lambda lines: [lines.key(), lines.span(1000), *_condition(lines), *_fields(lines)])
generator("HEXPIREAT")(lambda lines: [lines.key(), lines.moment(), *_condition(lines), *_fields(lines)])
generator("HPEXPIREAT")(lambda lines: [lines.key(), lines.moment(1000), *_condition(lines), *_fields(lines)])
generator("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST")(lambda lines: [lines.key(), *_fields(lines)])
