"""Servers that MIGRATE talks to and that are not as they should be: they hang, close, or say what a script says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import hiredis

END = None
"""In a script: close the connection."""
Script = list[bytes | None]


class FakeTarget:
    """Listens on a port of its own; the n-th connection answers its commands by the n-th script, then is silent."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.heard: list[list[bytes]] = []
        """The command lines that came, of all connections; a RESTORE without its payload."""
        self.connections = 0
        self.go_on = threading.Event()
        """Set: answers go.  A test that clears it has the server wait."""
        self.go_on.set()
        self.came = threading.Event()
        """Has a RESTORE come?"""
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FakeTarget:
        return self

    def __exit__(self, *exc: object) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in [self._listener, *self._socks]:
            sock.close()

    def _accept(self) -> None:
        for script in self.scripts:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            threading.Thread(target=self._guarded, args=(self._serve, sock, script), daemon=True).start()

    @staticmethod
    def _guarded(work: Callable[..., None], *args: object) -> None:
        try:
            work(*args)
        except OSError:
            return

    def _serve(self, sock: socket.socket, script: Script) -> None:
        reader = hiredis.Reader(notEnoughData=None)
        answers = iter(script)
        while data := sock.recv(1 << 16):
            reader.feed(data)
            while argv := reader.gets():
                self.heard.append(argv[:3] + argv[4:] if argv[0].startswith(b"RESTORE") else argv)
                if argv[0].startswith(b"RESTORE"):
                    self.came.set()
                    self.go_on.wait()
                answer = next(answers, b"")
                if answer is END:
                    sock.close()
                    return
                sock.sendall(answer)
