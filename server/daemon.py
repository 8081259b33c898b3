"""The process among others: going into the background, the pid file, and the supervisor that started us.

What stock does, in stock's order:

1. ``supervised`` is found out (``find_supervisor``); under a supervisor
   ``daemonize yes`` has no effect.
2. ``daemonize``: fork, the parent exits 0, a session of its own, stdin, stdout
   and stderr on /dev/null.  It must come before threads and the event loop.
3. The pid file is written if in the background or if ``pidfile`` is set.
   Not being able to write it is a warning, not an error.
4. When connections are accepted the supervisor is told.

Neither the directory nor the umask is changed: paths are absolute
(``Config.path``).
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import MutableMapping
from typing import Final

#: Where a daemon's pid goes if ``pidfile`` is not set.
DEFAULT_PIDFILE: Final = "/var/run/perdure.pid"


def daemonize() -> None:
    """Return in a child that has no terminal; the calling process exits with status 0."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def write_pidfile(path: str) -> str:
    """Write our pid; returns "" or the reason why not."""
    try:
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        return f"Failed to write PID file: {path}: {error.strerror}"
    return ""


def remove_pidfile(path: str) -> None:
    """Remove the pid file if it still names us: another instance may have taken the name."""
    try:
        with open(path) as file:
            ours = file.read(32).strip() == str(os.getpid())
        if ours:
            os.unlink(path)
    except (OSError, ValueError):
        pass


class Supervisor:
    """Who watches over the process: ``kind`` is "no", "systemd" or "upstart"."""

    def __init__(self, kind: str = "no", address: str = "") -> None:
        """``address``: $NOTIFY_SOCKET, a path or ``@name`` in the abstract namespace."""
        self.kind = kind
        self._address = address

    def __bool__(self) -> bool:
        return self.kind != "no"

    def status(self, text: str) -> bool:
        """What ``systemctl status`` shows, one line."""
        return self._notify(f"STATUS={text.splitlines()[0] if text else ''}\n")

    def ready(self, text: str = "Ready to accept connections") -> bool:
        """The server accepts connections.  Under upstart the process stops itself until upstart continues it."""
        if self.kind == "upstart":
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        return self._notify(f"STATUS={text}\nREADY=1\n")

    def stopping(self, text: str = "Saving what is left to save") -> bool:
        """The server is shutting down."""
        return self._notify(f"STATUS={text}\nSTOPPING=1\n")

    def _notify(self, text: str) -> bool:
        """Send a datagram to systemd; False if there is none to tell or it does not listen."""
        if self.kind != "systemd" or not self._address:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(text.encode(), address)
        except OSError:
            return False
        return True


def find_supervisor(mode: str, environment: MutableMapping[str, str]) -> tuple[Supervisor, str]:
    """The supervisor for ``supervised <mode>``, and a warning or "".

    $UPSTART_JOB is taken out of the environment, as upstart wants it;
    $NOTIFY_SOCKET stays (systemd's own children may want it).
    """
    job = environment.get("UPSTART_JOB", "")
    address = environment.get("NOTIFY_SOCKET", "")
    if mode == "upstart" or (mode == "auto" and job):
        if not job:
            return Supervisor(), "upstart supervision requested, but UPSTART_JOB not found!"
        del environment["UPSTART_JOB"]
        return Supervisor("upstart"), ""
    if mode == "systemd" or (mode == "auto" and address):
        if not address.startswith(("/", "@")) or len(address) < 2:
            return Supervisor("systemd"), "systemd supervision requested, but NOTIFY_SOCKET is missing or no socket"
        return Supervisor("systemd", address), ""
    return Supervisor(), ""
