"""How long a start on a full file takes until the first answer, redis-server and perdure-server in turns.

redis-server makes the data once, keys ``key:<n>`` with values of one length, and writes
it as ``dump.rdb`` and, with ``--aof``, as a log's directory whose BASE is of that form.  Each
server gets a copy of it.  They start on it in turns, A B A B …, and a turn is the time from
the process's start until PING is answered with PONG, thus not with LOADING.  The files are
in the page cache, for both.

    python tests/bench/restart.py [--keys 1000000] [--bytes 100] [--rounds 5] [--aof]

Prints a Markdown table of medians, and what of our time is the empty server's start.
Exit status 0 whatever the figures, 1 if a server does not hold all keys, 2 if it cannot run.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_S = 300.0
_POLL_S = 0.001
OURS = [sys.executable, "-c", "from perdure.server.main import main; raise SystemExit(main())"]


class Started:
    """A server that runs on a folder, on a unix socket of its own; ``seconds`` until it answered."""

    def __init__(self, command: list[str], folder: Path, *options: str) -> None:
        self.path = str(folder / "socket")
        argv = [*command, "--port", "0", "--unixsocket", self.path, "--dir", str(folder), "--save", "", *options]
        began = time.perf_counter()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            self._wait(began)
        except BaseException:
            self.end()
            raise
        self.seconds = time.perf_counter() - began

    def _wait(self, began: float) -> None:
        while time.perf_counter() - began < START_S and self.process.poll() is None:
            try:
                if self.ask(b"PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            time.sleep(_POLL_S)
        raise RuntimeError(f"{self.process.args!r} does not answer")

    def ask(self, line: bytes) -> bytes:
        """A short answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_S)
            sock.connect(self.path)
            sock.sendall(line + b"\r\n")
            return sock.recv(1000)

    def end(self) -> None:
        """Kill it: nothing is to be saved."""
        self.process.kill()
        self.process.wait()


def make(stock: str, folder: Path, keys: int, size: int, aof: bool) -> None:
    """The data, as redis-server writes it."""
    options = ("--appendonly", "yes") if aof else ()
    server = Started([stock], folder, *options, "--enable-debug-command", "yes", "--rdbcompression", "no")
    try:
        server.ask(b"DEBUG POPULATE %d key %d" % (keys, size))
        server.ask(b"BGREWRITEAOF" if aof else b"SAVE")
        while b"aof_rewrite_in_progress:1" in server.ask(b"INFO persistence"):
            time.sleep(0.05)
    finally:
        server.end()


def measure(
    commands: dict[str, list[str]], folders: dict[str, Path], rounds: int, options: list[str], keys: int
) -> dict[str, float]:
    """Medians in seconds, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            server = Started(command, folders[name], *options)
            seconds[name].append(server.seconds)
            size = server.ask(b"DBSIZE")
            server.end()
            if folders[name].name != "empty" and size != b":%d\r\n" % keys:
                sys.exit(1)
    return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> int:
    """Run it; see above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--aof", action="store_true", help="a log whose BASE has the data, instead of dump.rdb")
    given = parser.parse_args()
    stock = shutil.which("redis-server")
    if stock is None:
        print("redis-server is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="perdure-restart-") as name:
        root = Path(name)
        (root / "stock").mkdir()
        (root / "empty").mkdir()
        make(stock, root / "stock", given.keys, given.bytes, given.aof)
        shutil.copytree(root / "stock", root / "ours", ignore=shutil.ignore_patterns("socket"))
        options = ["--appendonly", "yes" if given.aof else "no"]
        commands = {"redis-server": [stock], "perdure-server": OURS, "perdure-server, empty": OURS}
        folders = dict(zip(commands, (root / "stock", root / "ours", root / "empty"), strict=True))
        found = measure(commands, folders, given.rounds, options, given.keys)
    print(f"| start on {given.keys} keys of {given.bytes} bytes | seconds | ratio |\n| --- | --- | --- |")
    for server, seconds in found.items():
        print(f"| {server} | {seconds:.2f} | {seconds / found['redis-server']:.2f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
