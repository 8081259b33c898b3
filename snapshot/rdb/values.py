"""Values of keys, read by their type.

An aggregate that holds a member twice is refused, as stock refuses it.  One that is empty
(an old bug wrote such) is given as it is: who loads skips it.

``READERS`` has a function for each type, ``(source) -> value``; what only Valkey's files
have stands in ``VALKEY_READERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import FieldsWithExpiry
from perdure.snapshot.rdb.packs import intset, listpack, ziplist, zipmap
from perdure.snapshot.rdb.source import Source
from perdure.snapshot.rdb.stream_values import read_stream
from perdure.store.numbers import read_double

_NAN, _PLUS_INF, _MINUS_INF = 253, 254, 255
_PLAIN, _PACKED = 1, 2
_NEVER = -1
_SHORT = 300
"""No number of fewer digits is beyond all doubles."""
_MOST_MS = (1 << 62) - 1

ValueReader = Callable[[Source], Any]

# ---- what they are made of -------------------------------------------------------------


def _pairs(items: list[bytes]) -> dict[bytes, bytes]:
    """Keys and values, one behind the other, as a dict."""
    if len(items) % 2:
        raise RdbError("the last field has no value")
    out = dict(zip(items[::2], items[1::2], strict=True))
    if 2 * len(out) != len(items):
        raise RdbError("a field stands there twice")
    return out


def _distinct(members: list[bytes]) -> list[bytes]:
    if len(set(members)) != len(members):
        raise RdbError("a member stands there twice")
    return members


def _score(text: bytes) -> float:
    if text.isdigit() and len(text) < _SHORT:
        return float(text)
    score = read_double(text)
    if score is None:
        raise RdbError("a score is no number")
    return score


def _scores(members: list[bytes], scores: list[float]) -> dict[bytes, float]:
    out = dict(zip(members, scores, strict=True))
    if len(out) != len(members):
        raise RdbError("a member stands there twice")
    if any(map(isnan, scores)):
        raise RdbError("a score is no number")
    return out


def _packed_scores(items: list[bytes]) -> dict[bytes, float]:
    if len(items) % 2:
        raise RdbError("the last member has no score")
    return _scores(items[::2], [_score(text) for text in items[1::2]])


def deadline(milliseconds: int) -> int:
    """When a field expires; RdbError if no field can."""
    if not 0 <= milliseconds <= _MOST_MS:
        raise RdbError("a field expires at a time that there is not")
    return milliseconds


# ---- lists and sets --------------------------------------------------------------------


def _list(source: Source) -> list[bytes]:
    return source.strings(source.count())


def _set(source: Source) -> list[bytes]:
    return _distinct(source.strings(source.count()))


def _quicklist(source: Source) -> list[bytes]:
    out: list[bytes] = []
    for _ in range(source.count()):
        out += ziplist(source.string())
    return out


def _quicklist_2(source: Source) -> list[bytes]:
    out: list[bytes] = []
    for _ in range(source.count(2)):
        container = source.length()
        if container == _PLAIN:
            out.append(source.string())
        elif container == _PACKED:
            out += listpack(source.string())
        else:
            raise RdbError(f"a list has no nodes of kind {container}")
    return out


# ---- sorted sets -----------------------------------------------------------------------


def _score_of_text(source: Source) -> float:
    size = source.byte()
    if size == _PLUS_INF:
        return float("inf")
    if size == _MINUS_INF:
        return float("-inf")
    if size == _NAN:
        return float("nan")
    return _score(source.take(size))


def _zset_text(source: Source) -> dict[bytes, float]:
    members: list[bytes] = []
    scores: list[float] = []
    for _ in range(source.count(2)):
        members.append(source.string())
        scores.append(_score_of_text(source))
    return _scores(members, scores)


def _zset(source: Source) -> dict[bytes, float]:
    members: list[bytes] = []
    scores: list[float] = []
    for _ in range(source.count(9)):
        members.append(source.string())
        scores.append(source.double())
    return _scores(members, scores)


# ---- hashes ----------------------------------------------------------------------------


def _hash(source: Source) -> dict[bytes, bytes]:
    return _pairs(source.strings(2 * source.count(2)))


def _fields(source: Source, first_ms: int) -> FieldsWithExpiry:
    """Fields, each behind a length: 0, or when it expires, ``first_ms`` and on from 1; pre-release: the time itself."""
    items: list[bytes] = []
    expires_ms: dict[bytes, int] = {}
    for _ in range(source.count(3)):
        offset = source.length()
        field = source.string()
        items += (field, source.string())
        if offset:
            expires_ms[field] = deadline(first_ms + offset)
    return FieldsWithExpiry(_pairs(items), expires_ms)


def _fields_from_first(source: Source) -> FieldsWithExpiry:
    return _fields(source, source.milliseconds() - 1)


def _fields_pre_release(source: Source) -> FieldsWithExpiry:
    return _fields(source, 0)


def _valkey_fields(source: Source) -> FieldsWithExpiry:
    items: list[bytes] = []
    expires_ms: dict[bytes, int] = {}
    for _ in range(source.count(10)):
        field = source.string()
        items += (field, source.string())
        moment = source.milliseconds()
        if moment != _NEVER:
            expires_ms[field] = deadline(moment)
    return FieldsWithExpiry(_pairs(items), expires_ms)


def _packed_fields(source: Source) -> FieldsWithExpiry:
    """Triples: field, value, when it expires or 0."""
    items = listpack(source.string())
    if len(items) % 3:
        raise RdbError("the last field is not whole")
    fields = items[::3]
    pairs = _pairs([item for pair in zip(fields, items[1::3], strict=True) for item in pair])
    expires_ms: dict[bytes, int] = {}
    for field, text in zip(fields, items[2::3], strict=True):
        try:
            moment = int(text)
        except ValueError:
            raise RdbError("a field expires at a time that there is not") from None
        if moment:
            expires_ms[field] = deadline(moment)
    return FieldsWithExpiry(pairs, expires_ms)


def _packed_fields_from_first(source: Source) -> FieldsWithExpiry:
    source.milliseconds()
    return _packed_fields(source)


READERS: dict[int, tuple[bytes, ValueReader]] = {
    f.STRING: (b"string", Source.string),
    f.LIST: (b"list", _list),
    f.SET: (b"set", _set),
    f.ZSET_TEXT: (b"zset", _zset_text),
    f.HASH: (b"hash", _hash),
    f.ZSET: (b"zset", _zset),
    f.HASH_ZIPMAP: (b"hash", lambda source: _pairs(zipmap(source.string()))),
    f.LIST_ZIPLIST: (b"list", lambda source: ziplist(source.string())),
    f.SET_INTSET: (b"set", lambda source: intset(source.string())),
    f.ZSET_ZIPLIST: (b"zset", lambda source: _packed_scores(ziplist(source.string()))),
    f.HASH_ZIPLIST: (b"hash", lambda source: _pairs(ziplist(source.string()))),
    f.LIST_QUICKLIST: (b"list", _quicklist),
    f.STREAM: (b"stream", lambda source: read_stream(source, 1)),
    f.HASH_LISTPACK: (b"hash", lambda source: _pairs(listpack(source.string()))),
    f.ZSET_LISTPACK: (b"zset", lambda source: _packed_scores(listpack(source.string()))),
    f.LIST_QUICKLIST_2: (b"list", _quicklist_2),
    f.STREAM_2: (b"stream", lambda source: read_stream(source, 2)),
    f.SET_LISTPACK: (b"set", lambda source: _distinct(listpack(source.string()))),
    f.STREAM_3: (b"stream", lambda source: read_stream(source, 3)),
    f.HASH_FIELDS_PRE_RELEASE: (b"hash", _fields_pre_release),
    f.HASH_LISTPACK_EX_PRE_RELEASE: (b"hash", _packed_fields),
    f.HASH_FIELDS: (b"hash", _fields_from_first),
    f.HASH_LISTPACK_EX: (b"hash", _packed_fields_from_first),
}

VALKEY_READERS: dict[int, tuple[bytes, ValueReader]] = {
    **{code: reader for code, reader in READERS.items() if code <= f.STREAM_3},
    f.VALKEY_HASH_FIELDS: (b"hash", _valkey_fields),
}


def reader_of(code: int, valkey: bool) -> tuple[bytes, ValueReader]:
    """The name of a type, and who reads its values; RdbError if there is none."""
    found = (VALKEY_READERS if valkey else READERS).get(code)
    if found is not None:
        return found
    if code == f.MODULE_PRE_RELEASE:
        raise RdbError("a module value of 4.0's release candidates can be read by its module only")
    if code in f.LATER_TYPES and not valkey:
        raise RdbError(f"{f.LATER_TYPES[code]}, which is newer than the versions that are read")
    raise RdbError("there is no such type or opcode")


def skip_module_value(source: Source) -> None:
    """Pass over what a module wrote, up to its end."""
    while True:
        opcode = source.length()
        if opcode == f.MODULE_EOF:
            return
        if opcode in (f.MODULE_SINT, f.MODULE_UINT):
            source.length()
        elif opcode == f.MODULE_FLOAT:
            source.skip(4)
        elif opcode == f.MODULE_DOUBLE:
            source.skip(8)
        elif opcode == f.MODULE_STRING:
            source.string()
        else:
            raise RdbError(f"a module's data has no part of kind {opcode}")
