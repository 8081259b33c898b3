"""redis-server and perdure-server side by side, in one run, as a Markdown table.

Both run at the same time on ports of their own, with an empty directory each on the
same disk.  redis-benchmark loads them in turns, A B A B …, so that what else the
machine does falls on both.  A ratio is the median of the rounds' ratios, ours / theirs.
Beside it the CPU time that the server needed for a request, with all its threads and
children, from /proc/<pid>/stat: where the load generator is the limit, as without
pipelining on a small machine, throughput says little and CPU time says it.

    python tests/bench/bench.py [--rounds 5] [--seconds 1.0] [--default-set | --snapshots [--keys 1000000]]

``--default-set``: every test that redis-benchmark runs by default, without pipelines
and in pipelines of 16, and the geometric means of the ratios.

``--snapshots``: what a background save costs instead (``snapshots``).

Exit status 0 whatever the figures, 2 if it cannot run.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

VALUE_BYTES = 100
KEYSPACE = 100_000
CLIENTS = 50
START_S = 30.0
CALIBRATE_REQUESTS = 4000
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Case(NamedTuple):
    """One line of the table."""

    policy: str
    command: str
    pipeline: int


CASES = [
    Case("everysec", "SET", 1),
    Case("everysec", "GET", 1),
    Case("everysec", "SET", 16),
    Case("everysec", "GET", 16),
    Case("always", "SET", 1),
]


# redis-benchmark's default tests: its name of the test, and the test that fills what this one empties or reads.
DEFAULT_SET = {
    "PING_INLINE": "", "PING_MBULK": "", "SET": "", "GET": "SET", "INCR": "", "LPUSH": "", "RPUSH": "", "LPOP": "LPUSH",
    "RPOP": "RPUSH", "SADD": "", "HSET": "", "SPOP": "SADD", "ZADD": "", "ZPOPMIN": "ZADD", "LRANGE 100": "LPUSH",
    "LRANGE 300": "LPUSH", "LRANGE 500": "LPUSH", "LRANGE 600": "LPUSH", "MSET": "",
}  # fmt: skip
EMPTIED = ("LPOP", "RPOP", "SPOP", "ZPOPMIN")
FILL_REQUESTS = 20_000


class CannotRun(Exception):
    """Something that is needed is missing or does not start."""


class Server:
    """A server process on a port and a directory of its own."""

    def __init__(self, name: str, command: list[str], root: Path) -> None:
        self.name = name
        self.directory = root / name
        self.directory.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = ["--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0"]
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        self.log = root / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *place, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def ask(self, *words: str) -> bytes:
        """One command; the first bytes of its reply."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as sock:
            sock.sendall(request.encode())
            return sock.recv(4096)

    def wait(self) -> None:
        """Until it answers PING."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask("PING").startswith(b"+PONG"):
                    return
            except OSError:
                time.sleep(0.01)
        raise CannotRun(f"{self.name} does not start: {self.log.read_text()[-1000:]}")

    def cpu_s(self) -> float:
        """CPU time so far: all threads, and the children that have ended and that live."""
        total = 0
        pids = [self.process.pid]
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        return total / TICKS_A_SECOND

    def version(self) -> str:
        """``redis_version`` of INFO."""
        text = self.ask("INFO", "server").decode("utf-8", "replace")
        return next((line[14:] for line in text.split("\r\n") if line.startswith("redis_version:")), "?")

    def close(self) -> None:
        """End it, by its pid."""
        self.process.kill()
        self.process.wait()


def load(server: Server, test: str, pipeline: int, requests: int) -> float:
    """Run redis-benchmark; requests per second as it measured them."""
    name, _, count = test.partition(" ")
    what = ["-t", test.lower()]
    if count:  # its own LRANGE tests push before they read, into the same time
        what = ["lrange", "mylist", "0", str(int(count) - 1)]
    done = subprocess.run(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-n", str(requests), "-c", str(CLIENTS),
         "-P", str(pipeline), "-d", str(VALUE_BYTES), "-r", str(KEYSPACE), "--csv", *what],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    rows = [row for row in csv.reader(done.stdout.splitlines()) if row and row[0].upper().startswith(name)]
    if done.returncode or not rows:
        raise CannotRun(f"redis-benchmark on {server.name}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return float(rows[0][1])


@dataclass
class Figures:
    """What a server did in one case, round by round."""

    requests: int
    per_second: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def measure(self, server: Server, case: Case) -> None:
        """One turn."""
        if case.command in EMPTIED:
            load(server, DEFAULT_SET[case.command], 16, self.requests)
        before = server.cpu_s()
        self.per_second.append(load(server, case.command, case.pipeline, self.requests))
        self.cpu_us.append((server.cpu_s() - before) / self.requests * 1e6)


def run_case(ours: Server, theirs: Server, case: Case, rounds: int, seconds: float) -> tuple[Figures, Figures]:
    """Both servers in turns; each gets as many requests as fill its turn."""
    pair = []
    for server in (ours, theirs):
        server.ask("CONFIG", "SET", "appendfsync", case.policy)
        server.ask("FLUSHALL")
        filled_by = DEFAULT_SET[case.command]
        if filled_by:
            load(server, filled_by, 16, KEYSPACE if filled_by == "SET" else FILL_REQUESTS)
        speed = load(server, case.command, case.pipeline, CALIBRATE_REQUESTS * min(case.pipeline, 8))
        pair.append((server, Figures(max(int(speed * seconds), CALIBRATE_REQUESTS))))
    for number in range(rounds):
        # Who goes first changes, so that neither always finds the disk as the other left it.
        for server, figures in pair if number % 2 == 0 else reversed(pair):
            os.sync()
            figures.measure(server, case)
    return pair[0][1], pair[1][1]


def line_of(case: Case, ours: Figures, theirs: Figures) -> str:
    """The case's line of the table."""
    median: Callable[[list[float]], float] = statistics.median
    ratios = [a / b for a, b in zip(ours.per_second, theirs.per_second, strict=True)]
    cpu = [a / b for a, b in zip(ours.cpu_us, theirs.cpu_us, strict=True) if b]
    cells = [
        case.policy,
        f"{case.command} P{case.pipeline}",
        f"{median(theirs.per_second):,.0f}",
        f"{median(ours.per_second):,.0f}",
        f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})",  # noqa: RUF001
        f"{median(theirs.cpu_us):.2f}",
        f"{median(ours.cpu_us):.2f}",
        f"**{median(cpu):.2f}**" if cpu else "",
    ]
    return "| " + " | ".join(cells) + " |"


def busy_s() -> tuple[float, float]:
    """CPU seconds of the whole machine: not idle, and all."""
    values = [int(word) / TICKS_A_SECOND for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="A B rounds a case (default %(default)s)")
    parser.add_argument("--default-set", action="store_true", help="every test that redis-benchmark runs by default")
    parser.add_argument("--snapshots", action="store_true", help="the cost of background saves")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of --snapshots (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn (default %(default)s)")
    options = parser.parse_args()
    for tool in ("redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed (Debian: redis-server, redis-tools)", file=sys.stderr)
            return 2
    servers: list[Server] = []
    ours_command = [sys.executable, "-c", "from perdure.server.main import main; raise SystemExit(main())"]
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as root:
        try:
            for name, command in (("perdure-server", ours_command), ("redis-server", ["redis-server"])):
                servers.append(Server(name, command, Path(root)))
                servers[-1].wait()
            if options.snapshots:
                import snapshots

                snapshots.report(servers, options.keys, options.rounds)
            else:
                report(servers[0], servers[1], options)
        except CannotRun as error:
            print(error, file=sys.stderr)
            return 2
        finally:
            for server in servers:
                server.close()
    return 0


def report(ours: Server, theirs: Server, options: argparse.Namespace) -> None:
    """The table, line by line as it comes."""
    rounds, seconds = options.rounds, options.seconds
    print(f"redis-server {theirs.version()} and perdure-server: {CLIENTS} clients, values of {VALUE_BYTES} bytes, "
          f"{os.cpu_count()} CPUs, {rounds} rounds of {seconds:g} s in turns\n")  # fmt: skip
    print("| appendfsync | | redis-server/s | perdure/s | ratio (range) | redis CPU µs | perdure CPU µs | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    cases = CASES
    if options.default_set:
        cases = [Case("everysec", test, pipeline) for pipeline in (1, 16) for test in DEFAULT_SET]
    busy, total = busy_s()
    ratios: dict[int, list[float]] = {}
    for case in cases:
        figures = run_case(ours, theirs, case, rounds, seconds)
        print(line_of(case, *figures), flush=True)
        pairs = zip(figures[0].per_second, figures[1].per_second, strict=True)
        ratios.setdefault(case.pipeline, []).append(statistics.median(a / b for a, b in pairs))
    if options.default_set:
        for pipeline, values in ratios.items():
            mean = math.exp(statistics.fmean(map(math.log, values)))
            print(f"\nP{pipeline}: geometric mean of the ratios {mean:.2f}, lowest {min(values):.2f}")
    busy, total = busy_s()[0] - busy, busy_s()[1] - total
    print(f"\nThe machine was {busy / max(total, 1e-9):.0%} busy, servers and load generator included.")


if __name__ == "__main__":
    sys.exit(main())
