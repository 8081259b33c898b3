"""The listening sockets of a running server, and how they change while it runs.

Sockets are bound and listen at once, so that what cannot be had is known at once; that
connections are taken from them follows in the loop, and until then the kernel keeps
them.  ``port``, ``tls-port`` and ``bind`` are followed by ``rebind``: the sockets that are no more
wanted are closed, the new ones opened, and if one cannot be had all is as before.

Another TLS context (``reload_tls``) needs other listeners: asyncio's keep theirs.  They are
made on duplicates of the same sockets, so that no connection is refused meanwhile.

It must not know: what a connection does with what comes, how options are written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure.server import accepting, listen
from perdure.server.config import Config, ConfigError
from perdure.server.logfile import Log
from perdure.server.tls import TlsError, lacks_ciphersuites, server_context

if TYPE_CHECKING:
    from perdure.server.native import Poller
    from perdure.server.server import Server

CANNOT_LISTEN = "Unable to listen on this port. Check server logs."
CANNOT_BIND = "Failed to bind to specified addresses."
CANNOT_TLS = "Unable to update TLS configuration. Check server logs."

_PORTS = ("port", "tls-port")
"""The groups of sockets, by the option that gives their port; the unix socket has one of its own."""
_UNIX = "unixsocket"

Place = tuple[tuple[str, ...], int]
"""Addresses as ``bind`` has them, and a port."""


@dataclass(slots=True)
class _Listener:
    sock: socket.socket
    serving: accepting.Listening | None = None
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        if self.serving is not None:
            self.serving.close()
        with contextlib.suppress(OSError):
            self.sock.close()


@dataclass(slots=True)
class _Group:
    place: Place = ((), 0)
    listeners: list[_Listener] = field(default_factory=list)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.listeners = []


class Listeners:
    """All of them.  ``open``, then ``serve`` in the loop."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._groups = {name: _Group() for name in (*_PORTS, _UNIX)}
        self._context: ssl.SSLContext | None = None
        self._server: Server | None = None
        self._poller: Poller | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sockets(self) -> list[socket.socket]:
        """Those that listen now."""
        return [listener.sock for group in self._groups.values() for listener in group.listeners]

    def is_tls(self, sock: socket.socket) -> bool:
        """Is TLS spoken on this one?"""
        return any(listener.sock is sock for listener in self._groups["tls-port"].listeners)

    def open(self) -> None:
        """Bind everything that the configuration asks for.  ListenFailed, and nothing is bound."""
        config = self._config
        if config["tls-port"]:
            try:
                self._context = self._new_context()
            except TlsError as error:
                raise listen.ListenFailed(f"Failed to configure TLS: {error.text}") from None
        try:
            for name in _PORTS:
                self._open(name, self._wanted(name))
            path = config.path("unixsocket")
            if path:
                sock = listen.unix_socket(path, config["unixsocketperm"], config["tcp-backlog"])
                self._groups[_UNIX].listeners.append(_Listener(sock))
            if not self.sockets:
                raise listen.ListenFailed("Configured to not listen anywhere: give a port or a unixsocket")
        except listen.ListenFailed:
            self.close()
            raise

    def _wanted(self, name: str) -> Place:
        return tuple(self._config["bind"]), self._config[name]

    def _open(self, name: str, place: Place) -> None:
        sockets = listen.tcp_sockets(*place, self._config["tcp-backlog"])
        self._groups[name] = _Group(place, [_Listener(sock) for sock in sockets])

    async def serve(self, server: Server, poller: Poller | None) -> None:
        """Take a server's connections from now on."""
        self._server, self._poller = server, poller
        for name, group in self._groups.items():
            for listener in group.listeners:
                await self._serve(name, listener)

    async def _serve(self, name: str, listener: _Listener) -> None:
        assert self._server is not None
        if listener.closed:
            return
        context = self._context if name == "tls-port" else None
        serving = await accepting.listen(self._server, self._poller, listener.sock, context)
        listener.serving = serving
        if listener.closed:
            serving.close()

    def _serve_soon(self, name: str) -> None:
        """Take connections from a group's new sockets; before ``serve``, that will do it."""
        if self._server is None:
            return
        for listener in self._groups[name].listeners:
            task = asyncio.ensure_future(self._serve(name, listener))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # ---- while the server runs -------------------------------------------------------------

    def port_changed(self, value: object) -> None:
        """CONFIG SET port.  ConfigError, and all is as before."""
        self._rebind(CANNOT_LISTEN)

    def tls_port_changed(self, value: object) -> None:
        """CONFIG SET tls-port.  ConfigError, and all is as before."""
        if self._config["tls-port"] and self._context is None:
            self._make_context()
        self._rebind(CANNOT_LISTEN)

    def bind_changed(self, value: object) -> None:
        """CONFIG SET bind.  ConfigError, and all is as before."""
        self._rebind(CANNOT_BIND)

    def _rebind(self, refusal: str) -> None:
        changed = [name for name in _PORTS if self._differs(name)]
        before = {name: self._groups[name].place for name in changed}
        try:
            self._replace({name: self._wanted(name) for name in changed})
        except listen.ListenFailed as error:
            self._log.warning(str(error))
            try:
                self._replace(before)
            except listen.ListenFailed as again:
                self._log.warning(f"And the address from before cannot be had again: {again}")
            raise ConfigError(refusal) from None

    def _differs(self, name: str) -> bool:
        wanted, has = self._wanted(name), self._groups[name].place
        return wanted != has and (wanted[1] or has[1]) != 0

    def _replace(self, places: dict[str, Place]) -> None:
        """Close groups, since the new addresses may take in the old ones, and open them elsewhere."""
        for name in places:
            self._groups[name].close()
            self._groups[name].place = ((), 0)
        for name, place in places.items():
            self._open(name, place)
            self._serve_soon(name)

    def tls_changed(self, value: object) -> None:
        """CONFIG SET of an option of TLS, certificates that were read again included.  ConfigError refuses."""
        if not self._config["tls-port"]:
            self._context = None
            return
        self._make_context()
        group = self._groups["tls-port"]
        fresh = [_Listener(listener.sock.dup()) for listener in group.listeners if not listener.closed]
        group.close()
        group.listeners = fresh
        self._serve_soon("tls-port")

    def _make_context(self) -> None:
        try:
            self._context = self._new_context()
        except TlsError as error:
            self._log.warning(error.text)
            raise ConfigError(CANNOT_TLS) from None

    def _new_context(self) -> ssl.SSLContext:
        context = server_context(self._config)
        if self._config["tls-ciphersuites"] and lacks_ciphersuites():
            self._log.warning(
                "'tls-ciphersuites' is set, but before version 3.15 Python lets nobody choose those of TLS 1.3"
            )
        return context

    def close(self) -> None:
        """No new connections; those that are there stay."""
        for group in self._groups.values():
            group.close()
