"""Generators and comparers of the sorted sets group; importing this plugs them in."""

from __future__ import annotations

from oracle_harness import comparer, same_shape
from oracle_keys_lines import NO_CURSORS, same_page, scan_options
from oracle_lines import Argv, Lines, generator

ZSETS_GROUP = [
    *[b"ZADD"] * 8, b"ZINCRBY", b"ZREM", b"ZCARD", b"ZSCORE", b"ZMSCORE", b"ZRANK", b"ZREVRANK", b"ZCOUNT",
    b"ZLEXCOUNT", *[b"ZRANGE"] * 3, b"ZREVRANGE", b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE", b"ZRANGEBYLEX",
    b"ZREVRANGEBYLEX",
    b"ZRANGESTORE", b"ZREMRANGEBYRANK", b"ZREMRANGEBYSCORE", b"ZREMRANGEBYLEX", b"ZPOPMIN", b"ZPOPMAX", b"ZMPOP",
    b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP", b"ZUNION", b"ZINTER", b"ZDIFF", b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE",
    b"ZINTERCARD", b"ZRANDMEMBER", b"ZSCAN", b"SET", b"DEL", b"COPY", b"OBJECT|ENCODING",
]  # fmt: skip
SCORES = [
    b"0", b"0", b"1", b"1", b"2", b"3", b"5", b"7", b"-1", b"-2.5", b"0.1", b"0.2", b"1e5", b"1e-7",
    b"123456789012345678", b"inf", b"-inf", b"+inf",
    b"-0.0", b"1.7976931348623157e308", b"5e-324", b"0x1p3", b".5", b"5.", b"3.0e3", b"1e17",
    b"9007199254740993",
]  # fmt: skip
NO_SCORES = [
    b"", b" 1", b"1 ", b"nan", b"abc", b"1e400", b"1e-400", b"--1", b"1_0", b"1\x00", b"0x", b"1,5", b"-", b".", b"1-2",
]  # fmt: skip
ODD_BOUNDS = [b"(", b"((1", b"( 1", b" 1", b"1\x00x", b"(nan", b"1e400", b"-1e400", b"1e-400", b"0x1p2", b"x"]

comparer("ZSCAN")(same_page)
comparer("ZRANDMEMBER")(same_shape)


def zset_member(lines: Lines) -> bytes:
    """A member short enough for a listpack: ranges of members are only defined in one, unless all scores are equal."""
    member = lines.member()
    return member[:64]


def zset_members(lines: Lines) -> Argv:
    """One member or several."""
    return [zset_member(lines) for _ in range(lines.rng.randint(1, 4))]


def score(lines: Lines, spoil: float = 0.04) -> bytes:
    """A score, sometimes none."""
    rng = lines.rng
    if rng.random() < spoil:
        return rng.choice(NO_SCORES)
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(SCORES)
    return b"%d" % rng.randint(-5, 20) if roll < 0.85 else b"%.*f" % (rng.randrange(18), rng.uniform(-100, 100))


def score_bound(lines: Lines) -> bytes:
    """A bound of a range of scores, now and then odd or none."""
    rng = lines.rng
    roll = rng.random()
    if roll < 0.3:
        return rng.choice((b"-inf", b"+inf", b"inf"))
    if roll < 0.4:
        return rng.choice(ODD_BOUNDS)
    return (b"(" if rng.random() < 0.3 else b"") + score(lines, 0.02)


def lex_bound(lines: Lines) -> bytes:
    """A bound of a range of members, now and then none."""
    rng = lines.rng
    if rng.random() < 0.35:
        return rng.choice((b"-", b"+", b"-\x00x", b"+\x00"))
    if rng.random() < 0.06:
        return rng.choice((b"f1", b"", b"-x", b"+x", b"(", b"["))
    return rng.choice((b"[", b"(")) + zset_member(lines)


def limit(lines: Lines, chance: float = 0.35) -> Argv:
    """LIMIT, or nothing."""
    if lines.rng.random() >= chance:
        return []
    return [lines.word("LIMIT"), lines.small(-2, 5), lines.rng.choice((b"-1", b"0", b"-5", lines.small(0, 6)))]


generator("ZCARD")(lambda lines: [lines.key()])
generator("ZSCORE")(lambda lines: [lines.key(), zset_member(lines)])
generator("ZRANK", "ZREVRANK")(lambda lines: [lines.key(), zset_member(lines)])
generator("ZMSCORE", "ZREM")(lambda lines: [lines.key(), *zset_members(lines)])
generator("ZINCRBY")(lambda lines: [lines.key(), score(lines, 0.1), zset_member(lines)])
generator("ZCOUNT", "ZREMRANGEBYSCORE")(lambda lines: [lines.key(), score_bound(lines), score_bound(lines)])
generator("ZLEXCOUNT", "ZREMRANGEBYLEX")(lambda lines: [lines.key(), lex_bound(lines), lex_bound(lines)])
generator("ZREMRANGEBYRANK")(lambda lines: [lines.key(), lines.small(-3, 9), lines.small(-4, 9)])
generator("ZPOPMIN", "ZPOPMAX")(
    lambda lines: [lines.key(), *([lines.integer(0.1)] if lines.rng.random() < 0.5 else [])]
)


@generator("ZADD")
def zadd_arguments(lines: Lines) -> Argv:
    options = [
        lines.maybe(0.2, "NX", "XX"),
        lines.maybe(0.2, "GT", "LT"),
        lines.maybe(0.2, "CH"),
        lines.maybe(0.12, "INCR"),
        lines.maybe(0.03, "NX", "XX", "GT", "LT", "junk", "nx\0y"),
    ]
    lines.rng.shuffle(options)
    argv = [lines.key(), *[word for option in options for word in option]]
    for _ in range(lines.rng.choice((1, 1, 2, 4))):
        argv += [score(lines), zset_member(lines)]
    return argv[:-1] if lines.rng.random() < 0.03 else argv


@generator("ZRANGE")
def zrange_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    kind = rng.choice((b"", b"", b"BYSCORE", b"BYLEX"))
    bound = {b"": lambda lines: lines.small(-6, 9), b"BYSCORE": score_bound, b"BYLEX": lex_bound}[kind]
    options = [
        [kind] if kind else [],
        lines.maybe(0.4, "REV"),
        limit(lines, 0.4 if kind else 0.05),
        lines.maybe(0.1 if kind == b"BYLEX" else 0.4, "WITHSCORES"),
        lines.maybe(0.03, "BYLEX", "BYSCORE", "REV", "LIMIT", "junk"),
    ]
    rng.shuffle(options)
    return [lines.key(), bound(lines), bound(lines), *[word for option in options for word in option]]


@generator("ZRANGESTORE")
def zrangestore_arguments(lines: Lines) -> Argv:
    argv = [word for word in zrange_arguments(lines) if word.upper() != b"WITHSCORES" or lines.rng.random() < 0.1]
    return [lines.key(), *argv]


@generator("ZREVRANGE")
def zrevrange_arguments(lines: Lines) -> Argv:
    return [lines.key(), lines.small(-6, 9), lines.small(-6, 9), *lines.maybe(0.4, "WITHSCORES"), *limit(lines, 0.05)]


@generator("ZRANGEBYSCORE", "ZREVRANGEBYSCORE")
def by_score_arguments(lines: Lines) -> Argv:
    more = lines.maybe(0.05, "REV", "BYLEX", "BYSCORE", "LIMIT")
    return [lines.key(), score_bound(lines), score_bound(lines), *lines.maybe(0.4, "WITHSCORES"), *limit(lines), *more]


@generator("ZRANGEBYLEX", "ZREVRANGEBYLEX")
def by_lex_arguments(lines: Lines) -> Argv:
    more = lines.maybe(0.08, "REV", "BYLEX", "WITHSCORES", "LIMIT")
    return [lines.key(), lex_bound(lines), lex_bound(lines), *limit(lines), *more]


# ---- pops --------------------------------------------------------------------------------


def timeout(lines: Lines) -> bytes:
    """A timeout that is no number, or too short for a lone client to notice."""
    rng = lines.rng
    return rng.choice((b"-1", b"x", b"", b"1e5000", b"nan") if rng.random() < 0.15 else
                      (b"0.001", b"1e-9", b"0x1p-12"))  # fmt: skip


def mpop_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    keys = lines.keys(3)
    number = rng.choice((b"0", b"-1", b"x", b"9", b"9223372036854775807")) if rng.random() < 0.08 else b"%d" % len(keys)
    argv = [number, *keys, lines.word("MIN", "MAX", *["junk"] * (rng.random() < 0.1))]
    if rng.random() < 0.5:
        argv += [lines.word("COUNT"), lines.small(0, 5)]
    return argv + lines.maybe(0.05, "COUNT", "junk", "MIN")


generator("BZPOPMIN", "BZPOPMAX")(lambda lines: [*lines.keys(3), timeout(lines)])
generator("ZMPOP")(mpop_arguments)
generator("BZMPOP")(lambda lines: [timeout(lines), *mpop_arguments(lines)])

# ---- unions and the like -----------------------------------------------------------------


def inputs(lines: Lines, combines: bool) -> Argv:
    """The number of keys, the keys, WEIGHTS and AGGREGATE."""
    rng = lines.rng
    keys = lines.keys(3)
    number = rng.choice((b"0", b"-1", b"x", b"9", b"")) if rng.random() < 0.06 else b"%d" % len(keys)
    options: list[Argv] = []
    if rng.random() < (0.4 if combines else 0.02):
        options.append([lines.word("WEIGHTS"), *[score(lines, 0.05) for _ in keys]])
    if rng.random() < (0.4 if combines else 0.02):
        options.append([lines.word("AGGREGATE"), lines.word("SUM", "MIN", "MAX", *["junk"] * (rng.random() < 0.1))])
    rng.shuffle(options)
    return [number, *keys, *[word for option in options for word in option]]


@generator("ZUNION", "ZINTER")
def zunion_arguments(lines: Lines) -> Argv:
    return inputs(lines, True) + lines.maybe(0.5, "WITHSCORES") + lines.maybe(0.04, "WITHSCORES", "junk", "LIMIT")


generator("ZDIFF")(lambda lines: inputs(lines, False) + lines.maybe(0.5, "WITHSCORES"))
generator("ZUNIONSTORE", "ZINTERSTORE")(
    lambda lines: [lines.key(), *inputs(lines, True), *lines.maybe(0.04, "WITHSCORES", "junk")]
)
generator("ZDIFFSTORE")(lambda lines: [lines.key(), *inputs(lines, False), *lines.maybe(0.04, "WITHSCORES")])
generator("ZINTERCARD")(
    lambda lines: inputs(lines, False) + ([lines.word("LIMIT"), lines.small(-1, 4)] if lines.rng.random() < 0.4 else [])
)

# ---- parts -------------------------------------------------------------------------------


@generator("ZRANDMEMBER")
def zrandmember_arguments(lines: Lines) -> Argv:
    """Negative counts stay small: stock makes as many members as it is asked for."""
    rng = lines.rng
    argv = [lines.key()]
    if rng.random() < 0.3:
        return argv
    huge = (b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"4611686018427387904")
    argv.append(rng.choice(huge) if rng.random() < 0.1 else lines.small(-6, 30))
    return argv + lines.maybe(0.5, "WITHSCORES") + lines.maybe(0.05, "WITHSCORES", "junk")


@generator("ZSCAN")
def zscan_arguments(lines: Lines) -> Argv:
    cursor = lines.rng.choice(NO_CURSORS if lines.rng.random() < 0.1 else [b"0", b"", b"00"])
    return [lines.key(), cursor, *scan_options(lines)]
