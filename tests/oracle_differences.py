"""Where our replies may differ from stock's, and why.  One list; everything else is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oracle_harness import tree


@dataclass(frozen=True)
class Difference:
    """One allowed difference: for which command lines and replies, and the reason."""

    reason: str
    holds: Callable[[list[bytes], bytes, bytes], bool]


def _int_for_embstr(argv: list[bytes], theirs: bytes, ours: bytes) -> bool:
    question = [arg.upper() for arg in argv[:2]]
    if question == [b"OBJECT", b"ENCODING"]:
        return theirs == b"$6\r\nembstr\r\n" and ours == b"$3\r\nint\r\n"
    return question == [b"OBJECT", b"REFCOUNT"] and theirs == b":1\r\n" and ours == b":2147483647\r\n"


def of_later_version(argv: list[bytes]) -> bool:
    """Has a command line an argument that only later versions than 7.0 take?"""
    return argv[0].upper() in NEWER_ARITY and len(argv) > 3


def _with_score(argv: list[bytes], theirs: bytes, ours: bytes) -> bool:
    return of_later_version(argv) and b"wrong number of arguments" in theirs


def _equally_far(argv: list[bytes], theirs: bytes, ours: bytes) -> bool:
    if not argv[0].upper().startswith((b"GEOSEARCH", b"GEORADIUS")) or theirs[:1] + ours[:1] != b"**":
        return False
    its, mine = (
        [[part[1] for part in found[1][:2]] for found in tree(raw)[1] if found[0] == b"*"] for raw in (theirs, ours)
    )
    far = [distance for _, distance in its]
    if not far or far != [distance for _, distance in mine]:
        return False
    return all(a == b for a, b in zip(its, mine, strict=True) if far.count(a[1]) == 1 and a[1] != far[-1])


NEWER_ARITY = {b"ZRANK": -3, b"ZREVRANK": -3}
"""Commands that take more arguments in a later version than 7.0, as they do here."""

ALLOWED = [
    Difference(
        "A whole number that INCRBYFLOAT left: stock says embstr, and not shared, until its next restart, and int from "
        "then on. We have no state beside the value that could say which, and say int at once.",
        _int_for_embstr,
    ),
    Difference(
        "COUNT where several places are equally far away: which of them come in, and in which order, hangs on how "
        "stock picks the nearest without sorting all. We sort, and log what was stored as its result then.",
        _equally_far,
    ),
    Difference("ZRANK and ZREVRANK take WITHSCORE, which is of 7.2.", _with_score),
]


def allowed(argv: list[bytes], theirs: bytes, ours: bytes) -> bool:
    """Is the difference between these two raw replies to ``argv`` on the list?"""
    return any(difference.holds(argv, theirs, ours) for difference in ALLOWED)


ARGUMENTS_TAKEN = {b"=5\r\ntxt:a\r\n": b"a", b"(5\r\n": b"5"}
"""RESP3 verbatim strings and big numbers where an argument should stand, and what we take them for.

Stock breaks the connection off.  The fast parser does not tell them from bulk strings,
no client sends them, and to look for them in every chunk costs every client.
"""

NEWER_COMMANDS = {
    b"HEXPIRE", b"HPEXPIRE", b"HEXPIREAT", b"HPEXPIREAT", b"HTTL", b"HPTTL", b"HEXPIRETIME", b"HPEXPIRETIME",
    b"HPERSIST", b"WAITAOF",
}  # fmt: skip
"""Commands of versions after 7.0, which the stock beside us does not know.

Those that give hash fields deadlines are of 7.4, and they alone reach the log: a log with
an HPEXPIREAT or HPERSIST in it opens in stock from 7.4 on, and stock 7.0 refuses it.  To
leave the deadlines out of the log would lose them at every restart; to hide them in its
annotations, where 7.0 does not look, would lose them in 7.4.
"""
