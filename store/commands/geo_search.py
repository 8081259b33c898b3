"""Searches for places: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS and its kind.

What is near lies in up to nine ranges of scores (``store.geohash``); only those are looked
at, and each place in them is measured.

A search that is stored is logged as GEOSEARCHSTORE.  Where more places are equally far away
than COUNT lets in, which of them are taken hangs on the way of sorting, so then the
result itself is logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from perdure.store.command import DENYOOM, MOVABLE_KEYS, READONLY, WRITE, KeySpec, command
from perdure.store.commands.geo import GROUP, READS, WRITES, distance_reply, parse_place, parse_unit, place_reply
from perdure.store.commands.zsets import ACCESSED, members_reply, read_zset, source_zset, store_zset, word_of
from perdure.store.errors import (
    ANY_WITHOUT_COUNT,
    BOX_NEGATIVE,
    GEO_COUNT_NOT_POSITIVE,
    GEORADIUS_STORE_WITH,
    GEOSEARCHSTORE_WITH,
    HEIGHT_NOT_NUMERIC,
    MEMBER_NOT_DECODED,
    RADIUS_NEGATIVE,
    RADIUS_NOT_NUMERIC,
    SYNTAX,
    WIDTH_NOT_NUMERIC,
    CommandError,
    geo_centre_needed,
    geo_shape_needed,
)
from perdure.store.geohash import Place, Shape, boxes_near, decode
from perdure.store.numbers import parse_integer, parse_score
from perdure.store.resp import EMPTY_ARRAY, array_head, bulk, integer
from perdure.store.tx import Tx
from perdure.store.zset_value import ZSet

_PIECE = 512
"""So many members of a range are fetched at once: COUNT ANY may need only the first of them."""
_SEARCH, _SEARCH_STORE, _RADIUS, _RADIUS_READ_ONLY = range(4)


@dataclass(slots=True)
class _Found:
    """A place in the shape."""

    member: bytes
    score: float
    place: Place
    distance_m: float


@dataclass(slots=True)
class _Search:
    """What a command line asks for."""

    kind: int
    shape: Shape = field(default_factory=Shape)
    centre: list[bytes] = field(default_factory=list)
    area: list[bytes] = field(default_factory=list)
    """Centre and shape as GEOSEARCH takes them; empty as long as they are not given."""
    with_distance: bool = False
    with_hash: bool = False
    with_place: bool = False
    descending: bool = False
    sorts: bool = False
    count: int = 0
    any: bool = False
    store_key: bytes | None = None
    store_distance: bool = False


# ---- reading the command line --------------------------------------------------------------------


def _set_radius(search: _Search, radius: bytes, unit: bytes) -> None:
    length = parse_score(radius, RADIUS_NOT_NUMERIC)
    if length < 0:
        raise CommandError(RADIUS_NEGATIVE)
    search.shape.radius = length
    search.shape.unit_m = parse_unit(unit)
    search.area = [b"BYRADIUS", radius, unit]


def _set_box(search: _Search, width: bytes, height: bytes, unit: bytes) -> None:
    shape = search.shape
    shape.width = parse_score(width, WIDTH_NOT_NUMERIC)
    shape.height = parse_score(height, HEIGHT_NOT_NUMERIC)
    if shape.width < 0 or shape.height < 0:
        raise CommandError(BOX_NEGATIVE)
    shape.unit_m = parse_unit(unit)
    search.area = [b"BYBOX", width, height, unit]


def _set_centre_to_member(search: _Search, value: ZSet | None, member: bytes) -> None:
    """Without a sorted set there is nothing to find, but the rest of the line is still read."""
    search.centre = [b"FROMMEMBER", member]
    if value is None:
        return
    score = value.scores.get(member)
    if score is None:
        raise CommandError(MEMBER_NOT_DECODED)
    search.shape.centre = decode(score)


def _set_centre(search: _Search, longitude: bytes, latitude: bytes) -> None:
    search.centre = [b"FROMLONLAT", longitude, latitude]
    search.shape.centre = parse_place(longitude, latitude)


def _area_option(search: _Search, value: ZSet | None, argv: list[bytes], at: int) -> int:
    """An option of GEOSEARCH that says where; how many arguments it takes, 0 if there is no such option."""
    option = word_of(argv[at])
    left = len(argv) - at - 1
    if option == b"FROMMEMBER" and left >= 1 and b"FROMLONLAT" not in search.centre[:1]:
        _set_centre_to_member(search, value, argv[at + 1])
        return 1 + 1
    if option == b"FROMLONLAT" and left >= 2 and b"FROMMEMBER" not in search.centre[:1]:
        _set_centre(search, argv[at + 1], argv[at + 2])
        return 1 + 2
    if option == b"BYRADIUS" and left >= 2 and b"BYBOX" not in search.area[:1]:
        _set_radius(search, argv[at + 1], argv[at + 2])
        return 1 + 2
    if option == b"BYBOX" and left >= 3 and b"BYRADIUS" not in search.area[:1]:
        _set_box(search, argv[at + 1], argv[at + 2], argv[at + 3])
        return 1 + 3
    return 0


def _option(search: _Search, argv: list[bytes], at: int) -> int:
    """An option that every search has; how many arguments it takes, 0 if there is no such option."""
    option = word_of(argv[at])
    left = len(argv) - at - 1
    if option == b"WITHDIST":
        search.with_distance = True
    elif option == b"WITHHASH":
        search.with_hash = True
    elif option == b"WITHCOORD":
        search.with_place = True
    elif option == b"ANY":
        search.any = True
    elif option == b"ASC" or option == b"DESC":
        search.sorts = True
        search.descending = option == b"DESC"
    elif option == b"COUNT" and left:
        search.count = parse_integer(argv[at + 1])
        if search.count <= 0:
            raise CommandError(GEO_COUNT_NOT_POSITIVE)
        return 2
    elif search.kind == _RADIUS and left and option in (b"STORE", b"STOREDIST"):
        search.store_key = argv[at + 1]
        search.store_distance = option == b"STOREDIST"
        return 2
    elif search.kind == _SEARCH_STORE and option == b"STOREDIST":
        search.store_distance = True
    else:
        return 0
    return 1


def _read_options(search: _Search, value: ZSet | None, argv: list[bytes], at: int) -> None:
    """The options from ``argv[at]`` on, and what may not stand together."""
    searches = search.kind in (_SEARCH, _SEARCH_STORE)
    while at < len(argv):
        taken = _option(search, argv, at)
        if not taken and searches:
            taken = _area_option(search, value, argv, at)
        if not taken:
            raise CommandError(SYNTAX)
        at += taken
    if search.store_key is not None and (search.with_distance or search.with_hash or search.with_place):
        raise CommandError(GEOSEARCHSTORE_WITH if search.kind == _SEARCH_STORE else GEORADIUS_STORE_WITH)
    if searches and not search.centre:
        raise CommandError(geo_centre_needed(argv[0]))
    if searches and not search.area:
        raise CommandError(geo_shape_needed(argv[0]))
    if search.any and not search.count:
        raise CommandError(ANY_WITHOUT_COUNT)
    if search.count and not search.sorts and not search.any:
        search.sorts = True


# ---- searching -----------------------------------------------------------------------------------


def _in_boxes(value: ZSet, shape: Shape) -> Iterator[tuple[bytes, float]]:
    """Members and scores that may be in the shape, box by box."""
    order = value.order
    for low, high in boxes_near(shape):
        start, stop = order.below(float(low), False), order.below(float(high), False)
        for at in range(start, stop, _PIECE):
            yield from zip(*order.slice(at, min(at + _PIECE, stop)), strict=True)


def _find(value: ZSet, search: _Search) -> list[_Found]:
    """The places found, in the order asked for, not yet cut to COUNT unless that is ANY."""
    shape = search.shape
    most = search.count if search.any else 0
    found: list[_Found] = []
    for member, score in _in_boxes(value, shape):
        place = decode(score)
        distance = shape.distance_within_m(place)
        if distance == -1.0:
            continue
        found.append(_Found(member, score, place, distance))
        if len(found) == most:
            break
    if search.sorts:
        found.sort(key=attrgetter("distance_m"), reverse=search.descending)
    return found


def _shown(tx: Tx, search: _Search, found: list[_Found]) -> bytes:
    """The reply of a search that is not stored."""
    extras = search.with_distance + search.with_hash + search.with_place
    if not extras:
        return members_reply([one.member for one in found])
    parts = [array_head(len(found))]
    head = array_head(extras + 1)
    for one in found:
        parts += (head, bulk(one.member))
        if search.with_distance:
            parts.append(distance_reply(one.distance_m, search.shape.unit_m))
        if search.with_hash:
            parts.append(integer(int(one.score)))
        if search.with_place:
            parts.append(place_reply(one.place, tx.resp3))
    return b"".join(parts)


def _record(search: _Search, source: bytes) -> list[bytes]:
    """What is logged for a search that is stored."""
    assert search.store_key is not None
    line = [b"GEOSEARCHSTORE", search.store_key, source, *search.centre, *search.area]
    if search.sorts:
        line.append(b"DESC" if search.descending else b"ASC")
    if search.count:
        line += (b"COUNT", b"%d" % search.count)
    if search.any:
        line.append(b"ANY")
    if search.store_distance:
        line.append(b"STOREDIST")
    return line


def _run(tx: Tx, source: bytes, value: ZSet | None, search: _Search) -> bytes:
    """Search, and answer or store."""
    key = search.store_key
    found = [] if value is None else _find(value, search)
    count = search.count or len(found)
    if key is None:
        return _shown(tx, search, found[:count]) if found else EMPTY_ARRAY
    unit_m = search.shape.unit_m
    scores = {one.member: one.distance_m / unit_m if search.store_distance else one.score for one in found[:count]}
    event = b"geosearchstore" if search.kind == _SEARCH_STORE else b"georadiusstore"
    tied = count < len(found) and found[count - 1].distance_m == found[count].distance_m
    return store_zset(tx, _record(search, source), key, scores, event, as_result=tied)


# ---- GEOSEARCH -----------------------------------------------------------------------------------


@command(
    "GEOSEARCH",
    arity=-7,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="6.2.0",
    acl=READS,
    history=(("7.0.0", "Units may be in upper case."),),
    syntax="key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | "
    "BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    summary="Returns the members that are in a circle or a box.",
    complexity="O(N+M*log(M)) for N members in the boxes around the shape and M in it",
)
def geosearch(tx: Tx, argv: list[bytes]) -> bytes:
    """GEOSEARCH key <FROMMEMBER ... | FROMLONLAT ...> <BYRADIUS ... | BYBOX ...> [options]"""
    value = read_zset(tx, argv[1])
    search = _Search(_SEARCH)
    try:
        _read_options(search, value, argv, 2)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    return _run(tx, argv[1], value, search)


@command(
    "GEOSEARCHSTORE",
    arity=-8,
    flags=WRITE | DENYOOM,
    keys_at=(1, 2, 1),
    key_specs=(
        KeySpec(("OW", "update"), ("index", 1), ("range", 0, 1, 0)),
        KeySpec(("RO", "access"), ("index", 2), ("range", 0, 1, 0)),
    ),
    group=GROUP,
    since="6.2.0",
    acl=WRITES,
    history=(("7.0.0", "Units may be in upper case."),),
    syntax="destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius "
    "<M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
    summary="Stores the members that are in a circle or a box as another sorted set.",
    complexity="O(N+M*log(M)) for N members in the boxes around the shape and M in it",
)
def geosearchstore(tx: Tx, argv: list[bytes]) -> bytes:
    """GEOSEARCHSTORE destination source <FROMMEMBER ... | FROMLONLAT ...> <BYRADIUS ... | BYBOX ...> [options]"""
    value = source_zset(tx, argv[2])
    search = _Search(_SEARCH_STORE, store_key=argv[1])
    _read_options(search, value, argv, 3)
    return _run(tx, argv[2], value, search)


# ---- GEORADIUS -----------------------------------------------------------------------------------


def _read_radius(search: _Search, value: ZSet | None, argv: list[bytes], by_member: bool) -> None:
    """The line of GEORADIUS or GEORADIUSBYMEMBER, in stock's order: nothing is asked of a member that nobody has."""
    if not by_member:
        _set_centre(search, argv[2], argv[3])
        _set_radius(search, argv[4], argv[5])
    elif value is not None:
        _set_centre_to_member(search, value, argv[2])
        _set_radius(search, argv[3], argv[4])
    _read_options(search, value, argv, 5 if by_member else 6)


def _radius(tx: Tx, argv: list[bytes], by_member: bool) -> bytes:
    value = source_zset(tx, argv[1])
    search = _Search(_RADIUS)
    _read_radius(search, value, argv, by_member)
    return _run(tx, argv[1], value, search)


def _radius_read_only(tx: Tx, argv: list[bytes], by_member: bool) -> bytes:
    value = read_zset(tx, argv[1])
    search = _Search(_RADIUS_READ_ONLY)
    try:
        _read_radius(search, value, argv, by_member)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    return _run(tx, argv[1], value, search)


def _stored_at(argv: list[bytes], at: int) -> list[bytes]:
    """The source, and the key behind the last STORE or STOREDIST from ``argv[at]`` on."""
    store = argv[1:1]
    while at < len(argv):
        if word_of(argv[at]) in (b"STORE", b"STOREDIST") and at + 1 < len(argv):
            at += 1
            store = [argv[at]]
        at += 1
    return [argv[1], *store]


def _radius_specs(start: int) -> tuple[KeySpec, ...]:
    words = ("STORE", "STOREDIST")
    return (*ACCESSED, *[KeySpec(("OW", "update"), ("keyword", word, start), ("range", 0, 1, 0)) for word in words])


_RADIUS_OPTIONS = "[WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]"


@command(
    "GEORADIUS",
    arity=-6,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=lambda argv: _stored_at(argv, 5),
    key_specs=_radius_specs(6),
    group=GROUP,
    since="3.2.0",
    acl=WRITES,
    history=(("6.2.0", "`COUNT` takes `ANY`."), ("7.0.0", "Units may be in upper case.")),
    syntax=f"key longitude latitude radius <M | KM | FT | MI> {_RADIUS_OPTIONS} [STORE key] [STOREDIST key]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
    summary="Returns or stores the members that are in a circle around a place.",
    complexity="O(N+M*log(M)) for N members in the boxes around the circle and M in it",
)
def georadius(tx: Tx, argv: list[bytes]) -> bytes:
    """GEORADIUS key longitude latitude radius unit [options] [STORE key] [STOREDIST key]"""
    return _radius(tx, argv, False)


@command(
    "GEORADIUSBYMEMBER",
    arity=-5,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=lambda argv: _stored_at(argv, 5),
    key_specs=_radius_specs(5),
    group=GROUP,
    since="3.2.0",
    acl=WRITES,
    history=(("7.0.0", "Units may be in upper case."),),
    syntax=f"key member radius <M | KM | FT | MI> {_RADIUS_OPTIONS} [STORE key] [STOREDIST key]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    summary="Returns or stores the members that are in a circle around another member.",
    complexity="O(N+M*log(M)) for N members in the boxes around the circle and M in it",
)
def georadiusbymember(tx: Tx, argv: list[bytes]) -> bytes:
    """GEORADIUSBYMEMBER key member radius unit [options] [STORE key] [STOREDIST key]"""
    return _radius(tx, argv, True)


@command(
    "GEORADIUS_RO",
    arity=-6,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="3.2.10",
    acl=READS,
    history=(("6.2.0", "`COUNT` takes `ANY`."),),
    syntax=f"key longitude latitude radius <M | KM | FT | MI> {_RADIUS_OPTIONS}",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` argument",
    summary="Returns the members that are in a circle around a place.",
    complexity="O(N+M*log(M)) for N members in the boxes around the circle and M in it",
)
def georadius_ro(tx: Tx, argv: list[bytes]) -> bytes:
    """GEORADIUS_RO key longitude latitude radius unit [options]"""
    return _radius_read_only(tx, argv, False)


@command(
    "GEORADIUSBYMEMBER_RO",
    arity=-5,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="3.2.10",
    acl=READS,
    syntax=f"key member radius <M | KM | FT | MI> {_RADIUS_OPTIONS}",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
    summary="Returns the members that are in a circle around another member.",
    complexity="O(N+M*log(M)) for N members in the boxes around the circle and M in it",
)
def georadiusbymember_ro(tx: Tx, argv: list[bytes]) -> bytes:
    """GEORADIUSBYMEMBER_RO key member radius unit [options]"""
    return _radius_read_only(tx, argv, True)
