"""Dialogs with a server: what one client sends at once, and steps of several clients that take turns."""

from __future__ import annotations

import contextlib
import re
import socket

from oracle_harness import read_frame
from server_harness import ServerProcess

_ID = re.compile(rb"(\$2\r\nid\r\n):\d+")
CLOSED = b"(closed)"


def say(server: ServerProcess, data: bytes) -> bytes:
    """Send everything at once; what comes back until the server closes, which our end of sending makes it do."""
    out = b""
    with server.connect() as sock:
        with contextlib.suppress(OSError):  # it may have closed already, and said why
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(1 << 16):
                out += part
    return _ID.sub(rb"\1:ID", out)


def lines(*words: str) -> bytes:
    return "".join(word + "\r\n" for word in words).encode()


def play(server: ServerProcess, steps: list[tuple[int, str]]) -> list[bytes]:
    """Clients take turns: (client, inline command); each waits for one reply, which is returned.

    ``CLOSED`` stands for the reply of a connection that the server has closed.
    """
    with contextlib.ExitStack() as stack:
        talks: dict[int, tuple[socket.socket, object]] = {}
        replies = []
        for who, line in steps:
            if who not in talks:
                sock = stack.enter_context(server.connect())
                talks[who] = (sock, stack.enter_context(sock.makefile("rb")))
            sock, stream = talks[who]
            try:
                sock.sendall(line.encode() + b"\r\n")
                replies.append(_ID.sub(rb"\1:ID", read_frame(stream)))
            except (EOFError, ConnectionError):
                replies.append(CLOSED)
        return replies


def turns(text: str) -> list[tuple[int, str]]:
    """Steps for ``play``, written ``1 WATCH a; 2 SET a 1``."""
    return [(int(step[0]), step[2:]) for step in text.split("; ")]
