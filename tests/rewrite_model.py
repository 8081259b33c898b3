"""A server on the simulated disk that rewrites its log: the child's work is done in this process, call by call."""

from __future__ import annotations

from log_bench import StandingClock
from server_model import Life, Promise, time_of

from perdure.server.children import InPlace
from perdure.wal.executor import InlineExecutor, ManualExecutor
from perdure.wal.manifest import parse
from perdure.wal.simulated import SimulatedFilesystem

LOG = "/data/appendonlydir"
MANIFEST = f"{LOG}/appendonly.aof.manifest"


class RewritingLife(Life):
    """A process that rewrites its log when it is asked to."""

    def start(self, clients: int = 0, seed: int = 1) -> None:
        super().start(clients, seed)
        self.server.children.launch = InPlace()

    def cron(self, seconds: float) -> None:
        self.server.rewriter.tick()
        super().cron(seconds)

    def rewrite(self, rdb: bool = True) -> None:
        """Ask for a rewrite, if none is under way."""
        self.server.config._values["aof-use-rdb-preamble"] = rdb
        if not self.server.rewriter.in_progress:
            self.clients[0].send("BGREWRITEAOF")

    def finish(self) -> None:
        """Until the rewrite is over, and its history gone."""
        for _ in range(12):
            self.turn()
            self.executor.drain()
            self.cron(1.1)
        assert not self.server.rewriter.in_progress


def new_life(policy: str, manual: bool) -> RewritingLife:
    executor = ManualExecutor() if manual else InlineExecutor()
    life = RewritingLife(SimulatedFilesystem(), Promise(), executor, StandingClock())
    life.policy = policy
    return life


def names_of(fs: SimulatedFilesystem) -> list[str]:
    """What is in the log's directory, but for torn tails that were set aside."""
    return sorted(name for name in fs.directories[LOG].names if ".cut-" not in name)


def assert_tidy(fs: SimulatedFilesystem) -> None:
    """Nothing is in the directory that the manifest does not name."""
    entries = parse(fs.content(MANIFEST), MANIFEST).entries
    assert names_of(fs) == sorted([*(e.name for e in entries), "appendonly.aof.manifest"])
    assert all(e.kind != "h" for e in entries)


def filled(policy: str = "everysec") -> RewritingLife:
    """A server with some data, at rest."""
    life = new_life(policy, manual=False)
    with time_of(life.clock):
        life.start(2)
        life.clients[1].send("SET a 1", "HSET h f v g w", "INCR n", "SET late x PXAT 4000000000000")
        life.clients[1].send("SELECT 2", "SET b 2")
        life.settle()
    return life
