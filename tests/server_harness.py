"""Server processes for tests: ours, and stock redis-server 7.0 with the same interface.

``PerdureServer``  perdure-server of the interpreter that runs the tests, installed or editable
``StockServer``    redis-server 7.0; skips where it is not installed, fails with PERDURE_ORACLE=required
``read_state``     everything a server holds, in a shape that can be compared
``copied``         a data directory's copy, as it would be found by another machine

A server listens on a unix socket of its own and, if asked, on a TCP port that the
kernel chose.  Log output and socket stand beside the data directory, never in it, so
that what is there was written by the server.  Each start is on the same directory.

A process is ended by its pid, whatever happens: by ``with``, or ``close()``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LIBRARY_COMMAND = [sys.executable, "-c", "from perdure.server.main import main; raise SystemExit(main())"]
START_S = 60.0
END_S = 60.0
_POLL_S = 0.005
_PORT_TAKEN = "address already in use"


class StartFailed(Exception):
    """The server ended, or did not answer in time; the text holds the end of its log."""


def stock_path(name: str = "redis-server") -> str:
    """Where a program of stock Redis is; skips, or fails if it is required."""
    path = shutil.which(name)
    if path is None:
        why = f"{name} is not installed: nothing to compare with"
        if os.environ.get("PERDURE_ORACLE") == "required":
            pytest.fail(why)
        pytest.skip(why)
    return path


def free_port() -> int:
    """A TCP port on 127.0.0.1 that the kernel chose and nobody has, for the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server on one data directory, started and ended as often as the test likes."""

    command: list[str] = LIBRARY_COMMAND
    environment: dict[str, str] | None = None
    """For the next starts, if it is not that of the tests."""

    def __init__(self, directory: Path, *options: str, tcp: bool = False) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.options = list(options)
        self.tcp = tcp
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        # A unix socket's path is short by law, pytest's folders are not.
        self.place = Path(tempfile.mkdtemp(prefix="perdure-"))
        self.socket_path = str(self.place / "socket")
        self.log_path = self.place / "log"
        self._log_from = 0

    # ---- starting and ending ---------------------------------------------------------

    def argv(self) -> list[str]:
        """The command line of the next start."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket_path]
        return [*self.command, *where, "--dir", str(self.directory), "--save", "", *self.options]

    def spawn(self) -> None:
        """Start the process and wait for nothing."""
        assert not self.alive(), "it runs already"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        if self.tcp:
            self.port = free_port()
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    def start(self) -> Self:
        """Start, and wait until PING is answered as by a server that is ready; StartFailed otherwise."""
        for _ in range(5):
            self.spawn()
            if self._becomes(b"+PONG", b"-NOAUTH"):
                return self
            if not (self.tcp and _PORT_TAKEN in self.log().lower()):
                break
        status = self.kill9()
        raise StartFailed(f"status {status}: {self.log()[-3000:]}")

    def start_to_any_answer(self) -> None:
        """Start, and wait until PING is answered with anything, -LOADING included."""
        self.spawn()
        if not self._becomes(b"+PONG", b"-NOAUTH", b"-LOADING"):
            raise StartFailed(f"status {self.kill9()}: {self.log()[-3000:]}")

    def refused(self) -> tuple[int, str]:
        """Start and wait for the end: for what must not start.  Returns exit status and log."""
        self.spawn()
        assert self.process is not None
        try:
            return self.process.wait(START_S), self.log()
        except subprocess.TimeoutExpired:
            self.kill9()
            pytest.fail(f"it should have refused to start: {self.log()[-3000:]}")

    def _becomes(self, *answers: bytes) -> bool:
        """Poll with PING until one of the answers comes; False if the process ended or time is over."""
        deadline = time.monotonic() + START_S
        while self.alive() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.connect(timeout_s=5.0) as sock:
                sock.sendall(b"PING\r\n")
                if sock.recv(256).startswith(answers):
                    return True
            time.sleep(_POLL_S)
        return False

    def kill9(self) -> int:
        """SIGKILL; returns the exit status."""
        assert self.process is not None, "it was never started"
        self.process.kill()
        return self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None, "it was never started"
        self.process.terminate()
        return self.process.wait(END_S)

    def close(self) -> None:
        """End the process if it runs, and remove what stands beside the data directory."""
        if self.process is not None:
            self.kill9()
        shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- looking ---------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was never started"
        return self.process.pid

    def alive(self) -> bool:
        """Does the process run?"""
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """What it has printed since its latest start."""
        with open(self.log_path, "rb") as file:
            file.seek(self._log_from)
            return file.read().decode("utf-8", "replace")

    def resident_bytes(self) -> int:
        """Memory of the process, now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_resident_bytes(self) -> int:
        """The most memory that the process ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024

    # ---- talking ---------------------------------------------------------------------

    def connect(self, timeout_s: float = 60.0) -> socket.socket:
        """A bare connection."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout_s)
        try:
            sock.connect(self.socket_path)
        except BaseException:
            sock.close()
            raise
        return sock

    def client(self, **options: Any) -> redis.Redis:
        """A redis-py client that repeats nothing: a command sent twice would be counted once."""
        options.setdefault("socket_timeout", 60.0)
        return redis.Redis(unix_socket_path=self.socket_path, retry=Retry(NoBackoff(), 0), **options)

    @property
    def url(self) -> str:
        """For ``redis.from_url``: the TCP port where there is one."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket_path}"


class PerdureServer(ServerProcess):
    """perdure-server."""


class StockServer(ServerProcess):
    """redis-server 7.0 with a log, which it does not rewrite by itself."""

    def __init__(self, directory: Path, *options: str, tcp: bool = False) -> None:
        self.command = [stock_path()]
        usual = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
        super().__init__(directory, *usual, *options, tcp=tcp)


# ---- what a server holds ---------------------------------------------------------------

_READ: dict[bytes, tuple[tuple[str, ...], Any]] = {
    b"string": (("GET",), lambda reply: reply),
    b"list": (("LRANGE", "0", "-1"), tuple),
    b"hash": (("HGETALL",), lambda reply: tuple(sorted(reply.items()))),
    b"set": (("SMEMBERS",), frozenset),
    b"zset": (("ZRANGE", "0", "-1", "WITHSCORES"), tuple),
    b"stream": (("XRANGE", "-", "+"), repr),
}
State = dict[tuple[int, bytes], tuple[bytes, Any, int]]


def read_state(server: ServerProcess, databases: int = 16) -> State:
    """(database, key) -> (type, value, deadline in unix ms or -1)."""
    out: State = {}
    for index in range(databases):
        with server.client(db=index) as client:
            keys = client.keys()
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.type(key)
                pipe.pexpiretime(key)
            facts = pipe.execute()
            for key, kind in zip(keys, facts[::2], strict=True):
                name, *options = _READ[kind][0]
                pipe.execute_command(name, key, *options)
            for key, kind, deadline, reply in zip(keys, facts[::2], facts[1::2], pipe.execute(), strict=True):
                out[index, key] = (kind, _READ[kind][1](reply), deadline)
    return out


def state_differences(expected: State, found: State, limit: int = 5) -> list[str]:
    """Words for what is not the same."""
    lines = []
    for place in sorted(set(expected) | set(found)):
        if expected.get(place) != found.get(place):
            lines.append(f"{place}: expected {expected.get(place)!r:.200}, found {found.get(place)!r:.200}")
    return lines[:limit] + ([f"and {len(lines) - limit} more"] if len(lines) > limit else [])


# ---- a directory's files ---------------------------------------------------------------


def copied(source: Path, target: Path) -> Path:
    """A copy of a data directory; returns it."""
    shutil.copytree(source, target)
    return target


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content: for "no byte was changed"."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
