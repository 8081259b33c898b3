"""Annotation lines of the log: how they are written and how they are read.

The grammar is in the package's docstring.  This module turns facts into lines and
lines into facts, and computes their CRC-32C; it does no I/O and keeps no state.

Invariants: ``parse`` gives back what the writers here were given, or None; a line
written here is at most 256 bytes long (stock's limit is 1,023).

It must not know: files, RESP commands, keys.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from crc32c import crc32c

FORMAT_VERSION = 1
MAX_LINE_BYTES = 256
NO_CHAIN = 0
"""``prev`` of the first start line of a log that began with nothing."""


class Start(NamedTuple):
    """The first line of an INCR file that perdure wrote."""

    log_id: bytes
    lsn: int
    prev: int
    crc: int


class Batch(NamedTuple):
    """The header of a batch; ``length`` payload bytes follow the line."""

    lsn: int
    length: int
    durable: int
    unix_ms: int
    prev: int
    crc: int


class End(NamedTuple):
    """The last line that perdure writes into a file."""

    lsn: int
    prev: int
    crc: int


class Time(NamedTuple):
    """Stock's own time annotation; not part of the chain."""

    unix_seconds: int


Line = Start | Batch | End | Time

_LINE = re.compile(
    rb"#PERDURE 1 (?P<log_id>[0-9a-f]{32}) (?P<slsn>0|[1-9]\d{0,18}) (?P<sprev>[0-9a-f]{8}) (?P<scrc>[0-9a-f]{8})\r\n"
    rb"|#W (?P<lsn>0|[1-9]\d{0,18}) (?P<length>0|[1-9]\d{0,18}) (?P<durable>0|[1-9]\d{0,18})"
    rb" (?P<ms>0|[1-9]\d{0,18}) (?P<prev>[0-9a-f]{8}) (?P<crc>[0-9a-f]{8})\r\n"
    rb"|#END (?P<elsn>0|[1-9]\d{0,18}) (?P<eprev>[0-9a-f]{8}) (?P<ecrc>[0-9a-f]{8})\r\n"
    rb"|#TS:(?P<ts>\d{1,19})\r\n"
)

CRC_BYTES = 10
"""The crc's eight digits and CRLF: what the crc of a line leaves out at its end."""


def seed_of(log_id: bytes) -> int:
    """The value that every crc of the log ``log_id`` (32 hex digits) starts from."""
    return int(crc32c(log_id))


def start_line(log_id: bytes, lsn: int, prev: int) -> tuple[bytes, int]:
    """The start line and its crc, which is the chain from here on."""
    head = b"#PERDURE 1 %b %d %08x " % (log_id, lsn, prev)
    crc = crc32c(head, seed_of(log_id))
    return b"%b%08x\r\n" % (head, crc), crc


def batch_header(seed: int, lsn: int, payload: bytes, durable: int, unix_ms: int, prev: int) -> tuple[bytes, int]:
    """The header line of a batch of ``payload`` and its crc, the chain from here on."""
    head = b"#W %d %d %d %d %08x " % (lsn, len(payload), durable, unix_ms, prev)
    crc = crc32c(payload, crc32c(head, seed))
    return b"%b%08x\r\n" % (head, crc), crc


def end_line(seed: int, lsn: int, prev: int) -> tuple[bytes, int]:
    """The END line and its crc, the chain from here on."""
    head = b"#END %d %08x " % (lsn, prev)
    crc = crc32c(head, seed)
    return b"%b%08x\r\n" % (head, crc), crc


def time_line(unix_seconds: int) -> bytes:
    """Stock's ``#TS:`` line."""
    return b"#TS:%d\r\n" % unix_seconds


def parse(line: bytes) -> Line | None:
    """The facts of one whole line, its CRLF included; None if it is none of ours nor ``#TS:``.

    The crc is not judged here: see ``crc_is_right``.
    """
    m = _LINE.fullmatch(line)
    if m is None:
        return None
    if m["lsn"] is not None:
        return Batch(
            int(m["lsn"]), int(m["length"]), int(m["durable"]), int(m["ms"]), int(m["prev"], 16), int(m["crc"], 16)
        )
    if m["ts"] is not None:
        return Time(int(m["ts"]))
    if m["elsn"] is not None:
        return End(int(m["elsn"]), int(m["eprev"], 16), int(m["ecrc"], 16))
    return Start(m["log_id"], int(m["slsn"]), int(m["sprev"], 16), int(m["scrc"], 16))


def crc_is_right(line: bytes, crc: int, seed: int, payload: bytes | memoryview = b"") -> bool:
    """Does ``crc``, read from ``line``, cover the line up to itself and ``payload``?"""
    return bool(crc32c(payload, crc32c(line[:-CRC_BYTES], seed)) == crc)
