"""Requests: RESP arrays and inline commands, as a strict state machine without sockets.

Whole requests are parsed by hiredis on the hot path (``server.connection``).  This
parser takes what hiredis cannot judge: a request that is not whole yet, inline
commands, clients that must not send much, and everything that is wrong, where it
gives stock's words for it.

====================  ==================================================================
state                 what comes next
====================  ==================================================================
between requests      ``*<count>CRLF`` begins an array, anything else an inline line
in an array           ``$<length>CRLF``, until ``count`` arguments are there
in an argument        ``length`` bytes and two more, which stock does not look at either
broken                nothing: the connection is answered and closed
====================  ==================================================================

Bounds: no more than 64 KiB wait for the end of a header or an inline line, an
argument has ``max_bulk`` bytes, and all that is held for one request ``max_held``
bytes, 64 of them counted for each argument.  Before authentication: 10 arguments
of 16 KiB.

Where it is not stock: an inline line may hold a zero byte, which ends it for the
splitting into words, if it is not quoted; stock waits for the line's end for ever.

It must not know: commands, clients, sockets.
"""

from __future__ import annotations

from perdure.wal.words import split_words

MAX_LINE_BYTES = 64 * 1024
MAX_ARGUMENTS = (1 << 31) - 1
UNAUTHENTICATED_ARGUMENTS = 10
UNAUTHENTICATED_BULK_BYTES = 16384
_ARGUMENT_COST = 64
_ARRAY = 0x2A  # '*'


class ProtocolError(Exception):
    """The client broke the protocol; ``text`` is what follows ``Protocol error: ``."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class QueryTooBig(Exception):
    """One request holds more than ``max_held`` bytes; stock closes such a client without a word."""


class RequestParser:
    """One client's requests; bytes go in with ``feed``, commands come out of ``next``."""

    __slots__ = (
        "_argv",
        "_body",
        "_buffer",
        "_held",
        "_left",
        "_need",
        "_position",
        "authenticated",
        "max_bulk",
        "max_held",
    )

    def __init__(self, *, authenticated: bool, max_bulk: int, max_held: int) -> None:
        self.authenticated = authenticated
        self.max_bulk = max_bulk
        self.max_held = max_held
        self._buffer = b""
        self._position = 0
        self._argv: list[bytes] = []
        self._left = 0  # arguments still to come
        self._need = -1  # bytes of the argument's body with its two trailing bytes, -1: its header comes next
        self._body: list[bytes] = []  # pieces of a large body
        self._held = 0

    def feed(self, data: bytes) -> None:
        """Take what was received.  QueryTooBig if that is too much for one request."""
        self._held += len(data)
        if self._held > self.max_held:
            raise QueryTooBig
        if self._need >= 0 and self._position == len(self._buffer):
            # Inside a body with nothing left over: keep pieces, join once.
            have = sum(map(len, self._body))
            missing = self._need - have
            if len(data) < missing:
                self._body.append(data)
                return
            self._body.append(data[:missing])
            body = b"".join(self._body)
            self._body.clear()
            self._take_body(body[:-2])
            self._buffer, self._position = data, missing
            return
        self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
        self._position = 0

    @property
    def held_bytes(self) -> int:
        """How much is held for the request that is not whole yet."""
        return self._held

    @property
    def idle(self) -> bool:
        """Between requests with nothing left over?"""
        return self._left == 0 and not self._argv and self._position == len(self._buffer)

    @property
    def before_array(self) -> bool:
        """Between requests, and an array follows?"""
        return (
            self._left == 0
            and not self._argv
            and self._position < len(self._buffer)
            and self._buffer[self._position] == _ARRAY
        )

    def rest(self) -> bytes:
        """Take what is left over, between requests."""
        data = self._buffer[self._position :]
        self._buffer, self._position, self._held = b"", 0, 0
        return data

    def next(self) -> list[bytes] | None:
        """The next request, ``[]`` for an empty one (ignored by all), None if it is not whole yet."""
        if self._left == 0 and not self._argv:
            if self._position >= len(self._buffer):
                return None
            if self._buffer[self._position] != _ARRAY:
                return self._inline()
            line = self._header(b"too big mbulk count string")
            if line is None:
                return None
            count = _strict_int(line[1:])
            if count is None or count > MAX_ARGUMENTS:
                raise ProtocolError(b"invalid multibulk length")
            if count > UNAUTHENTICATED_ARGUMENTS and not self.authenticated:
                raise ProtocolError(b"unauthenticated multibulk length")
            if count <= 0:
                self._finish()
                return []
            self._left = count
        return self._arguments()

    def _arguments(self) -> list[bytes] | None:
        while self._left:
            if self._need < 0:
                line = self._header(b"too big bulk count string")
                if line is None:
                    return None
                self._check_bulk(line)
            end = self._position + self._need
            if end > len(self._buffer):
                if self._position < len(self._buffer):
                    self._body.append(self._buffer[self._position :])
                    self._position = len(self._buffer)
                return None
            self._take_body(self._buffer[self._position : end - 2])
            self._position = end
        argv, self._argv = self._argv, []
        self._finish()
        return argv

    def _check_bulk(self, line: bytes) -> None:
        if line[:1] != b"$":
            raise ProtocolError(b"expected '$', got '%c'" % (line[0] if line else 0x0D))
        length = _strict_int(line[1:])
        if length is None or not 0 <= length <= self.max_bulk:
            raise ProtocolError(b"invalid bulk length")
        if length > UNAUTHENTICATED_BULK_BYTES and not self.authenticated:
            raise ProtocolError(b"unauthenticated bulk length")
        self._held += _ARGUMENT_COST
        if self._held > self.max_held:
            raise QueryTooBig
        self._need = length + 2

    def _take_body(self, body: bytes) -> None:
        self._argv.append(body)
        self._left -= 1
        self._need = -1

    def _finish(self) -> None:
        self._held = len(self._buffer) - self._position

    def _header(self, too_big: bytes) -> bytes | None:
        """A line up to its CRLF, which is consumed; stock looks for CR and takes the next byte for LF."""
        end = self._buffer.find(b"\r", self._position)
        if end < 0:
            if len(self._buffer) - self._position > MAX_LINE_BYTES:
                raise ProtocolError(too_big)
            return None
        if end + 2 > len(self._buffer):
            return None
        line = self._buffer[self._position : end]
        self._position = end + 2
        return line

    def _inline(self) -> list[bytes] | None:
        end = self._buffer.find(b"\n", self._position)
        if end < 0:
            if len(self._buffer) - self._position > MAX_LINE_BYTES:
                raise ProtocolError(b"too big inline request")
            return None
        line = self._buffer[self._position : end]
        self._position = end + 1
        argv = split_words(line[:-1] if line.endswith(b"\r") else line)
        if argv is None:
            raise ProtocolError(b"unbalanced quotes in request")
        self._finish()
        return argv


def _strict_int(text: bytes) -> int | None:
    """A 64-bit integer as stock reads it in headers: no plus, no leading zeros, no spaces."""
    if not text or len(text) > 20:
        return None
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or (digits[0] == 0x30 and len(text) > 1):
        return None
    n = int(text)
    return n if -(1 << 63) <= n < 1 << 63 else None
