"""Values of keys as a version of the format has them.

Small values are packed by stock's thresholds, unless who asks says that stock would have
them in the large form already (``big``: it never turns a value back).  Version 10 is
what stock 7.0 writes, byte for byte where stock's own order is known.  Version 9 has no
listpacks: there values are written member by member, which every reader takes and packs
by its own thresholds.

What a version cannot hold is told to ``lost``, and what can be held is written; without a
``lost`` it is an ``RdbError``.

Pieces come out as they are made, some thousand members at a time, so that a big value is
never there a second time in its written form.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import FieldsWithExpiry
from perdure.snapshot.rdb.packing import (
    MOST_LISTPACK,
    entry_of,
    integer_entry,
    intset_of,
    length_of,
    listpack_of,
    listpack_of_entries,
    string_of,
)
from perdure.snapshot.rdb.stream_encoder import stream_pieces
from perdure.store.numbers import print_double, read_integer

STOCK_THRESHOLDS = {
    "hash-max-listpack-entries": 512,
    "hash-max-listpack-value": 64,
    "zset-max-listpack-entries": 128,
    "zset-max-listpack-value": 64,
    "set-max-intset-entries": 512,
    "set-max-listpack-entries": 128,
    "set-max-listpack-value": 64,
    "list-max-listpack-size": -2,
}

_BATCH = 2048
_NODE_BYTES = (4096, 8192, 16384, 32768, 65536)
_SAFE_NODE_BYTES = 8192
_NODE_SLACK = 8
_LONG_ELEMENT = 1 << 30
_PLAIN_NODE, _PACKED_NODE = b"\1", b"\2"
_ONE_PACKED_NODE = b"\1\2"
_MOST_ENTRY_HEAD = 10
"""Bytes that an entry of a listpack takes beside its string, or that of an integer in all."""
_i64 = struct.Struct("<q").pack
_f64 = struct.Struct("<d").pack
_join = b"".join

Pieces = Iterable[bytes]


class Encoder:
    """Encodes values for one version.

    ``compress``  may strings be compressed?
    ``limits``    thresholds by option name; stock's own where one is missing
    ``lost``      is told what a value loses; None: that is an error
    """

    def __init__(
        self,
        version: int = 10,
        compress: bool = True,
        limits: Mapping[str, int] | None = None,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        if version not in f.WRITTEN:
            raise RdbError(f"version {version} is none that is written")
        self.version = version
        self.compress = compress
        self.limits = {**STOCK_THRESHOLDS, **(limits or {})}
        self.lost = lost
        self._kinds: dict[bytes, Callable[[Any, bool | None], tuple[int, Pieces]]] = {
            b"string": lambda value, big: (f.STRING, (string_of(bytes(value), self.compress),)),
            b"list": self._list,
            b"set": self._set,
            b"zset": self._zset,
            b"hash": self._hash,
            b"stream": self._stream,
        }

    def lose(self, what: str) -> None:
        """The version cannot hold ``what``."""
        reason = f"version {self.version} cannot hold {what}"
        if self.lost is None:
            raise RdbError(reason)
        self.lost(reason)

    def value(self, kind: bytes, value: Any, big: bool | None = None) -> tuple[int, Pieces]:
        """A value of the type called ``kind``, as the events have it: its type in the file, and its pieces.

        ``big``: is it in stock's large form?  None: by the thresholds.
        """
        encode = self._kinds.get(kind)
        if encode is None:
            raise RdbError(f"values of type {kind.decode('ascii', 'backslashreplace')} are not written")
        return encode(value, big)

    # ---- what they share ---------------------------------------------------------------

    def _string(self, text: bytes) -> bytes:
        return string_of(text, self.compress)

    def _strings(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        texts = iter(texts)
        compress = self.compress
        while batch := [string_of(text, compress) for text in islice(texts, _BATCH)]:
            yield _join(batch)

    def _is_small(self, kind: str, count: int, texts: Iterable[bytes], big: bool | None) -> bool:
        if self.version < f.LISTPACKS_SINCE:
            return False
        if big is not None:
            return not big
        limits = self.limits
        if count > limits[f"{kind}-max-listpack-entries"]:
            return False
        longest = limits[f"{kind}-max-listpack-value"]
        return all(len(text) <= longest for text in texts)

    # ---- lists -------------------------------------------------------------------------

    def _list(self, value: Iterable[bytes], big: bool | None) -> tuple[int, Pieces]:
        elements = list(value)
        if self.version < f.LISTPACKS_SINCE:
            return f.LIST, self._counted(len(elements), elements)
        if self._one_node(elements):
            packed = self._string(listpack_of_entries([entry_of(text) for text in elements]))
            return f.LIST_QUICKLIST_2, (_ONE_PACKED_NODE, packed)
        return f.LIST_QUICKLIST_2, self._quicklist(elements)

    def _one_node(self, elements: list[bytes]) -> bool:
        """Are there so few that they surely go into one node?"""
        fill = self.limits["list-max-listpack-size"]
        count = len(elements)
        if not 0 < count <= (max(fill, 1) if fill >= 0 else 128):
            return False
        return sum(map(len, elements)) + _MOST_ENTRY_HEAD * (count + 1) <= _NODE_BYTES[0]

    def _counted(self, count: int, texts: Iterable[bytes]) -> Iterator[bytes]:
        yield length_of(count)
        yield from self._strings(texts)

    def _quicklist(self, elements: list[bytes]) -> Iterator[bytes]:
        """Nodes as stock fills them from the left; their number first, so the nodes are cut before any is encoded."""
        bounds = list(self._node_bounds(elements))
        yield length_of(len(bounds))
        start = 0
        for stop in bounds:
            if stop == start + 1 and len(elements[start]) >= _LONG_ELEMENT:
                yield _PLAIN_NODE
                yield self._string(elements[start])
            else:
                yield _PACKED_NODE
                yield self._string(listpack_of_entries([entry_of(text) for text in elements[start:stop]]))
            start = stop

    def _node_bounds(self, elements: list[bytes]) -> Iterator[int]:
        """Behind which elements a node ends."""
        fill = self.limits["list-max-listpack-size"]
        most = _NODE_BYTES[min(-fill, len(_NODE_BYTES)) - 1] if fill < 0 else _SAFE_NODE_BYTES
        most_count = max(fill, 1) if fill >= 0 else 1 << 32
        size = count = 0
        for place, element in enumerate(elements):
            n = len(element)
            if count and (size + n + _NODE_SLACK > most or count >= most_count or n >= _LONG_ELEMENT):
                yield place
                size = count = 0
            if not count:
                size = 7
            size += len(entry_of(element)) if n < most else n + 10
            count += 1
        if count:
            yield len(elements)

    # ---- sets --------------------------------------------------------------------------

    def _set(self, value: Iterable[bytes], big: bool | None) -> tuple[int, Pieces]:
        members = list(value)
        if not big and len(members) <= self.limits["set-max-intset-entries"]:
            integers = [read_integer(member) for member in members]
            if members and None not in integers:
                return self.integers(sorted(n for n in integers if n is not None))
        if self.version >= f.SET_LISTPACK_SINCE and self._is_small("set", len(members), members, None):
            packed = listpack_of(members)
            if packed is not None:
                return f.SET_LISTPACK, (self._string(packed),)
        return f.SET, self._counted(len(members), members)

    def integers(self, integers: list[int], width: int = 0) -> tuple[int, Pieces]:
        """A set of ascending integers, at least one, of at least ``width`` bytes each."""
        return f.SET_INTSET, (self._string(intset_of(integers, width)),)

    # ---- sorted sets -------------------------------------------------------------------

    def _zset(self, value: Mapping[bytes, float], big: bool | None) -> tuple[int, Pieces]:
        pairs = sorted(value.items(), key=lambda pair: (pair[1], pair[0]))
        return self.pairs_of_scores(pairs, big)

    def pairs_of_scores(self, pairs: list[tuple[bytes, float]], big: bool | None) -> tuple[int, Pieces]:
        """A sorted set: members and scores in its order."""
        if self._is_small("zset", len(pairs), (member for member, _ in pairs), big):
            entries = [entry for pair in pairs for entry in (entry_of(pair[0]), _score_entry(pair[1]))]
            if sum(map(len, entries)) < MOST_LISTPACK:
                return f.ZSET_LISTPACK, (self._string(listpack_of_entries(entries)),)
        return f.ZSET, self._scores(pairs)

    def _scores(self, pairs: list[tuple[bytes, float]]) -> Iterator[bytes]:
        """The last first: who loads adds each before the others."""
        yield length_of(len(pairs))
        compress = self.compress
        backwards = reversed(pairs)
        while batch := [string_of(member, compress) + _f64(score) for member, score in islice(backwards, _BATCH)]:
            yield _join(batch)

    # ---- hashes ------------------------------------------------------------------------

    def _hash(self, value: Mapping[bytes, bytes], big: bool | None) -> tuple[int, Pieces]:
        expires_ms = value.expires_ms if isinstance(value, FieldsWithExpiry) else {}
        small = self._is_small("hash", len(value), (text for pair in value.items() for text in pair), big)
        if expires_ms:
            if self.version >= f.FIELD_EXPIRY_SINCE:
                return self._expiring_hash(value, expires_ms, small)
            self.lose("when fields of a hash expire")
        texts = (text for pair in value.items() for text in pair)
        if small:
            packed = listpack_of(texts)
            if packed is not None:
                return f.HASH_LISTPACK, (self._string(packed),)
            texts = (text for pair in value.items() for text in pair)
        return f.HASH, self._counted(len(value), texts)

    def _expiring_hash(
        self, value: Mapping[bytes, bytes], expires_ms: dict[bytes, int], small: bool
    ) -> tuple[int, Pieces]:
        first_ms = min(expires_ms.values())
        if small:
            # By deadline, those without one last: stock looks no further than the first that is not due.
            entries = [
                entry
                for field in sorted(value, key=lambda field: expires_ms.get(field, 1 << 62))
                for entry in (entry_of(field), entry_of(value[field]), integer_entry(expires_ms.get(field, 0)))
            ]
            if sum(map(len, entries)) < MOST_LISTPACK:
                return f.HASH_LISTPACK_EX, (_i64(first_ms), self._string(listpack_of_entries(entries)))
        return f.HASH_FIELDS, self._fields(value, expires_ms, first_ms)

    def _fields(self, value: Mapping[bytes, bytes], expires_ms: dict[bytes, int], first_ms: int) -> Iterator[bytes]:
        yield _i64(first_ms) + length_of(len(value))
        for field, text in value.items():
            moment = expires_ms.get(field)
            offset = 0 if moment is None else moment - first_ms + 1
            yield length_of(offset) + self._string(field) + self._string(text)

    def field_deadlines(self, expires_ms: Mapping[bytes, int]) -> bytes:
        """The value of our AUX field that has them where the version has not."""
        return _join([_i64(moment) + string_of(field, False) for field, moment in expires_ms.items()])

    # ---- streams -----------------------------------------------------------------------

    def _stream(self, value: Any, big: bool | None) -> tuple[int, Pieces]:
        code = f.STREAM if self.version < 10 else f.STREAM_2 if self.version < 11 else f.STREAM_3
        return code, stream_pieces(value, {f.STREAM: 1, f.STREAM_2: 2, f.STREAM_3: 3}[code], self.compress, self.lose)


def _score_entry(score: float) -> bytes:
    """A score as small sorted sets have it: a whole number as an integer."""
    if score == score // 1 and -(1 << 63) < score < 1 << 63:
        return integer_entry(int(score))
    return entry_of(print_double(score))
