"""Streams: XADD, XRANGE, XDEL and their kind; the value is ``store.stream_value.Stream``.

Reading from a place on (XREAD, XREADGROUP) is in ``stream_reads``, groups are in
``consumer_groups`` and ``claims``, XINFO is in ``stream_info``.

XADD and XTRIM are logged as what they did: with the id that the entry got, and with
the exact length or id that the trim left, whatever ``~`` and LIMIT asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.errors import (
    ENTRIES_ADDED_NEGATIVE,
    INVALID_STREAM_ID,
    LIMIT_WITHOUT_TILDE,
    LIMIT_WITHOUT_TRIM,
    NO_SUCH_KEY,
    SYNTAX,
    TRIM_LIMIT_NEGATIVE,
    TRIM_MAXLEN_NEGATIVE,
    TRIM_TWICE,
    WRONG_TYPE,
    XADD_EXHAUSTED,
    XADD_SMALL_ID,
    XADD_TOO_LARGE,
    XADD_ZERO_ID,
    XSETID_ADDED_BELOW_LENGTH,
    XSETID_BELOW_DELETED,
    XSETID_BELOW_TOP,
    XTRIM_WITHOUT_TRIM,
    CommandError,
    wrong_arity,
)
from perdure.store.events import STREAM
from perdure.store.numbers import parse_integer
from perdure.store.resp import (
    BULK_HEADS,
    CRLF,
    EMPTY_ARRAY,
    OK,
    ZERO,
    array_head,
    bulk,
    encode,
    integer,
)
from perdure.store.stream_ids import (
    ID_MAX,
    SEQ_MAX,
    parse_end,
    parse_id,
    parse_start,
    print_id,
    read_id,
    read_partial_id,
)
from perdure.store.stream_nodes import MAX_LISTPACK
from perdure.store.stream_value import MAX_ENTRIES, Stream, Trim, TrimRule
from perdure.store.tx import Tx

_join = b"".join
_NODES_AT_ONCE = 100
"""How many nodes ``~`` trims at most in one command, if LIMIT does not say."""
_LEAST_LIMIT, _MOST_LIMIT = 10_000, 1_000_000
_ENTRY_HEADS = [b"*2\r\n$%d\r\n" % n for n in range(64)]
_XADD_HEADS = [b"*%d\r\n$4\r\nXADD\r\n" % n for n in range(64)]
_ITEM_HEADS = [b"*%d\r\n" % n for n in range(64)]
_ID_GIVEN, _ID_PARTIAL, _ID_AUTO = range(3)
_TRIM_SYNTAX = "<MAXLEN | MINID> [= | ~] threshold [LIMIT count]"


def _spec(*flags: str, notes: str = "") -> tuple[KeySpec, ...]:
    return (KeySpec(flags, ("index", 1), ("range", 0, 1, 0), notes),)


ACCESSED, UPDATED, DELETED = _spec("RO", "access"), _spec("RW", "update"), _spec("RW", "delete")
READS_SLOWLY = ("read", "stream", "slow")
WRITES_FAST = ("write", "stream", "fast")
WRITES_SLOWLY = ("write", "stream", "slow")


def find_stream(tx: Tx, key: bytes) -> Stream | None:
    """A key's stream, None if there is no such key; CommandError (WRONGTYPE) if it is something else."""
    value = tx.lookup(key)
    if value is None or value.__class__ is Stream:
        return value
    raise CommandError(WRONG_TYPE)


def read_stream(tx: Tx, key: bytes) -> Stream | None:
    """As ``find_stream``, for a command that reads: misses and wrong types are counted (``Tx.misses``)."""
    value = tx.lookup(key)
    if value.__class__ is Stream:
        return value
    if value is None:
        tx.missed(key)
        return None
    raise tx.refuse(WRONG_TYPE)


def look_up_counted(tx: Tx, key: bytes) -> Stream | None:
    """As ``find_stream``, for a write that reads its key first: the look-up is counted, whatever becomes of it."""
    tx.lookups += 1
    value = tx.lookup(key)
    if value.__class__ is Stream:
        return value
    if value is None:
        tx.missed(key)
        return None
    raise CommandError(WRONG_TYPE)


def option(word: bytes) -> bytes:
    """A word as an option's name: in upper case, up to a NUL byte, as C compares it."""
    return word.partition(b"\0")[0].upper()


def entry_reply(entry_id: int, item: bytes) -> bytes:
    """One entry: its id, and its fields and values."""
    text = print_id(entry_id)
    return _join((_ENTRY_HEADS[len(text)], text, CRLF, item))


def entries_reply(ids: list[int], items: list[bytes]) -> bytes:
    """An array of entries."""
    heads = _ENTRY_HEADS
    parts = [array_head(len(ids))]
    for entry_id, item in zip(ids, items, strict=True):
        text = b"%d-%d" % (entry_id >> 64, entry_id & SEQ_MAX)
        parts += (heads[len(text)], text, CRLF, item)
    return _join(parts)


# ---- adding ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Options:
    """What XADD and XTRIM are told before the entry; ``at``: where the id is."""

    at: int = 2
    rule: TrimRule | None = None
    no_mkstream: bool = False
    id_kind: int = _ID_AUTO
    given_id: int = 0


def _parse_trim(words: list[bytes], at: int, by_id: bool) -> tuple[TrimRule, int]:
    """MAXLEN or MINID at ``at``, with something behind it: the rule, and where its last word is."""
    approx = False
    if len(words) - at > 2:
        sign = words[at + 1]
        if sign[:1] == b"~" or sign[:1] == b"=":
            sign = sign.partition(b"\0")[0]
            approx = sign == b"~"
            at += approx or sign == b"="
    at += 1
    if by_id:
        return TrimRule(True, parse_id(words[at]), approx), at
    threshold = parse_integer(words[at])
    if threshold < 0:
        raise CommandError(TRIM_MAXLEN_NEGATIVE)
    return TrimRule(False, threshold, approx), at


def _capped(words: list[bytes]) -> int:
    """Where the id of ``XADD key MAXLEN [~ | =] count * ...`` is; 0 for lines of another form."""
    if words[2].upper() == b"MAXLEN":
        if words[4] == b"*":
            return 4
        if len(words) > 7 and words[5] == b"*" and words[3] in (b"~", b"="):
            return 5
    return 0


def _parse_options(tx: Tx, words: list[bytes], xadd: bool) -> _Options:
    """The options of XADD, up to its id, or of XTRIM, in stock's order of checks."""
    options = _Options()
    if xadd and (at := _capped(words)):
        options.at, options.rule = at, _limited(tx, _parse_trim(words, 2, False)[0], 0, False)
        return options
    rule: TrimRule | None = None
    limit = 0
    limit_given = False
    at = 2
    while at < len(words):
        word = option(words[at])
        more = at + 1 < len(words)
        if xadd and word == b"*":
            break
        if more and (word == b"MAXLEN" or word == b"MINID"):
            if rule is not None:
                raise CommandError(TRIM_TWICE)
            rule, at = _parse_trim(words, at, word == b"MINID")
        elif more and word == b"LIMIT":
            at += 1
            limit = parse_integer(words[at])
            if limit < 0:
                raise CommandError(TRIM_LIMIT_NEGATIVE)
            limit_given = True
        elif not xadd:
            raise CommandError(SYNTAX)
        elif word == b"NOMKSTREAM":
            options.no_mkstream = True
        else:
            _parse_new_id(options, words[at])
            break
        at += 1
    options.at = at
    if limit and rule is None:
        raise CommandError(LIMIT_WITHOUT_TRIM)
    if not xadd and rule is None:
        raise CommandError(XTRIM_WITHOUT_TRIM)
    options.rule = _limited(tx, rule, limit, limit_given)
    return options


def _limited(tx: Tx, rule: TrimRule | None, limit: int, limit_given: bool) -> TrimRule | None:
    """The rule with the limit that holds for it.  What a log says was limited when it was logged."""
    if not tx.now_ms:
        return rule
    if limit_given and (rule is None or not rule.approx):
        raise CommandError(LIMIT_WITHOUT_TILDE)
    if rule is None or not rule.approx:
        return rule
    if not limit_given:
        limit = _NODES_AT_ONCE * tx.limits[MAX_ENTRIES]
        limit = min(limit, _MOST_LIMIT) if limit > 0 else _LEAST_LIMIT
    return TrimRule(rule.by_id, rule.threshold, True, limit)


def _parse_new_id(options: _Options, word: bytes) -> None:
    """``<ms>-<seq>``, ``<ms>`` or ``<ms>-*``."""
    ms = read_partial_id(word)
    if ms is not None:
        options.id_kind = _ID_PARTIAL
        options.given_id = ms << 64
        return
    entry_id = read_id(word)
    if entry_id is None:
        raise CommandError(INVALID_STREAM_ID)
    options.id_kind = _ID_GIVEN
    options.given_id = entry_id


def _new_id(tx: Tx, options: _Options, last_id: int) -> int:
    """The id of an entry to be added behind ``last_id``; CommandError if there is none."""
    if last_id == ID_MAX:
        raise CommandError(XADD_EXHAUSTED)
    if options.id_kind == _ID_AUTO:
        return max(tx.clock_ms << 64, last_id + 1)
    entry_id = options.given_id
    if options.id_kind == _ID_PARTIAL and entry_id >> 64 == last_id >> 64:
        if last_id & SEQ_MAX == SEQ_MAX:
            raise CommandError(XADD_TOO_LARGE)  # stock's words for it
        return last_id + 1
    if entry_id <= last_id:
        raise CommandError(XADD_SMALL_ID)
    return entry_id


def _trim_words(stream: Stream, rule: TrimRule, trim: Trim, new_id: int, joins: bool) -> list[bytes]:
    """A trim as the log has it: exact, and what it left."""
    if rule.by_id:
        least = stream.begins_behind(trim, new_id, joins) if rule.approx else rule.threshold
        return [b"MINID", b"=", print_id(least)]
    return [b"MAXLEN", b"=", b"%d" % (stream.length + (new_id >= 0) - trim.deleted)]


@command(
    "XADD",
    arity=-5,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_spec("RW", "update", notes="It may trim as well, so it is no mere insertion."),
    group="stream",
    since="5.0.0",
    acl=WRITES_FAST,
    tips=("nondeterministic_output",),
    history=(
        ("6.2.0", "`NOMKSTREAM`, `MINID` and `LIMIT`."),
        ("7.0.0", "An id may be `<ms>-*`."),
    ),
    syntax=f"key [NOMKSTREAM] [{_TRIM_SYNTAX}] <* | id> field value [field value ...]",
    summary="Adds an entry behind the last one of a stream, which is made if there is none, and may trim the stream.",
    complexity="O(1) for an entry of a bounded number of fields, and O(N) for N entries trimmed",
)
def xadd(tx: Tx, argv: list[bytes]) -> bytes:
    """XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value ...]"""
    if argv[2] != b"*" or not len(argv) & 1:
        return _xadd_with_options(tx, argv)
    key = argv[1]
    db = tx.db
    stream = db.get(key)
    if stream.__class__ is not Stream or key in db.expires:
        stream = find_stream(tx, key)
    entry_id = tx.clock_ms << 64
    if stream is None:
        return _add(tx, key, None, entry_id, argv[3:], None)
    if stream.last_id >= entry_id:
        if stream.last_id == ID_MAX:
            raise CommandError(XADD_EXHAUSTED)
        entry_id = stream.last_id + 1
    heads = BULK_HEADS
    pairs = argv[3:]
    try:
        if len(argv) == 5:
            field, value = pairs
            tail = _join((heads[len(field)], field, CRLF, heads[len(value)], value, CRLF))
        else:
            tail = _join([part for word in pairs for part in (heads[len(word)], word, CRLF)])
        text = b"%d-%d" % (entry_id >> 64, entry_id & SEQ_MAX)
        reply = _join((heads[len(text)], text, CRLF))
        record = _join((_XADD_HEADS[len(argv)], heads[len(key)], key, CRLF, reply, tail))
        item = _ITEM_HEADS[len(pairs)] + tail
    except IndexError:
        return _add(tx, key, stream, entry_id, pairs, None)
    # The tail, which is longer than its words, nearly always says enough of their length.
    joins = stream.tail_takes(len(tail), tx.limits) or stream.tail_takes(sum(map(len, pairs)), tx.limits)
    tx.log(record)
    stream.append(entry_id, pairs, item, joins)
    if tx.notifying:
        tx.notify(STREAM, b"xadd", key)
    return reply


def _xadd_with_options(tx: Tx, argv: list[bytes]) -> bytes:
    key = argv[1]
    options = _parse_options(tx, argv, True)
    behind = len(argv) - options.at - 1
    if behind < 2 or behind & 1:
        raise CommandError(wrong_arity(b"xadd"))
    if options.id_kind == _ID_GIVEN and not options.given_id:
        raise CommandError(XADD_ZERO_ID)
    stream = find_stream(tx, key)
    if stream is None and options.no_mkstream:
        return tx.null
    entry_id = _new_id(tx, options, stream.last_id if stream is not None else 0)
    return _add(tx, key, stream, entry_id, argv[options.at + 1 :], options.rule)


def _add(tx: Tx, key: bytes, stream: Stream | None, entry_id: int, pairs: list[bytes], rule: TrimRule | None) -> bytes:
    """Log and add an entry with these fields and values, and trim by ``rule``."""
    length = sum(map(len, pairs))
    if length > MAX_LISTPACK:
        raise CommandError(XADD_TOO_LARGE)
    heads = BULK_HEADS
    try:
        tail = _join([part for word in pairs for part in (heads[len(word)], word, CRLF)])
    except IndexError:
        tail = _join([bulk(word) for word in pairs])
    reply = bulk(print_id(entry_id))
    new = stream is None
    if stream is None:
        stream = Stream()
    joins = stream.tail_takes(length, tx.limits)
    trim: Trim | None = None
    words = b""
    if rule is not None:
        trim = stream.plan_trim(rule, entry_id, joins)
        if trim.nodes or trim.entries:
            words = _join([bulk(word) for word in _trim_words(stream, rule, trim, entry_id, joins)])
    tx.log(_join((array_head(len(pairs) + (6 if words else 3)), b"$4\r\nXADD\r\n", bulk(key), words, reply, tail)))
    if new:
        tx.db.replace(key, stream)
    stream.append(entry_id, pairs, array_head(len(pairs)) + tail, joins)
    if tx.notifying:
        tx.notify_write(STREAM, b"xadd", key, new)
    if words and trim is not None:
        stream.trim(trim)
        if tx.notifying and trim.deleted:
            tx.notify(STREAM, b"xtrim", key)
    return reply


# ---- reading ---------------------------------------------------------------------------


@command(
    "XLEN",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_spec("RO"),
    group="stream",
    since="5.0.0",
    acl=("read", "stream", "fast"),
    syntax="key",
    summary="Counts the entries of a stream.",
    complexity="O(1)",
)
def xlen(tx: Tx, argv: list[bytes]) -> bytes:
    """XLEN key"""
    stream = read_stream(tx, argv[1])
    return ZERO if stream is None else integer(stream.length)


def _range(tx: Tx, argv: list[bytes], reverse: bool) -> bytes:
    start = parse_start(argv[3 if reverse else 2])
    end = parse_end(argv[2 if reverse else 3])
    count = -1
    for at in range(4, len(argv), 2):
        if option(argv[at]) != b"COUNT" or at + 1 == len(argv):
            raise CommandError(SYNTAX)
        count = max(parse_integer(argv[at + 1]), 0)
    stream = read_stream(tx, argv[1])
    if stream is None:
        return EMPTY_ARRAY
    if not count:
        return tx.null_array
    ids, items = stream.collect(start, end, max(count, 0), reverse)
    return entries_reply(ids, items)


@command(
    "XRANGE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    history=(("6.2.0", "Ends may be exclusive."),),
    syntax="key start-id end-id [COUNT count]",
    summary="Returns the entries with ids from start to end.",
    complexity="O(log N + M) for N entries and M returned",
)
def xrange(tx: Tx, argv: list[bytes]) -> bytes:
    """XRANGE key start end [COUNT count]"""
    return _range(tx, argv, False)


@command(
    "XREVRANGE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    history=(("6.2.0", "Ends may be exclusive."),),
    syntax="key end-id start-id [COUNT count]",
    summary="Returns the entries with ids from start to end, the last first.",
    complexity="O(log N + M) for N entries and M returned",
)
def xrevrange(tx: Tx, argv: list[bytes]) -> bytes:
    """XREVRANGE key end start [COUNT count]"""
    return _range(tx, argv, True)


# ---- taking away -----------------------------------------------------------------------


@command(
    "XDEL",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=DELETED,
    group="stream",
    since="5.0.0",
    acl=WRITES_FAST,
    syntax="key id [id ...]",
    summary="Deletes entries of a stream; returns how many there were.",
    complexity="O(log N) for each id, for N entries",
)
def xdel(tx: Tx, argv: list[bytes]) -> bytes:
    """XDEL key id [id ...]: the stream stays, without an entry as well"""
    key = argv[1]
    stream = find_stream(tx, key)
    if stream is None:
        return ZERO
    ids = [parse_id(word) for word in argv[2:]]
    if all(stream.get(entry_id) is None for entry_id in ids):
        return ZERO
    tx.log(encode(argv))
    deleted = sum(map(stream.delete, ids))
    tx.changes += deleted - 1
    if tx.notifying:
        tx.notify(STREAM, b"xdel", key)
    return integer(deleted)


@command(
    "XTRIM",
    arity=-4,
    flags=WRITE,
    keys_at=(1, 1, 1),
    key_specs=DELETED,
    group="stream",
    since="5.0.0",
    acl=WRITES_SLOWLY,
    tips=("nondeterministic_output",),
    history=(("6.2.0", "`MINID` and `LIMIT`."),),
    syntax=f"key {_TRIM_SYNTAX}",
    summary="Deletes the first entries of a stream until few enough are left, or none below an id.",
    complexity="O(N) for N entries deleted, by whole nodes",
)
def xtrim(tx: Tx, argv: list[bytes]) -> bytes:
    """XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]"""
    key = argv[1]
    rule = _parse_options(tx, argv, False).rule
    assert rule is not None
    stream = find_stream(tx, key)
    if stream is None:
        return ZERO
    trim = stream.plan_trim(rule)
    if not trim.nodes and not trim.entries:
        return ZERO
    tx.log(encode([b"XTRIM", key, *_trim_words(stream, rule, trim, -1, False)]))
    tx.changes += trim.deleted - 1
    stream.trim(trim)
    if tx.notifying and trim.deleted:
        tx.notify(STREAM, b"xtrim", key)
    return integer(trim.deleted)


@command(
    "XSETID",
    arity=-3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=UPDATED,
    group="stream",
    since="5.0.0",
    acl=WRITES_FAST,
    history=(("7.0.0", "`ENTRIESADDED` and `MAXDELETEDID`."),),
    syntax="key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
    summary="Sets what a stream remembers beside its entries; for who restores one.",
    complexity="O(1)",
)
def xsetid(tx: Tx, argv: list[bytes]) -> bytes:
    """XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]"""
    key = argv[1]
    last_id = parse_id(argv[2])
    added = -1
    max_deleted = 0
    for at in range(3, len(argv), 2):
        word = option(argv[at])
        if at + 1 == len(argv):
            raise CommandError(SYNTAX)
        if word == b"ENTRIESADDED":
            added = parse_integer(argv[at + 1])
            if added < 0:
                raise CommandError(ENTRIES_ADDED_NEGATIVE)
        elif word == b"MAXDELETEDID":
            max_deleted = parse_id(argv[at + 1])
            if last_id < max_deleted:
                raise CommandError(XSETID_BELOW_DELETED)
        else:
            raise CommandError(SYNTAX)
    stream = find_stream(tx, key)
    if stream is None:
        raise CommandError(NO_SUCH_KEY)
    if stream.length:
        if last_id < stream.top_id():
            raise CommandError(XSETID_BELOW_TOP)
        if added != -1 and stream.length > added:
            raise CommandError(XSETID_ADDED_BELOW_LENGTH)
    tx.log(encode(argv))
    stream.last_id = last_id
    if added != -1:
        stream.added = added
    if max_deleted:
        stream.max_deleted = max_deleted
    if tx.notifying:
        tx.notify(STREAM, b"xsetid", key)
    return OK
