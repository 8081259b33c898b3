"""Generators and comparers of the geo group; importing this plugs them in."""

from __future__ import annotations

from oracle_lines import Argv, Lines, generator
from oracle_zsets_lines import zset_member, zset_members

GEO_GROUP = [
    *[b"GEOADD"] * 8, b"GEOPOS", b"GEODIST", b"GEOHASH", *[b"GEOSEARCH"] * 4, *[b"GEOSEARCHSTORE"] * 2, b"GEORADIUS",
    b"GEORADIUSBYMEMBER", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER_RO", b"ZADD", b"ZREM", b"ZSCORE", b"ZRANGE", b"DEL",
    b"SET",
]  # fmt: skip
UNITS = (b"m", b"M", b"km", b"Km", b"ft", b"mi", b"MI")


def unit(lines: Lines) -> bytes:
    """A unit, now and then none."""
    return lines.rng.choice((b"x", b"", b"kms", b"m\x00")) if lines.rng.random() < 0.03 else lines.rng.choice(UNITS)


def place(lines: Lines) -> Argv:
    """Longitude and latitude: mostly around Sicily, some anywhere, at the edges or nowhere.

    With many digits, so that no two members are equally far from anything.
    """
    rng = lines.rng
    roll = rng.random()
    if roll < 0.6:
        return [b"%.9f" % rng.uniform(12, 16), b"%.9f" % rng.uniform(36, 39)]
    if roll < 0.88:
        return [b"%.9f" % rng.uniform(-180, 180), b"%.9f" % rng.uniform(-85.05, 85.05)]
    if roll < 0.94:
        edges = (b"180", b"-180", b"179.999999", b"-179.999999"), (b"85.05112878", b"-85.05112878", b"85", b"-84.9")
        return [rng.choice(edges[0]), rng.choice(edges[1])]
    bad = (b"180.1", b"-181", b"x", b"nan", b"inf", b"", b"1e300", b"90", b"0")
    return [rng.choice(bad), rng.choice(bad)]


def length(lines: Lines) -> bytes:
    """A radius, width or height, now and then none."""
    rng = lines.rng
    if rng.random() < 0.05:
        return rng.choice((b"-1", b"x", b"", b"nan", b"inf", b"1e308", b"-0.0", b"1e-300"))
    return rng.choice((b"0", b"1", b"100", b"1000", b"%.3f" % (10 ** rng.uniform(0, 8)), b"%d" % rng.randrange(500)))


def search_options(lines: Lines) -> list[Argv]:
    """What every search takes."""
    rng = lines.rng
    options = [lines.maybe(0.3, name) for name in ("WITHDIST", "WITHHASH", "WITHCOORD")]
    options.append(lines.maybe(0.5, "ASC", "DESC"))
    if rng.random() < 0.3:
        # Which of several places at one distance come in is open; the distances tell whether it is only that.
        options.append([lines.word("COUNT"), lines.small(0, 6), rng.choice((b"ANY", b"any", b"WITHDIST"))])
    options.append(lines.maybe(0.04, "ANY", "COUNT", "junk", "STORE", "STOREDIST", "BYRADIUS", "FROMMEMBER", "ASC"))
    return options


def shuffled(lines: Lines, options: list[Argv]) -> Argv:
    """The options in some order."""
    lines.rng.shuffle(options)
    return [word for option in options for word in option]


def plain_options(lines: Lines) -> list[Argv]:
    """What a search that is stored takes: mostly nothing that it must not."""
    options = [option for option in search_options(lines) if not _shows(option) or lines.rng.random() < 0.1]
    # COUNT only with ANY: which of several places at one distance are stored is open.
    return [[*option[:2], b"ANY"] if option[2:] == [b"WITHDIST"] else option for option in options]


def _shows(option: Argv) -> bool:
    return bool(option) and option[0].upper().startswith(b"WITH")


generator("GEOPOS", "GEOHASH")(lambda lines: [lines.key(), *zset_members(lines)])


@generator("GEODIST")
def geodist_arguments(lines: Lines) -> Argv:
    argv = [lines.key(), zset_member(lines), zset_member(lines)]
    return [*argv, unit(lines)] if lines.rng.random() < 0.5 else argv


@generator("GEOADD")
def geoadd_arguments(lines: Lines) -> Argv:
    argv = [lines.key(), *lines.maybe(0.2, "NX", "XX"), *lines.maybe(0.2, "CH"), *lines.maybe(0.02, "NX", "XX", "GT")]
    for _ in range(lines.rng.choice((1, 2, 4))):
        argv += [*place(lines), zset_member(lines)]
    return argv[:-1] if lines.rng.random() < 0.03 else argv


def area(lines: Lines) -> list[Argv]:
    """Centre and shape of GEOSEARCH; now and then one is missing or there are two."""
    rng = lines.rng
    centres = [[lines.word("FROMMEMBER"), zset_member(lines)], [lines.word("FROMLONLAT"), *place(lines)]]
    shapes = [
        [lines.word("BYRADIUS"), length(lines), unit(lines)],
        [lines.word("BYBOX"), length(lines), length(lines), unit(lines)],
    ]
    out = []
    for choices in (centres, shapes):
        roll = rng.random()
        if roll > 0.04:
            out.append(rng.choice(choices))
        elif roll > 0.02:
            out += choices
    return out


@generator("GEOSEARCH")
def geosearch_arguments(lines: Lines) -> Argv:
    return [lines.key(), *shuffled(lines, [*area(lines), *search_options(lines)])]


@generator("GEOSEARCHSTORE")
def geosearchstore_arguments(lines: Lines) -> Argv:
    options = [*area(lines), *plain_options(lines), lines.maybe(0.4, "STOREDIST")]
    return [lines.key(), lines.key(), *shuffled(lines, options)]


def stored(lines: Lines) -> list[Argv]:
    """STORE and STOREDIST, or mostly nothing."""
    roll = lines.rng.random()
    if roll > 0.4:
        return search_options(lines)
    options = [*plain_options(lines), [lines.word("STORE", "STOREDIST"), lines.key()]]
    return [*options, [lines.word("STORE", "STOREDIST"), lines.key()]] if roll < 0.04 else options


generator("GEORADIUS")(
    lambda lines: [lines.key(), *place(lines), length(lines), unit(lines), *shuffled(lines, stored(lines))]
)
generator("GEORADIUS_RO")(
    lambda lines: [lines.key(), *place(lines), length(lines), unit(lines), *shuffled(lines, search_options(lines))]
)
generator("GEORADIUSBYMEMBER")(
    lambda lines: [lines.key(), zset_member(lines), length(lines), unit(lines), *shuffled(lines, stored(lines))]
)
generator("GEORADIUSBYMEMBER_RO")(
    lambda lines: [lines.key(), zset_member(lines), length(lines), unit(lines), *shuffled(lines, search_options(lines))]
)
