"""Framing of plain RESP commands: where one ends, and what belongs together.

For bytes that stock Redis wrote, which carry no length and no checksum of their
own.  A unit is what is applied whole or not at all: one command, or everything
from MULTI to its EXEC.  Annotation lines (``#...``) may stand between commands,
also inside a group, never inside a command.

Invariants: ``whole_units`` never reads past the bytes it is given, allocates
nothing that a length in them decides, and looks at every byte of a command's
framing: a command whose lengths or CRLFs are wrong is not one.

It must not know: what commands mean, beyond the names MULTI and EXEC.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

MAX_NOTE_BYTES = 1023
"""The longest annotation line that stock skips, CRLF included."""
MAX_FRAME_BYTES = 23
"""``*`` or ``$``, at most 20 digits, CRLF."""

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_BARE = b"*1\r\n$"


class Stop(enum.Enum):
    """Why framing ended."""

    END = "every byte was framed"
    INCOMPLETE = "the bytes end inside a unit"
    INVALID = "these bytes are no command"


class Units(NamedTuple):
    """What ``whole_units`` found in a buffer.

    ``end``: behind the last whole unit or annotation; ``commands``: commands in
    those units; ``notes``: (start, end) of the annotations below ``end``; ``at``:
    where framing stopped; ``need``: with INCOMPLETE, the length of the buffer that
    at least is needed to go on.
    """

    end: int
    commands: int
    notes: list[tuple[int, int]]
    stop: Stop
    at: int
    need: int


def frame(buf: bytes, pos: int) -> int:
    """End of the command at ``pos``; 0 if there is none; minus the length needed if ``buf`` is too short."""
    size = len(buf)
    eol = buf.find(b"\r\n", pos, pos + MAX_FRAME_BYTES)
    if eol < 0:
        return 0 if size - pos >= MAX_FRAME_BYTES else -(size + 1)
    digits = buf[pos + 1 : eol]
    if buf[pos] != 0x2A or not digits.isdigit():
        return 0
    count = int(digits)
    if not count:
        return 0
    pos = eol + 2
    while count:
        eol = buf.find(b"\r\n", pos, pos + MAX_FRAME_BYTES)
        if eol < 0:
            wrong = size - pos >= MAX_FRAME_BYTES or (pos < size and buf[pos] != 0x24)
            return 0 if wrong else -(size + 1)
        digits = buf[pos + 1 : eol]
        if buf[pos] != 0x24 or not digits.isdigit():
            return 0
        pos = eol + 4 + int(digits)
        if pos > size:
            return -pos
        if buf[pos - 2] != 0x0D or buf[pos - 1] != 0x0A:
            return 0
        count -= 1
    return pos


def whole_units(buf: bytes, accepts: Callable[[int, bytes], bool]) -> Units:
    """The units at the beginning of ``buf``.

    ``accepts(offset, line)`` says whether the annotation ``line``, its newline
    included, may stand there.
    """
    pos = end = commands = pending = 0
    group = False
    notes: list[tuple[int, int]] = []
    size = len(buf)

    def stopped(stop: Stop, need: int = 0) -> Units:
        return Units(end, commands, [note for note in notes if note[0] < end], stop, pos, need)

    while pos < size:
        if buf[pos] == 0x2A:
            after = frame(buf, pos)
            if after <= 0:
                return stopped(Stop.INCOMPLETE, -after) if after else stopped(Stop.INVALID)
            if buf.startswith(_BARE, pos):
                word = buf[pos:after].upper() if after - pos <= len(_MULTI) else b""
                if (word == _MULTI and group) or (word == _EXEC and not group):
                    return stopped(Stop.INVALID)
                group = (group or word == _MULTI) and word != _EXEC
            pending += 1
        elif buf[pos] == 0x23:
            after = buf.find(b"\n", pos, pos + MAX_NOTE_BYTES) + 1
            if not after:
                return stopped(Stop.INVALID) if size - pos >= MAX_NOTE_BYTES else stopped(Stop.INCOMPLETE, size + 1)
            if not accepts(pos, buf[pos:after]):
                return stopped(Stop.INVALID)
            notes.append((pos, after))
        else:
            return stopped(Stop.INVALID)
        pos = after
        if not group:
            end, commands, pending = pos, commands + pending, 0
    return stopped(Stop.INCOMPLETE, size + 1) if group else stopped(Stop.END)


def without_notes(buf: bytes, end: int, notes: list[tuple[int, int]]) -> bytes:
    """``buf[:end]`` with the annotations at ``notes`` left out: commands only."""
    if not notes:
        return buf if end == len(buf) else buf[:end]
    parts, at = [], 0
    for start, stop in notes:
        parts.append(buf[at:start])
        at = stop
    parts.append(buf[at:end])
    return b"".join(parts)


def is_whole(payload: bytes) -> bool:
    """Is ``payload`` nothing but whole units, without annotations?"""
    return whole_units(payload, lambda _offset, _line: False).stop is Stop.END
