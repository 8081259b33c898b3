"""DEBUG DIGEST: one number for all that a server holds, the one that stock computes.

Digests are SHA-1.  What has an order is mixed in: the digest becomes that of itself xor
the part's.  What has none is xored, by its digest, so tables may be walked in any order:

========  ==========================================================================
keyspace  for each database with keys: its number mixed in, then each key's digest xored
key       its name, its type's number, its value mixed in; xor that of ``!!expire!!``
          if it has a deadline, whenever that is
string    its bytes mixed in
list      each element mixed in
set       each member xored
zset      each (member, score) xored, as %.17g
hash      each (field, value) xored
stream    each entry's id and its fields and values mixed in; groups are not looked at
========  ==========================================================================

Deadlines of hash fields are not in it: stock 7.0 has none.  O(all data).

It must not know: clients, how values are kept (``value_types`` shows them plainly).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any

from perdure.store import value_types
from perdure.store.database import Database
from perdure.store.numbers import print_double

_SIZE = 20
NOTHING = bytes(_SIZE)
_EXPIRES = b"!!expire!!"
_SEQUENCE = (1 << 64) - 1
_TYPE_NUMBERS = {b"string": 0, b"list": 1, b"set": 2, b"zset": 3, b"hash": 4, b"stream": 6}


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(_SIZE, "big")


def _mix(digest: bytes, part: bytes) -> bytes:
    return sha1(_xor(digest, sha1(part).digest())).digest()


def _mix_all(digest: bytes, parts: Iterable[bytes]) -> bytes:
    for part in parts:
        digest = _mix(digest, part)
    return digest


def _xor_all(digest: bytes, parts: Iterable[bytes]) -> bytes:
    for part in parts:
        digest = _xor(digest, sha1(part).digest())
    return digest


def _hash(digest: bytes, plain: Any) -> bytes:
    fields = plain[0] if isinstance(plain, tuple) else plain  # beside deadlines
    return _xor_all(digest, (_mix_all(NOTHING, pair) for pair in fields))


def _stream(digest: bytes, plain: Any) -> bytes:
    for entry_id, fields_and_values in plain[0]:
        digest = _mix_all(digest, (b"%d.%d" % (entry_id >> 64, entry_id & _SEQUENCE), *fields_and_values))
    return digest


_VALUES: dict[bytes, Callable[[bytes, Any], bytes]] = {
    b"string": _mix,
    b"list": _mix_all,
    b"set": _xor_all,
    b"zset": lambda digest, plain: _xor_all(
        digest, (_mix_all(NOTHING, (member, print_double(score))) for member, score in plain)
    ),
    b"hash": _hash,
    b"stream": _stream,
}


def of_value(value: Any, expires: bool, digest: bytes = NOTHING) -> bytes:
    """A value's digest, behind what ``digest`` has already."""
    kind = value_types.of(value)
    digest = _mix(digest, _TYPE_NUMBERS[kind.name].to_bytes(4, "big"))
    digest = _VALUES[kind.name](digest, kind.plain(value))
    return _xor_all(digest, (_EXPIRES,)) if expires else digest


def of_keyspace(databases: list[Database]) -> bytes:
    """The digest of everything, keys that are due and still there included."""
    digest = NOTHING
    for index, db in enumerate(databases):
        if db:
            digest = _mix(digest, index.to_bytes(4, "big"))
            keys = (of_value(value, key in db.expires, _mix(NOTHING, key)) for key, value in db.items())
            digest = _xor_all(digest, keys)
    return digest
