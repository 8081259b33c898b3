"""LCS: the longest common subsequence of two strings.

The table of lengths L[r][c] for the first r bytes of one string and the first c of
the other would take one number a cell.  But L grows by 0 or 1 from one column to
the next, so a row is one integer of a bit a column: bit c - 1 of ``rows[r]`` is
clear where L[r][c] = L[r][c - 1] + 1.  A row follows from the one above by an
addition and a few logical operations on whole rows (Hyyro's algorithm), so that
Python does in one step what the table does in thousands.

Bound: stock refuses if the table, at four bytes a cell, would exceed
proto-max-bulk-len.  We refuse the same; ours is 1/32 of that, 16 MiB at the default.

Which of several longest subsequences is found, and how it falls into ranges, is
decided by the way back through the table; it takes the same turns as stock's: at a
match diagonally, else to the larger neighbour, and where both are equal back in the
second string.  Here a row is left in a few whole-row steps, not byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure.store.command import READONLY
from perdure.store.commands.strings import READ_SLOW, key_spec, string_command
from perdure.store.errors import (
    LCS_LEN_AND_IDX,
    LCS_NOT_STRINGS,
    LCS_TOO_LARGE,
    SYNTAX,
    CommandError,
)
from perdure.store.numbers import parse_integer
from perdure.store.resp import array, bulk, integer, map_head
from perdure.store.tx import Tx

_CELL_BYTES = 4
Match = tuple[int, int, int]
"""A common run: its starts in both strings, and its length."""


def _table(down: bytes, across: bytes) -> list[int]:
    """All rows; ``down`` is what runs down the rows, ``across`` what runs across the columns."""
    full = (1 << len(across)) - 1
    backwards = across[::-1]
    positions: dict[int, int] = {}
    for byte in set(down):
        digits = backwards.translate(bytes(0x31 if other == byte else 0x30 for other in range(256)))
        positions[byte] = int(digits, 2) if digits else 0
    row = full
    rows = [row]
    for byte in down:
        hits = row & positions[byte]
        row = ((row + hits) | (row - hits)) & full
        rows.append(row)
    return rows


def _length(row: int, columns: int) -> int:
    """L at ``columns`` of a row."""
    return columns - (row & ((1 << columns) - 1)).bit_count()


def _matches(down: bytes, across: bytes, rows: list[int], down_first: bool) -> Iterator[tuple[int, int]]:
    """The bytes of the subsequence, last to first, as positions in ``down`` and ``across``.

    ``down_first`` says that ``down`` is the command's first string: on a tie it is the second that steps back.
    """
    r, c = len(down), len(across)
    while r and c:
        match = across.rfind(down[r - 1], 0, c) + 1
        if match < c:
            # Columns match + 1 .. c of this row are no matches: go up in one of them, or left to the match.
            if down_first:
                # Up only where that is the larger neighbour: where both rows grow.
                growing = ~(rows[r - 1] | rows[r]) & ((1 << c) - 1)
                up_at = growing.bit_length()
            else:
                # Left only where that is the larger neighbour: where this row is ahead of the one above.
                up_at = c if _length(rows[r], c) == _length(rows[r - 1], c) else 0
            if up_at > match:
                r, c = r - 1, up_at
                continue
        if not match:
            return
        r, c = r - 1, match - 1
        yield r, c


def _runs(first: bytes, second: bytes) -> tuple[int, list[Match]]:
    """The length, and the common runs, last to first."""
    swapped = len(first) > len(second)
    down, across = (second, first) if swapped else (first, second)
    rows = _table(down, across)
    runs: list[list[int]] = []
    for r, c in _matches(down, across, rows, not swapped):
        a, b = (c, r) if swapped else (r, c)
        if runs and runs[-1][0] == a + 1 and runs[-1][1] == b + 1:
            runs[-1] = [a, b, runs[-1][2] + 1]
        else:
            runs.append([a, b, 1])
    return _length(rows[-1], len(across)), [(a, b, n) for a, b, n in runs]


def _options(argv: list[bytes]) -> tuple[bool, bool, bool, int]:
    """IDX, LEN, WITHMATCHLEN, and the number of MINMATCHLEN."""
    idx = length = with_length = False
    shortest = 0
    i = 3
    while i < len(argv):
        option = argv[i].partition(b"\0")[0].upper()
        if option == b"IDX":
            idx = True
        elif option == b"LEN":
            length = True
        elif option == b"WITHMATCHLEN":
            with_length = True
        elif option == b"MINMATCHLEN" and i + 1 < len(argv):
            i += 1
            shortest = parse_integer(argv[i])
        else:
            raise CommandError(SYNTAX)
        i += 1
    if idx and length:
        raise CommandError(LCS_LEN_AND_IDX)
    return idx, length, with_length, shortest


def _strings(tx: Tx, argv: list[bytes]) -> list[bytes]:
    """Both strings; a key that does not exist has the empty one."""
    values = []
    for key in argv[1:3]:
        value = tx.lookup(key)
        tx.lookups += 1
        if value is None:
            tx.missed(key)
        values.append(value)
    for value in values:
        if not (value is None or value.__class__ is bytes or value.__class__ is bytearray):
            raise CommandError(LCS_NOT_STRINGS)
    return [bytes(value or b"") for value in values]


@string_command(
    "LCS",
    arity=-3,
    flags=READONLY,
    keys_at=(1, 2, 1),
    key_specs=key_spec("RO", "access", last=1),
    since="7.0.0",
    acl=READ_SLOW,
    syntax="key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
    summary="Returns the longest common subsequence of two strings, its length, or where its parts stand in them.",
    complexity="O(N*M) bit operations for strings of N and M bytes",
)
def lcs(tx: Tx, argv: list[bytes]) -> bytes:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]"""
    first, second = _strings(tx, argv)
    idx, only_length, with_length, shortest = _options(argv)
    if (len(first) + 1) * (len(second) + 1) * _CELL_BYTES > tx.max_bulk_bytes:
        raise CommandError(LCS_TOO_LARGE)
    length, runs = _runs(first, second)
    if only_length:
        return integer(length)
    if not idx:
        return bulk(b"".join([first[a : a + n] for a, _, n in reversed(runs)]))
    shown = []
    for a, b, n in runs:
        if n >= shortest:
            ranges = [array([integer(start), integer(start + n - 1)]) for start in (a, b)]
            shown.append(array(ranges + [integer(n)] if with_length else ranges))
    return map_head(2, tx.resp3) + bulk(b"matches") + array(shown) + bulk(b"len") + integer(length)
