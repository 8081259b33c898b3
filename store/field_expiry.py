"""Fields of hashes whose deadline has passed go: by and by on their own, and where a write goes by their absence.

``expire_fields`` is one bounded step of active expiry, as ``expiry.expire_cycle`` is for
keys.  Removals are logged as HDEL before they are made (LOG-FIRST), and the key goes
with its last field; if the log refuses, the fields stay, and stay invisible.
"""

from __future__ import annotations

from perdure.store.errors import CommandError
from perdure.store.events import GENERIC, HASH
from perdure.store.field_deadlines import NEVER
from perdure.store.hash_value import ExpiringHash
from perdure.store.resp import encode
from perdure.store.tx import Tx

_FIELDS_A_RECORD = 100


def drop_due(tx: Tx, key: bytes, value: ExpiringHash, field: bytes) -> ExpiringHash | None:
    """Make a field that may be due absent; the key's hash, None if it went with that.  CommandError if the log refuses.

    For a write whose record, replayed where nothing is due, would find the field.
    """
    if not value.is_due(field):
        return value
    tx.log(encode((b"HDEL", key, field)))
    tx.changes -= 1
    _remove(tx, key, value, [field])
    return value if key in tx.db else None


def _remove(tx: Tx, key: bytes, value: ExpiringHash, fields: list[bytes]) -> None:
    """Take logged fields away, and the key with the last of them."""
    for field in fields:
        value.remove(field)
    if tx.notifying:
        tx.notify(HASH, b"hexpired", key)
    if not dict.__len__(value):
        tx.db.remove(key)
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)


def expire_fields(tx: Tx, limit: int) -> int:
    """Remove fields that are due at ``tx.now_ms``, about ``limit`` (> 0) of them at most; how many went.

    As ``expire_cycle``: databases from a random one on, outside of commands and groups only.
    """
    if not tx.now_ms:
        return 0
    here = tx.db_index
    count = len(tx.keyspace.databases)
    start = tx.rng.randrange(count)
    removed = 0
    try:
        for index in range(start, start + count):
            database = tx.keyspace.databases[index % count]
            if database.member_expires and removed < limit:
                tx.select(index % count)
                gone, refused = _expire_some(tx, limit - removed)
                removed += gone
                if refused:
                    break
    finally:
        tx.select(here)
    return removed


def _expire_some(tx: Tx, limit: int) -> tuple[int, bool]:
    """The step for the selected database: how many fields went, and whether the log refused."""
    db = tx.db
    keys = db.member_deadlines.take_due(db.member_expires, tx.now_ms, limit)
    removed = 0
    refused = False
    for key in keys:
        value = dict.get(db, key)
        if value.__class__ is not ExpiringHash:
            del db.member_expires[key]  # something else stands there now
            continue
        try:
            removed += _expire_hash(tx, key, value, limit - removed)
        except CommandError:
            refused = True
        if key in db.member_expires:
            first_ms = value.deadlines.first_ms()
            if first_ms == NEVER:
                del db.member_expires[key]
            else:
                db.member_expires[key] = first_ms
                db.member_deadlines.put_back([key], db.member_expires)
    return removed, refused


def _expire_hash(tx: Tx, key: bytes, value: ExpiringHash, limit: int) -> int:
    """Remove up to ``limit`` fields of a hash that are due; how many went.  CommandError if the log refuses."""
    removed = 0
    while removed < limit and (fields := value.deadlines.due(min(limit - removed, _FIELDS_A_RECORD))):
        tx.log(encode((b"HDEL", key, *fields)))
        tx.changes -= 1
        _remove(tx, key, value, fields)
        removed += len(fields)
    return removed
