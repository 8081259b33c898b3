"""Active expiry: keys whose deadline has passed go without being asked for.

``expire_cycle`` is one bounded step; the owner of the loop calls it every now and
then.  The removals are logged as DEL before they are made (LOG-FIRST); if the log
refuses them, the keys stay, and stay invisible, until it takes them (REFUSE-WHOLE).
"""

from __future__ import annotations

from perdure.store.errors import CommandError
from perdure.store.events import EXPIRED
from perdure.store.resp import encode
from perdure.store.tx import Tx

_KEYS_A_RECORD = 100


def expire_cycle(tx: Tx, limit: int) -> int:
    """Remove keys that are due at ``tx.now_ms``, looking at about ``limit`` (> 0) deadlines in all; how many went.

    The databases share ``limit`` from a random one on, so none starves.  Outside of
    commands and groups only.
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
            if database.expires and removed < limit:
                tx.select(index % count)
                gone, refused = _expire_some(tx, limit - removed)
                removed += gone
                if refused:
                    break
    finally:
        tx.select(here)
    return removed


def _expire_some(tx: Tx, limit: int) -> tuple[int, bool]:
    """The step for the selected database: how many went, and whether the log refused."""
    db = tx.db
    due = db.deadlines.take_due(db.expires, tx.now_ms, limit)
    for start in range(0, len(due), _KEYS_A_RECORD):
        part = due[start : start + _KEYS_A_RECORD]
        try:
            tx.log(encode((b"DEL", *part)))
            tx.changes -= 1
        except CommandError:
            db.deadlines.put_back(due[start:], db.expires)
            return start, True
        for key in part:
            db.remove(key)
            if tx.notifying:
                tx.notify(EXPIRED, b"expired", key)
    return len(due), False
