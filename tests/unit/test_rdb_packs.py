"""Ziplists, listpacks, zipmaps: what is wrong with one is found, within its bounds."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_forms import MIXED, listpack, ziplist, zipmap

from perdure.snapshot.rdb import packs
from perdure.snapshot.rdb.errors import RdbError

ITEMS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n),
        st.integers(-5000, 5000).map(lambda n: b"%d" % n),
        st.sampled_from([63, 64, 126, 127, 128, 250, 254, 260, 4095, 4096, 16382, 16384]).map(lambda n: b"x" * n),
    ),
    max_size=40,
)


@given(ITEMS, st.booleans())
def test_packs_come_apart(items: list[bytes], counted: bool) -> None:
    assert packs.ziplist(ziplist(items, counted)) == items
    assert packs.listpack(listpack(items, counted)) == items
    pairs = items[: len(items) // 2 * 2]
    assert packs.zipmap(zipmap(pairs, len(items) % 5, counted)) == pairs


def test_a_listpack_that_is_longer_than_four_groups_say_comes_apart() -> None:
    items = [b"x" * (1 << 21), b"y"]
    assert packs.listpack(listpack(items)) == items


def _raw_listpack(body: bytes, count: int = 1) -> bytes:
    return struct.pack("<IH", len(body) + 7, count) + body + b"\xff"


def _raw_ziplist(body: bytes, count: int = 1, last: int = 10) -> bytes:
    return struct.pack("<IIH", len(body) + 11, last, count) + body + b"\xff"


BROKEN: list[tuple[Callable[[bytes], list[bytes]], bytes, str]] = [
    (packs.listpack, b"", "length or its end"),
    (packs.listpack, listpack([b"a"])[:-1], "length or its end"),
    (packs.listpack, listpack([b"a"])[:-1] + b"\xfe", "length or its end"),
    (packs.listpack, listpack([b"a"]) + b"\xff", "length or its end"),
    (packs.listpack, _raw_listpack(b"\xf5\1"), "begins no entry"),
    (packs.listpack, _raw_listpack(b"\xff\1"), "begins no entry"),
    (packs.listpack, _raw_listpack(b"\5\2"), "length behind an entry"),
    (packs.listpack, _raw_listpack(b"\x85abc"), "beyond its end"),
    (packs.listpack, _raw_listpack(b"\xf4\1"), "beyond its end"),
    (packs.listpack, _raw_listpack(b"\xf0\xff\xff\xff\xff"), "beyond its end"),
    (packs.listpack, _raw_listpack(b"\5"), "length behind an entry"),
    (packs.listpack, _raw_listpack(b"\5\1", 2), "says 2 entries and has 1"),
    (packs.listpack, listpack([b"x" * 200]).replace(b"\1\xca\xff", b"\1\xcb\xff"), "length behind an entry"),
    (packs.listpack, listpack([b"x" * 200]).replace(b"\1\xca\xff", b"\1\x4a\xff"), "length behind an entry"),
    (packs.listpack, listpack([b"x" * 200]).replace(b"\1\xca\xff", b"\x81\xca\xff"), "length behind an entry"),
    (packs.ziplist, b"", "length or its end"),
    (packs.ziplist, ziplist([b"a"])[:-1], "length or its end"),
    (packs.ziplist, _raw_ziplist(b"\1\xf1"), "length of the one before"),
    (packs.ziplist, _raw_ziplist(b"\0\x81\0\0\0\0"), "begins no entry"),
    (packs.ziplist, _raw_ziplist(b"\0\xff"), "begins no entry"),
    (packs.ziplist, _raw_ziplist(b"\0\xf0\1"), "beyond its end"),
    (packs.ziplist, _raw_ziplist(b"\0\xe0\1"), "beyond its end"),
    (packs.ziplist, _raw_ziplist(b"\0\x05ab"), "beyond its end"),
    (packs.ziplist, _raw_ziplist(b"\0\x80\xff\xff\xff\xff"), "beyond its end"),
    (packs.ziplist, _raw_ziplist(b"\0"), "begins no entry"),
    (packs.ziplist, _raw_ziplist(b"\xff\xf1"), "length of the one before"),
    (packs.ziplist, _raw_ziplist(b"\xfe\0"), "beyond its end"),
    (packs.ziplist, _raw_ziplist(b"\0\xf1", 2), "says 2 entries and has 1"),
    (packs.ziplist, _raw_ziplist(b"\0\xf1", 1, 11), "offset of its last entry"),
    (packs.zipmap, b"", "no end"),
    (packs.zipmap, b"\0\0", "no end"),
    (packs.zipmap, b"\1\1a\xff", "middle of a pair"),
    (packs.zipmap, b"\1\1a\1\0\xff", "beyond its end"),
    (packs.zipmap, b"\1\1a\1\5v\xff", "beyond its end"),
    (packs.zipmap, b"\1\xfe\1\xff", "beyond its end"),
    (packs.zipmap, b"\2\1a\1\0v\xff", "says 2 pairs and has 1"),
]


@pytest.mark.parametrize(("take", "data", "says"), BROKEN, ids=[f"{row[0].__name__} {row[2]}" for row in BROKEN])
def test_what_is_wrong_is_found(take: Callable[[bytes], list[bytes]], data: bytes, says: str) -> None:
    with pytest.raises(RdbError, match=says):
        take(data)


@pytest.mark.parametrize("take", [packs.ziplist, packs.listpack, packs.zipmap, packs.intset])
def test_every_cut_is_found(take: Callable[[bytes], list[bytes]]) -> None:
    whole = {packs.ziplist: ziplist(MIXED[:16]), packs.listpack: listpack(MIXED[:16]), packs.zipmap: zipmap(MIXED[:16]),
             packs.intset: struct.pack("<IIhh", 2, 2, 1, 2)}[take]  # fmt: skip
    take(whole)
    for end in range(len(whole) - 1):
        with pytest.raises(RdbError):
            take(whole[:end])
        if take is not packs.intset:
            with pytest.raises(RdbError):
                take(whole[:end] + b"\xff")
