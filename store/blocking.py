"""What blocking commands (BLPOP, BZPOPMIN, XREAD BLOCK ...) share: their timeouts, and the way they wait.

A blocking command tries first.  If it finds nothing it ends with
``return tx.block(keys, deadline_ms, retry, empty, wants)``.  Where nobody can wait
(MULTI, a script) that answers ``empty`` at once.  Else the client waits, first come
first served, until a record of the log touches one of the keys: then ``retry(tx, key)``
runs in the client's name (its database, its protocol); it returns the reply, logs
and changes as any command does, or returns None to wait on.  CommandError ends the
waiting with that error.  When the deadline passes the answer is ``empty``.

``wants`` is the class of value (``List``) that any such command can take from: the
key is only asked for while it holds one, so that of ten thousand who wait for one
element one is asked.  None: whenever the key is touched, also when it is gone.

It must not know: clients, connections, the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.store.errors import (
    TIMEOUT_NEGATIVE,
    TIMEOUT_NOT_A_FLOAT,
    TIMEOUT_NOT_AN_INTEGER,
    CommandError,
)
from perdure.store.numbers import INT64_MAX, parse_integer, read_long_double

if TYPE_CHECKING:
    from perdure.store.tx import Tx

Retry = Callable[["Tx", bytes], "bytes | None"]

FOR_EVER = 0


def deadline_of_seconds(tx: Tx, text: bytes) -> int:
    """The unix ms at which a timeout in seconds, perhaps with a fraction, passes; ``FOR_EVER`` for 0.

    Stock counts in long doubles and rounds up to whole ms; what does not go into 64 bits
    is the most negative number there is to it, infinity too.
    """
    value = read_long_double(text)
    if value is None:
        raise CommandError(TIMEOUT_NOT_A_FLOAT)
    m, e = value
    if e > 64:  # 2**64 s at least, or infinite
        raise CommandError(TIMEOUT_NEGATIVE)
    m *= 1000
    span_ms = m << e if e >= 0 else -(-m >> -e)
    if span_ms > INT64_MAX:
        raise CommandError(TIMEOUT_NEGATIVE)
    return _deadline(tx, span_ms)


def deadline_of_milliseconds(tx: Tx, text: bytes) -> int:
    """The same of a timeout in whole milliseconds (XREAD BLOCK); a moment beyond 64 bits never comes."""
    span_ms = parse_integer(text, TIMEOUT_NOT_AN_INTEGER)
    return FOR_EVER if span_ms > INT64_MAX - tx.clock_ms else _deadline(tx, span_ms)


def _deadline(tx: Tx, span_ms: int) -> int:
    if span_ms < 0:
        raise CommandError(TIMEOUT_NEGATIVE)
    return span_ms + tx.clock_ms if span_ms else FOR_EVER
