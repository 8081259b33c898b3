"""Pending entries of streams that go to another consumer: XCLAIM and XAUTOCLAIM.

Both are logged as what they did, an XCLAIM for each entry (``stream_records``).  A
pending entry that is deleted from its stream cannot be claimed: it is pending no longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store.command import FAST, WRITE, command
from perdure.store.commands.stream_records import claim_head, claim_record, set_id_record
from perdure.store.commands.streams import (
    DELETED,
    UPDATED,
    WRITES_FAST,
    entry_reply,
    look_up_counted,
    option,
)
from perdure.store.errors import (
    SYNTAX,
    WRONG_TYPE,
    XAUTOCLAIM_COUNT,
    XAUTOCLAIM_MIN_IDLE,
    XCLAIM_IDLE,
    XCLAIM_MIN_IDLE,
    XCLAIM_RETRYCOUNT,
    XCLAIM_TIME,
    CommandError,
    no_group,
    unknown_xclaim_option,
)
from perdure.store.events import STREAM
from perdure.store.numbers import INT64_MAX, parse_integer
from perdure.store.resp import EMPTY_ARRAY, array, bulk
from perdure.store.stream_groups import Group, from_id
from perdure.store.stream_ids import parse_id, parse_start, print_id, read_id
from perdure.store.stream_value import Stream
from perdure.store.tx import Tx

_DEFAULT_COUNT = 100
_ATTEMPTS = 10
"""XAUTOCLAIM looks at so many entries for each that it may claim."""
_MOST_COUNT = INT64_MAX // 16
_NOT_GIVEN = -1


@dataclass(slots=True)
class _Owned:
    """A pending entry as it will be; ``consumer`` is None for one that FORCE just made."""

    consumer: bytes | None
    time_ms: int
    count: int


@dataclass(slots=True)
class _Options:
    """The options of XCLAIM."""

    time_ms: int = _NOT_GIVEN
    retry_count: int = _NOT_GIVEN
    force: bool = False
    just_id: bool = False
    last_id: int = 0


class _Claim:
    """What a command is about to do to a group: planned, logged, then done."""

    __slots__ = ("consumer", "group", "head", "key", "last_id", "planned", "records", "replies", "stream", "tx")

    def __init__(self, tx: Tx, argv: list[bytes], stream: Stream, group: Group) -> None:
        self.tx = tx
        self.key = argv[1]
        self.consumer = argv[3]
        self.stream = stream
        self.group = group
        self.last_id = group.last_id
        self.head = claim_head(argv[1], argv[2])
        self.planned: dict[int, _Owned | None] = {}
        self.records: list[bytes] = []
        self.replies: list[bytes] = []

    def owned(self, entry_id: int) -> _Owned | None:
        """A pending entry as it will be behind what is planned so far."""
        if entry_id in self.planned:
            return self.planned[entry_id]
        pending = self.group.pending.get(entry_id)
        return None if pending is None else _Owned(pending.consumer.name, pending.time_ms, pending.count)

    def drop(self, entry_id: int, owned: _Owned) -> None:
        """Plan that an entry is pending no longer: the record's XCLAIM finds that it is not there."""
        assert owned.consumer is not None
        self.planned[entry_id] = None
        self.records.append(claim_record(self.head, owned.consumer, entry_id, owned.time_ms, owned.count, self.last_id))

    def take(self, entry_id: int, item: bytes, time_ms: int, count: int, just_id: bool) -> None:
        """Plan that an entry is the consumer's."""
        count = min(count, INT64_MAX)
        self.planned[entry_id] = _Owned(self.consumer, time_ms, count)
        self.records.append(claim_record(self.head, self.consumer, entry_id, time_ms, count, self.last_id))
        self.replies.append(bulk(print_id(entry_id)) if just_id else entry_reply(entry_id, item))

    def carry_out(self) -> None:
        """Log and do what was planned."""
        tx = self.tx
        group = self.group
        if self.records:
            tx.log_together(self.records)
        group.last_id = self.last_id
        claims = any(owned is not None for owned in self.planned.values())
        if claims:
            if tx.notifying and self.consumer not in group.consumers:
                tx.notify(STREAM, b"xgroup-createconsumer", self.key)
            consumer = group.consumer(self.consumer, tx.clock_ms)
        for entry_id, owned in self.planned.items():
            if owned is None:
                group.release(entry_id)
            else:
                group.assign(entry_id, consumer, owned.time_ms, owned.count)


def _group(tx: Tx, argv: list[bytes], stream: Stream | None) -> Group:
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        raise CommandError(no_group(argv[1], argv[2]))
    return group


# ---- XCLAIM ----------------------------------------------------------------------------


@command(
    "XCLAIM",
    arity=-6,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=UPDATED,
    group="stream",
    since="5.0.0",
    acl=WRITES_FAST,
    tips=("nondeterministic_output",),
    syntax="key group consumer min-idle-time id [id ...] [IDLE milliseconds] [TIME unix-time-milliseconds] "
    "[RETRYCOUNT count] [FORCE] [JUSTID] [LASTID last-id]",
    summary="Makes pending entries of a group another consumer's, as if they had been delivered to it.",
    complexity="O(log N) for each id, for N entries pending",
)
def xclaim(tx: Tx, argv: list[bytes]) -> bytes:
    """XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME ms] [RETRYCOUNT n] [FORCE] [JUSTID] ..."""
    stream = look_up_counted(tx, argv[1])
    group = _group(tx, argv, stream)
    assert stream is not None
    min_idle = max(parse_integer(argv[4], XCLAIM_MIN_IDLE), 0)
    ids: list[int] = []
    for word in argv[5:]:
        given = read_id(word)
        if given is None:
            break
        ids.append(given)
    options = _claim_options(tx, argv, 5 + len(ids))
    claim = _Claim(tx, argv, stream, group)
    claim.last_id = max(options.last_id, group.last_id)
    now_ms = tx.clock_ms
    for entry_id in ids:
        owned = claim.owned(entry_id)
        item = stream.get(entry_id)
        if item is None:
            if owned is not None:
                claim.drop(entry_id, owned)
            continue
        if owned is None:
            if not options.force:
                continue
            owned = _Owned(None, now_ms, 1)
        elif min_idle and now_ms - owned.time_ms < min_idle:
            continue
        count = options.retry_count if options.retry_count >= 0 else owned.count + (not options.just_id)
        claim.take(entry_id, item, options.time_ms, count, options.just_id)
    if claim.last_id != group.last_id and not claim.records:
        claim.records.append(set_id_record(argv[1], argv[2], claim.last_id, group.entries_read))
    reply = array(claim.replies)
    claim.carry_out()
    return reply


def _claim_options(tx: Tx, argv: list[bytes], at: int) -> _Options:
    """The options of XCLAIM from ``at`` on; a time of delivery that cannot be is now."""
    options = _Options()
    now_ms = tx.clock_ms
    while at < len(argv):
        word = option(argv[at])
        more = at + 1 < len(argv)
        if word == b"FORCE":
            options.force = True
        elif word == b"JUSTID":
            options.just_id = True
        elif more and word in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"):
            at += 1
            if word == b"IDLE":
                options.time_ms = now_ms - parse_integer(argv[at], XCLAIM_IDLE)
            elif word == b"TIME":
                options.time_ms = parse_integer(argv[at], XCLAIM_TIME)
            elif word == b"RETRYCOUNT":
                options.retry_count = parse_integer(argv[at], XCLAIM_RETRYCOUNT)
            else:
                options.last_id = parse_id(argv[at])
        else:
            raise CommandError(unknown_xclaim_option(argv[at]))
        at += 1
    # What a log says was so when it was logged, however late it is now.
    if options.time_ms < 0 or (options.time_ms > now_ms and tx.now_ms):
        options.time_ms = now_ms
    return options


# ---- XAUTOCLAIM ------------------------------------------------------------------------


@command(
    "XAUTOCLAIM",
    arity=-6,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=DELETED,
    group="stream",
    since="6.2.0",
    acl=WRITES_FAST,
    tips=("nondeterministic_output",),
    history=(("7.0.0", "The reply tells which entries were pending and are deleted."),),
    syntax="key group consumer min-idle-time start [COUNT count] [JUSTID]",
    summary="Makes entries that have been pending for long another consumer's, page by page.",
    complexity="O(log N) for each entry looked at, up to ten times COUNT, for N entries pending",
)
def xautoclaim(tx: Tx, argv: list[bytes]) -> bytes:
    """XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]"""
    tx.lookups += 1
    stream = tx.lookup(argv[1])
    if stream is None:
        tx.missed(argv[1])
    min_idle = max(parse_integer(argv[4], XAUTOCLAIM_MIN_IDLE), 0)
    start = parse_start(argv[5])
    count = _DEFAULT_COUNT
    just_id = False
    at = 6
    while at < len(argv):
        word = option(argv[at])
        if word == b"COUNT" and at + 1 < len(argv):
            at += 1
            count = parse_integer(argv[at], XAUTOCLAIM_COUNT)
            if not 1 <= count <= _MOST_COUNT:
                raise CommandError(XAUTOCLAIM_COUNT)
        elif word == b"JUSTID":
            just_id = True
        else:
            raise CommandError(SYNTAX)
        at += 1
    if stream is not None and stream.__class__ is not Stream:
        raise CommandError(WRONG_TYPE)
    group = _group(tx, argv, stream)
    assert stream is not None
    claim = _Claim(tx, argv, stream, group)
    now_ms = tx.clock_ms
    attempts = count * _ATTEMPTS
    next_id = 0
    deleted: list[bytes] = []
    for entry_id in from_id(group.pending, start):
        if not attempts or not count:
            next_id = entry_id
            break
        attempts -= 1
        owned = claim.owned(entry_id)
        assert owned is not None
        item = stream.get(entry_id)
        if item is None:
            claim.drop(entry_id, owned)
            deleted.append(bulk(print_id(entry_id)))
            count -= 1
            continue
        if min_idle and now_ms - owned.time_ms < min_idle:
            continue
        claim.take(entry_id, item, now_ms, owned.count + (not just_id), just_id)
        count -= 1
    gone = array(deleted) if deleted else EMPTY_ARRAY
    reply = b"".join((b"*3\r\n", bulk(print_id(next_id)), array(claim.replies), gone))
    claim.carry_out()
    return reply
