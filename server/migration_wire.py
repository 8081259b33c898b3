"""Connections to the servers that keys are moved to, and how bytes go over them.

A ``Link`` is one connection.  It speaks through a wire, which is where it differs whether the
loop goes on meanwhile:

LoopWire       suspends the coroutine that waits: everybody else is served
BlockingWire   never suspends, so that a coroutine runs through in one go (inside MULTI and scripts)

Each step has the same time: one connect, one write of 64 KiB, one read.  What is wrong is
an OSError, TimeoutError (which is one) if the time was over.

``Pool`` keeps connections for ten seconds behind their last use, as stock does; one that is in
use is nobody else's.

It must not know: keys, clients, what is said.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

Place = tuple[bytes, int]
"""Host and port, as the client gave them."""

CHUNK_BYTES = 64 << 10
NO_DB = -1
"""As in stock, where MIGRATE to database -1 over a new connection selects none, therefore."""
_MOST_LINE = 64 << 10
_KEPT_S = 10.0
_MOST_KEPT = 64


class Wire(Protocol):
    """See above; sockets are as ``prepare`` made them."""

    def prepare(self, sock: socket.socket) -> None: ...
    async def connect(self, place: Place) -> socket.socket: ...
    async def send(self, sock: socket.socket, data: memoryview) -> None: ...
    async def receive(self, sock: socket.socket) -> bytes: ...
    async def breathe(self) -> None: ...


class LoopWire:
    """A wire that waits on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._loop = loop
        self._timeout_s = timeout_s

    def prepare(self, sock: socket.socket) -> None:
        """Make a socket one that never waits by itself."""
        sock.setblocking(False)

    async def connect(self, place: Place) -> socket.socket:
        """A connected socket."""
        async with asyncio.timeout(self._timeout_s):
            found = await self._loop.getaddrinfo(_host_name(place), _port(place), type=socket.SOCK_STREAM)
            failure: OSError = ConnectionRefusedError()
            for family, kind, protocol, _, address in found:
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.setblocking(False)
                    await self._loop.sock_connect(sock, address)
                except OSError as error:
                    sock.close()
                    failure = error
                except BaseException:
                    sock.close()
                    raise
                else:
                    return sock
            raise failure

    async def send(self, sock: socket.socket, data: memoryview) -> None:
        """All of ``data``."""
        for at in range(0, len(data), CHUNK_BYTES):
            async with asyncio.timeout(self._timeout_s):
                await self._loop.sock_sendall(sock, data[at : at + CHUNK_BYTES])
            await self.breathe()

    async def receive(self, sock: socket.socket) -> bytes:
        """What comes next; b"" at the end."""
        async with asyncio.timeout(self._timeout_s):
            return await self._loop.sock_recv(sock, CHUNK_BYTES)

    async def breathe(self) -> None:
        """Let others have their turn."""
        await asyncio.sleep(0)


class BlockingWire:
    """A wire that holds the whole process while it waits."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def prepare(self, sock: socket.socket) -> None:
        """Make a socket one that waits for its time."""
        sock.settimeout(self._timeout_s)

    async def connect(self, place: Place) -> socket.socket:
        """A connected socket."""
        return socket.create_connection((_host_name(place), _port(place)), self._timeout_s)

    async def send(self, sock: socket.socket, data: memoryview) -> None:
        """All of ``data``."""
        for at in range(0, len(data), CHUNK_BYTES):
            sock.sendall(data[at : at + CHUNK_BYTES])

    async def receive(self, sock: socket.socket) -> bytes:
        """What comes next; b"" at the end."""
        return sock.recv(CHUNK_BYTES)

    async def breathe(self) -> None:
        """There is nobody else."""


def _host_name(place: Place) -> str:
    """The host for the resolver; OSError if it cannot be one, or if the port is none."""
    try:
        name = place[0].decode("ascii")
    except UnicodeDecodeError:
        raise OSError("no host's name") from None
    if not name or "\0" in name or not 0 <= place[1] < 1 << 31:
        raise OSError("no host's name, or no port")
    return name


def _port(place: Place) -> int:
    """What the resolver that stock asks makes of a number that is too large."""
    return place[1] & 0xFFFF


class Link:
    """One connection to a server; ``db`` is the database that is selected there, ``NO_DB`` if that is not known."""

    __slots__ = ("_at", "_got", "_incoming", "_outgoing", "_sock", "_tls", "broken", "db", "place", "wire")

    def __init__(self, place: Place, sock: socket.socket, wire: Wire) -> None:
        self.place = place
        self.db = NO_DB
        self.broken = False
        """Did it break in the middle, so that it is of no use any more?"""
        self.wire = wire
        self._sock = sock
        self._got = bytearray()
        self._at = 0
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def close(self) -> None:
        """Give the connection up."""
        self._sock.close()

    def use(self, wire: Wire) -> None:
        """Go over this wire from now on."""
        self.wire = wire
        wire.prepare(self._sock)

    async def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._take(await self.wire.receive(self._sock))
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self.wire.send(self._sock, memoryview(data))

    async def write(self, data: bytes) -> None:
        """Send all of ``data``; take what has come meanwhile, so that the other side never waits to be read."""
        if self._tls is None:
            await self.wire.send(self._sock, memoryview(data))
        else:
            for at in range(0, len(data), CHUNK_BYTES):
                self._tls.write(data[at : at + CHUNK_BYTES])
                await self._flush()
        self._sock.setblocking(False)
        with suppress(OSError):  # that it is broken is seen when the answers are read
            self._take(self._sock.recv(CHUNK_BYTES))
        self.wire.prepare(self._sock)

    async def line(self) -> bytes:
        """A line that the other side says, without its end."""
        got = self._got
        while (end := got.find(b"\n", self._at)) < 0:
            if len(got) - self._at > _MOST_LINE:
                raise ConnectionError("a line without end")
            del got[: self._at]
            self._at = 0
            self._take(await self.wire.receive(self._sock))
        line = bytes(got[self._at : end])
        if end == self._at:
            raise ConnectionError("an empty line")
        self._at = end + 1
        return line.removesuffix(b"\r")

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionError("the other side closed the connection")
        if self._tls is None:
            self._got += data
            return
        self._incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            while plain := self._tls.read(CHUNK_BYTES):
                self._got += plain


class Pool:
    """Connections that nobody uses at the moment."""

    def __init__(self, call_later: Callable[[float, Callable[[], object]], Any]) -> None:
        self._call_later = call_later
        self._idle: dict[Place, Link] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, place: Place, wire: Wire) -> Link | None:
        """A connection to this place, if there is one: the caller's from now on."""
        link = self._idle.pop(place, None)
        if link is not None:
            link.use(wire)
        return link

    def put(self, link: Link) -> None:
        """Keep a connection for who comes next."""
        old = self._idle.pop(link.place, None)
        if old is not None:
            old.close()
        elif len(self._idle) >= _MOST_KEPT:
            self._idle.pop(next(iter(self._idle))).close()
        self._idle[link.place] = link
        stamp = link.wire  # each use has one of its own

        def over() -> None:
            if self._idle.get(link.place) is link and link.wire is stamp:
                del self._idle[link.place]
                link.close()

        self._call_later(_KEPT_S, over)

    def close(self) -> None:
        """Give all up."""
        while self._idle:
            self._idle.popitem()[1].close()
