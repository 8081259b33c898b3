"""Dialogs of several connections with one server, played so that nothing hangs on the time.

``play`` has clients take turns.  A step is what one client sends at once; it is over when
the server has answered the fence behind it, a PING that says which step it was.  What the
others are told meanwhile stays in their streams; at the end each client sends one more
fence, and everything that a client got, from its first byte on, is its transcript.

Written ``a HELLO 3; b SET k 1|GET k; a PING``: client, blank, commands separated by ``|``;
``{a}`` stands for the id of client a.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable

from server_harness import ServerProcess

Steps = list[tuple[str, str]]
_CLIENT_ID = re.compile(rb"(\$2\r\nid\r\n):\d+")
_MOMENT = re.compile(rb"\+\d{10}\.\d{6} ")
_LEAST_ID = 1000
"""Ids of clients are larger, so that no other number in a transcript is taken for one."""
_VERSION = re.compile(rb"(\$7\r\nversion\r\n\$\d+\r\n)[^\r]+")


def steps(text: str) -> Steps:
    """The steps of a dialog."""
    return [(step.strip()[0], step.strip()[2:]) for step in text.split("; ")]


class Talk:
    """One connection; ``got`` is all that it was sent."""

    def __init__(self, server: ServerProcess) -> None:
        self.sock: socket.socket = server.connect()
        self.got = b""

    def send(self, lines: Iterable[str]) -> None:
        """Send inline commands at once."""
        with contextlib.suppress(OSError):
            self.sock.sendall(b"".join(line.strip().encode("latin-1") + b"\r\n" for line in lines))

    def until(self, mark: bytes) -> None:
        """Read on until ``mark`` has come, or the server has closed."""
        start = len(self.got)
        with contextlib.suppress(ConnectionResetError):
            while mark not in self.got[start:]:
                part = self.sock.recv(1 << 16)
                if not part:
                    break
                self.got += part
        if mark not in self.got[start:]:
            self.got += b"<closed>"


class Table:
    """The connections of one dialog."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.talks: dict[str, Talk] = {}
        self.ids: dict[str, str] = {}
        self.fences = 0

    def sit(self, who: str) -> Talk:
        """The connection of a client, which comes when it is first named."""
        talk = self.talks.get(who)
        if talk is None:
            talk = self.talks[who] = Talk(self.server)
            talk.send(["CLIENT ID"])
            talk.until(b"\r\n")
            self.ids[who] = talk.got[1:-2].decode()
            talk.got = b""
        return talk

    def fenced(self, talk: Talk, lines: list[str]) -> None:
        """Send commands and a fence in one piece, and wait until the server has answered all of it."""
        self.fences += 1
        word = f"fence-{self.fences}."
        talk.send([*lines, f"PING {word}"])
        talk.until(word.encode() + b"\r\n")

    def say(self, who: str, lines: str) -> None:
        """A step."""
        talk = self.sit(who)
        for name in re.findall(r"\{(\w)\}", lines):
            self.sit(name)
        self.fenced(talk, re.sub(r"\{(\w)\}", lambda m: self.ids[m[1]], lines).split("|"))

    def end(self) -> dict[str, bytes]:
        """Every client's transcript."""
        for talk in self.talks.values():
            if not talk.got.endswith(b"<closed>"):
                self.fenced(talk, [])
        for talk in self.talks.values():
            talk.sock.close()
        return {who: self.cleaned(talk.got) for who, talk in self.talks.items()}

    def cleaned(self, got: bytes) -> bytes:
        """What no two servers have in common is taken out: ids, addresses, times, versions."""
        got = got.replace(self.server.socket_path.encode(), b"SOCKET")
        for who, number in self.ids.items():
            got = got.replace(b":%b\r\n" % number.encode(), b":{%b}\r\n" % who.encode())
            got = got.replace(b"redir=%b " % number.encode(), b"redir={%b} " % who.encode())
        got = _CLIENT_ID.sub(rb"\1:ID", got)
        got = _VERSION.sub(rb"\1V", got)
        return _MOMENT.sub(b"+TIME ", got)


def use_up_ids(server: ServerProcess) -> None:
    """Have so many clients come and go that ids are four digits long."""
    number = 0
    while number < _LEAST_ID:
        with server.connect() as sock:
            sock.sendall(b"CLIENT ID\r\n")
            number = int(sock.recv(100)[1:-2])


def play(server: ServerProcess, dialog: Steps) -> dict[str, bytes]:
    """Hold a dialog; what each client got."""
    table = Table(server)
    for who, lines in dialog:
        table.say(who, lines)
    return table.end()
