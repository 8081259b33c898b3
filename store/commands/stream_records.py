"""What changes of consumer groups look like in the log: records that say everything absolutely, as stock's do.

``XCLAIM key group consumer 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID id``
    an entry is pending, whose, since when, after how many deliveries, and how far the
    group has read; where the entry is not there, it is pending no longer
``XGROUP SETID key group id ENTRIESREAD n``
    how far the group has read
``XGROUP CREATECONSUMER key group consumer``
    a consumer that no XCLAIM makes
"""

from __future__ import annotations

from perdure.store.resp import bulk, encode
from perdure.store.stream_ids import print_id

_join = b"".join


def claim_head(key: bytes, group: bytes) -> bytes:
    """The beginning that the XCLAIM records of one command share."""
    return _join((b"*14\r\n$6\r\nXCLAIM\r\n", bulk(key), bulk(group)))


def claim_record(head: bytes, consumer: bytes, entry_id: int, time_ms: int, count: int, last_id: int) -> bytes:
    """One XCLAIM; ``time_ms`` is when the entry was delivered, ``count`` how often."""
    return _join((
        head, bulk(consumer), b"$1\r\n0\r\n", bulk(print_id(entry_id)), b"$4\r\nTIME\r\n", bulk(b"%d" % time_ms),
        b"$10\r\nRETRYCOUNT\r\n", bulk(b"%d" % count), b"$5\r\nFORCE\r\n$6\r\nJUSTID\r\n$6\r\nLASTID\r\n",
        bulk(print_id(last_id)),
    ))  # fmt: skip


def set_id_record(key: bytes, group: bytes, last_id: int, entries_read: int) -> bytes:
    """XGROUP SETID."""
    return encode((b"XGROUP", b"SETID", key, group, print_id(last_id), b"ENTRIESREAD", b"%d" % entries_read))


def create_consumer_record(key: bytes, group: bytes, consumer: bytes) -> bytes:
    """XGROUP CREATECONSUMER."""
    return encode((b"XGROUP", b"CREATECONSUMER", key, group, consumer))
