"""Entry ids of streams: ``<ms>-<seq>``, two unsigned 64-bit numbers, kept as one int, ``ms << 64 | seq``.

One int compares, bisects and packs better than a pair.  The words that clients may
write are what stock reads: a missing sequence is filled in, ``-`` and ``+`` are the
least and the greatest id, numbers are read as C's ``strtoull`` does (blanks before,
a plus sign, zeros in front; a minus sign wraps), and a NUL byte ends the word.

It must not know: streams, commands.
"""

from __future__ import annotations

import re

from perdure.store.errors import INVALID_INTERVAL_END, INVALID_INTERVAL_START, INVALID_STREAM_ID, CommandError

SEQ_BITS = 64
SEQ_MAX = (1 << 64) - 1
ID_MAX = (1 << 128) - 1

_LONGEST = 127
_STRTOULL = re.compile(rb"[ \t-\r]*([+-]?)([0-9]+)\Z")
_PLAIN = re.compile(rb"([1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})\Z")
"""Nearly every id that clients send: both numbers below 10**19, so below 2**64."""


def print_id(entry_id: int) -> bytes:
    """``<ms>-<seq>``."""
    return b"%d-%d" % (entry_id >> 64, entry_id & SEQ_MAX)


def _read_number(text: bytes) -> int | None:
    match = _STRTOULL.match(text)
    if match is None:
        return None
    number = int(match[2])
    if number > SEQ_MAX:
        return None
    if match[1] != b"-":
        return number
    # A canonical negative number is refused; any other one wraps as C has it.
    canonical = text == b"-%d" % number and number and number <= 1 << 63
    return None if canonical else -number & SEQ_MAX


def read_id(word: bytes, missing_seq: int = 0, strict: bool = True) -> int | None:
    """An id; None if ``word`` is none.  ``strict``: ``-`` and ``+`` are none."""
    match = _PLAIN.match(word)
    if match is not None:
        return int(match[1]) << 64 | int(match[2])
    if len(word) > _LONGEST:
        return None
    word = word.partition(b"\0")[0]
    if word == b"-" or word == b"+":
        if strict:
            return None
        return 0 if word == b"-" else ID_MAX
    first, dash, second = word.partition(b"-")
    ms = _read_number(first)
    if ms is None:
        return None
    seq = _read_number(second) if dash else missing_seq
    return None if seq is None else ms << 64 | seq


def parse_id(word: bytes, missing_seq: int = 0) -> int:
    """As ``read_id``, strictly; CommandError if it is none."""
    entry_id = read_id(word, missing_seq)
    if entry_id is None:
        raise CommandError(INVALID_STREAM_ID)
    return entry_id


def read_partial_id(word: bytes) -> int | None:
    """The ms of ``<ms>-*``, which leaves the sequence to the stream; None for any other word."""
    if len(word) > _LONGEST:
        return None
    word = word.partition(b"\0")[0]
    if word[-2:] != b"-*" or word.index(b"-") != len(word) - 2:
        return None
    return _read_number(word[:-2])


def _parse_bound(word: bytes, missing_seq: int) -> tuple[int, bool]:
    """An end of an interval, and whether it is exclusive."""
    exclusive = len(word) > 1 and word[:1] == b"("
    entry_id = read_id(word[1:] if exclusive else word, missing_seq, exclusive)
    if entry_id is None:
        raise CommandError(INVALID_STREAM_ID)
    return entry_id, exclusive


def parse_start(word: bytes) -> int:
    """The first id of an interval that begins with ``word``: ``-``, an id, or ``(`` and an id."""
    entry_id, exclusive = _parse_bound(word, 0)
    if not exclusive:
        return entry_id
    if entry_id == ID_MAX:
        raise CommandError(INVALID_INTERVAL_START)
    return entry_id + 1


def parse_end(word: bytes) -> int:
    """The last id of an interval that ends with ``word``."""
    entry_id, exclusive = _parse_bound(word, SEQ_MAX)
    if not exclusive:
        return entry_id
    if entry_id == 0:
        raise CommandError(INVALID_INTERVAL_END)
    return entry_id - 1
