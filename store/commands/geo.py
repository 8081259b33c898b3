"""Places: GEOADD, GEOPOS, GEODIST, GEOHASH; sorted sets whose scores are geohashes (``store.geohash``).

Searches are in ``geo_search``.
"""

from __future__ import annotations

from perdure.store.command import DENYOOM, READONLY, WRITE, command
from perdure.store.commands.zsets import ACCESSED, add_members, one_key, read_zset, word_of
from perdure.store.errors import SYNTAX, UNKNOWN_UNIT, CommandError, invalid_place
from perdure.store.geohash import Place, decode, distance_m, encode, is_on_map, text_of
from perdure.store.numbers import parse_score
from perdure.store.resp import array, array_head, bulk
from perdure.store.resp import encode as record_of
from perdure.store.tx import Tx

GROUP = "geo"
READS = ("read", "geo", "slow")
WRITES = ("write", "geo", "slow")
_UNITS_M = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}


def parse_unit(text: bytes) -> float:
    """A unit of length in metres."""
    metres = _UNITS_M.get(word_of(text))
    if metres is None:
        raise CommandError(UNKNOWN_UNIT)
    return metres


def parse_place(longitude: bytes, latitude: bytes) -> Place:
    """A place that can have a geohash."""
    place = parse_score(longitude), parse_score(latitude)
    if not is_on_map(place):
        raise CommandError(invalid_place(*place))
    return place


def distance_reply(metres: float, unit_m: float) -> bytes:
    """A distance: a bulk string in RESP3, too."""
    return bulk(b"%.4f" % (metres / unit_m))


def _coordinate(degrees: float, resp3: bool) -> bytes:
    """A coordinate as stock prints long doubles for people."""
    text = (b"%.17f" % degrees).rstrip(b"0").rstrip(b".")
    if text == b"-0":
        text = b"0"
    return b",%b\r\n" % text if resp3 else bulk(text)


def place_reply(place: Place, resp3: bool) -> bytes:
    """Longitude and latitude."""
    return b"*2\r\n" + _coordinate(place[0], resp3) + _coordinate(place[1], resp3)


@command(
    "GEOADD",
    arity=-5,
    flags=WRITE | DENYOOM,
    keys_at=(1, 1, 1),
    key_specs=one_key("RW", "update"),
    group=GROUP,
    since="3.2.0",
    acl=WRITES,
    history=(("6.2.0", "Takes `CH`, `NX` and `XX`."),),
    syntax="key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    summary="Sets the places of members, which are added if they are new.",
    complexity="O(log(N)) for each member of N",
)
def geoadd(tx: Tx, argv: list[bytes]) -> bytes:
    """GEOADD key [NX | XX] [CH] longitude latitude member [...]: logged as the ZADD that it is"""
    at = 2
    while at < len(argv) and word_of(argv[at]) in (b"NX", b"XX", b"CH"):
        at += 1
    options = [word_of(option) for option in argv[2:at]]
    if (len(argv) - at) % 3 or (b"NX" in options and b"XX" in options):
        raise CommandError(SYNTAX)
    line = [b"ZADD", argv[1], *options]
    for i in range(at, len(argv), 3):
        line += (b"%d" % encode(parse_place(argv[i], argv[i + 1])), argv[i + 2])
    return add_members(tx, line, record_of(line))


@command(
    "GEOPOS",
    arity=-2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="3.2.0",
    acl=READS,
    syntax="key [member [member ...]]",
    summary="Returns the places of members.",
    complexity="O(1) for each member",
)
def geopos(tx: Tx, argv: list[bytes]) -> bytes:
    """GEOPOS key [member [member ...]]"""
    value = read_zset(tx, argv[1])
    members = argv[2:]
    if value is None:
        return array_head(len(members)) + tx.null_array * len(members)
    found = [value.scores.get(member) for member in members]
    return array([tx.null_array if score is None else place_reply(decode(score), tx.resp3) for score in found])


@command(
    "GEOHASH",
    arity=-2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="3.2.0",
    acl=READS,
    syntax="key [member [member ...]]",
    summary="Returns the places of members as geohashes of 11 characters.",
    complexity="O(1) for each member",
)
def geohash(tx: Tx, argv: list[bytes]) -> bytes:
    """GEOHASH key [member [member ...]]"""
    value = read_zset(tx, argv[1])
    members = argv[2:]
    if value is None:
        return array_head(len(members)) + tx.null * len(members)
    found = [value.scores.get(member) for member in members]
    return array([tx.null if score is None else bulk(text_of(score)) for score in found])


@command(
    "GEODIST",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="3.2.0",
    acl=READS,
    syntax="key member1 member2 [M | KM | FT | MI]",
    summary="Returns how far two members are from each other.",
    complexity="O(1)",
)
def geodist(tx: Tx, argv: list[bytes]) -> bytes:
    """GEODIST key member1 member2 [M | KM | FT | MI]"""
    if len(argv) > 5:
        raise CommandError(SYNTAX)
    unit_m = parse_unit(argv[4]) if len(argv) == 5 else 1.0
    value = read_zset(tx, argv[1])
    if value is None:
        return tx.null
    a, b = value.scores.get(argv[2]), value.scores.get(argv[3])
    if a is None or b is None:
        return tx.null
    return distance_reply(distance_m(decode(a), decode(b)), unit_m)
