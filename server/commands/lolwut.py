"""LOLWUT: a picture, new each time, and the version.

The picture is the history of a row of cells, each of which lives on by a rule that
looks at it and its two neighbours.  VERSION chooses the rule, two numbers behind it the
picture's columns and rows.
"""

from __future__ import annotations

from perdure.server.tx import ServerTx
from perdure.server.version import PERDURE_VERSION, REDIS_VERSION
from perdure.store.command import FAST, READONLY, command
from perdure.store.numbers import parse_integer
from perdure.store.resp import verbatim

_RULES = (30, 90, 110, 45, 73, 150, 105, 22)
_COLUMNS, _ROWS = 66, 20
_MOST_COLUMNS, _MOST_ROWS = 400, 200
_ALIVE, _DEAD = "\N{FULL BLOCK}", " "


def picture(rule: int, columns: int, rows: int, first: int) -> str:
    """The lines; bit n of ``first`` says whether cell n of the first row lives."""
    row = [bool(first >> at & 1) for at in range(columns)]
    lines = []
    for _ in range(rows):
        lines.append("".join(_ALIVE if alive else _DEAD for alive in row).rstrip())
        row = [
            bool(rule >> (row[at - 1] << 2 | row[at] << 1 | row[(at + 1) % columns]) & 1) for at in range(columns)
        ]  # fmt: skip
    return "\n".join(lines)


@command(
    "LOLWUT", arity=-1, flags=READONLY | FAST, group="server", since="5.0.0", acl=("read", "fast"),
    syntax="[VERSION version]", complexity="O(N) for N cells of the picture",
    summary="Draws a picture, and tells the version.",
)  # fmt: skip
def lolwut(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LOLWUT [VERSION version [columns [rows]]]"""
    rule, columns, rows = tx.rng.choice(_RULES), _COLUMNS, _ROWS
    if len(argv) > 2 and argv[1].upper() == b"VERSION":
        version, *size = map(parse_integer, argv[2:5])
        rule = _RULES[version % len(_RULES)]
        columns = size[0] if size else columns
        rows = size[1] if len(size) > 1 else rows
    columns, rows = min(max(columns, 1), _MOST_COLUMNS), min(max(rows, 1), _MOST_ROWS)
    drawn = picture(rule, columns, rows, tx.rng.getrandbits(columns))
    return verbatim(f"{drawn}\n\nperdure ver. {PERDURE_VERSION}, Redis ver. {REDIS_VERSION}\n".encode(), tx.resp3)
