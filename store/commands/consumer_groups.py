"""Consumer groups of streams: XGROUP, XACK and XPENDING; XCLAIM and XAUTOCLAIM are in ``claims``."""

from __future__ import annotations

from perdure.store.command import DENYOOM, FAST, LOADING, READONLY, STALE, WRITE, KeySpec, command
from perdure.store.commands.streams import (
    ACCESSED,
    READS_SLOWLY,
    UPDATED,
    WRITES_FAST,
    WRITES_SLOWLY,
    find_stream,
    look_up_counted,
    option,
    read_stream,
)
from perdure.store.errors import (
    BAD_ENTRIES_READ,
    BUSY_GROUP,
    INVALID_STREAM_ID,
    SYNTAX,
    XGROUP_NEEDS_KEY,
    CommandError,
    bad_subcommand,
    no_group,
    no_group_of_key,
)
from perdure.store.events import STREAM
from perdure.store.numbers import parse_integer
from perdure.store.resp import EMPTY_ARRAY, OK, ONE, ZERO, array, array_head, bulk, encode, integer, simple
from perdure.store.stream_groups import UNKNOWN, Group, from_id
from perdure.store.stream_ids import parse_end, parse_id, parse_start, print_id, read_id
from perdure.store.stream_value import Stream
from perdure.store.tx import Tx


def _group_spec(*flags: str) -> tuple[KeySpec, ...]:
    return (KeySpec(flags, ("index", 2), ("range", 0, 1, 0)),)


_HELP = (
    b"XGROUP <subcommand> [<argument> ...]. The subcommands:",
    b"CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <n>]",
    b"    Make a group that begins to read behind an id, or behind the last one;",
    b"    MKSTREAM makes the stream as well, ENTRIESREAD says how much it has read.",
    b"CREATECONSUMER <key> <group> <consumer>",
    b"    Make a consumer of a group.",
    b"DELCONSUMER <key> <group> <consumer>",
    b"    Delete a consumer with all that it has pending; returns how much that was.",
    b"DESTROY <key> <group>",
    b"    Delete a group.",
    b"SETID <key> <group> <id|$> [ENTRIESREAD <n>]",
    b"    Set how far a group has read.",
    b"HELP",
    b"    These lines.",
)


@command(
    "XGROUP",
    arity=-2,
    flags=0,
    group="stream",
    since="5.0.0",
    acl=("slow",),
    summary="Has subcommands that make and change groups of consumers.",
    complexity="See its subcommands",
)
def xgroup(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP HELP, for who asks the container itself"""
    return xgroup_help(tx, argv)


@command(
    "XGROUP|HELP",
    arity=2,
    flags=LOADING | STALE,
    group="stream",
    since="5.0.0",
    acl=("stream", "slow"),
    summary="Tells about the subcommands.",
    complexity="O(1)",
)
def xgroup_help(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP HELP"""
    return array([simple(line) for line in _HELP])


def _options(argv: list[bytes], most: int) -> tuple[bool, int]:
    """MKSTREAM, where that may be, and ENTRIESREAD, from the sixth word on; what is wrong with them comes first."""
    creates = most == 8
    mkstream = False
    entries_read = UNKNOWN
    at = 5
    while at < len(argv):
        word = option(argv[at])
        if creates and word == b"MKSTREAM":
            mkstream = True
            at += 1
        elif word == b"ENTRIESREAD" and at + 1 < len(argv):
            entries_read = parse_integer(argv[at + 1])
            if entries_read < 0 and entries_read != UNKNOWN:
                raise CommandError(BAD_ENTRIES_READ)
            at += 2
        else:
            raise CommandError(bad_subcommand(argv[1], b"XGROUP"))
    return mkstream, entries_read


def _existing(tx: Tx, argv: list[bytes]) -> Stream:
    """The stream that a subcommand needs."""
    stream = find_stream(tx, argv[2])
    if stream is None:
        raise CommandError(XGROUP_NEEDS_KEY)
    return stream


def _group(tx: Tx, argv: list[bytes]) -> tuple[Stream, Group]:
    """The stream and the group that a subcommand needs."""
    stream = _existing(tx, argv)
    group = stream.groups.get(argv[3])
    if group is None:
        raise CommandError(no_group_of_key(argv[2], argv[3]))
    return stream, group


@command(
    "XGROUP|CREATE",
    arity=-5,
    flags=WRITE | DENYOOM,
    keys_at=(2, 2, 1),
    key_specs=_group_spec("RW", "insert"),
    group="stream",
    since="5.0.0",
    acl=WRITES_SLOWLY,
    history=(("7.0.0", "`ENTRIESREAD`."),),
    syntax="key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    summary="Makes a group of consumers that reads a stream from an id on.",
    complexity="O(1)",
)
def xgroup_create(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]"""
    key, name = argv[2], argv[3]
    mkstream, entries_read = _options(argv, 8)
    stream = find_stream(tx, key) if mkstream else _existing(tx, argv)
    if len(argv) > 8:
        raise CommandError(bad_subcommand(argv[1], b"XGROUP"))
    if argv[4].partition(b"\0")[0] == b"$":
        last_id = 0 if stream is None else stream.last_id
    else:
        last_id = parse_id(argv[4])
    if stream is not None and name in stream.groups:
        raise CommandError(BUSY_GROUP)
    tx.log(encode(argv))
    is_new = stream is None
    if stream is None:
        stream = Stream()
        tx.db.replace(key, stream)
    stream.groups[name] = Group(last_id, entries_read)
    if tx.notifying:
        tx.notify_write(STREAM, b"xgroup-create", key, is_new)
    return OK


@command(
    "XGROUP|SETID",
    arity=-5,
    flags=WRITE,
    keys_at=(2, 2, 1),
    key_specs=_group_spec("RW", "update"),
    group="stream",
    since="5.0.0",
    acl=WRITES_SLOWLY,
    history=(("7.0.0", "`ENTRIESREAD`."),),
    syntax="key group <id | $> [ENTRIESREAD entries-read]",
    summary="Sets how far a group has read.",
    complexity="O(1)",
)
def xgroup_setid(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP SETID key group id | $ [ENTRIESREAD entries-read]"""
    _, entries_read = _options(argv, 7)
    stream, group = _group(tx, argv)
    if len(argv) > 7:
        raise CommandError(bad_subcommand(argv[1], b"XGROUP"))
    if argv[4].partition(b"\0")[0] == b"$":
        last_id = stream.last_id
    else:
        given = read_id(argv[4], strict=False)
        if given is None:
            raise CommandError(INVALID_STREAM_ID)
        last_id = given
    tx.log(encode(argv))
    group.last_id = last_id
    group.entries_read = entries_read
    if tx.notifying:
        tx.notify(STREAM, b"xgroup-setid", argv[2])
    return OK


@command(
    "XGROUP|DESTROY",
    arity=4,
    flags=WRITE,
    keys_at=(2, 2, 1),
    key_specs=_group_spec("RW", "delete"),
    group="stream",
    since="5.0.0",
    acl=WRITES_SLOWLY,
    syntax="key group",
    summary="Deletes a group with its consumers and all that they have pending.",
    complexity="O(N) for N entries pending",
)
def xgroup_destroy(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP DESTROY key group"""
    stream = _existing(tx, argv)
    if argv[3] not in stream.groups:
        return ZERO
    tx.log(encode(argv))
    del stream.groups[argv[3]]
    if tx.notifying:
        tx.notify(STREAM, b"xgroup-destroy", argv[2])
    return ONE


@command(
    "XGROUP|CREATECONSUMER",
    arity=5,
    flags=WRITE | DENYOOM,
    keys_at=(2, 2, 1),
    key_specs=_group_spec("RW", "insert"),
    group="stream",
    since="6.2.0",
    acl=WRITES_SLOWLY,
    syntax="key group consumer",
    summary="Makes a consumer of a group unless there is one of that name.",
    complexity="O(1)",
)
def xgroup_createconsumer(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP CREATECONSUMER key group consumer"""
    _, group = _group(tx, argv)
    if argv[4] in group.consumers:
        return ZERO
    tx.log(encode(argv))
    group.consumer(argv[4], tx.clock_ms)
    if tx.notifying:
        tx.notify(STREAM, b"xgroup-createconsumer", argv[2])
    return ONE


@command(
    "XGROUP|DELCONSUMER",
    arity=5,
    flags=WRITE,
    keys_at=(2, 2, 1),
    key_specs=_group_spec("RW", "delete"),
    group="stream",
    since="5.0.0",
    acl=WRITES_SLOWLY,
    syntax="key group consumer",
    summary="Deletes a consumer of a group; returns how many entries it had pending.",
    complexity="O(N log P) for N entries that it has pending, and P that the group has",
)
def xgroup_delconsumer(tx: Tx, argv: list[bytes]) -> bytes:
    """XGROUP DELCONSUMER key group consumer"""
    _, group = _group(tx, argv)
    consumer = group.consumers.get(argv[4])
    if consumer is None:
        return ZERO
    tx.log(encode(argv))
    group.remove_consumer(consumer)
    if tx.notifying:
        tx.notify(STREAM, b"xgroup-delconsumer", argv[2])
    return integer(len(consumer.pending))


# ---- pending entries -------------------------------------------------------------------


@command(
    "XACK",
    arity=-4,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=UPDATED,
    group="stream",
    since="5.0.0",
    acl=WRITES_FAST,
    syntax="key group id [id ...]",
    summary="Acknowledges entries, which are pending no longer; returns how many were.",
    complexity="O(log N) for each id, for N entries pending",
)
def xack(tx: Tx, argv: list[bytes]) -> bytes:
    """XACK key group id [id ...]"""
    stream = look_up_counted(tx, argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        return ZERO
    ids = [parse_id(word) for word in argv[3:]]
    pending = group.pending
    if not any(entry_id in pending for entry_id in ids):
        return ZERO
    tx.log(encode(argv))
    return integer(sum(map(group.release, ids)))


@command(
    "XPENDING",
    arity=-3,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    history=(("6.2.0", "`IDLE`, and ends may be exclusive."),),
    syntax="key group [[IDLE min-idle-time] start-id end-id count [consumer]]",
    summary="Tells what a group has pending: how much of whom, or which entries.",
    complexity="O(log N + M) for N entries pending and M looked at; without a range O(C log C) for C consumers",
)
def xpending(tx: Tx, argv: list[bytes]) -> bytes:
    """XPENDING key group [[IDLE min-idle-time] start-id end-id count [consumer]]"""
    if len(argv) == 3:
        return _summary(tx, _group_to_read(tx, argv))
    if not 6 <= len(argv) <= 9:
        raise CommandError(SYNTAX)
    at = 3
    min_idle = 0
    if option(argv[3]) == b"IDLE":
        min_idle = parse_integer(argv[4])
        if len(argv) < 8:
            raise CommandError(SYNTAX)
        at = 5
    count = max(parse_integer(argv[at + 2]), 0)
    start, end = parse_start(argv[at]), parse_end(argv[at + 1])
    group = _group_to_read(tx, argv)
    pending = group.pending
    if at + 3 < len(argv):
        consumer = group.consumers.get(argv[at + 3])
        if consumer is None:
            return EMPTY_ARRAY
        pending = consumer.pending
    now_ms = tx.clock_ms
    members: list[bytes] = []
    for entry_id in from_id(pending, start):
        if entry_id > end or len(members) == count:
            break
        entry = pending[entry_id]
        idle_ms = now_ms - entry.time_ms
        if min_idle and idle_ms < min_idle:
            continue
        members.append(b"".join((
            b"*4\r\n", bulk(print_id(entry_id)), bulk(entry.consumer.name), integer(max(idle_ms, 0)),
            integer(entry.count),
        )))  # fmt: skip
    return array(members)


def _group_to_read(tx: Tx, argv: list[bytes]) -> Group:
    stream = read_stream(tx, argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        raise tx.refuse(no_group(argv[1], argv[2]))
    return group


def _summary(tx: Tx, group: Group) -> bytes:
    """How much is pending, from which id to which, and how much of whom."""
    pending = group.pending
    if not pending:
        return b"*4\r\n" + ZERO + tx.null + tx.null + tx.null_array
    first, last = pending.peekitem(0)[0], pending.peekitem(-1)[0]
    busy = [consumer for consumer in group.listed() if consumer.pending]
    return b"".join((
        b"*4\r\n", integer(len(pending)), bulk(print_id(first)), bulk(print_id(last)), array_head(len(busy)),
        *(b"*2\r\n" + bulk(consumer.name) + bulk(b"%d" % len(consumer.pending)) for consumer in busy),
    ))  # fmt: skip
