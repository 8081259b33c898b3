"""Generators and comparers of the streams group; importing this plugs them in.

Ids ascend over a run, so that most entries can be added, and other commands name ids
that were.  ``*`` is not among them: the two sides' clocks would give two streams; it has
tests of its own.  Times are now, long past or far in the future, and so are idle times.
"""

from __future__ import annotations

from typing import Any

import oracle_keys_lines  # noqa: F401 - streams are copied and deleted as any value
from oracle_harness import LOOSE, READ_PLAIN, comparer
from oracle_lines import NO_INTEGERS, Argv, Lines, generator

STREAMS_GROUP = [
    *[b"XADD"] * 14, b"XLEN", b"XRANGE", b"XREVRANGE", b"XREAD", b"XREAD", b"XDEL", b"XDEL", b"XTRIM", b"XSETID",
    b"XINFO|STREAM", b"XINFO|STREAM", b"XINFO|GROUPS", b"XINFO|CONSUMERS", *[b"XGROUP|CREATE"] * 4, b"XGROUP|SETID",
    b"XGROUP|CREATECONSUMER", b"XGROUP|DELCONSUMER", b"XGROUP|DESTROY", *[b"XREADGROUP"] * 8, b"XACK", b"XACK",
    b"XPENDING", b"XPENDING", *[b"XCLAIM"] * 4, b"XAUTOCLAIM", b"XAUTOCLAIM", b"OBJECT|ENCODING", b"COPY", b"TYPE",
]  # fmt: skip
STREAM_KEYS = [b"x1", b"x2"]
NODES_GROUP = [
    *[b"XADD"] * 60, *[b"XDEL"] * 8, b"XTRIM", b"XTRIM", b"XINFO|STREAM", b"XINFO|STREAM", b"XRANGE", b"XREVRANGE",
    b"XSETID", b"XREAD", b"COPY",
]  # fmt: skip
"""Streams that grow long, so that they have many nodes."""
NO_IDS = [
    b"", b"-", b"+", b"$", b">", b"x", b"1-", b"-1", b"1-2-3", b"1-x", b"*-1", b"*-*", b"1-**", b"1.5", b"0x1-1",
    b"18446744073709551616", b"1-18446744073709551616", b"99999999999999999999999-1", b"1 ", b"1-1 ", b"1" * 200,
    b"1--1", b"--1", b"(1-1",
]  # fmt: skip
ODD_IDS = [
    b"0", b"0-0", b"0-1", b"00005-1", b"+5-1", b" 5-1", b"5-+1", b"5- 1", b"5--01", b"5-1\x00x", b"5\x00-1", b"5-007",
    b"\t7", b"0012-*", b"\v\f12-2", b"9-00",
]  # fmt: skip
HUGE_IDS = [
    b"18446744073709551615-18446744073709551614", b"9223372036854775808-9223372036854775808", b"18446744073709551615",
    b"18446744073709551615-18446744073709551615", b"4294967296-4294967296", b"9223372036854775807-0",
]  # fmt: skip
LAST_ID = b"18446744073709551615-18446744073709551615"
GROUPS = [b"g0", b"g1", b"g1", b"g2", b"", b"g\x00z", b"G\r\n"]
CONSUMERS = [b"c0", b"c1", b"c2", b"c3", b"", b"c\xff\x00"]

# ---- keyspaces -------------------------------------------------------------------------


def _id(text: bytes) -> int:
    ms, seq = map(int, text.split(b"-"))
    return ms << 64 | seq


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def plain_of_full(reply: list[Any]) -> Any:
    """XINFO STREAM FULL as ``value_types.plain`` has it."""
    info = _pairs(reply)
    groups = []
    for flat in info[b"groups"]:
        group = _pairs(flat)
        pending = tuple((_id(entry_id), consumer, time, count) for entry_id, consumer, time, count in group[b"pending"])
        consumers = tuple(_pairs(consumer)[b"name"] for consumer in group[b"consumers"])
        read = group[b"entries-read"]
        groups.append((group[b"name"], _id(group[b"last-delivered-id"]), -1 if read is None else read, pending,
                       consumers))  # fmt: skip
    entries = tuple((_id(entry_id), tuple(pairs)) for entry_id, pairs in info[b"entries"])
    ids = (_id(info[name]) for name in (b"last-generated-id", b"max-deleted-entry-id"))
    return entries, *ids, info[b"entries-added"], tuple(groups)


def without_times(value: Any) -> Any:
    """The plain value without the times of deliveries."""
    *rest, groups = value
    return *rest, tuple(
        (name, last_id, read, tuple((entry_id, consumer, count) for entry_id, consumer, _, count in pending), consumers)
        for name, last_id, read, pending, consumers in groups
    )


READ_PLAIN[b"stream"] = (lambda key: [b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"], plain_of_full)
LOOSE[b"stream"] = without_times

# ---- comparing -------------------------------------------------------------------------

_UNIX_MS = 1_000_000_000_000
_TOLERANCE_MS = 20_000


def _same_but_times(theirs: Any, ours: Any) -> bool:
    """Trees whose unix times may be a little apart."""
    (kind, a), (own_kind, b) = theirs, ours
    if kind != own_kind:
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_but_times, a, b))
    if kind == b":" and a != b:
        return min(int(a), int(b)) > _UNIX_MS and abs(int(a) - int(b)) < _TOLERANCE_MS
    return bool(a == b)


@comparer("XINFO|STREAM")
def same_info(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Times of deliveries are a little apart."""
    return _same_but_times(theirs, ours)


def _same_but_idle(theirs: Any, ours: Any, place: int) -> bool:
    """Arrays of records, in each of which the member at ``place`` is an idle time."""
    if not isinstance(theirs[1], list) or not isinstance(ours[1], list) or len(theirs[1]) != len(ours[1]):
        return bool(theirs == ours)
    for a, b in zip(theirs[1], ours[1], strict=True):
        if not isinstance(a[1], list) or a[0] != b[0] or len(a[1]) != len(b[1]):
            return False
        for at, (x, y) in enumerate(zip(a[1], b[1], strict=True)):
            if at == place and x[0] == y[0] == b":":
                if abs(int(x[1]) - int(y[1])) >= _TOLERANCE_MS:
                    return False
            elif x != y:
                return False
    return True


@comparer("XINFO|CONSUMERS")
def same_consumers(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Idle times are a little apart."""
    return _same_but_idle(theirs, ours, 5)


@comparer("XPENDING")
def same_pending(argv: Argv, theirs: Any, ours: Any) -> bool:
    """The same; a summary has nothing of the kind."""
    return len(argv) > 3 and _same_but_idle(theirs, ours, 2)


@comparer("XINFO|HELP", "XGROUP|HELP")
def same_kind_of_help(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Lines of text, our own."""
    return theirs[0] == ours[0] and {line[0] for line in theirs[1]} == {line[0] for line in ours[1]}


# ---- words -----------------------------------------------------------------------------


def _clock(lines: Lines, step: int = 0) -> int:
    """A number that ascends over the run."""
    now = getattr(lines, "stream_clock", 10) + step
    lines.stream_clock = now  # type: ignore[attr-defined]
    return now


def stream_key(lines: Lines) -> bytes:
    """A key, often one of those that no other command has, so that groups live long."""
    return lines.rng.choice(STREAM_KEYS) if lines.rng.random() < 0.6 else lines.key()


def entry_id(lines: Lines, spoil: float = 0.06, age: int = 40) -> bytes:
    """An id that may be in a stream, ``age`` ago on average."""
    rng = lines.rng
    roll = rng.random()
    if roll < spoil:
        return rng.choice(NO_IDS if rng.random() < 0.7 else ODD_IDS)
    ms = max(0, _clock(lines) - int(rng.expovariate(1 / age)))
    return b"%d" % ms if roll < 0.4 else b"%d-%d" % (ms, rng.randrange(4))


def new_id(lines: Lines) -> bytes:
    """An id that can be added, mostly."""
    rng = lines.rng
    roll = rng.random()
    ms = _clock(lines, rng.choice((0, 0, 1, 1, 2)))
    if roll < 0.35:
        return b"%d-*" % ms
    if roll < 0.92:
        return b"%d-%d" % (ms, rng.randrange(1, 300))
    if roll < 0.923:
        return rng.choice((*HUGE_IDS, b"%d-18446744073709551615" % ms))
    return entry_id(lines, 0.5)


def bound(lines: Lines) -> bytes:
    """An end of an interval."""
    rng = lines.rng
    roll = rng.random()
    if roll < 0.35:
        return rng.choice((b"-", b"+", b"-", b"+", b"(" + LAST_ID, b"(0-0", b"(", b"(-", b"(+"))
    return (b"(" if roll < 0.55 else b"") + (rng.choice(HUGE_IDS) if roll > 0.97 else entry_id(lines))


def group(lines: Lines) -> bytes:
    """A group's name: few, so that they meet."""
    return b"g1" if lines.rng.random() < 0.8 else lines.rng.choice(GROUPS)


def consumer(lines: Lines) -> bytes:
    """A consumer's name."""
    return lines.rng.choice(CONSUMERS[:3] if lines.rng.random() < 0.9 else CONSUMERS)


def ids(lines: Lines, most: int = 4) -> Argv:
    """One id or several, perhaps the same twice."""
    return [entry_id(lines, 0.03) for _ in range(lines.rng.randint(1, most))]


def trim(lines: Lines) -> Argv:
    """MAXLEN or MINID with what goes with it, and sometimes what does not."""
    rng = lines.rng
    if rng.random() < 0.6:
        most = lines.small(0, 30, 0.1) if rng.random() < 0.2 else b"%d" % rng.randrange(400)
        words = [lines.word("MAXLEN"), *rng.choice(([], [b"="], [b"~"], [b"~"])), most]
    else:
        words = [lines.word("MINID"), *rng.choice(([], [b"="], [b"~"])), entry_id(lines, 0.06, 400)]
    if (b"~" in words and rng.random() < 0.4) or rng.random() < 0.03:
        words += [lines.word("LIMIT"), rng.choice((b"0", b"1", b"5", b"100", b"-1", b"x"))]
    return words


# ---- entries ---------------------------------------------------------------------------

generator("XLEN")(lambda lines: [stream_key(lines)])
generator("XDEL")(lambda lines: [stream_key(lines), *ids(lines)])
generator("XTRIM")(lambda lines: [stream_key(lines), *trim(lines), *lines.maybe(0.03, "junk", "MAXLEN", "NOMKSTREAM")])


@generator("XADD")
def xadd_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    out = [stream_key(lines), *lines.maybe(0.1, "NOMKSTREAM")]
    if rng.random() < 0.15:
        out += trim(lines)
    out += lines.maybe(0.02, "LIMIT", "MINID", "junk", "NOMKSTREAM", "maxlen\0x")
    out.append(new_id(lines))
    if len(out[-1]) > 15:  # behind it nothing can be added any more
        out[0] = lines.key()
    same = rng.random() < 0.6
    for n in range(rng.choice((1, 1, 2, 3))):
        out += [b"field%d" % n if same else lines.member(), lines.value()]
    return out[:-1] if rng.random() < 0.02 else out


@generator("XRANGE", "XREVRANGE")
def xrange_arguments(lines: Lines) -> Argv:
    out = [stream_key(lines), bound(lines), bound(lines)]
    if lines.rng.random() < 0.4:
        out += [lines.word("COUNT"), lines.small(-1, 6)]
    return out + lines.maybe(0.04, "COUNT", "junk")


@generator("XSETID")
def xsetid_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    last_id = entry_id(lines) if rng.random() < 0.4 else b"%d-%d" % (_clock(lines, 1), rng.randrange(3))
    out = [stream_key(lines), last_id]
    if rng.random() < 0.4:
        out += [lines.word("ENTRIESADDED"), rng.choice((b"100", b"1000", b"0", b"-1", b"x"))]
    if rng.random() < 0.4:
        out += [lines.word("MAXDELETEDID"), entry_id(lines)]
    return out + lines.maybe(0.04, "ENTRIESADDED", "junk")


@generator("XREAD")
def xread_arguments(lines: Lines) -> Argv:
    return [*reading_options(lines), *reading_streams(lines, b"$")]


def reading_options(lines: Lines) -> Argv:
    """COUNT and a BLOCK that ends at once."""
    rng = lines.rng
    out: Argv = []
    if rng.random() < 0.5:
        out += [lines.word("COUNT"), lines.small(-1, 6)]
    if rng.random() < 0.03:
        out += [lines.word("BLOCK"), rng.choice((b"1", b"-1", b"x", b"1.5"))]
    return out + lines.maybe(0.02, "NOACK", "GROUP", "junk", "COUNT")


def reading_streams(lines: Lines, sign: bytes) -> Argv:
    """STREAMS with keys and an id for each."""
    rng = lines.rng
    keys = [stream_key(lines) for _ in range(rng.choice((1, 1, 2)))]
    starts = [rng.choice((sign, b"0", b"0", entry_id(lines), entry_id(lines))) for _ in keys]
    if rng.random() < 0.04:
        starts[0] = rng.choice((b"$", b">", b"+", b"-", LAST_ID, b"$\0x"))
    out = [lines.word("STREAMS"), *keys, *starts]
    return out[:-1] if rng.random() < 0.03 else out


# ---- groups ----------------------------------------------------------------------------

generator("XINFO|HELP", "XGROUP|HELP")(lambda lines: [])
generator("XINFO|GROUPS")(lambda lines: [stream_key(lines)])
generator("XINFO|CONSUMERS")(lambda lines: [stream_key(lines), group(lines)])
generator("XGROUP|DESTROY")(lambda lines: [stream_key(lines), lines.rng.choice(GROUPS)])
generator("XGROUP|CREATECONSUMER")(lambda lines: [stream_key(lines), group(lines), consumer(lines)])
generator("XGROUP|DELCONSUMER")(lambda lines: [stream_key(lines), group(lines), consumer(lines)])
generator("XACK")(lambda lines: [stream_key(lines), group(lines), *ids(lines, 6)])


@generator("XINFO|STREAM")
def xinfo_stream_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    out = [stream_key(lines), *lines.maybe(0.6, "FULL", "FULL", "FULL", "junk")]
    if len(out) > 1 and rng.random() < 0.5:
        out += [lines.word("COUNT"), lines.small(-1, 5)]
    return out


@generator("XGROUP|CREATE", "XGROUP|SETID")
def group_position_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    start = rng.choice((b"$", b"0", b"0", entry_id(lines), entry_id(lines), b"-", b"+"))
    options = [
        lines.maybe(0.6, "MKSTREAM"),
        [lines.word("ENTRIESREAD"), lines.small(-3, 20)] if rng.random() < 0.25 else [],
        lines.maybe(0.03, "MKSTREAM", "ENTRIESREAD", "junk"),
    ]
    rng.shuffle(options)
    return [stream_key(lines), group(lines), start, *(word for option in options for word in option)]


@generator("XREADGROUP")
def xreadgroup_arguments(lines: Lines) -> Argv:
    options = [[lines.word("GROUP"), group(lines), consumer(lines)], reading_options(lines), lines.maybe(0.15, "NOACK")]
    lines.rng.shuffle(options)
    return [*(word for option in options for word in option), *reading_streams(lines, b">")]


@generator("XPENDING")
def xpending_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    out = [stream_key(lines), group(lines)]
    if rng.random() < 0.3:
        return out
    if rng.random() < 0.3:
        out += [lines.word("IDLE"), rng.choice((b"0", b"100000000", b"-1", b"x"))]
    out += [bound(lines), bound(lines), lines.small(-1, 12)]
    if rng.random() < 0.4:
        out.append(consumer(lines))
    return out[:-1] if rng.random() < 0.04 else out


def min_idle(lines: Lines) -> bytes:
    """All pending entries, or those that were given a time long past, or nonsense."""
    return lines.rng.choice((b"0", b"0", b"0", b"0", b"100000000", b"-5", b"x", b"9223372036854775807"))


@generator("XCLAIM")
def xclaim_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    out = [stream_key(lines), group(lines), consumer(lines), min_idle(lines), *ids(lines)]
    options = [
        [lines.word("IDLE"), rng.choice((b"0", b"1000000000", b"-1", b"x"))] if rng.random() < 0.15 else [],
        [lines.word("TIME"), rng.choice((b"1000", b"0", b"-7", b"9000000000000", b"x"))] if rng.random() < 0.2 else [],
        [lines.word("RETRYCOUNT"), lines.small(-1, 9)] if rng.random() < 0.2 else [],
        [lines.word("LASTID"), entry_id(lines)] if rng.random() < 0.15 else [],
        lines.maybe(0.4, "FORCE"),
        lines.maybe(0.4, "JUSTID"),
        lines.maybe(0.03, "TIME", "LASTID", "junk\0x", "force\0x"),
    ]
    rng.shuffle(options)
    return out + [word for option in options for word in option]


@generator("XAUTOCLAIM")
def xautoclaim_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    out = [stream_key(lines), group(lines), consumer(lines), min_idle(lines), bound(lines)]
    if rng.random() < 0.5:
        counts = (b"1", b"2", b"3", b"50", b"0", b"-1", b"x", b"576460752303423488", *NO_INTEGERS)
        out += [lines.word("COUNT"), rng.choice(counts[:5] if rng.random() < 0.8 else counts)]
    return out + lines.maybe(0.4, "JUSTID") + lines.maybe(0.04, "COUNT", "junk")
