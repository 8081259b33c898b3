"""RESP: commands as records of the log, and replies that are ready to send.

A reply is bytes, so that an array's reply is its header and its members' replies
one behind the other.  What differs between RESP2 and RESP3 takes ``resp3``.

``encode`` is strict: an argument that is not bytes is a TypeError, which is how
a nested or typed argument of a hostile client is stopped before it can be logged
(LOG-FIRST makes that before anything changes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
CRLF = b"\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
EMPTY_ARRAY = b"*0\r\n"
NULL_2 = b"$-1\r\n"
NULL_ARRAY_2 = b"*-1\r\n"
NULL_3 = b"_\r\n"

_CACHED = 1024
BULK_HEADS = [b"$%d\r\n" % n for n in range(_CACHED)]
_INTEGERS = [b":%d\r\n" % n for n in range(_CACHED)]
_COUNTS = [b"*%d\r\n" % n for n in range(_CACHED)]
_join = b"".join


def encode(argv: Sequence[bytes]) -> bytes:
    """A command as a record of the log: an array of bulk strings."""
    heads = BULK_HEADS
    try:
        n = len(argv)
        if n == 3:
            a, b, c = argv
            return _join((b"*3\r\n", heads[len(a)], a, CRLF, heads[len(b)], b, CRLF, heads[len(c)], c, CRLF))
        if n == 2:
            a, b = argv
            return _join((b"*2\r\n", heads[len(a)], a, CRLF, heads[len(b)], b, CRLF))
        if n == 4:
            a, b, c, d = argv
            return _join((b"*4\r\n", heads[len(a)], a, CRLF, heads[len(b)], b, CRLF,
                          heads[len(c)], c, CRLF, heads[len(d)], d, CRLF))  # fmt: skip
    except IndexError:
        pass
    parts = [b"*%d\r\n" % len(argv)]
    for arg in argv:
        n = len(arg)
        parts += (heads[n] if n < _CACHED else b"$%d\r\n" % n, arg, CRLF)
    return _join(parts)


def require_bytes(argv: Iterable[bytes]) -> None:
    """TypeError unless every argument is bytes.

    A client can send arguments of other types (``:5``, ``$-1``, ``*1``); the fast
    parser passes them on, and the strict one says what is wrong with them as soon as
    anyone stumbles over them.  ``encode`` does, and so does looking for a key that is
    not there; what does neither calls this.
    """
    _join(argv)


def bulk(value: bytes | bytearray) -> bytes:
    """A bulk string."""
    try:
        return _join((BULK_HEADS[len(value)], value, CRLF))
    except IndexError:
        return _join((b"$%d\r\n" % len(value), value, CRLF))


def integer(n: int) -> bytes:
    """An integer."""
    if 0 <= n < _CACHED:
        return _INTEGERS[n]
    return b":%d\r\n" % n


def simple(text: bytes) -> bytes:
    """A simple string; ``text`` has no line end."""
    return b"+%b\r\n" % text


def error(text: bytes) -> bytes:
    """An error; ``text`` begins with its code.  Line ends in it are blanked, as stock does."""
    if b"\r" in text or b"\n" in text:
        text = text.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"-%b\r\n" % text


def array_head(n: int) -> bytes:
    """The header of an array of ``n`` members."""
    if n < _CACHED:
        return _COUNTS[n]
    return b"*%d\r\n" % n


def array(members: Sequence[bytes]) -> bytes:
    """An array of replies."""
    return array_head(len(members)) + _join(members)


def bulk_array(values: Iterable[bytes]) -> bytes:
    """An array of bulk strings."""
    return array([bulk(value) for value in values])


def bulks(head: bytes, values: Iterable[bytes]) -> bytes:
    """A header and bulk strings behind it, as fast as there is."""
    values = list(values)
    heads = BULK_HEADS
    parts = [head]
    try:
        for value in values:
            parts += (heads[len(value)], value, CRLF)
    except IndexError:
        return head + _join([bulk(value) for value in values])
    return _join(parts)


def map_head(pairs: int, resp3: bool) -> bytes:
    """The header of a map of ``pairs`` keys and values: a flat array in RESP2."""
    return b"%%%d\r\n" % pairs if resp3 else b"*%d\r\n" % (2 * pairs)


def set_head(n: int, resp3: bool) -> bytes:
    """The header of a set: an array in RESP2."""
    return b"~%d\r\n" % n if resp3 else b"*%d\r\n" % n


def push_head(n: int, resp3: bool) -> bytes:
    """The header of an out-of-band message: an array in RESP2."""
    return b">%d\r\n" % n if resp3 else b"*%d\r\n" % n


def boolean(value: bool, resp3: bool) -> bytes:
    """A boolean: 1 or 0 in RESP2."""
    if resp3:
        return b"#t\r\n" if value else b"#f\r\n"
    return ONE if value else ZERO


def double(text: bytes, resp3: bool) -> bytes:
    """A double, already printed (see ``numbers``): a bulk string in RESP2."""
    return b",%b\r\n" % text if resp3 else bulk(text)


def verbatim(text: bytes, resp3: bool) -> bytes:
    """Text for people (INFO ...): a bulk string in RESP2."""
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if resp3 else bulk(text)
