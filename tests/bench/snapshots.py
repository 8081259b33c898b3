"""What a background save costs beside stock: how long the server stands still, and how much memory it takes.

Each server in its turn holds a million keys with values of 100 bytes and serves one steady
writer: a SET of a random key, its answer awaited, some 2,000 a second whatever the server does
(one that was late is sent at once).  BGSAVE comes in the midst of it; what is counted is

stall    the longest time to an answer while the child lives, the fork included
p99.9    of the times to an answer meanwhile; both beside the same without a save
memory   proportional set size (PSS) of the server and its child together, at the most, less
         what the server had before: pages that were copied, and what the child needs itself

    python tests/bench/bench.py --snapshots [--keys 1000000] [--rounds 3]

Exit status 0 whatever the figures, 2 if it cannot run.
"""

from __future__ import annotations

import random
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import Server

VALUE = "v" * 100
FILL = 1000
EVERY_S = 0.0005
QUIET_S = 5.0
SAMPLE_S = 0.05
LONGEST_S = 300.0


@dataclass
class Figures:
    """Of one round: milliseconds and MiB."""

    fork_ms: float = 0.0
    seconds: float = 0.0
    memory_mib: float = 0.0
    saving_ms: list[float] = field(default_factory=list)
    quiet_ms: list[float] = field(default_factory=list)


def request(*words: str) -> bytes:
    return (f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)).encode()


def fill(server: Server, keys: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        for start in range(0, keys, FILL):
            numbers = range(start, min(start + FILL, keys))
            sock.sendall(b"".join(request("SET", f"key:{n:012}", VALUE) for n in numbers))
            missing = 5 * len(numbers)
            while missing:
                missing -= len(sock.recv(min(missing, 1 << 16)))


def info(server: Server, section: str) -> dict[str, str]:
    text = b""
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(request("INFO", section))
        while b"\r\n" not in text or len(text) < int(text[1:].split(b"\r\n")[0]):
            text += sock.recv(1 << 16)
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def pss_bytes(pids: list[int]) -> int:
    """Of all these processes together; one that has ended has none."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10
    return total


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


class Writer:
    """The steady writer, in a thread; ``into`` is the list that takes the milliseconds of its answers."""

    def __init__(self, server: Server, keys: int) -> None:
        self.into: list[float] = []
        self._ends = threading.Event()
        self._keys = keys
        self._sock = socket.create_connection(("127.0.0.1", server.port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        rng = random.Random(1)
        due = time.perf_counter()
        while not self._ends.is_set():
            due = max(due + EVERY_S, time.perf_counter() - 1.0)
            time.sleep(max(due - time.perf_counter(), 0))
            line = request("SET", f"key:{rng.randrange(self._keys):012}", VALUE)
            into, began = self.into, time.perf_counter()
            self._sock.sendall(line)
            self._sock.recv(64)
            into.append((time.perf_counter() - began) * 1000)

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._sock.close()


def measure(server: Server, writer: Writer) -> Figures:
    """One round."""
    found = Figures()
    writer.into = found.quiet_ms
    time.sleep(QUIET_S)
    pid = server.process.pid
    before = pss_bytes([pid])
    most = 0
    writer.into = found.saving_ms
    began = time.monotonic()
    server.ask("BGSAVE")
    while time.monotonic() - began < LONGEST_S:
        pids = children(pid)
        if not pids:
            break
        most = max(most, pss_bytes([pid, *pids]))
        time.sleep(SAMPLE_S)
    found.seconds = time.monotonic() - began
    writer.into = []
    found.fork_ms = int(info(server, "stats")["latest_fork_usec"]) / 1000
    found.memory_mib = max(most - before, 0) / (1 << 20)
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def run(server: Server, keys: int, rounds: int) -> tuple[float, list[Figures]]:
    """MiB that the data takes, and the rounds."""
    empty = pss_bytes([server.process.pid])
    fill(server, keys)
    data = (pss_bytes([server.process.pid]) - empty) / (1 << 20)
    writer = Writer(server, keys)
    try:
        return data, [measure(server, writer) for _ in range(rounds)]
    finally:
        writer.close()


def line_of(server: Server, data_mib: float, rounds: list[Figures]) -> str:
    """Medians of the rounds; the longest stall is that of all of them."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    stall = [max(r.saving_ms, default=0.0) for r in rounds]
    quiet = [max(r.quiet_ms, default=0.0) for r in rounds]
    return (
        f"| {server.name} | {data_mib:.0f} | {median([r.seconds for r in rounds]):.1f} "
        f"| {median([r.fork_ms for r in rounds]):.1f} | {median(stall):.1f} ({max(stall):.1f}) "
        f"| {median([percentile(r.saving_ms, 0.999) for r in rounds]):.2f} "
        f"| {median(quiet):.1f} | {median([percentile(r.quiet_ms, 0.999) for r in rounds]):.2f} "
        f"| {median([r.memory_mib for r in rounds]):.0f} |"
    )


def report(servers: list[Server], keys: int, rounds: int) -> None:
    """The table, line by line as it comes."""
    print(f"BGSAVE of {keys} keys with values of {len(VALUE)} bytes beside a steady writer, {rounds} rounds\n")
    print("| server | data MiB | save s | fork ms | stall ms, median (worst) | p99.9 ms | quiet: stall ms "
          "| quiet: p99.9 ms | memory MiB |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for server in servers:
        print(line_of(server, *run(server, keys, rounds)), flush=True)
