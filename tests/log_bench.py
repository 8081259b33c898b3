"""What the tests of the log share: a clock that stands, batches, a writer on a disk, and a plain reader of files.

The reader here is not the one under test: it knows nothing of damage, and asserts
that every line of a file verifies and every chain holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.wal import format as lines
from perdure.wal.executor import Executor, InlineExecutor
from perdure.wal.filesystem import Filesystem
from perdure.wal.manifest import Entry, incr_name, manifest_name, parse
from perdure.wal.writer import LogWriter

DIRECTORY = "/data/appendonlydir"
BASENAME = "appendonly.aof"
LOG_ID = b"0123456789abcdef0123456789abcdef"
SELECT = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"


class StandingClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def unix_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class End:
    """What a writer continues from (the shape of recovery's LogEnd)."""

    log_id: bytes | None = None
    lsn: int = 0
    chain: int = 0
    entries: tuple[Entry, ...] = ()
    next_seq: int = 1
    drop: tuple[str, ...] = ()


def command(*words: bytes) -> bytes:
    """A RESP command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def batch_of(number: int, size: int = 10) -> bytes:
    """A batch's payload that no other batch has."""
    return SELECT + command(b"SET", b"batch", b"%d" % number + b"x" * size)


def begin(
    fs: Filesystem,
    policy: str = "everysec",
    *,
    end: Any = None,
    executor: Executor | None = None,
    clock: StandingClock | None = None,
    on_progress: Callable[[], None] | None = None,
    **options: Any,
) -> LogWriter:
    """A writer that is open."""
    writer = LogWriter(
        fs,
        DIRECTORY,
        BASENAME,
        End() if end is None else end,
        executor or InlineExecutor(),
        clock or StandingClock(),
        policy,
        new_log_id=LOG_ID,
        on_progress=on_progress or (lambda: None),
        **options,
    )
    writer.open()
    return writer


@dataclass
class Parsed:
    """A file of ours, every line of which verified."""

    start: lines.Start
    batches: list[tuple[lines.Batch, bytes]]
    ended: bool
    times: int
    chains: dict[int, set[int]]
    """The chains that held at each lsn."""


def parse_file(data: bytes) -> Parsed:
    """Read a whole file that perdure wrote; AssertionError if anything is wrong with it."""
    seed, chain, lsn, at = 0, 0, 0, 0
    parsed: Parsed | None = None
    while at < len(data):
        eol = data.index(b"\n", at) + 1
        line = data[at:eol]
        at = eol
        facts = lines.parse(line)
        if parsed is None:
            assert isinstance(facts, lines.Start), line
            seed = lines.seed_of(facts.log_id)
            assert lines.crc_is_right(line, facts.crc, seed)
            parsed = Parsed(facts, [], False, 0, {})
            lsn, chain = facts.lsn, facts.crc
        elif isinstance(facts, lines.Time):
            parsed.times += 1
        elif isinstance(facts, lines.Batch):
            assert not parsed.ended
            payload = data[at : at + facts.length]
            assert lines.crc_is_right(line, facts.crc, seed, payload)
            assert (facts.lsn, facts.prev) == (lsn, chain), line
            assert facts.durable <= lsn
            at += facts.length
            lsn, chain = lsn + facts.length, facts.crc
            parsed.batches.append((facts, payload))
        else:
            assert isinstance(facts, lines.End), line
            assert lines.crc_is_right(line, facts.crc, seed)
            assert (facts.lsn, facts.prev) == (lsn, chain), line
            parsed.ended, chain = True, facts.crc
        parsed.chains.setdefault(lsn, set()).add(chain)
    assert parsed is not None
    return parsed


def entries_of(fs: Any) -> tuple[Entry, ...]:
    """What the manifest names."""
    name = manifest_name(BASENAME)
    return parse(fs.content(os.path.join(DIRECTORY, name)), name).entries


def files_of(fs: Any) -> list[Parsed]:
    """The INCR files, in order, of a simulated disk."""
    return [parse_file(fs.content(os.path.join(DIRECTORY, entry.name))) for entry in entries_of(fs)]


def payloads_of(fs: Any) -> list[bytes]:
    """The payloads that the log's files hold, a later file superseding the tail of the one before."""
    found: list[tuple[int, bytes]] = []
    chains: dict[int, set[int]] = {0: {0}}
    for parsed in files_of(fs):
        assert parsed.start.prev in chains[parsed.start.lsn]
        found = [(lsn, payload) for lsn, payload in found if lsn < parsed.start.lsn]
        found += [(facts.lsn, payload) for facts, payload in parsed.batches if facts.length]
        chains = {lsn: held for lsn, held in chains.items() if lsn <= parsed.start.lsn}
        for lsn, held in parsed.chains.items():
            chains.setdefault(lsn, set()).update(held)
    at = 0
    for lsn, payload in found:
        assert lsn == at
        at += len(payload)
    return [payload for _, payload in found]


def write(writer: LogWriter, first: int, count: int = 1) -> list[bytes]:
    """Admit and commit batches; returns their payloads."""
    payloads = [batch_of(number) for number in range(first, first + count)]
    for payload in payloads:
        writer.admit(len(payload))
        writer.commit(payload)
        writer._check()
    return payloads


def path(seq: int = 1) -> str:
    """Where the INCR file of that number is."""
    return os.path.join(DIRECTORY, incr_name(BASENAME, seq))


def of_size(size: int) -> bytes:
    """A payload of so many bytes."""
    return b"x" * size
