"""A server without sockets: its state, its engine, one client; commands in, raw replies out."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random
from typing import Any

import perdure.server.commands  # noqa: F401 - registers every command
from perdure.server.bind_config import bind_config
from perdure.server.config import Config
from perdure.server.config_file import Line
from perdure.server.log_gate import NoLogWriter
from perdure.server.logfile import Log
from perdure.server.server import Server


class InProcess:
    """A server on ``folder`` that writes no log.  ``options``: as on the command line."""

    def __init__(
        self, folder: Path, *, loading: bool = False, config: Config | None = None, **options: str
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.config = Config(str(folder)) if config is None else config
        for name, value in options.items():
            words = [name.replace("_", "-").encode(), *os.fsencode(value).split()]
            self.config.take(Line("the test", 0, b" ".join(words), words))
        self.log_path = folder / "server.log"
        self.server = Server(self.config, Log(str(self.log_path)), self.loop, Random(1))
        bind_config(self.server)
        self.stopped: list[tuple[str, int]] = []
        self.server.stop = lambda reason, status: self.stopped.append((reason, status))
        if not loading:
            self.server.start_log(NoLogWriter())
        self.client = self.server.new_client(None)  # type: ignore[arg-type]
        self.client.unix = True
        self.server.clients[self.client.id] = self.client

    def __call__(self, *argv: bytes) -> bytes:
        """Run one command; its raw reply."""
        engine = self.server.engine
        tx = engine.tx
        engine.enter(self.client)
        tx.now_ms = tx.clock_ms = self.server.now_ms()
        return engine.execute(self.client, list(argv))

    def speak(self, resp3: bool) -> None:
        """Answer in RESP3 or RESP2 from now on."""
        self.client.resp3 = resp3

    def log(self) -> str:
        """What was logged for the operator."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def close(self) -> None:
        """Give the loop back."""
        self.loop.close()


def info_of(raw: bytes) -> dict[str, Any]:
    """INFO's raw reply as {section: {field: value}}."""
    head, _, body = raw.partition(b"\r\n")
    text = body.removesuffix(b"\r\n").decode()
    if head.startswith(b"="):
        text = text.removeprefix("txt:")
    found: dict[str, Any] = {}
    for block in text.split("\r\n\r\n"):
        lines = block.splitlines()
        if lines:
            assert lines[0].startswith("# "), lines[0]
            found[lines[0][2:]] = dict(line.split(":", 1) for line in lines[1:])
    return found
