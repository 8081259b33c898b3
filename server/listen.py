"""Listening sockets: TCP addresses as ``bind`` names them, and a unix socket.

An address with a leading ``-`` may be missing; ``*`` and ``::*`` are every
address.  Port 0 means no TCP at all.

It must not know: connections, configuration files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence

_NOT_AVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT)


class ListenFailed(Exception):
    """An address could not be listened on; the text says which and why."""


def tcp_sockets(addresses: Sequence[str], port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets for ``bind``'s addresses; [] for port 0, and for no address (``bind ""``)."""
    if port == 0 or not addresses:
        return []
    sockets: list[socket.socket] = []
    try:
        for word in addresses:
            optional = word.startswith("-")
            address = word.removeprefix("-")
            host = {"*": "0.0.0.0", "::*": "::"}.get(address, address)
            try:
                sockets.append(_listen(host, port, backlog))
            except OSError as error:
                if not (optional and error.errno in _NOT_AVAILABLE):
                    reason = (error.strerror or str(error)).lower()
                    raise ListenFailed(
                        f"Could not create server TCP listening socket {address}:{port}: bind: {reason}"
                    ) from None
    except ListenFailed:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise ListenFailed(f"None of the addresses of bind is available on this machine: {' '.join(addresses)}")
    return sockets


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def unix_socket(path: str, permissions: int, backlog: int) -> socket.socket:
    """A listening unix socket at ``path``; a socket that nobody answers on any more is replaced."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise ListenFailed(f"unixsocket {path}: there is a file of that name that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                os.unlink(path)
            else:
                raise ListenFailed(f"unixsocket {path}: address already in use by a running server")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        if permissions:
            os.chmod(path, permissions)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"unixsocket {path}: {error.strerror}") from None
    return sock
