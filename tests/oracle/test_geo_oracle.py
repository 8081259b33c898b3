"""The geo group beside stock: replies, the order of checks, what it logs; a search looks only where it must."""

from __future__ import annotations

from random import Random

import pytest
from oracle_geo_lines import GEO_GROUP
from oracle_harness import Argv, Oracle, Ours, assert_same, check_all_log_first, check_replay, commands_of, plain, words
from oracle_lines import Lines

from perdure.store import geohash
from perdure.store.commands import geo_search
from perdure.store.zset_value import zset_of

pytestmark = pytest.mark.oracle

SETUP = words(
    "SET s1 text", "GEOADD g1 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "ZADD z1 1.5 a -1 b inf c -inf d",
    "ZADD z1 1e300 e 4503599627370496 f 18446744073709551615 g 9.3e18 h -9.3e18 i 0 j",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(1800, GEO_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "GEOADD s1 x 1 a", "GEOADD s1 1 x a", "GEOADD s1 181 1 a", "GEOADD s1 1 86 a", "GEOADD s1 1 1 a",
        "GEOADD s1 NX XX 1 1 a", "GEOADD s1 1 1 a 2", "GEOADD g1 NX XX CH", "GEOADD g1 NX CH CH", "GEOADD g1 GT 1 1 a",
        "GEOADD g1 1 1 a 200 1 b", "GEOPOS g1 a", "GEOPOS s1", "GEOPOS nokey", "GEOPOS nokey a b", "GEOHASH s1 a",
        "GEOHASH nokey a", "GEOHASH g1", "GEODIST s1 a b x", "GEODIST s1 a b", "GEODIST s1 a b m x",
        "GEODIST nokey a b",
        "GEODIST g1 Palermo nobody", "GEODIST g1 Palermo Catania", "GEODIST g1 Palermo Palermo MI",
        "GEOSEARCH s1 FROMMEMBER", "GEOSEARCH s1 x y z a b", "GEOSEARCH g1 FROMMEMBER nobody BYRADIUS x y",
        "GEOSEARCH g1 BYRADIUS x y FROMMEMBER nobody", "GEOSEARCH nokey FROMMEMBER nobody BYRADIUS x y",
        "GEOSEARCH nokey FROMMEMBER nobody BYRADIUS 1 m WITHDIST", "GEOSEARCH g1 FROMLONLAT x 1 BYRADIUS 1 m",
        "GEOSEARCH g1 FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 m", "GEOSEARCH g1 FROMMEMBER Palermo COUNT 1 ASC",
        "GEOSEARCH g1 FROMMEMBER Palermo FROMMEMBER Catania BYRADIUS 1 m", "geosearch g1 BYRADIUS 1 m ASC COUNT 1",
        "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m BYBOX 1 1 m", "GEOSEARCH g1 FROMMEMBER Palermo BYBOX 1 x m",
        "GEOSEARCH g1 FROMMEMBER Palermo BYBOX -1 1 m", "GEOSEARCH g1 FROMMEMBER Palermo BYBOX x 1 m",
        "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS -1 x", "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 x",
        "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m COUNT 0", "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m COUNT x",
        "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m ANY", "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m STOREDIST",
        "GEOSEARCH g1 FROMMEMBER Palermo BYRADIUS 1 m STORE d", "GEOSEARCHSTORE d s1 FROMMEMBER a BYRADIUS 1 m",
        "GEOSEARCHSTORE d g1 FROMMEMBER Palermo BYRADIUS 1 m WITHDIST",
        "GEOSEARCHSTORE s1 nokey FROMMEMBER a BYRADIUS 1 m",
        "EXISTS s1", "SET s1 text", "GEORADIUS s1 x 1 1 m", "GEORADIUS g1 x 1 1 m", "GEORADIUS g1 1 1 x y",
        "GEORADIUS g1 1 1 1 y", "GEORADIUS g1 1 1 1 m JUNK", "GEORADIUS g1 1 1 1 m STORE d WITHDIST",
        "GEORADIUS nokey 1 1 1 m STORE s1", "GEORADIUS_RO g1 1 1 1 m STORE d", "GEORADIUSBYMEMBER nokey a x y",
        "GEORADIUSBYMEMBER nokey a x y STORE s1", "GEORADIUSBYMEMBER g1 nobody x y",
        "GEORADIUSBYMEMBER_RO g1 Palermo x y",
        "GEORADIUSBYMEMBER g1 Palermo 200 km STORE a STOREDIST b", "ZRANGE a 0 -1", "ZRANGE b 0 -1 WITHSCORES",
    ))  # fmt: skip


def test_any_score_can_be_asked_for_its_place(stock: Oracle) -> None:
    members = list("abcdefghij")
    asked = " ".join(members)
    lines = [f"GEOPOS z1 {asked}", f"GEOHASH z1 {asked}"]
    lines += [f"GEODIST z1 {a} {b} km" for a in members for b in members[:3]]
    lines += [f"GEOSEARCH z1 FROMMEMBER {a} BYRADIUS 1000 km ASC WITHHASH WITHDIST WITHCOORD" for a in members]
    assert_same(stock, SETUP + words(*lines))


def globe(seed: int, count: int) -> list[Argv]:
    """Places all over the globe, more where it is cold or where the date changes."""
    rng = Random(seed)
    lines: list[Argv] = []
    for n in range(count):
        longitude = rng.choice((rng.uniform(-180, 180), rng.uniform(178, 180), rng.uniform(-180, -178)))
        latitude = rng.choice((rng.uniform(-85, 85), rng.uniform(80, 85), rng.uniform(-85, -64), rng.uniform(-1, 1)))
        lines.append([b"GEOADD", b"g", b"%.12f" % longitude, b"%.12f" % latitude, b"p%d" % n])
    return lines


@pytest.mark.parametrize("seed", range(2))
def test_searches_all_over_the_globe_find_what_stock_finds_in_the_same_order(stock: Oracle, seed: int) -> None:
    rng = Random(seed)
    lines = globe(seed, 600)
    for _ in range(500):
        centre = [b"FROMMEMBER", b"p%d" % rng.randrange(600)]
        length = b"%.3f" % (10 ** rng.uniform(0, 4.3))
        shape = rng.choice(([b"BYRADIUS", length, b"km"], [b"BYBOX", length, b"%d" % rng.randrange(9000), b"km"]))
        options = rng.choice(([], [b"ASC"], [b"DESC"], [b"COUNT", b"3"], [b"COUNT", b"3", b"ANY"]))
        lines.append([b"GEOSEARCH", b"g", *centre, *shape, *options, b"WITHDIST"])
    assert_same(stock, lines, protocols=(bool(seed),))


# ---- what is logged ------------------------------------------------------------------------------


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(1500, GEO_GROUP))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000 + seed).many(1500, GEO_GROUP))
    check_replay(ours, stock)


@pytest.mark.parametrize(("line", "record"), [
    ("GEOADD g 0 0 a", "ZADD g 3377699720527872 a"),
    ("geoadd g nx ch 0 0 a", "ZADD g NX CH 3377699720527872 a"),
    ("GEOADD g1 XX 0 0 nobody", ""),
    ("GEORADIUS g1 15 37 200 km STORE d COUNT 1", "GEOSEARCHSTORE d g1 FROMLONLAT 15 37 BYRADIUS 200 km ASC COUNT 1"),
    ("GEORADIUSBYMEMBER g1 Palermo 1 mi STOREDIST d DESC",
     "GEOSEARCHSTORE d g1 FROMMEMBER Palermo BYRADIUS 1 mi DESC STOREDIST"),
    ("GEOSEARCHSTORE d g1 BYBOX 1 2 km FROMLONLAT 15 37", ""),
    ("GEOSEARCHSTORE g1 g1 BYBOX 1 2 km FROMLONLAT 15 37", "DEL g1"),
    ("GEORADIUS g1 15 37 200 km", ""),
])  # fmt: skip
def test_the_log_says_what_was_done(line: str, record: str) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.records.clear()
    ours.run(words(line))
    logged = [argv for argv in commands_of(b"".join(ours.records)) if argv[0] != b"SELECT"]
    assert [b" ".join(argv).decode() for argv in logged] == ([record] if record else [])


def test_a_choice_among_equally_far_places_is_logged_as_it_was_made(stock: Oracle) -> None:
    """Stock might choose others, so the log does not leave it the choice."""
    ours = Ours()
    ours(b"GEOADD", b"g", *[arg for n in range(50) for arg in (b"13", b"38", b"m%d" % n)])
    ours(b"ZADD", b"d", b"1", b"old")
    ours(b"GEOSEARCHSTORE", b"d", b"g", b"FROMLONLAT", b"13", b"38", b"BYRADIUS", b"1", b"km", b"COUNT", b"20")
    names = [argv[0] for argv in commands_of(ours.records[-1])]
    assert names == [b"SELECT", b"MULTI", b"DEL", b"ZADD", b"EXEC"]
    assert len(plain(ours(b"ZRANGE", b"d", b"0", b"-1"))) == 20
    check_replay(ours, stock)


# ---- what is looked at ---------------------------------------------------------------------------


def test_a_search_measures_only_what_its_boxes_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100,000 places all over the globe a search of some kilometres measures a handful; COUNT ANY stops early."""
    measured = 0
    decode = geohash.decode

    def counting(score: float) -> geohash.Place:
        nonlocal measured
        measured += 1
        return decode(score)

    monkeypatch.setattr(geo_search, "decode", counting)
    rng = Random(4)
    places = ((rng.uniform(-180, 180), rng.uniform(-85, 85)) for _ in range(100_000))
    ours = Ours()
    scores = {b"p%d" % n: float(geohash.encode(at)) for n, at in enumerate(places)}
    ours.tx.db.put(b"g", zset_of(scores, ours.tx.limits))
    for radius_km, most in ((1, 10), (100, 60), (1000, 5000)):
        measured = 0
        ours(b"GEOSEARCH", b"g", b"FROMLONLAT", b"13", b"38", b"BYRADIUS", b"%d" % radius_km, b"km")
        assert measured <= most
    measured = 0
    line = [b"GEOSEARCH", b"g", b"FROMLONLAT", b"13", b"38", b"BYRADIUS", b"20000", b"km", b"COUNT", b"5", b"ANY"]
    assert len(plain(ours(*line))) == 5
    assert measured < 20
